"""What comes from the network: fetched once, by local rules, checked before use.

out: resources/retrieved/encoders/{encoder}/, segmenters/{segmenter}/, {dataset}/
"""


rule retrieve_encoder:
    """Fetch the weights of an encoder from its hub."""
    output:
        directory("resources/retrieved/encoders/{encoder}"),
    log:
        "<logs>/retrieve_encoder/{encoder}.log",
    benchmark:
        "<benchmarks>/retrieve_encoder/{encoder}.tsv"
    conda:
        "../../envs/retrieve.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    params:
        name=lookup(dpath="features/encoders/{encoder}/name", within=config),
    script:
        "../../scripts/retrieve_encoder.py"


rule retrieve_segmenter:
    """Fetch a trained StarDist model."""
    output:
        directory("resources/retrieved/segmenters/{segmenter}"),
    log:
        "<logs>/retrieve_segmenter/{segmenter}.log",
    benchmark:
        "<benchmarks>/retrieve_segmenter/{segmenter}.tsv"
    conda:
        "../../envs/retrieve.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=60,
    script:
        "../../scripts/retrieve_segmenter.py"


rule retrieve_dataset:
    """Fetch a public data set, check and unpack it."""
    output:
        "resources/retrieved/{dataset}/retrieved.json",
    log:
        "<logs>/retrieve_dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/retrieve_dataset/{dataset}.tsv"
    conda:
        "../../envs/retrieve.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=600,
    params:
        files=lookup(dpath="datasets/{dataset}", within=config),
    script:
        "../../scripts/retrieve_dataset.py"
