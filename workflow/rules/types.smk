"""Figures of cell types, each with the numbers it shows as .tsv.

in:  <results>/annotated/, sections/{sample}/
out: <results>/figures/types/{source}/{sample}.*, agreement/{experiment}/{fold}/{sample}.*
"""


rule plot_types:
    """Types on the section and in a UMAP, and the genes that mark them."""
    input:
        unpack(nuclei_input),
        annotated="<results>/annotated/{source}/{sample}.h5ad",
        clusters="<results>/annotated/{source}/{sample}.clusters.tsv",
        markers="<results>/annotated/{source}/{sample}.markers.tsv",
        all_annotated=all_annotated(),
        style="resources/matplotlibrc",
        palette="resources/type_colours.tsv",
    output:
        multiext(
            "<results>/figures/types/{source}/{sample}",
            pdf=".pdf",
            tsv=".tsv",
            dots=".dots.tsv",
        ),
        png=report(
            "<results>/figures/types/{source}/{sample}.png",
            category="5. Cell types",
            caption="../report/types.rst",
            labels={"section": "{sample}", "expression": "{source}"},
        ),
    log:
        "<logs>/plot_types/{source}/{sample}.log",
    benchmark:
        "<benchmarks>/plot_types/{source}/{sample}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        title=lambda wildcards: f"{wildcards.sample}: cell types by {source_words(wildcards.source)}",
        code=code_digest("plot_types.py"),
    script:
        "../../scripts/plot_types.py"


rule plot_agreement:
    """Measured against predicted types: maps, zones, shares and confusion."""
    input:
        unpack(nuclei_input),
        measured="<results>/annotated/measured/{sample}.h5ad",
        predicted="<results>/annotated/{experiment}/{fold}/{sample}.h5ad",
        agreement="<results>/annotated/agreement/{experiment}/{fold}/{sample}.tsv",
        confusion="<results>/annotated/agreement/{experiment}/{fold}/{sample}.confusion.tsv",
        proportions="<results>/annotated/agreement/{experiment}/{fold}/{sample}.proportions.tsv",
        all_annotated=all_annotated(),
        image="<results>/sections/{sample}/image.ome.tif",
        style="resources/matplotlibrc",
        palette="resources/type_colours.tsv",
    output:
        multiext("<results>/figures/agreement/{experiment}/{fold}/{sample}", pdf=".pdf", tsv=".tsv"),
        png=report(
            "<results>/figures/agreement/{experiment}/{fold}/{sample}.png",
            category="5. Cell types",
            caption="../report/agreement.rst",
            labels={"section": "{sample}", "expression": "measured against predicted"},
        ),
    log:
        "<logs>/plot_agreement/{experiment}.{fold}.{sample}.log",
    benchmark:
        "<benchmarks>/plot_agreement/{experiment}.{fold}.{sample}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        title=lambda wildcards: f"{wildcards.sample}: measured against predicted cell types",
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        code=code_digest("plot_agreement.py"),
    script:
        "../../scripts/plot_agreement.py"
