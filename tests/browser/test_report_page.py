"""The report in headless Chromium, opened from disk as a reader would."""

import shutil
from dataclasses import replace

import pytest
from report_run import clusters, page_of, pictures_of, results_of, run_of

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no browser: apt-get install -y chromium")
N_GENES = 2000
HOSTILE = [
    "<script>window.hacked=1</script>",
    '"><img src=x onerror=window.hacked=1>',
    "</script><script>window.hacked=1</script>",
    "__proto__",
]


# How long the page takes for 20 searches and sorts, drawing included.
SEARCHES_AND_SORTS = """() => {
  const box = document.getElementById('gene-search');
  const start = performance.now();
  for (let i = 0; i < 10; i++) {
    box.value = i % 2 ? String(i) : '';
    box.dispatchEvent(new Event('input'));
    document.querySelectorAll('#gene-table thead button')[i % 5].click();
    document.body.offsetHeight;
  }
  box.value = '';
  box.dispatchEvent(new Event('input'));
  return performance.now() - start;
}"""


class Report:
    """An open page that tells of all that went wrong in it and all that it asked for."""

    def __init__(self, page, path):
        self.page = page
        self.troubles, self.requests = [], []
        page.on("console", lambda m: self.troubles.append(m.text))
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.goto(path.resolve().as_uri())

    def names(self):
        return self.page.locator("#gene-table tbody th").all_inner_texts()

    def column(self, heading):
        headings = self.page.locator("#gene-table thead th").all_inner_texts()
        at = next(i for i, text in enumerate(headings) if text.startswith(heading))
        cells = self.page.locator(f"#gene-table tbody tr > :nth-child({at + 1})")
        return [text.replace("−", "-") for text in cells.all_inner_texts()]

    def sort_by(self, heading):
        self.page.locator("#gene-table thead button", has_text=heading).first.click()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A report with 2,000 genes, two tested sections, figures, types and names that attack."""
    folder = tmp_path_factory.mktemp("run")
    facts = run_of()
    sections = [replace(s, donor=HOSTILE[0], group=HOSTILE[1]) for s in facts.sections]
    facts = replace(facts, sections=sections, name=HOSTILE[2])
    genes = [*HOSTILE, *(f"GENE{i}" for i in range(N_GENES - len(HOSTILE)))]
    results = results_of(facts, genes, clusters={("measured", "s3"): clusters(HOSTILE[1])})
    pictures = pictures_of(folder, ["ablation", "gene_maps/full/holdout/s3"])
    path = folder / "report.html"
    path.write_text(page_of(facts, results, pictures=pictures), encoding="utf-8")
    return path


@pytest.fixture
def report(browser, written):
    context = browser.new_context(permissions=["clipboard-read", "clipboard-write"])
    yield Report(context.new_page(), written)
    context.close()


def test_the_page_opens_without_errors_or_requests(report):
    report.page.wait_for_timeout(500)
    assert report.troubles == []
    assert [url for url in report.requests if not url.startswith("data:")] == [report.page.url]
    assert report.page.evaluate("window.hacked") is None
    assert HOSTILE[2] in report.page.locator("h1").inner_text()
    images = report.page.locator("#figures img")
    assert images.evaluate_all("all => all.every(i => i.complete && i.naturalWidth > 0)")


def test_names_that_attack_are_only_shown(report):
    report.page.fill("#gene-search", "hacked")
    assert sorted(report.names()) == sorted(HOSTILE[:3])
    report.page.fill("#gene-search", "__proto__")
    assert report.names() == ["__proto__"]
    assert report.page.evaluate("window.hacked") is None
    assert report.troubles == []


def test_a_script_that_is_not_the_pages_own_cannot_run(report):
    """Should a name slip through, the policy stops it."""
    report.page.evaluate(
        "document.body.insertAdjacentHTML('beforeend', '<img src=x onerror=\"window.hacked=1\">')"
    )
    report.page.wait_for_timeout(200)
    assert report.page.evaluate("window.hacked") is None
    assert any("Content Security Policy" in text for text in report.troubles)


def test_genes_are_sorted_by_any_column(report):
    assert report.page.locator("[aria-sort]").inner_text().startswith("PCC")
    shown = list(map(float, report.column("PCC")))
    assert len(shown) == 50 and shown == sorted(shown, reverse=True)
    report.sort_by("PCC")
    shown = list(map(float, report.column("PCC")))
    assert shown == sorted(shown)
    report.sort_by("Gene")
    assert report.names()[-1] == "GENE45"  # numbers in names count as numbers
    report.sort_by("Of ceiling")
    shown = list(map(float, report.column("Of ceiling")))
    assert shown == sorted(shown, reverse=True)
    assert report.page.evaluate("document.activeElement.textContent") == "Of ceiling"


def test_genes_are_found_one_or_several(report):
    report.page.fill("#gene-search", "gene77, GENE1999")
    found = set(report.names())
    assert {"GENE77", "GENE770"} <= found and all("77" in name for name in found)
    assert report.page.inner_text("#gene-count").startswith(f"{len(found)} of 2,000 genes")
    report.page.fill("#gene-search", "nosuchgene")
    assert report.names() == []


def test_genes_are_filtered_by_grade_and_section(report):
    for grade in "ABD":
        report.page.uncheck(f'input[value="{grade}"]')
    assert set(report.column("Grade")) == {"C"}
    report.page.check('input[value="A"]')
    pooled = report.page.inner_text("#gene-count")
    report.page.select_option("#gene-view", label="s4")
    assert set(report.column("Grade")) <= {"A", "C"}
    assert report.page.inner_text("#gene-count") != pooled
    assert "this section" in report.page.inner_text("#gene-count")


def test_two_thousand_genes_are_quick(report):
    milliseconds = report.page.evaluate(SEARCHES_AND_SORTS)
    assert milliseconds / 21 < 150
    while report.page.is_visible("#gene-more"):
        report.page.click("#gene-more")
    assert report.page.locator("#gene-table tbody tr").count() == N_GENES


def test_copying_works_from_disk(report):
    clipboard = "navigator.clipboard.readText()"
    report.page.click('[data-copies="methods-text"]')
    report.page.wait_for_selector("#said.shown")
    text = report.page.evaluate(clipboard)
    assert text.startswith("Four H&E-stained sections") and "(Wen et al. 2025)" in text
    report.page.locator("summary", has_text="BibTeX").click()
    report.page.click('[data-copies="bibtex"]')
    report.page.wait_for_timeout(200)
    assert report.page.evaluate(clipboard).startswith("@article{snakemake,")
    report.page.fill("#gene-search", "GENE1998")
    report.page.click("#gene-copy")
    report.page.wait_for_timeout(200)
    assert report.page.evaluate(clipboard) == ""  # there are 1,996 such names
    report.page.fill("#gene-search", "GENE1995")
    report.page.click("#gene-copy")
    report.page.wait_for_timeout(200)
    assert report.page.evaluate(clipboard) == "GENE1995"
    assert report.troubles == []


def test_copying_works_without_the_clipboard(report):
    """As in browsers that keep it from pages on disk."""
    report.page.evaluate(
        "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('no')); }"
    )
    report.page.click('[data-copies="methods-text"]')
    report.page.wait_for_selector("#said.shown")
    assert report.page.inner_text("#said") == "Copied"
    assert "H&E-stained" in report.page.evaluate("navigator.clipboard.readText()")


def test_the_table_is_saved_as_shown(report, tmp_path):
    report.page.fill("#gene-search", "GENE77")
    with report.page.expect_download() as download:
        report.page.click("#gene-save")
    path = tmp_path / "genes.tsv"
    download.value.save_as(path)
    lines = path.read_text().splitlines()
    assert lines[0].startswith("gene\ttrust\tpcc")
    assert [line.split("\t")[0] for line in lines[1:]] == report.names()


def test_figures_are_enlarged_by_mouse_and_keyboard(report):
    button = report.page.locator(".enlarge").first
    button.click()
    assert report.page.locator("dialog[open] #enlarged-title").inner_text().startswith("Genes")
    assert report.page.evaluate("document.getElementById('enlarged-image').naturalWidth") == 300
    report.page.keyboard.press("Escape")
    assert report.page.locator("dialog[open]").count() == 0
    button.focus()
    report.page.keyboard.press("Enter")
    report.page.click("#enlarged-close")
    assert report.page.locator("dialog[open]").count() == 0


@pytest.mark.parametrize("width_px", [390, 1280])
def test_nothing_is_wider_than_the_screen(browser, written, width_px):
    page = browser.new_page(viewport={"width": width_px, "height": 800})
    page.goto(written.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width_px
    page.close()


def test_it_is_printed_without_its_controls(report, tmp_path):
    report.page.emulate_media(media="print")
    assert not report.page.is_visible("nav")
    assert not report.page.is_visible("#gene-form")
    report.page.pdf(path=tmp_path / "report.pdf")
    assert (tmp_path / "report.pdf").stat().st_size > 20_000


def test_it_is_read_without_scripts(browser, written):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(written.as_uri())
    assert page.locator("#gene-table tbody tr").count() == 25
    assert page.locator("#genes noscript").is_visible()
    context.close()
