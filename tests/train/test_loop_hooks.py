"""What the loop does with a step's findings: bad steps, plateaus, compilations, callbacks."""

import functools
import json
import math
import types

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import fx
from fx.train import failure
from fx.train.compiles import slow_start
from tests.train.tiny_run import Batches, Net, accuracy, assert_same_bits, jitter, loss_fn

OPTIMIZER = fx.optim.sgd(0.1)


class Poisoned(Batches):
    """The second example of step 3 in epoch 1 is not a number."""

    def epoch(self, epoch, start=0, steps_per_call=1):
        batches = super().epoch(epoch, start, steps_per_call)
        for place, (x, y) in enumerate(batches):
            bad = 3 - start if steps_per_call == 1 else (3 - start) // steps_per_call
            if epoch == 1 and place == bad:
                x = x.copy()
                x[(1,) if steps_per_call == 1 else ((3 - start) % steps_per_call, 1)] = np.nan
            yield x, y


class FromTheStart:
    """A loader that cannot start in the middle of an epoch."""

    def __len__(self):
        return len(Poisoned())

    def epoch(self, epoch):
        return Poisoned().epoch(epoch)


@functools.cache
def compiled(**options):
    return fx.train.make_step(
        Net(), loss_fn, OPTIMIZER, metrics=accuracy, transform=jitter, check_finite=True, **options
    )


def make(**options):
    step = compiled(**options)
    return step, fx.train.create(Net(), step.optimizer, jax.random.key(0))


@pytest.fixture(scope="module")
def whole():
    step, ts = make()
    return fx.fit(step, ts, Batches(), epochs=2, progress=False)


def test_a_bad_step_ends_the_run_and_is_explained(tmp_path):
    step, ts = make()
    with pytest.raises(FloatingPointError, match="step 4 of epoch 2 are not finite") as caught:
        fx.fit(step, ts, Poisoned(), epochs=3, out=tmp_path, log_every=2, progress=False)
    assert "fx.debug.load_crash" in str(caught.value)
    assert (tmp_path / "crash/report.txt").read_text().strip() in str(caught.value)
    fresh = fx.train.create(Net(), step.optimizer, jax.random.key(1))
    state, batch = fx.debug.load_crash(tmp_path / "crash", fresh, next(Batches().epoch(0)))
    assert int(state.step) == 9
    report = fx.debug.xray(step, state, batch)
    assert report.phase == "input" and report.samples == (1,)
    # The state is the one that the run had after nine good steps.
    plain, one = make()
    for each in (*Batches().epoch(0), *list(Batches().epoch(1))[:3]):
        one, _ = plain(one, each)
    assert_same_bits(state.params, one.params)
    kept = json.loads((tmp_path / "history.json").read_text())["history"]
    assert [row["epoch"] for row in kept] == [1]


@pytest.mark.parametrize(
    ("loader", "steps_per_call"), [(Poisoned(), 1), (FromTheStart(), 1), (Poisoned(), 2)]
)
def test_the_batch_of_the_bad_step_is_found_again(monkeypatch, loader, steps_per_call):
    seen = []
    monkeypatch.setattr(failure, "xray", lambda step, ts, batch: seen.append((ts, batch)))
    step, ts = make() if steps_per_call == 1 else make(steps_per_call=steps_per_call)
    with pytest.raises(FloatingPointError, match="step 4 of epoch 2 are not finite"):
        fx.fit(step, ts, loader, epochs=3, progress=False)
    [(state, (inputs, _))] = seen
    assert int(state.step) == 9
    rows = inputs if steps_per_call == 1 else inputs[0]
    assert np.isnan(rows[1]).all() and np.isfinite(np.delete(rows, 1, 0)).all()


def test_a_state_of_another_kind_gets_no_xray(tmp_path):
    step, ts = make()
    found = failure.Diverged({"runs": ts}, epoch=1, at=3, number=10)
    error = failure.explain_failure(step, found, Poisoned(), tmp_path)
    assert str(error) == (
        "fit: loss or gradients of step 4 of epoch 2 are not finite; the state is as it was before "
        "that step. To see why, give it with the batch to fx.debug.xray, one run of several alone"
    )
    assert list(tmp_path.iterdir()) == []


def test_a_bad_step_can_be_a_finding(capsys):
    step, ts = make()
    options = {"epochs": 3, "progress": False}
    with pytest.raises(ValueError, match='expected on_divergence="raise" or "return", got None'):
        fx.fit(step, ts, Poisoned(), on_divergence=None, **options)
    found = fx.fit(step, ts, Poisoned(), on_divergence="return", **options)
    assert (found.stopped, found.diverged, int(found.ts.step)) == ("diverged", 10, 9)
    assert [row["epoch"] for row in found.history] == [1]
    assert "stopped at step 10, whose loss or gradients are not" in capsys.readouterr().out


