import gc
import gzip
import json
import subprocess
import sys

import jax
import jax.numpy as jnp
import pytest

import fx
from fx.train.watch.profile import profiled
from tests.train.tiny_run import Batches, assert_same_bits, make


@jax.jit
def add(ts, batch):
    return ts + batch, {"loss": ts}


def run(step, calls):
    ts = jnp.zeros(())
    for _ in range(calls):
        ts, _ = step(ts, jnp.ones(()))
    return float(ts)


def traced(folder):
    """The numbers of the calls in each trace."""
    found = []
    for path in sorted(folder.rglob("*.trace.json.gz")):
        events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
        found.append([int(e["args"]["step_num"]) for e in events if e.get("name") == "train"])
    return found


def test_it_traces_exactly_these_calls(tmp_path):
    assert run(profiled(add, tmp_path, start=2, calls=3), 8) == 8
    assert traced(tmp_path) == [[2, 3, 4]]


def test_fit_takes_it_for_the_step_that_it_is(tmp_path):
    step, ts, _ = make(steps_per_call=2)
    wrapped = profiled(step, tmp_path / "trace", start=1, calls=1)
    assert wrapped.steps_per_call == 2 and wrapped.function is step.function
    result = fx.fit(wrapped, ts, Batches(), epochs=1, progress=False)
    assert wrapped.called == 3
    assert traced(tmp_path / "trace") == [[1]]
    step, ts, _ = make(steps_per_call=2)
    assert_same_bits(result.ts, fx.fit(step, ts, Batches(), epochs=1, progress=False).ts)


def test_an_error_in_the_step_ends_the_trace(tmp_path):
    def fail(ts, batch):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        profiled(fail, tmp_path / "one", start=0)(None, None)
    run(profiled(add, tmp_path / "two", start=0, calls=1), 1)
    assert traced(tmp_path / "one") == [[0]] and traced(tmp_path / "two") == [[0]]


def test_a_run_that_ends_first_leaves_a_whole_trace(tmp_path):
    step = profiled(add, tmp_path / "closed", start=1, calls=9)
    run(step, 3)
    step.close()
    step.close()
    assert traced(tmp_path / "closed") == [[1, 2]]
    step = profiled(add, tmp_path / "gone", start=1, calls=9)
    run(step, 3)
    del step
    gc.collect()
    assert traced(tmp_path / "gone") == [[1, 2]]


def test_a_program_that_ends_first_leaves_a_whole_trace(tmp_path):
    code = (
        "import sys, jax\nfrom fx.train.watch.profile import profiled\n"
        "step = profiled(jax.jit(lambda ts, batch: (ts + batch, {})), sys.argv[1], start=0)\n"
        "step(1.0, 1.0)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, timeout=120)
    assert traced(tmp_path) == [[0]]


def test_two_traces_at_once(tmp_path):
    with jax.profiler.trace(str(tmp_path)):
        with pytest.raises(ValueError, match="expected no other trace under way"):
            profiled(add, tmp_path, start=0)(jnp.zeros(()), jnp.ones(()))


@pytest.mark.parametrize(
    "arguments, kind, text",
    [
        ({"start": -1}, ValueError, "expected start of 0 or more, got -1"),
        ({"calls": 0}, ValueError, "expected calls of 1 or more, got 0"),
        ({"calls": 1.5}, TypeError, "calls"),
    ],
)
def test_bad_arguments(arguments, kind, text, tmp_path):
    with pytest.raises(kind, match=text):
        profiled(add, tmp_path, **arguments)
