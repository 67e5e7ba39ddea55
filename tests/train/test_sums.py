"""Metrics that are made of sums: of a whole data set, in a step, and of several runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import f1_score, r2_score

import fx
from fx import data, evaluate, train
from fx.functional import cross_entropy, mse_loss
from fx.train.many.together import evaluate_together

RNG = np.random.default_rng(0)
X = RNG.standard_normal((23, 4)).astype(np.float32)
LABELS = RNG.integers(0, 3, 23).astype(np.int32)
VALUES = (X.sum(1, keepdims=True) + RNG.standard_normal((23, 1))).astype(np.float32)


def r2_of(sums):
    return 1 - sums["error"] / (sums["square"] - sums["y"] ** 2 / sums["n"])


def r2(outputs, targets):
    error = jnp.sum((outputs - targets) ** 2)
    sums = {"error": error, "y": targets.sum(), "square": (targets**2).sum(), "n": targets.size}
    return {"r2": train.Sums(sums, r2_of)}


def made(out, **options):
    model = fx.nn.Linear(4, out)
    loss = cross_entropy if out > 1 else mse_loss
    step = train.make_step(model, loss, fx.optim.sgd(0.1), **options)
    return model, loss, step, train.create(model, step.optimizer, jax.random.key(0))


@pytest.mark.parametrize("batch_size", [5, 23])
def test_an_evaluation_has_the_whole_sets(batch_size):
    """Batches of 5 leave 3 in the last one, beside padding."""
    model, loss, _, ts = made(3)
    loader = data.Loader(data.Dataset(X, LABELS), batch_size)
    outputs, _ = model.apply(ts.params, ts.state, X)
    found = train.make_eval(model, loss, loader, metrics=evaluate.f1_metrics)(ts)
    expected = f1_score(LABELS, np.argmax(outputs, 1), average="macro")
    assert found["f1"] == pytest.approx(expected, abs=1e-6)

    model, loss, _, ts = made(1)
    loader = data.Loader(data.Dataset(X, VALUES), batch_size)
    outputs, _ = model.apply(ts.params, ts.state, X)
    found = train.make_eval(model, loss, loader, metrics=r2)(ts)
    assert found["r2"] == pytest.approx(r2_score(VALUES, outputs), abs=1e-5)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_step_has_its_batchs(accumulate):
    model, _, step, ts = made(3, metrics=evaluate.f1_metrics, accumulate=accumulate)
    outputs, _ = model.apply(ts.params, ts.state, X[:20])
    _, metrics = step(ts, (X[:20], LABELS[:20]))
    expected = f1_score(LABELS[:20], np.argmax(outputs, 1), average="macro")
    assert float(metrics["f1"]) == pytest.approx(expected, abs=1e-6)


def confusion(outputs, targets):
    """Counts by class and a number of Python's: leaves of two shapes."""
    hits = jnp.sum(jnp.argmax(outputs, 1) == targets)
    seen = jnp.sum(jax.nn.one_hot(targets, 3), 0)
    return {"share": train.Sums((hits, seen, len(outputs)), share_of), "plain": hits / 7}


def share_of(sums):
    hits, seen, n = sums
    return hits / n + 10 * seen[0] / seen.sum() + 100 * (seen.shape != (3,))


def of_all(model, ts, steps):
    """What the steps' outputs come to together."""
    total = [0, np.zeros(3), 0]
    for x, y in steps:
        outputs, _ = model.apply(ts.params, ts.state, x)
        y = np.asarray(y)
        seen = np.bincount(y, minlength=3)
        total = [
            total[0] + np.sum(np.argmax(np.asarray(outputs), 1) == y),
            total[1] + seen,
            total[2] + len(y),
        ]
    return share_of(total)


@pytest.mark.parametrize("steps_per_call", [1, 2])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_training_row_has_the_epochs(steps_per_call, accumulate):
    """Weights stay as they are, so that what the epoch comes to is known."""
    model = fx.nn.Linear(4, 3)
    step = train.make_step(
        model, cross_entropy, fx.optim.sgd(0.0), metrics=confusion, accumulate=accumulate,
        steps_per_call=steps_per_call,
    )  # fmt: skip
    ts = train.create(model, step.optimizer, jax.random.key(0))
    loader = data.Loader(data.Dataset(X[:22], LABELS[:22]), 4, shuffle=False)
    expected = of_all(model, ts, list(loader.epoch(0)))
    logged = []
    result = fx.fit(
        step, ts, loader, epochs=2, progress=False, log_every=2,
        callbacks=[lambda event: logged.append((event.kind, event.values))],
    )  # fmt: skip
    assert [row["train_share"] for row in result.history] == [expected] * 2
    assert not any(name.startswith("train_sums") for name in result.history[0])
    first = next(values for kind, values in logged if kind == "log")
    two = of_all(model, result.ts, list(loader.epoch(0))[:2])
    assert first["share"] == two and two != expected


