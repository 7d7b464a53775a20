"""Threads of libraries, held back where our own share the cores."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from threadpoolctl import threadpool_limits


@contextmanager
def one_thread_a_call() -> Iterator[None]:
    """Let BLAS, and torch where it is loaded, use one thread for whatever is called meanwhile.

    Several calls at once then share the cores without waiting for each other.
    """
    torch = sys.modules.get("torch")  # models without a network do without it
    before = torch.get_num_threads() if torch else 1
    try:
        if torch:
            torch.set_num_threads(1)
        with threadpool_limits(1):
            yield
    finally:
        if torch:
            torch.set_num_threads(before)
