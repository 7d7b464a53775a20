"""A viewer of each tested or predicted section, which a browser opens from disk.

in:  <results>/{experiment}/{fold}/predicted/{sample}.h5ad, evaluated/{sample}.tsv of the first
     experiment; sections/{sample}/; annotated/
out: <results>/viewer/{sample}/index.html and what it loads
"""


rule write_viewer:
    """The H&E with its units coloured by genes, types and uncertainty."""
    input:
        unpack(viewed_files),
        image="<results>/sections/{sample}/image.ome.tif",
        units="<results>/sections/{sample}/units.h5ad",
        palette="resources/type_colours.tsv",
        page="resources/viewer/index.html",
        parts=viewer_parts(),
    output:
        directory("<results>/viewer/{sample}"),
    log:
        "<logs>/write_viewer/{sample}.log",
    benchmark:
        "<benchmarks>/write_viewer/{sample}.tsv"
    conda:
        "../../envs/viewer.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        run=lookup(dpath="run", within=config),
        experiment=FIRST,
        is_simulated=lambda wildcards: is_simulated(section_of(wildcards), config),
        blocks=shown_blocks,
        annotated=annotated(),
        shown=shown_sources,
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        n_genes=lookup(dpath="viewer/n_genes", within=config),
        jpeg_quality=lookup(dpath="viewer/jpeg_quality", within=config),
        code=code_digest("write_viewer.py"),
    script:
        "../../scripts/write_viewer.py"
