import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import torch

from fx import optim
from tests.optim.wrapping import check_in_training


def grads(scale=1.0, dtype=np.float64):
    rng = np.random.default_rng(0)
    shapes = {"weight": (5, 3), "bias": (3,), "scale": ()}
    return {name: np.asarray(scale * rng.normal(size=s), dtype) for name, s in shapes.items()}


def in_torch(values, clip):
    """What torch leaves in .grad, and what it returns."""
    parameters = []
    for value in values.values():
        parameter = torch.nn.Parameter(torch.zeros(np.shape(value), dtype=torch.float64))
        parameter.grad = torch.tensor(np.asarray(value, np.float64))
        parameters.append(parameter)
    returned = clip(parameters)
    return {n: p.grad.numpy() for n, p in zip(values, parameters)}, returned


@pytest.mark.parametrize("norm_type", [2, 2.0, 1, math.inf, 3, 0.5])
@pytest.mark.parametrize("max_norm", [0.0, 1e-3, 1.0, 1e4])
def test_clipping_by_norm_is_torchs(x64, norm_type, max_norm):
    expected, norm = in_torch(
        grads(), lambda p: torch.nn.utils.clip_grad_norm_(p, max_norm, norm_type)
    )
    values = jax.tree.map(jnp.asarray, grads())
    clipped, our_norm = optim.clip_grad_norm(values, max_norm, norm_type)
    np.testing.assert_allclose(our_norm, norm.item(), rtol=1e-14)
    updates, _ = optim.clip_by_norm(max_norm, norm_type).update(values, optax.EmptyState())
    for name in expected:
        np.testing.assert_allclose(clipped[name], expected[name], rtol=1e-14)
        np.testing.assert_array_equal(updates[name], clipped[name])


def test_optax_differs_in_the_last_digits(x64):
    values = jax.tree.map(jnp.asarray, grads())
    theirs, _ = optax.clip_by_global_norm(1.0).update(values, optax.EmptyState())
    ours, norm = optim.clip_grad_norm(values, 1.0)
    np.testing.assert_allclose(ours["weight"] * (norm + 1e-6), theirs["weight"] * norm, rtol=1e-14)
    assert not np.allclose(ours["weight"], theirs["weight"], rtol=1e-8, atol=0)


@pytest.mark.parametrize("bad", [np.inf, np.nan])
@pytest.mark.parametrize("norm_type", [2, math.inf])
def test_a_norm_that_is_not_finite_is_torchs(x64, bad, norm_type):
    values = grads()
    values["weight"][0, 0] = bad
    expected, norm = in_torch(values, lambda p: torch.nn.utils.clip_grad_norm_(p, 1.0, norm_type))
    clipped, our_norm = optim.clip_grad_norm(jax.tree.map(jnp.asarray, values), 1.0, norm_type)
    np.testing.assert_equal(float(our_norm), norm.item())
    for name in expected:
        np.testing.assert_allclose(clipped[name], expected[name])


def test_clipping_by_value_is_torchs(x64):
    expected, _ = in_torch(grads(), lambda p: torch.nn.utils.clip_grad_value_(p, 0.3))
    values = jax.tree.map(jnp.asarray, grads())
    clipped = optim.clip_grad_value(values, 0.3)
    updates, _ = optim.clip_by_value(0.3).update(values, optax.EmptyState())
    for name in expected:
        np.testing.assert_array_equal(clipped[name], expected[name])
        np.testing.assert_array_equal(updates[name], expected[name])


def test_dtypes_stay_and_a_bfloat16_norm_is_taken_in_float32():
    values = {"a": jnp.full(1000, 0.01, jnp.bfloat16), "b": jnp.zeros((0, 3)), "c": jnp.ones(2)}
    clipped, norm = jax.jit(lambda g: optim.clip_grad_norm(g, 0.5))(values)
    assert norm.dtype == jnp.float32
    a = np.float32(values["a"][0])
    np.testing.assert_allclose(norm, np.sqrt(1000 * a**2 + 2), rtol=1e-6)
    assert jax.tree.map(lambda g: g.dtype, clipped) == jax.tree.map(lambda g: g.dtype, values)
    assert float(optim.clip_grad_norm({}, 1.0)[1]) == 0.0


@pytest.mark.full
def test_in_training():
    links = optim.clip_by_norm(0.5), optim.clip_by_value(0.1), optim.adam(0.01)
    check_in_training(optax.chain(*links))


@pytest.mark.parametrize(
    "make, text",
    [
        (lambda: optim.clip_by_norm(-1.0), "clip_by_norm: expected max_norm >= 0, got -1.0"),
        (lambda: optim.clip_by_norm(1.0, 0), "clip by norm: expected norm_type > 0, got 0"),
        (lambda: optim.clip_by_value(-1.0), "clip_by_value: expected clip_value >= 0, got -1.0"),
        (lambda: optim.clip_grad_norm({}, -1), "clip_grad_norm: expected max_norm >= 0, got -1"),
        (lambda: optim.clip_grad_value({}, -1), "clip_grad_value: expected clip_value >= 0, got"),
    ],
)
def test_errors(make, text):
    with pytest.raises(ValueError, match=text):
        make()
