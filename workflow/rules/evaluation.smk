"""Scores of predictions against measurements.

in:  <results>/{experiment}/{fold}/predicted/{sample}.h5ad, sections/{sample}/units.h5ad
out: <results>/{experiment}/{fold}/evaluated/{sample}.tsv, {sample}.replicates.tsv,
     {sample}.reliability.tsv, {sample}.section.tsv,
     <results>/summary.tsv, comparisons.tsv
"""


rule evaluate_prediction:
    """Score each gene, beside its noise ceiling and with intervals."""
    input:
        predicted="<results>/{experiment}/{fold}/predicted/{sample}.h5ad",
        units="<results>/sections/{sample}/units.h5ad",
    output:
        genes=ensure("<results>/{experiment}/{fold}/evaluated/{sample}.tsv", non_empty=True),
        replicates="<results>/{experiment}/{fold}/evaluated/{sample}.replicates.tsv",
        reliability="<results>/{experiment}/{fold}/evaluated/{sample}.reliability.tsv",
        section="<results>/{experiment}/{fold}/evaluated/{sample}.section.tsv",
    log:
        "<logs>/evaluate_prediction/{experiment}.{fold}.{sample}.log",
    benchmark:
        "<benchmarks>/evaluate_prediction/{experiment}.{fold}.{sample}.tsv"
    conda:
        "../../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        blocks=blocks_of,
        settings=lookup(dpath="evaluation", within=config),
        seed=lookup(dpath="seed", within=config),
        code=code_digest("evaluate_prediction.py"),
    script:
        "../../scripts/evaluate_prediction.py"


rule summarise_evaluation:
    """One row an experiment, fold and section; and how far experiments differ."""
    input:
        scores=[f"<results>/{e}/{f}/evaluated/{s}.tsv" for e, f, s in evaluations()],
        replicates=[f"<results>/{e}/{f}/evaluated/{s}.replicates.tsv" for e, f, s in evaluations()],
        sections=[f"<results>/{e}/{f}/evaluated/{s}.section.tsv" for e, f, s in evaluations()],
        alignments=alignments(sections_of_folds(*FOLDS.values())),
        maps=[f"<results>/morphology_maps/{name}/genes.tsv" for name in mapped_samples().values()],
    output:
        summary=report(
            ensure("<results>/summary.tsv", non_empty=True),
            category="2. Accuracy",
            caption="../report/summary.rst",
            labels={"what": "scores of every experiment"},
        ),
        comparisons=report(
            "<results>/comparisons.tsv",
            category="2. Accuracy",
            caption="../report/comparisons.rst",
            labels={"what": "differences between experiments"},
        ),
    log:
        "<logs>/summarise_evaluation.log",
    benchmark:
        "<benchmarks>/summarise_evaluation.tsv"
    conda:
        "../../envs/evaluation.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=10,
    params:
        evaluated=evaluations(),
        aligned=sections_of_folds(*FOLDS.values()),
        mapped=list(mapped_samples()),
        learnt_from={name: list(fold.learning) for name, fold in FOLDS.items()},
        code=code_digest("summarise_evaluation.py"),
    script:
        "../../scripts/summarise_evaluation.py"
