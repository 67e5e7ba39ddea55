"""grain pipelines: batches, positions, states."""

import json
import re
import subprocess
import sys
import threading

import numpy as np
import pytest

from fx.data import ReadError, from_grain

grain = pytest.importorskip("grain")

OPTIONS = grain.MultiprocessingOptions(num_workers=1)


def shuffled(n=23, seed=3):
    pairs = grain.MapDataset.range(n).seed(seed).shuffle()
    return pairs.map(lambda i: (np.float32(i), np.int32(i)))


class Augment(grain.transforms.RandomMap):
    def random_map(self, element, rng):
        return element[0] + np.float32(rng.random()), element[1]


def iterable(epoch=0):
    return shuffled(seed=epoch).to_iter_dataset().random_map(Augment()).batch(4)


class Pairs(grain.transforms.Map):
    def map(self, element):
        return np.float32(element), np.int32(element)


def pair_loader(epoch=0):
    return grain.DataLoader(
        data_source=grain.sources.RangeDataSource(0, 22, 1),
        sampler=grain.samplers.IndexSampler(22, shuffle=True, seed=epoch, num_epochs=1),
        operations=[Pairs(), Augment(), grain.transforms.Batch(4)],
        worker_count=0,
    )


def read(batches):
    return [(np.asarray(x).tolist(), np.asarray(y).tolist()) for x, y in batches]


def reading():
    return [t for t in threading.enumerate() if t.name.startswith("fx-loader")]


@pytest.mark.parametrize("workers", [1, 3])
def test_a_map_data_set_is_read_anywhere(workers):
    loader = from_grain(shuffled().batch(4), workers=workers)
    assert len(loader) == 6
    epochs = [read(loader.epoch(n)) for n in range(3)]
    assert sorted(sum((y for _, y in epochs[1]), [])) == list(range(23))
    assert epochs[0] != epochs[1] != epochs[2]
    repeated = iter(shuffled().repeat(3).batch(4).to_iter_dataset())
    assert read([next(repeated)]) == epochs[0][:1]
    batches = loader.epoch(1, start=4)
    assert read(batches) == epochs[1][4:] and batches.state() is None
    assert not reading()


@pytest.mark.parametrize("make", [iterable, pair_loader])
def test_the_state_goes_on_where_the_batches_stopped(make):
    loader = from_grain(make, length=6)
    whole = read(loader.epoch(1))
    assert len(whole) == len(loader) == 6 and whole != read(loader.epoch(0))
    for stop in (1, 3, 5):
        batches = loader.epoch(1)
        assert batches.state() is None
        first = read(next(batches) for _ in range(stop))
        state = json.loads(json.dumps(batches.state()))
        batches.close()
        rest = loader.epoch(1, start=stop, state=state)
        assert rest.state() == state
        assert first + read(rest) == whole
        assert rest.state()["step"] == 6
    assert not reading()


@pytest.mark.parametrize("make", [iterable, pair_loader])
def test_without_a_state_what_comes_before_is_passed_over(make):
    loader = from_grain(make(5))
    assert read(loader.epoch(0, start=2)) == read(loader.epoch(0))[2:]


@pytest.mark.parametrize("pipeline", [shuffled().batch(4), iterable])
def test_several_steps_a_call(pipeline):
    loader = from_grain(pipeline, length=6)
    whole = read(loader.epoch(0))
    calls = loader.epoch(0, 0, 2)
    first = next(calls)
    assert first[0].shape == (2, 4)
    state = calls.state()
    if state is not None:
        assert state["step"] == 2
    shapes = [x.shape for x, _ in loader.epoch(0, 2, 2, state=state)]
    assert shapes == [(2, 4), (1, 4), (1, 3)]
    tail = [row for x, _ in loader.epoch(0, 2, 2) for row in np.asarray(x).tolist()]
    assert tail == [x for x, _ in whole[2:]]


def test_padded_is_everything_once():
    seen = []
    for (inputs, labels), mask in from_grain(shuffled().batch(4)).padded():
        assert inputs.shape == labels.shape == mask.shape == (4,)
        seen += np.asarray(labels)[np.asarray(mask)].tolist()
    assert sorted(seen) == list(range(23))


