"""Figures, each with the numbers it shows as .tsv.

in:  <results>/sections/{sample}/, {experiment}/{fold}/evaluated/{sample}.tsv, summary.tsv
out: <results>/figures/accuracy.*, ablation.*, nuclei/{sample}.*, quality/{sample}.*
"""


rule plot_ablation:
    """PCC and RMSE of every experiment, gene by gene."""
    input:
        scores=[f"<results>/{e}/{f}/evaluated/{s}.tsv" for e, f, s in evaluations()],
        summary="<results>/summary.tsv",
        style="resources/matplotlibrc",
        palette="resources/palette.tsv",
    output:
        multiext("<results>/figures/ablation", ".pdf", ".svg", ".tsv"),
        report(
            "<results>/figures/ablation.png",
            category="2. Accuracy",
            caption="../report/ablation.rst",
            labels={"what": "all experiments, gene by gene"},
        ),
    log:
        "<logs>/plot_ablation.log",
    benchmark:
        "<benchmarks>/plot_ablation.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        evaluated=evaluations(),
        kinds=figure_kinds(),
        code=code_digest("plot_ablation.py"),
    script:
        "../../scripts/plot_ablation.py"


rule plot_accuracy:
    """PCC and RMSE of the genes by section and tissue, beside ceiling and baselines."""
    input:
        scores=[f"<results>/{e}/{f}/evaluated/{s}.tsv" for e, f, s in compared()],
        summary="<results>/summary.tsv",
        style="resources/matplotlibrc",
        palette="resources/palette.tsv",
    output:
        multiext(
            "<results>/figures/accuracy",
            pdf=".pdf",
            svg=".svg",
            tsv=".tsv",
            density=".density.tsv",
        ),
        png=report(
            "<results>/figures/accuracy.png",
            category="2. Accuracy",
            caption="../report/accuracy.rst",
            labels={"what": "PCC and RMSE by section"},
        ),
    log:
        "<logs>/plot_accuracy.log",
    benchmark:
        "<benchmarks>/plot_accuracy.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        evaluated=compared(),
        groups={name: section.group for name, section in RUN.sections.items()},
        kind=figure_kinds().get(FIRST),
        code=code_digest("plot_accuracy.py"),
    script:
        "../../scripts/plot_accuracy.py"


rule plot_nuclei:
    """Outlines on the H&E at three zooms."""
    input:
        unpack(nuclei_input),
        image="<results>/sections/{sample}/image.ome.tif",
        tissue="<results>/sections/{sample}/tissue.parquet",
        style="resources/matplotlibrc",
        palette="resources/palette.tsv",
    output:
        multiext("<results>/figures/nuclei/{sample}", ".pdf", ".tsv"),
        report(
            "<results>/figures/nuclei/{sample}.png",
            category="4. Sections",
            subcategory="Nuclei",
            caption="../report/nuclei.rst",
            labels={"section": "{sample}"},
        ),
    log:
        "<logs>/plot_nuclei/{sample}.log",
    benchmark:
        "<benchmarks>/plot_nuclei/{sample}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        code=code_digest("plot_nuclei.py"),
    script:
        "../../scripts/plot_nuclei.py"


rule plot_quality:
    """What was lost between tissue and units, and where the cuts lie."""
    input:
        raw="<results>/sections/{sample}/units.raw.h5ad",
        accounting="<results>/sections/{sample}/units.accounting.tsv",
        style="resources/matplotlibrc",
        palette="resources/palette.tsv",
    output:
        multiext("<results>/figures/quality/{sample}", ".pdf", ".svg", ".tsv"),
        report(
            "<results>/figures/quality/{sample}.png",
            category="4. Sections",
            subcategory="Quality cuts",
            caption="../report/quality.rst",
            labels={"section": "{sample}"},
        ),
    log:
        "<logs>/plot_quality/{sample}.log",
    benchmark:
        "<benchmarks>/plot_quality/{sample}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        settings=lambda wildcards: config["units"]["filter"][section_of(wildcards).unit],
        code=code_digest("plot_quality.py"),
    script:
        "../../scripts/plot_quality.py"
