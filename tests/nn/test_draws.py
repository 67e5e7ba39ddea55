"""Draws of initial weights are those of jax.random, to the bit, however they are compiled."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fx.nn import draws, init

SHAPE = (64, 33, 3, 3)  # large enough for a program that is split among threads
LAST = {"xla_backend_optimization_level": "3"}  # what XLA does unless told


@pytest.fixture(autouse=True)
def no_level_is_chosen(monkeypatch):
    monkeypatch.delenv("JAX_DISABLE_MOST_OPTIMIZATIONS", raising=False)


def theirs(key, dtype):
    low, high = (jnp.asarray(bound, dtype) for bound in (-0.9, 0.3))
    uniform, normal, truncated = (
        jax.jit(draw, static_argnums=(1, 2), compiler_options=LAST)
        for draw in (jax.random.uniform, jax.random.normal, draws._truncated)
    )
    return (
        uniform(key, SHAPE, dtype, low, high),
        normal(key, SHAPE, dtype),
        truncated(key, SHAPE, dtype, low, high),
    )


def ours(key, dtype):
    return (
        draws.uniform(key, SHAPE, dtype, -0.9, 0.3),
        draws.normal(key, SHAPE, dtype),
        draws.truncated_normal(key, -0.9, 0.3, SHAPE, dtype),
    )


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("key", [jax.random.key(3), jax.random.PRNGKey(3)], ids=["key", "raw"])
def test_equal_to_those_of_jax(key, dtype):
    for a, b in zip(ours(key, dtype), theirs(key, dtype), strict=True):
        assert a.dtype == b.dtype == dtype
        np.testing.assert_array_equal(np.asarray(a, np.float32), np.asarray(b, np.float32))


def test_equal_in_float64(x64):
    for a, b in zip(ours(jax.random.key(0), "float64"), theirs(jax.random.key(0), "float64")):
        np.testing.assert_array_equal(a, b, strict=True)


def test_a_traced_key_is_drawn_from_as_well():
    keys = jax.random.split(jax.random.key(1), 2)
    several = jax.jit(jax.vmap(lambda key: draws.uniform(key, SHAPE, "float32", -1, 1)))(keys)
    for key, drawn in zip(keys, several, strict=True):
        np.testing.assert_array_equal(draws.uniform(key, SHAPE, "float32", -1, 1), drawn)


def test_a_shape_is_compiled_once_whatever_its_bounds():
    before = draws._compiled._cache_size()
    for a in (0.25, 0.5):
        init.uniform(-a, a)(jax.random.key(0), (5, 7, 11), jnp.float32)
    assert draws._compiled._cache_size() == before + 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JAX_DISABLE_MOST_OPTIMIZATIONS", "1"),
        ("XLA_FLAGS", "--xla_backend_optimization_level=1"),
    ],
)
def test_a_level_that_is_chosen_stays(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    before = draws._compiled._cache_size()
    init.uniform(-1, 1)(jax.random.key(0), (3, 7, 13), jnp.float32)
    assert draws._compiled._cache_size() == before
