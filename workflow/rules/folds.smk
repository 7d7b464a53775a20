"""Folds: does anything of what is tested reach what is trained on?

in:  images and <results>/sections/{sample}/units.h5ad of both sides of a fold,
     <results>/genes/{gene_set}/{fold}/chosen_on.tsv, adapted encoders
out: <results>/folds/{fold}/leakage.tsv
"""


rule check_leakage:
    """Compare both sides of a fold; a leak stops the run before a model is trained."""
    input:
        unpack(checked_files),
    output:
        "<results>/folds/{fold}/leakage.tsv",
    log:
        "<logs>/check_leakage/{fold}.log",
    benchmark:
        "<benchmarks>/check_leakage/{fold}.tsv"
    conda:
        "../../envs/model.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        facts=checked_params,
        code=code_digest("check_leakage.py"),
    script:
        "../../scripts/check_leakage.py"
