"""Morphology-gene maps: what image features tell of a question, beside the genes.

in:  <results>/sections/{sample}/units.h5ad, features/{encoder}/{sample}.h5ad, labels, cell types or
     programs, evaluated/{sample}.tsv; or a file that has it all
out: <results>/morphology_maps/{map}/features.tsv, gains.tsv, genes.tsv, units.tsv.gz,
     <results>/figures/morphology_maps/{map}.*
"""


rule relate_morphology:
    """Overlap with genes and relevance to the question of every feature, and what the image adds."""
    input:
        unpack(map_inputs),
        housekeeping=lambda wildcards: map_settings(wildcards)["housekeeping"],
    output:
        features=ensure("<results>/morphology_maps/{map}/features.tsv", non_empty=True),
        gains="<results>/morphology_maps/{map}/gains.tsv",
        genes="<results>/morphology_maps/{map}/genes.tsv",
        units="<results>/morphology_maps/{map}/units.tsv.gz",
    log:
        "<logs>/relate_morphology/{map}.log",
    benchmark:
        "<benchmarks>/relate_morphology/{map}.tsv"
    conda:
        "../../envs/annotation.yaml"
    threads: 2
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        entry=map_entry,
        settings=lambda wildcards: {
            key: value for key, value in map_settings(wildcards).items() if key != "housekeeping"
        },
        buffer_um=seen_um,
        target_sum=lookup(dpath="expression/target_sum", within=config),
        seed=lookup(dpath="seed", within=config),
        code=code_digest("relate_morphology.py"),
    script:
        "../../scripts/relate_morphology.py"


rule plot_morphology_map:
    """Features by overlap and relevance, tiles where they are low and high, gains, and genes."""
    input:
        unpack(pictured_image),
        table="<results>/morphology_maps/{map}/features.tsv",
        gains="<results>/morphology_maps/{map}/gains.tsv",
        genes="<results>/morphology_maps/{map}/genes.tsv",
        units="<results>/morphology_maps/{map}/units.tsv.gz",
        style="resources/matplotlibrc",
    output:
        pdf="<results>/figures/morphology_maps/{map}.pdf",
        png=report(
            "<results>/figures/morphology_maps/{map}.png",
            category="Morphology and genes",
            caption="../report/morphology_map.rst",
            labels={"map": "{map}"},
        ),
        tsv="<results>/figures/morphology_maps/{map}.tsv",
    log:
        "<logs>/plot_morphology_map/{map}.log",
    benchmark:
        "<benchmarks>/plot_morphology_map/{map}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        title=lambda wildcards: f"Morphology and genes: {wildcards.map}",
        question=lambda wildcards: MAPS[wildcards.map].question,
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        tile_um=seen_um,
        code=code_digest("plot_morphology_map.py"),
    script:
        "../../scripts/plot_morphology_map.py"
