"""A `train.Mean` weighs a batch by its weight: in an epoch's means, for one run and for several."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import data, nn, train
from fx.functional import cross_entropy

RNG = np.random.default_rng(0)
X = RNG.standard_normal((24, 4)).astype(np.float32)
LABELS = RNG.integers(0, 3, 24).astype(np.int32)
LABELS[:8] = -100  # the first batch has nothing that counts
LABELS[8:15] = -100
MODEL, STILL = nn.Linear(4, 3), fx.optim.sgd(0.0)


def loss_fn(outputs, targets):
    total = cross_entropy(outputs, targets, ignore_index=-100, reduction="sum")
    return train.Mean(total, jnp.sum(targets != -100))


def accuracy(outputs, targets):
    right = jnp.sum(outputs.argmax(1) == targets)
    return {
        "accuracy": train.Mean(right, jnp.sum(targets != -100)),
        "plain": jnp.mean(outputs.argmax(1) == targets, dtype=jnp.float32),
    }


def expected(params):
    outputs = X @ params["weight"].T + params["bias"]
    right = outputs.argmax(1) == LABELS
    return {
        "train_loss": cross_entropy(outputs, LABELS, ignore_index=-100),
        "train_accuracy": right.sum() / np.sum(LABELS != -100),
        "train_plain": right.mean(),
    }


def loader():
    return data.Loader(data.Dataset(X, LABELS), 8, shuffle=False)


@pytest.mark.parametrize("loss", [loss_fn, nn.CrossEntropyLoss()], ids=["own", "torch's"])
@pytest.mark.parametrize(
    "options", [{}, {"accumulate": 2}, {"steps_per_call": 2}, {"check_finite": True}]
)
def test_an_epochs_means_are_those_of_all_that_counts(options, loss, capsys):
    step = train.make_step(MODEL, loss, STILL, metrics=accuracy, **options)
    ts = train.create(MODEL, step.optimizer, jax.random.key(0))
    result = fx.fit(step, ts, loader(), epochs=1, log_every=1, progress=False)
    assert "nan" not in capsys.readouterr().out
    for name, value in expected(result.ts.params).items():
        assert result.history[0][name] == pytest.approx(float(value), rel=1e-6), name
    assert not any("weight" in name for name in result.history[0])


def test_several_runs_have_theirs():
    step = train.make_step(MODEL, loss_fn, STILL, metrics=accuracy)
    states = [train.create(MODEL, STILL, jax.random.key(seed)) for seed in (0, 1)]
    runs = train.fit_many(step, states, loader(), epochs=1, how="vmap", progress=False)
    for ts, result in zip(states, runs.results):
        for name, value in expected(ts.params).items():
            assert result.history[0][name] == pytest.approx(float(value), rel=1e-6), name


def test_it_is_no_overflow_of_fp16():
    step = train.make_step(MODEL, nn.CrossEntropyLoss(), STILL, precision="fp16")
    ts = train.create(MODEL, step.optimizer, jax.random.key(0))
    _, metrics = step(ts, (X[:8], LABELS[:8]))
    assert not metrics["skipped"] and metrics["loss"] == 0


def test_a_weight_of_nothing_is_a_metric_as_others():
    def step(ts, batch):
        return ts.replace(step=ts.step + 1), {"loss": jnp.float32(2), "weight/norm": jnp.float32(3)}

    ts = train.create(MODEL, STILL, jax.random.key(0))
    (row,) = fx.fit(step, ts, loader(), epochs=1, progress=False).history
    assert row["train_loss"] == 2 and row["train_weight/norm"] == 3


@pytest.mark.parametrize("accumulate", [1, 2])
def test_a_batch_in_which_nothing_counts_trains_nothing(accumulate):
    step = train.make_step(
        MODEL, loss_fn, fx.optim.sgd(0.1), metrics=accuracy, accumulate=accumulate, donate=False
    )
    ts = train.create(MODEL, step.optimizer, jax.random.key(0))
    after, metrics = step(ts, (X[:8], LABELS[:8]))
    chex.assert_trees_all_equal(after.params, ts.params)
    assert metrics["loss"] == 0 and metrics["weight/loss"] == 0 and np.isnan(metrics["accuracy"])
    _, metrics = step(ts, (X[8:16], LABELS[8:16]))
    assert metrics["weight/loss"] == metrics["weight/accuracy"] == 1
    assert "weight/plain" not in metrics


def test_the_name_is_taken():
    step = train.make_step(MODEL, loss_fn, STILL, metrics=lambda y, t: {"weight/loss": y.sum()})
    with pytest.raises(ValueError, match="metrics: 'weight/loss' is reported already"):
        step(train.create(MODEL, STILL, jax.random.key(0)), (X, LABELS))
