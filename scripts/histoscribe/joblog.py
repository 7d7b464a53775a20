"""Where a job's words go: everything to its log, a user's mistake also to the screen."""

import logging
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from histoscribe.errors import UserError


@contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Send stdout and stderr, C libraries' too, to `path`; end the job on an error.

    A UserError is shown as its own words, on the screen and in the log, without a traceback. Any
    other error leaves its traceback in the log and one line on the screen.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    screen = os.dup(2)
    kept_stdout = os.dup(1)
    with path.open("w") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S", force=True
    )
    for chatty in ("PIL", "fontTools", "matplotlib", "h5py", "numba", "tifffile"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    try:
        yield
    except UserError as error:
        message = f"\nHistoScribe: {error}\n"
        os.write(2, message.encode())
        os.write(screen, message.encode())
        sys.exit(1)
    except Exception as error:
        traceback.print_exc()
        os.write(screen, f"\nHistoScribe: unexpected {error!r}; see {path}\n".encode())
        sys.exit(1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept_stdout, 1)
        os.dup2(screen, 2)
        os.close(kept_stdout)
        os.close(screen)
