"""Nuclei: given by the user or the platform, else segmented.

in:  polygons, or <results>/sections/{sample}/image.ome.tif
out: <results>/sections/{sample}/nuclei.parquet (um)
"""

GIVEN = {s: p for s, x in RUN.sections.items() if (p := given_polygons(x)) is not None}


rule import_nuclei:
    """Bring given nuclei into um."""
    input:
        files=measured_inputs,
        image=image_file,
        polygons=lambda wildcards: source_file(GIVEN[wildcards.sample]),
    output:
        "<results>/sections/{sample}/nuclei.parquet",
    log:
        "<logs>/import_nuclei/{sample}.log",
    benchmark:
        "<benchmarks>/import_nuclei/{sample}.tsv"
    wildcard_constraints:
        sample="|".join(map(re.escape, GIVEN)) or "none",
    conda:
        "../../envs/sections.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        section=section_params,
        polygons=lambda wildcards: str(GIVEN[wildcards.sample]),
        code=code_digest("polygons.py", "readers", "image.py", "units.py"),
    script:
        "../../scripts/import_nuclei.py"


rule segment_nuclei:
    """Find nuclei with StarDist."""
    input:
        image="<results>/sections/{sample}/image.ome.tif",
        model=segmenter_folder,
    output:
        "<results>/sections/{sample}/nuclei.parquet",
    log:
        "<logs>/segment_nuclei/{sample}.log",
    benchmark:
        "<benchmarks>/segment_nuclei/{sample}.tsv"
    wildcard_constraints:
        sample="|".join(re.escape(s) for s in RUN.sections if s not in GIVEN) or "none",
    conda:
        "../../envs/nuclei.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        settings=lookup(dpath="segmentation", within=config),
        code=code_digest("nuclei.py", "polygons.py", "image.py"),
    script:
        "../../scripts/segment_nuclei.py"