def test_finite_is_not_in_the_history():
    step, ts = make()
    result = fx.fit(step, ts, Batches(), epochs=1, progress=False)
    assert set(result.history[0]) == {
        "epoch", "step", "train_loss", "train_accuracy", "learning_rate"
    }  # fmt: skip


def test_a_long_first_call_is_told_of_the_cache_once(monkeypatch, capsys):
    monkeypatch.setattr("fx.train.compiles.LONG_S", 0.0)
    step, ts = make()
    fx.fit(step, ts, Batches(), epochs=2, progress=False)
    told = capsys.readouterr().out.count('fx.configure(cache_dir="~/.cache/fx") before JAX starts')
    assert told == 1
    monkeypatch.setattr(jax, "config", types.SimpleNamespace(jax_compilation_cache_dir="here"))
    assert slow_start(99.0) == ""


@pytest.mark.parametrize(
    ("optimizer", "options", "times"),
    [
        (optax.sgd(0.1), {}, 1),
        (optax.sgd(0.1), {"lr": 0.1}, 0),
        (optax.inject_hyperparams(optax.sgd)(0.1), {}, 0),
        (optax.chain(optax.clip(1.0), fx.optim.sgd(0.1)), {}, 0),
    ],
    ids=["unknown", "given", "injected", "ours"],
)
def test_an_unknown_learning_rate_is_said_once(optimizer, options, times, capsys):
    step = fx.train.make_step(Net(), loss_fn, optimizer, **options)
    ts = fx.train.create(Net(), optimizer, jax.random.key(0))
    row = fx.fit(step, ts, Batches(), epochs=2, progress=False).history[-1]
    assert capsys.readouterr().out.count("the learning rate is not in the metrics") == times
    assert times == 1 or row["learning_rate"] == pytest.approx(0.1)


def test_the_rate_of_every_group_is_kept(tmp_path, capsys):
    schedule = fx.optim.exponential_lr(0.5, gamma=0.5)
    optimizer = fx.optim.groups({"first.*": fx.optim.sgd(schedule)}, default=fx.optim.sgd(0.125))
    step = fx.train.make_step(Net(), loss_fn, optimizer)

    def run(**options):
        ts = fx.train.create(Net(), optimizer, jax.random.key(0))
        return fx.fit(step, ts, Batches(), epochs=2, out=tmp_path / "run", log_every=6, **options)

    def stop(event):
        if event.kind == "log":  # the epoch's steps are taken, and it has not ended
            raise fx.train.Stop

    assert run(callbacks=stop).history == []
    history = run(resume=True).history
    for row, steps in zip(history, (5, 11)):
        rates = {name: row[name] for name in row if "learning_rate" in name}
        first = 0.5 * 0.5**steps
        assert rates == {
            "learning_rate": first,
            "learning_rate/first.*": first,
            "learning_rate/default": 0.125,
        }
    lines = [json.loads(line) for line in (tmp_path / "run/log.jsonl").read_text().splitlines()]
    assert all(line["learning_rate/default"] == 0.125 for line in lines)
    printed = capsys.readouterr().out
    assert "lr 2.44e-04" in printed and "default" not in printed


def test_a_plateau_is_told_of_every_epoch(tmp_path):
    optimizer = fx.optim.reduce_lr_on_plateau(fx.optim.sgd(0.5), patience=1, factor=0.5)
    step = fx.train.make_step(Net(), loss_fn, optimizer)

    def run(epochs, **options):
        ts = fx.train.create(Net(), optimizer, jax.random.key(0))
        losses = iter([3.0, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0][options.pop("skip", 0) :])

        def validate(ts):
            return {"loss": next(losses)}

        return fx.fit(
            step, ts, Batches(), validate=validate, epochs=epochs, progress=False, **options
        )

    result = run(7)
    rates = [row["learning_rate"] for row in result.history]
    assert rates == [0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0.125]
    run(3, out=tmp_path)
    resumed = run(7, out=tmp_path, resume=True, skip=3)  # what the plateau knew is kept
    assert [row["learning_rate"] for row in resumed.history] == rates


