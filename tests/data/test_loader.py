import gc
import threading
import time

import chex
import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx.data import Dataset, Loader, StreamLoader
from fx.data import loader as loader_module


def numbered(n):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (n, 2, 2, 3), np.uint8)
    return Dataset(images, np.arange(n, dtype=np.int32))


def labels(batches):
    return [np.asarray(targets).ravel().tolist() for _, targets in batches]


def flat(lists):
    return [x for part in lists for x in part]


def reading():
    return [t for t in threading.enumerate() if t.name.startswith("fx-loader")]


CASES = st.fixed_dictionaries(
    {
        "n": st.integers(1, 40),
        "batch_size": st.integers(1, 12),
        "seed": st.integers(0, 2**63),
        "shuffle": st.booleans(),
        "drop_last": st.booleans(),
        "prefetch": st.integers(0, 3),
    }
)


def make(case):
    case = dict(case)
    n = case.pop("n")
    if case["drop_last"]:
        n = max(n, case["batch_size"])
    return Loader(numbered(n), **case)


@settings(max_examples=40, deadline=None)
@given(CASES, st.integers(0, 50))
def test_an_epoch_is_every_example_once(case, epoch):
    loader = make(case)
    batches = labels(loader.epoch(epoch))
    n, size = len(loader.dataset), loader.batch_size
    assert len(batches) == len(loader)
    assert all(len(batch) == size for batch in batches[: n // size])
    seen = flat(batches)
    assert len(set(seen)) == len(seen) == (n // size * size if loader.drop_last else n)
    if not loader.shuffle:
        assert seen == list(range(len(seen)))
    assert batches == labels(loader.epoch(epoch))


@settings(max_examples=40, deadline=None)
@given(CASES, st.integers(0, 40), st.integers(1, 6))
def test_start_gives_the_tail_and_grouping_changes_no_batch(case, start, steps_per_call):
    loader = make(case)
    start = min(start, len(loader))
    whole = labels(loader.epoch(2))
    assert labels(loader.epoch(2, start)) == whole[start:]
    calls = list(loader.epoch(2, start, steps_per_call))
    if steps_per_call > 1:
        assert all(inputs.shape[0] <= steps_per_call and inputs.ndim == 5 for inputs, _ in calls)
        calls = [(x[i], y[i]) for x, y in calls for i in range(len(y))]
    assert labels(calls) == whole[start:]


def test_the_shapes_of_calls():
    loader = Loader(numbered(23), 4)
    shapes = [targets.shape for _, targets in loader.epoch(0, 1, 2)]
    assert shapes == [(2, 4), (2, 4), (1, 3)]
    shapes = [targets.shape for _, targets in loader.epoch(0, 0, 100)]
    assert shapes == [(5, 4), (1, 3)]


def test_both_paths_give_the_same_batches():
    data = Dataset((np.arange(22.0).reshape(11, 2), np.arange(11)), np.arange(11), ())  # 64 bits
    host, device = (Loader(data, 4, seed=3, on_device=on_device) for on_device in (False, True))
    for steps_per_call in (1, 2):
        ours, theirs = (list(x.epoch(5, 1, steps_per_call)) for x in (host, device))
        chex.assert_trees_all_equal(ours, theirs)
        chex.assert_trees_all_equal_dtypes(ours, theirs)
    chex.assert_trees_all_equal(list(host.padded()), list(device.padded()))


def test_batches_are_on_the_device_in_the_datas_dtype():
    for on_device in (False, True):
        inputs, targets = next(Loader(numbered(8), 4, on_device=on_device).epoch(0))
        assert isinstance(inputs, jax.Array) and isinstance(targets, jax.Array)
        assert inputs.dtype == np.uint8 and targets.dtype == np.int32


def test_the_reader_has_the_callers_precision(x64):
    inputs, targets = next(Loader(Dataset(np.ones(4), np.arange(4)), 2).epoch(0))
    assert inputs.dtype == np.float64 and targets.dtype == np.int64


def test_the_data_set_is_placed_once_and_the_gather_compiled_once():
    loader = Loader(numbered(20), 6, on_device=True, drop_last=True)
    list(loader.epoch(0))
    placed, compiled = loader._placed, loader_module._gather._cache_size()
    list(loader.epoch(1))
    list(Loader(loader.dataset, 6, on_device=True, drop_last=True, seed=9).epoch(2))
    assert loader._placed is placed and loader_module._gather._cache_size() == compiled


def test_inputs_match_targets():
    data = numbered(30)
    for inputs, targets in Loader(data, 7).epoch(0):
        np.testing.assert_array_equal(inputs, data.inputs[np.asarray(targets)])


def test_epochs_differ():
    loader = Loader(numbered(30), 7)
    assert labels(loader.epoch(0)) != labels(loader.epoch(1))


@settings(max_examples=30, deadline=None)
@given(CASES)
def test_padded_is_everything_in_order(case):
    loader = make(case)
    seen = []
    for (inputs, targets), mask in loader.padded():
        assert inputs.shape[0] == targets.shape[0] == mask.shape[0] == loader.batch_size
        assert mask.dtype == np.bool_
        seen += np.asarray(targets)[np.asarray(mask)].tolist()
    assert seen == list(range(len(loader.dataset)))


def test_stopping_early_ends_the_thread():
    for batches in (Loader(numbered(40), 2).epoch(0), Loader(numbered(40), 2).padded()):
        next(batches)
        assert len(reading()) == 1
        batches.close()
        assert not reading()
    for _ in Loader(numbered(40), 2).epoch(0):
        break
    gc.collect()
    assert not reading()


def test_finishing_ends_the_thread():
    list(Loader(numbered(40), 2).epoch(0))
    assert not reading()


def test_reading_is_ahead_by_prefetch_and_no_more(monkeypatch):
    taken = []
    take = Dataset.take
    monkeypatch.setattr(Dataset, "take", lambda self, rows: taken.append(1) or take(self, rows))
    for prefetch in (0, 2):
        taken.clear()
        batches = Loader(numbered(40), 2, prefetch=prefetch).epoch(0)
        for _ in range(4):
            next(batches)
        batches.close()
        assert 4 <= len(taken) <= 4 + prefetch


def test_stopping_early_reads_no_more_than_what_is_under_way(monkeypatch):
    taken = []
    take = Dataset.take

    def slow(self, rows):
        taken.append(1)
        time.sleep(0.2)
        return take(self, rows)

    monkeypatch.setattr(Dataset, "take", slow)
    batches = Loader(numbered(40), 2, prefetch=8).epoch(0)
    next(batches)
    batches.close()
    assert len(taken) < 9  # what was ahead


def test_an_error_in_the_thread_reaches_the_consumer_with_its_cause(monkeypatch):
    take = Dataset.take

    def fail(self, rows):
        if 7 in rows:
            raise OSError("disk on fire")
        return take(self, rows)

    monkeypatch.setattr(Dataset, "take", fail)
    batches = Loader(numbered(12), 3, shuffle=False).epoch(0)
    assert labels([next(batches), next(batches)]) == [[0, 1, 2], [3, 4, 5]]
    with pytest.raises(RuntimeError, match="failed with OSError: disk on fire; check") as caught:
        next(batches)
    assert isinstance(caught.value.__cause__, OSError)
    assert not reading()


def test_a_memory_mapped_file_is_read_by_rows(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(20.0, dtype=np.float32))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    loader = Loader(Dataset(mapped, np.arange(20)), 8, shuffle=False)
    assert np.asarray(next(loader.epoch(0))[0]).tolist() == list(range(8))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"batch_size": 0}, "expected batch_size of 1 or more, got 0"),
        ({"batch_size": 4, "prefetch": -1}, "expected prefetch of 0 or more, got -1"),
        (
            {"batch_size": 6, "drop_last": True},
            "the data set has 5 examples, fewer than batch_size 6, and drop_last=True leaves no",
        ),
    ],
)
def test_wrong_arguments(arguments, text):
    with pytest.raises(ValueError, match="Loader: " + text):
        Loader(numbered(5), **arguments)


