import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx.data import Dataset, Examples, Loader, concat, memory_mapped, random_split, subset


def numbered(n, first=0):
    return Dataset(np.arange(first, first + n) * 10, np.arange(first, first + n), ("a", "b"))


class Lazy:
    """The least that is a source."""

    def __init__(self, n):
        self.n, self.taken = n, []

    def __len__(self):
        return self.n

    def take(self, rows):
        self.taken.append(rows.tolist())
        return rows * 10, rows


def targets(batches):
    return [t for _, part in batches for t in np.asarray(part).tolist()]


def test_the_least_source_trains():
    loader = Loader(Lazy(10), 4, seed=1)
    assert targets(loader.epoch(0)) == targets(Loader(numbered(10), 4, seed=1).epoch(0))
    assert targets(Loader(Lazy(5), 2, on_device=True, shuffle=False).epoch(0)) == [0, 1, 2, 3, 4]


def test_a_view_reads_nothing_before_it_is_asked():
    source = Lazy(10)
    part = subset(source, [7, 2, 2])
    assert len(part) == 3 and source.taken == []
    inputs, labels = part.take(np.array([[2, 0]]))
    assert inputs.tolist() == [[20, 70]] and labels.tolist() == [[2, 7]]
    assert source.taken == [[[2, 7]]]


def test_a_part_of_a_data_set_in_memory_is_one():
    part = subset(numbered(5), [4, 0])
    assert isinstance(part, Dataset) and part.targets.tolist() == [4, 0]
    assert part.classes == ("a", "b")


def test_a_part_of_a_mapped_file_is_a_view(tmp_path):
    np.save(tmp_path / "x.npy", np.arange(10.0))
    np.save(tmp_path / "y.npy", np.arange(10))
    data = memory_mapped(tmp_path / "x.npy", tmp_path / "y.npy", ("c",))
    parts = random_split(data, (0.7, 0.3), seed=2)
    assert not any(isinstance(part, Dataset) for part in parts)
    assert sorted(np.concatenate([part.targets for part in parts]).tolist()) == list(range(10))
    same = random_split(numbered(10), (0.7, 0.3), seed=2)
    for part, other in zip(parts, same):
        assert part.targets.tolist() == other.targets.tolist() and part.classes == ("c",)
    assert parts[0].fingerprint() != parts[1].fingerprint()
    assert parts[0].fingerprint() == random_split(data, (0.7, 0.3), seed=2)[0].fingerprint()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 7), min_size=1, max_size=4), st.data())
def test_concat_is_one_after_the_other(sizes, data):
    starts = np.cumsum([0, *sizes])
    both = concat(*(numbered(n, first) for n, first in zip(sizes, starts)))
    assert len(both) == sum(sizes)
    rows = np.array(data.draw(st.lists(st.integers(0, sum(sizes) - 1), min_size=1)))
    inputs, labels = both.take(rows)
    assert labels.tolist() == rows.tolist() and inputs.tolist() == (rows * 10).tolist()
    inputs, labels = both.take(rows[None])
    assert labels.shape == (1, len(rows))
    assert both.targets.tolist() == list(range(sum(sizes)))
    assert both.classes == ("a", "b") and len(both.fingerprint()) == 8


def test_concat_of_sources_read_by_example():
    mixed = concat(Examples([(0.5, 0), (1.5, 1)]), Lazy(3))
    assert [float(x) for x in mixed.example(1)] == [1.5, 1]
    assert [int(x) for x in mixed.example(2)] == [0, 0]
    kinds = concat(Dataset(np.zeros(2), np.zeros(2)), Dataset(np.zeros((2, 3)), np.zeros(2)))
    with pytest.raises(ValueError, match=r"concat: expected sources of one shape and dtype, got"):
        kinds.take(np.array([0, 3]))


def test_wrong_parts():
    data = numbered(4)
    for rows, text in [
        ([4], "expected rows from 0 to 3, got 4 to 4"),
        ([-1, 2], "expected rows from 0 to 3, got -1 to 2"),
        ([], r"expected rows \[M\] with at least one, got \[0\]"),
        ([[1]], r"expected rows \[M\] with at least one, got \[1, 1\]"),
    ]:
        with pytest.raises(ValueError, match="subset: " + text):
            subset(data, rows)
    with pytest.raises(TypeError, match="subset: expected rows to be integers, got float64"):
        subset(data, [0.5])
    with pytest.raises(ValueError, match="concat: expected at least one source, got none"):
        concat()
    with pytest.raises(ValueError, match="concat: expected sources of the same classes, got"):
        concat(data, Dataset(np.zeros(1), np.zeros(1), ("x",)))


def test_sources_with_and_without_targets_are_not_one():
    both = concat(numbered(3), Dataset(np.arange(2), None, ("a", "b")))
    with pytest.raises(ValueError, match="one without targets does not go with one that has them"):
        both.take(np.array([0, 4]))
