"""Many runs of one recipe equal each run alone: to the bit one by one, to rounding in a program."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx.train.many import measure, ways
from fx.train.many.fit import fit_many
from fx.train.many.stacked import ManyBatches
from fx.train.many.together import Watch
from fx.train.tunable import tunable
from tests.train import tiny_run
from tests.train.tiny_run import OPTIMIZER, Batches, Net, assert_same_bits, make

COUNT = 4
# Sums in another order differ by float32's rounding, and Adam, which divides by small numbers,
# passes it on: 2e-7 at most was seen here after 18 steps, on a CPU. Other machines may be off more.
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


@pytest.fixture(autouse=True, scope="module")
def compiled_once():
    """Every call of fit_many makes a step of its own; tests that share one need not."""
    known, real = {}, ways.many_steps

    def remember(step, *options):
        if (id(step), *options) not in known:
            known[id(step), *options] = real(step, *options), step
        return known[id(step), *options][0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ways, "many_steps", remember)
        yield


def states(count=COUNT, optimizer=OPTIMIZER):
    return [fx.train.create(Net(), optimizer, jax.random.key(seed)) for seed in range(count)]


def loaders(count=COUNT, **options):
    return [Batches(seed=seed, **options) for seed in range(count)]


def many(loader=None, given=None, **options):
    step, _, validate = make()
    options = {"validate": validate, "epochs": 3, "progress": False, "how": "vmap", **options}
    return fit_many(step, given or states(), loader or loaders(), **options)


def alone(run, loader=None, given=None, **options):
    step, _, validate = make()
    options = {"validate": validate, "epochs": 3, "progress": False, **options}
    start = (given or states())[run]
    return fx.fit(step, start, loader or Batches(seed=run), **options)


def assert_close(one, other, **tolerance):
    def compare(a, b):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            a, b = jax.random.key_data(a), jax.random.key_data(b)
        np.testing.assert_allclose(a, b, **{**CLOSE, **tolerance})

    jax.tree.map(compare, one, other)


def assert_same_run(found, expected, exact=False):
    assert found.stopped == expected.stopped
    if exact:
        assert (found.history, found.best) == (expected.history, expected.best)
        assert_same_bits(found.ts, expected.ts)
        return
    assert_close(found.ts, expected.ts)
    assert len(found.history) == len(expected.history)
    for row, other in zip(found.history, expected.history):
        assert list(row) == list(other)
        for name, value in row.items():
            # Adam's first steps leave outputs that nearly tie, and a few examples may tip.
            slack = 0.05 if name.endswith("accuracy") else 1e-5
            assert value == pytest.approx(other[name], rel=1e-4, abs=slack), name
    if expected.best is None:
        assert found.best is None
    else:
        assert {k: v for k, v in found.best.items() if k != "value"} == {
            k: v for k, v in expected.best.items() if k != "value"
        }
        assert found.best["value"] == pytest.approx(expected.best["value"], rel=1e-4, abs=0.05)


def test_one_by_one_equals_each_run_alone_to_the_bit():
    given = states()
    runs = many(how="loop", given=given)
    for run, result in enumerate(runs.results):
        assert_same_run(result, alone(run), exact=True)
    assert (runs.how, runs.why, len(runs)) == ("loop", "asked for", COUNT)
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(given))  # copied, not donated


def test_in_one_program_equals_each_run_alone_to_rounding():
    given = states()
    runs = many(given=given)
    for run, result in enumerate(runs.results):
        assert_same_run(result, alone(run))
    assert (runs.how, runs.why) == ("vmap", "asked for")
    assert not any(leaf.is_deleted() for leaf in jax.tree.leaves(given))
    # They are different runs: of weights, of orders, of dropout masks.
    assert len(set(runs.values("train_loss"))) == COUNT


@pytest.mark.full
def test_a_shorter_last_batch_counts_for_what_it_has(capsys):
    runs = many(loaders(drop_last=False))
    assert "was compiled again" in capsys.readouterr().out
    for run, result in enumerate(runs.results):
        assert_same_run(result, alone(run, Batches(seed=run, drop_last=False)))


def test_a_single_loader_is_shared():
    shared = Batches(seed=7)
    runs = many(shared, epochs=2)
    assert shared.closed == 2  # read once an epoch, not once a run
    for run, result in enumerate(runs.results):
        assert_same_run(result, alone(run, Batches(seed=7), epochs=2))


@pytest.mark.full
def test_several_steps_a_call():
    step, _, validate = make(steps_per_call=4)
    runs = fit_many(
        step, states(), loaders(), validate=validate, epochs=3, progress=False, how="vmap"
    )
    for run, result in enumerate(runs.results):
        assert_same_run(result, alone(run))


@pytest.mark.parametrize("how", [pytest.param("vmap", marks=pytest.mark.full), "loop"])
def test_without_validation(how):
    runs = many(validate=None, how=how, epochs=2)
    assert runs.weights is None
    for run, result in enumerate(runs.results):
        assert_same_run(result, alone(run, validate=None, epochs=2), exact=how == "loop")
    with pytest.raises(ValueError, match='at="best" needs validation'):
        runs.values("train_loss", "best")


def noisy(ts):
    """A validation whose best epoch differs from run to run."""
    weight = ts.params["second"]["bias"]
    return {"loss": float(jnp.sin(300 * weight[0])), "flat": 0.0}


@pytest.mark.parametrize("how", ["vmap", "loop"])
def test_each_run_stops_on_its_own(how):
    options = {"validate": noisy, "patience": 2, "epochs": 12}
    runs = many(how=how, **options)
    expected = [alone(run, **options) for run in range(COUNT)]
    lengths = [len(result.history) for result in expected]
    assert len(set(lengths)) > 1, "the test needs runs that stop at different epochs"
    for result, other in zip(runs.results, expected):
        # sin(300 w) makes rounding visible, so the comparison is with where they stopped.
        assert [row["step"] for row in result.history] == [row["step"] for row in other.history]
        assert result.stopped == other.stopped
        assert result.best["epoch"] == other.best["epoch"]
        assert_close(result.ts, other.ts)
        assert int(result.ts.step) == int(other.ts.step)


def test_a_run_that_stopped_keeps_its_state_to_the_bit():
    """Frozen, not trained on: the state is what the run alone has when it stops, step included."""
    short = many(validate=noisy, patience=1, epochs=12)
    lengths = [len(result.history) for result in short.results]
    first = int(np.argmin(lengths))
    assert lengths[first] < max(lengths)
    until = many(validate=noisy, patience=50, epochs=lengths[first])
    assert_same_bits(short.results[first].ts, until.results[first].ts)


@pytest.mark.parametrize("how", ["vmap", "loop", "folder"])
def test_the_weights_of_the_best_epoch(how, tmp_path):
    options = {"out": tmp_path / "runs"} if how == "folder" else {}
    epochs = 5
    runs = many(validate=noisy, epochs=epochs, how="loop" if how == "folder" else how, **options)
    best = [result.best["epoch"] for result in runs.results]
    assert len(set(best)) > 1 and min(best) < epochs, "the test needs different best epochs"
    for run, (params, state) in enumerate(runs.weights):
        expected = alone(run, validate=noisy, epochs=best[run])
        assert_close((params, state), (expected.ts.params, expected.ts.state))
        assert runs.values("val_loss", "best")[run] == runs.results[run].best["value"]


class Killed(Exception):
    pass


def killer(epoch):
    def kill(event):
        if event.epoch == epoch and event.kind == "epoch":
            raise Killed

    return kill


@pytest.mark.parametrize("how", ["vmap", pytest.param("loop", marks=pytest.mark.full)])
def test_resume_goes_on_to_the_bit(how, tmp_path):
    options = {"validate": noisy, "patience": 3, "epochs": 8, "how": how}
    whole = many(out=tmp_path / "whole", **options)
    broken = {**options, "out": tmp_path / "broken"}
    with pytest.raises(Killed):
        many(**broken, callbacks=[killer(3)])
    again = many(**{**broken, "how": "auto"}, resume=True)
    assert (again.how, again.why) == (how, "as it was begun")
    for result, expected in zip(again.results, whole.results):
        assert_same_run(result, expected, exact=True)
    assert_same_bits(again.weights, whole.weights)


def test_resume_in_the_middle_of_an_epoch(tmp_path):
    options = {"validate": noisy, "patience": 3, "epochs": 6, "log_every": 1}
    whole = many(out=tmp_path / "whole", checkpoint_every=2, **options)

    def kill(event):
        if event.kind == "log" and event.step == 17:  # of six steps an epoch
            raise Killed

    broken = {**options, "out": tmp_path / "broken", "checkpoint_every": 2}
    with pytest.raises(Killed):
        many(**broken, callbacks=[kill])
    steps = fx.checkpoint.steps(tmp_path / "broken")
    assert max(steps) == 16
    again = many(**broken, resume=True)
    for result, expected in zip(again.results, whole.results):
        assert_same_run(result, expected, exact=True)
    assert_same_bits(again.weights, whole.weights)


def test_resume_refuses_the_other_way_and_other_batches(tmp_path):
    many(out=tmp_path, epochs=1)
    with pytest.raises(ValueError, match="begun with how='vmap', so they cannot go on with how='l"):
        many(out=tmp_path, epochs=2, how="loop", resume=True)
    with pytest.raises(ValueError, match="fingerprint was .* and is"):
        many(loaders()[::-1], out=tmp_path, epochs=2, resume=True)


def test_folds_of_other_sizes_run_one_by_one(tmp_path):
    runs = many([Batches(seed=0), Batches(42, seed=1)], states(2), how="auto", epochs=1)
    assert (runs.how, runs.why) == ("loop", "their batches differ in number or size")
    assert [result.history[-1]["step"] for result in runs.results] == [6, 5]
    with pytest.raises(ValueError, match=r"same number of steps, got \[6, 5\]; make"):
        many([Batches(seed=0), Batches(42, seed=1)], states(2))


def test_learning_rates_are_an_axis():
    rates = [0.0, 0.01, 0.1]

    def optimizer(lr):
        schedule = lambda base: fx.optim.cosine_annealing_lr(base, T_max=20)
        return tunable(lambda base: fx.optim.adam(schedule(base)), lr)

    step = fx.train.make_step(Net(), tiny_run.loss_fn, optimizer(0.5))  # this value is not read
    given = [fx.train.create(Net(), optimizer(lr), jax.random.key(0)) for lr in rates]
    options = {"epochs": 2, "progress": False, "validate": make()[2]}
    runs = fit_many(step, given, Batches(), names=rates, how="vmap", **options)
    own = fx.train.make_step(Net(), tiny_run.loss_fn, optimizer(rates[1]))
    assert_same_run(runs.results[1], fx.fit(own, _copy(given[1]), Batches(), **options))
    last = 12 - 1
    expected = [lr * (1 + np.cos(np.pi * last / 20)) / 2 for lr in rates]
    np.testing.assert_allclose(runs.values("learning_rate"), expected, rtol=1e-5)
    start = given[0].params["first"]["weight"]
    np.testing.assert_array_equal(runs.results[0].ts.params["first"]["weight"], start)  # lr 0


@pytest.mark.full
def test_the_rates_of_groups_are_those_of_each_run_alone():
    second = fx.optim.sgd(fx.optim.exponential_lr(0.5, gamma=0.9))
    optimizer = fx.optim.groups({"first.*": fx.optim.sgd(0.1)}, default=second)
    step = fx.train.make_step(Net(), tiny_run.loss_fn, optimizer)
    options = {"epochs": 1, "progress": False}
    runs = fit_many(step, states(2, optimizer), Batches(), how="vmap", **options)
    single = fx.fit(step, states(2, optimizer)[1], Batches(), **options)
    assert_same_run(runs.results[1], single)
    assert runs.values("learning_rate/default")[1] == single.history[0]["learning_rate/default"]
    assert "train_loss" in runs.table() and "learning_rate" not in runs.table()


def _copy(tree):
    return jax.tree.map(jnp.copy, tree)


def folds(k=3):
    x, y = tiny_run.data(48)
    data = fx.data.Dataset(x, y)
    parts = np.array_split(np.arange(48), k)
    for part in parts:
        train = data.subset(np.setdiff1d(np.arange(48), part))
        yield fx.data.Loader(train, 8), fx.data.Loader(data.subset(part), 8)


def test_folds_are_an_axis():
    step, _, _ = make()
    trains, valids = zip(*folds())
    checks = [fx.train.make_eval(Net(), tiny_run.loss_fn, each) for each in valids]
    runs = many(list(trains), states(3), validate=checks, names=["a", "b", "c"], epochs=2)
    for run, (train, check) in enumerate(zip(trains, checks)):
        assert_same_run(runs.results[run], alone(run, train, validate=check, epochs=2))


def unequal():
    x, y = tiny_run.data(50)
    return [fx.data.Loader(fx.data.Dataset(x[:n], y[:n]), 8) for n in (49, 50)]


def test_batches_of_other_shapes_are_refused_in_one_program():
    text = r"same shapes, got \[\[1, 4\], \[1\]\] of run 0 and \[\[2, 4\], \[2\]\] of run 1"
    with pytest.raises(ValueError, match=text):
        next(ManyBatches(unequal(), 2, Watch(2, None, None, None)).epoch(0, start=6))


@pytest.mark.full
def test_batches_of_other_shapes_are_taken_one_by_one():
    assert len(many(unequal(), states(2), epochs=1, how="loop")) == 2


def timed(monkeypatch, together_s, alone_s):
    def fake(step, ts, batch):
        return ts, alone_s if step is make()[0] else together_s

    monkeypatch.setattr(measure, "_timed", fake)


def test_auto_takes_what_is_faster(monkeypatch, capsys):
    timed(monkeypatch, together_s=0.003, alone_s=0.001)
    runs = many(how="auto", epochs=1, progress=True)
    text = "a step of all takes 3 ms in one program, and 4 ms one by one"
    assert (runs.how, runs.why) == ("vmap", text)
    assert f"fit_many: 4 runs, in one program: {text}" in capsys.readouterr().out
    timed(monkeypatch, together_s=0.005, alone_s=0.001)
    runs = many(how="auto", epochs=1, progress=True)
    assert (runs.how, runs.why) == ("loop", text.replace("3 ms", "5 ms"))
    assert "fit_many: run 4 of 4" in capsys.readouterr().out


def test_auto_really_measures_and_changes_nothing():
    runs = many(how="auto", epochs=1)
    assert "ms in one program" in runs.why
    for result, expected in zip(runs.results, many(how=runs.how, epochs=1).results):
        assert_same_run(result, expected, exact=True)
    single = many(loaders(1), states(1), how="auto", epochs=1)
    assert (single.how, single.why) == ("loop", "there is one")


def test_auto_takes_the_loop_where_memory_demands_it(monkeypatch):
    monkeypatch.setattr(measure, "limit_bytes", lambda: 2**10)
    runs = many(how="auto", epochs=1)
    assert runs.how == "loop"
    assert re.fullmatch(r"one program would need \S+ KiB of the device's 1.0 KiB", runs.why)


def test_memory_is_that_of_the_program():
    compiled = jax.jit(lambda x: x + 1).lower(jnp.ones(2**18)).compile()
    assert 2 * 2**20 <= measure.needed_bytes(compiled) < 4 * 2**20
    assert measure.limit_bytes() > 2**28


def test_a_validation_that_diverges_has_no_best_epoch():
    runs = many(validate=lambda ts: {"loss": float("nan")}, epochs=2)
    assert [result.best for result in runs.results] == [None] * COUNT
    assert runs.weights == (None,) * COUNT


@pytest.mark.full
def test_a_step_of_one_program_compiles_once():
    step = fx.train.make_step(
        Net(), tiny_run.loss_fn, OPTIMIZER, metrics=tiny_run.accuracy, max_compiles=1
    )
    runs = fit_many(step, states(2), loaders(2), epochs=2, progress=False, how="vmap")
    assert len(runs) == 2


@pytest.mark.parametrize(
    ("options", "kind", "text"),
    [
        ({"given": states(1)[0]}, TypeError, "expected states to be a list of states, got TrainS"),
        ({"given": iter(())}, TypeError, "expected states to be a list of states, got tuple_it"),
        ({"loader": loaders(3)}, ValueError, "a loader for each of 4 states, or one for all, got"),
        (
            {"loader": [(1, 2)] * 4},
            TypeError,
            "loaders with epoch.. and len.., got tuple; batches in",
        ),
        ({"validate": [noisy]}, ValueError, "a validate for each of 4 states, or one for all"),
        ({"names": [1]}, ValueError, "expected a name for each of 4 states, got 1"),
        ({"how": "pmap"}, ValueError, 'expected how="auto", "vmap" or "loop", got \'pmap\''),
        ({"monitor": "f1"}, ValueError, "monitor='f1' expected one of validate's names"),
        ({"validate": None, "patience": 1}, ValueError, "patience and monitor need validate="),
        ({"patience": 0}, ValueError, "expected patience of 1 or more, got 0"),
        ({"monitor": "x"}, ValueError, "does not tell whether higher or lower is better"),
        ({"mode": "most"}, ValueError, 'fit_many: expected mode="max" or "min", got \'most\''),
    ],
)
@pytest.mark.parametrize("how", ["vmap", "loop"])
def test_arguments(options, kind, text, how):
    with pytest.raises(kind, match=text):
        many(**{"how": how, **options})


def test_the_states_must_belong_together():
    step, _, _ = make()
    with pytest.raises(ValueError, match="expected a state for each run, got an empty list"):
        fit_many(step, [], Batches(), epochs=1)
    with pytest.raises(TypeError, match="expected step to be a Step, got function; make one with"):
        fit_many(lambda ts, batch: (ts, {}), states(), Batches(), epochs=1)
    other = fx.train.create(Net(), fx.optim.sgd(0.1), jax.random.key(0))
    with pytest.raises(ValueError, match=r"but \.opt_state.* in run 0 and not there in run 1"):
        fit_many(step, [*states(1), other], Batches(), epochs=1)
    later = states(1)[0].replace(step=jnp.asarray(3, jnp.int32))
    with pytest.raises(ValueError, match=r"expected states of the same step, got \[0, 3\]"):
        fit_many(step, [*states(1), later], Batches(), epochs=1)
    gone = states(2)
    step(gone[1], next(iter(Batches().epoch(0))))
    with pytest.raises(ValueError, match="that of run 1 went into an earlier step"):
        fit_many(step, gone, Batches(), epochs=1)


def test_the_folder_of_one_program_has_every_runs_numbers(tmp_path):
    runs = many(out=tmp_path, epochs=1)
    _, saved = fx.checkpoint.restore(tmp_path, like=ways.stack_states(states(), True))
    (only,) = saved["history"]
    each = [only[f"train_loss[{run}]"] for run in range(COUNT)]
    np.testing.assert_array_equal(each, runs.values("train_loss"))
    assert only["train_loss"] == pytest.approx(np.mean(each), rel=1e-6)
    assert (tmp_path / "history.json").exists() and (tmp_path / "log.jsonl").exists()


def test_a_plateau_is_trained_one_by_one():
    optimizer = fx.optim.reduce_lr_on_plateau(fx.optim.sgd(0.1))
    step = fx.train.make_step(Net(), tiny_run.loss_fn, optimizer)
    states = [fx.train.create(Net(), optimizer, jax.random.key(seed)) for seed in range(2)]
    runs = fx.train.fit_many(step, states, Batches(), epochs=1, progress=False)
    assert runs.how == "loop" and "plateau" in runs.why
    with pytest.raises(ValueError, match="reduce_lr_on_plateau listens to each run's own metric"):
        fx.train.fit_many(step, states, Batches(), epochs=1, how="vmap", progress=False)


def test_the_best_checkpoints_are_kept_one_by_one(tmp_path):
    runs = many(validate=noisy, epochs=4, out=tmp_path, keep=1, keep_best=2, how="auto")
    assert runs.how == "loop" and "keeps its best checkpoints" in runs.why
    for run, result in enumerate(runs.results):
        assert len(result.best_steps) == 2
        assert set(result.best_steps) <= set(fx.checkpoint.steps(tmp_path / str(run)))
    with pytest.raises(ValueError, match='each run\'s best epoch, .* keep_best needs how="loop"'):
        many(validate=noisy, epochs=4, out=tmp_path / "other", keep_best=2, how="vmap")
