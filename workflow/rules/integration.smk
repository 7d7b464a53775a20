"""Many sections in one latent space, with the domains and spatial factors that they share.

in:  <results>/sections/{sample}/units.h5ad, {experiment}/{fold}/predicted/{sample}.h5ad, files
out: <results>/integrated/{integration}/latent.h5ad, loadings.tsv, training.tsv,
     units.h5ad, domain_shares.tsv, mixing.tsv, domains.tsv,
     <results>/figures/integrated/{integration}/*
"""


rule integrate_sections:
    """One latent space for the units of all sections, and factors that explain their counts."""
    input:
        sections=integrated_files,
    output:
        latent="<results>/integrated/{integration}/latent.h5ad",
        loadings="<results>/integrated/{integration}/loadings.tsv",
        history="<results>/integrated/{integration}/training.tsv",
    log:
        "<logs>/integrate_sections/{integration}.log",
    benchmark:
        "<benchmarks>/integrate_sections/{integration}.tsv"
    conda:
        "../../envs/integration.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=240,
        gpu=1,
    params:
        parts=integrated_parts,
        genes=lambda wildcards: integration_settings(wildcards)["genes"],
        neighbours=lambda wildcards: integration_settings(wildcards)["neighbours"],
        training=lambda wildcards: integration_settings(wildcards)["training"],
        seed=lookup(dpath="seed", within=config),
        code=code_digest("integrate_sections.py"),
    script:
        "../../scripts/integrate_sections.py"


rule find_domains:
    """Domains that the sections share, and a layout of their units."""
    input:
        sections=integrated_files,
        labels=integrated_labels,
        latent="<results>/integrated/{integration}/latent.h5ad",
    output:
        units="<results>/integrated/{integration}/units.h5ad",
        shares="<results>/integrated/{integration}/domain_shares.tsv",
    log:
        "<logs>/find_domains/{integration}.log",
    benchmark:
        "<benchmarks>/find_domains/{integration}.tsv"
    conda:
        "../../envs/integration.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        names=lambda wildcards: [part.name for part in INTEGRATIONS[wildcards.integration]],
        labelled=labelled_parts,
        label_column=lambda wildcards: config["integrations"][wildcards.integration].get("label"),
        settings=lambda wildcards: integration_settings(wildcards)["domains"],
        seed=lookup(dpath="seed", within=config),
        code=code_digest("find_domains.py"),
    script:
        "../../scripts/find_domains.py"


rule measure_mixing:
    """How well sections mix before and after, and how domains agree with known labels."""
    input:
        units="<results>/integrated/{integration}/units.h5ad",
    output:
        mixing="<results>/integrated/{integration}/mixing.tsv",
        domains="<results>/integrated/{integration}/domains.tsv",
    log:
        "<logs>/measure_mixing/{integration}.log",
    benchmark:
        "<benchmarks>/measure_mixing/{integration}.tsv"
    conda:
        "../../envs/integration.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        seed=lookup(dpath="seed", within=config),
        code=code_digest("measure_mixing.py"),
    script:
        "../../scripts/measure_mixing.py"


rule plot_integration:
    """Units before and after integration, and the domains that sections share."""
    input:
        units="<results>/integrated/{integration}/units.h5ad",
        mixing="<results>/integrated/{integration}/mixing.tsv",
        style="resources/matplotlibrc",
    output:
        pdf="<results>/figures/integrated/{integration}/domains.pdf",
        png=report(
            "<results>/figures/integrated/{integration}/domains.png",
            category="Integration",
            caption="../report/integration.rst",
            labels={"integration": "{integration}", "figure": "domains"},
        ),
        tsv="<results>/figures/integrated/{integration}/domains.tsv",
    log:
        "<logs>/plot_integration/{integration}.log",
    benchmark:
        "<benchmarks>/plot_integration/{integration}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        title=lambda wildcards: f"Integration {wildcards.integration}",
        code=code_digest("plot_integration.py"),
    script:
        "../../scripts/plot_integration.py"
