"""Stain: what each section looks like, and what all are brought to.

in:  <results>/sections/{sample}/image.ome.tif, tissue.parquet
out: <results>/sections/{sample}/stain.json, <results>/stain/reference.json
"""


rule measure_stain:
    """Measure a section's stain on its tissue."""
    input:
        image="<results>/sections/{sample}/image.ome.tif",
        tissue="<results>/sections/{sample}/tissue.parquet",
    output:
        "<results>/sections/{sample}/stain.json",
    log:
        "<logs>/measure_stain/{sample}.log",
    benchmark:
        "<benchmarks>/measure_stain/{sample}.tsv"
    conda:
        "../../envs/features.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        settings=lookup(dpath="stain", within=config),
        code=code_digest("measure_stain.py"),
    script:
        "../../scripts/measure_stain.py"


rule normalise_stain:
    """Take the mean stain of the training sections, or a given model's, as the reference."""
    input:
        **stain_reference_inputs(),
    output:
        "<results>/stain/reference.json",
    log:
        "<logs>/normalise_stain.log",
    benchmark:
        "<benchmarks>/normalise_stain.tsv"
    conda:
        "../../envs/features.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        method=lookup(dpath="stain/method", within=config),
        code=code_digest("normalise_stain.py"),
    script:
        "../../scripts/normalise_stain.py"