def test_a_step_of_ones_own_reports_sums():
    def step(ts, batch):
        x, y = batch
        found = {"loss": np.float32(1.0), "share": np.float32(0)}
        sums = train.Sums((1, np.bincount(y, minlength=3), len(y)), share_of)
        return ts.replace(step=ts.step + 1), found | {"sums/share": sums}

    model, *_, ts = made(3)
    loader = data.Loader(data.Dataset(X, LABELS), 5)
    (row,) = fx.fit(step, ts, loader, epochs=1, progress=False).history
    assert row["train_share"] == share_of((5, np.bincount(LABELS, minlength=3), 23))


@pytest.mark.parametrize("name", ["share", "sums/share"])
def test_a_step_of_ones_own_that_reports_sums_alone(name):
    def step(ts, batch):
        sums = train.Sums((1, np.bincount(batch[1], minlength=3), len(batch[1])), share_of)
        return ts.replace(step=ts.step + 1), {"loss": np.float32(1.0), name: sums}

    model, *_, ts = made(3)
    loader = data.Loader(data.Dataset(X, LABELS), 5)
    (row,) = fx.fit(step, ts, loader, epochs=1, progress=False).history
    assert row["train_share"] == share_of((5, np.bincount(LABELS, minlength=3), 23))


def test_sums_of_another_shape_in_each_batch_are_named():
    def metrics(outputs, targets):
        return {"ones": train.Sums(jnp.ones(len(outputs)), jnp.sum)}

    _, _, step, ts = made(3, metrics=metrics)
    loader = data.Loader(data.Dataset(X, LABELS), 5)
    text = (
        r"sums of 'sums/ones' to have the same shapes in every batch, got \[\[5\]\] and \[\[3\]\]"
    )
    with pytest.raises(ValueError, match=text):
        fx.fit(step, ts, loader, epochs=1, progress=False)


@pytest.mark.parametrize("at", [3, 5])
def test_it_goes_on_to_the_bit_after_a_resume(at, tmp_path):
    """At step 5 the epoch has no step left: what it came to is in the checkpoint."""
    model, loss, step, ts = made(3, metrics=evaluate.f1_metrics, donate=False)
    loader = data.Loader(data.Dataset(X, LABELS), 5, seed=0)
    whole = fx.fit(step, ts, loader, epochs=2, progress=False)

    def stop(event):
        if event.kind == "log" and event.step == at:
            raise train.Stop

    run = {"epochs": 2, "progress": False, "out": tmp_path, "log_every": 1}
    first = fx.fit(step, ts, loader, callbacks=[stop], **run)
    assert first.stopped == "interrupted" and int(first.ts.step) == at
    again = fx.fit(step, ts, loader, resume=True, **run)
    assert again.history == whole.history


def test_what_fp16_skips_has_no_part_in_it():
    model, *_ = made(3)
    step = train.make_step(
        model, lambda y, t: 1e-4 * cross_entropy(y, t), fx.optim.sgd(0.0), metrics=confusion,
        precision="fp16",
    )  # fmt: skip
    ts = train.create(model, step.optimizer, jax.random.key(0))
    huge = np.where(np.arange(20)[:, None] < 5, np.float32(1e6), X[:20])  # in fp16 infinity
    loader = data.Loader(data.Dataset(huge, LABELS[:20]), 5, shuffle=False)
    (row,) = fx.fit(step, ts, loader, epochs=1, progress=False).history
    taken = list(data.Loader(data.Dataset(X[5:20], LABELS[5:20]), 5, shuffle=False).epoch(0))
    assert row["train_skipped"] == 1
    assert row["train_share"] == of_all(model, ts_of(model), taken)


def ts_of(model):
    return train.create(model, fx.optim.sgd(0.0), jax.random.key(0))


@pytest.mark.parametrize("steps_per_call", [1, 2])
def test_each_of_several_runs_has_its_own(steps_per_call):
    model = fx.nn.Linear(4, 3)
    step = train.make_step(
        model, cross_entropy, fx.optim.sgd(0.0), metrics=confusion, steps_per_call=steps_per_call
    )
    states = [train.create(model, step.optimizer, jax.random.key(seed)) for seed in range(3)]
    loaders = [data.Loader(data.Dataset(X[:20], LABELS[:20]), 5, seed=seed) for seed in range(3)]
    rows = []
    runs = train.fit_many(
        step, states, loaders, epochs=1, how="vmap", progress=False,
        callbacks=[lambda event: rows.append(event.values)],
    )  # fmt: skip
    loop = train.fit_many(step, states, loaders, epochs=1, how="loop", progress=False)
    expected = [of_all(model, ts, list(loader.epoch(0))) for ts, loader in zip(states, loaders)]
    assert list(runs.values("train_share")) == list(loop.values("train_share")) == expected
    assert rows[-1]["train_share"] == pytest.approx(np.mean(expected), rel=1e-12)
    assert sorted(runs.results[0].history[0]) == sorted(loop.results[0].history[0])


