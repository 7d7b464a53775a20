"""The segmenter that ships: trained and scored by `snakemake segmenter` (config/segmenter).

in:  <results>/simulated/{sample}/, folders of images with labels
out: <results>/segmenter/model/ (config.json, weights_best.h5, thresholds.json), scores.tsv
"""


rule train_segmenter:
    """Train StarDist on simulated sections and openly licensed images."""
    input:
        simulated=lambda wildcards: expand(
            "<results>/simulated/{name}/image.tif", name=SEGMENTER["simulated"]
        ),
        stained=str(data_folder(config) / (SEGMENTER["stained"] or "")),
    output:
        directory("<results>/segmenter/model"),
    log:
        "<logs>/train_segmenter.log",
    benchmark:
        "<benchmarks>/train_segmenter.tsv"
    conda:
        "../../envs/nuclei.yaml"
    threads: 4
    resources:
        mem_mb=6000,
        runtime=600,
    params:
        settings=SEGMENTER["training"],
        code=code_digest("train_segmenter.py"),
    script:
        "../../scripts/train_segmenter.py"


rule evaluate_segmenter:
    """Score a segmenter on images it was not trained on, by StarDist's own matching."""
    input:
        model=(
            segmenter_files(SEGMENTER["scored"])
            if SEGMENTER["scored"]
            else "<results>/segmenter/model"
        ),
        simulated=lambda wildcards: expand(
            "<results>/simulated/{name}/image.tif", name=SEGMENTER["test_simulated"]
        ),
        folders=[data_folder(config) / name for name in SEGMENTER["test_folders"]],
    output:
        "<results>/segmenter/scores.tsv",
    log:
        "<logs>/evaluate_segmenter.log",
    benchmark:
        "<benchmarks>/evaluate_segmenter.tsv"
    conda:
        "../../envs/nuclei.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        model=lambda wildcards, input: SEGMENTER["scored"] or input.model,
        folders={
            name: (str(data_folder(config) / name), um_per_px)
            for name, um_per_px in SEGMENTER["test_folders"].items()
        },
        settings=segmentation_settings(),
        code=code_digest("evaluate_segmenter.py"),
    script:
        "../../scripts/evaluate_segmenter.py"
