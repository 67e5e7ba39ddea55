"""What several runs of one recipe came to."""

import dataclasses
from typing import Any

import numpy as np

from fx.evaluate.statistics import Summary, summarize
from fx.train.loop import Result


@dataclasses.dataclass(frozen=True)
class Runs:
    """What `fit_many` returns.

    Attributes:
        names: What the runs are called: seeds, learning rates, folds.
        results: For each run what `fx.fit` returns for it alone: `ts`, `history`, `best`,
            `stopped`. In one program, `timing` is the program's, the same for all.
        weights: For each run `(params, state)` at its best epoch; None without validation.
        how: "vmap", all runs in one program, or "loop", one after the other.
        why: Why it was done so, with what was measured.
    """

    names: tuple[Any, ...]
    results: tuple[Result, ...] = dataclasses.field(repr=False)
    weights: tuple[tuple[Any, Any], ...] | None = dataclasses.field(repr=False)
    how: str
    why: str

    def __len__(self) -> int:
        return len(self.results)

    @property
    def metrics(self) -> list[str]:
        """The names of the numbers in every epoch's row."""
        return [name for name in self.results[0].history[0] if name not in ("epoch", "step")]

    def values(self, metric: str, at: str = "final") -> np.ndarray:
        """One number for each run, [S]: what `fx.evaluate.compare` and `summarize` take.

        Args:
            metric: A name from the history: "train_loss", "val_accuracy", ...
            at: "final", at each run's last epoch, or "best", at its best. What chose the epoch is
                too good there by chance: report another metric, or a test set.

        Raises:
            ValueError: No such metric; an `at` that is neither; "best" without validation.
        """
        self._check(metric, at)
        return np.array([self._row(result, at)[metric] for result in self.results], np.float64)

    def summary(self, metric: str, at: str = "final", confidence: float = 0.95) -> Summary:
        """Mean, standard deviation and confidence interval of a metric over the runs.

        Args:
            metric: A name from the history.
            at: As for `values`.
            confidence: Of the interval, between 0 and 1.

        Raises:
            ValueError: As `values` and `fx.evaluate.summarize`.
        """
        return summarize(self.values(metric, at), confidence)

    def curve(self, metric: str, confidence: float = 0.95) -> list[Summary]:
        """The same for each epoch, over the runs that trained that long.

        Args:
            metric: A name from the history.
            confidence: Of the intervals, between 0 and 1.

        Raises:
            ValueError: As `values` and `fx.evaluate.summarize`.
        """
        self._check(metric, "final")
        longest = max(len(result.history) for result in self.results)
        epochs = [
            [result.history[at][metric] for result in self.results if len(result.history) > at]
            for at in range(longest)
        ]
        return [summarize(np.array(values, np.float64), confidence) for values in epochs]

    def table(
        self, at: str = "final", confidence: float = 0.95, each: bool = False, digits: int = 4
    ) -> str:
        """An aligned table: a line for each metric, with mean, interval, spread and extremes.

        Args:
            at: As for `values`.
            confidence: Of the intervals, between 0 and 1.
            each: Add a line for each run.
            digits: After the decimal point.

        Raises:
            ValueError: As `values` and `fx.evaluate.summarize`.
        """
        names = [name for name in self.metrics if name != "learning_rate"]
        rows: list[tuple[str, ...]] = [("", f"mean ± {100 * confidence:g} %", "std", "min", "max")]
        for name in names:
            s = self.summary(name, at, confidence)
            numbers = [f"{number:.{digits}f}" for number in (s.std, s.least, s.most)]
            rows.append((name, f"{s.mean:.{digits}f} ± {s.half_width:.{digits}f}", *numbers))
        epochs = [self._row(result, at)["epoch"] for result in self.results]
        span = f"{min(epochs)}" if min(epochs) == max(epochs) else f"{min(epochs)} to {max(epochs)}"
        done = "in one program" if self.how == "vmap" else "one by one"
        text = f"{len(self)} runs {done}, {at} epoch ({span})\n{_align(rows)}"
        if each:
            lines: list[tuple[str, ...]] = [("run", "epoch", *names)]
            for run, result, epoch in zip(self.names, self.results, epochs):
                row = self._row(result, at)
                lines.append((f"{run}", f"{epoch}", *(f"{row[n]:.{digits}f}" for n in names)))
            text += f"\n\n{_align(lines)}"
        return text

    def _check(self, metric: str, at: str) -> None:
        if metric not in self.metrics:
            raise ValueError(f"Runs: expected a metric of {self.metrics}, got {metric!r}")
        if at not in ("final", "best"):
            raise ValueError(f'Runs: expected at="final" or at="best", got {at!r}')

    def _row(self, result: Result, at: str) -> dict[str, Any]:
        if at == "final":
            return result.history[-1]
        if result.best is None:
            raise ValueError(
                'Runs: at="best" needs validation: every run must have had one that was not nan; '
                'give fit_many validate=, or use at="final"'
            )
        return next(row for row in result.history if row["epoch"] == result.best["epoch"])


def _align(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            f"{c:<{w}}" if i == 0 else f"{c:>{w}}" for i, (c, w) in enumerate(zip(row, widths))
        )
        for row in rows
    )
