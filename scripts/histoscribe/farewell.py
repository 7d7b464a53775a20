"""What a finished run says: its report, where its results are, and how well its models did."""

import sys
from pathlib import Path

from histoscribe.tables import read_table

NO_TERMS = "terms        none were looked for: enrichment.sets and enrichment.obo name no file"


def farewell(results: Path) -> str:
    """Name the report, the tables, the predictions and the figures of a run, with its scores."""
    summary = read_table(results / "summary.tsv")
    columns = ["experiment", "sample", "pcc_mean", "ceiling_mean", "fraction_of_ceiling_median"]
    doubtful = summary.loc[summary["alignment"].str.contains("[A-Z]{3}"), "alignment"].unique()
    predictions = sorted(results.glob("*/*/predicted/*.h5ad"))
    figures = sorted(results.glob("figures/**/*.png"))
    lines = [
        "",
        summary[columns].to_string(index=False),
        *(f"WARNING: image and molecules: {text}" for text in doubtful),
        "",
        f"report       {results / 'report.html'} (open it in a browser; the rest is in it)",
        *(f"viewer       {path}" for path in sorted(results.glob("viewer/*/index.html"))),
        f"summary      {results / 'summary.tsv'}",
        *(f"predicted    {path}" for path in predictions if "/full/" in str(path)),
        f"figures      {results / 'figures'} ({len(figures)} of them, with their numbers)",
        *([] if any(results.glob("enriched/**/*.tsv")) else [NO_TERMS]),
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(farewell(Path(sys.argv[1])) + "\n")
