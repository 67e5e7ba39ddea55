"""What the loop knows beside the training state: position, totals, history, early stopping."""

import dataclasses
import math
import zlib
from collections.abc import Iterable
from typing import Any

import jax
import numpy as np

from fx.evaluate.mean import Sums, computed

_LOWER = ("loss", "perplexity", "error")
_HIGHER = ("accuracy", "auc", "f1", "precision", "recall", "score")


@dataclasses.dataclass
class Record:
    """The loop's own state; together with the training state it is what a run resumes from.

    Attributes:
        data: What must be the same for the batches to go on; see `describe_data`.
        epoch: Epochs finished.
        steps: Steps taken in the epoch that is under way.
        examples: Examples seen in it.
        sums: Metrics times their weights, summed over its steps in float64; of "skipped", the
            steps.
        weights: For each metric the sum of its weights: "weight/<metric>" where a step reports it,
            else its examples; those of steps that fp16 skipped are left out.
        parts: For each metric that a step reports as "sums/<metric>" the leaves of its sums, added
            up over the epoch's steps in float64, as lists.
        values: What these had come to when the record was saved.
        learning_rate: That of the step taken last.
        group_rates: Those of its parameter groups, by the names of their metrics.
        best: Epoch, step, name and value of the best validation so far.
        mode: "min" or "max", whichever of them is better by that value.
        waited: Epochs since then.
        history: A row for each finished epoch, the same in every run of the same program.
        timing: A row for each finished epoch of what is not the same: seconds, images_per_s.
        seconds: Time spent on the epoch that is under way.
        loader: State of the loader's iterator, within an epoch, where it has one.
    """

    data: dict[str, Any]
    epoch: int = 0
    steps: int = 0
    examples: int = 0
    sums: dict[str, float] = dataclasses.field(default_factory=dict)
    weights: dict[str, float] = dataclasses.field(default_factory=dict)
    parts: dict[str, list[Any]] = dataclasses.field(default_factory=dict)
    values: dict[str, float] = dataclasses.field(default_factory=dict)
    learning_rate: float | None = None
    group_rates: dict[str, float] = dataclasses.field(default_factory=dict)
    best: dict[str, Any] | None = None
    mode: str | None = None
    waited: int = 0
    history: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    timing: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    seconds: float = 0.0
    loader: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        self._forms: dict[str, Any] = {}  # of `parts`: their trees, which a checkpoint cannot hold

    @classmethod
    def read(cls, saved: dict[str, Any]) -> "Record":
        """Make one of what a checkpoint holds.

        Raises:
            ValueError: It was written by another loop, or by that of a later version.
        """
        known = [field.name for field in dataclasses.fields(cls)]
        if "data" not in saved or not set(saved) <= set(known):
            raise ValueError(
                f"fit: expected a checkpoint whose loop state is one of fit's, {known}, but it has "
                f"{list(saved)}; go on with the loop, or the version of fx, that wrote it"
            )
        return cls(**saved)

    @np.errstate(invalid="ignore", over="ignore")
    def add(self, metrics: dict[str, Any], examples: np.ndarray) -> None:
        """Add the metrics of some steps, one after the other.

        A step that was skipped, since fp16's gradients overflowed, is counted, and has no part in
        the means: what it reports is of an update that was not made.

        Args:
            metrics: For each name the values, float64 [steps], or a `Sums` of leaves [steps, ...].
            examples: Examples of each step, [steps].
        """
        for name, values in _loss_first(metrics):
            if name.startswith("weight/") and name.removeprefix("weight/") in metrics:
                continue
            if isinstance(values, Sums):
                self._add_sums(name.removeprefix("sums/"), values, metrics)
                continue
            if name == "learning_rate":
                self.learning_rate = float(values[-1])
                continue
            if is_rate(name):
                self.group_rates[name] = float(values[-1])
                continue
            if _stem(name) != "skipped":
                weights = metrics.get(f"weight/{name}", examples)
                taken = (weights != 0) & ~_skipped(name, metrics)
                values, weights = (values * weights)[taken], weights[taken]
                self.weights[name] = _added(self.weights.get(name, 0.0), weights)
            self.sums[name] = _added(self.sums.get(name, 0.0), values)
        self.steps += len(examples)
        self.examples += int(examples.sum())

    def _add_sums(self, name: str, sums: Sums, metrics: dict[str, Any]) -> None:
        taken = ~_skipped(name, metrics)
        rows = [leaf[taken] if np.ndim(taken) else leaf for leaf in jax.tree.leaves(sums)]
        before = self.parts.get(name, [0.0] * len(rows))
        self.parts[name] = [_added_rows(*pair).tolist() for pair in zip(before, rows, strict=True)]
        self._forms[name] = jax.tree.structure(sums)

    def saved(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        self.values = {name: self._computed(name) for name in self.parts}
        return dataclasses.asdict(self)

    def _computed(self, name: str) -> float:
        """A metric of the epoch so far from its sums; after a resume without a step, as saved."""
        if name not in self._forms:
            return self.values[name]
        return computed(jax.tree.unflatten(self._forms[name], map(np.asarray, self.parts[name])))

    def rates(self) -> dict[str, float]:
        """The learning rates of the step taken last, as metrics."""
        first = {} if self.learning_rate is None else {"learning_rate": self.learning_rate}
        return first | self.group_rates

    def means(self) -> dict[str, float]:
        """Means over the epoch so far, by weight; of "skipped", the number of steps.

        A metric of which there are sums is computed from those.
        """
        found: dict[str, float] = {}
        for name, total in self.sums.items():
            if name in self.parts:
                found[name] = self._computed(name)
                continue
            if _stem(name) == "skipped":
                found[name] = int(total) if total == int(total) else total
                continue
            weight = self.weights[name]
            found[name] = total / weight if weight else math.nan
        return found | {name: self._computed(name) for name in self.parts if name not in found}

    def close_epoch(self, step: int, validation: dict[str, float], images_per_s: float | None):
        """End the epoch: add its rows to history and timing, and start the next; return both."""
        row: dict[str, Any] = {"epoch": self.epoch + 1, "step": step}
        row |= {f"train_{name}": mean for name, mean in self.means().items()}
        row |= {f"val_{name}": float(value) for name, value in _loss_first(validation)}
        row |= self.rates()
        timing = {
            "epoch": self.epoch + 1,
            "seconds": self.seconds,
            "images_per_s": images_per_s,
        }
        self.history.append(row)
        self.timing.append(timing)
        self.epoch += 1
        self.steps, self.examples, self.sums, self.weights, self.seconds = 0, 0, {}, {}, 0.0
        self.parts, self.values = {}, {}
        return row, timing

    def watched(self, row: dict[str, Any], monitor: str | None) -> str:
        """Which value of an epoch's row decides how good it is."""
        wanted = [f"val_{monitor}", monitor] if monitor else ["val_accuracy", "val_loss"]
        names = [name for name in row if name.startswith("val_")]
        for name in wanted:
            if name in names:
                return name
        known = sorted(name.removeprefix("val_") for name in names)
        if monitor is None:
            raise ValueError(
                f'fit: expected validate to give "accuracy" or "loss", got {known}; say which of '
                'them is watched, monitor="...", and whether lower or higher is better, mode="min"'
            )
        raise ValueError(f"fit: monitor={monitor!r} expected one of validate's names, {known}")

    def judge(self, row: dict[str, Any], monitor: str | None, mode: str | None) -> bool:
        """Update `best` and `waited` from the epoch's row; return whether it is the best so far."""
        name = self.watched(row, monitor)
        monitor = name.removeprefix("val_")
        mode = mode or mode_of(monitor)
        if self.best is not None and self.best["name"] != name:
            raise ValueError(
                f"fit: the run so far watched {self.best['name']!r}, whose values do not compare "
                f"with those of {name!r}; pass the same monitor, or another out"
            )
        if self.best is not None and self.mode not in (None, mode):
            raise ValueError(
                f"fit: of {name!r} the run so far took the {self.mode}, and mode={mode!r} is the "
                "other; pass the same mode, or another out"
            )
        self.mode = mode
        value, before = row[name], None if self.best is None else self.best["value"]
        better = before is None or (value > before if mode == "max" else value < before)
        if self.best is not None and (lost := _lost(row)) != self._best_is_lost():
            better = not lost  # whatever the value says
        if better and not math.isnan(value):
            self.waited = 0
            self.best = {**{k: row[k] for k in ("epoch", "step")}, "name": name, "value": value}
            return True
        self.waited += 1
        return False

    def best_steps(self, count: int, among: Iterable[int]) -> list[int]:
        """Steps of the best epochs, the best first, by what `best` was chosen by.

        Args:
            count: How many at most.
            among: The steps of which there are checkpoints.
        """
        if self.best is None:
            return []
        name, there = self.best["name"], {self.best["step"], *among}
        if self.mode is None:  # of a checkpoint from before it was kept
            return [self.best["step"]]
        sign = -1 if self.mode == "max" else 1
        rows = [row for row in self.history if not math.isnan(row.get(name, math.nan))]
        rows.sort(key=lambda row: (_lost(row), sign * row[name]))
        return [row["step"] for row in rows if row["step"] in there][:count]

    def _best_is_lost(self) -> bool:
        rows = [row for row in self.history if self.best and row["epoch"] == self.best["epoch"]]
        return any(map(_lost, rows))


def _lost(row: dict[str, Any]) -> bool:
    """Whether a validation's loss is not a number: of such a model no other number says much."""
    return math.isnan(row.get("val_loss", 0.0))


def _added(total: float, values: np.ndarray) -> float:
    """The total with each value added in turn: the same bits however the values are grouped."""
    return float(np.cumsum(np.concatenate(([total], values)))[-1])


def _added_rows(total: Any, rows: np.ndarray) -> np.ndarray:
    """The same of arrays: a total [...], or 0, and rows [steps, ...]."""
    start = np.broadcast_to(np.asarray(total, np.float64), rows.shape[1:])
    return np.cumsum(np.concatenate((start[None], rows)), 0)[-1]


def is_rate(name: str) -> bool:
    """Whether a metric is a learning rate: "learning_rate", or "learning_rate/<group>"."""
    return name.partition("/")[0] == "learning_rate"


def _stem(name: str) -> str:
    """The name of a metric without the run that it is of: "loss" of "loss[3]"."""
    return name.partition("[")[0]


def _skipped(name: str, metrics: dict[str, np.ndarray]) -> np.ndarray | np.bool:
    """Which steps have no part in the mean of a metric; False is none of them."""
    stem = _stem(name)
    flags = metrics.get("skipped" + name[len(stem) :])
    if flags is None or stem == "loss_scale" or stem.partition("/")[0] == "finite":
        return np.False_
    return flags >= 1  # of several runs together it is the share that skipped


def _loss_first(values: dict[str, Any]) -> list[tuple[str, Any]]:
    return sorted(values.items(), key=lambda item: (item[0] != "loss", item[0]))


def mode_of(monitor: str) -> str:
    """Say whether lower ("min") or higher ("max") is better, where the name tells.

    Raises:
        ValueError: It does not.
    """
    for mode, endings in (("min", _LOWER), ("max", _HIGHER)):
        if monitor.lower().endswith(endings):
            return mode
    raise ValueError(
        f"fit: monitor={monitor!r} does not tell whether higher or lower is better; pass "
        'mode="max" or mode="min"'
    )


def describe_data(loader: Any) -> dict[str, Any]:
    """Read off a loader what determines its batches, as far as it tells."""
    known: dict[str, Any] = {"steps_per_epoch": len(loader)}
    for name in ("seed", "batch_size", "shuffle", "drop_last"):
        value = getattr(loader, name, None)
        if isinstance(value, int):
            known[name] = value
    sampler: Any = getattr(loader, "sampler", None)
    if hasattr(sampler, "fingerprint"):
        known["sampler"] = sampler.fingerprint()
    elif callable(sampler):
        rows = np.asarray(sampler(getattr(loader, "seed", 0), 0))
        known["sampler"] = f"{type(sampler).__name__} {zlib.crc32(rows.tobytes()):08x}"
    dataset: Any = getattr(loader, "dataset", None)
    if hasattr(dataset, "__len__"):
        known["examples"] = len(dataset)
    source = dataset if hasattr(dataset, "fingerprint") else loader
    if hasattr(source, "fingerprint"):
        known["fingerprint"] = source.fingerprint()
    return known


def name_changes(before: dict[str, Any], after: dict[str, Any]) -> str:
    """Say what differs between two descriptions of data; nothing where they are equal."""
    return ", ".join(
        f"{name} was {before.get(name)} and is {after.get(name)}"
        for name in {**before, **after}
        if before.get(name) != after.get(name)
    )
