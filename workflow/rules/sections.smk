"""Sections: what was measured and the image, each in one form for all platforms.

in:  the platform's folder and the H&E image of the sample sheet
out: <results>/sections/{sample}/measured.h5ad, image.ome.tif
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
        mem_mb=8000,
        runtime=60,
    params:
        section=section_params,
        code=code_digest("readers", "image.py", "units.py", "storage.py"),
    script:
        "../../scripts/ingest_section.py"


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
    threads: 1
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        section=section_params,
        working_um_per_px=lookup(dpath="image/um_per_px", within=config),
        code=code_digest("readers", "image.py", "units.py"),
    script:
        "../../scripts/rescale_image.py"
