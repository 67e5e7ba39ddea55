"""What several runs of one recipe say together: mean, spread, interval, and paired comparison."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

_EXACT = 14  # runs up to which all 2**n sign flips are counted
_FLIPS = 50_000  # random ones beyond


@dataclasses.dataclass(frozen=True)
class Summary:
    """Mean, spread and confidence interval of one number over runs.

    Attributes:
        mean: the mean.
        std: standard deviation of a run, with n - 1 in the denominator; nan for one run.
        low: lower end of the confidence interval of the mean; nan for one run.
        high: its upper end.
        least: the smallest value.
        most: the largest.
        count: number of runs.
        confidence: how often such an interval holds the true mean, 0.95 for 95 %.
    """

    mean: float
    std: float
    low: float
    high: float
    least: float
    most: float
    count: int
    confidence: float

    @property
    def half_width(self) -> float:
        """Half the width of the interval: what stands after the plus-minus sign."""
        return (self.high - self.low) / 2

    def text(self, digits: int = 4) -> str:
        """Returns "0.9312 ± 0.0041 (95 %, n = 32)"."""
        interval = f"{self.mean:.{digits}f} ± {self.half_width:.{digits}f}"
        return f"{interval} ({100 * self.confidence:g} %, n = {self.count})"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What ``compare`` found about two recipes that ran with the same seeds.

    Attributes:
        difference: of the second less the first, over the pairs.
        t_test: two-sided p of the paired t-test: how likely so large a difference is, were there
            none in truth, if differences are normally distributed. Where all differences are
            equal, 1 if they are zero, else 0: the limit of ever smaller spread. A few seeds of a
            metric in coarse steps get there by chance; then believe the permutation test.
        wilcoxon: p of Wilcoxon's signed-rank test, which only needs them to be symmetric.
        permutation: p of the sign-flip test, the same without ranks; exact up to 14 pairs, 50,000
            random flips beyond. With n pairs neither of these two can be below 2 / 2**n.
        effect_size: mean difference in units of its own standard deviation (Cohen's d of paired
            samples): 0.2 is small, 0.8 large. Infinite where all differences are equal.
        wins: pairs in which the second is higher.
    """

    difference: Summary
    t_test: float
    wilcoxon: float
    permutation: float
    effect_size: float
    wins: int

    @property
    def certain(self) -> bool:
        """Whether all differences are equal and not zero, so that the t-test sees no chance."""
        return math.isinf(self.effect_size)

    def text(self) -> str:
        """Returns the finding as four lines."""
        d = self.difference
        alike = " (all differences are equal: see permutation)" if self.certain else ""
        return "\n".join([
            f"difference   {d.mean:+.4f}, {100 * d.confidence:g} % interval "
            f"[{d.low:+.4f}, {d.high:+.4f}], n = {d.count} pairs",
            f"effect size  {self.effect_size:+.2f} (mean / std of the differences)",
            f"wins         {self.wins} of {d.count}",
            f"p            {self.t_test:.4g} (t-test), {self.wilcoxon:.4g} (Wilcoxon), "
            f"{self.permutation:.4g} (permutation){alike}",
        ])  # fmt: skip


def summarize(values: ArrayLike, confidence: float = 0.95) -> Summary:
    """Returns mean, standard deviation and Student's confidence interval of some numbers.

    Args:
        values: one number for each run, [S]; nan (a run that diverged) makes the result nan.
        confidence: of the interval, between 0 and 1.

    Returns:
        A ``Summary``.

    Raises:
        ValueError: ``values`` that are not [S] with S of 1 or more; a confidence that is not
            between 0 and 1.

    Example:
        >>> print(summarize([0.91, 0.93, 0.95]).text())
        0.9300 ± 0.0497 (95 %, n = 3)

    Source: mean plus and minus t times the standard error, t being the quantile of Student's
    distribution with n - 1 degrees of freedom (``scipy.stats.t``).
    """
    from scipy import stats  # half a second to import

    array = _numbers("summarize", values, 1)
    if not 0 < confidence < 1:
        raise ValueError(
            f"summarize: expected confidence between 0 and 1, got {confidence}; 0.95 is 95 %"
        )
    mean, count, std, half = float(array.mean()), len(array), math.nan, math.nan
    if count > 1:
        std = float(array.std(ddof=1))
        half = float(stats.t.ppf((1 + confidence) / 2, count - 1)) * std / math.sqrt(count)
    least, most = float(array.min()), float(array.max())
    return Summary(mean, std, mean - half, mean + half, least, most, count, confidence)


