"""Adjacent sections of an integration in one frame, stacked in 3D.

in:  <results>/integrated/{integration}/units.h5ad
out: <results>/integrated/{integration}/stack.h5ad, alignments.tsv,
     <results>/figures/stacked/{integration}.*
"""


rule stack_sections:
    """Each section aligned to its neighbour by the latent space, and all of them in 3D."""
    input:
        units="<results>/integrated/{integration}/units.h5ad",
    output:
        stack="<results>/integrated/{integration}/stack.h5ad",
        alignments="<results>/integrated/{integration}/alignments.tsv",
    log:
        "<logs>/stack_sections/{integration}.log",
    benchmark:
        "<benchmarks>/stack_sections/{integration}.tsv"
    conda:
        "../../envs/integration.yaml"
    threads: 1
    resources:
        mem_mb=8000,
        runtime=60,
    params:
        names=lambda wildcards: [part.name for part in INTEGRATIONS[wildcards.integration]],
        stack=stack_settings,
        code=code_digest("stack_sections.py"),
    script:
        "../../scripts/stack_sections.py"


rule plot_stack:
    """Sections before and after alignment, and the stack in 3D."""
    input:
        stack="<results>/integrated/{integration}/stack.h5ad",
        alignments="<results>/integrated/{integration}/alignments.tsv",
        style="resources/matplotlibrc",
    output:
        pdf="<results>/figures/stacked/{integration}.pdf",
        png=report(
            "<results>/figures/stacked/{integration}.png",
            category="Integration",
            caption="../report/stack.rst",
            labels={"integration": "{integration}", "figure": "stack"},
        ),
        tsv="<results>/figures/stacked/{integration}.tsv",
    log:
        "<logs>/plot_stack/{integration}.log",
    benchmark:
        "<benchmarks>/plot_stack/{integration}.tsv"
    conda:
        "../../envs/figures.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        title=lambda wildcards: f"Stack of {wildcards.integration}",
        code=code_digest("plot_stack.py"),
    script:
        "../../scripts/plot_stack.py"
