"""Models and their predictions.

in:  units and features of the training sections, <results>/folds/{fold}/leakage.tsv; features of the
     section to predict
out: <results>/{experiment}/{fold}/model.safetensors, predicted/{sample}.h5ad
"""


rule train_model:
    """Train one experiment's model."""
    input:
        unpack(learning_files),
        leakage=ancient("<results>/folds/{fold}/leakage.tsv"),  # only lets pass
        genes=genes_file,
        adapted=adapted_files,
    output:
        "<results>/{experiment}/{fold}/model.safetensors",
    log:
        "<logs>/train_model/{experiment}.{fold}.log",
    benchmark:
        "<benchmarks>/train_model/{experiment}.{fold}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=16000,
        runtime=240,
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
        adapted=adapted_encoders,
        training=lambda wildcards: experiment_of(wildcards).training,
        target_sum=lookup(dpath="expression/target_sum", within=config),
        tile_um=lookup(dpath="features/tile_um", within=config),
        seed=lookup(dpath="seed", within=config),
        code=code_digest("train_model.py", "models"),
    script:
        "../../scripts/train_model.py"


rule predict_expression:
    """Predict a section's expression from its features and a model."""
    input:
        bundle=bundle_file,
        features=features_files("{sample}"),
        units="<results>/sections/{sample}/units.h5ad",
    output:
        "<results>/{experiment}/{fold}/predicted/{sample}.h5ad",
    log:
        "<logs>/predict_expression/{experiment}.{fold}.{sample}.log",
    benchmark:
        "<benchmarks>/predict_expression/{experiment}.{fold}.{sample}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: lambda wildcards: 2 if experiment_of(wildcards).trains_network else 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        encoders=lambda wildcards: experiment_of(wildcards).features.encoders,
        intervals=lookup(dpath="prediction/intervals", within=config),
        code=code_digest("predict_expression.py", "models"),
    script:
        "../../scripts/predict_expression.py"
