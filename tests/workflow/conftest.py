"""A working folder with the workflow, small simulated sections and a way to call snakemake."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

CODE = ("workflow", "scripts", "resources", "envs", "config")


class Workplace:
    """A folder in which snakemake runs as a user's clone would."""

    def __init__(self, folder: Path, repository: Path, is_whole: bool) -> None:
        self.folder = folder
        for name in CODE:
            ignore = shutil.ignore_patterns("retrieved", "__pycache__")
            shutil.copytree(repository / name, folder / name, ignore=ignore)
        if not is_whole:
            self._end_with_the_scores()

    def _end_with_the_scores(self) -> None:
        """Neither cell types nor programs, viewer or exports, for time."""
        path = self.folder / "config/config.yaml"
        defaults = yaml.safe_load(path.read_text())
        defaults["annotation"]["enabled"] = defaults["viewer"]["enabled"] = False
        defaults["programs"]["sets"] = defaults["export"]["formats"] = []
        path.write_text(yaml.safe_dump(defaults, sort_keys=False))

    def snakemake(self, *arguments: str) -> subprocess.CompletedProcess:
        command = [sys.executable, "-m", "snakemake", "--cores", "2", *arguments]
        environment = {**os.environ, "HISTOSCRIBE_DATA": "", "PYTHONDONTWRITEBYTECODE": ""}
        return subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )

    def keep_baselines(self, *names: str) -> None:
        """Only some, for time: every job costs seconds. That all run is tested on the demo."""
        path = self.folder / "scripts/histoscribe/experiments.py"
        text = path.read_text().split("# Only some")[0]
        path.write_text(
            f"{text}# Only some\nBASELINES = {{name: BASELINES[name] for name in {names}}}\n"
        )

    def run(self, *arguments: str) -> str:
        """Run and require success; the words on the screen."""
        finished = self.snakemake(*arguments)
        assert finished.returncode == 0, finished.stdout[-3000:] + finished.stderr[-6000:]
        return finished.stdout + finished.stderr

    def fail(self, *arguments: str) -> str:
        """Run and require failure; the words on the screen."""
        finished = self.snakemake(*arguments)
        words = finished.stdout + finished.stderr
        assert finished.returncode != 0, words[-3000:]
        return words

    def write_config(self, name: str, base: Path | None = None, **changes: object) -> str:
        """A config file with changes laid over `base`; its path, for --configfile."""
        settings = yaml.safe_load((self.folder / base).read_text()) if base else {}
        settings.update(changes)
        path = self.folder / f"{name}.yaml"
        path.write_text(yaml.safe_dump(settings))
        return path.name


@pytest.fixture(scope="session")
def new_workplace(tmp_path_factory, repository):
    def make(name: str, is_whole: bool = False) -> Workplace:
        return Workplace(tmp_path_factory.mktemp(name), repository, is_whole)

    return make
