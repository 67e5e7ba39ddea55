import errno
import json
import math
import os
import shutil
import signal
import threading
import time
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx.checkpoint import writing
from fx.train import loop
from tests.train.tiny_run import Batches, assert_same_bits, make


def fit(out=None, steps_per_call=1, epochs=4, loader=None, **options):
    step, ts, validate = make(steps_per_call=steps_per_call)
    options = {"validate": validate, "progress": False, "log_every": 4} | options
    return fx.fit(step, ts, loader or Batches(), epochs=epochs, out=out, **options)


def interrupt_at(step, number=signal.SIGINT):
    """Step functions cannot raise signals, loaders can: a real one, from inside of the run."""

    class Interrupting(Batches):
        def epoch(self, epoch, start=0, steps_per_call=1):
            at = epoch * len(self) + start
            for batch in super().epoch(epoch, start, steps_per_call):
                at += 1 if steps_per_call == 1 else len(batch[0])
                if at >= step and not self.sent:
                    self.sent = True
                    signal.raise_signal(number)
                yield batch

        sent = False

    return Interrupting()


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run that nobody interrupts."""
    out = tmp_path_factory.mktemp("whole") / "run"
    return fit(out), out


def test_what_a_run_leaves(whole):
    result, out = whole
    assert result.stopped == "finished"
    assert [row["epoch"] for row in result.history] == [1, 2, 3, 4]
    assert [row["step"] for row in result.history] == [6, 12, 18, 24]
    names = {"train_loss", "train_accuracy", "val_loss", "val_accuracy", "learning_rate"}
    assert all(set(row) == names | {"epoch", "step"} for row in result.history)
    assert result.history[-1]["val_accuracy"] > 0.5
    best = max(result.history, key=lambda row: row["val_accuracy"])  # the first of equals
    assert result.best == {
        "epoch": best["epoch"],
        "step": best["step"],
        "name": "val_accuracy",
        "value": best["val_accuracy"],
    }
    saved = json.loads((out / "history.json").read_text())
    assert saved["history"] == result.history
    assert saved["timing"] == result.timing
    assert saved["best"] == result.best
    assert all(row["seconds"] > 0 for row in result.timing)
    assert result.timing[-1]["images_per_s"] > 0


def test_the_checkpoints_are_the_last_and_the_best(whole):
    result, out = whole
    _, ts, validate = make()
    last, _ = fx.checkpoint.restore(out, like=ts)
    assert_same_bits(last, result.ts)
    best, record = fx.checkpoint.restore(out, like=ts, which="best")
    assert int(best.step) == result.best["step"]
    assert validate(best)["accuracy"] == result.best["value"]
    assert record["history"][-1]["step"] == result.best["step"]


def test_the_log_has_a_line_for_each_event(whole):
    result, out = whole
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    epochs = [line for line in lines if line["kind"] == "epoch"]
    for line, row in zip(epochs, result.history, strict=True):
        assert {name: line[name] for name in row} == row
    logs = [line["step"] for line in lines if line["kind"] == "log"]
    assert logs == [4, 6, 10, 12, 16, 18, 22, 24]  # every 4 of an epoch, and its end
    assert {"loss", "accuracy", "learning_rate", "seconds", "images_per_s"} <= set(lines[0])


def test_the_totals_are_the_means_over_the_steps_of_an_own_loop(whole):
    result, _ = whole
    step, ts, _ = make()
    losses = []
    for batch in Batches().epoch(0):
        ts, metrics = step(ts, batch)
        losses.append(float(metrics["loss"]))
    assert result.history[0]["train_loss"] == sum(8 * loss for loss in losses) / (6 * 8)


@pytest.mark.parametrize(
    "step, steps_per_call, number",
    [(9, 1, signal.SIGINT), (12, 1, signal.SIGTERM), (9, 4, signal.SIGINT)],
)
def test_an_interrupted_run_goes_on_bit_for_bit(tmp_path, whole, step, steps_per_call, number):
    expected = whole[0] if steps_per_call == 1 else fit(steps_per_call=steps_per_call)
    before = signal.getsignal(number)
    first = fit(tmp_path, steps_per_call, loader=interrupt_at(step, number))
    assert first.stopped == "interrupted"
    assert signal.getsignal(number) is before
    reached = {(9, 1): 9, (12, 1): 12, (9, 4): 10}[step, steps_per_call]
    assert fx.checkpoint.steps(tmp_path)[-1] == int(first.ts.step) == reached
    assert len(first.history) == 1
    second = fit(tmp_path, steps_per_call, resume=True)
    assert second.stopped == "finished"
    assert_same_bits(second.ts, expected.ts)
    assert second.history == expected.history
    assert second.best == expected.best
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "epoch"] == [6, 12, 18, 24]


def test_a_killed_run_goes_on_from_its_last_checkpoint(tmp_path, whole):
    class Dies(Batches):
        def epoch(self, epoch, start=0, steps_per_call=1):
            for number, batch in enumerate(super().epoch(epoch, start, steps_per_call)):
                if epoch == 2 and number == 5:
                    raise OSError("the disk is gone")
                yield batch

    with pytest.raises(OSError, match="the disk is gone"):
        fit(tmp_path, loader=Dies(), checkpoint_every=2)
    assert fx.checkpoint.steps(tmp_path)[-1] == 16
    with (tmp_path / "log.jsonl").open("a") as log:
        log.write('{"kind": "log", "ste')  # what a kill leaves
    result = fit(tmp_path, resume=True, checkpoint_every=2)
    assert_same_bits(result.ts, whole[0].ts)
    assert result.history == whole[0].history
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "log"]
    assert steps == sorted(set(steps))


def fill_history(patch):
    """No room for history.json from the second epoch on, and a part of it is there already."""
    real, seen = Path.write_text, []

    def write_text(path, text, *rest):
        if path.name == "history.json.tmp":
            seen.append(path)
        if path.name != "history.json.tmp" or len(seen) < 2:
            return real(path, text, *rest)
        real(path, text[:10], *rest)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    patch.setattr(Path, "write_text", write_text)


def fill_log(patch):
    """No room for a line of log.jsonl from step 10 on; the system itself says so."""

    class Full(loop.JsonLog):
        def __call__(self, event):
            if event.step >= 10:
                device = os.open("/dev/full", os.O_WRONLY)
                os.dup2(device, self.stream.fileno())
                os.close(device)
            super().__call__(event)

    patch.setattr(loop, "JsonLog", Full)


@pytest.mark.parametrize("name, fill", [("history.json", fill_history), ("log.jsonl", fill_log)])
def test_a_full_disk_is_named_and_loses_nothing(tmp_path, whole, monkeypatch, name, fill):
    text = (
        rf"fit: .*{name} could not be written \(No space left on device\); the run's checkpoints "
        "and what was in that file are untouched; make room, and go on with resume=True"
    )
    with monkeypatch.context() as patch, pytest.raises(OSError, match=text) as caught:
        fill(patch)
        fit(tmp_path)
    assert caught.value.errno == errno.ENOSPC
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "checkpoints") == [
        "history.json", "log.jsonl"
    ]  # fmt: skip
    assert fx.checkpoint.steps(tmp_path)[0] == 6
    assert json.loads((tmp_path / "history.json").read_text())["history"] == whole[0].history[:1]
    resumed = fit(tmp_path, resume=True)
    assert_same_bits(resumed.ts, whole[0].ts)
    assert resumed.history == whole[0].history
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "epoch"] == [6, 12, 18, 24]


def test_a_log_that_cannot_be_opened_is_named(tmp_path):
    (tmp_path / "log.jsonl").mkdir()
    text = (
        r"log.jsonl could not be written \(Is a directory\); .*see to it that it can be written to"
    )
    with pytest.raises(IsADirectoryError, match=text):
        loop.JsonLog(tmp_path / "log.jsonl")


def test_keep_is_how_many_of_the_newest_stay(tmp_path):
    best = iter([0.5, 0.1, 0.2, 0.3])
    fit(tmp_path, validate=lambda ts: {"loss": next(best)}, keep=1, checkpoint_every=2)
    assert fx.checkpoint.steps(tmp_path) == [12, 24]  # the best one is the second
    fit(tmp_path, validate=lambda ts: {"loss": 1.0}, epochs=5, keep=4, resume=True)
    assert fx.checkpoint.steps(tmp_path) == [12, 24, 30]


@pytest.mark.parametrize("stop_at", [None, 3])
def test_keep_best_is_how_many_of_the_best_stay(tmp_path, stop_at):
    """Of equal ones the earlier; one that is nan, or of a model that diverged, is none."""
    values = [0.5, 0.7, 0.9, 0.7, math.nan, 0.95, 0.6]
    losses = [1.0, 1.0, 1.0, 1.0, 1.0, math.nan, 1.0]

    def validate(ts):
        at = int(ts.step) // 6 - 1
        return {"accuracy": values[at], "loss": losses[at]}

    run = {"validate": validate, "keep": 1, "checkpoint_every": 2, "keep_best": 3}
    if stop_at is not None:
        fit(tmp_path, epochs=stop_at, **run)
    result = fit(tmp_path, epochs=7, resume=True, **run)
    assert result.best_steps == (18, 12, 24) and result.best["step"] == 18
    assert fx.checkpoint.steps(tmp_path) == [12, 18, 24, 42]
    for step in result.best_steps:
        ts, record = fx.checkpoint.restore(tmp_path, like=result.ts, which=step)
        assert int(ts.step) == step == record["history"][-1]["step"]


def test_keep_best_by_a_loss(tmp_path):
    found = iter([0.5, 0.1, 0.2, 0.05])
    run = {"validate": lambda ts: {"loss": next(found)}, "keep": 1, "keep_best": 2}
    assert fit(tmp_path, epochs=4, **run).best_steps == (24, 12)
    assert fx.checkpoint.steps(tmp_path) == [12, 24]


def test_keep_best_ranks_what_is_there(tmp_path):
    """More are asked for when the run goes on: epochs whose checkpoints are gone do not count."""
    values = [0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2]
    run = {"validate": lambda ts: {"accuracy": values[int(ts.step) // 6 - 1]}, "keep": 1}
    assert fit(tmp_path, epochs=4, **run).best_steps == (6,)
    result = fit(tmp_path, epochs=8, keep_best=3, resume=True, **run)
    assert result.best_steps == (6, 24, 30)
    assert fx.checkpoint.steps(tmp_path) == [6, 24, 30, 48]


def test_the_mode_of_a_run_is_kept(tmp_path):
    run = {"validate": lambda ts: {"q": 0.1, "loss": 1.0}, "monitor": "q"}
    fit(tmp_path, epochs=2, mode="max", **run)
    done = fit(tmp_path, epochs=2, validate=None, resume=True)  # neither monitor nor mode
    assert done.best_steps == (6,) and done.best["name"] == "val_q"
    assert fit(tmp_path, epochs=3, validate=None, resume=True).best_steps == (6,)
    with pytest.raises(ValueError, match="of 'val_q' the run so far took the max, and mode='min'"):
        fit(tmp_path, epochs=4, mode="min", resume=True, **run)


@pytest.mark.parametrize("name", ["keep", "keep_best", "epochs", "log_every"])
def test_numbers_that_are_none(name):
    with pytest.raises(TypeError, match=f"fit: expected {name} "):
        fit(**{name: None})


def test_keep_best_needs_a_folder_and_a_validation(tmp_path):
    for given in ({"out": None}, {"validate": None}):
        with pytest.raises(ValueError, match="keep_best above 1 needs out=, .* and validate="):
            fit(**{"out": tmp_path, "validate": lambda ts: {"loss": 1.0}, "keep_best": 2, **given})


class Position(Batches):
    """Its iterators know where they are, and want to be told where to go on."""

    asked = ()

    def epoch(self, epoch, start=0, steps_per_call=1, state=None):
        self.asked = (*self.asked, state)
        assert (state is None) == (start == 0)
        return Counting(super().epoch(epoch, start, steps_per_call), state or {"at": 0})


class Counting:
    def __init__(self, batches, state):
        self.batches, self.at = batches, state["at"]

    def __iter__(self):
        return self

    def __next__(self):
        batch = next(self.batches)
        self.at += 1
        return batch

    def state(self):
        return {"at": self.at}


def test_an_iterator_with_a_state_goes_on_from_it(tmp_path, whole):
    fit(tmp_path, loader=Position(), epochs=3, checkpoint_every=4)
    _, record = fx.checkpoint.restore(tmp_path, like=make()[1], which=16)
    assert record["loader"] == {"at": 4}
    _, record = fx.checkpoint.restore(tmp_path, like=make()[1], which=18)
    assert record["loader"] is None
    shutil.rmtree(tmp_path / "checkpoints/18")  # as if it had been killed then
    with pytest.raises(ValueError, match=r"epoch\(\) of this loader \(Batches\) takes no state="):
        fit(tmp_path, resume=True)
    loader = Position()
    result = fit(tmp_path, loader=loader, resume=True)
    assert loader.asked == ({"at": 4}, None)
    assert_same_bits(result.ts, whole[0].ts)
    assert result.history == whole[0].history


def test_a_loop_state_of_another_loop_is_refused(tmp_path):
    _, ts, _ = make()
    for loop_state in ({"epoch": 3}, {"data": {}, "novelty": 1}):
        fx.checkpoint.save(tmp_path, ts, loop_state)
        with pytest.raises(
            ValueError, match=r"one of fit's, \['data', .*; go on with the loop, or"
        ):
            fit(tmp_path, resume=True)


def test_two_runs_in_one_folder(tmp_path, whole):
    def second(event):
        if event.kind == "log" and event.step == 10:
            with pytest.raises(BlockingIOError, match="only one who writes to .* wait until that"):
                fit(tmp_path, resume=True)
            said.append(True)

    said = []
    result = fit(tmp_path, callbacks=[second])
    assert said == [True]
    assert result.history == whole[0].history
    assert fx.checkpoint.steps(tmp_path)[-1] == 24


def test_an_interrupted_run_is_saved_when_it_says_so(tmp_path, monkeypatch, capsys):
    slow = writing.write_manifest
    monkeypatch.setattr(writing, "write_manifest", lambda *args: (time.sleep(0.3), slow(*args))[1])
    real, seen = print, []

    def say(*args, **kwargs):
        if "interrupted in epoch" in args[0]:
            seen.append(fx.checkpoint.steps(tmp_path))
        real(*args, **kwargs)

    monkeypatch.setattr("builtins.print", say)
    fit(tmp_path, loader=interrupt_at(9))
    assert seen == [[6, 9]]
    assert f"saved in {tmp_path}; resume=True goes on" in capsys.readouterr().out


def test_a_damaged_last_checkpoint_is_passed_over(tmp_path, whole, capsys):
    fit(tmp_path, epochs=2)
    (tmp_path / "checkpoints/12/loop.json").write_text("{}")
    result = fit(tmp_path, resume=True)
    said = capsys.readouterr().out
    assert "checkpoints/12 is damaged: loop.json has 2 bytes" in said
    assert "Using step 6 instead." in said
    assert_same_bits(result.ts, whole[0].ts)
    assert result.history == whole[0].history


def test_the_same_command_can_be_repeated(tmp_path, whole):
    first = fit(tmp_path, resume=True, epochs=2)
    again = fit(tmp_path, resume=True, epochs=2)
    assert again.stopped == "finished"
    assert again.history == first.history and again.timing == first.timing
    assert_same_bits(again.ts, first.ts)
    longer = fit(tmp_path, resume=True)
    assert longer.history == whole[0].history


def test_a_second_signal_aborts_at_once(tmp_path):
    class Impatient(Batches):
        def epoch(self, epoch, start=0, steps_per_call=1):
            for batch in super().epoch(epoch, start, steps_per_call):
                signal.raise_signal(signal.SIGINT)
                signal.raise_signal(signal.SIGINT)
                yield batch

    loader, before = Impatient(), signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        fit(tmp_path, loader=loader)
    assert signal.getsignal(signal.SIGINT) is before
    assert loader.closed == 1


def test_the_loader_is_closed_when_a_run_is_interrupted():
    loader = interrupt_at(2)
    assert fit(loader=loader, validate=None).stopped == "interrupted"
    assert loader.closed == 1


def test_ignored_signals_stay_ignored_and_threads_go_without():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert fit(loader=interrupt_at(2), epochs=1).stopped == "finished"
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    results = []
    thread = threading.Thread(target=lambda: results.append(fit(epochs=1)))
    thread.start()
    thread.join()
    assert results[0].stopped == "finished"


def test_a_callable_and_a_loader_of_ones_own_are_enough():
    class Plain:
        def __len__(self):
            return 3

        def epoch(self, number):
            return [(np.ones(4, np.float32), np.ones(4, np.float32))] * 3

    def step(ts, batch):
        return ts.replace(step=ts.step + 1), {"loss": ts.step * 1.0}

    ts = fx.train.TrainState(0, {}, {}, (), None)
    result = fx.fit(step, ts, Plain(), epochs=2, progress=False)
    assert [row["train_loss"] for row in result.history] == [1.0, 4.0]


def test_a_shorter_last_batch_counts_for_what_it_is(capsys):
    seen = []
    loader = Batches(20, 8, drop_last=False)
    result = fit(loader=loader, epochs=2, log_every=1, callbacks=[seen.append])
    logs = [event.values["loss"] for event in seen if event.kind == "log"][:3]
    expected = (logs[0] * 8 + logs[1] * 8 + logs[2] * 4) / 20
    assert result.history[0]["train_loss"] == pytest.approx(expected, rel=1e-12)
    said = capsys.readouterr().out
    assert said.count("was compiled again: batch[0] was float32[8, 4]") == 1
    assert "batch[1] was int32[8] and is int32[4]" in said


def test_callbacks_get_events_and_are_not_waited_for():
    seen = []
    result = fit(epochs=2, callbacks=[seen.append])
    assert [(e.kind, e.epoch, e.step) for e in seen] == [
        ("log", 1, 4),
        ("log", 1, 6),
        ("epoch", 1, 6),
        ("log", 2, 10),
        ("log", 2, 12),
        ("epoch", 2, 12),
    ]
    assert seen[2].values == result.history[0]
    assert_same_bits(seen[-1].ts, result.ts)


def test_metrics_are_fetched_at_log_points_only(monkeypatch):
    fetches = []
    real = fx.train.run.as_arrays
    monkeypatch.setattr(
        fx.train.run, "as_arrays", lambda calls, *rest: fetches.append(calls) or real(calls, *rest)
    )
    fit(validate=None, epochs=1, log_every=100)
    assert [len(fetched) for fetched in fetches] == [6]


def test_nan_is_said_once(capsys):
    def step(ts, batch):
        return ts.replace(step=ts.step + 1), {"loss": jnp.float32(jnp.nan)}

    ts = fx.train.TrainState(0, {}, {}, (), None)
    fx.fit(step, ts, Batches(), epochs=2, progress=False)
    assert capsys.readouterr().out.count("the loss is nan") == 1


def test_the_search_for_fp16s_scale_is_no_nan(capsys):
    def said(searching):
        def step(ts, batch):
            scale, skipped = 2.0 ** (14 - ts.step), ts.step < searching
            metrics = {"loss": 1.0, "loss_scale": scale, "skipped": skipped}
            return ts.replace(step=ts.step + 1), {k: jnp.asarray(v) for k, v in metrics.items()}

        ts = fx.train.TrainState(0, {}, {}, (), None)
        fx.fit(step, ts, Batches(), epochs=3, progress=False, log_every=1)
        return capsys.readouterr().out.count("the loss is nan")

    assert (said(searching=3), said(searching=99)) == (0, 1)  # a scale below 1 does not help


def test_a_run_is_not_overwritten(tmp_path, whole):
    _, out = whole
    before = sorted((p, p.stat().st_mtime_ns) for p in out.rglob("*"))
    with pytest.raises(FileExistsError, match="holds a run already; resume=True goes on with it"):
        fit(out)
    assert sorted((p, p.stat().st_mtime_ns) for p in out.rglob("*")) == before
    (tmp_path / "log.jsonl").write_text("")
    with pytest.raises(FileExistsError, match="holds a run already"):
        fit(tmp_path)


def test_a_loader_of_torch_tensors_is_answered():
    class Tensors(Batches):
        def epoch(self, epoch, start=0, steps_per_call=1):
            for x, y in super().epoch(epoch, start, steps_per_call):
                yield torch.from_numpy(x), torch.from_numpy(y)

    step, ts, _ = make()
    with pytest.raises(TypeError, match=r"got torch.Tensor at batch\[0\]; convert it with np.as"):
        fx.fit(step, ts, Tensors(), epochs=1, progress=False)


class Short(Batches):
    def __len__(self):
        return super().__len__() + 1

    def epoch(self, epoch, start=0, steps_per_call=1):
        yield from Batches().epoch(epoch, start, steps_per_call)


class Long(Batches):
    def __len__(self):
        return super().__len__() - 1

    def epoch(self, epoch, start=0, steps_per_call=1):
        yield from Batches().epoch(epoch, start, steps_per_call)


@pytest.mark.parametrize(
    "text, options",
    [
        ("expected epochs of 1 or more, got 0", {"epochs": 0}),
        ("expected patience of 1 or more, got 0", {"patience": 0}),
        ("expected log_every of 1 or more, got 0", {"log_every": 0}),
        ("expected checkpoint_every of 1 or more, got -1", {"checkpoint_every": -1}),
        ("fit: expected keep of 1 or more, got 0", {"keep": 0}),
        ('expected mode="max" or "min", got \'up\'', {"mode": "up"}),
        ("patience and monitor need validate=", {"patience": 3, "validate": None}),
        ("resume=True needs out=", {"resume": True}),
        (
            "monitor='depth' does not tell whether higher or lower is better; pass mode=",
            {"monitor": "depth"},
        ),
        ("tensorboard=True needs out=", {"tensorboard": True}),
        (
            r"monitor='auc' expected one of validate's names, \['accuracy', 'loss'\]",
            {"monitor": "auc"},
        ),
        (r"expected 7 steps an epoch, len\(loader\), but got 6", {"loader": Short()}),
        (r"expected 5 steps an epoch, len\(loader\), but got more", {"loader": Long()}),
    ],
)
def test_errors(text, options):
    with pytest.raises(ValueError, match=text):
        fit(**options)


def test_a_metric_without_a_value_for_each_step_is_an_error():
    def step(ts, batch):
        return ts.replace(step=ts.step + 1), {"loss": jnp.zeros(3)}

    ts = fx.train.TrainState(0, {}, {}, (), None)
    with pytest.raises(ValueError, match=r"metric 'loss' .* each of 1 steps, got shape \[3\]"):
        fx.fit(step, ts, Batches(), epochs=1, progress=False)


def test_another_order_of_batches_cannot_go_on(whole):
    _, out = whole
    with pytest.raises(ValueError, match="it cannot go on: seed was 0 and is 1; use the same"):
        fit(out, resume=True, loader=Batches(seed=1))


@pytest.mark.parametrize(
    "text, options",
    [
        ("expected epochs to be an integer, got 1.5", {"epochs": 1.5}),
        (r"expected a loader with epoch\(\) and len\(\), or a list .*int; wrap", {"loader": 3}),
        (
            r".*got tuple; of one batch make a list, \[\(inputs, targets\)\]; wrap",
            {"loader": (1, 2)},
        ),
        (".*got generator; it can be read once, .*: give a list", {"loader": (i for i in "ab")}),
        ("expected validate to be a function of ts, got int; .*make_eval", {"validate": 3}),
        ("expected validate to return a dict.*, got float; write", {"validate": lambda ts: 0.5}),
        ("expected validate's 'a' to be a number, got 'b'", {"validate": lambda ts: {"a": "b"}}),
        (
            r"expected validate's 'matrix' to be a number, got shape \[2, 2\]",
            {"validate": lambda ts: {"loss": 0.5, "matrix": np.eye(2)}},
        ),
        ("expected callbacks to be .* of an Event, got .*WandB'", {"callbacks": fx.train.WandB}),
        ("expected callbacks to be .*, got object; write a function", {"callbacks": [object()]}),
    ],
)
def test_wrong_kinds(text, options):
    with pytest.raises(TypeError, match="fit: " + text):
        fit(**options)


@pytest.mark.parametrize(
    "own, error, text",
    [
        (
            lambda ts, batch: ts,
            TypeError,
            r"to return \(ts, metrics\), got TrainState; write return",
        ),
        (
            lambda ts, batch: (ts, 0.5),
            TypeError,
            "a dict of scalars, got TrainState and float; wri",
        ),
        (
            lambda ts, batch: (ts.params, {}),
            TypeError,
            "a dict of scalars, got dict and dict; write",
        ),
        (
            lambda ts, batch: (ts, {"loss": 0.5}),
            ValueError,
            "count, but ts.step is 0 as it was befo",
        ),
    ],
)
def test_a_step_of_ones_own_that_returns_something_else(own, error, text):
    with pytest.raises(error, match=text):
        fx.fit(own, make()[1], Batches(), epochs=1, progress=False)


def test_step_and_state_are_not_swapped():
    step, ts, _ = make()
    text = r"fit: expected step to be a function .* got TrainState; write fit\(step, ts, loader,"
    with pytest.raises(TypeError, match=text):
        fx.fit(ts, step, Batches(), epochs=1)


def test_several_states_are_for_fit_many():
    states = [fx.train.TrainState(0, {}, {}, (), None)] * 2
    with pytest.raises(TypeError, match=r"fit: expected one state, got 2; fx.train.fit_many\(step"):
        fx.fit(lambda ts, batch: (ts, {}), states, Batches(), epochs=1)


def test_a_donated_state_is_refused():
    step, ts, _ = make()
    step(ts, next(iter(Batches().epoch(0))))
    with pytest.raises(ValueError, match=r"fit: .* use the state that it returned \(result.ts\)"):
        fx.fit(step, ts, Batches(), epochs=1, progress=False)


@pytest.mark.parametrize("steps_per_call", [1, 4])
def test_a_list_of_batches(tmp_path, steps_per_call):
    batches = list(Batches().epoch(0))
    step, ts, _ = make()
    for batch in batches * 2:
        ts, _ = step(ts, batch)
    options = {"loader": batches, "steps_per_call": steps_per_call, "validate": None}
    assert_same_bits(fit(epochs=2, **options).ts.params, ts.params)
    fit(tmp_path, epochs=1, **options)
    assert_same_bits(fit(tmp_path, epochs=2, resume=True, **options).ts.params, ts.params)
    with pytest.raises(ValueError, match="fit: expected batches, got an empty list"):
        fx.fit(step, ts, [], epochs=1)


@pytest.mark.parametrize("batch", [None, 1.5, {"seed": 3}])
def test_batches_that_are_no_arrays_count_steps(batch):
    def step(ts, came):
        assert came == batch
        return ts.replace(step=ts.step + 1), {"loss": jnp.float32(ts.step)}

    ts = fx.train.TrainState(0, {}, {}, (), None)
    result = fx.fit(step, ts, [batch] * 4, epochs=2, progress=False)
    assert [row["train_loss"] for row in result.history] == [1.5, 5.5]


class OnlyEpochs:
    """A loader that has what docs/data.md asks for, no more; its last batch is shorter."""

    def __init__(self, skips):
        self.whole = Batches(50, 8, drop_last=False)
        self.epoch = self.from_start if skips else self.all

    def __len__(self):
        return len(self.whole)

    def from_start(self, n, start=0):
        return self.whole.epoch(n, start)

    def all(self, n):
        return self.whole.epoch(n)


@pytest.mark.parametrize("skips", [True, False])
def test_batches_of_a_plain_loader_are_stacked(skips, tmp_path):
    ends = []
    for steps_per_call, again in ((1, 1), (4, 3), (3, 3)):
        out = tmp_path / f"{steps_per_call}"
        step, ts, _ = make(steps_per_call=steps_per_call)
        loader = OnlyEpochs(skips)

        fx.fit(step, ts, loader, epochs=1, out=out, progress=False)
        assert loader.whole.closed == 1
        step, ts, _ = make(steps_per_call=again)
        loader = OnlyEpochs(skips)
        ends.append(fx.fit(step, ts, loader, epochs=2, out=out, resume=True, progress=False))
        assert int(ends[-1].ts.step) == 14
    for end in ends[1:]:
        assert_same_bits(end.ts, ends[0].ts)


def test_a_plain_loader_goes_on_within_an_epoch_in_calls_of_another_size():
    from fx.data.epochs import batches_from

    for skips in (True, False):
        loader = OnlyEpochs(skips)
        expected = [y for _, y in loader.whole.epoch(0)][4:]
        found = [y for _, y in batches_from(loader, 0, 4, 3)]
        assert [len(y) for y in found] == [2, 1]  # the last batch is shorter
        np.testing.assert_array_equal(np.concatenate([y.reshape(-1) for y in found]),
                                      np.concatenate(expected))  # fmt: skip
