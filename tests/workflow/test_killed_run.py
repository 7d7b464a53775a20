"""A run that is killed while jobs run, and called again."""

import os
import signal
import subprocess
import sys
import time

import pytest

from histoscribe.experiments import BASELINE

pytestmark = pytest.mark.slow


def test_killed_midway_it_completes(new_workplace):
    """The whole process group is killed while jobs run; the next call finishes the run."""
    workplace = new_workplace("killed")
    results = workplace.folder / "results" / "killed"
    config = workplace.write_config(
        "killed",
        run="killed",
        samples="killed.tsv",
        experiments="experiments.yaml",
        genes={"n_hvg": 300},
        simulation={
            name: {"seed": i, "donor_seed": i, "width_um": 250, "height_um": 250}
            for i, name in enumerate(("s1", "s2"))
        },
        model={"kind": "ridge", "ridge": {"block_um": 80}},
        training={"block_um": 80},
        evaluation={"n_replicates": 100, "smoothing_um": []},
        prediction={"intervals": False},
    )
    (workplace.folder / "experiments.yaml").write_text("full: {}\n")
    workplace.keep_baselines(BASELINE)
    lines = [
        "\t".join(["sample", "donor", "platform", "path", "image", "um_per_px", "unit", "split"])
    ]
    for name, split in (("s1", "train"), ("s2", "test")):
        folder = f"results/killed/simulated/{name}"
        lines.append(
            "\t".join(
                (name, name, "visium_hd", folder, f"{folder}/image.tif", "", "nucleus", split)
            )
        )
    (workplace.folder / "killed.tsv").write_text("\n".join(lines) + "\n")
    summary = "results/killed/summary.tsv"
    command = [sys.executable, "-m", "snakemake", summary, "--cores", "2", "--configfile", config]
    process = subprocess.Popen(
        command,
        cwd=workplace.folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline = time.monotonic() + 240
    while not list(results.glob("sections/*/measured.h5ad")):
        assert time.monotonic() < deadline, "the run did not get under way"
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not (results / "summary.tsv").exists()
    workplace.run(summary, "--nolock", "--configfile", config)  # as `make demo` does
    assert (results / "summary.tsv").is_file()
