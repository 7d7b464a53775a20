"""A simulated tissue section: Visium HD counts, H&E and the truth behind both, from a seed.

The simulator is an instrument. Since what is expressed, and what of it shows in the image, is
known, a test can ask how much of the achievable a method achieved. No pixel, count or shape in it
was measured; gene symbols are real names, their effects are drawn.

**Tissue.** A surface (bare glass, keratin, layered epithelium), and below it six patches parted
by fibrous stroma: glands with lumens, tumour nests, a lymphoid aggregate with a germinal centre,
smooth muscle, fat. Ducts, vessels and fat cells are explicit shapes; fibres follow the contour
lines of a stream function. Cells of 14 types are placed by hard-core thinning (simple
sequential inhibition) with mixtures of types per zone (`cell_types.COMPOSITION`); some types keep
to one zone, lymphocytes, macrophages and plasma cells are found in many.

**Expression.** The share of gene g in the RNA of nucleus i is `softmax_g(eta_ig)`, where

    eta_ig = base_g + donor_g + type_g[t(i)] + domain_g[d(i)]
             + proliferation_i P_g + activation_i A_g + maturity_i M_g + mito_g 1.3 stressed_i
             + dosage ln(copies_g[c(i)] / 2)

and its expected UMIs within its outline are

    X_ig = umi_per_um2 * area_i * rna[t(i)] * size_i * (0.6 if stressed_i) * softmax_g(eta_ig).

Base, type, domain and state effects come from `program_seed`: equal in all sections. `donor_g`
comes from `donor_seed`. Of the states, proliferation shows (larger, darker nuclei with more
nucleoli), maturity shows (place, shape and colour in the layered epithelium and in nests), stress
shows (small, dark nuclei, red cytoplasm); activation and the size factor do not show. T and B
cells look much alike, as do luminal and basal cells, and fibroblast, endothelium and smooth muscle;
each pair also shares part of its programs (`programs.SISTERS`), and context tells them apart
better than the nucleus.

**Clones.** Where `n_clones` is 2, the cells of the tumour belong to two clones (`clones`). Three
whole arms of autosomes are gained (4 and 3 copies) and lost (1) in both, and three other arms in
each alone (3, 3 and 1), drawn from `donor_seed`; all other cells, and all other genes, have 2
copies. `copies_g[c(i)]` above is that of the clone of nucleus i. The clones meet along a front in
each tumour patch, drawn from `seed`. A nucleus of clone 2 is 12 % larger, and its stain 8 % more,
than it would be in clone 1: less than two nuclei of one clone differ. Genes lie at invented places
on chromosomes of GRCh38's lengths (`genome`).

**Counts.** `C_ig ~ Poisson(X_ig G_ig)`, `G_ig ~ Gamma` of mean 1 and variance `dispersion_g`, so
counts are negative binomial. Cytoplasm (the pixels nearer to this nucleus than to any other,
within the type's reach, in the same compartment) has `cytoplasm_ratio` of the nucleus's density,
2.2 times more of it mitochondrial, and the same G. The space between cells holds ambient RNA of
its domain. Each molecule starts at a uniform place in its compartment, moves by a normal step of
`diffusion_um` per axis (a few four times as far), and falls into a 2 um bin of a frame that is
slightly shifted and rotated in the image; array columns run right to left. Rows and columns of the
array differ in efficiency (log-normal, 8 %). Bins over bare glass are not in tissue. `write_visium`
counts the same molecules in spots of 55 um, 100 um apart, instead.

**Image.** Amounts of haematoxylin, eosin and erythrocyte red are painted from the same maps, then
mixed by Beer and Lambert with the donor's stain vectors, amounts and white, blurred, unevenly lit
and given sensor noise. The donor's stain changes colour and nothing else.

**Truth.** `truth.X` is X above: own RNA in the nucleus's true outline, before gamma, Poisson,
array efficiency and diffusion, without cytoplasm above or below, neighbours and ambient RNA. Its
log1p-normalised form against the log-normalised counts of the same nuclei is the natural reference
of a predictor. It is not a strict upper bound: part of what is counted in a nucleus came from its
surroundings, which an image shows too, so a predictor of counts may do slightly better on genes of
abundant neighbours. `obs` holds type, domain, area and states; `uns["settings"]` the settings.
With clones, `obs["clone"]`, places in `var`, `varm["copies"]` (genes, clones) and the altered arms
in `uns["copy_number"]` are added. `truth_dna.tsv` tells each nucleus's copies of each altered arm,
as DNA profiled beside the RNA would, and `genes.gtf` the places of genes.

**Not modelled.** Overlapping nuclei and cells cut above or below their nucleus; segmentation
errors (outlines are true); folds, tears, bubbles, pen, focus that varies over the slide; probe
bias, sequencing saturation, ambient RNA that travels far; copy numbers below the arm, of the
ambient RNA or in normal cells, mutations, clones that mix; necrosis, mitotic figures; continuous
transitions between types; cell-cell signalling beyond domain effects.
"""

