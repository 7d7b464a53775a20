"""Fetch an encoder's weights once, so that no later job needs the network."""

from pathlib import Path

from histoscribe.joblog import job_log
from histoscribe.retrieval import retrieve_encoder

if __name__ == "__main__" and "snakemake" in globals():
    with job_log(snakemake.log[0]):
        retrieve_encoder(snakemake.params.name, Path(snakemake.output[0]))
