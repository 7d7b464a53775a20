"""Gene programs, and terms that clusters are rich in, of measured and predicted expression.

in:  <results>/sections/{sample}/units.h5ad, {experiment}/{fold}/predicted/{sample}.h5ad,
     annotated/{source}/{sample}.markers.tsv
out: <results>/programs/{source}/{sample}.scores.parquet, {sample}.sets.tsv,
     <results>/programs/{experiment}/{fold}/{sample}.agreement.tsv,
     <results>/enriched/{source}/{sample}.tsv,
     <results>/figures/programs/{source}/{sample}.*, figures/terms/{source}/{sample}.*
"""


rule score_programs:
    """How strongly each unit expresses each gene program."""
    input:
        expression=expression_of_source,
        sets=lookup(dpath="programs/sets", within=config),
    output:
        scores="<results>/programs/{source}/{sample}.scores.parquet",
        sets="<results>/programs/{source}/{sample}.sets.tsv",
    log:
        "<logs>/score_programs/{source}/{sample}.log",
    benchmark:
        "<benchmarks>/score_programs/{source}/{sample}.tsv"
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        is_measured=lambda wildcards: wildcards.source == MEASURED,
        blocks=blocks_of_source,
        settings={k: config["programs"][k] for k in PROGRAM_SETTINGS},
        target_sum=lookup(dpath="expression/target_sum", within=config),
        seed=lookup(dpath="seed", within=config),
        code=code_digest("score_programs.py"),
    script:
        "../../scripts/score_programs.py"


rule compare_programs:
    """How well predicted scores follow measured ones, beside what they could."""
    input:
        units="<results>/sections/{sample}/units.h5ad",
        predicted="<results>/{experiment}/{fold}/predicted/{sample}.h5ad",
        measured_scores="<results>/programs/measured/{sample}.scores.parquet",
        measured_sets="<results>/programs/measured/{sample}.sets.tsv",
        predicted_scores="<results>/programs/{experiment}/{fold}/{sample}.scores.parquet",
        predicted_sets="<results>/programs/{experiment}/{fold}/{sample}.sets.tsv",
    output:
        table="<results>/programs/{experiment}/{fold}/{sample}.agreement.tsv",
    log:
        "<logs>/compare_programs/{experiment}.{fold}.{sample}.log",
    benchmark:
        "<benchmarks>/compare_programs/{experiment}.{fold}.{sample}.tsv"
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        smoothing_um=lookup(dpath="programs/smoothing_um", within=config),
        control_from=lookup(dpath="programs/control_from", within=config),
        target_sum=lookup(dpath="expression/target_sum", within=config),
        seed=lookup(dpath="seed", within=config),
        code=code_digest("compare_programs.py"),
    script:
        "../../scripts/compare_programs.py"


rule plot_programs:
    """Maps of programs, measured above predicted, beside the H&E."""
    input:
        unpack(measured_programs),
        predicted="<results>/{source}/predicted/{sample}.h5ad",
        predicted_scores="<results>/programs/{source}/{sample}.scores.parquet",
        image="<results>/sections/{sample}/image.ome.tif",
        style="resources/matplotlibrc",
    output:
        multiext("<results>/figures/programs/{source}/{sample}", ".pdf", ".tsv"),
        report(
            "<results>/figures/programs/{source}/{sample}.png",
            category="6. Programs",
            caption="../report/programs.rst",
            labels={"section": "{sample}", "expression": "{source}", "shown": "maps"},
        ),
    log:
        "<logs>/plot_programs/{source}/{sample}.log",
    benchmark:
        "<benchmarks>/plot_programs/{source}/{sample}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=20,
    params:
        n_programs=lookup(dpath="programs/n_drawn", within=config),
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        code=code_digest("plot_programs.py"),
    script:
        "../../scripts/plot_programs.py"


rule enrich_terms:
    """Terms that the marker genes of each cluster are rich in."""
    input:
        genes="<results>/annotated/{source}/{sample}.markers.tsv",
        sets=lookup(dpath="enrichment/sets", within=config),
        obo=config["enrichment"]["obo"] or [],
        annotation=config["enrichment"]["annotation"] or [],
    output:
        table="<results>/enriched/{source}/{sample}.tsv",
    log:
        "<logs>/enrich_terms/{source}/{sample}.log",
    benchmark:
        "<benchmarks>/enrich_terms/{source}/{sample}.tsv"
    conda:
        "../../envs/programs.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        settings={k: v for k, v in config["enrichment"].items() if k != "n_drawn"},
        code=code_digest("enrich_terms.py"),
    script:
        "../../scripts/enrich_terms.py"


rule plot_terms:
    """The terms that clusters are richest in."""
    input:
        terms="<results>/enriched/{source}/{sample}.tsv",
        clusters="<results>/annotated/{source}/{sample}.clusters.tsv",
        style="resources/matplotlibrc",
    output:
        multiext("<results>/figures/terms/{source}/{sample}", ".pdf", ".svg", ".tsv"),
        report(
            "<results>/figures/terms/{source}/{sample}.png",
            category="6. Programs",
            caption="../report/terms.rst",
            labels={"section": "{sample}", "expression": "{source}", "shown": "terms"},
        ),
    log:
        "<logs>/plot_terms/{source}/{sample}.log",
    benchmark:
        "<benchmarks>/plot_terms/{source}/{sample}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        n_terms=lookup(dpath="enrichment/n_drawn", within=config),
        adjusted_p_below=lookup(dpath="enrichment/adjusted_p_below", within=config),
        code=code_digest("plot_terms.py"),
    script:
        "../../scripts/plot_terms.py"
