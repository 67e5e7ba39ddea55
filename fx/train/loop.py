"""The loop on the host: the one impure part of a run."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Protocol

import jax

from fx import checkpoint
from fx.checkpoint.processes import together
from fx.data.listed import as_loader
from fx.train.arguments import (
    check_arguments,
    check_callbacks,
    check_kinds,
    check_new,
    check_present,
)
from fx.train.failure import Diverged, explain_failure
from fx.train.interrupt import catch_signals
from fx.train.record import Record, describe_data, name_changes
from fx.train.run import Run, for_plateau
from fx.train.tunable import with_values
from fx.train.watch.callbacks import JsonLog, TensorBoard
from fx.train.watch.event import Event
from fx.train.watch.progress import make_progress


class Batches(Protocol):
    """What the loop needs of a loader: a length, and epochs that are a function of their number.

    Where the number of the epoch and that of the step are not enough to go on, the iterator has
    `state()`, which returns a dictionary for JSON, the same on every process: where it stands after
    the batch that was taken last. It is kept in the checkpoint, and on resume given to
    `epoch(epoch, start=, state=)`.
    """

    def __len__(self) -> int:
        """Return the number of steps in an epoch."""
        ...

    def epoch(self, epoch: int, /) -> Iterable[Any]:
        """Yield an epoch's batches; with `start=` and `steps_per_call=` where these are used."""
        ...


@dataclasses.dataclass(frozen=True)
class Result:
    """What a run came to.

    Attributes:
        ts: The training state at its end. The best one is `fx.checkpoint.restore(out, like=ts,
            which="best")`.
        history: A row for each epoch: "epoch" (from 1), "step", "train_loss" and the other
            metrics' means over its examples (by weight, of a `train.Mean`; a `train.Sums` is
            computed of the sums over the epoch), "val_..." for each of validate's,
            "learning_rate" of its last step, and "learning_rate/<group>" where there are several
            parameter groups. The same in every run of the same program, interrupted or not.
        timing: A row for each epoch: "epoch", "seconds", "images_per_s" (None where it was
            all compilation).
        best: "epoch", "step", "name" and "value" of the best validation; None without one.
        best_steps: Steps of the `keep_best` best validations whose checkpoints are in the run's
            folder, the best first; empty where it has none. Each is `which=` of
            `fx.checkpoint.restore` and `restore_weights`.
        stopped: "finished", "early" (patience), "interrupted" (Ctrl-C, SIGTERM, a callback's
            `Stop`) or "diverged" (a step that was not finite, with on_divergence="return").
        diverged: The number of the bad step since the beginning of training, from 1; `ts` is the
            state before it, and the history ends with the epoch before. None where there was none.
    """

    ts: Any = dataclasses.field(repr=False)
    history: list[dict[str, Any]] = dataclasses.field(repr=False)
    timing: list[dict[str, Any]] = dataclasses.field(repr=False)
    best: dict[str, Any] | None
    stopped: str
    diverged: int | None = None
    best_steps: tuple[int, ...] = ()


