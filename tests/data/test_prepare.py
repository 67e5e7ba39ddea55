"""Transforms and collating on the host."""

import numpy as np
import pytest

from fx.data import Dataset, Examples, Loader, PadCollate, ReadError, WeightedSampler, subset


def numbered(n):
    return Dataset(np.arange(n, dtype=np.float32), np.arange(n, dtype=np.int32))


def jitter(example, rng):
    value, label = example
    return value + np.float32(rng.random()), label


def shift_batch(batch, rng):
    inputs, targets = batch
    return inputs + np.float32(rng.random()), targets


def values(batches):
    return [np.asarray(inputs).tolist() for inputs, _ in batches]


@pytest.mark.parametrize("options", [{"transform": jitter}, {"batch_transform": shift_batch}])
def test_random_numbers_do_not_depend_on_workers_resume_or_grouping(options):
    alone = Loader(numbered(23), 4, seed=3, **options)
    many = Loader(numbered(23), 4, seed=3, workers=4, prefetch=6, **options)
    whole = values(alone.epoch(1))
    assert values(many.epoch(1)) == whole
    assert values(many.epoch(1, start=2)) == whole[2:]
    grouped = [row for call in values(many.epoch(1, 1, steps_per_call=3)) for row in call]
    assert grouped == whole[1:]
    assert values(alone.epoch(2)) != whole
    assert values(Loader(numbered(23), 4, seed=4, **options).epoch(1)) != whole


def test_examples_have_numbers_of_their_own():
    loader = Loader(numbered(64), 8, shuffle=False, transform=jitter)
    added = np.concatenate(values(loader.epoch(0))) - np.arange(64)
    assert len(set(added.round(5).tolist())) == 64 and 0.3 < added.mean() < 0.7


def test_a_row_that_is_drawn_twice_is_not_transformed_alike():
    sampler = WeightedSampler([1.0, 0.0], 8)
    loader = Loader(numbered(2), 8, sampler=sampler, transform=jitter)
    assert len(set(values(loader.epoch(0))[0])) == 8


def test_a_transform_without_rng_gets_the_example_alone():
    loader = Loader(numbered(4), 2, shuffle=False, transform=lambda pair: (-pair[0], pair[1]))
    assert values(loader.epoch(0)) == [[0, -1], [-2, -3]]


def reversed_pair(pair):
    return pair[1], pair[0]


def test_padded_is_transformed_too():
    loader = Loader(numbered(3), 2, transform=reversed_pair, batch_transform=reversed_pair)
    assert values(batch for batch, _ in loader.padded()) == [[0, 1], [2, 0]]


def test_a_transform_that_raises_names_itself_and_the_sample():
    def fragile(example):
        if example[1] == 6:
            raise KeyError("no such thing")
        return example

    part = subset(Examples([(float(i), i) for i in range(10)]), range(1, 10))
    for source, row in ((numbered(10), 6), (part, 5)):
        batches = Loader(source, 4, shuffle=False, transform=fragile).epoch(0)
        next(batches)
        text = f"Loader: transform 'fragile' failed on sample {row} with KeyError: 'no such thing'"
        with pytest.raises(ReadError, match=text) as caught:
            next(batches)
        assert isinstance(caught.value.__cause__, KeyError)


def test_a_batch_transform_that_raises_names_itself_and_the_step():
    def fragile(batch):
        raise ZeroDivisionError("zero")

    text = "batch_transform 'fragile' failed on step 1 of epoch 2 with ZeroDivisionError: zero"
    with pytest.raises(ReadError, match=text):
        next(Loader(numbered(9), 4, batch_transform=fragile).epoch(2, start=1))


def test_examples_that_cannot_be_stacked_are_named():
    lengths = Examples([(np.zeros(2), 0), (np.zeros(3), 1)])
    text = (
        r"collating samples 0, 1 with 'stack' failed: stack: expected arrays of one shape and "
        r"dtype at \[0\] of examples, got float64\[2\] in example 0 and float64\[3\] in example 1"
        r".*PadCollate"
    )
    with pytest.raises(ReadError, match=text):
        next(Loader(lengths, 2, shuffle=False).epoch(0))
    mixed = Examples([(np.zeros(2), 0), ((np.zeros(2), np.zeros(2)), 1)])
    with pytest.raises(ReadError, match="stack: expected examples of one structure, got"):
        next(Loader(mixed, 2, shuffle=False).epoch(0))


