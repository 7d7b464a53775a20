"""The viewer in headless Chromium, opened from disk as a user would."""

import io
import json
import time

import numpy as np
import pytest
from PIL import Image
from viewer_section import UM_PER_PX, SmallSection

from histoscribe.viewer.browser import find_chromium, open_page

pytestmark = pytest.mark.skipif(
    find_chromium() is None, reason="no browser: apt-get install -y chromium"
)
HOSTILE = [
    "<img src=x onerror=window.hacked=1>",
    "</script><script>window.hacked=1</script>",
    "../../etc/passwd",
    "\"'`${window.hacked=1}",
    "gène-β \u2028 名",
    "__proto__",
]


class Viewer:
    """A page that tells of all that went wrong in it and all that it asked for."""

    def __init__(self, page):
        self.page = page
        self.troubles, self.requests = [], []
        page.on(
            "console", lambda m: m.type in ("error", "warning") and self.troubles.append(m.text)
        )
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("request", lambda request: self.requests.append(request.url))
        page.reload()
        self.wait_for_picture()

    def wait_for_picture(self, painted=None):
        wanted = (
            "dataset.painted" if painted is None else f"dataset.painted === {json.dumps(painted)}"
        )
        self.page.wait_for_function(f"document.documentElement.{wanted}", timeout=90_000)
        self.page.wait_for_timeout(700)  # tiles fade in, movements end

    def map(self):
        """The map as it is seen, (height, width, 3)."""
        shot = self.page.locator("#map").screenshot()
        return np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)


@pytest.fixture(scope="module")
def page_of(tmp_path_factory):
    def make(**settings):
        return SmallSection(tmp_path_factory.mktemp("section"), **settings).write_viewer()

    return make


def differing(one, other):
    return (np.abs(one - other).max(axis=2) > 24).mean()


def test_a_click_on_a_gene_changes_the_picture(page_of):
    with open_page(str(page_of(types=("podocyte", "tubule", "unknown")))) as page:
        viewer = Viewer(page)
        first = viewer.map()
        page.get_by_role("option").nth(3).click()
        viewer.wait_for_picture("3/predicted")
        second = viewer.map()
        assert differing(first, second) > 0.1
        for kind, title in (("measured", "Measured"), ("difference", "Difference"),
                            ("width", "Uncertainty"), ("probability", "Probability")):  # fmt: skip
            page.get_by_role("radio", name=title).click()
            viewer.wait_for_picture(f"3/{kind}")
            third = viewer.map()
            assert differing(second, third) > 0.1, kind
            second = third
        page.get_by_role("tab", name="Cell types").click()
        viewer.wait_for_picture("type_measured")
        assert page.locator("#legend .name-row").count() == 3
        whole = viewer.map()
        page.locator("#legend .name-row").first.click()
        page.wait_for_timeout(300)
        assert differing(whole, viewer.map()) > 0.1
        page.get_by_role("tab", name="Quality").click()
        viewer.wait_for_picture("domain")
        assert "do not trust" in page.locator("#legend").inner_text()
        assert viewer.troubles == []
        assert all(url.startswith(("file://", "data:", "blob:")) for url in viewer.requests)


def test_keys_choose_genes_and_the_address_brings_them_back(page_of):
    page_path = page_of()
    with open_page(f"{page_path}#gene=GENE5&show=difference") as page:
        viewer = Viewer(page)
        viewer.wait_for_picture("5/difference")
        page.locator("#search").press("ArrowDown")
        viewer.wait_for_picture("6/difference")
        assert "gene=GENE6&show=difference" in page.url
        page.locator("#search").fill("gene2")
        viewer.wait_for_picture("2/difference")
        assert page.get_by_role("option").count() == 1
        assert viewer.troubles == []


def test_a_unit_lies_on_the_pixels_that_it_belongs_to(page_of):
    """A coloured dot in the image, at a known place in um, is under the unit of that place."""
    columns, rows, unit_um = 20, 15, 8.0
    image = np.full((int((rows + 3) * 16), int((columns + 3) * 16), 3), 235, dtype=np.uint8)
    left, top = (int((n + 1) * unit_um / UM_PER_PX) for n in (12, 4))  # of the unit there
    image[top : top + 16, left : left + 16] = (250, 0, 0)
    chosen = 4 * columns + 12
    with open_page(str(page_of(image=image))) as page:
        viewer = Viewer(page)
        page.evaluate("for (const id of ['navigator', 'corner'])"
                      " document.getElementById(id).style.display = 'none'")  # fmt: skip
        for width in (0, 60, 24):
            if width:
                x, y = (n * unit_um + 12.0 for n in (12, 4))
                page.evaluate(f"location.hash = 'gene=GENE0&x={x + 3}&y={y + 2}&width={width}'")
                page.wait_for_timeout(900)
            page.locator("#opacity").fill("0")
            page.locator("#slide-opacity").fill("100")
            page.wait_for_timeout(400)
            seen = viewer.map()
            is_dot = (seen[..., 0] > 200) & (seen[..., 1] < 110) & (seen[..., 2] < 110)
            assert is_dot.sum() > 100
            where = np.argwhere(is_dot)
            y, x = (where.min(axis=0) + where.max(axis=0) + 1) / 2
            edge = np.ptp(where[:, 1]) + 1
            box = page.locator("#map").bounding_box()
            page.mouse.click(box["x"] + x, box["y"] + y)
            page.locator("#details h2").wait_for()
            assert page.locator("#details h2").inner_text() == f"unit-{chosen}"
            # What deck.gl draws for this unit alone has the same middle and width, to a pixel.
            page.locator("#details .close").click()
            page.evaluate("HistoScribe.map.setColours(new Uint8ClampedArray(4 * 300).map((_, i) =>"
                          f" i >> 2 === {chosen} ? [0, 200, 0, 255][i & 3] : 0))")  # fmt: skip
            page.locator("#opacity").fill("100")
            page.wait_for_timeout(400)
            seen = viewer.map()
            is_unit = (seen[..., 1] > 180) & (seen[..., 0] < 60) & (seen[..., 2] < 60)
            drawn = np.argwhere(is_unit)
            assert (drawn.min(axis=0) + drawn.max(axis=0) + 1) / 2 == pytest.approx(
                [y, x], abs=1.01
            )
            assert np.ptp(drawn[:, 1]) + 1 == pytest.approx(edge, abs=4.01)
        assert viewer.troubles == []