def test_errors():
    def broken(i):
        if i == 5:
            raise OSError("unplugged")
        return np.float32(i), np.int32(i)

    pipeline = grain.MapDataset.range(8).map(broken).batch(2)
    with pytest.raises(
        ReadError, match="from_grain: reading batch 2 of the pipeline failed with OSE"
    ):
        list(from_grain(pipeline).epoch(0))
    with pytest.raises(
        TypeError, match="expected a grain MapDataset, IterDataset or DataLoader, or"
    ):
        from_grain(3)
    with pytest.raises(ValueError, match="the length of this pipeline is not known; give length="):
        len(from_grain(iterable()))
    with pytest.raises(ValueError, match="from_grain: expected length of 1 or more, got 0"):
        from_grain(iterable(), length=0)
    with pytest.raises(ValueError, match="from_grain: the pipeline has no batch; check its"):
        from_grain(grain.MapDataset.range(0))
    with pytest.raises(ValueError, match="from_grain: expected workers of 1 or more, got 0"):
        from_grain(iterable(), workers=0)
    loader = from_grain(iterable(), length=6)
    batches = loader.epoch(0)
    next(batches)
    state = batches.state()
    batches.close()
    text = "expected the state of epoch 0 after 2 steps, got that of epoch 0 after 1"
    with pytest.raises(ValueError, match=text):
        loader.epoch(0, 2, state=state)
    assert not reading()


def scaled(by):
    return lambda pair: (pair[0] * by, pair[1])


def pipelines():
    """Kinds of pipelines, each different from the others."""
    yield shuffled().batch(4)
    yield shuffled(seed=4).batch(4)
    yield shuffled(n=24).batch(4)
    yield shuffled().batch(5)
    yield shuffled().batch(4, drop_remainder=True)
    yield shuffled().map(scaled(2.0)).batch(4)
    yield shuffled().map(scaled(3.0)).batch(4)
    for values in (np.arange(100), np.arange(1, 101), list(range(100)), list(range(100))[::-1]):
        yield grain.MapDataset.source(values).map(Pairs()).batch(4)
    yield iterable()
    yield iterable(1)
    yield shuffled().to_iter_dataset().batch(4)
    yield pair_loader()
    yield pair_loader(1)
    yield pair_loader


def test_the_fingerprint_tells_pipelines_apart():
    loaders = [from_grain(each, length=2) for each in pipelines()]
    found = [loader.fingerprint() for loader in loaders]
    assert found.pop() == loaders[-3].fingerprint()  # a function of the epoch, and its epoch 0
    assert len(set(found)) == len(found)
    again = [from_grain(each, length=2).fingerprint() for each in pipelines()]
    assert again[:-1] == found
    for loader in loaders:
        read(loader.epoch(0))  # and it is the same after it was read
    assert [loader.fingerprint() for loader in loaders][:-1] == found


def test_a_pipeline_of_processes_has_one_too():
    make = lambda n: shuffled(n).to_iter_dataset().batch(4).mp_prefetch(OPTIONS)
    one, other = (from_grain(make(n), length=2).fingerprint() for n in (23, 24))
    assert one == from_grain(make(23), length=2).fingerprint() != other


DYING = """
import os
import grain
import numpy as np
from fx import data


class Die(grain.transforms.Map):
    def map(self, i):
        if i == 7:
            os._exit(9)  # as the system does where memory is short
        return np.float32(i), np.int32(i)


if __name__ == "__main__":
    rows = grain.MapDataset.range(20).map(Die()).to_iter_dataset().batch(2)
    rows = rows.mp_prefetch(grain.MultiprocessingOptions(num_workers=1))
    for batch in data.from_grain(rows, length=10).epoch(0):
        pass
"""


@pytest.mark.slow
def test_a_worker_process_that_dies_is_an_error(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(DYING)
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=200)
    assert done.returncode == 1
    text = "ReadError: from_grain: reading batch . of the pipeline failed with RuntimeError: Worker"
    assert re.search(text + " process was terminated unexpectedly with exit code 9", done.stderr)


def test_a_pipeline_without_an_end_needs_a_length():
    endless = grain.MapDataset.range(6).map(lambda i: (np.float32(i), np.int32(i))).repeat()
    loader = from_grain(endless.batch(2))
    with pytest.raises(ValueError, match="not known; give length="):
        len(loader)
    assert len(from_grain(endless.batch(2), length=3)) == 3
    (first, *_), (second, *_) = (
        [targets.tolist() for _, targets in from_grain(endless.batch(2), length=3).epoch(epoch)]
        for epoch in range(2)
    )
    assert first == second == [0, 1]