def compare(first: ArrayLike, second: ArrayLike, confidence: float = 0.95) -> Comparison:
    """Compares two recipes that ran with the same seeds, pair by pair.

    Pairs share what a seed determines (the split, the order of batches, the initial weights), so
    that much of the spread between seeds cancels. Decide on the number of seeds and on the test
    before looking at the results: whoever adds seeds until p is small will find that it gets so.

    Args:
        first: one number for each seed, [S]: ``runs_a.values("val_accuracy")``.
        second: the other recipe's, [S], seed for seed.
        confidence: of the interval of the difference, between 0 and 1.

    Returns:
        A ``Comparison`` of ``second - first``.

    Raises:
        ValueError: arrays that are not [S] of the same S, 2 or more; a number that is not finite;
            a confidence that is not between 0 and 1.

    Example:
        >>> found = compare([0.90, 0.92, 0.91, 0.93], [0.92, 0.93, 0.94, 0.95])
        >>> round(found.difference.mean, 4), found.wins, found.permutation
        (0.02, 4, 0.125)
        >>> round(found.t_test, 4)
        0.0163

    Source: ``scipy.stats.ttest_1samp`` and ``wilcoxon`` on the differences. Where all are equal,
    the t-test divides by zero: scipy gives p = 0 with a warning, or nan where they are zero; R's
    ``t.test`` refuses. Here p is 0, or 1 where nothing differs, and ``text()`` says so.
    """
    one, other = (_numbers("compare", values, 2) for values in (first, second))
    if len(one) != len(other):
        raise ValueError(
            f"compare: expected pairs, got {len(one)} values and {len(other)}; run both recipes "
            "with the same seeds, in the same order"
        )
    for name, values in {"first": one, "second": other}.items():
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(
                f"compare: expected finite numbers, got {values[at]} as value {at} of the {name}; "
                "a run that diverged has no place in a mean: report it, and compare the others"
            )
    d = other - one
    difference = summarize(d, confidence)
    t_test, wilcoxon = _tests(d)
    if _alike(d):
        effect = math.copysign(math.inf, difference.mean) if d.any() else 0.0
    else:
        effect = difference.mean / difference.std
    return Comparison(difference, t_test, wilcoxon, _permutation(d), effect, int((d > 0).sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for their number: comparing often finds something by chance.

    With all p of a family corrected, the chance to call even one difference real that is none is
    at most the level (0.05, say) that they are compared with.

    Args:
        p_values: of all comparisons of the family; nan stays nan, and counts in the number.

    Returns:
        The corrected values, in the same order.

    Raises:
        ValueError: A p outside of 0 to 1.

    Example:
        >>> holm([0.01, 0.04, 0.03])
        [0.03, 0.06, 0.06]

    Source: S. Holm, A simple sequentially rejective multiple test procedure, 1979; R's p.adjust.
    """
    for p in p_values:
        if not (math.isnan(p) or 0 <= p <= 1):
            raise ValueError(f"holm: expected p-values from 0 to 1, got {p}")
    count, corrected, highest = len(p_values), list(p_values), 0.0
    known = [at for at in range(count) if not math.isnan(p_values[at])]
    order = sorted(known, key=lambda at: p_values[at])
    for rank, at in enumerate(order):
        highest = max(highest, min(1.0, (count - rank) * p_values[at]))
        corrected[at] = highest
    return corrected


def _numbers(where: str, values: ArrayLike, least: int) -> np.ndarray:
    if isinstance(values, Mapping):
        raise TypeError(
            f"{where}: expected one number for each run, [S], got a dict of "
            f"{', '.join(map(str, values))}; give the values of one of them"
        )
    array = np.asarray(values, np.float64)
    if array.ndim != 1 or len(array) < least:
        raise ValueError(
            f"{where}: expected one number for each run, [S] with S of {least} or more, got shape "
            f"{list(array.shape)}"
        )
    return array


def _tests(d: np.ndarray) -> tuple[float, float]:
    """The p-values of the t-test and of Wilcoxon's test."""
    from scipy import stats

    if not d.any():
        return 1.0, 1.0  # nothing differs
    t_test: Any = 0.0 if _alike(d) else stats.ttest_1samp(d, 0.0)[1]
    wilcoxon: Any = stats.wilcoxon(d)[1]
    return float(t_test), float(wilcoxon)


def _alike(d: np.ndarray) -> bool:
    # Subtracting leaves rounding, so equal differences are seldom equal to the bit.
    return bool(np.ptp(d) <= 1e-12 * np.abs(d).max())


def _permutation(d: np.ndarray) -> float:
    """Two-sided p of the mean under random signs."""
    if len(d) <= _EXACT:
        signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(d))))  # [2**n, n]
        return float(np.mean(_as_far(signs @ d, d)))
    signs = np.random.default_rng(0).choice((-1.0, 1.0), (_FLIPS, len(d)))
    # The signs that were observed are one of the flips, so p is never 0.
    return float((1 + np.sum(_as_far(signs @ d, d))) / (1 + _FLIPS))


def _as_far(sums: np.ndarray, d: np.ndarray) -> np.ndarray:
    # Sums of the same numbers in another order differ by rounding.
    return np.abs(sums) >= abs(d.sum()) - 1e-9 * np.abs(d).sum()
