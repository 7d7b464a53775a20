"""The literature that a run stands on: which of it, cited in text and as BibTeX."""

import re
from dataclasses import dataclass
from pathlib import Path

ENTRY = re.compile(r"@\w+\{(?P<key>[\w-]+),.*?\n\}", flags=re.DOTALL)
FIELD = re.compile(r"^\s*(?P<name>\w+)\s*=\s*\{(?P<value>.*)\},?\s*$", flags=re.MULTILINE)
ACCENTS = {'{\\"o}': "ö", '{\\"u}': "ü", "{\\ss}": "ß"}


@dataclass(frozen=True)
class Reference:
    """One work: how it is cited in a sentence, as a line of a list, and as BibTeX."""

    key: str
    short: str
    line: str
    doi: str | None
    bibtex: str


def read_references(path: Path) -> dict[str, Reference]:
    """The works of a .bib file by key."""
    text = path.read_text(encoding="utf-8")
    return {m["key"]: _reference(m["key"], m[0]) for m in ENTRY.finditer(text)}


def _reference(key: str, bibtex: str) -> Reference:
    fields = {m["name"]: _plain(m["value"]) for m in FIELD.finditer(bibtex)}
    names = [name.split(",")[0] for name in fields["author"].split(" and ")]
    who = {1: names[0], 2: " and ".join(names[:2])}.get(len(names), f"{names[0]} et al.")
    where = next((fields[n] for n in ("journal", "booktitle", "publisher") if n in fields), "")
    doi = fields.get("doi")
    line = f"{who.rstrip('.')}. {fields['title']}. {where or 'Software'} ({fields['year']})."
    return Reference(key, f"{who} {fields['year']}", line, doi, bibtex)


def _plain(text: str) -> str:
    for written, letter in ACCENTS.items():
        text = text.replace(written, letter)
    return text.replace("{", "").replace("}", "")