@pytest.mark.parametrize(
    ("mode", "options", "last"),
    [("min", {}, 0.5), ("max", {}, 0.125), ("min", {"monitor": "loss"}, 0.5)],
)
def test_a_plateau_is_told_what_its_mode_is_about(mode, options, last):
    """The loss falls, and so does the accuracy, which fit watches unless told."""
    optimizer = fx.optim.reduce_lr_on_plateau(fx.optim.sgd(0.5), mode, factor=0.5, patience=0)
    step = fx.train.make_step(Net(), loss_fn, optimizer)
    found = iter([{"loss": 3.0 - n, "accuracy": 0.5 - 0.1 * n} for n in range(4)])
    ts = fx.train.create(Net(), optimizer, jax.random.key(0))
    result = fx.fit(
        step, ts, Batches(), validate=lambda ts: next(found), epochs=4, progress=False, **options
    )
    assert result.history[-1]["learning_rate"] == last


@pytest.mark.parametrize(
    ("mode", "validation", "options", "message"),
    [
        ("max", {"loss": 1.0}, {}, "mode='min', which is that of 'val_loss', got 'max'"),
        ("min", {"accuracy": 0.5}, {}, "mode='max', which is that of 'val_accuracy', got 'min'"),
        ("min", {"loss": 1.0, "f1": 0.5}, {"monitor": "f1"}, "mode='max', which is that of"),
        ("max", None, {}, "mode='min', which is that of 'train_loss', got 'max'"),
    ],
)
def test_a_plateau_of_the_other_mode_is_refused(mode, validation, options, message):
    optimizer = fx.optim.reduce_lr_on_plateau(fx.optim.sgd(0.5), mode)
    step = fx.train.make_step(Net(), loss_fn, optimizer)
    ts = fx.train.create(Net(), optimizer, jax.random.key(0))
    if validation is not None:
        options = {**options, "validate": lambda ts: validation}
    with pytest.raises(ValueError, match=message):
        fx.fit(step, ts, Batches(), epochs=1, progress=False, **options)


def test_without_validation_a_plateau_watches_the_training_loss():
    optimizer = fx.optim.reduce_lr_on_plateau(
        fx.optim.sgd(1e-12), patience=0, factor=0.5, threshold=10.0, threshold_mode="abs", eps=0.0
    )
    step = fx.train.make_step(Net(), loss_fn, optimizer)
    ts = fx.train.create(Net(), optimizer, jax.random.key(0))
    rates = [
        row["learning_rate"]
        for row in fx.fit(step, ts, Batches(), epochs=3, progress=False).history
    ]
    assert np.allclose(rates, [1e-12, 1e-12, 5e-13])


def test_a_compilation_because_of_the_state_is_explained(capsys):
    step, ts = compiled.__wrapped__(), make()[1]  # which no other test has had compiled
    wide = ts.params | {"second": dict(ts.params["second"])}
    wide["second"]["bias"] = jnp.broadcast_to(jnp.asarray(0.0), (3,))  # weakly typed
    fx.fit(step, ts.replace(params=wide), Batches(), epochs=1, progress=False)
    said = capsys.readouterr().out
    assert said.count("was compiled again") == 1
    assert "ts.params['second']['bias'] was weakly typed float32[3] and is float32[3]" in said


def test_what_callbacks_return_is_logged_and_they_are_closed(tmp_path):
    class Doubling:
        closed = 0

        def __call__(self, event):
            return {"doubled": 2 * event.values["loss"]} if event.kind == "log" else None

        def close(self):
            self.closed += 1

    doubling, seen = Doubling(), []
    step, ts = make()
    fx.fit(
        step, ts, Batches(), epochs=1, out=tmp_path, log_every=3, progress=False,
        callbacks=[doubling, seen.append],
    )  # fmt: skip
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    logged = [line for line in lines if line["kind"] == "log"]
    assert len(logged) == 2 and all(
        math.isclose(line["doubled"], 2 * line["loss"]) for line in logged
    )
    assert "doubled" in seen[0].values and doubling.closed == 1


