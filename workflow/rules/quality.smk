"""Quality of sections: do molecules and image lie on each other?

in:  <results>/sections/{sample}/image.ome.tif, measured.h5ad or transcripts.parquet, nuclei.parquet
out: <results>/sections/{sample}/alignment.tsv
"""


rule check_alignment:
    """Look for the shift, mirroring or scale that would bring molecules onto nuclei."""
    input:
        unpack(measured_input),
        unpack(nuclei_input),
        image="<results>/sections/{sample}/image.ome.tif",
    output:
        "<results>/sections/{sample}/alignment.tsv",
    log:
        "<logs>/check_alignment/{sample}.log",
    benchmark:
        "<benchmarks>/check_alignment/{sample}.tsv"
    conda:
        "../../envs/features.yaml"
    threads: 1
    resources:
        mem_mb=6000,
        runtime=60,
    params:
        working_um_per_px=lookup(dpath="image/um_per_px", within=config),
        settings=lookup(dpath="alignment", within=config),
        code=code_digest("check_alignment.py"),
    script:
        "../../scripts/check_alignment.py"
