"""Data without targets: loss and metrics get what went into the model in their place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import data, debug, nn, train
from tests.train.tiny_run import assert_same_bits

X = np.random.default_rng(0).normal(2.0, 3.0, (24, 6)).astype(np.float32)
MODEL = nn.Sequential(nn.Linear(6, 3), nn.Tanh(), nn.Linear(3, 6))
OPTIMIZER = fx.optim.adam(1e-2)


def scale(inputs, key):
    return (inputs - 2.0) * 0.25  # exact, compiled or not


def loss_fn(outputs, targets):
    return jnp.mean((outputs - targets) ** 2)


def far(outputs, targets):
    return {"far": jnp.mean(jnp.abs(outputs - targets) > 1, dtype=jnp.float32)}


def fit(inputs, targets, transform, **options):
    loader = data.Loader(data.Dataset(inputs, targets), 8, seed=1, **options)
    step = train.make_step(MODEL, loss_fn, OPTIMIZER, metrics=far, transform=transform)
    validate = train.make_eval(MODEL, loss_fn, loader, metrics=far, transform=transform)
    ts = train.create(MODEL, OPTIMIZER, jax.random.key(0))
    return fx.fit(step, ts, loader, validate=validate, epochs=2, progress=False), step, loader


def test_the_loss_gets_the_transformed_inputs():
    found, step, loader = fit(X, None, scale)
    expected, _, _ = fit(scale(X, None), scale(X, None), None)
    assert_same_bits(found.ts.params, expected.ts.params)
    for row, other in zip(found.history, expected.history, strict=True):
        assert row == pytest.approx(other, rel=1e-6)
    outputs, targets = train.predict(
        MODEL, found.ts.params, found.ts.state, loader, transform=scale
    )
    assert outputs.shape == (24, 6) and targets is None
    batch = next(iter(loader.epoch(0)))
    assert batch[1] is None
    seen = debug.inspect_step(MODEL, loss_fn, found.ts, batch, transform=scale)
    assert seen.loss == pytest.approx(float(step(found.ts, batch)[1]["loss"]), rel=1e-5)


@pytest.mark.parametrize("options", [{"on_device": True}, {"workers": 2, "transform": lambda e: e}])
def test_every_loader_takes_them(options):
    whole = [x for x, _ in data.Loader(data.Dataset(X), 8, seed=1).epoch(0)]
    found = list(data.Loader(data.Dataset(X), 8, seed=1, **options).epoch(0))
    assert all(y is None for _, y in found)
    np.testing.assert_array_equal(whole, [x for x, _ in found])
    stream = data.StreamLoader([(x, None) for x in X], 8)
    (first, mask) = next(iter(stream.padded()))
    assert first[1] is None and mask.all()
    np.testing.assert_array_equal(first[0], X[:8])


def test_a_dataset_without_targets_splits_but_not_by_class():
    whole = data.Dataset(X)
    assert repr(whole) == "Dataset(inputs=float32[24,6], targets=None, classes=0)"
    first, _ = data.random_split(whole, (0.5, 0.5), seed=0)
    assert first.targets is None and len(first) == 12
    with pytest.raises(ValueError, match="expected a data set with targets at hand, got Dataset"):
        data.stratified_split(whole, (0.5, 0.5))
    with pytest.raises(data.ReadError, match=r"and one without a target is \(input, None\)"):
        next(data.Loader(data.Examples(list(X)), 8).epoch(0))
