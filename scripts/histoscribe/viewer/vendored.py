"""The released libraries that the page uses: which files, whose, and unchanged since.

Run as a script (`make vendor`), it fetches them anew through npm at the versions of the table,
checks them against npm's digest, and writes the digests of the files into the table.
"""

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import pandas as pd

from histoscribe.errors import UserError, problem
from histoscribe.provenance import file_digest
from histoscribe.storage import written_whole

TABLE = "vendored.tsv"  # file, package, version, member, licence, integrity, sha256


def vendored_files(folder: Path) -> pd.DataFrame:
    """The table of the libraries' files, by file. Raises UserError where one is not as stated."""
    table = pd.read_csv(folder / TABLE, sep="\t", comment="#").set_index("file")
    for name, stated in table["sha256"].items():
        path = folder / name
        found = file_digest(path) if path.is_file() else "no file"
        if found != stated:
            raise UserError(
                problem(str(path), found, f"sha256 {stated}", "Fetch it again: make vendor.")
            )
    return table


def copy_vendored(source: Path, target: Path) -> None:
    """Copy the libraries with their licences and the table that says what they are."""
    target.mkdir(parents=True)
    for name in [*vendored_files(source).index, TABLE]:
        shutil.copyfile(source / name, target / name)


def fetch(folder: Path) -> None:
    """Fetch every file of the table through npm. Raises UserError where npm's digest differs."""
    table = pd.read_csv(folder / TABLE, sep="\t", comment="#").set_index("file")
    with tempfile.TemporaryDirectory() as scratch:
        for (package, version), files in table.groupby(["package", "version"]):
            command = ["npm", "pack", "--json", f"{package}@{version}"]
            packed = subprocess.run(
                command, cwd=scratch, check=True, stdout=subprocess.PIPE, text=True
            )
            (release,) = json.loads(packed.stdout)
            for name, row in files.iterrows():
                if release["integrity"] != row["integrity"]:
                    raise UserError(
                        problem(
                            f"{package} {version}", release["integrity"], row["integrity"],
                            "Is it another release? Change the table only if you trust it.",
                        )
                    )  # fmt: skip
                with (
                    tarfile.open(Path(scratch) / release["filename"]) as archive,
                    archive.extractfile(row["member"]) as member,
                    written_whole(folder / str(name)) as partial,
                ):
                    partial.write_bytes(member.read())
    table["sha256"] = [file_digest(folder / str(name)) for name in table.index]
    with written_whole(folder / TABLE) as partial:
        table.to_csv(partial, sep="\t")


if __name__ == "__main__":
    fetch(Path(sys.argv[1]))
