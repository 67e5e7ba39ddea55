"""An ablation: what each change of a recipe does, with intervals."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from fx.evaluate.statistics import Comparison, Summary, compare, holm, summarize


@dataclasses.dataclass(frozen=True)
class Variant:
    """One row of an ablation.

    Attributes:
        name: what the variant is called.
        changes: the arguments that it changes.
        values: one number for each seed; not finite for a run that diverged.
        summary: mean, spread and interval of those that are finite.
        comparison: with the baseline, over the seeds with which both are finite; None for the
            baseline itself, and where fewer than two are left.
        p: of the paired t-test, corrected for the number of variants (Holm); None without one.
    """

    name: str
    changes: Mapping[str, Any]
    values: tuple[float, ...]
    summary: Summary
    comparison: Comparison | None
    p: float | None

    @property
    def diverged(self) -> int:
        """How many runs have no finite value."""
        return int(np.sum(~np.isfinite(self.values)))


@dataclasses.dataclass(frozen=True)
class Ablation:
    """What ``ablate`` found.

    Attributes:
        metric: the name of the number that is compared.
        variants: the baseline and the others, in the order given.
    """

    metric: str
    variants: tuple[Variant, ...]

    def table(self, digits: int = 4) -> str:
        """Returns an aligned table: mean and interval, difference to the baseline, corrected p."""
        first = self.variants[0].summary
        percent = f"{100 * first.confidence:g} %"
        rows = [("", f"{self.metric} ± {percent}", "std", f"difference [{percent}]", "p (Holm)")]
        for variant in self.variants:
            s, found = variant.summary, variant.comparison
            mean = f"{s.mean:.{digits}f} ± {s.half_width:.{digits}f}"
            lost = f" ({variant.diverged} diverged)" if variant.diverged else ""
            cells = (variant.name + lost, mean, f"{s.std:.{digits}f}")
            if found is None or variant.p is None:
                rows.append((*cells, "", ""))
                continue
            d = found.difference
            ends = f"[{d.low:+.{digits}f}, {d.high:+.{digits}f}]"
            rows.append((*cells, f"{d.mean:+.{digits}f} {ends}", f"{variant.p:.3g}"))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(f"{c:<{w}}" if i == 0 else f"{c:>{w}}" for i, (c, w) in enumerate(pairs))
            for pairs in (tuple(zip(row, widths)) for row in rows)
        ]
        count = len(self.variants[0].values)
        return "\n".join(line.rstrip() for line in [*lines, f"n = {count} runs each"])


def ablate(
    train: Callable[..., Any],
    changes: Mapping[str, Mapping[str, Any]],
    metric: str = "val_accuracy",
    *,
    at: str = "final",
    confidence: float = 0.95,
) -> Ablation:
    """Trains a recipe with each set of changed arguments, and compares all with the first.

    Args:
        train: the recipe: called with the changed arguments by name, it returns what
            ``fx.train.fit_many`` does, or one number for each seed, [S]. It uses the same seeds
            whatever the changes are.
        changes: for each name the changed arguments; the first entry is the baseline, often {}.
        metric: which number of the runs is compared; a title only where ``train`` returns numbers.
        at: "final", at each run's last epoch, or "best", at its best.
        confidence: of the intervals, between 0 and 1.

    Returns:
        An ``Ablation``; print its ``table()``. Runs that diverged (whose value is not finite) are
        counted there, and left out of means and pairs.

    Raises:
        TypeError: ``changes`` that are not a dictionary of dictionaries.
        ValueError: fewer than two variants; variants with different numbers of runs, or fewer than
            two; a confidence that is not between 0 and 1.

    Example:
        >>> def train(dropout=0.5):
        ...     return [0.90 - 0.02 * dropout, 0.91, 0.92 - 0.06 * dropout]
        >>> print(ablate(train, {"baseline": {}, "no dropout": {"dropout": 0.0}}).table())
                    val_accuracy ± 95 %     std           difference [95 %]  p (Holm)
        baseline        0.8967 ± 0.0287  0.0115
        no dropout      0.9100 ± 0.0248  0.0100  +0.0133 [-0.0246, +0.0513]      0.27
        n = 3 runs each
    """
    _check(changes)
    names = list(changes)
    found = [_numbers(name, train(**changes[name]), metric, at) for name in names]
    lengths = {name: len(values) for name, values in zip(names, found)}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"ablate: expected as many runs of each variant, got {lengths}; use the same seeds for "
            "all, since they are compared seed for seed"
        )
    if (count := len(found[0])) < 2:
        raise ValueError(
            f"ablate: expected 2 runs or more of each variant, got {count}; use more seeds"
        )
    compared = [_compare(found[0], values, confidence) for values in found[1:]]
    corrected = iter(holm([each.t_test for each in compared if each is not None]))
    variants = []
    for name, values, found_here in zip(names, found, [None, *compared]):
        p = None if found_here is None else next(corrected)
        summary = summarize(_finite(values), confidence)
        changed = dict(changes[name])
        variants.append(Variant(name, changed, tuple(values.tolist()), summary, found_here, p))
    return Ablation(metric, tuple(variants))


def _finite(values: np.ndarray) -> np.ndarray:
    """The values of the runs that did not diverge; all where none is left, for a mean of nan."""
    kept = values[np.isfinite(values)]
    return kept if len(kept) else values


def _compare(first: np.ndarray, second: np.ndarray, confidence: float) -> Comparison | None:
    pairs = np.isfinite(first) & np.isfinite(second)
    return compare(first[pairs], second[pairs], confidence) if pairs.sum() > 1 else None


def _check(changes: Any) -> None:
    if not isinstance(changes, Mapping) or not all(
        isinstance(each, Mapping) for each in changes.values()
    ):
        raise TypeError(
            "ablate: expected changes as a dictionary of dictionaries, like "
            f'{{"baseline": {{}}, "no dropout": {{"dropout": 0.0}}}}, got {changes!r}'
        )
    if len(changes) < 2:
        raise ValueError(
            f"ablate: expected a baseline and at least one variant, got {list(changes)}; "
            'add an entry {"name": {"argument": value}}'
        )


def _numbers(name: str, runs: Any, metric: str, at: str) -> np.ndarray:
    if not isinstance(runs, Mapping) and callable(getattr(runs, "values", None)):
        runs = runs.values(metric, at)
    array = np.asarray(runs)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        raise ValueError(
            f"ablate: expected train to return runs or one number for each seed, [S], for "
            f"{name!r}, got {type(runs).__name__} of shape {list(array.shape)}"
        )
    return array.astype(np.float64)
