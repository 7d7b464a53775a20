"""Whether what an export needs is installed."""

from importlib.util import find_spec

from histoscribe.errors import UserError, problem


def require_spatialdata() -> None:
    """Raises UserError where spatialdata is not installed."""
    if find_spec("spatialdata") is None:
        raise UserError(
            problem(
                "config, export/formats",
                "spatialdata, but the package of this name is not installed",
                "spatialdata 0.7",
                "Install it (pip install spatialdata==0.7.3), run with --sdm conda, or take "
                "spatialdata out of export.formats.",
            )
        )
