"""Genes to predict, chosen on training units only.

in:  <results>/sections/{sample}/units.h5ad of the fold's training sections
out: <results>/genes/{gene_set}/{fold}/genes.tsv, chosen_on.tsv
"""


rule select_genes:
    """Choose variable genes that differ between clusters, or take the panel."""
    input:
        units=of_training("units.h5ad"),
        panel=panel_file,
    output:
        genes=ensure("<results>/genes/{gene_set}/{fold}/genes.tsv", non_empty=True),
        chosen_on="<results>/genes/{gene_set}/{fold}/chosen_on.tsv",
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
        samples=lambda wildcards: fold_of(wildcards).training,
        blocks=blocks_of,
        settings=gene_settings,
        seed=lookup(dpath="seed", within=config),
        code=code_digest("select_genes.py"),
    script:
        "../../scripts/select_genes.py"
