import importlib
import importlib.util
import io
import time
import types

import numpy as np
import pytest

import fx
from fx.train.watch import progress
from fx.train.watch.event import Event
from fx.train.watch.progress import Bar, Clock, Lines
from tests.train.tiny_run import Batches, make


def event(kind="log", step=5, **values):
    return Event(kind, 2, step, values or {"loss": 0.5, "learning_rate": 1e-3}, 2.0, 1234.0, None)


def make_bar(width, epochs=3, steps=10):
    out = io.StringIO()
    console = importlib.import_module("rich.console").Console
    screen = console(file=out, force_terminal=True, width=width)
    return Bar(epochs, steps, Clock(epochs * steps), screen), out


def drawn(bar, width):
    """What the bar looks like now, without colours, as lines."""
    console = importlib.import_module("rich.console").Console
    out = io.StringIO()
    console(file=out, width=width).print(bar._picture())
    return [line.rstrip() for line in out.getvalue().splitlines()]


def test_plain_lines(capsys):
    step, ts, validate = make()
    fx.fit(step, ts, Batches(), validate=validate, epochs=2)
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith("epoch   1/2  loss ")
    for word in ("accuracy", "val_loss", "val_accuracy", "lr ", "examples/s", " s  0:00:", "left"):
        assert word in first
    assert second.startswith("epoch   2/2") and "left" not in second


def test_long_epochs_get_lines_in_between(capsys, monkeypatch):
    lines = Lines(3, 10, Clock(30))
    lines(event())
    assert capsys.readouterr().out == ""
    later = time.monotonic() + 31
    monkeypatch.setattr(time, "monotonic", lambda: later)
    lines(event())
    assert capsys.readouterr().out == "epoch   2/3  loss 0.5000  lr 1.00e-03  1,234 examples/s\n"


def test_distributions_are_not_for_the_terminal(capsys):
    Lines(3, 10, Clock(30))(event("epoch", loss=0.5, weights=np.ones(3)))
    assert capsys.readouterr().out == "epoch   2/3  loss 0.5000  1,234 examples/s  2.0 s\n"


def test_what_is_reported_by_part_is_left_out_and_a_metric_with_a_slash_is_not(capsys):
    values = {"train_loss": 0.5, "val_iou/road": 0.25, "val_loss[3]": 9.0}
    values |= {"train_gradient_norm/fc1": 7.0, "weight/loss": 8.0, "learning_rate/head": 6.0}
    Lines(3, 10, Clock(30))(event("epoch", **values))
    assert capsys.readouterr().out == (
        "epoch   2/3  loss 0.5000  val_iou/road 0.2500  1,234 examples/s  2.0 s\n"
    )


def test_the_bar_shows_what_the_lines_do():
    bar, out = make_bar(120)
    for _ in range(5):
        bar.advance(1)
    bar(event())
    bar(event("epoch", val_loss=0.25))
    bar.say("[notice]")
    bar.live.refresh()
    bar.close()
    shown = out.getvalue()
    assert "epoch   2/3  loss 0.5000  lr 1.00e-03  1,234 examples/s" in shown
    assert "val_loss 0.2500" in shown and "2.0 s" in shown
    assert "[notice]" in shown
    assert "5/10" in shown


def test_the_bar_says_that_it_compiles():
    bar, _ = make_bar(80)
    bar.close()
    assert drawn(bar, 80)[0].endswith(" 0/10 compiling")


@pytest.mark.parametrize("width", [30, 40, 60, 80])
@pytest.mark.parametrize("count", [2, 12])
def test_the_bar_tears_nothing_apart_in_a_narrow_terminal(width, count):
    bar, _ = make_bar(width, epochs=100, steps=312)
    metrics = {f"accuracy_of_{i}": 0.75 for i in range(count)}
    bar(event(loss=0.5, **metrics, learning_rate=1e-3))
    bar.close()
    lines = drawn(bar, width)
    assert lines[0].endswith("0/312 epoch   2/100")
    assert all(len(line) <= width for line in lines)
    words = ["loss 0.5000", "lr 1.00e-03", "1,234 examples/s"]
    for word in [*words, *(f"accuracy_of_{i} 0.7500" for i in range(count))]:
        assert sum(word in line for line in lines) == 1


def test_the_bar_has_one_line_where_there_is_room():
    bar, _ = make_bar(120)
    bar(event())
    bar.close()
    (line,) = drawn(bar, 120)
    assert line.endswith("0/10 epoch   2/3  loss 0.5000  lr 1.00e-03  1,234 examples/s")


def test_the_bar_shows_how_far_it_is_without_colours():
    bar, _ = make_bar(80)
    bar.close()
    bar.console.no_color = True
    bar.advance(5)
    assert drawn(bar, 80)[0].startswith("━━━━━       5/10 ")


def test_the_bar_goes_when_it_is_closed():
    bar, out = make_bar(80)
    bar(event())
    bar.close()
    assert out.getvalue().endswith("\x1b[2K")  # the line erased


def test_a_bar_where_there_is_a_terminal_and_rich(monkeypatch):
    made = []
    monkeypatch.setattr(progress, "Bar", lambda *args: made.append("bar"))
    monkeypatch.setattr(progress, "Lines", lambda *args: made.append("lines"))

    def choose(terminal):
        monkeypatch.setattr(progress.sys, "stdout", types.SimpleNamespace(isatty=lambda: terminal))
        progress.make_progress(True, 3, 10, 0)

    choose(terminal=True)
    choose(terminal=False)  # a pipe, a file, a notebook
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    choose(terminal=True)
    assert made == ["bar", "lines", "lines"]


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


def test_progress_false_prints_notices_only(capsys):
    step, ts, _ = make()
    fx.fit(step, ts, Batches(20, 8, drop_last=False), epochs=1, progress=False)
    assert len(capsys.readouterr().out.splitlines()) == 1
