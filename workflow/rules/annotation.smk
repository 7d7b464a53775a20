"""Cell types of measured and of predicted expression, and how they agree.

in:  <results>/sections/{sample}/units.h5ad, {experiment}/{fold}/predicted/{sample}.h5ad
out: <results>/annotated/{source}/{sample}.h5ad, {sample}.clusters.tsv, {sample}.markers.tsv,
     annotated/agreement/{experiment}/{fold}/{sample}.*
     with {source} measured or {experiment}/{fold}
"""


rule annotate_cells:
    """Cluster units, find the clusters' markers, and name them."""
    input:
        **reference_input(),
        expression=expression_of_source,
        markers=lookup(dpath="annotation/markers", within=config),
    output:
        units="<results>/annotated/{source}/{sample}.h5ad",
        clusters="<results>/annotated/{source}/{sample}.clusters.tsv",
        markers="<results>/annotated/{source}/{sample}.markers.tsv",
    log:
        "<logs>/annotate_cells/{source}/{sample}.log",
    benchmark:
        "<benchmarks>/annotate_cells/{source}/{sample}.tsv"
    conda:
        "../../envs/annotation.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        is_measured=lambda wildcards: wildcards.source == MEASURED,
        organs=lookup(dpath="annotation/organs", within=config),
        broad_classes=lookup(dpath="annotation/broad_classes", within=config),
        blocks=blocks_of_source,
        clustering=clustering_settings,
        naming=lookup(dpath="annotation/naming", within=config),
        target_sum=lookup(dpath="expression/target_sum", within=config),
        reference_label=lookup(dpath="annotation/reference_label", within=config),
        seed=lookup(dpath="seed", within=config),
        code=code_digest("annotate_cells.py"),
    script:
        "../../scripts/annotate_cells.py"


rule compare_annotation:
    """Agreement of predicted with measured types, and with the labels that the user gives."""
    input:
        unpack(labels_input),
        measured="<results>/annotated/measured/{sample}.h5ad",
        predicted="<results>/annotated/{experiment}/{fold}/{sample}.h5ad",
        markers=lookup(dpath="annotation/markers", within=config),
    output:
        agreement="<results>/annotated/agreement/{experiment}/{fold}/{sample}.tsv",
        confusion="<results>/annotated/agreement/{experiment}/{fold}/{sample}.confusion.tsv",
        proportions="<results>/annotated/agreement/{experiment}/{fold}/{sample}.proportions.tsv",
        neighbourhoods="<results>/annotated/agreement/{experiment}/{fold}/{sample}.neighbourhoods.tsv",
    log:
        "<logs>/compare_annotation/{experiment}.{fold}.{sample}.log",
    benchmark:
        "<benchmarks>/compare_annotation/{experiment}.{fold}.{sample}.tsv"
    conda:
        "../../envs/annotation.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        broad_classes=lookup(dpath="annotation/broad_classes", within=config),
        seed=lookup(dpath="seed", within=config),
        code=code_digest("compare_annotation.py"),
    script:
        "../../scripts/compare_annotation.py"