def fit(
    step: Callable[[Any, Any], tuple[Any, dict[str, Any]]],
    ts: Any,
    loader: Batches | list[Any],
    *,
    validate: Callable[[Any], dict[str, float]] | None = None,
    epochs: int,
    patience: int | None = None,
    monitor: str | None = None,
    mode: str | None = None,
    out: str | os.PathLike[str] | None = None,
    resume: bool = False,
    log_every: int = 50,
    progress: bool = True,
    tensorboard: bool = False,
    checkpoint_every: int | None = None,
    keep: int = 2,
    keep_best: int = 1,
    callbacks: Iterable[Callable[[Event], Any]] = (),
    on_divergence: str = "raise",
) -> Result:
    """Train for a number of epochs, with validation, early stopping, checkpoints and logs.

    It does nothing that a `for` loop around `step` could not do; docs/by-hand.md has that loop.
    It trains one run: `fx.train.fit_many` trains several, of many seeds, learning rates or folds.
    With `out`, the run's folder gets `checkpoints/` (the last `keep` and the `keep_best` best, one
    at the end of each epoch, written while training goes on), and to read, `history.json` and
    `log.jsonl` (strict JSON: nan and infinity are null). A checkpoint that cannot be written ends
    the run with an error at the next one or at the end; those before it stay. Ctrl-C or
    SIGTERM finishes the call that is under way, writes a checkpoint and returns; the same call with
    `resume=True` goes on from there bit for bit as if nothing had happened, and after a `kill -9`
    from the newest checkpoint. A second Ctrl-C aborts at once.

    Metrics are fetched every `log_every` steps, so that the device never waits for the host.

    Args:
        step: `(ts, batch) -> (ts, metrics)`, from `make_step` or of one's own; metrics are a
            dictionary of scalars (of arrays `[k]` where it has an attribute `steps_per_call` k). In
            an epoch's means steps weigh as their examples do, or as "weight/<metric>" among them; a
            metric with "sums/<metric>", a `train.Sums`, is computed from what these add up to.
        ts: The state to start from; with `resume`, the structure to expect. Where the step donates
            its state, `ts` cannot be used afterwards; use the result's.
        loader: Whose `epoch(n)` yields the batches of epoch n, and whose `len` is their number. Or
            a list of batches, which are taken in its order in every epoch.
        validate: `ts -> {"loss": ..., ...}`, at the end of each epoch; see `make_eval`, whose
            evaluations are tried on one batch first.
        epochs: How many to train, those before a resume included.
        patience: Stop after so many epochs without a better validation.
        monitor: Which of validate's values is watched, "loss" or "val_loss", say; left out,
            "accuracy" where it gives one, else "loss". `optim.reduce_lr_on_plateau` is told it too;
            with mode "min", its default, it is told the loss where the accuracy is watched.
        mode: "max" or "min": whether higher or lower is better. Left out, the name must tell: "min"
            where it ends in "loss", "perplexity" or "error", "max" where it ends in "accuracy",
            "auc", "f1", "precision", "recall" or "score".
        out: The run's folder; None writes nothing.
        resume: Go on from the newest sound checkpoint in `out`, with a loader of the same batches:
            seed, batch_size, shuffle, drop_last, the number of examples and a fingerprint of the
            data set (or of a grain pipeline) are compared, as far as the loader has them; where it
            has no fingerprint, the run says so. Without a checkpoint the run
            starts from `ts` and says so, so the same command can always be repeated.
        log_every: Steps between two log events.
        progress: A bar in a terminal with rich, plain lines elsewhere; False prints notices only.
        tensorboard: Write event files to `out/tensorboard`; needs the extra
            `tensorboard`.
        checkpoint_every: Steps between two checkpoints within an epoch; None writes none there.
        keep: How many of the newest checkpoints stay; the best one stays as well.
        keep_best: How many of the best ones stay; their steps are the result's `best_steps`.
        callbacks: Called with each `Event`, in this order, before the logs. A dictionary that one
            returns is added to the event's values, for the callbacks after it, the logs and the
            progress report; not to the history. One that raises `fx.train.Stop` ends the run as
            Ctrl-C does. Where one has a `close()`, that is called at the
            end of the run, however it ends.
        on_divergence: What follows a step that is not finite, where the step was made with
            check_finite: "raise" an error that says what made it so, or "return" a result that
            has the step's number in `diverged`, for searches in which that may happen.

    Returns:
        A `Result`.

    Raises:
        FileExistsError: `out` holds a run and resume is False; nothing is overwritten.
        BlockingIOError: Another run is writing to `out`.
        OSError: `out` cannot be written to, or its disk is full; the text names the file, and the
            checkpoints that are there stay. See `fx.checkpoint.save`.
        FloatingPointError: A step made with check_finite was not finite; the text is that of
            `fx.debug.xray`, and `out/crash` has state and batch.
        TypeError: Several states, or none; a loader without `epoch` or length that is no list, a
            generator say; a validate that
            cannot be called or returns no dictionary of numbers; a number that is not an integer; a
            callback that is no function or returns a state; a step that returns something else than
            a state and a dictionary.
        ValueError: An argument out of range; patience or monitor without validate; a monitor that
            validate does not give (no "accuracy" or "loss", where none is named), or one without
            mode whose name does not tell it; a ts that was donated to an earlier step; a checkpoint
            of another model, optimizer, data set or order of batches; a loader that yields more or
            fewer batches than its length; a step that does not count `ts.step` up.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> import fx
        >>> class Line:
        ...     def init(self, key):
        ...         return {"weight": jnp.zeros(())}, {}
        ...     def apply(self, params, state, x, *, train=False, key=None):
        ...         return params["weight"] * x, state
        >>> batches = [(jnp.ones(4), jnp.ones(4))] * 2
        >>> optimizer = fx.optim.sgd(0.25)
        >>> step = fx.train.make_step(Line(), lambda y, t: jnp.mean((y - t) ** 2), optimizer)
        >>> ts = fx.train.create(Line(), optimizer, jax.random.key(0))
        >>> result = fit(step, ts, batches, epochs=3, progress=False)
        >>> result.stopped, [row["train_loss"] for row in result.history]
        ('finished', [0.625, 0.0390625, 0.00244140625])
    """
    check_kinds(step, ts, validate)
    loader = as_loader("fit", loader)
    counts = {"epochs": epochs, "patience": patience, "log_every": log_every, "keep": keep}
    counts |= {"keep_best": keep_best, "checkpoint_every": checkpoint_every}
    check_arguments(counts, monitor, mode, validate, out, resume)
    if on_divergence not in ("raise", "return"):
        raise ValueError(f'fit: expected on_divergence="raise" or "return", got {on_divergence!r}')
    folder = None if out is None else Path(out)
    if folder is not None and not resume:
        with together("looking for an earlier run"):  # before any process makes the folder
            check_new(folder)
    callbacks = check_callbacks(callbacks)
    with contextlib.ExitStack() as stack:
        writer = None if folder is None else stack.enter_context(checkpoint.Writer(folder))
        ts, record = _open(ts, loader, folder, resume)
        check_present(ts)
        first = int(jax.device_get(ts.step))
        show, clock = make_progress(
            progress, epochs, len(loader), record.epoch * len(loader) + record.steps
        )
        for listener in (show, *callbacks):
            _close_at_the_end(listener, stack)
        run = Run(
            step,
            loader,
            record,
            listeners=[show, *_logs(folder, tensorboard, first, stack)],
            callbacks=callbacks,
            interrupt=stack.enter_context(catch_signals()),
            writer=writer,
            number=first,
            clock=clock,
            log_every=log_every,
            checkpoint_every=checkpoint_every,
            keep=keep,
            keep_best=keep_best,
            monitor=monitor,
            mode=mode,
        )
        diverged = None
        try:
            ts, stopped = _until_stopped(run, ts, epochs, patience, validate)
        except Diverged as found:
            if on_divergence == "raise":
                raise explain_failure(step, found, loader, folder) from None
            ts, stopped, diverged = found.ts, "diverged", found.number
            show.say(f"stopped at step {diverged}, whose loss or gradients are not finite")
    written = () if folder is None else checkpoint.steps(folder)
    ranked = tuple(s for s in record.best_steps(keep_best, written) if s in written)
    return Result(ts, record.history, record.timing, record.best, stopped, diverged, ranked)


