"""What several runs of one recipe came to."""

import dataclasses
import math
from typing import Any

import numpy as np

from fx.evaluate.statistics import Summary, summarize
from fx.train.loop import Result
from fx.train.record import is_rate


@dataclasses.dataclass(frozen=True)
class Runs:
    """What `fit_many` returns.

    Attributes:
        names: What the runs are called: seeds, learning rates, folds.
        results: For each run what `fx.fit` returns for it alone: `ts`, `history`, `best`,
            `stopped`, `diverged`. In one program, `timing` is the program's, the same for all.
        weights: For each run `(params, state)` at its best epoch; None without validation, and for
            a run that had no best epoch.
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
        row = next((result.history[0] for result in self.results if result.history), {})
        return [name for name in row if name not in ("epoch", "step")]

    @property
    def diverged(self) -> dict[Any, int]:
        """For each run that diverged, by its name, the number of the step that was not finite.

        Only a step that was made with check_finite tells.
        """
        pairs = zip(self.names, self.results)
        return {name: each.diverged for name, each in pairs if each.diverged is not None}

    def values(self, metric: str, at: str = "final") -> np.ndarray:
        """One number for each run, [S]; nan for one that diverged. See `fx.evaluate.compare`.

        Args:
            metric: A name from the history: "train_loss", "val_accuracy", ...
            at: "final", at each run's last epoch, or "best", at its best. What chose the epoch is
                too good there by chance: report another metric, or a test set.

        Raises:
            ValueError: No such metric; an `at` that is neither; "best" without validation.
        """
        self._check(metric, at)
        rows = [
            {metric: math.nan} if result.diverged is not None else self._row(result, at)
            for result in self.results
        ]
        return np.array([row[metric] for row in rows], np.float64)

    def summary(self, metric: str, at: str = "final", confidence: float = 0.95) -> Summary:
        """Mean, standard deviation and confidence interval of a metric over the runs.

        Those that diverged are left out; `count` is the number of the others.

        Args:
            metric: A name from the history.
            at: As for `values`.
            confidence: Of the interval, between 0 and 1.

        Raises:
            ValueError: As `values` and `fx.evaluate.summarize`; all runs diverged.
        """
        kept = [result.diverged is None for result in self.results]
        return summarize(self.values(metric, at)[kept], confidence)

    def curve(self, metric: str, confidence: float = 0.95) -> list[Summary]:
        """The same for each epoch, over the runs that trained that long and did not diverge.

        Args:
            metric: A name from the history.
            confidence: Of the intervals, between 0 and 1.

        Raises:
            ValueError: As `values` and `fx.evaluate.summarize`.
        """
        self._check(metric, "final")
        histories = [result.history for result in self._sound]
        epochs = [
            [history[at][metric] for history in histories if len(history) > at]
            for at in range(max(map(len, histories)))
        ]
        return [summarize(np.array(values, np.float64), confidence) for values in epochs]

    def table(
        self, at: str = "final", confidence: float = 0.95, each: bool = False, digits: int = 4
    ) -> str:
        """An aligned table: a line for each metric, with mean, interval, spread and extremes.

        It is over the runs that did not diverge; a line says which did, and at which step.

        Args:
            at: As for `values`.
            confidence: Of the intervals, between 0 and 1.
            each: Add a line for each run.
            digits: After the decimal point.

        Raises:
            ValueError: As `values` and `fx.evaluate.summarize`.
        """
        sound, names = self._sound, [name for name in self.metrics if not is_rate(name)]
        rows: list[tuple[str, ...]] = [("", f"mean ± {100 * confidence:g} %", "std", "min", "max")]
        for name in names:
            s = self.summary(name, at, confidence)
            numbers = [f"{number:.{digits}f}" for number in (s.std, s.least, s.most)]
            rows.append((name, f"{s.mean:.{digits}f} ± {s.half_width:.{digits}f}", *numbers))
        epochs = [self._row(result, at)["epoch"] for result in sound]
        span = f"{min(epochs)}" if min(epochs) == max(epochs) else f"{min(epochs)} to {max(epochs)}"
        done = "in one program" if self.how == "vmap" else "one by one"
        text = f"{len(self)} runs {done}, {at} epoch ({span})\n"
        if self.diverged:
            lost = ", ".join(f"{run} at step {step}" for run, step in self.diverged.items())
            text += f"{len(self.diverged)} of them diverged and are left out: {lost}\n"
        text += _align(rows)
        if each:
            lines: list[tuple[str, ...]] = [("run", "epoch", *names)]
            kept = [pair for pair in zip(self.names, self.results) if pair[1].diverged is None]
            for (run, result), epoch in zip(kept, epochs):
                row = self._row(result, at)
                lines.append((f"{run}", f"{epoch}", *(f"{row[n]:.{digits}f}" for n in names)))
            text += f"\n\n{_align(lines)}"
        return text

    @property
    def _sound(self) -> list[Result]:
        """The results of the runs that did not diverge."""
        sound = [result for result in self.results if result.diverged is None]
        if not sound:
            raise ValueError(
                f"Runs: expected a run that did not diverge, but all did, at steps {self.diverged}"
            )
        return sound

    def _check(self, metric: str, at: str) -> None:
        if self._sound and metric not in self.metrics:
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
