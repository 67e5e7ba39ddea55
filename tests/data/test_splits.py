import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx.data import Dataset, random_split
from fx.data.splits import HOLD_OUT, ORDER, SPLIT, permutation

SEEDS = st.integers(-(2**70), 2**70)

GOLDEN = (
    [0, 2, 9, 1, 8, 5, 4, 3, 6, 7],
    [2, 5, 9, 7, 3, 0, 6, 8, 4, 1],
    [6, 4, 8, 9, 0, 2, 5, 3, 1, 7],
)


def numbered(n):
    return Dataset(np.arange(n) * 10, np.arange(n), ("a", "b"))


@settings(deadline=None)
@given(st.integers(0, 300), SEEDS, st.integers(0, 1000))
def test_permutation_is_one_and_pure(n, seed, epoch):
    order = permutation(n, seed, epoch)
    assert sorted(order.tolist()) == list(range(n))
    np.testing.assert_array_equal(order, permutation(n, seed, epoch))


def test_permutation_never_changes():
    # Runs of older versions resume only as long as these numbers stay.
    assert permutation(10, 0).tolist() == GOLDEN[0]
    assert permutation(10, 7, 3).tolist() == GOLDEN[1]
    assert permutation(10, 7, 3, purpose=SPLIT).tolist() == GOLDEN[2]


def test_permutations_differ_by_seed_epoch_and_purpose():
    orders = {
        tuple(permutation(50, seed, epoch, purpose=purpose))
        for seed in range(5)
        for epoch in range(5)
        for purpose in (ORDER, SPLIT, HOLD_OUT)
    }
    assert len(orders) == 75


def test_permutation_is_uniform():
    firsts = np.bincount([permutation(6, 0, epoch)[0] for epoch in range(3000)], minlength=6)
    assert ((firsts - 500) ** 2 / 500).sum() < 20.5  # chi-squared, 5 degrees: p = 0.001


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 200), st.lists(st.integers(1, 20), min_size=1, max_size=5), SEEDS)
def test_split_is_disjoint_complete_and_pure(n, weights, seed):
    fractions = [weight / sum(weights) for weight in weights]
    if n * min(fractions) < 1:
        n = int(np.ceil(1 / min(fractions))) + 1
    data = numbered(n)
    parts = random_split(data, fractions, seed)
    labels = np.concatenate([part.targets for part in parts])
    assert sorted(labels.tolist()) == list(range(n))
    for part, again, fraction in zip(parts, random_split(data, fractions, seed), fractions):
        np.testing.assert_array_equal(part.inputs, part.targets * 10)
        np.testing.assert_array_equal(part.targets, again.targets)
        assert abs(len(part) - n * fraction) <= len(fractions)
        assert part.classes == data.classes


def test_lengths_are_torchs():
    torch_data = pytest.importorskip("torch.utils.data")
    for n, lengths in [(10, (0.8, 0.2)), (17, (0.5, 0.3, 0.2)), (100, (0.29, 0.71)), (9, (4, 5))]:
        ours = [len(part) for part in random_split(numbered(n), lengths)]
        assert ours == [len(part) for part in torch_data.random_split(range(n), lengths)]


def test_another_seed_is_another_split():
    first, second = (random_split(numbered(100), (0.5, 0.5), seed)[0] for seed in (0, 1))
    assert first.targets.tolist() != second.targets.tolist()


@pytest.mark.parametrize(
    ("lengths", "text"),
    [
        ((0.99, 0.01), r"split 10 examples into \[10, 0\], and part 1 would be empty; give it"),
        ((0.5, 0.4), r"fractions that sum to 1 or whole numbers that sum to 10, got .* to 0.9"),
        ((7, 4), r"got \(7, 4\), which sum to 11"),
        ((1.5, -0.5), r"lengths of 0 or more, got \(1.5, -0.5\)"),
        ((), r"lengths of 0 or more, got \(\)"),
        ((2.5, 7.5), r"whole numbers that sum to 10, got \(2.5, 7.5\)"),
        ((10, 0), r"part 1 would be empty"),
    ],
)
def test_wrong_lengths(lengths, text):
    with pytest.raises(ValueError, match="random_split: .*" + text):
        random_split(numbered(10), lengths)
