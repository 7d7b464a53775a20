"""Simulated sections.

out: <results>/simulated/{sample}/: a Space Ranger folder, its H&E and the truth
"""


rule simulate_section:
    """Write a section whose truth is known."""
    output:
        matrix="<results>/simulated/{sample}/binned_outputs/square_002um/filtered_feature_bc_matrix.h5",
        positions="<results>/simulated/{sample}/binned_outputs/square_002um/spatial/tissue_positions.parquet",
        scalefactors="<results>/simulated/{sample}/binned_outputs/square_002um/spatial/scalefactors_json.json",
        nuclei="<results>/simulated/{sample}/segmented_outputs/nucleus_segmentations.geojson",
        image="<results>/simulated/{sample}/image.tif",
        truth="<results>/simulated/{sample}/truth.h5ad",
        truth_nuclei="<results>/simulated/{sample}/truth_nuclei.parquet",
        truth_types="<results>/simulated/{sample}/truth_types.tsv",
        truth_dna="<results>/simulated/{sample}/truth_dna.tsv",
        genes="<results>/simulated/{sample}/genes.gtf",
    log:
        "<logs>/simulate_section/{sample}.log",
    benchmark:
        "<benchmarks>/simulate_section/{sample}.tsv"
    conda:
        "../../envs/demo.yaml"
    threads: 1
    resources:
        mem_mb=3000,
        runtime=30,
    params:
        folder=subpath(output.image, parent=True),
        settings=lookup(dpath="simulation/{sample}", within=config),
        code=code_digest("simulate_section.py"),
    script:
        "../../scripts/simulate_section.py"
