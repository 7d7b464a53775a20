"""Fixtures that several kinds of test share."""

import os
import sys
from pathlib import Path

import pytest

# Simulated sections and section writers serve unit, workflow and bad-input tests alike.
sys.path.insert(0, str(Path(__file__).parent))

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    return REPOSITORY


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real data; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("HISTOSCRIBE_DATA", REPOSITORY.parent / "shared" / "data"))
    if not (folder / "visium_hd_kidney").is_dir():
        pytest.skip(f"real data are not at {folder}; set HISTOSCRIBE_DATA to their folder")
    return folder