def test_arrays_are_not_a_data_set():
    with pytest.raises(
        TypeError, match=r"expected a Dataset or another source, .* got tuple; wrap arrays in"
    ):
        Loader((np.ones(3), np.ones(3)), 2)
    for array in (np.ones((3, 2)), jax.numpy.ones((3, 2))):  # they have len() and take()
        with pytest.raises(TypeError, match="expected a Dataset .*wrap arrays .*PyTorch's in fx"):
            Loader(array, 2)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ((-1,), "expected epoch of 0 or more, got -1"),
        ((0, 4), "expected start from 0 to 3, the steps of an epoch, got 4; the data set or"),
        ((0, -1), "expected start from 0 to 3, the steps of an epoch, got -1"),
        ((0, 0, 0), "expected steps_per_call of 1 or more, got 0"),
    ],
)
def test_a_wrong_epoch_raises_at_the_call(arguments, text):
    with pytest.raises(ValueError, match=r"Loader\.epoch: " + text):
        Loader(numbered(5), 2).epoch(*arguments)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize(
    ("labels", "text"),
    [
        (np.array([0, 2**40]), r"int64\) to fit into int32, got values from 0 to 1099511627776"),
        (np.array([-(2**31) - 1, 0]), r"int64\) to fit into int32, got values from -2147483649"),
        (np.array([0, 2**32], np.uint64), r"uint64\) to fit into uint32, got .* to 4294967296"),
    ],
)
def test_integers_that_would_wrap_around_are_refused(labels, text, on_device):
    loader = Loader(Dataset(np.ones(2, np.float32), {"id": labels}), 2, on_device=on_device)
    text = rf"Loader: expected targets\['id'\] \({text}.*renumber them"
    with pytest.raises(ValueError, match=text):
        loader.epoch(0)
    with pytest.raises(ValueError, match=text):
        next(loader.padded())
    with jax.enable_x64(True):
        assert next(loader.padded())[0][1]["id"].tolist() == labels.tolist()


def test_integers_of_64_bits_that_fit_arrive():
    ends = np.array([-(2**31), 2**31 - 1])
    targets = next(Loader(Dataset(np.ones(2), ends), 2, shuffle=False).epoch(0))[1]
    assert targets.dtype == np.int32 and targets.tolist() == ends.tolist()


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"batch_size": 2.5}, "batch_size to be an integer, got 2.5"),
        ({"batch_size": 2, "seed": None}, "seed to be an integer, got None"),
        ({"batch_size": 2, "prefetch": "2"}, "prefetch to be an integer, got '2'"),
    ],
)
def test_numbers_are_integers(arguments, text):
    with pytest.raises(TypeError, match="Loader: expected " + text):
        Loader(numbered(5), **arguments)


def test_a_loader_is_no_iterable():
    with pytest.raises(TypeError, match=r"write: for inputs, targets in loader.epoch\(0\)"):
        list(Loader(numbered(5), 2))
    with pytest.raises(TypeError, match="StreamLoader: expected a call of epoch"):
        list(StreamLoader([(np.zeros(2), 0)], 1))


def test_an_epoch_is_an_integer():
    with pytest.raises(TypeError, match="Loader.epoch: expected epoch to be an integer, got 0.5"):
        Loader(numbered(5), 2).epoch(0.5)
    assert Loader(numbered(5), np.int64(2)).batch_size == 2
