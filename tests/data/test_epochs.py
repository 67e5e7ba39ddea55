"""Epochs of another length than the loader's."""

import jax
import numpy as np
import pytest

import fx
from fx.data import Dataset, Loader, steps_per_epoch
from tests.train.tiny_run import Batches, assert_same_bits, make

LOADER = Loader(Dataset(np.arange(22), np.arange(22)), 2, seed=5)


def targets(batches, together=1):
    """What was read, step by step."""
    found = [np.asarray(y) for _, y in batches]
    return [step.tolist() for y in found for step in (y if together > 1 else [y])]


class Plain:
    """A loader that has nothing but epochs and a length."""

    def __init__(self):
        self.closed = 0

    def __len__(self):
        return len(LOADER)

    def epoch(self, n):
        try:
            yield from LOADER.epoch(n)
        finally:
            self.closed += 1


@pytest.mark.parametrize("steps", [1, 4, 11, 25])
@pytest.mark.parametrize("together", [1, 3])
@pytest.mark.parametrize("loader", [LOADER, Plain()], ids=["Loader", "plain"])
def test_they_are_the_loaders_batches_one_after_the_other(loader, together, steps):
    expected = [y for n in range(5) for y in targets(LOADER.epoch(n))]
    parts = steps_per_epoch(loader, steps)
    assert len(parts) == steps
    for n in range(len(expected) // steps):
        own = expected[n * steps : (n + 1) * steps]
        for start in {0, steps // 2, steps}:
            read = parts.epoch(n, start=start, steps_per_call=together)
            assert targets(read, together) == own[start:]


def test_a_run_is_that_of_as_many_steps_and_goes_on_from_within(tmp_path):
    step, ts, validate = make()
    whole = fx.fit(step, ts, Batches(), epochs=4, progress=False)  # of 6 steps
    step, ts, validate = make()
    options = {"validate": validate, "out": tmp_path, "progress": False, "checkpoint_every": 3}
    found = fx.fit(step, ts, steps_per_epoch(Batches(), 8), epochs=3, **options)
    assert [row["step"] for row in found.history] == [8, 16, 24]
    assert_same_bits(found.ts, whole.ts)

    def stop(event):
        if event.step == 10:
            raise fx.train.Stop

    step, ts, _ = make()
    options["out"] = tmp_path / "again"
    parts = steps_per_epoch(Batches(), 8)
    stopped = fx.fit(step, ts, parts, epochs=3, callbacks=[stop], log_every=2, **options)
    assert int(stopped.ts.step) == 10
    step, ts, _ = make()
    again = fx.fit(step, ts, parts, epochs=3, resume=True, **options)
    assert_same_bits(again.ts, found.ts)
    assert again.history == found.history


def test_the_rest_is_the_loaders():
    parts = steps_per_epoch(LOADER, 3)
    assert (parts.batch_size, parts.seed, len(parts.dataset)) == (2, 5, 22)
    assert repr(parts).startswith("steps_per_epoch(") and not hasattr(parts, "nothing")
    assert len(jax.tree.leaves(list(parts.padded()))) == len(jax.tree.leaves(list(LOADER.padded())))


def test_what_is_not_read_to_its_end_is_closed():
    plain = Plain()
    next(iter(steps_per_epoch(plain, 3).epoch(0)))
    assert plain.closed == 1
    assert len(list(steps_per_epoch(plain, 3).epoch(0))) == 3
    assert plain.closed == 2


def test_wrong_arguments():
    with pytest.raises(ValueError, match="expected steps of 1 or more, got 0"):
        steps_per_epoch(LOADER, 0)
    with pytest.raises(TypeError, match="steps"):
        steps_per_epoch(LOADER, 2.5)
    with pytest.raises(TypeError, match="steps_per_epoch: expected a loader with epoch"):
        steps_per_epoch(LOADER.dataset, 3)
    with pytest.raises(ValueError, match="expected start from 0 to 3"):
        steps_per_epoch(LOADER, 3).epoch(0, start=4)

    class Short(Plain):
        def epoch(self, n):
            return iter(list(LOADER.epoch(n))[:4])

    with pytest.raises(ValueError, match="expected 11 steps .* but it ended after 4"):
        list(steps_per_epoch(Short(), 6).epoch(0))
