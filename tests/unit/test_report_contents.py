"""The report as a page: what it embeds, what it loads, and names that mean harm."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser

from report_run import (
    TEMPLATES,
    clusters,
    leakage,
    page_of,
    pictures_of,
    results_of,
    run_of,
    write_figures,
)

from histoscribe.report.accuracy import (
    charts,
)
from histoscribe.report.facts import FoldFacts
from histoscribe.report.gene_table import (
    gene_views,
)
from histoscribe.report.links import run_links
from histoscribe.report.pictures import embed, figures_of, read_captions
from histoscribe.report.results import (
    read_jobs,
)

EVIL = ("<script>alert(1)</script>", '"><img src=x onerror=alert(1)>', "</script><b>", "{{ 7*7 }}")


def test_time_and_memory_by_rule(tmp_path):
    assert read_jobs(tmp_path) is None
    for name, seconds, mb in (("train/a", 10, 500), ("train/b", 20, 900), ("plot", 5, "-")):
        path = tmp_path / f"{name}.tsv"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"s\th:m:s\tmax_rss\n{seconds}\t0:00:10\t{mb}\n")
    jobs = read_jobs(tmp_path)
    assert jobs["rule"].tolist() == ["train", "plot"]
    assert jobs.iloc[0].tolist() == ["train", 2, 30.0, 900.0]


def test_figures_shrink_until_they_fit_and_the_rest_are_linked(tmp_path):
    names = [f"gene_maps/full/holdout/s{i}" for i in range(4)]
    files = write_figures(tmp_path / "figures", names, (2000, 500))
    figures = figures_of(files, tmp_path / "figures", unnamed=["holdout"], tested=["s3"])
    assert figures[0].kind == "gene_maps" and figures[0].name == "s3 (full)"  # tested
    assert figures[0].hrefs[0] == ("figures/gene_maps/full/holdout/s3.pdf", "PDF")
    large = embed(figures, 10**9)
    assert {picture.width for picture in large} == {1800}
    full_size = sum(len(picture.uri) for picture in large)
    small = embed(figures, full_size * 2 // 3)
    assert {picture.width for picture in small} == {1300}
    assert sum(len(picture.uri) for picture in small) <= full_size * 2 // 3
    few = embed(figures, full_size // 8)
    shown = [picture for picture in few if picture.uri]
    assert 0 < len(shown) < 4 == len(few)
    assert sum(len(picture.uri) for picture in shown) <= full_size // 8
    facts = run_of()
    page = page_of(facts, results_of(facts), pictures=few)
    assert "did not fit" in page and "figures/gene_maps/full/holdout/s3.pdf" in page


def test_drawings_are_kept_without_loss(tmp_path):
    from PIL import Image

    path = tmp_path / "figures/ablation.png"
    path.parent.mkdir()
    Image.new("RGBA", (100, 50), (0, 0, 0, 0)).save(path)
    (picture,) = embed(figures_of([path], path.parent, unnamed=[], tested=[]), 10**6)
    assert picture.uri.startswith("data:image/png")
    assert (picture.figure.kind, picture.figure.name) == ("ablation", "")


# The page.
class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text of scripts."""

    def __init__(self):
        super().__init__()
        self.found, self.text = [], []

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text.append(data)


def elements_of(page):
    parser = Elements()
    parser.feed(page)
    return parser


def test_names_from_sheets_and_genes_are_escaped(tmp_path):
    tested = ("s3",)
    plain = run_of(tested=tested)
    sections = [replace(s, donor=EVIL[0], group=EVIL[1]) for s in plain.sections]
    sections[-1] = replace(sections[-1], sample=EVIL[1])
    facts = run_of(
        name=EVIL[0],
        sections=sections,
        folds=[FoldFacts("holdout", ["s1", "s2"], [], [EVIL[1]], False)],
    )
    genes = [*EVIL, "ACTB"]
    results = results_of(facts, genes, clusters={("measured", EVIL[1]): clusters(EVIL[0])})
    page = page_of(facts, results, viewers={EVIL[1]: "viewer/x/index.html"})
    parser = elements_of(page)
    scripts = [a for tag, a in parser.found if tag == "script"]
    assert scripts == [{"type": "application/json", "id": "gene-data"}, {}]
    assert not [a for _, a in parser.found if any(name.startswith("on") for name in a)]
    assert "img" not in {tag for tag, a in parser.found if a.get("src") == "x"}
    assert "49" not in page.split("<h1>")[1].split("</h1>")[0]
    block = re.search(r'id="gene-data">(.*?)</script>', page, flags=re.DOTALL)[1]
    assert "<" not in block
    assert set(json.loads(block)[0]["values"][0]) == set(genes)
    assert EVIL[0] in "".join(parser.text)  # shown as it is written


