"""Maps of expression over the section, each with the numbers it shows as .tsv.

in:  <results>/sections/{sample}/, {experiment}/{fold}/predicted/{sample}.h5ad, evaluated/{sample}.tsv
out: <results>/figures/gene_maps/{experiment}/{fold}/{sample}.*, totals/{experiment}/{fold}/{sample}.*,
     overlay/{experiment}/{fold}/{sample}/{gene}.*
"""


rule plot_gene_maps:
    """Measured and predicted maps of the best-predicted genes beside the H&E, with insets."""
    input:
        unpack(nuclei_input),
        scores="<results>/{experiment}/{fold}/evaluated/{sample}.tsv",
        predicted="<results>/{experiment}/{fold}/predicted/{sample}.h5ad",
        units="<results>/sections/{sample}/units.h5ad",
        image="<results>/sections/{sample}/image.ome.tif",
        style="resources/matplotlibrc",
    output:
        multiext(
            "<results>/figures/gene_maps/{experiment}/{fold}/{sample}",
            pdf=".pdf",
            tsv=".tsv",
            insets=".insets.tsv",
        ),
        png=report(
            "<results>/figures/gene_maps/{experiment}/{fold}/{sample}.png",
            category="3. Maps",
            caption="../report/gene_maps.rst",
            labels={"section": "{sample}", "fold": "{fold}", "shown": "best genes"},
        ),
    log:
        "<logs>/plot_gene_maps/{experiment}.{fold}.{sample}.log",
    benchmark:
        "<benchmarks>/plot_gene_maps/{experiment}.{fold}.{sample}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=20,
    params:
        blocks=blocks_of,
        n_genes=lookup(dpath="figures/n_genes", within=config),
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        code=code_digest("plot_gene_maps.py"),
    script:
        "../../scripts/plot_gene_maps.py"


rule plot_totals:
    """Total counts and numbers of genes, measured over predicted, beside the H&E."""
    input:
        unpack(nuclei_input),
        predicted="<results>/{experiment}/{fold}/predicted/{sample}.h5ad",
        units="<results>/sections/{sample}/units.h5ad",
        image="<results>/sections/{sample}/image.ome.tif",
        style="resources/matplotlibrc",
    output:
        multiext(
            "<results>/figures/totals/{experiment}/{fold}/{sample}",
            pdf=".pdf",
            tsv=".tsv",
            agreement=".agreement.tsv",
        ),
        png=report(
            "<results>/figures/totals/{experiment}/{fold}/{sample}.png",
            category="3. Maps",
            caption="../report/totals.rst",
            labels={"section": "{sample}", "fold": "{fold}", "shown": "totals"},
        ),
    log:
        "<logs>/plot_totals/{experiment}.{fold}.{sample}.log",
    benchmark:
        "<benchmarks>/plot_totals/{experiment}.{fold}.{sample}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=20,
    params:
        blocks=blocks_of,
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        code=code_digest("plot_totals.py"),
    script:
        "../../scripts/plot_totals.py"


rule plot_overlay:
    """A gene of the user over the section as if it were an immunostain."""
    input:
        unpack(nuclei_input),
        predicted="<results>/{experiment}/{fold}/predicted/{sample}.h5ad",
        units="<results>/sections/{sample}/units.h5ad",
        image="<results>/sections/{sample}/image.ome.tif",
        style="resources/matplotlibrc",
    output:
        multiext("<results>/figures/overlay/{experiment}/{fold}/{sample}/{gene}", ".pdf", ".tsv"),
        report(
            "<results>/figures/overlay/{experiment}/{fold}/{sample}/{gene}.png",
            category="3. Maps",
            caption="../report/overlay.rst",
            labels={"section": "{sample}", "fold": "{fold}", "shown": "{gene}"},
        ),
    log:
        "<logs>/plot_overlay/{experiment}.{fold}.{sample}.{gene}.log",
    benchmark:
        "<benchmarks>/plot_overlay/{experiment}.{fold}.{sample}.{gene}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=20,
    params:
        blocks=blocks_of,
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        code=code_digest("plot_overlay.py"),
    script:
        "../../scripts/plot_overlay.py"
