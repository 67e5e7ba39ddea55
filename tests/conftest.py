import os
import signal
from collections import Counter

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import jax
import pytest

jax.config.update("jax_numpy_dtype_promotion", "strict")

# A shell starts what runs in its background with Ctrl-C ignored, and it would be in all processes
# that tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

FEW, EVERY = 4, 4  # a test of more cases than FEW is sampled: each fourth
CHEAP = {"test_house.py", "test_names.py", "test_coverage.py"}  # always whole


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what `make test` leaves out of a test with many cases; `make test-all` runs them all."""
    many = [
        item
        for item in items
        if hasattr(item, "callspec")
        and item.path.name not in CHEAP
        and not any(item.iter_markers("full"))
    ]
    sizes, seen = Counter(map(_function, many)), Counter()
    for item in many:
        name = _function(item)
        if sizes[name] > FEW and seen[name] % EVERY:
            item.add_marker("full")
        seen[name] += 1


def _function(item):
    return item.nodeid.partition("[")[0]


@pytest.fixture
def x64():
    """float64 for one test."""
    with jax.enable_x64(True):
        yield
