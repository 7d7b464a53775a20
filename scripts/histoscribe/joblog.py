"""Where a job's words go: everything to its log, a user's mistake also to the screen."""

import logging
import os
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from histoscribe.errors import UserError


@contextmanager
def job_log(path: str | Path) -> Iterator[None]:
    """Send stdout and stderr, C libraries' too, to `path`; end the job on an error.

    HistoScribe's own warnings are shown on the screen as well.

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
    logging.getLogger().addHandler(_screen_handler(screen))
    for chatty in ("PIL", "fontTools", "matplotlib", "h5py", "numba", "tifffile"):
        logging.getLogger(chatty).setLevel(logging.WARNING)
    # Cancelled jobs unwind, so that half-written files go.
    former = signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
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
        signal.signal(signal.SIGTERM, former)
        logging.getLogger().handlers.clear()
        sys.stdout.flush()
        sys.stderr.flush()
        os.dup2(kept_stdout, 1)
        os.dup2(screen, 2)
        os.close(kept_stdout)
        os.close(screen)


class _ScreenHandler(logging.Handler):
    """Writes messages to a file descriptor, so that the user sees them beside the log."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(logging.WARNING)
        self.descriptor = descriptor

    def emit(self, record: logging.LogRecord) -> None:
        os.write(self.descriptor, f"HistoScribe: {record.getMessage()}\n".encode())


def _screen_handler(screen: int) -> logging.Handler:
    handler = _ScreenHandler(screen)
    # Entries run as __main__; other packages' warnings stay in the log.
    handler.addFilter(lambda record: record.name.split(".")[0] in ("histoscribe", "__main__"))
    return handler
