"""Which code makes a result, so that editing it makes the result again."""

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).parent
SCRIPTS = PACKAGE.parent
FROM_IMPORT = re.compile(
    r"^[ \t]*from[ \t]+(\.*)([\w.]*)[ \t]+import[ \t]+(?:\(([^)]*)\)|([^\n#]+))", re.MULTILINE
)
IMPORT = re.compile(r"^[ \t]*import[ \t]+(histoscribe[\w.]*)", re.MULTILINE)
SHAPES_NO_NUMBER = {PACKAGE / name for name in ("__init__.py", "errors.py", "joblog.py")}


@cache
def code_digest(script: str, *by_name: str) -> str:
    """Digest of the package's modules that a rule's script imports, and they in turn.

    In a rule's `params` it makes editing the package rerun the rule, since Snakemake only sees
    the script. `by_name` are folders of the package whose modules are only named at run time.
    """
    imported = imported_files(SCRIPTS / script)
    for folder in by_name:
        files = list((PACKAGE / folder).glob("*.py"))
        if not files:
            raise FileNotFoundError(PACKAGE / folder)
        for file in files:
            imported |= {file} | imported_files(file)
    return files_digest(imported - SHAPES_NO_NUMBER)


def files_digest(files: set[Path]) -> str:
    """Digest of some of the package's files, in 12 hex digits."""
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(str(file.relative_to(PACKAGE)).encode() + file.read_bytes())
    return digest.hexdigest()[:12]


def imported_files(file: Path) -> set[Path]:
    """The package's files that a file imports, anywhere in it, and those that they import."""
    found, waiting = set(), [file]
    while waiting:
        new = _imports(waiting.pop()) - found
        found |= new
        waiting += new
    return found


@cache
def _imports(file: Path) -> frozenset[Path]:
    """The package's files that a file imports itself, with the `__init__.py` of their folders."""
    found = set()
    for names in _imported_names(file):
        for depth in range(1, len(names) + 1):
            stem = SCRIPTS.joinpath(*names[:depth])
            found |= {stem.with_suffix(".py"), stem / "__init__.py"}
    return frozenset(path for path in found if path.exists())


def _imported_names(file: Path) -> Iterator[tuple[str, ...]]:
    """What is imported of the package, from the top, as ("histoscribe", "image", "open_slide").

    The text is searched, as parsing it would take a second of every start of the workflow.
    """
    text = file.read_text(encoding="utf-8")
    for dots, module, several, one in FROM_IMPORT.findall(text):
        above = file.parents[len(dots) - 1].relative_to(SCRIPTS).parts if dots else ()
        stem = (*above, *filter(None, module.split(".")))
        if stem[0] == PACKAGE.name:
            for name in re.findall(r"\w+", several or one):
                yield (*stem, name)
    for module in IMPORT.findall(text):
        yield tuple(module.split("."))
