"""Hyper-parameters, searched on demand (`snakemake tune`) by training tissue held out.

in:  what train_model learns from
out: <results>/{experiment}/{fold}/tuning/trials.tsv, best.yaml; the studies stay beside them, as
     {digest}.journal, so that a search goes on where it stopped
"""


rule tune_model:
    """Search for better settings of one experiment's model."""
    input:
        unpack(learning_files),
        leakage=ancient("<results>/folds/{fold}/leakage.tsv"),  # only lets pass
        genes=genes_file,
    output:
        trials="<results>/{experiment}/{fold}/tuning/trials.tsv",
        best="<results>/{experiment}/{fold}/tuning/best.yaml",
    log:
        "<logs>/tune_model/{experiment}.{fold}.log",
    benchmark:
        "<benchmarks>/tune_model/{experiment}.{fold}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=1440,
        gpu=lambda wildcards: int(experiment_of(wildcards).trains_network),
    params:
        validates=lambda wildcards: {
            sample: sample in fold_of(wildcards).validation
            for sample in fold_of(wildcards).learning
        },
        blocks=blocks_of,
        kind=lambda wildcards: experiment_of(wildcards).model["kind"],
        model=lambda wildcards: experiment_of(wildcards).model_settings,
        features=lambda wildcards: asdict(experiment_of(wildcards).features),
        training=lambda wildcards: experiment_of(wildcards).training,
        target_sum=lookup(dpath="expression/target_sum", within=config),
        tile_um=lookup(dpath="features/tile_um", within=config),
        n_trials=lookup(dpath="tuning/n_trials", within=config),
        timeout_minutes=lookup(dpath="tuning/timeout_minutes", within=config),
        seed=lookup(dpath="seed", within=config),
        code=code_digest("tune_model.py", "models"),
    script:
        "../../scripts/tune_model.py"
