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
