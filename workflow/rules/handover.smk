"""Sections as other tools open them.

in:  <results>/sections/{sample}/, {experiment}/{fold}/predicted/{sample}.h5ad, evaluated/{sample}.tsv,
     annotated/{source}/{sample}.h5ad
out: <results>/exported/{sample}.spatialdata.zarr, {sample}.qupath.geojson, {sample}.xenium
"""


rule export_spatialdata:
    """Image pyramid, shapes and tables in one coordinate system, in um."""
    input:
        unpack(nuclei_input),
        unpack(shown_files),
        units="<results>/sections/{sample}/units.h5ad",
        image="<results>/sections/{sample}/image.ome.tif",
        palette="resources/type_colours.tsv",
    output:
        directory("<results>/exported/{sample}.spatialdata.zarr"),
    log:
        "<logs>/export_spatialdata/{sample}.log",
    benchmark:
        "<benchmarks>/export_spatialdata/{sample}.tsv"
    conda:
        "../../envs/handover.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        blocks=shown_blocks,
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        code=code_digest("export_spatialdata.py"),
    script:
        "../../scripts/export_spatialdata.py"


rule export_qupath:
    """Units as objects for QuPath, in pixels of the slide as it was given."""
    input:
        unpack(nuclei_input),
        unpack(shown_files),
        units="<results>/sections/{sample}/units.h5ad",
        slide=image_file,
        palette="resources/type_colours.tsv",
    output:
        "<results>/exported/{sample}.qupath.geojson",
    log:
        "<logs>/export_qupath/{sample}.log",
    benchmark:
        "<benchmarks>/export_qupath/{sample}.tsv"
    conda:
        "../../envs/handover.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        blocks=shown_blocks,
        slide=lambda wildcards: str(section_of(wildcards).image),
        n_genes=lookup(dpath="export/qupath_genes", within=config),
        code=code_digest("export_qupath.py"),
    script:
        "../../scripts/export_qupath.py"


rule export_xenium_explorer:
    """The H&E, outlines, predicted expression and types for Xenium Explorer."""
    input:
        unpack(nuclei_input),
        unpack(shown_files),
        units="<results>/sections/{sample}/units.h5ad",
        image="<results>/sections/{sample}/image.ome.tif",
        palette="resources/type_colours.tsv",
    output:
        directory("<results>/exported/{sample}.xenium"),
    log:
        "<logs>/export_xenium_explorer/{sample}.log",
    benchmark:
        "<benchmarks>/export_xenium_explorer/{sample}.tsv"
    conda:
        "../../envs/handover.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        blocks=shown_blocks,
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        code=code_digest("export_xenium_explorer.py"),
    script:
        "../../scripts/export_xenium_explorer.py"
