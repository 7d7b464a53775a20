"""The repository keeps its own rules: format, lint, documented keys, agreeing environments."""

import ast
import re
import subprocess
import sys

import pytest
import yaml
from packaging.requirements import Requirement


def run(repository, *command):
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=repository,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(
    "command",
    [
        ("ruff", "check", "scripts", "tests"),
        ("ruff", "format", "--check", "scripts", "tests"),
        ("snakefmt", "--check", "workflow"),
    ],
    ids=["ruff", "ruff-format", "snakefmt"],
)
def test_format_and_lint(repository, command):
    finished = run(repository, *command)
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_snakemake_lint(repository):
    finished = run(repository, "snakemake", "--configfile", "config/demo/config.yaml", "--lint")
    assert finished.returncode == 0, finished.stdout + finished.stderr


def keys_of(schema, definitions, path=()):
    """Every settable key of the config schema, as a tuple of names."""
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rsplit("/", 1)[-1]], **schema}
    properties = schema.get("properties")
    if not properties:
        yield path
        return
    for name, part in properties.items():
        yield from keys_of(part, definitions, (*path, name))


def test_every_config_key_is_documented_and_has_a_default(repository):
    schema = yaml.safe_load((repository / "workflow/schemas/config.schema.yaml").read_text())
    defaults = yaml.safe_load((repository / "config/config.yaml").read_text())
    manual = (repository / "config/README.md").read_text()
    for key in keys_of(schema, schema["$defs"]):
        if key == ("pathvars",):
            continue  # Snakemake's own
        value = defaults
        for name in key:
            assert name in value, f"{'.'.join(key)} has no default in config/config.yaml"
            value = value[name]
        assert f"`{'.'.join(key)}`" in manual or f".{key[-1]}`" in manual, (
            f"{'.'.join(key)} is not explained in config/README.md"
        )


def test_every_documented_key_exists(repository):
    schema = yaml.safe_load((repository / "workflow/schemas/config.schema.yaml").read_text())
    known = {".".join(key) for key in keys_of(schema, schema["$defs"])}
    manual = (repository / "config/README.md").read_text()
    table = manual.split("## The config")[1].split("## Experiments")[0]
    for key in re.findall(r"^\| `([a-z_.0-9]+)` \|", table, flags=re.MULTILINE):
        assert any(k == key or k.startswith(key + ".") for k in known), f"{key} is no config key"


def test_environments_agree_with_the_constraints(repository):
    constraints = {}
    for line in (repository / "envs/constraints.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            name, version = line.split("==")
            constraints[name.lower().replace("_", "-")] = version
    conda_names = {"python-igraph": "igraph"}
    files = sorted((repository / "envs").glob("*.yaml"))
    assert files
    for path in files:
        environment = yaml.safe_load(path.read_text())
        dependencies = environment["dependencies"]
        assert any(str(d).startswith("python=3.11") for d in dependencies), path.name
        flat = [d for d in dependencies if isinstance(d, str)]
        flat += [p for d in dependencies if isinstance(d, dict) for p in d["pip"]]
        flat += after_deployment(path)
        for dependency in flat:
            name, _, version = dependency.replace("==", "=").partition("=")
            if name in ("python", "pip"):
                continue
            pinned = constraints[conda_names.get(name, name).lower().replace("_", "-")]
            assert version == pinned, f"{path.name}: {name} {version}, constraints {pinned}"


def after_deployment(environment):
    """name==version of what is installed once the environment is there."""
    script = environment.with_suffix(".post-deploy.sh")
    return (
        re.findall(r"^python .* (\S+==\S+)$", script.read_text(), re.M) if script.exists() else []
    )


PACKAGES = {
    "skimage": "scikit-image",
    "PIL": "pillow",
    "sklearn": "scikit-learn",
    "openslide": "openslide-python",
    "umap": "umap-learn",
    "scib_metrics": "scib-metrics",
    "yaml": "pyyaml",
}


def imported_packages(path, scripts, seen):
    """Third-party packages that a file of `scripts` imports, itself or through the package."""
    if path in seen or not path.is_file():
        return set()
    seen.add(path)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(path.relative_to(scripts).parts[: -node.level]) if node.level else ""
            module = ".".join(filter(None, [start, node.module]))
            names = [module, *(f"{module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            parts = name.split(".")
            if parts[0] != "histoscribe":
                found.add(PACKAGES.get(parts[0], parts[0]))
                continue
            for depth in range(1, len(parts) + 1):
                place = scripts.joinpath(*parts[:depth])
                found |= imported_packages(place / "__init__.py", scripts, seen)
                found |= imported_packages(place.with_suffix(".py"), scripts, seen)
    return found - set(sys.stdlib_module_names)


def test_each_environment_holds_what_its_scripts_import(repository):
    pairs = set()
    for rules in (repository / "workflow/rules").glob("*.smk"):
        pattern = r"envs/(\w+)\.yaml.*?scripts/(\w+)\.py"
        pairs |= set(re.findall(pattern, rules.read_text(), flags=re.DOTALL))
    assert len(pairs) > 20
    for environment, script in sorted(pairs):
        path = repository / f"envs/{environment}.yaml"
        listed = "\n- ".join([path.read_text(), *after_deployment(path)])
        scripts = repository / "scripts"
        for package in imported_packages(scripts / f"{script}.py", scripts, set()):
            assert re.search(rf"- {re.escape(package)}(-cpu)?=", listed), (
                f"{script} imports {package}, which envs/{environment}.yaml lacks"
            )


def test_requirements_are_constrained(repository):
    text = (repository / "envs/constraints.txt").read_text().lower()
    files = ("requirements.in", "without-dependencies.in")
    lines = [x for file in files for x in (repository / "envs" / file).read_text().splitlines()]
    for line in lines:
        if not line or line.startswith("#"):
            continue
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate():
            assert f"\n{requirement.name.lower()}==" in text, requirement.name


def test_every_rule_has_its_script_log_benchmark_and_environment(repository):
    for path in sorted((repository / "workflow/rules").glob("*.smk")):
        for block in re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]:
            name = block.split(":")[0]
            assert f"../../scripts/{name}.py" in block, name
            assert (repository / "scripts" / f"{name}.py").is_file(), name
            assert f"<logs>/{name}" in block, name
            assert f"<benchmarks>/{name}" in block, name
            environment = re.search(r"\.\./\.\./(envs/[a-z]+\.yaml)", block)
            assert environment, name
            assert (repository / environment[1]).is_file(), name
            assert re.search(r"threads:", block), name
            assert re.search(r"resources:", block), name
