"""Means with intervals, paired comparison, Holm's correction, and ablations."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from fx.evaluate.ablation import ablate
from fx.evaluate.statistics import compare, holm, summarize

RNG = np.random.default_rng(0)


def test_the_interval_is_students():
    values = RNG.normal(3, 2, 7)
    found = summarize(values, 0.9)
    low, high = stats.t.interval(0.9, 6, values.mean(), stats.sem(values))
    assert (found.low, found.high) == pytest.approx((low, high))
    assert found.std == pytest.approx(values.std(ddof=1))
    assert (found.least, found.most, found.count) == (values.min(), values.max(), 7)
    assert found.half_width == pytest.approx((high - low) / 2)
    assert summarize([0.5, 0.75]).text(2) == "0.62 ± 1.59 (95 %, n = 2)"


def test_the_interval_holds_the_mean_as_often_as_it_says():
    rng, hits = np.random.default_rng(1), 0
    for _ in range(400):
        found = summarize(rng.normal(1.0, 0.5, 5), 0.8)
        hits += found.low <= 1.0 <= found.high
    assert abs(hits / 400 - 0.8) < 3 * math.sqrt(0.8 * 0.2 / 400)


def test_one_run_has_no_spread_and_a_diverged_one_no_mean():
    one = summarize([0.5])
    assert one.mean == 0.5 and math.isnan(one.std) and math.isnan(one.low)
    assert math.isnan(summarize([0.5, math.nan]).mean)


@pytest.mark.parametrize("n", [5, 9, 32])
def test_the_tests_are_scipys(n):
    one, other = RNG.normal(size=n), RNG.normal(0.4, size=n)
    found = compare(one, other)
    d = other - one
    assert found.t_test == pytest.approx(stats.ttest_rel(other, one).pvalue)
    assert found.wilcoxon == pytest.approx(stats.wilcoxon(other, one).pvalue)
    assert found.effect_size == pytest.approx(d.mean() / d.std(ddof=1))
    assert found.wins == np.sum(other > one)
    expected = stats.permutation_test(
        (d,), np.mean, permutation_type="samples", vectorized=True, n_resamples=20_000
    )
    # Beyond 14 pairs both draw flips: four standard errors of the two.
    close = 1e-12 if n <= 14 else 4 * math.sqrt(0.25 / 20_000 + 0.25 / 50_000)
    assert found.permutation == pytest.approx(expected.pvalue, abs=close)
    assert compare(one, other) == found  # the random flips are always the same


def test_the_permutation_test_counts_all_flips():
    d = np.array([3.0, 1.0, 2.0, -0.5])
    flips = [abs(np.dot(s, d)) for s in itertools.product((1, -1), repeat=4)]
    expected = np.mean([flip >= abs(d.sum()) for flip in flips])
    assert compare(np.zeros(4), d).permutation == expected == 0.25


def test_differences_that_are_all_equal():
    none = compare([0.5, 0.25, 0.75], [0.5, 0.25, 0.75])
    assert (none.t_test, none.wilcoxon, none.permutation, none.effect_size) == (1, 1, 1, 0)
    same = compare([0.1, 0.2, 0.3], [0.2, 0.3, 0.4])  # 0.1 each, but for rounding
    assert same.t_test == 0 and same.effect_size == math.inf
    assert same.permutation == same.wilcoxon == 0.25
    assert compare([0.2, 0.3], [0.1, 0.2]).effect_size == -math.inf
    text = "0 (t-test), 0.25 (Wilcoxon), 0.25 (permutation) (all differences are equal: see perm"
    assert text in same.text() and same.certain
    assert not none.certain and "equal" not in none.text()
    with pytest.warns(RuntimeWarning):  # scipy's p, where the differences are equal to the bit
        assert stats.ttest_rel([2.0, 3.0, 4.0], [1.0, 2.0, 3.0]).pvalue == same.t_test


def test_a_comparison_as_text():
    text = compare([0.90, 0.92, 0.91, 0.93], [0.92, 0.93, 0.94, 0.95]).text()
    assert text.splitlines() == [
        "difference   +0.0200, 95 % interval [+0.0070, +0.0330], n = 4 pairs",
        "effect size  +2.45 (mean / std of the differences)",
        "wins         4 of 4",
        "p            0.01628 (t-test), 0.125 (Wilcoxon), 0.125 (permutation)",
    ]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (([1.0], [2.0]), r"compare: expected one number for each run, \[S\] with S of 2 or more"),
        (([1.0, 2.0], [1.0, 2.0, 3.0]), "compare: expected pairs, got 2 values and 3; run both"),
        (([1.0, math.nan], [1.0, 2.0]), "got nan as value 1 of the first; a run that diverged"),
        (([1.0, 2.0], [math.inf, 2.0]), "got inf as value 0 of the second"),
        (([1.0, 2.0], [1.0, 2.5], 95), "expected confidence between 0 and 1, got 95; 0.95 is"),
    ],
)
def test_what_cannot_be_compared(arguments, text):
    with pytest.raises(ValueError, match=text):
        compare(*arguments)


@pytest.mark.parametrize("values", [[], [[1.0, 2.0]], 3.0])
def test_what_cannot_be_summarized(values):
    with pytest.raises(ValueError, match="summarize: expected one number for each run"):
        summarize(values)


def test_holm_is_rs_p_adjust():
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005, 0.9), "holm")
    assert holm([0.01, 0.04, 0.03, 0.005, 0.9]) == pytest.approx([0.04, 0.09, 0.09, 0.025, 0.9])
    assert holm([]) == []
    with_nan = holm([0.02, math.nan, 0.5])  # the nan counts: 3 * 0.02 and 2 * 0.5
    assert with_nan[0] == pytest.approx(0.06) and math.isnan(with_nan[1]) and with_nan[2] == 1.0
    with pytest.raises(ValueError, match="holm: expected p-values from 0 to 1, got 1.5"):
        holm([1.5])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_keeps_the_order_and_never_lowers(p_values):
    corrected = holm(p_values)
    assert all(p <= c <= 1 for p, c in zip(p_values, corrected))
    order = np.argsort(p_values, kind="stable")
    assert (np.diff(np.array(corrected)[order]) >= 0).all()
    assert max(corrected) <= min(1, len(p_values) * max(p_values))


class FakeRuns:
    def __init__(self, numbers):
        self.numbers = numbers

    def values(self, metric, at):
        return np.array(self.numbers[metric, at])


def test_an_ablation_compares_everything_with_the_first():
    seen = []

    def train(width=8, dropout=0.5):
        seen.append((width, dropout))
        return [0.8 + width / 1000, 0.82, 0.84 - dropout / 20, 0.85]

    changes = {"baseline": {}, "wide": {"width": 64}, "no dropout": {"dropout": 0.0}}
    found = ablate(train, changes, metric="accuracy")
    assert seen == [(8, 0.5), (64, 0.5), (8, 0.0)]
    first, wide, sure = found.variants
    assert first.comparison is None and first.p is None and first.changes == {}
    assert wide.comparison == compare(first.values, wide.values)
    assert [wide.p, sure.p] == holm([wide.comparison.t_test, sure.comparison.t_test])
    assert found.table(3).splitlines() == [
        "            accuracy ± 95 %    std        difference [95 %]  p (Holm)",
        "baseline      0.823 ± 0.029  0.018",
        "wide          0.837 ± 0.038  0.024  +0.014 [-0.031, +0.059]     0.782",
        "no dropout    0.830 ± 0.030  0.019  +0.006 [-0.014, +0.026]     0.782",
        "n = 4 runs each",
    ]


def test_an_ablation_of_runs_takes_their_metric():
    numbers = {("val_loss", "best"): [0.5, 0.25], ("val_loss", "final"): [1.0, 2.0]}
    train = lambda better=0.0: FakeRuns({k: np.subtract(v, better) for k, v in numbers.items()})
    changes = {"a": {}, "b": {"better": 0.125}}
    assert ablate(train, changes, "val_loss").variants[1].values == (0.875, 1.875)
    assert ablate(train, changes, "val_loss", at="best").variants[1].values == (0.375, 0.125)


@pytest.mark.parametrize(
    ("train", "changes", "kind", "text"),
    [
        (None, ["a"], TypeError, "ablate: expected changes as a dictionary of dictionaries, like"),
        (None, {"a": {}, "b": 3}, TypeError, 'like {"baseline": {}, "no dropout"'),
        (None, {"a": {}}, ValueError, r"a baseline and at least one variant, got \['a'\]"),
        (lambda n: np.zeros(n), {"a": {"n": 2}, "b": {"n": 3}}, ValueError, "{'a': 2, 'b': 3}; "),
        (lambda: 0.5, {"a": {}, "b": {}}, ValueError, r"for 'a', got float of shape \[\]"),
        (lambda: {"loss": [1]}, {"a": {}, "b": {}}, ValueError, "for 'a', got dict of shape"),
    ],
)
def test_ablations_that_cannot_be(train, changes, kind, text):
    with pytest.raises(kind, match=text):
        ablate(train, changes)


def test_an_ablation_leaves_runs_that_diverged_out_and_says_so():
    values = {0: [0.5, 0.625, 0.75], 1: [0.625, math.nan, 0.75], 2: [math.nan, math.inf, 0.5]}
    found = ablate(lambda n=0: values[n], {"plain": {}, "one": {"n": 1}, "two": {"n": 2}})
    plain, one, two = found.variants
    assert (plain.diverged, one.diverged, two.diverged) == (0, 1, 2)
    assert one.summary == summarize([0.625, 0.75]) and two.summary.mean == 0.5
    assert one.comparison == compare([0.5, 0.75], [0.625, 0.75])
    assert one.p == one.comparison.t_test  # a family of one: the other has no pairs
    assert (two.comparison, two.p) == (None, None)
    lines = found.table().splitlines()
    assert lines[2].startswith("one (1 diverged)") and lines[3].startswith("two (2 diverged)")
    assert lines[-1] == "n = 3 runs each"