from dataclasses import asdict

import anndata
import numpy as np
import pandas as pd
import shapely

from .cell_types import DOMAIN_NAMES, TYPE_NAMES, ZONE_GROUP, Zone
from .clones import CLONE_NAMES, CopyNumbers, draw_copy_numbers, give_clones, map_clones
from .genome import gene_positions
from .layout import make_layout
from .molecules import capture, draw_molecules, expected_nuclear_counts
from .nuclei import Nuclei, make_nuclei, map_cells
from .programs import donor_effect, expected_composition, make_programs
from .rendering import render
from .settings import SimulatedSection, SimulationSettings, stream
from .space_ranger import write_section
from .stain import donor_stain
from .visium import write_visium

__all__ = [
    "SimulatedSection",
    "SimulationSettings",
    "simulate_section",
    "write_section",
    "write_visium",
]


def simulate_section(settings: SimulationSettings) -> SimulatedSection:
    """Simulate one section; equal settings give equal results.

    Raises ValueError where no nucleus finds room or the panel is too small.
    """
    layout = make_layout(stream(settings.seed, "layout"), settings.shape_px, settings.um_per_px)
    nuclei = make_nuclei(stream(settings.seed, "nuclei"), layout)
    group = np.array([ZONE_GROUP[zone] for zone in Zone])
    if not len(nuclei):
        size = f"{settings.width_um} x {settings.height_um} um"
        raise ValueError(f"no nucleus finds room in {size}; 200 x 200 um is enough")
    programs = make_programs(settings.program_seed, settings.n_genes)
    copy_numbers, copy_effect = None, None
    if settings.n_clones:
        genes = programs.genes.index
        copy_numbers = draw_copy_numbers(settings.donor_seed, genes, settings.n_clones)
        copy_effect = copy_numbers.log_effect(settings.dosage)
        clone_map = map_clones(stream(settings.seed, "clones"), layout)
        nuclei = give_clones(nuclei, layout, clone_map)
    cells = map_cells(nuclei, layout, group)
    donor = donor_effect(settings.donor_seed, programs.genes, settings.batch_sd)
    composition = expected_composition(nuclei, programs, donor, copy_effect)
    expected = expected_nuclear_counts(nuclei, composition, settings.umi_per_um2)
    position_um, gene = draw_molecules(settings, layout, cells, nuclei, programs, expected)
    bins, positions = capture(settings, layout, position_um, gene)
    image = render(
        stream(settings.seed, "image"), layout, cells, nuclei, donor_stain(settings.donor_seed)
    )
    outlines = shapely.polygons(nuclei.polygon_um)
    names = pd.Index((np.arange(len(nuclei)) + 1).astype(str))
    truth = anndata.AnnData(
        X=expected.astype(np.float32),
        obs=pd.DataFrame(
            {
                "cell_type": pd.Categorical.from_codes(nuclei.type_index, list(TYPE_NAMES)),
                "domain": pd.Categorical.from_codes(nuclei.domain, list(DOMAIN_NAMES)),
                "area_um2": nuclei.area_um2,
                "proliferation": nuclei.proliferation,
                "activation": nuclei.activation,
                "maturity": nuclei.maturity,
                "stressed": nuclei.stressed,
            },
            index=names,
        ),
        var=programs.genes,
        obsm={"spatial": shapely.get_coordinates(shapely.centroid(outlines))},
        uns={"settings": asdict(settings)},
    )
    if copy_numbers is None:
        # The truth of a section without clones says nothing of them.
        del truth.uns["settings"]["n_clones"], truth.uns["settings"]["dosage"]
    else:
        _add_clones(truth, nuclei, copy_numbers)
    return SimulatedSection(
        settings, image, bins, positions, nuclei.polygon_um, truth, layout.domain
    )


def _add_clones(truth: anndata.AnnData, nuclei: Nuclei, copy_numbers: CopyNumbers) -> None:
    """Add to the truth, in place: clones of nuclei, places of genes, their copies, the events."""
    truth.obs["clone"] = pd.Categorical.from_codes(nuclei.clone, list(CLONE_NAMES))
    truth.var = truth.var.join(gene_positions(truth.var_names))
    truth.varm["copies"] = copy_numbers.copies
    truth.uns["copy_number"] = copy_numbers.events