def test_hostile_names_are_shown_as_text(page_of):
    page_path = page_of(genes=HOSTILE, types=tuple(HOSTILE), sample="<b>bold</b>")
    assert {p.suffix for p in (page_path.parent / "data").rglob("*.*")} == {".js"}
    with open_page(str(page_path)) as page:
        viewer = Viewer(page)
        assert page.locator("#sample").inner_text() == "<b>bold</b>"
        assert page.title().startswith("<b>bold</b>")
        for number, name in enumerate(HOSTILE):
            row = page.locator(f"#gene-{number}")
            assert row.locator(".name").text_content() == name
            row.click()
            viewer.wait_for_picture(f"{number}/predicted")
            assert name in page.locator("#legend h2").text_content()
        page.mouse.click(760, 400)
        page.get_by_role("tab", name="Cell types").click()
        viewer.wait_for_picture("type_measured")
        shown = page.locator("#legend .name-row .name").all_text_contents()
        assert sorted(shown) == sorted(HOSTILE)
        assert page.locator("img").count() == 0
        assert page.evaluate("window.hacked") is None
        assert viewer.troubles == []


def test_a_section_without_measurement_is_shown(page_of):
    with open_page(str(page_of(is_measured=False, has_intervals=False))) as page:
        viewer = Viewer(page)
        titles = page.locator("#kinds button").all_inner_texts()
        assert titles == ["Predicted", "Probability"]
        assert not page.locator("#shared-label").is_visible()
        assert "training tissue" in page.locator("#gene-note").inner_text()
        assert viewer.troubles == []


def test_warnings_stand_on_top(page_of):
    page_path = page_of()
    script = page_path.parent / "data/section.js"
    script.write_text(script.read_text().replace(
        '"warnings": []', '"warnings": [{"title": "Careful <i>", "text": "It may mislead."}]'
    ))  # fmt: skip
    with open_page(str(page_path)) as page:
        Viewer(page)
        warning = page.get_by_role("alert")
        assert "Careful <i>" in warning.inner_text()
        assert warning.bounding_box()["y"] < page.locator("#map").bounding_box()["y"]


def test_a_missing_file_is_named(page_of):
    page_path = page_of()
    (page_path.parent / "data/genes/2.js").unlink()
    with open_page(str(page_path)) as page:
        Viewer(page)
        page.get_by_role("option").nth(2).click()
        page.get_by_text("data/genes/2.js is missing").wait_for()


@pytest.mark.slow
def test_a_hundred_thousand_units_can_be_used(page_of, record_property):
    genes = [f"GENE{i}" for i in range(50)]
    page_path = page_of(n_columns=400, n_rows=250, genes=genes)
    begun = time.perf_counter()
    with open_page(str(page_path)) as page:
        viewer = Viewer(page)
        first_s = time.perf_counter() - begun
        begun = time.perf_counter()
        page.get_by_role("option").nth(30).click()
        viewer.page.wait_for_function("document.documentElement.dataset.painted === '30/predicted'")
        gene_s = time.perf_counter() - begun
        frame_ms = page.evaluate(
            """async () => {
              const begun = performance.now();
              for (let i = 0; i < 10; i++) {
                HistoScribe.map.zoomBy(1.1);
                await new Promise(requestAnimationFrame);
              }
              return (performance.now() - begun) / 10;
            }"""
        )
        seen = viewer.map()
        page.locator("#zoom-home").click()
        page.wait_for_timeout(1500)
        assert differing(seen, viewer.map()) > 0.1
        assert viewer.troubles == []
    record_property("first_picture_s", first_s)
    record_property("gene_s", gene_s)
    record_property("frame_ms", frame_ms)
    print(f"first picture {first_s:.1f} s, a gene {gene_s:.2f} s, a frame {frame_ms:.0f} ms")
