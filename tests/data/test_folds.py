import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx.data import Dataset, Examples, fold_rows, k_fold, stratified_k_fold, stratified_split

SEEDS = st.integers(0, 2**64)
CLASSES = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def labelled(counts):
    labels = np.repeat(np.arange(len(counts)) * 3, counts)  # labels need not be 0, 1, 2, ...
    labels = np.random.default_rng(0).permutation(labels)
    return Dataset(np.arange(len(labels)), labels.astype(np.int32), ("c",))


@settings(max_examples=40, deadline=None)
@given(st.integers(2, 60), st.data(), SEEDS)
def test_folds_are_disjoint_complete_even_and_pure(n, data, seed):
    k = data.draw(st.integers(2, n))
    folds = fold_rows(n, k, seed)
    assert sorted(np.concatenate(folds).tolist()) == list(range(n))
    sizes = [len(rows) for rows in folds]
    assert max(sizes) - min(sizes) <= 1
    for rows, again in zip(folds, fold_rows(n, k, seed)):
        np.testing.assert_array_equal(rows, again)


def test_k_fold_pairs_training_with_the_rest():
    data = Dataset(np.arange(10) * 2, np.arange(10), ("x",))
    for train, valid in k_fold(data, 3, seed=4):
        assert sorted([*train.targets, *valid.targets]) == list(range(10))
        np.testing.assert_array_equal(train.inputs, train.targets * 2)
        assert train.classes == ("x",)
    first, second = (fold_rows(50, 5, seed)[0].tolist() for seed in (0, 1))
    assert first != second


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(5, 30), min_size=1, max_size=6), st.integers(2, 5), SEEDS)
def test_stratified_folds_have_equal_shares(counts, k, seed):
    data = labelled(counts)
    sizes, seen = [], []
    for train, valid in stratified_k_fold(data, k, seed):
        for label, count in zip(np.arange(len(counts)) * 3, counts):
            assert abs(np.sum(valid.targets == label) - count / k) < 1
        sizes.append(len(valid))
        seen += valid.inputs.tolist()
        assert len(train) + len(valid) == len(data)
    assert sorted(seen) == list(range(len(data))) and max(sizes) - min(sizes) <= 1


@settings(max_examples=150, deadline=None)
@given(CLASSES, st.lists(st.integers(1, 9), min_size=1, max_size=5), SEEDS)
def test_stratified_parts_have_equal_shares(counts, weights, seed):
    data = labelled(counts)
    fractions = [weight / sum(weights) for weight in weights]
    if len(data) * min(fractions) < 1:
        return
    parts = stratified_split(data, fractions, seed)
    assert sorted(np.concatenate([p.inputs for p in parts]).tolist()) == list(range(len(data)))
    for part, again in zip(parts, stratified_split(data, fractions, seed)):
        np.testing.assert_array_equal(part.inputs, again.inputs)
        for label, count in zip(np.arange(len(counts)) * 3, counts):
            assert abs(np.sum(part.targets == label) - count * len(part) / len(data)) <= 1


def test_stratified_lengths_are_exact():
    data = labelled([7, 11, 2])
    assert [len(part) for part in stratified_split(data, (13, 7))] == [13, 7]
    first, second = (stratified_split(data, (0.5, 0.5), seed)[0].inputs for seed in (0, 1))
    assert first.tolist() != second.tolist()


def test_labels_may_be_given():
    data = Examples([(float(i), i % 2) for i in range(8)])
    labels = np.arange(8) % 2
    for _, valid in stratified_k_fold(data, 4, labels=labels):
        assert sorted(valid.take(np.arange(2))[1].tolist()) == [0, 1]
    text = r"stratified_split: expected a data set with targets at hand, got Examples\(8.*labels="
    with pytest.raises(ValueError, match=text):
        stratified_split(data, (0.5, 0.5))


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda d: list(k_fold(d, 1)), "k_fold: expected k from 2 to the .*, 6, got 1"),
        (lambda d: list(k_fold(d, 7)), "k_fold: expected k from 2 to the number of examples, 6"),
        (
            lambda d: list(stratified_k_fold(d, 3)),
            "at least 3 examples of each class for 3 folds, got 1 of class 3; lower k, or",
        ),
        (
            lambda d: stratified_split(d, (0.5, 0.5), labels=np.ones(6)),
            r"stratified_split: expected labels to be integers \[6\], got float64\[6\]",
        ),
        (
            lambda d: stratified_k_fold(d, 2, labels=np.ones(5, int)),
            r"stratified_k_fold: expected labels to be integers \[6\], got int64\[5\]",
        ),
        (lambda d: stratified_split(d, (0.5, 0.4)), "stratified_split: expected fractions that"),
    ],
)
def test_wrong_folds(call, text):
    with pytest.raises(ValueError, match=text):
        call(labelled([5, 1]))
