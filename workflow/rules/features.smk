"""Image features of units.

in:  <results>/sections/{sample}/image.ome.tif, units.raw.h5ad, nuclei.parquet
out: <results>/features/{encoder}/{sample}.h5ad
"""


rule extract_features:
    """Describe each unit and the tile around it; on a GPU where there is one."""
    input:
        unpack(nuclei_input),
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
        code=code_digest("features", "raster.py", "image", "polygons", "stain_normalisation.py"),
    script:
        "../../scripts/extract_features.py"