@pytest.mark.parametrize("kind", ["log", "epoch"])
def test_a_callback_stops_a_run_that_can_be_resumed(tmp_path, kind, whole):
    step, ts = make()
    logged = []

    def stop(event):
        if (event.kind, event.step) in (("log", 4), ("epoch", 6)) and event.kind == kind:
            raise fx.train.Stop

    options = {"epochs": 2, "out": tmp_path, "log_every": 2, "progress": False}
    stopped = fx.fit(step, ts, Batches(), callbacks=[stop, logged.append], **options)
    assert (stopped.stopped, int(stopped.ts.step)) == ("interrupted", 4 if kind == "log" else 6)
    assert [event.step for event in logged if event.kind == kind] == ([2] if kind == "log" else [])
    lines = (tmp_path / "log.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["step"] == int(stopped.ts.step)  # what it stopped at is logged
    again = fx.fit(step, make()[1], Batches(), resume=True, **options)
    assert again.stopped == "finished"
    assert_same_bits(again.ts, whole.ts)


def test_callbacks_may_return_arrays_fail_and_be_one(tmp_path):
    step, ts = make()

    def spoils(event):
        event.values["more"] = 1.0
        return {"array": jnp.float32(2.0)}

    result = fx.fit(
        step, ts, Batches(), epochs=1, out=tmp_path / "one", progress=False, callbacks=spoils
    )
    assert "more" not in result.history[0]
    lines = (tmp_path / "one/log.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["array"] == 2.0

    def fails(event):
        if event.kind == "epoch":
            raise RuntimeError("mine")

    step, ts = make()
    with pytest.raises(RuntimeError, match="mine"):
        fx.fit(step, ts, Batches(), epochs=1, out=tmp_path / "two", progress=False, callbacks=fails)
    last = json.loads((tmp_path / "two/log.jsonl").read_text().splitlines()[-1])
    assert last["kind"] == "epoch" and last["step"] == 6


@pytest.mark.parametrize("value", ["high", None, {"a": 1.0}])
def test_a_callback_returns_numbers(value):
    text = "callback .* to return numbers by name, got .* for 'note'; leave out what is none"
    step, ts = make()
    with pytest.raises(TypeError, match=text):
        fx.fit(step, ts, Batches(), epochs=1, progress=False, callbacks=lambda _: {"note": value})


class Early(Batches):
    """It cannot start in the middle of an epoch either."""

    def epoch(self, epoch):
        return super().epoch(epoch)


def test_a_loader_that_cannot_start_in_the_middle_goes_on_all_the_same(tmp_path):
    def stop(event):
        if event.step == 8:
            raise fx.train.Stop

    step, ts = make()
    options = {"epochs": 2, "progress": False}
    whole = fx.fit(step, jax.tree.map(jnp.copy, ts), Early(), **options)
    fx.fit(step, jax.tree.map(jnp.copy, ts), Early(), out=tmp_path, log_every=1, callbacks=stop,
           **options)  # fmt: skip
    again = fx.fit(step, ts, Early(), out=tmp_path, resume=True, **options)
    assert_same_bits(again.ts, whole.ts)


def test_a_callback_cannot_change_the_state():
    step, ts = make()
    with pytest.raises(TypeError, match="test_a_callback.*return a dict or None, got a TrainState"):
        fx.fit(step, ts, Batches(), epochs=1, progress=False, callbacks=lambda event: event.ts)


def test_an_epoch_whose_validation_fails_is_not_lost(tmp_path, whole):
    """What validate raises, and names that nothing is watched by: a resume begins with them."""
    options = {"epochs": 2, "out": tmp_path, "progress": False}

    def broken(ts):
        raise RuntimeError("no such file")

    step, ts = make()
    with pytest.raises(RuntimeError, match="no such file") as caught:
        fx.fit(step, ts, Batches(), validate=broken, **options)
    assert "resume=True goes on with the validation" in caught.value.__notes__[-1]
    text = r"""expected validate to give "accuracy" or "loss", got \['fid'\]; .* monitor="...","""
    with pytest.raises(ValueError, match=text):
        fx.fit(step, make()[1], Batches(), validate=lambda ts: {"fid": 1.0}, resume=True, **options)
    result = fx.fit(
        step, make()[1], Batches(), validate=lambda ts: {"fid": 1.0, "loss": 2.0}, resume=True,
        monitor="val_loss", **options,
    )  # fmt: skip
    assert_same_bits(result.ts, whole.ts)
    assert [row["val_fid"] for row in result.history] == [1.0, 1.0]
    assert [row["train_loss"] for row in result.history] == [
        row["train_loss"] for row in whole.history
    ]
    assert (result.best["name"], result.best["epoch"]) == ("val_loss", 1)


def test_another_monitor_on_resume_is_refused(tmp_path):
    step, ts = make()

    def validate(ts):
        return {"loss": 1.0, "accuracy": 0.5}

    options = {"validate": validate, "out": tmp_path, "progress": False}
    fx.fit(step, ts, Batches(), epochs=1, **options)
    ts = fx.train.create(Net(), step.optimizer, jax.random.key(0))
    with pytest.raises(ValueError, match="watched 'val_accuracy', whose values do not compare"):
        fx.fit(step, ts, Batches(), epochs=2, resume=True, monitor="loss", **options)
