"""What several processes that share a run do together."""

import contextlib
from collections.abc import Iterator

import jax
import numpy as np


@contextlib.contextmanager
def together(what: str) -> Iterator[None]:
    """A barrier at the end of a block; where one process fails in it, all of them raise.

    Without it, the others would wait for ever for one that has stopped.
    """
    error = None
    try:
        yield
    except Exception as caught:
        error = caught
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        failed = multihost_utils.process_allgather(np.array(error is not None, np.int32))
        if error is None and np.any(failed):
            raise RuntimeError(
                f"fx: {what} failed on process {np.flatnonzero(failed).tolist()}; the "
                "output of that process says why"
            )
    if error is not None:
        raise error
