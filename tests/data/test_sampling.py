import numpy as np
import pytest

from fx.data import Dataset, Loader, WeightedSampler
from fx.train.record import describe_data


def data(n):
    return Dataset(np.arange(n), np.arange(n))


def chi_squared(rows, weights):
    expected = len(rows) * np.array(weights) / sum(weights)
    found = np.bincount(rows, minlength=len(weights))
    real = expected > 0
    assert not found[~real].any()
    return (((found - expected) ** 2)[real] / expected[real]).sum()


def test_rows_come_by_their_weights():
    weights = [1.0, 0.0, 3.0, 6.0, 0.0]
    rows = WeightedSampler(weights, 20_000)(seed=5, epoch=0)
    assert rows.dtype == np.int64 and len(rows) == 20_000
    assert chi_squared(rows, weights) < 13.8  # 2 degrees: p = 0.001


def test_without_replacement_the_rest_is_drawn_by_the_rests_weights():
    weights = np.array([1.0, 2.0, 5.0, 0.0])
    sampler = WeightedSampler(weights, 2, replacement=False)
    drawn = np.array([sampler(0, epoch) for epoch in range(4000)])
    assert (drawn[:, 0] != drawn[:, 1]).all() and (drawn != 3).all()
    assert chi_squared(drawn[:, 0], weights) < 13.8
    after = drawn[drawn[:, 0] == 2, 1]  # of 1 : 2 after the heaviest is gone
    assert chi_squared(after, [1.0, 2.0]) < 10.8  # 1 degree


def test_torch_draws_from_the_same_distribution():
    torch = pytest.importorskip("torch")
    weights = [0.5, 0.1, 2.0, 1.4]
    generator = torch.Generator().manual_seed(0)
    for replacement, count in ((True, 20_000), (False, 3)):
        runs = 1 if replacement else 3000
        theirs = torch.utils.data.WeightedRandomSampler(weights, count, replacement, generator)
        theirs = np.array([list(theirs) for _ in range(runs)])
        sampler = WeightedSampler(weights, count, replacement)
        ours = np.array([sampler(1, epoch) for epoch in range(runs)])
        assert ours.shape == theirs.shape
        for column in range(1 if replacement else count):
            a, b = (
                np.bincount(rows.ravel() if replacement else rows[:, column], minlength=4)
                for rows in (ours, theirs)
            )
            shared = (a + b) / 2
            assert (((a - shared) ** 2 + (b - shared) ** 2) / shared).sum() < 16.3


def test_it_is_a_function_of_seed_and_epoch():
    sampler = WeightedSampler(np.ones(50), 30)
    np.testing.assert_array_equal(sampler(3, 4), sampler(3, 4))
    assert len({tuple(sampler(seed, epoch)) for seed in range(3) for epoch in range(3)}) == 9


def test_a_loader_draws_with_it_and_resumes():
    loader = Loader(data(6), 4, sampler=WeightedSampler([0, 1, 0, 1, 1, 0], 11), seed=2)
    assert len(loader) == 3
    batches = [np.asarray(y).tolist() for _, y in loader.epoch(1)]
    assert [len(batch) for batch in batches] == [4, 4, 3]
    assert sum(batches, []) == loader.sampler(2, 1).tolist()
    assert [np.asarray(y).tolist() for _, y in loader.epoch(1, start=2)] == batches[2:]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([1.0, -1.0],), "expected finite weights of 0 or more, and one above 0, got .* -1.0 to 1"),
        (([0.0, 0.0],), "expected finite weights .* from 0.0 to 0.0"),
        (([1.0, np.nan],), "expected finite weights"),
        (([[1.0]],), r"expected weights \[N\], got shape \[1, 1\]"),
        (([1.0], 0), "expected num_samples of 1 or more, got 0"),
        (([1.0, 0.0], 2, False), "and at most 1, the positive weights, got 2; replacement=True"),
    ],
)
def test_wrong_weights(arguments, text):
    with pytest.raises(ValueError, match="WeightedSampler: .*" + text):
        WeightedSampler(*arguments)


def test_a_sampler_that_does_not_fit():
    with pytest.raises(ValueError, match="expected a sampler for 5 examples, got one with 3 weigh"):
        Loader(data(5), 2, sampler=WeightedSampler(np.ones(3)))
    with pytest.raises(TypeError, match=r"expected sampler to be called with \(seed, epoch\)"):
        Loader(data(5), 2, sampler=[0, 1])

    class Off:
        def __init__(self, rows):
            self.rows = np.array(rows)

        def __len__(self):
            return 3

        def __call__(self, seed, epoch):
            return self.rows

    with pytest.raises(ValueError, match="the sampler to give rows from 0 to 4, got 0 to 5"):
        next(Loader(data(5), 2, sampler=Off([0, 5, 1])).epoch(0))
    with pytest.raises(ValueError, match=r"the sampler to give 3 integers, got int64\[2\]"):
        next(Loader(data(5), 2, sampler=Off([0, 1])).epoch(0))


def test_evaluation_takes_every_example_and_refuses_a_sampler():
    loader = Loader(data(5), 2, sampler=WeightedSampler(np.ones(5), 3))
    text = r"every example of the data set once, and sampler= chooses 3 rows of 5; .*data.subset\("
    with pytest.raises(ValueError, match=text):
        next(loader.padded())


def test_what_a_run_knows_of_a_sampler_of_ones_own():
    def described(sampler):
        return describe_data(Loader(data(5), 2, sampler=sampler))["sampler"]

    class Rows:
        def __init__(self, rows):
            self.rows = np.array(rows)

        def __len__(self):
            return len(self.rows)

        def __call__(self, seed, epoch):
            return self.rows

    assert described(Rows([1, 2])) == described(Rows([1, 2])) != described(Rows([2, 1]))
    assert described(Rows([1, 2])).startswith("Rows ")
