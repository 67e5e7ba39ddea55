"""The batches of several runs as one: each run's share is its own loader's batch, to the bit."""

import jax
import pytest

import fx
from fx.train.many.stacked import ManyBatches
from fx.train.many.together import Watch
from tests.train import tiny_run
from tests.train.tiny_run import Batches, assert_same_bits


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("per_call", [1, 3])
def test_loaders_of_one_data_set_are_read_by_one_gather(drop_last, per_call):
    x, y = tiny_run.data(50)
    data = fx.data.Dataset({"x": x}, y)
    each = [
        fx.data.Loader(data, 8, seed=seed, shuffle=seed != 1, drop_last=drop_last)
        for seed in range(3)
    ]
    merged = ManyBatches(each, 3, Watch(3, None, None, None))
    assert merged._merged is not None
    scanned = {} if per_call == 1 else {"steps_per_call": per_call}
    for epoch, start in ((0, 0), (2, 3)):
        found = [batch for _, batch, _, _ in merged.epoch(epoch, start, **scanned)]
        for run, loader in enumerate(each):
            own = list(loader.epoch(epoch, start, **scanned))
            assert len(own) == len(found)
            for batch, expected in zip(found, own):
                assert_same_bits(jax.tree.map(lambda leaf: leaf[run], batch), expected)


def test_loaders_that_change_examples_are_read_each_by_itself():
    x, y = tiny_run.data(32)
    one, other = fx.data.Dataset(x, y), fx.data.Dataset(x, y)
    watch = Watch(2, None, None, None)
    noise = lambda example, rng: example
    for pair in (
        [fx.data.Loader(one, 8), fx.data.Loader(other, 8)],
        [fx.data.Loader(one, 8, transform=noise), fx.data.Loader(one, 8, transform=noise)],
        [fx.data.Loader(one, 8), fx.data.Loader(one, 8, drop_last=True)],
        [fx.data.Loader(one, 8), Batches(32)],
    ):
        assert ManyBatches(pair, 2, watch)._merged is None
