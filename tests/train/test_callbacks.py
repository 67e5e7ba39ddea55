import importlib
import io
import json
import time
import types

import pytest

import fx
from fx.train import callbacks
from fx.train.callbacks import Bar, Clock, Event, JsonLog, Lines, TensorBoard
from tests.train.tiny_run import Batches, make


def event(kind="log", step=5, **values):
    return Event(kind, 2, step, values or {"loss": 0.5, "learning_rate": 1e-3}, 2.0, 1234.0, None)


def test_plain_lines(capsys):
    step, ts, validate = make()
    fx.fit(step, ts, Batches(), validate=validate, epochs=2)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch   1/2  loss ")
    for word in ("accuracy", "val_loss", "val_accuracy", "lr ", "images/s", " s  0:00:", "left"):
        assert word in first
    assert second.startswith("epoch   2/2") and "left" not in second


def test_long_epochs_get_lines_in_between(capsys, monkeypatch):
    lines = Lines(3, 10, Clock(30))
    lines(event())
    assert capsys.readouterr().out == ""
    later = time.monotonic() + 31
    monkeypatch.setattr(time, "monotonic", lambda: later)
    lines(event())
    assert capsys.readouterr().out == "epoch   2/3  loss 0.5000  lr 1.00e-03  1,234 images/s\n"


def test_the_bar_shows_what_the_lines_do():
    console = importlib.import_module("rich.console").Console
    out = io.StringIO()
    bar = Bar(3, 10, Clock(30), console(file=out, force_terminal=True, width=120))
    for _ in range(5):
        bar.advance(1)
    bar(event())
    bar(event("epoch", val_loss=0.25))
    bar.say("[notice]")
    bar.bar.refresh()
    bar.close()
    shown = out.getvalue()
    assert "epoch   2/3  loss 0.5000  lr 1.00e-03  1,234 images/s" in shown
    assert "val_loss 0.2500" in shown and "2.0 s" in shown
    assert "[notice]" in shown
    assert "5/10" in shown


def test_the_bar_shows_everything_in_a_narrow_terminal():
    console = importlib.import_module("rich.console").Console
    out = io.StringIO()
    bar = Bar(100, 312, Clock(31200), console(file=out, force_terminal=True, width=60))
    bar(event(loss=0.5, accuracy=0.75, learning_rate=1e-3))
    bar.bar.refresh()
    bar.close()
    for word in ("0/312", "2/100", "loss 0.5000", "accuracy 0.7500", "1.00e-03", "images/s"):
        assert word in " ".join(out.getvalue().split())


def test_a_bar_where_there_is_a_terminal_and_rich(monkeypatch):
    monkeypatch.setattr(callbacks.sys, "stdout", types.SimpleNamespace(isatty=lambda: True))
    made = []
    monkeypatch.setattr(callbacks, "Bar", lambda *args: made.append("bar"))
    monkeypatch.setattr(callbacks, "Lines", lambda *args: made.append("lines"))
    callbacks.make_progress(True, 3, 10, 0)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    callbacks.make_progress(True, 3, 10, 0)
    assert made == ["bar", "lines"]


def test_time_left(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    clock = Clock(1000)
    clock.begin(100)
    assert clock.left() == ""
    clock.done, now[0] = 200, 150.0
    assert clock.left() == "0:06:40 left"
    clock.done = 1000
    assert clock.left() == ""


def test_json_lines_keep_what_came_before(tmp_path):
    path = tmp_path / "log.jsonl"
    log = JsonLog(path)
    for step in (2, 4, 6):
        log(event(step=step, loss=float("nan")))
    log.close()
    log = JsonLog(path, after=4)
    log(event(step=5))
    log.close()
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 5]
    assert lines[0]["loss"] is None and "NaN" not in path.read_text()
    assert lines[-1] == {
        "kind": "log",
        "epoch": 2,
        "step": 5,
        "loss": 0.5,
        "learning_rate": 1e-3,
        "seconds": 2.0,
        "images_per_s": 1234.0,
    }


def test_tensorboard_writes_what_happened(tmp_path):
    step, ts, validate = make()
    fx.fit(
        step, ts, Batches(), validate=validate, epochs=1, out=tmp_path, tensorboard=True,
        progress=False,
    )  # fmt: skip
    content = b"".join(p.read_bytes() for p in (tmp_path / "tensorboard").iterdir())
    for tag in (b"step/loss", b"step/learning_rate", b"epoch/val_accuracy", b"epoch/train_loss"):
        assert tag in content
    assert b"epoch/step" not in content


def test_tensorboard_names_its_extra(tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(
        ModuleNotFoundError, match=r"pip install '\.\[tensorboard\]' in fx's folder"
    ):
        TensorBoard(tmp_path)


def test_progress_false_prints_notices_only(capsys):
    step, ts, _ = make()
    fx.fit(step, ts, Batches(20, 8, drop_last=False), epochs=1, progress=False)
    assert len(capsys.readouterr().out.splitlines()) == 1
