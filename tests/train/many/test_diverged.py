"""A run that diverges ends alone: the others go on to the bit, and no mean has it in it."""

import math

import jax
import numpy as np
import pytest

import fx
from fx.train.many import ways
from fx.train.many.fit import fit_many
from tests.train.tiny_run import OPTIMIZER, Batches, Net, accuracy, assert_same_bits, loss_fn

BAD, COUNT = 1, 3


class Poisoned(Batches):
    """An example of step 3 in epoch 1, step 10 of the run, is not a number."""

    def epoch(self, epoch, start=0, steps_per_call=1):
        for at, (x, y) in enumerate(super().epoch(epoch, start, steps_per_call), start):
            if (epoch, at) == (1, 3):
                x = np.where(np.arange(len(x))[:, None] == 1, np.nan, x).astype(np.float32)
            yield x, y


@pytest.fixture(scope="module")
def made():
    """A step, and the step of all runs, each compiled once."""
    step = fx.train.make_step(Net(), loss_fn, OPTIMIZER, metrics=accuracy, check_finite=True)
    validate = fx.train.make_eval(Net(), loss_fn, Batches(24, seed=1), metrics=accuracy)
    known, real = {}, ways.many_steps
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            ways, "many_steps", lambda *a: known[a] if a in known else known.setdefault(a, real(*a))
        )
        yield step, validate


def loaders(poisoned=(BAD,)):
    return [(Poisoned if run in poisoned else Batches)(seed=run) for run in range(COUNT)]


def many(made, given=None, **options):
    step, validate = made
    states = [fx.train.create(Net(), step.optimizer, jax.random.key(n)) for n in range(COUNT)]
    options = {"validate": validate, "epochs": 3, "progress": False, **options}
    return fit_many(step, states, given or loaders(), names="abc", **options)


def alone(made, run, **options):
    step, validate = made
    ts = fx.train.create(Net(), step.optimizer, jax.random.key(run))
    options = {"validate": validate, "epochs": 3, "progress": False, **options}
    return fx.fit(step, ts, loaders()[run], **options)


@pytest.mark.parametrize("how", ["vmap", "loop"])
def test_one_run_ends_and_the_others_go_on_to_the_bit(made, how, capsys):
    runs, sound = many(made, how=how), many(made, loaders(()), how=how)
    lost = runs.results[BAD]
    assert (lost.stopped, lost.diverged, int(lost.ts.step)) == ("diverged", 10, 9)
    assert lost.history == sound.results[BAD].history[:1] and lost.best["epoch"] == 1
    for run in (0, 2):
        found, expected = runs.results[run], sound.results[run]
        assert (found.stopped, found.diverged) == ("finished", None)
        assert (found.history, found.best) == (expected.history, expected.best)
        assert_same_bits((found.ts, runs.weights[run]), (expected.ts, sound.weights[run]))
        if how == "loop":
            assert_same_bits(found.ts, alone(made, run).ts)
    # The state of the run that ended is the one before the bad step, as alone.
    ended = alone(made, BAD, on_divergence="return")
    assert (ended.stopped, ended.diverged, len(ended.history)) == ("diverged", 10, 1)
    close = {"rtol": 1e-4, "atol": 1e-5} if how == "vmap" else {"rtol": 0}
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **close), lost.ts.params,
                 ended.ts.params)  # fmt: skip
    text = "run b stopped at step 10, whose" if how == "vmap" else "stopped at step 10, whose loss"
    assert capsys.readouterr().out.count(text) == (1 if how == "vmap" else 2)


def test_no_statistic_has_the_run_in_it(made):
    runs = many(made, how="vmap")
    assert runs.diverged == {"b": 10}
    values = runs.values("train_loss")
    assert math.isnan(values[BAD]) and np.isfinite(values[[0, 2]]).all()
    summary = runs.summary("train_loss")
    assert (summary.count, summary.mean) == (2, values[[0, 2]].mean())
    assert [each.count for each in runs.curve("val_loss")] == [2, 2, 2]
    assert "train_finite" not in runs.metrics
    text = runs.table(each=True)
    assert text.splitlines()[0] == "3 runs in one program, final epoch (3)"
    assert "1 of them diverged and are left out: b at step 10" in text and "nan" not in text
    with pytest.raises(ValueError, match="got nan as value 1 of the first; a run that diverged"):
        fx.evaluate.compare(values, np.zeros(3))


@pytest.mark.parametrize("how", ["vmap", pytest.param("loop", marks=pytest.mark.full)])
def test_a_resume_knows_of_it(made, how, tmp_path):
    class Killed(Exception):
        pass

    def kill(event):  # of the last run, where they come one by one
        if event.kind == "epoch" and event.epoch == 3 and "c" in seen:
            raise Killed
        seen.update("c" if how == "vmap" or event.epoch == 3 else "")

    seen, whole = set(), many(made, how=how, epochs=4)
    with pytest.raises(Killed):
        many(made, how=how, epochs=4, out=tmp_path, callbacks=kill)
    again = many(made, epochs=4, out=tmp_path, resume=True)
    assert again.diverged == {"b": 10} and again.how == how
    for found, expected in zip(again.results, whole.results):
        assert (found.history, found.best) == (expected.history, expected.best)
        assert_same_bits(found.ts, expected.ts)


@pytest.mark.parametrize("how", [pytest.param("vmap", marks=pytest.mark.full), "loop"])
def test_where_all_diverge_the_program_ends(made, how):
    runs = many(made, loaders(range(COUNT)), how=how, epochs=50, validate=None)
    assert [result.diverged for result in runs.results] == [10] * COUNT
    assert [len(result.history) for result in runs.results] == [1] * COUNT
    for ask in (runs.table, lambda: runs.summary("train_loss")):
        with pytest.raises(
            ValueError, match="a run that did not diverge, but all did, at steps {'"
        ):
            ask()
    assert len(runs.results[0].timing) <= 2


def test_the_means_over_runs_leave_it_out(made, tmp_path):
    many(made, how="vmap", out=tmp_path)
    like = ways.stack_states(
        [fx.train.create(Net(), made[0].optimizer, jax.random.key(0))] * 3, True
    )
    rows = fx.checkpoint.restore(tmp_path, like=like)[1]["history"]
    each = [rows[2][f"val_loss[{run}]"] for run in (0, 2)]
    assert rows[2]["val_loss"] == pytest.approx(np.mean(each))
    each = [rows[2][f"train_loss[{run}]"] for run in (0, 2)]
    assert rows[2]["train_loss"] == pytest.approx(np.mean(each), rel=1e-6)
    assert np.isfinite(rows[1]["train_loss"])
