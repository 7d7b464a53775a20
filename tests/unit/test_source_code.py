import ast
import re
import subprocess
import sys

import pytest

from histoscribe import source_code
from histoscribe.source_code import PACKAGE, SCRIPTS, code_digest, imported_files

MAKES_ITS_RESULT_ONCE = {"retrieve.smk"}  # downloads are checked by their digests
FIT_OR_APPLY_MODELS = ("train_model.py", "tune_model.py", "predict_expression.py")
LOADED = """
import sys
sys.path.insert(0, "scripts")
import {script}
files = [m.__file__ for n, m in sys.modules.items() if n.startswith("histoscribe")]
print("\\n".join(file for file in files if file))
"""


def test_all_that_python_loads_is_found(repository):
    script = "summarise_evaluation"
    loaded = subprocess.run(
        [sys.executable, "-c", LOADED.format(script=script)],
        cwd=repository,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    found = {str(path) for path in imported_files(SCRIPTS / f"{script}.py")}
    assert len(loaded) > 3
    assert set(loaded) <= found | {str(PACKAGE / "__init__.py")}


def test_every_import_is_read_as_python_reads_it():
    """The text is searched, for speed; here it is parsed."""
    for file in SCRIPTS.rglob("*.py"):
        parsed = set()
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                parsed |= {tuple(alias.name.split(".")) for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                above = file.relative_to(SCRIPTS).parts[: -node.level] if node.level else ()
                stem = (*above, *filter(None, (node.module or "").split(".")))
                parsed |= {(*stem, alias.name) for alias in node.names}
        ours = {names for names in parsed if names[0] == PACKAGE.name}
        found = {names for names in source_code._imported_names(file) if len(names) > 1}
        assert {names for names in ours if len(names) > 1} == found, file


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three files, one of them imported within a function, and a script."""
    root = tmp_path / "histoscribe"
    (root / "parts").mkdir(parents=True)
    (root / "errors.py").write_text("")
    (root / "numbers.py").write_text("def f():\n    from histoscribe.parts import deep\n")
    (root / "parts/__init__.py").write_text("from .shallow import g\n")
    (root / "parts/deep.py").write_text("DEPTH = 1\n")
    (root / "parts/shallow.py").write_text("def g():\n    pass\n")
    (root / "unused.py").write_text("")
    (tmp_path / "rule.py").write_text(
        "import numpy\nimport histoscribe.numbers\nfrom histoscribe.errors import UserError\n"
    )
    monkeypatch.setattr(source_code, "SCRIPTS", tmp_path)
    monkeypatch.setattr(source_code, "PACKAGE", root)
    monkeypatch.setattr(source_code, "SHAPES_NO_NUMBER", {root / "errors.py"})
    return root


def digest(*by_name):
    code_digest.cache_clear()
    source_code._imports.cache_clear()
    return code_digest("rule.py", *by_name)


@pytest.mark.parametrize(
    ("edited", "is_made_again"),
    [
        ("numbers.py", True),
        ("parts/deep.py", True),
        ("parts/shallow.py", True),
        ("unused.py", False),
        ("errors.py", False),
    ],
)
def test_what_is_edited_is_made_again(package, edited, is_made_again):
    before = digest()
    with (package / edited).open("a") as file:
        file.write("# edited\n")
    assert (digest() != before) is is_made_again


def test_modules_named_at_run_time_count(package):
    (package / "kinds").mkdir()
    (package / "kinds/ridge.py").write_text("from histoscribe import unused\n")
    before = digest("kinds")
    (package / "unused.py").write_text("# edited\n")
    assert digest("kinds") != before
    with pytest.raises(FileNotFoundError):
        digest("sorts")


def test_every_rule_watches_the_code_of_its_script(repository):
    for path in (repository / "workflow/rules").glob("*.smk"):
        if path.name in MAKES_ITS_RESULT_ONCE:
            continue
        rules = re.split(r"^rule ", path.read_text(), flags=re.MULTILINE)[1:]
        for rule in rules:
            script = re.search(r'script:\s*"\.\./\.\./scripts/(\w+\.py)"', rule)
            if script:
                name = re.search(r'code_digest\(\s*"(\w+\.py)"', rule)
                assert name, rule.splitlines()[0]
                assert name[1] == script[1]
                if script[1] in FIT_OR_APPLY_MODELS:
                    assert f'code_digest("{script[1]}", "models")' in rule
