import itertools
import threading
import time

import numpy as np
import pytest

from fx.data import ReadError, StreamLoader


def numbers(n):
    return lambda epoch: ((np.float32(i), i + 100 * epoch) for i in range(n))


def targets(batches):
    return [np.asarray(part).tolist() for _, part in batches]


def reading():
    return [t for t in threading.enumerate() if t.name.startswith("fx-loader")]


@pytest.mark.parametrize("workers", [1, 3])
def test_an_epoch_is_a_pass(workers):
    loader = StreamLoader(numbers(10), 4, workers=workers)
    assert targets(loader.epoch(0)) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert targets(loader.epoch(2))[0] == [200, 201, 202, 203]
    assert targets(loader.epoch(0, start=1)) == [[4, 5, 6, 7], [8, 9]]
    assert targets(StreamLoader(numbers(10), 4, drop_last=True).epoch(0)) == [
        [0, 1, 2, 3],
        [4, 5, 6, 7],
    ]
    assert not reading()


def test_several_steps_a_call():
    loader = StreamLoader(numbers(11), 2)
    whole = targets(loader.epoch(0))
    for start, k in [(0, 2), (1, 2), (0, 3), (2, 10), (5, 2)]:
        calls = list(loader.epoch(0, start, k))
        assert all(x.shape[0] <= k and x.ndim == 2 for x, _ in calls)
        assert [row for call in targets(calls) for row in call] == whole[start:]
    assert [x.shape for x, _ in loader.epoch(0, 1, 3)] == [(3, 2), (1, 2), (1, 1)]
    dropped = StreamLoader(numbers(11), 2, drop_last=True).epoch(0, 0, 2)
    assert [x.shape for x, _ in dropped] == [(2, 2), (2, 2), (1, 2)]


def test_the_length():
    assert len(StreamLoader([(1.0, 2)] * 10, 4)) == 3
    assert len(StreamLoader([(1.0, 2)] * 10, 4, drop_last=True)) == 2
    assert len(StreamLoader(numbers(99), 4, length=8)) == 2
    assert targets(StreamLoader(numbers(99), 4, length=6).epoch(0)) == [[0, 1, 2, 3], [4, 5]]
    with pytest.raises(ValueError, match="the length of this stream is not known; give length="):
        len(StreamLoader(numbers(5), 2))
    short = StreamLoader(numbers(5), 2, length=7).epoch(0)
    with pytest.raises(RuntimeError, match="expected 7 examples in a pass, its length, but .* 5"):
        list(short)


def test_padded_is_everything_once():
    seen = []
    for (inputs, labels), mask in StreamLoader(numbers(7), 3, drop_last=True).padded():
        assert inputs.shape == labels.shape == mask.shape == (3,)
        seen += np.asarray(labels)[np.asarray(mask)].tolist()
    assert seen == list(range(7)) and not reading()


def test_transforms_are_those_of_loaders():
    def jitter(example, rng):
        return example[0] + np.float32(rng.random()), example[1]

    one, two = (StreamLoader(numbers(12), 3, transform=jitter, workers=n) for n in (1, 3))
    for (a, _), (b, _) in zip(one.epoch(1), two.epoch(1), strict=True):
        np.testing.assert_array_equal(a, b)
        assert (np.asarray(a) % 1 > 0).all()
    resumed = [np.asarray(x).tolist() for x, _ in two.epoch(1, start=2)]
    assert resumed == [np.asarray(x).tolist() for x, _ in one.epoch(1)][2:]


def test_an_endless_stream_is_read_no_further_than_needed():
    drawn = []

    def endless(epoch):
        for i in itertools.count():
            drawn.append(i)
            yield np.float32(i), i

    batches = StreamLoader(endless, 2, prefetch=1).epoch(0)
    next(batches)
    batches.close()
    assert len(drawn) < 20 and not reading()


def test_errors_say_where():
    def broken(epoch):
        yield 1.0, 0
        yield 1.0, 1
        yield 1.0, 2
        raise OSError("unplugged")

    batches = StreamLoader(broken, 2).epoch(0)
    next(batches)
    text = "StreamLoader: drawing an example after 1 of its batch failed with OSError: unplugged"
    with pytest.raises(ReadError, match=text):
        next(batches)
    with pytest.raises(
        ReadError, match="reading example 0 of the stream failed with ValueError: ex"
    ):
        next(StreamLoader([5], 1).epoch(0))
    with pytest.raises(ReadError, match="opening the stream for epoch 0 failed with TypeError"):
        next(StreamLoader(lambda epoch: 3, 1).epoch(0))

    def odd(example):
        raise KeyError(example[1])

    with pytest.raises(
        ReadError, match="transform 'odd' failed on example 0 of the stream with Key"
    ):
        next(StreamLoader(numbers(3), 2, transform=odd).epoch(0))
    assert not reading()


def test_a_stuck_stream_is_an_error():
    release = threading.Event()

    def stuck(epoch):
        yield 1.0, 0
        release.wait()

    text = (
        r"StreamLoader: a worker showed no sign of life for 0\.3 s; it is still drawing an example "
        "after 1 of its"
    )
    with pytest.raises(TimeoutError, match=text):
        next(StreamLoader(stuck, 2, timeout_s=0.3).epoch(0))
    release.set()
    deadline = time.monotonic() + 5
    while reading() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not reading()


@pytest.mark.parametrize(
    ("arguments", "kind", "text"),
    [
        ((3, 2), TypeError, "expected an iterable of examples, or a function of the epoch .* int"),
        ((iter([1]), 2), TypeError, "got a list_iterator, which is used up after one pass; give a"),
        (([1], 0), ValueError, "expected batch_size of 1 or more, got 0"),
        (([1], 1.5), TypeError, "expected batch_size to be an integer, got 1.5"),
    ],
)
def test_wrong_arguments(arguments, kind, text):
    with pytest.raises(kind, match="StreamLoader: .*" + text):
        StreamLoader(*arguments)


def test_wrong_numbers():
    with pytest.raises(ValueError, match="StreamLoader: expected length of 1 or more, got 0"):
        StreamLoader(numbers(3), 1, length=0)
    with pytest.raises(
        ValueError, match="StreamLoader.epoch: expected start from 0 to 3, the steps"
    ):
        StreamLoader(numbers(3), 1, length=3).epoch(0, 4)
    with pytest.raises(
        TypeError, match="StreamLoader: expected transform to be a function, got int"
    ):
        StreamLoader(numbers(3), 1, transform=1)