def test_text_cannot_become_a_batch():
    words = Examples([("one", 1), ("two", 2)])
    text = r"Loader: expected inputs to be an array of numbers, got dtype <U3.*a transform="
    with pytest.raises(ReadError, match=text):
        next(Loader(words, 2).epoch(0))


def test_text_in_a_data_set_is_refused_before_it_is_read():
    words = Dataset(np.array(["one", "two"]), np.arange(2))
    with pytest.raises(
        TypeError, match="Loader: expected inputs to be an array of numbers, got dty"
    ):
        Loader(words, 2).epoch(0)
    lengths = Loader(words, 2, shuffle=False, transform=lambda pair: (np.int32(len(pair[0])), 0))
    assert next(lengths.epoch(0))[0].tolist() == [3, 3]


def test_wide_integers_of_a_source_are_refused():
    with pytest.raises(ReadError, match=r"expected targets \(int64\) to fit into int32"):
        next(Loader(Examples([(1.0, 2**40)]), 1).epoch(0))


def test_a_custom_collate_makes_the_batch():
    def pairs(examples):
        return np.stack([x for x, _ in examples]), {"count": np.int32(len(examples))}

    (inputs, targets) = next(Loader(numbered(5), 3, shuffle=False, collate=pairs).epoch(0))
    assert inputs.tolist() == [0, 1, 2] and int(targets["count"]) == 3


def test_calls_of_several_steps_need_one_shape():
    ragged = Examples([(np.ones(n, np.float32), n) for n in (1, 1, 3, 3)])
    loader = Loader(ragged, 2, shuffle=False, collate=PadCollate())
    assert [inputs[0].shape for inputs, _ in loader.epoch(0)] == [(2, 1), (2, 3)]
    with pytest.raises(ReadError, match="the batches of one call to have one shape at .*; pad to"):
        next(loader.epoch(0, steps_per_call=2))
    padded = Loader(ragged, 2, shuffle=False, collate=PadCollate(buckets=(4,)))
    (tokens, mask), targets = next(padded.epoch(0, steps_per_call=2))
    assert tokens.shape == mask.shape == (2, 2, 4) and targets.tolist() == [[1, 1], [3, 3]]


@pytest.mark.parametrize("name", ["transform", "collate", "batch_transform"])
def test_what_prepares_is_a_function(name):
    with pytest.raises(TypeError, match=f"Loader: expected {name} to be a function, got int"):
        Loader(numbered(3), 1, **{name: 3})


def test_the_device_runs_no_host_code():
    with pytest.raises(ValueError, match="on_device=True takes batches from the device, where"):
        Loader(numbered(3), 1, on_device=True, transform=jitter)


@pytest.mark.parametrize("on_device", [False, True])
def test_batches_do_not_share_memory_with_what_they_came_from(on_device):
    """On a CPU, device_put takes over memory that is aligned."""
    raw = np.zeros(2**16 + 64, np.uint8)
    start = -raw.ctypes.data % 64
    held = raw[start : start + 2**16].view(np.float32).reshape(16, 1024)

    class Source:
        def __len__(self):
            return 16

        def take(self, rows):
            return held, np.arange(16, dtype=np.int32)

    source = Source() if not on_device else Dataset(held, np.arange(16, dtype=np.int32))
    inputs, _ = next(Loader(source, 16, shuffle=False, on_device=on_device).epoch(0))
    loader = Loader(source, 16, shuffle=False, on_device=on_device)
    first, _ = next(loader.epoch(0))
    held[:] = 7
    assert float(inputs.max()) == float(first.max()) == 0
    if on_device:
        assert float(next(loader.epoch(1))[0].max()) == 0
