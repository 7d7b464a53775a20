"""Genes to predict, chosen on training sections only.

in:  <results>/sections/{sample}/units.h5ad of the training sections
out: <results>/genes/{gene_set}/{fold}/genes.tsv
"""


rule select_genes:
    """Choose variable genes that differ between clusters, or take the panel."""
    input:
        units=expand("<results>/sections/{sample}/units.h5ad", sample=TRAINING),
        panel=panel_file,
    output:
        ensure("<results>/genes/{gene_set}/{fold}/genes.tsv", non_empty=True),
    log:
        "<logs>/select_genes/{gene_set}.{fold}.log",
    benchmark:
        "<benchmarks>/select_genes/{gene_set}.{fold}.tsv"
    conda:
        "../../envs/genes.yaml"
    threads: 2
    resources:
        mem_mb=16000,
        runtime=120,
    params:
        samples=TRAINING,
        settings=gene_settings,
        seed=lookup(dpath="seed", within=config),
        code=code_digest("gene_selection.py"),
    script:
        "../../scripts/select_genes.py"
