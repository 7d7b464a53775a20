"""Fetch a public data set's files, check them, and unpack its archives."""

import json
import shutil
from pathlib import Path

from histoscribe.archives import extract_archive
from histoscribe.joblog import job_log
from histoscribe.provenance import file_digest
from histoscribe.retrieval import retrieve_file
from histoscribe.storage import written_whole


def main(files: list[dict], output: Path) -> None:
    folder = output.parent
    fetched = {}
    for file in files:
        checks = {key: file.get(key) for key in ("sha256", "md5", "size_bytes")}
        path = retrieve_file(file["url"], folder / file["url"].rsplit("/", 1)[-1], **checks)
        fetched[path.name] = {"url": file["url"], "sha256": file_digest(path)}
        if file.get("extract"):
            target = folder / path.name.split(".")[0]
            shutil.rmtree(target, ignore_errors=True)  # of a run that was cut short
            extract_archive(path, target)
            path.unlink()
    with written_whole(output) as partial:
        partial.write_text(json.dumps(fetched, indent=2))


if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        main(files=snakemake.params.files, output=Path(snakemake.output[0]))
