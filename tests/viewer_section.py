"""A small section as a run leaves it, made from random numbers, and its viewer."""

from dataclasses import dataclass, field
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse
from section_files import tissue_image, write_tiff

import write_viewer
from histoscribe.image import open_slide, write_rescaled
from histoscribe.provenance import RECORD_KEY, record
from histoscribe.storage import write_h5ad

REPOSITORY = Path(__file__).parent.parent
UM_PER_PX = 0.5


@dataclass
class SmallSection:
    """Units on a grid over an image; what is not given is random."""

    folder: Path
    n_columns: int = 20
    n_rows: int = 15
    genes: list[str] = field(default_factory=lambda: [f"GENE{i}" for i in range(8)])
    sample: str = "section-1"
    unit_um: float = 8.0
    image: np.ndarray | None = None
    is_measured: bool = True
    has_intervals: bool = True
    types: tuple[str, ...] = ()
    doubtful: str = ""  # a type that others fit as well
    unit_shape: str = "square"

    def __post_init__(self) -> None:
        rng = np.random.default_rng(0)
        n, n_genes = self.n_columns * self.n_rows, len(self.genes)
        row, column = (a.ravel() for a in np.indices((self.n_rows, self.n_columns)))
        self.xy_um = self.unit_um * (np.column_stack([column, row]) + 1.5)
        self.names = [f"unit-{i}" for i in range(n)]
        self.counts = rng.poisson(1.0, (n, n_genes))
        self.predicted = rng.gamma(2.0, 0.3, (n, n_genes)).astype(np.float32)
        self.write_image()
        self.write_units()
        self.write_prediction("fold-1")
        self.write_scores()
        if self.types:
            self.write_annotation("measured")
            self.write_annotation("full/fold-1")

    def write_image(self) -> None:
        if self.image is None:
            height, width = (
                (n + 3) * self.unit_um / UM_PER_PX for n in (self.n_rows, self.n_columns)
            )
            self.image = tissue_image(int(height), int(width))
        path = write_tiff(self.folder / "slide.tif", self.image, UM_PER_PX)
        write_rescaled(open_slide(path), UM_PER_PX, UM_PER_PX, self.folder / "image.ome.tif")

    def facts(self, **more: object) -> dict[str, str]:
        is_bin = self.unit_shape == "square"
        unit = {"unit": "bin" if is_bin else "nucleus", "unit_shape": self.unit_shape}
        return record(sample=self.sample, unit_size_um=self.unit_um, **unit, **more)

    def write_units(self) -> None:
        units = ad.AnnData(
            sparse.csr_matrix(self.counts.astype(np.float32)),
            obs=pd.DataFrame({"umi": self.counts.sum(axis=1)}, index=self.names),
            var=pd.DataFrame(index=self.genes),
        )
        units.obsm["spatial"] = self.xy_um
        units.uns[RECORD_KEY] = self.facts()
        write_h5ad(units, self.folder / "units.h5ad")

    def write_prediction(self, fold: str) -> None:
        n = len(self.names)
        strange = np.linspace(0, 1, n, dtype=np.float32)
        prediction = ad.AnnData(
            self.predicted,
            obs=pd.DataFrame(
                {"domain_percentile": strange, "out_of_domain": strange > 0.99}, index=self.names
            ),
            var=pd.DataFrame(
                {"trust": "B", "unseen_pcc": np.linspace(0, 0.5, len(self.genes))}, index=self.genes
            ),
        )
        prediction.layers["probability"] = 1 - np.exp(-self.predicted)
        if self.has_intervals:
            prediction.layers["lower"] = np.zeros_like(self.predicted)
            prediction.layers["upper"] = 2 * self.predicted
        prediction.obsm["spatial"] = self.xy_um
        prediction.uns[RECORD_KEY] = self.facts(target_sum="median", model="multitask")
        write_h5ad(prediction, self.folder / fold / "predicted.h5ad")

    def write_scores(self) -> None:
        pcc = np.linspace(0.6, 0.1, len(self.genes))
        scores = pd.DataFrame({"gene": self.genes, "pcc": pcc, "pcc_low": pcc - 0.05})
        scores = scores.assign(pcc_high=pcc + 0.05, ceiling=0.8, trust="A")
        scores.to_csv(self.folder / "scores.tsv", sep="\t", index=False)
        verdict = {"verdict": ["aligned"], "detail": ["no shift"]}
        pd.DataFrame(verdict).to_csv(self.folder / "alignment.tsv", sep="\t", index=False)

    def annotation_path(self, source: str) -> Path:
        return self.folder / "annotated" / source / f"{self.sample}.h5ad"

    def write_annotation(self, source: str) -> None:
        names = pd.Categorical(np.resize(np.array(self.types, dtype=object), len(self.names)))
        columns = {"type": names, "broad_class": names, "is_ambiguous": names == self.doubtful}
        obs = pd.DataFrame(columns, index=self.names)
        self.annotation_path(source).parent.mkdir(parents=True, exist_ok=True)
        write_h5ad(ad.AnnData(obs=obs), self.annotation_path(source))

    def write_viewer(self, **changes: object) -> Path:
        """The viewer's page."""
        sources = ["measured", "full/fold-1"] if self.types else []
        settings = {
            "sample": self.sample,
            "run": "a-run",
            "experiment": "full",
            "is_simulated": False,
            "predicted": [self.folder / "fold-1/predicted.h5ad"],
            "blocks": [None],
            "units": self.folder / "units.h5ad",
            "scores": [self.folder / "scores.tsv"] if self.is_measured else [],
            "annotated": {
                (made_of, self.sample): self.annotation_path(made_of) for made_of in sources
            },
            "shown": ["full/fold-1"],
            "alignment": self.folder / "alignment.tsv" if self.is_measured else None,
            "outlines": None,
            "image": self.folder / "image.ome.tif",
            "um_per_px": UM_PER_PX,
            "n_genes": 200,
            "jpeg_quality": 80,
            "palette": REPOSITORY / "resources/type_colours.tsv",
            "source": REPOSITORY / "resources/viewer",
            "output": self.folder / "viewer",
        }
        settings.update(changes)
        write_viewer.main(**settings)
        return settings["output"] / "index.html"
