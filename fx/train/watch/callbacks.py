"""What keeps a run's numbers: JSON lines, TensorBoard, Weights & Biases.

A listener is any callable that takes an `Event`; where it has a `close()`, that is called at the
end of the run, however it ends.
"""

import contextlib
import errno
import importlib
import json
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fx.evaluate.files import plain, write_atomic
from fx.train.watch.event import Event, distributions_in, numbers_in


class JsonLog:
    """Append a line of strict JSON for each event to a file; nan and infinity are null.

    Args:
        path: The file.
        after: Keep only lines up to this step of a file that is there: what came after is about to
            be computed again. None keeps all.

    Raises:
        OSError: It cannot be written to, or its disk is full, at any line.

    Example:
        >>> log = JsonLog("log.jsonl")
        >>> log(Event("log", 1, 50, {"loss": 0.5}, 2.0, None, None))
        >>> log.close()
        >>> Path("log.jsonl").read_text().split(", ")[:4]
        ['{"kind": "log"', '"epoch": 1', '"step": 50', '"loss": 0.5']
    """

    def __init__(self, path: str | os.PathLike[str], after: int | None = None) -> None:
        self.path = Path(path)
        if after is not None and self.path.exists():
            write_whole(self.path, "".join(_lines_until(self.path, after)))
        with _explained(self.path):
            # Without a buffer: what a full disk refused would come back when the file is closed.
            self.stream = self.path.open("ab", buffering=0)

    def __call__(self, event: Event) -> None:
        """Write one line."""
        line = {"kind": event.kind, "epoch": event.epoch, "step": event.step, **numbers_in(event)}
        line |= {"seconds": event.seconds, "images_per_s": event.images_per_s}
        data = f"{json.dumps(plain(line), allow_nan=False)}\n".encode()
        with _explained(self.path):
            while data:  # a disk that is nearly full takes a part of it
                data = data[self.stream.write(data) :]

    def close(self) -> None:
        """Close the file."""
        self.stream.close()


class TensorBoard:
    """Write each event's values for TensorBoard.

    Args:
        folder: Where the event files go.
        after: Hide what an earlier run wrote after this step. None hides nothing.

    Raises:
        ModuleNotFoundError: tensorboardX is not installed.
    """

    def __init__(self, folder: str | os.PathLike[str], after: int | None = None) -> None:
        try:
            writer = importlib.import_module("tensorboardX").SummaryWriter
            self.summary = importlib.import_module("tensorboardX.proto.summary_pb2").Summary
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "TensorBoard needs tensorboardX: pip install '.[tensorboard]' in fx's folder"
            ) from error
        self.writer = writer(str(folder), purge_step=None if after is None else after + 1)

    def __call__(self, event: Event) -> None:
        """Write one point for each value."""
        # One record holds them all: the writer's add_scalar would make one for each, which costs
        # three times as much.
        points = [
            self.summary.Value(tag=name, simple_value=float(value))
            for name, value in _points(event).items()
        ]
        self.writer.file_writer.add_summary(self.summary(value=points), event.step)
        for name, values in distributions_in(event).items():
            self.writer.add_histogram(f"{_group(event)}/{name}", values, event.step)

    def close(self) -> None:
        """Finish the file."""
        self.writer.close()


class WandB:
    """Send each event's values to Weights & Biases, under the names that TensorBoard gets.

    The folder keeps the run's id and the last steps that were sent: a run that is resumed goes on
    in the same one, and what is computed a second time is not sent again. The charts' axis is
    "step", the steps of training.

    Args:
        folder: The run's folder; files go to `folder/wandb`.
        settings: For `wandb.init`: `project`, `name`, `config`, and `mode="offline"` where there
            is no network (then `wandb sync` sends the files later).

    Raises:
        ModuleNotFoundError: wandb is not installed.
        ValueError: Settings that have `id`, `dir`, `resume` or `reinit`, which are the folder's.

    Example:
        >>> logger = WandB("runs/a", project="digits", mode="offline")  # doctest: +SKIP
        >>> fx.fit(step, ts, loader, epochs=5, callbacks=[logger])  # doctest: +SKIP
    """

    def __init__(self, folder: str | os.PathLike[str], **settings: Any) -> None:
        if taken := sorted({"id", "dir", "resume", "reinit"} & set(settings)):
            raise ValueError(
                f"WandB: expected no {taken[0]!r} among the settings, which follows from the "
                "folder; for a run of its own give another folder"
            )
        try:
            wandb = importlib.import_module("wandb")
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "WandB needs wandb: pip install '.[wandb]' in fx's folder"
            ) from error
        self.path = Path(folder) / "wandb" / "fx.json"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        known = json.loads(self.path.read_text()) if self.path.exists() else {}
        self.id: str = known.get("id") or secrets.token_hex(4)
        self.sent: dict[str, int] = known.get("sent", {})
        self.histogram = wandb.Histogram
        # A run of its own, whatever else the program has under way.
        self.run = wandb.init(
            id=self.id, dir=str(folder), resume="allow", reinit="create_new", **settings
        )
        # Not wandb's own count of calls: a log and an epoch may end at the same step, and it drops
        # what comes for a step that it had before a resume.
        self.run.define_metric("*", step_metric="step")
        self._remember()

    def __call__(self, event: Event) -> None:
        """Send one point for each value, unless it was sent before a resume."""
        if event.step <= self.sent.get(event.kind, -1):
            return
        drawn = {
            f"{_group(event)}/{name}": self.histogram(values)
            for name, values in distributions_in(event).items()
        }
        self.run.log({"step": event.step, **_points(event), **drawn})
        self.sent[event.kind] = event.step
        self._remember()

    def close(self) -> None:
        """Send what is left, and end."""
        self.run.finish()

    def _remember(self) -> None:
        write_atomic(self.path, json.dumps({"id": self.id, "sent": self.sent}).encode())


def write_whole(path: Path, text: str) -> None:
    """Write a file such that there is never half of it.

    Raises:
        OSError: It cannot be written; what was there stays, and nothing is left beside it.
    """
    temporary = path.with_name(f"{path.name}.tmp")
    with _explained(path):
        try:
            temporary.write_text(text)
            temporary.replace(path)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Say of an error of the file system which file it was, what is left, and what to do."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        todo = "make room" if full else "see to it that it can be written to"
        raise OSError(
            error.errno,
            f"fit: {path} could not be written ({error.strerror}); the run's checkpoints and what "
            f"was in that file are untouched; {todo}, and go on with resume=True",
        ) from error


def _group(event: Event) -> str:
    return "step" if event.kind == "log" else "epoch"


def _points(event: Event) -> dict[str, Any]:
    """An event's numbers, under the names of a chart."""
    group = _group(event)
    points = {
        f"{group}/{name}": value
        for name, value in numbers_in(event).items()
        if name not in ("epoch", "step")
    }
    if event.images_per_s is not None:
        points[f"{group}/images_per_s"] = event.images_per_s
    return points


def _lines_until(path: Path, step: int) -> list[str]:
    kept = []
    for line in path.read_text().splitlines(keepends=True):
        try:
            if json.loads(line)["step"] > step:
                continue
        except ValueError:  # the end of a line that was being written when the run was killed
            continue
        kept.append(line)
    return kept
