"""Spots: predicted nuclei or cells against the spots of a Visium or legacy ST section.

in:  the platform's folder, <results>/{experiment}/{fold}/predicted/{sample}.h5ad
out: <results>/sections/{sample}/spots.h5ad,
     <results>/spots/{experiment}/{fold}/{sample}.genes.tsv, {sample}.spots.tsv,
     {sample}.section.tsv, {sample}.h5ad,
     <results>/figures/spots/{experiment}/{fold}/{sample}.*
"""


rule ingest_spots:
    """Read the spots that were measured over a section's nuclei or cells."""
    input:
        files=measured_inputs,
        image=image_file,
    output:
        "<results>/sections/{sample}/spots.h5ad",
    log:
        "<logs>/ingest_spots/{sample}.log",
    benchmark:
        "<benchmarks>/ingest_spots/{sample}.tsv"
    conda:
        "../../envs/sections.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        section=section_params,
        code=code_digest("ingest_spots.py"),
    script:
        "../../scripts/ingest_spots.py"


rule compare_spots:
    """Sum predicted units over the measured spots, and score the sums gene by gene."""
    input:
        predicted="<results>/{experiment}/{fold}/predicted/{sample}.h5ad",
        spots="<results>/sections/{sample}/spots.h5ad",
    output:
        genes="<results>/spots/{experiment}/{fold}/{sample}.genes.tsv",
        spots="<results>/spots/{experiment}/{fold}/{sample}.spots.tsv",
        section=ensure("<results>/spots/{experiment}/{fold}/{sample}.section.tsv", non_empty=True),
        aggregated="<results>/spots/{experiment}/{fold}/{sample}.h5ad",
    log:
        "<logs>/compare_spots/{experiment}.{fold}.{sample}.log",
    benchmark:
        "<benchmarks>/compare_spots/{experiment}.{fold}.{sample}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        origin=spots_origin,
        settings={
            **config["spots"],
            **{
                key: config["evaluation"][key]
                for key in ("ceiling_repeats", "n_replicates", "block_um")
            },
        },
        seed=lookup(dpath="seed", within=config),
        code=code_digest("compare_spots.py"),
    script:
        "../../scripts/compare_spots.py"


rule plot_spots:
    """Measured spots, the predicted units summed over them, and the units one by one."""
    input:
        predicted="<results>/{experiment}/{fold}/predicted/{sample}.h5ad",
        aggregated="<results>/spots/{experiment}/{fold}/{sample}.h5ad",
        genes="<results>/spots/{experiment}/{fold}/{sample}.genes.tsv",
        section="<results>/spots/{experiment}/{fold}/{sample}.section.tsv",
        image="<results>/sections/{sample}/image.ome.tif",
        style="resources/matplotlibrc",
        palette="resources/palette.tsv",
    output:
        multiext("<results>/figures/spots/{experiment}/{fold}/{sample}", ".pdf", ".tsv"),
        report(
            "<results>/figures/spots/{experiment}/{fold}/{sample}.png",
            category="7. Spots",
            caption="../report/spots.rst",
            labels={"section": "{sample}", "fold": "{fold}"},
        ),
    log:
        "<logs>/plot_spots/{experiment}.{fold}.{sample}.log",
    benchmark:
        "<benchmarks>/plot_spots/{experiment}.{fold}.{sample}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        code=code_digest("plot_spots.py"),
    script:
        "../../scripts/plot_spots.py"
