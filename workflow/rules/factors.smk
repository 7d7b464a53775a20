"""What spatial factors stand for, and what changes along ordered groups of sections.

in:  <results>/integrated/{integration}/units.h5ad, loadings.tsv, the sections' expression
out: <results>/integrated/{integration}/factors.tsv, factor_genes.tsv, variable_genes.tsv,
     enriched.tsv, gradient.tsv, gradient_sections.tsv, gradient_units.tsv.gz,
     <results>/figures/integrated/{integration}/factors.*, gradient.*
"""


rule interpret_factors:
    """Where factors are and which genes tell them; genes that vary in space."""
    input:
        sections=integrated_files,
        units="<results>/integrated/{integration}/units.h5ad",
        loadings="<results>/integrated/{integration}/loadings.tsv",
    output:
        factors="<results>/integrated/{integration}/factors.tsv",
        genes="<results>/integrated/{integration}/factor_genes.tsv",
        variable="<results>/integrated/{integration}/variable_genes.tsv",
    log:
        "<logs>/interpret_factors/{integration}.log",
    benchmark:
        "<benchmarks>/interpret_factors/{integration}.tsv"
    conda:
        "../../envs/integration.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        parts=integrated_parts,
        code=code_digest("interpret_factors.py"),
    script:
        "../../scripts/interpret_factors.py"


use rule enrich_terms as enrich_factors with:
    input:
        genes="<results>/integrated/{integration}/factor_genes.tsv",
        sets=lookup(dpath="enrichment/sets", within=config),
        obo=config["enrichment"]["obo"] or [],
        annotation=config["enrichment"]["annotation"] or [],
    output:
        table="<results>/integrated/{integration}/enriched.tsv",
    log:
        "<logs>/enrich_factors/{integration}.log",
    benchmark:
        "<benchmarks>/enrich_factors/{integration}.tsv"


rule plot_factors:
    """Maps of factors, each beside the genes and the term that tell it."""
    input:
        units="<results>/integrated/{integration}/units.h5ad",
        factors="<results>/integrated/{integration}/factors.tsv",
        terms=factor_terms,
        style="resources/matplotlibrc",
    output:
        pdf="<results>/figures/integrated/{integration}/factors.pdf",
        png=report(
            "<results>/figures/integrated/{integration}/factors.png",
            category="Integration",
            caption="../report/factors.rst",
            labels={"integration": "{integration}", "figure": "factors"},
        ),
        tsv="<results>/figures/integrated/{integration}/factors.tsv",
    log:
        "<logs>/plot_factors/{integration}.log",
    benchmark:
        "<benchmarks>/plot_factors/{integration}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        title=lambda wildcards: f"Integration {wildcards.integration}: spatial factors",
        adjusted_p_below=lookup(dpath="enrichment/adjusted_p_below", within=config),
        code=code_digest("plot_factors.py"),
    script:
        "../../scripts/plot_factors.py"


rule follow_gradient:
    """Units' order along groups by other sections, and the factors, domains and genes that go."""
    input:
        sections=graded_files,
        units="<results>/integrated/{integration}/units.h5ad",
    output:
        table="<results>/integrated/{integration}/gradient.tsv",
        units="<results>/integrated/{integration}/gradient_units.tsv.gz",
        sections="<results>/integrated/{integration}/gradient_sections.tsv",
    log:
        "<logs>/follow_gradient/{integration}.log",
    benchmark:
        "<benchmarks>/follow_gradient/{integration}.tsv"
    conda:
        "../../envs/integration.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        parts=graded_facts,
        order=lambda wildcards: config["integrations"][wildcards.integration]["gradient"],
        seed=lookup(dpath="seed", within=config),
        code=code_digest("follow_gradient.py"),
    script:
        "../../scripts/follow_gradient.py"


rule plot_gradient:
    """Units in their order along the groups, and the factors and genes that change."""
    input:
        table="<results>/integrated/{integration}/gradient.tsv",
        units="<results>/integrated/{integration}/gradient_units.tsv.gz",
        sections="<results>/integrated/{integration}/gradient_sections.tsv",
        factors="<results>/integrated/{integration}/factors.tsv",
        style="resources/matplotlibrc",
    output:
        pdf="<results>/figures/integrated/{integration}/gradient.pdf",
        png=report(
            "<results>/figures/integrated/{integration}/gradient.png",
            category="Integration",
            caption="../report/gradient.rst",
            labels={"integration": "{integration}", "figure": "gradient"},
        ),
        tsv="<results>/figures/integrated/{integration}/gradient.tsv",
    log:
        "<logs>/plot_gradient/{integration}.log",
    benchmark:
        "<benchmarks>/plot_gradient/{integration}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        title=lambda wildcards: f"Integration {wildcards.integration}: along the groups",
        code=code_digest("plot_gradient.py"),
    script:
        "../../scripts/plot_gradient.py"
