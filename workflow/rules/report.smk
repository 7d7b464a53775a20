"""The report: one page that says what a run did, how far to trust it, and what to paste.

in:  tables, figures and annotations of sections and predictions of the run
out: <results>/report.html
"""


rule write_report:
    """One self-contained page, its warnings first."""
    input:
        summary="<results>/summary.tsv" if IS_SCORED else [],
        comparisons="<results>/comparisons.tsv" if IS_SCORED else [],
        scores=[f"<results>/{e}/{f}/evaluated/{s}.tsv" for e, f, s in reported_scores()],
        predicted=[f"<results>/{e}/{f}/predicted/{s}.h5ad" for e, f, s in reported_predictions()],
        units=expand("<results>/sections/{sample}/units.h5ad", sample=counted_sections()),
        accounting=expand(
            "<results>/sections/{sample}/units.accounting.tsv", sample=counted_sections()
        ),
        alignments=alignments(RUN.sections),
        leakage=expand("<results>/folds/{fold}/leakage.tsv", fold=FOLDS) if IS_TRAINED else [],
        clusters=[f"<results>/annotated/{source}/{s}.clusters.tsv" for source, s in annotated()],
        agreement=[
            f"<results>/annotated/agreement/{e}/{f}/{s}.tsv" for e, f, s in compared_annotations()
        ],
        maps=morphology_map_files(),
        genotypes=genotype_files(),
        figures=figure_files(),
        viewers=viewers(),
        exports=exports(),
        defaults="config/config.yaml",
        templates=report_templates(),
    output:
        report(
            "<results>/report.html",
            category="1. Report",
            caption="../report/report.rst",
            labels={"what": "the run on one page"},
        ),
    log:
        "<logs>/write_report.log",
    benchmark:
        "<benchmarks>/write_report.tsv"
    conda:
        "../../envs/report.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        facts=run_facts(RUN, FOLDS, config, GIVEN),
        scored=reported_scores(),
        predicted=reported_predictions(),
        counted=counted_sections(),
        aligned=[name for name, section in RUN.sections.items() if section.is_measured],
        checked=list(FOLDS) if IS_TRAINED else [],
        annotated=annotated(),
        compared=compared_annotations(),
        maps=list(MAPS),
        viewers=viewer_links(),
        links=run_links(
            IS_SCORED,
            reported_predictions(),
            [(FIRST, fold) for fold in FOLDS if IS_TRAINED and FIRST],
            counted_sections(),
            exported_files(),
        ),
        software={"snakemake": SNAKEMAKE_VERSION},
        benchmarks=f"results/{config['run']}/benchmarks",
        code=code_digest("write_report.py"),
    script:
        "../../scripts/write_report.py"
