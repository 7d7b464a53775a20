"""What each genotype of the config is made of."""

from histoscribe.genome.entries import check_genotypes, genotype_entries
from histoscribe.genome.words import LABELS, PREDICTED

GENOTYPES = genotype_entries(config, data_folder(config))
try:
    check_genotypes(
        GENOTYPES,
        RUN,
        ENCODERS,
        {
            MEASURED: {sample for source, sample in annotated() if source == MEASURED},
            PREDICTED: {sample for source, sample in annotated() if source != MEASURED},
        },
        len(pairs()),
    )
except UserError as error:
    raise WorkflowError(str(error)) from None


wildcard_constraints:
    genotype="|".join(map(re.escape, GENOTYPES)) or "none",


def genotype_entry(wildcards):
    """The facts of a genotype, as plain values."""
    entry = GENOTYPES[wildcards.genotype]
    is_named = entry.sample is None or ENCODERS[entry.encoder]["kind"] in NAMED
    section = RUN.sections.get(entry.sample)
    dna = entry.dna if section is None else section.dna
    return {
        "where": entry.where,
        "labels": entry.sample and labels_of(entry, entry.sample),
        "dna": None if entry.is_inferred else str(dna),
        "regions": str(section.labels) if section is not None and section.labels else None,
        "cells": entry.cells,
        "reference": list(entry.reference),
        "among": list(entry.among),
        "expression": entry.expression,
        "is_inferred": entry.is_inferred,
        "features": list(entry.features),
        "is_named": is_named,
    }


def copy_number_of(wildcards):
    """The config's settings of copy number, with what a genotype has of its own."""
    own = config["genotypes"][wildcards.genotype].get("copy_number") or {}
    return merge(config["copy_number"], own)


def plain_copy_number(wildcards):
    """These but for the file of positions, which is an input."""
    return {key: value for key, value in copy_number_of(wildcards).items() if key != "positions"}


def association_of(wildcards):
    """The config's settings of associations, with what a genotype has of its own."""
    own = config["genotypes"][wildcards.genotype].get("association") or {}
    return merge(config["association"], own)


def shown_source(entry):
    """measured, or the first experiment and fold that predict the section."""
    if not entry.is_predicted:
        return MEASURED
    return next(s for s, sample in annotated() if s != MEASURED and sample == entry.sample)


def cells_input(entry, source, sample):
    """The file that says what the units of a section are, as an input."""
    if entry.cells == LABELS:
        return source_file(RUN.sections[sample].labels)
    return f"<results>/annotated/{source}/{sample}.h5ad"


def labels_of(entry, sample):
    """The file of a section's labels, which may be of a data set that is retrieved; None for types."""
    return str(RUN.sections[sample].labels) if entry.cells == LABELS else None


def proving_labels(wildcards):
    """The files of labels of tested sections, None where types are asked for."""
    return [labels_of(GENOTYPES[wildcards.genotype], sample) for sample in proving_samples()]


def copy_number_inputs(wildcards):
    """Units and what they are, and of predictions the proof that copies can be told from them."""
    entry = GENOTYPES[wildcards.genotype]
    if entry.sample is None:
        return {"units": str(entry.file)}
    source = shown_source(entry)
    files = {
        "units": expression_file(source, entry.sample),
        "cells": cells_input(entry, source, entry.sample),
    }
    if entry.is_predicted:
        files["proof"] = "<results>/genotypes/{genotype}/proof.tsv"
    return files


def genotype_inputs(wildcards):
    """Clones or DNA, units, and features of a genotype."""
    entry = GENOTYPES[wildcards.genotype]
    files = {}
    if entry.is_inferred:
        files["copies"] = "<results>/genotypes/{genotype}/copies.h5ad"
        files["segments"] = "<results>/genotypes/{genotype}/segments.tsv"
    else:
        files |= copy_number_inputs(wildcards)
        dna = entry.dna if entry.sample is None else RUN.sections[entry.sample].dna
        files["dna"] = source_file(dna)
        if entry.sample is not None and RUN.sections[entry.sample].labels:
            files["regions"] = source_file(RUN.sections[entry.sample].labels)
    if entry.sample is not None:
        files["features"] = f"<results>/features/{entry.encoder}/{entry.sample}.h5ad"
    elif entry.features:
        files["units"] = str(entry.file)
    return files


def pictured_genotype(wildcards):
    """All units of the section that a figure shows, its outlines and image, and what is inferred."""
    entry = GENOTYPES[wildcards.genotype]
    files = {}
    if entry.is_inferred:
        files["segments"] = "<results>/genotypes/{genotype}/segments.tsv"
    if entry.sample is None:
        return {**files, "places": str(entry.file)}
    files["places"] = expression_file(shown_source(entry), entry.sample)
    files["slide"] = f"<results>/sections/{entry.sample}/image.ome.tif"
    outlines = OUTLINED.get(RUN.sections[entry.sample].unit)
    if outlines:
        files["nuclei"] = f"<results>/sections/{entry.sample}/{outlines}.parquet"
    return files


def genotype_title(wildcards):
    """What a figure is of, and whether its clones are measured or inferred."""
    entry = GENOTYPES[wildcards.genotype]
    source = "clones inferred from expression" if entry.is_inferred else "genotypes by DNA"
    return f"{wildcards.genotype}: {source}, {entry.sample or entry.file.stem}"


def proving_samples():
    """Tested sections, which are measured and predicted."""
    return list(dict.fromkeys(sample for _, _, sample in pairs()))


def proving_inputs(wildcards):
    """Measured and predicted expression of tested sections, and what their units are."""
    entry = GENOTYPES[wildcards.genotype]
    files = {name: [] for name in ("measured", "measured_cells", "predicted", "predicted_cells")}
    first = {}
    for experiment, fold, sample in pairs():
        first.setdefault(sample, f"{experiment}/{fold}")
    for sample, source in first.items():
        for name, of in (("measured", MEASURED), ("predicted", source)):
            files[name].append(expression_file(of, sample))
            files[f"{name}_cells"].append(cells_input(entry, of, sample))
    return files


def genotype_seen_um(wildcards):
    """How wide an encoder sees around a unit: the buffer between blocks; 0 for a file's features."""
    return encoder_reach_um(GENOTYPES[wildcards.genotype])


def genotype_files():
    tables = {
        name: ("carriers", "genes", "dosage", "image")
        + (("clones", "segments") if entry.is_inferred else ())
        for name, entry in GENOTYPES.items()
    }
    return [
        f"<results>/genotypes/{name}/{table}.tsv" for name, own in tables.items() for table in own
    ]


def genotype_figures():
    return expand("<results>/figures/genotypes/{name}.{ending}", name=GENOTYPES, ending=ENDINGS)
