"""What integrated sections lend each other: labels, and genes that one never measured.

in:  <results>/integrated/{integration}/units.h5ad, latent.h5ad, expression of its sections
out: <results>/integrated/{integration}/labels.tsv.gz, label_transfer.tsv, label_confusion.tsv,
     inferred/{section}.h5ad, hidden/*, inference.tsv,
     <results>/figures/integrated/{integration}/labels.*, inference.*
"""


rule transfer_labels:
    """Labels for the units of each section from like units of the others."""
    input:
        units="<results>/integrated/{integration}/units.h5ad",
    output:
        labels="<results>/integrated/{integration}/labels.tsv.gz",
        scores="<results>/integrated/{integration}/label_transfer.tsv",
        confusion="<results>/integrated/{integration}/label_confusion.tsv",
    log:
        "<logs>/transfer_labels/{integration}.log",
    benchmark:
        "<benchmarks>/transfer_labels/{integration}.tsv"
    conda:
        "../../envs/integration.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        parts=integrated_parts,
        n_neighbours=lambda wildcards: integration_settings(wildcards)["borrowing"][
            "label_neighbours"
        ],
        code=code_digest("transfer_labels.py"),
    script:
        "../../scripts/transfer_labels.py"


rule plot_label_transfer:
    """Labels that sections have and get from others, and how these agree."""
    input:
        units="<results>/integrated/{integration}/units.h5ad",
        labels="<results>/integrated/{integration}/labels.tsv.gz",
        scores="<results>/integrated/{integration}/label_transfer.tsv",
        confusion="<results>/integrated/{integration}/label_confusion.tsv",
        style="resources/matplotlibrc",
    output:
        pdf="<results>/figures/integrated/{integration}/labels.pdf",
        png=report(
            "<results>/figures/integrated/{integration}/labels.png",
            category="Integration",
            caption="../report/labels.rst",
            labels={"integration": "{integration}", "figure": "labels"},
        ),
        tsv="<results>/figures/integrated/{integration}/labels.tsv",
    log:
        "<logs>/plot_label_transfer/{integration}.log",
    benchmark:
        "<benchmarks>/plot_label_transfer/{integration}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        title=lambda wildcards: f"Labels from other sections, {wildcards.integration}",
        code=code_digest("plot_label_transfer.py"),
    script:
        "../../scripts/plot_label_transfer.py"


rule infer_genes:
    """Genes that a section never measured, from those that did."""
    input:
        sections=integrated_files,
        latent="<results>/integrated/{integration}/latent.h5ad",
    output:
        "<results>/integrated/{integration}/inferred/{section}.h5ad",
    log:
        "<logs>/infer_genes/{integration}/{section}.log",
    benchmark:
        "<benchmarks>/infer_genes/{integration}/{section}.tsv"
    conda:
        "../../envs/integration.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        parts=integrated_parts,
        into=receivers,
        genes=genes_to_infer,
        seed=lookup(dpath="seed", within=config),
        code=code_digest("infer_genes.py"),
    script:
        "../../scripts/infer_genes.py"


use rule integrate_sections as integrate_without_genes with:
    output:
        latent="<results>/integrated/{integration}/hidden/latent.h5ad",
        history="<results>/integrated/{integration}/hidden/training.tsv",
    log:
        "<logs>/integrate_without_genes/{integration}.log",
    benchmark:
        "<benchmarks>/integrate_without_genes/{integration}.tsv"
    params:
        parts=integrated_parts,
        genes=lambda wildcards: integration_settings(wildcards)["genes"],
        neighbours=lambda wildcards: integration_settings(wildcards)["neighbours"],
        training=lambda wildcards: integration_settings(wildcards)["training"],
        seed=lookup(dpath="seed", within=config),
        hide=lambda wildcards: {
            "into": receivers(wildcards),
            "n_hidden": integration_settings(wildcards)["borrowing"]["n_hidden"],
        },
        code=code_digest("integrate_sections.py"),


rule score_inference:
    """How well genes are inferred: by some that were hidden from the section."""
    input:
        sections=integrated_files,
        latent="<results>/integrated/{integration}/hidden/latent.h5ad",
    output:
        scores="<results>/integrated/{integration}/inference.tsv",
        maps="<results>/integrated/{integration}/hidden/inferred.h5ad",
    log:
        "<logs>/score_inference/{integration}.log",
    benchmark:
        "<benchmarks>/score_inference/{integration}.tsv"
    conda:
        "../../envs/integration.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        parts=integrated_parts,
        into=receivers,
        seed=lookup(dpath="seed", within=config),
        code=code_digest("score_inference.py"),
    script:
        "../../scripts/score_inference.py"


rule plot_inference:
    """Hidden genes as measured and as inferred, and their scores."""
    input:
        scores="<results>/integrated/{integration}/inference.tsv",
        maps="<results>/integrated/{integration}/hidden/inferred.h5ad",
        style="resources/matplotlibrc",
    output:
        pdf="<results>/figures/integrated/{integration}/inference.pdf",
        png=report(
            "<results>/figures/integrated/{integration}/inference.png",
            category="Integration",
            caption="../report/inference.rst",
            labels={"integration": "{integration}", "figure": "inference"},
        ),
        tsv="<results>/figures/integrated/{integration}/inference.tsv",
    log:
        "<logs>/plot_inference/{integration}.log",
    benchmark:
        "<benchmarks>/plot_inference/{integration}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        title=lambda wildcards: f"Genes inferred from other sections, {wildcards.integration}",
        code=code_digest("plot_inference.py"),
    script:
        "../../scripts/plot_inference.py"