def _until_stopped(
    run: Run,
    ts: Any,
    epochs: int,
    patience: int | None,
    validate: Any,
) -> tuple[Any, str]:
    """Run epoch after epoch; return the last state and why it is the last."""
    if validate is None:
        for_plateau(ts, run.record, [], run.monitor, run.mode)  # raises where it cannot be told
    elif hasattr(validate, "rehearse") and _verdict(run.record, epochs, patience) is None:
        validate.rehearse(ts)  # what fails is to fail before an epoch of training
    while (stopped := _verdict(run.record, epochs, patience)) is None:
        ts = run.train_epoch(ts)
        if run.interrupt.requested:
            run.save(ts)
        else:
            ts = run.end_epoch(ts, validate)
        if run.interrupt.requested and _verdict(run.record, epochs, patience) is None:
            run.say_interrupted()
            return ts, "interrupted"
    return ts, stopped


def _close_at_the_end(listener: Any, stack: contextlib.ExitStack) -> None:
    close = getattr(listener, "close", None)
    if callable(close):
        stack.callback(close)


def _open(ts: Any, loader: Any, folder: Path | None, resume: bool) -> tuple[Any, Record]:
    """Find out where to start: at the beginning, or where a checkpoint left off."""
    data = describe_data(loader)
    if folder is None or not resume:
        return ts, Record(data)
    if not checkpoint.steps(folder):
        _say(f"resume: {folder} has no checkpoint; starting from the beginning")
        return ts, Record(data)
    restored, saved = checkpoint.restore(folder, like=ts)
    ts = with_values(restored, ts)
    record = Record.read(saved)
    if changes := name_changes(record.data, data):
        raise ValueError(
            f"fit: the run in {folder} had other batches than this loader, so it cannot go on: "
            f"{changes}; use the same, or another out"
        )
    step = int(jax.device_get(ts.step))
    blind = (
        "" if "fingerprint" in data else "; whether its data is the same, this loader cannot tell"
    )
    _say(f"resume: {folder}, step {step}, {record.epoch} epochs finished{blind}")
    return ts, record


def _say(text: str) -> None:
    if jax.process_index() == 0:
        print(text, flush=True)


def _logs(folder: Path | None, tensorboard: bool, after: int, stack: contextlib.ExitStack) -> list:
    if tensorboard and folder is None:
        raise ValueError("fit: tensorboard=True needs out=, the folder to write to")
    if folder is None or jax.process_index() != 0:
        return []
    logs: list[Any] = [JsonLog(folder / "log.jsonl", after)]
    stack.callback(logs[0].close)
    if tensorboard:
        logs.append(TensorBoard(folder / "tensorboard", after))
        stack.callback(logs[1].close)
    return logs


def _verdict(record: Record, epochs: int, patience: int | None) -> str | None:
    if patience is not None and record.waited >= patience:
        return "early"
    return "finished" if record.epoch >= epochs else None
