"""Layers that behave otherwise in training: running statistics over steps, and dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import nn
from tests.functional.check import assert_close

KEY = jax.random.key(0)

STATEFUL = [
    ("BatchNorm1d", {}, (4, 3)),
    ("BatchNorm2d", {"momentum": None}, (2, 3, 2, 2)),
    ("BatchNorm2d", {"momentum": 0.3, "affine": False}, (2, 3, 2, 2)),
    ("BatchNorm3d", {}, (2, 3, 2, 1, 2)),
    ("InstanceNorm1d", {"track_running_stats": True}, (2, 3, 4)),
    ("InstanceNorm2d", {"track_running_stats": True, "affine": True}, (3, 2, 4)),
]


@pytest.mark.parametrize(("name", "kwargs", "shape"), STATEFUL, ids=lambda v: str(v)[:40])
def test_statistics_over_steps_equal_torchs(name, kwargs, shape):
    """Six batches in training, each with other moments, then evaluation."""
    model, twin = getattr(nn, name)(3, **kwargs), getattr(torch.nn, name)(3, **kwargs)
    params, state = model.init(KEY)
    step = jax.jit(lambda state, x: model.apply(params, state, x, train=True))
    rng = np.random.default_rng(0)
    for i in range(6):
        x = rng.normal(i, 1 + i, size=shape).astype(np.float32)
        output, state = step(state, x)
        assert_close(output, twin(torch.from_numpy(x)), what=f"output of step {i}", factor=5)
    assert step._cache_size() == 1
    for part, theirs in twin.state_dict().items():
        assert_close(fx.state_dict(model, params, state)[part], theirs, what=part)
    output, after = model.apply(params, state, x)
    assert_close(output, twin.eval()(torch.from_numpy(x)), what="evaluation")
    jax.tree.map(np.testing.assert_array_equal, after, state)


def test_without_running_statistics_there_is_no_state():
    model = nn.BatchNorm2d(3, affine=False, track_running_stats=False)
    assert model.init(KEY) == ({}, {})
    x = jnp.arange(24.0).reshape(2, 3, 2, 2)
    (train, _), (test, _) = (model.apply({}, {}, x, train=t) for t in (True, False))
    np.testing.assert_array_equal(train, test)


def test_batch_norm_computes_wide_and_keeps_its_state_wide():
    """bfloat16 in and out, float32 weights and statistics: torch's mixed precision."""
    model, twin = nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    params, state = model.init(KEY)
    x = np.random.default_rng(0).normal(100, 1, size=(64, 3)).astype(np.float32)
    output, state = model.apply(params, state, jnp.asarray(x, jnp.bfloat16), train=True)
    theirs = twin(torch.from_numpy(x).bfloat16())
    assert output.dtype == jnp.bfloat16 and state["running_mean"].dtype == jnp.float32
    assert_close(output.astype(jnp.float32), theirs.float(), "bfloat16")
    assert_close(state["running_mean"], twin.running_mean)


DROPPING = [
    (nn.Dropout(0.3), (200, 50), (200, 50)),
    (nn.Dropout1d(0.3), (100, 40, 3), (100, 40, 1)),
    (nn.Dropout2d(0.3), (100, 40, 2, 3), (100, 40, 1, 1)),
    (nn.Dropout3d(0.3), (100, 40, 2, 1, 3), (100, 40, 1, 1, 1)),
]


@pytest.mark.parametrize(("layer", "shape", "mask_shape"), DROPPING, ids=lambda v: str(v)[:30])
def test_dropout_drops_a_share_of_whole_channels(layer, shape, mask_shape):
    run = jax.jit(lambda key: layer.apply({}, {}, jnp.ones(shape), train=True, key=key)[0])
    first, again, other = run(KEY), run(KEY), run(jax.random.key(1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()
    mask = first[tuple(slice(n) for n in mask_shape)]
    np.testing.assert_array_equal(first, jnp.broadcast_to(mask, shape))
    np.testing.assert_allclose(np.unique(mask), [0, 1 / 0.7], rtol=1e-6)
    share = float((mask == 0).mean())
    assert abs(share - 0.3) < 5 * np.sqrt(0.3 * 0.7 / mask.size)


def test_alpha_dropout_keeps_mean_and_variance():
    x = jax.random.normal(KEY, (200, 500))
    y, _ = nn.AlphaDropout(0.2).apply({}, {}, x, train=True, key=jax.random.key(1))
    assert abs(float(y.mean())) < 0.02 and abs(float(y.std()) - 1) < 0.02
    assert (y != x).any()


@pytest.mark.parametrize(
    "layer", [nn.Dropout(), nn.Dropout1d(), nn.Dropout2d(), nn.Dropout3d(), nn.AlphaDropout()]
)
def test_evaluation_passes_through_and_training_needs_a_key(layer):
    x = jnp.ones((2, 3, 2, 2, 2)[: {"Dropout1d": 3, "Dropout2d": 4}.get(type(layer).__name__, 5)])
    assert layer.apply({}, {}, x)[0] is x
    with pytest.raises(ValueError, match=f"{type(layer).__name__}: expected a key"):
        layer.apply({}, {}, x, train=True)


@pytest.mark.parametrize(("p", "value"), [(0.0, 1.0), (1.0, 0.0)])
def test_nothing_random_needs_no_key(p, value):
    output, _ = nn.Dropout(p).apply({}, {}, jnp.ones(3), train=True)
    assert output.tolist() == [value] * 3


def test_dropout_masks_differ_between_calls_and_places():
    class Twice(nn.Module):
        def __init__(self):
            self.a, self.b = nn.Dropout(), nn.Dropout()

        def forward(self, x):
            return self.a(x), self.a(x), self.b(x)

    masks, _ = Twice().apply({}, {}, jnp.ones(64), train=True, key=KEY)
    assert len({tuple(mask.tolist()) for mask in masks}) == 3


def test_masks_under_vmap_equal_those_of_a_loop():
    keys, x = jax.random.split(KEY, 3), jnp.ones(16)

    def run(key):
        return nn.Dropout().apply({}, {}, x, train=True, key=key)[0]

    np.testing.assert_array_equal(jax.vmap(run)(keys), jnp.stack([run(k) for k in keys]))
