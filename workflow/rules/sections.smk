"""Sections: what was measured, the image and its tissue, each in one form for all platforms.

in:  the platform's folder and the H&E image of the sample sheet
out: <results>/sections/{sample}/measured.h5ad or transcripts.parquet, image.ome.tif, tissue.parquet
"""


rule ingest_section:
    """Read a platform's output into raw counts with positions in um."""
    input:
        files=measured_inputs,
        image=image_file,
    output:
        "<results>/sections/{sample}/measured.h5ad",
    log:
        "<logs>/ingest_section/{sample}.log",
    benchmark:
        "<benchmarks>/ingest_section/{sample}.tsv"
    conda:
        "../../envs/sections.yaml"
    threads: 1
    resources:
        mem_mb=ingest_mb,
        runtime=60,
    params:
        section=section_params,
        code=code_digest("ingest_section.py"),
    script:
        "../../scripts/ingest_section.py"


rule ingest_transcripts:
    """Read a platform's molecules, one by one, into positions in um."""
    input:
        files=measured_inputs,
        image=image_file,
    output:
        "<results>/sections/{sample}/transcripts.parquet",
    log:
        "<logs>/ingest_transcripts/{sample}.log",
    benchmark:
        "<benchmarks>/ingest_transcripts/{sample}.tsv"
    conda:
        "../../envs/sections.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        section=section_params,
        code=code_digest("ingest_transcripts.py"),
    script:
        "../../scripts/ingest_transcripts.py"


rule rescale_image:
    """Rescale the H&E image to the working resolution."""
    input:
        files=measured_inputs,
        image=image_file,
    output:
        "<results>/sections/{sample}/image.ome.tif",
    log:
        "<logs>/rescale_image/{sample}.log",
    benchmark:
        "<benchmarks>/rescale_image/{sample}.tsv"
    conda:
        "../../envs/sections.yaml"
    threads: 2
    resources:
        mem_mb=2000,
        runtime=120,
    params:
        section=section_params,
        working_um_per_px=lookup(dpath="image/um_per_px", within=config),
        code=code_digest("rescale_image.py"),
    script:
        "../../scripts/rescale_image.py"


rule detect_tissue:
    """Outline the tissue: no glass, no pen, no edge of the slide."""
    input:
        image="<results>/sections/{sample}/image.ome.tif",
    output:
        "<results>/sections/{sample}/tissue.parquet",
    log:
        "<logs>/detect_tissue/{sample}.log",
    benchmark:
        "<benchmarks>/detect_tissue/{sample}.tsv"
    conda:
        "../../envs/sections.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=30,
    params:
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        settings=lookup(dpath="tissue", within=config),
        code=code_digest("detect_tissue.py"),
    script:
        "../../scripts/detect_tissue.py"