def test_the_page_loads_nothing(tmp_path):
    facts = run_of()
    pictures = pictures_of(tmp_path, ["ablation", "gene_maps/full/holdout/s3"])
    parser = elements_of(page_of(facts, results_of(facts), pictures=pictures))
    for tag, attributes in parser.found:
        for name in ("src", "srcset", "poster", "data", "background"):
            assert attributes.get(name, "data:").startswith("data:"), (tag, attributes)
        href = attributes.get("href", "#")
        if tag != "a":
            assert href in ("#", "data:,")
        elif ":" in href:
            assert href.startswith("https://doi.org/")
    policy = next(a["content"] for t, a in parser.found if "http-equiv" in a)
    assert "default-src 'none'" in policy and "unsafe-eval" not in policy
    ids = [a["id"] for _, a in parser.found if "id" in a]
    assert len(ids) == len(set(ids))
    targets = {a["href"][1:] for t, a in parser.found if t == "a" and a["href"].startswith("#")}
    assert targets <= set(ids)


def test_the_page_stays_small_with_many_genes_and_sections():
    facts = run_of(tested=tuple(f"t{i}" for i in range(12)))
    page = page_of(facts, results_of(facts, [f"GENE{i}" for i in range(2000)]))
    assert len(page.encode()) < 5_000_000  # what figures leave of 25 MB


def test_cell_types_show_names_and_runners_up():
    facts = run_of(tested=("s3",))
    tables = {("full/holdout", "s3"): clusters(), ("measured", "s3"): clusters()}
    results = results_of(facts, clusters=tables)
    page = page_of(facts, results)
    assert page.index("s3, measured") < page.index("s3, predicted (full)")
    assert "endothelial (1.00)" in page and "too small, left out" in page


def test_with_several_folds_each_number_says_which(tmp_path):
    folds = [
        FoldFacts("donor-d1", ["s2"], [], ["s1", "s3"], False),
        FoldFacts("donor-d2", ["s1"], [], ["s2", "s3"], False),
    ]
    facts = run_of(tested=("s3",), folds=folds)
    results = results_of(facts, leakage={fold.name: leakage("fine") for fold in folds})
    assert [view.name for view in gene_views(facts, results)[1:]] == [
        "s1 (fold donor-d1)",
        "s3 (fold donor-d1)",
        "s2 (fold donor-d2)",
        "s3 (fold donor-d2)",
    ]
    assert [chart.title for chart in charts(facts, results)][-1] == "s3 (fold donor-d2)"
    files = write_figures(tmp_path / "figures", ["gene_maps/full/donor-d1/s3"], (30, 20))
    (figure,) = figures_of(files, tmp_path / "figures", unnamed=[], tested=[])
    assert figure.name == "s3 (full, donor-d1)"
    page = page_of(facts, results)
    assert "2 folds: who was tested when" in page
    assert "in each of 2 folds" in page and "take turns at being tested" in page


def test_every_kind_of_figure_has_a_caption(repository):
    captions = read_captions(TEMPLATES / "captions.yaml")
    rules = "\n".join(p.read_text() for p in (repository / "workflow/rules").glob("*.smk"))
    kinds = set(re.findall(r"<results>/figures/([a-z_]+)", rules))
    assert kinds and kinds <= set(captions)


def test_links_start_from_the_results_folder():
    links = run_links(
        is_scored=True,
        predictions=[("full", "holdout", "s 1")],
        models=[("full", "holdout")],
        sections=["s 1"],
        exported={"spatialdata/s1.zarr": "for napari"},
    )
    hrefs = [link["href"] for link in links]
    assert hrefs[0] == "summary.tsv" and "full/holdout/predicted/s%201.h5ad" in hrefs
    assert not any(href.startswith(("/", "http")) for href in hrefs)
