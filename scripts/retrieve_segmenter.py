"""Fetch a trained StarDist model once, so that no later job needs the network."""

from pathlib import Path

from histoscribe.joblog import job_log
from histoscribe.retrieval import retrieve_segmenter

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        retrieve_segmenter(snakemake.wildcards.segmenter, Path(snakemake.output[0]))
