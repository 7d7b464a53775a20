"""Whether what an export needs is installed."""

from importlib.util import find_spec

from histoscribe.errors import UserError, problem

# What pip installs with a format; the versions are those of envs/constraints.txt.
NEEDED = {
    "spatialdata": {"spatialdata": "0.7.3"},
    "xenium_explorer": {"spatialdata": "0.7.3", "sopa": "2.2.11"},
}


def require_packages(export_format: str) -> None:
    """Raises UserError where a package that the format needs is not installed."""
    needed = NEEDED[export_format]
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        wanted = " ".join(f"{name}=={version}" for name, version in needed.items())
        raise UserError(
            problem(
                "config, export/formats",
                f"{export_format}, but {' and '.join(missing)} not installed",
                f"the packages {wanted}",
                f"Install them (pip install {wanted}), run with --sdm conda, or take "
                f"{export_format} out of export.formats.",
            )
        )