def test_targets_that_do_not_count_and_classes_that_there_are_not():
    logits = jnp.asarray(RNG.standard_normal((2, 9, 6)), jnp.float32).at[..., 4].set(-9)
    targets = RNG.integers(0, 4, (2, 9))
    ignored = np.where(RNG.random((2, 9)) < 0.3, -100, targets)
    found = evaluate.f1_metrics(logits, jnp.asarray(ignored))["f1"].value()
    counts = ignored >= 0
    named = np.argmax(logits, -1)[counts]
    assert float(found) == pytest.approx(f1_score(ignored[counts], named, average="macro"))


def test_one_logit_is_no_classes():
    with pytest.raises(ValueError, match=r"f1_metrics: expected .* got \[3, 1\]; .* jnp.stack"):
        evaluate.f1_metrics(jnp.zeros((3, 1)), jnp.zeros(3, jnp.int32))


def test_it_is_watched_and_computed_for_several_runs():
    model, loss, step, ts = made(3, metrics=evaluate.f1_metrics)
    loader = data.Loader(data.Dataset(X, LABELS), 8, seed=0)
    validate = train.make_eval(model, loss, loader, metrics=evaluate.f1_metrics)
    result = fx.fit(step, ts, loader, validate=validate, epochs=2, monitor="f1", progress=False)
    assert result.best["name"] == "val_f1" and result.best["value"] > 0

    runs = [train.create(model, step.optimizer, jax.random.key(seed)) for seed in (0, 1)]
    found = evaluate_together(validate, jax.tree.map(lambda *x: jnp.stack(x), *runs))
    assert found[1]["f1"] == pytest.approx(validate(runs[1])["f1"], abs=1e-6)


def test_lambdas_made_anew_do_not_matter():
    def metrics(outputs, targets):
        return {"mean": train.Sums([outputs.sum(), len(outputs)], lambda s: s[0] / s[1])}

    model, loss, _, ts = made(1)
    batches = [((X[:n], VALUES[:n]), np.ones(n, bool)) for n in (16, 7)]

    class Two:
        def padded(self):
            return iter(batches)

    outputs, _ = model.apply(ts.params, ts.state, np.concatenate([b[0][0] for b in batches]))
    found = train.make_eval(model, loss, Two(), metrics=metrics)(ts)
    assert found["mean"] == pytest.approx(float(outputs.mean()), abs=1e-6)


@pytest.mark.parametrize(
    ("loss", "metrics", "kind", "text"),
    [
        (lambda y, t: train.Sums({"y": y.sum()}, lambda s: s["y"]), None, TypeError,
         "loss_fn: expected a scalar or a train.Mean, got Sums, which are for metrics"),
        (mse_loss, lambda y, t: {"a": train.Sums(y.sum(0), lambda s: s[None])}, ValueError,
         "metrics: expected 'a' to be a scalar, got shape"),
        (mse_loss, lambda y, t: {"sums/a": y.sum()}, ValueError,
         "metrics: 'sums/a' is reported already; use another name"),
    ],
)  # fmt: skip
def test_what_is_no_metric(loss, metrics, kind, text):
    model = fx.nn.Linear(4, 1)
    step = train.make_step(model, loss, fx.optim.sgd(0.1), metrics=metrics)
    with pytest.raises(kind, match=text):
        step(train.create(model, step.optimizer, jax.random.key(0)), (X, VALUES))


def test_an_error_of_a_loss_says_that_it_sees_one_example_at_a_time():
    model = fx.nn.Linear(4, 1)
    validate = train.make_eval(
        model, lambda y, t: mse_loss(y, t[:, 0]), data.Loader(data.Dataset(X, VALUES), 8)
    )
    with pytest.raises(ValueError, match="mse_loss") as caught:
        validate(train.create(model, fx.optim.sgd(0.1), jax.random.key(0)))
    assert any("one example at a time, as a batch of one" in n for n in caught.value.__notes__)


def without_the_first(sums):
    """With a method that NumPy's arrays do not have."""
    return sums.at[0].set(0.0).sum() / sums[0]


def shares(outputs, targets):
    """The number of examples, and two sums."""
    both = jnp.stack([outputs.sum(), targets.sum()]).astype(jnp.float32)
    return {"share": train.Sums(jnp.append(jnp.float32(len(outputs)), both), without_the_first)}


def test_what_is_computed_of_sums_may_have_jaxs_methods():
    model, loss, step, ts = made(1, metrics=shares)
    loader = data.Loader(data.Dataset(X, VALUES), 5)
    outputs, _ = model.apply(ts.params, ts.state, X)
    validate = train.make_eval(model, loss, loader, metrics=shares)
    expected = float(outputs.sum() + VALUES.sum()) / len(X)
    assert validate(ts)["share"] == pytest.approx(expected, rel=1e-5)
    (row,) = fx.fit(step, ts, loader, epochs=1, validate=validate, progress=False).history
    assert np.isfinite(row["train_share"]) and np.isfinite(row["val_share"])


def test_an_error_of_what_is_computed_of_sums_stays():
    def wrong(sums):
        return sums.no_such_method()

    with pytest.raises(AttributeError, match="no_such_method"):
        evaluate.mean.computed(train.Sums(np.ones(2), wrong))
