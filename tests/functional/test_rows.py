"""Sums over rows, folded on a CPU: as exact as they can be, and derivatives of all kinds."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export
from jax.test_util import check_grads

from fx.functional.once import computed_once
from fx.functional.rows import spread, spread_tangent, sum_rows
from tests.functional.check import assert_close, normal

SHAPES = [(3,), (5, 3), (128, 4), (37, 11, 2), (100, 7, 7, 3), (64, 8, 8, 5), (10007, 2), (0, 3)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_as_exact_as_a_pairwise_sum(shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32) + 10
    axes = tuple(range(len(shape) - 1))
    exact = x.astype(np.float64).sum(axes)
    error = np.abs(np.asarray(sum_rows(jnp.asarray(x)), np.float64) - exact).max()
    assert error <= 2e-6 * np.abs(exact).max()


@pytest.mark.parametrize("shape", SHAPES[:-1], ids=str)
def test_spreading_and_summing_are_transposes(shape):
    x, v = normal(*shape), normal(shape[-1], seed=1)
    assert_close(spread(v, shape), np.broadcast_to(v, shape))
    for function in (spread, spread_tangent):
        y, pull = jax.vjp(lambda v: function(v, shape), v)
        assert_close(y, np.broadcast_to(v, shape))
        assert_close(pull(x)[0], np.asarray(x).sum(tuple(range(len(shape) - 1))))
    assert_close(jax.vjp(sum_rows, x)[1](v)[0], np.broadcast_to(v, shape))


def test_narrow_floats_are_summed_in_float32():
    x = jnp.ones((64, 9, 2), jnp.bfloat16)  # 257 and above have no bfloat16 of their own
    (gradient,) = jax.vjp(lambda v: spread(v, x.shape), x[0, 0])[1](x)
    assert sum_rows(x).tolist() == gradient.tolist() == [576.0, 576.0]
    assert gradient.dtype == sum_rows(x).dtype == jnp.bfloat16


@pytest.mark.full
def test_all_derivatives_and_batching():
    with jax.enable_x64(True):
        v = jnp.asarray(normal(3), jnp.float64)

        def run(v):
            return sum_rows(jnp.sin(spread(v, (8, 9, 3)) * computed_once(v)))

        check_grads(run, (v,), order=2, modes=("fwd", "rev"), rtol=1e-6)
        batch = jnp.stack([v, 2 * v])
        assert_close(
            jax.vmap(jax.grad(lambda v: run(v).sum()))(batch)[1], jax.jacrev(run)(2 * v).sum(0)
        )


def test_computed_once_changes_nothing():
    x = jnp.asarray([1.0, -0.0, jnp.inf, jnp.nan])
    y, tangent = jax.jvp(computed_once, (x,), (jnp.ones(4),))
    assert_close(y, x)
    assert tangent.tolist() == [1.0] * 4 and np.signbit(y[1])
    assert computed_once(jnp.arange(3)).dtype == jnp.int32


def test_one_export_for_all_platforms():
    def run(x):
        return jax.grad(lambda x: jnp.sum(jnp.sin(spread(sum_rows(computed_once(x)), x.shape))))(x)

    x = normal(40, 5, 3)
    exported = export.export(jax.jit(run), platforms=("cpu", "cuda", "tpu"))(x)
    assert_close(exported.call(x), run(x))


def test_what_is_summed_is_computed_in_the_loop_that_sums():
    """One pass over the input, nothing of its size is written, and no sum with strides."""
    compiled = jax.jit(lambda x: sum_rows(jnp.square(x - 1))).lower(jnp.ones((64, 32, 32, 8)))
    text = str(compiled.compile().as_text())
    written = re.findall(r"^  %?\S+ = f32\[64,32,32,8\]\S* (\w+)\(", text.split("ENTRY")[1], re.M)
    assert written == ["parameter"] and "reduce-window" not in text
