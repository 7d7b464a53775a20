"""Nuclei: given by the user or the platform, else segmented in shares of the slide's blocks.

in:  polygons, or <results>/sections/{sample}/image.ome.tif and tissue.parquet
out: <results>/sections/{sample}/nuclei.parquet, or cells.parquet where the unit is cell (um)
"""


rule import_nuclei:
    """Bring given nuclei, or cells, into um."""
    input:
        files=measured_inputs,
        image=image_file,
        polygons=lambda wildcards: source_file(GIVEN[wildcards.sample, wildcards.outlines]),
    output:
        nuclei="<results>/sections/{sample}/{outlines}.parquet",
        repairs="<results>/sections/{sample}/{outlines}.repairs.tsv",
    log:
        "<logs>/import_nuclei/{sample}.{outlines}.log",
    benchmark:
        "<benchmarks>/import_nuclei/{sample}.{outlines}.tsv"
    wildcard_constraints:
        # Each sample with those outlines alone that are given of it.
        sample="|".join(rf"{re.escape(s)}(?=/{o}\.)" for s, o in GIVEN) or "none",
    conda:
        "../../envs/sections.yaml"
    threads: 1
    resources:
        mem_mb=polygons_mb,
        runtime=60,
    params:
        section=section_params,
        polygons=lambda wildcards: str(GIVEN[wildcards.sample, wildcards.outlines]),
        code=code_digest("import_nuclei.py"),
    script:
        "../../scripts/import_nuclei.py"


rule segment_nuclei:
    """Find nuclei with StarDist in one share of the blocks that touch tissue."""
    input:
        image="<results>/sections/{sample}/image.ome.tif",
        tissue="<results>/sections/{sample}/tissue.parquet",
        model=lambda wildcards: segmenter_files(segmenter_folder(wildcards)),
    output:
        temp("<results>/sections/{sample}/segmented/{scatteritem}.parquet"),
    log:
        "<logs>/segment_nuclei/{sample}.{scatteritem}.log",
    benchmark:
        "<benchmarks>/segment_nuclei/{sample}.{scatteritem}.tsv"
    conda:
        "../../envs/nuclei.yaml"
    threads: 4
    resources:
        mem_mb=3000,
        runtime=240,
    params:
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        model=segmenter_folder,
        settings=segmentation_settings(),
        code=code_digest("segment_nuclei.py"),
    script:
        "../../scripts/segment_nuclei.py"


rule stitch_nuclei:
    """Join the shares; each nucleus once, none cut at a seam."""
    input:
        parts=gather.blocks("<results>/sections/{{sample}}/segmented/{scatteritem}.parquet"),
        image="<results>/sections/{sample}/image.ome.tif",
        tissue="<results>/sections/{sample}/tissue.parquet",
    output:
        "<results>/sections/{sample}/nuclei.parquet",
    log:
        "<logs>/stitch_nuclei/{sample}.log",
    benchmark:
        "<benchmarks>/stitch_nuclei/{sample}.tsv"
    wildcard_constraints:
        sample=without_given("nuclei"),
    conda:
        "../../envs/nuclei.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        code=code_digest("stitch_nuclei.py"),
    script:
        "../../scripts/stitch_nuclei.py"


rule expand_nuclei:
    """Grow nuclei into cells without overlap, where the unit is cell and no cells are given."""
    input:
        nuclei="<results>/sections/{sample}/nuclei.parquet",
    output:
        "<results>/sections/{sample}/cells.parquet",
    log:
        "<logs>/expand_nuclei/{sample}.log",
    benchmark:
        "<benchmarks>/expand_nuclei/{sample}.tsv"
    wildcard_constraints:
        sample=without_given("cells"),
    conda:
        "../../envs/sections.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        expand_um=lookup(dpath="units/expand_um", within=config),
        code=code_digest("expand_nuclei.py"),
    script:
        "../../scripts/expand_nuclei.py"
