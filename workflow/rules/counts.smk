"""Units and their counts.

in:  <results>/sections/{sample}/measured.h5ad, nuclei.parquet
out: <results>/sections/{sample}/units.raw.h5ad, units.h5ad, units.accounting.tsv
"""


rule count_units:
    """Count molecules of every unit."""
    input:
        unpack(measured_input),
        unpack(nuclei_input),
        full_image=image_file,
        image="<results>/sections/{sample}/image.ome.tif",
    output:
        "<results>/sections/{sample}/units.raw.h5ad",
    log:
        "<logs>/count_units/{sample}.log",
    benchmark:
        "<benchmarks>/count_units/{sample}.tsv"
    conda:
        "../../envs/sections.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        section=section_params,
        unit=lambda wildcards: section_of(wildcards).unit,
        own_counts=lambda wildcards: has_own_counts(section_of(wildcards)),
        bin_um=lookup(dpath="units/bin_um", within=config),
        working_um_per_px=lookup(dpath="image/um_per_px", within=config),
        strategy=lookup(dpath="units/counting", within=config),
        expand_um=lookup(dpath="units/expand_um", within=config),
        seed=lookup(dpath="seed", within=config),
        code=code_digest("count_units.py"),
    script:
        "../../scripts/count_units.py"


rule filter_units:
    """Drop units that fail the quality cuts, and account for them."""
    input:
        raw="<results>/sections/{sample}/units.raw.h5ad",
    output:
        units="<results>/sections/{sample}/units.h5ad",
        accounting=ensure("<results>/sections/{sample}/units.accounting.tsv", non_empty=True),
    log:
        "<logs>/filter_units/{sample}.log",
    benchmark:
        "<benchmarks>/filter_units/{sample}.tsv"
    conda:
        "../../envs/sections.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=30,
    params:
        settings=lambda wildcards: config["units"]["filter"][section_of(wildcards).unit],
        code=code_digest("filter_units.py"),
    script:
        "../../scripts/filter_units.py"
