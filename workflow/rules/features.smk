"""Image features of units.

in:  <results>/sections/{sample}/image.ome.tif, units.raw.h5ad, nuclei.parquet; for encoders that
     learn from the training sections, also their units.h5ad
out: <results>/features/{encoder}/{sample}.h5ad, or of adapted encoders
     <results>/features/{encoder}/{fold}/encoder.safetensors, {sample}.h5ad
"""


rule extract_features:
    """Describe each unit and the tile around it; on a GPU where there is one."""
    input:
        unpack(outlines_input),
        unpack(encoder_weights),
        unpack(stain_inputs),
        image="<results>/sections/{sample}/image.ome.tif",
        units="<results>/sections/{sample}/units.raw.h5ad",
    output:
        "<results>/features/{encoder}/{sample}.h5ad",
    log:
        "<logs>/extract_features/{encoder}.{sample}.log",
    benchmark:
        "<benchmarks>/extract_features/{encoder}.{sample}.tsv"
    wildcard_constraints:
        encoder="|".join(re.escape(name) for name in ENCODERS if name not in ADAPTED) or "none",
    conda:
        "../../envs/features.yaml"
    threads: lambda wildcards: 4 if is_network(wildcards) else 1
    resources:
        mem_mb=8000,
        runtime=480,
        gpu=lambda wildcards: int(is_network(wildcards)),
    params:
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        encoder=lookup(dpath="features/encoders/{encoder}", within=config),
        tile_um=lookup(dpath="features/tile_um", within=config),
        batch_size=lookup(dpath="features/batch_size", within=config),
        code=code_digest("extract_features.py"),
    script:
        "../../scripts/extract_features.py"


rule adapt_encoder:
    """Train an encoder on the images and the expression of the fold's training units."""
    input:
        unpack(adapted_stain_inputs),
        unpack(base_weights),
        images=of_training("image.ome.tif"),
        units=of_training("units.h5ad"),
    output:
        "<results>/features/{encoder}/{fold}/encoder.safetensors",
    log:
        "<logs>/adapt_encoder/{encoder}.{fold}.log",
    benchmark:
        "<benchmarks>/adapt_encoder/{encoder}.{fold}.tsv"
    wildcard_constraints:
        encoder="|".join(map(re.escape, ADAPTED)) or "none",
    conda:
        "../../envs/features.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=480,
        gpu=1,
    params:
        samples=lambda wildcards: fold_of(wildcards).training,
        blocks=blocks_of,
        settings=lookup(dpath="features/encoders/{encoder}", within=config),
        base=base_params,
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        target_sum=lookup(dpath="expression/target_sum", within=config),
        seed=lookup(dpath="seed", within=config),
        code=code_digest("adapt_encoder.py"),
    script:
        "../../scripts/adapt_encoder.py"


rule extract_adapted_features:
    """Describe each unit by an adapted encoder; training units by networks blind to them."""
    input:
        unpack(stain_inputs),
        unpack(kept_units),
        unpack(base_weights),
        encoder=lambda wildcards: adapted_file(wildcards.encoder),
        image="<results>/sections/{sample}/image.ome.tif",
        units="<results>/sections/{sample}/units.raw.h5ad",
    output:
        "<results>/features/{encoder}/{fold}/{sample}.h5ad",
    log:
        "<logs>/extract_adapted_features/{encoder}.{fold}.{sample}.log",
    benchmark:
        "<benchmarks>/extract_adapted_features/{encoder}.{fold}.{sample}.tsv"
    wildcard_constraints:
        encoder="|".join(map(re.escape, ADAPTED)) or "none",
    conda:
        "../../envs/features.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=480,
        gpu=1,
    params:
        is_trained_on=lambda wildcards: IS_TRAINED
        and wildcards.sample in fold_of(wildcards).training,
        blocks=blocks_of,
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        tile_um=lookup(dpath="features/tile_um", within=config),
        base=base_params,
        code=code_digest("extract_adapted_features.py"),
    script:
        "../../scripts/extract_adapted_features.py"
