"""Jobs that fail or are ended leave words, and no half-written file."""

import signal
import subprocess
import sys
import time

JOB = """
import sys, time
from pathlib import Path
from histoscribe.joblog import job_log
from histoscribe.storage import written_whole

with job_log(sys.argv[1]), written_whole(Path(sys.argv[2])) as partial:
    partial.write_text("half")
    time.sleep(60)
"""


def test_a_cancelled_job_leaves_nothing(tmp_path, repository):
    output = tmp_path / "out" / "table.tsv"
    job = subprocess.Popen(
        [sys.executable, "-c", JOB, str(tmp_path / "job.log"), str(output)],
        env={"PYTHONPATH": str(repository / "scripts")},
    )
    deadline = time.monotonic() + 50
    while not list(output.parent.glob("*")) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert list(output.parent.iterdir())  # half of it was there
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=30) == 128 + signal.SIGTERM
    assert not list(output.parent.iterdir())
