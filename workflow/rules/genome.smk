"""The genome beneath the tissue: copy number, clones, and what goes with them.

in:  <results>/sections/{sample}/units.h5ad or {experiment}/{fold}/predicted/{sample}.h5ad, cell types
     or labels, features, DNA of the sheet; or a file that has it all
out: <results>/genotypes/{genotype}/copies.h5ad, clones.tsv, segments.tsv, proof.tsv, carriers.tsv,
     genes.tsv, dosage.tsv, image.tsv, units.tsv.gz, <results>/figures/genotypes/{genotype}.*
"""


rule prove_copy_number:
    """Clones from predictions beside those from measurements, on held-out sections."""
    input:
        unpack(proving_inputs),
        positions=lambda wildcards: copy_number_of(wildcards)["positions"],
    output:
        "<results>/genotypes/{genotype}/proof.tsv",
    log:
        "<logs>/prove_copy_number/{genotype}.log",
    benchmark:
        "<benchmarks>/prove_copy_number/{genotype}.tsv"
    conda:
        "../../envs/genome.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        entry=genotype_entry,
        samples=proving_samples(),
        labels=proving_labels,
        settings=plain_copy_number,
        seed=lookup(dpath="seed", within=config),
        code=code_digest("prove_copy_number.py"),
    script:
        "../../scripts/prove_copy_number.py"


rule infer_copy_number:
    """Segments and clones from expression beside that of normal cells."""
    input:
        unpack(copy_number_inputs),
        positions=lambda wildcards: copy_number_of(wildcards)["positions"],
    output:
        copies="<results>/genotypes/{genotype}/copies.h5ad",
        clones="<results>/genotypes/{genotype}/clones.tsv",
        segments="<results>/genotypes/{genotype}/segments.tsv",
    log:
        "<logs>/infer_copy_number/{genotype}.log",
    benchmark:
        "<benchmarks>/infer_copy_number/{genotype}.tsv"
    conda:
        "../../envs/genome.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        entry=genotype_entry,
        settings=plain_copy_number,
        seed=lookup(dpath="seed", within=config),
        code=code_digest("infer_copy_number.py"),
    script:
        "../../scripts/infer_copy_number.py"


rule associate_genotype:
    """Expression, dosage and looks of carriers beside matched neighbours of the same kind."""
    input:
        unpack(genotype_inputs),
        positions=lambda wildcards: copy_number_of(wildcards)["positions"],
    output:
        carriers=ensure("<results>/genotypes/{genotype}/carriers.tsv", non_empty=True),
        genes="<results>/genotypes/{genotype}/genes.tsv",
        dosage="<results>/genotypes/{genotype}/dosage.tsv",
        image="<results>/genotypes/{genotype}/image.tsv",
        units="<results>/genotypes/{genotype}/units.tsv.gz",
    log:
        "<logs>/associate_genotype/{genotype}.log",
    benchmark:
        "<benchmarks>/associate_genotype/{genotype}.tsv"
    conda:
        "../../envs/genome.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        entry=genotype_entry,
        settings=association_of,
        buffer_um=genotype_seen_um,
        target_sum=lookup(dpath="expression/target_sum", within=config),
        seed=lookup(dpath="seed", within=config),
        code=code_digest("associate_genotype.py"),
    script:
        "../../scripts/associate_genotype.py"


rule plot_genotype:
    """Where the first genotype lies, its copies, and the genes and features that go with it."""
    input:
        unpack(pictured_genotype),
        carriers="<results>/genotypes/{genotype}/carriers.tsv",
        genes="<results>/genotypes/{genotype}/genes.tsv",
        dosage="<results>/genotypes/{genotype}/dosage.tsv",
        image="<results>/genotypes/{genotype}/image.tsv",
        units="<results>/genotypes/{genotype}/units.tsv.gz",
        style="resources/matplotlibrc",
    output:
        pdf="<results>/figures/genotypes/{genotype}.pdf",
        png=report(
            "<results>/figures/genotypes/{genotype}.png",
            category="Genome",
            caption="../report/genotype.rst",
            labels={"genotype": "{genotype}"},
        ),
        tsv="<results>/figures/genotypes/{genotype}.tsv",
    log:
        "<logs>/plot_genotype/{genotype}.log",
    benchmark:
        "<benchmarks>/plot_genotype/{genotype}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        title=genotype_title,
        is_inferred=lambda wildcards: GENOTYPES[wildcards.genotype].is_inferred,
        um_per_px=lookup(dpath="image/um_per_px", within=config),
        q_below=lambda wildcards: association_of(wildcards)["q_below"],
        code=code_digest("plot_genotype.py"),
    script:
        "../../scripts/plot_genotype.py"
