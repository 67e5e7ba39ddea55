"""Constructors that compute with what they have declared."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fx import nn

KEY = jax.random.key(0)


class Blur(nn.Module):
    def __init__(self, factor=2):
        kernel = jnp.outer(jnp.arange(1.0, 4.0), jnp.arange(1.0, 4.0))
        self.register_buffer("kernel", kernel / kernel.sum())
        self.kernel = nn.Buffer(self.kernel * factor**2)
        self.row = nn.Buffer(self.kernel[0].reshape(3, 1), persistent=False)
        self.mask = nn.Buffer((self.kernel > 0.3) & (self.kernel < 0.8))
        self.joined = nn.Buffer(jnp.concatenate([self.row, -self.row]))
        self.roots = nn.Buffer(np.sqrt(self.kernel))
        self.first = nn.Buffer(self.kernel.at[0].set(0.0))
        self.copy = nn.Parameter(self.kernel)
        self.flat = nn.Buffer(jnp.ones(3), persistent=False)
        self.weight = nn.Parameter((3,), nn.init.normal())


def test_what_a_constructor_computes_with_buffers():
    model = Blur()
    params, state = model.init(KEY)
    kernel = np.outer([1.0, 2, 3], [1.0, 2, 3]).astype(np.float32) / 36 * 4
    expected = {
        "kernel": kernel, "row": kernel[0].reshape(3, 1), "mask": (kernel > 0.3) & (kernel < 0.8),
        "joined": np.concatenate([kernel[0], -kernel[0]])[:, None], "roots": np.sqrt(kernel),
        "first": kernel * np.array([[0], [1], [1]], np.float32), "flat": np.ones(3, np.float32),
    }  # fmt: skip
    assert state.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(state[name], value, rtol=1e-6, err_msg=name)
        assert state[name].dtype == value.dtype
    np.testing.assert_array_equal(params["copy"], state["kernel"])


def test_the_description_is_what_it_was():
    model = Blur()
    assert model == Blur() != Blur(3) and hash(model) == hash(Blur())
    assert pickle.loads(pickle.dumps(model)) == copy.deepcopy(model) == model


@pytest.mark.parametrize("compute", [
    lambda b: b + 1, lambda b: 2 - b, lambda b: b @ b, lambda b: 3 / b, lambda b: b**2,
    lambda b: 2**b, lambda b: -b, lambda b: abs(b), lambda b: b % 2, lambda b: b // 2,
    lambda b: b >= b, lambda b: jnp.arange(3.0) * b, lambda b: b + b, lambda b: b.sum(),
    lambda b: b.T, lambda b: b[1], lambda b: jnp.stack([*b]), lambda b: np.exp(b), jnp.asarray,
])  # fmt: skip
def test_each_operation_is_that_of_the_array(compute):
    array = jnp.arange(1.0, 4.0)
    given, expected = compute(nn.Buffer(array)), compute(array)
    np.testing.assert_array_equal(given, expected)
    assert given.dtype == expected.dtype


def test_what_is_drawn_has_no_values_in_a_constructor():
    weight = nn.Parameter((3,), nn.init.normal(std=0.02))
    said = r"Parameter: its values are drawn when params are made, by normal\(std=0.02\)"
    for compute in (lambda: weight * 2, lambda: nn.Buffer(weight), lambda: list(weight)):
        with pytest.raises(TypeError, match=said):
            compute()
    with pytest.raises(AttributeError, match=said):
        weight.sum()
    with pytest.raises(TypeError, match="not a valid JAX type"):
        jnp.exp(weight)


def test_names_that_no_array_has():
    with pytest.raises(AttributeError, match="'Buffer' object has no attribute 'storage'"):
        nn.Buffer(jnp.ones(3)).storage()


def test_zeros_and_ones_are_known():
    np.testing.assert_array_equal(nn.Buffer((2,), nn.init.ones) * 3, [3.0, 3.0])
    np.testing.assert_array_equal(nn.Parameter(2, nn.init.zeros) + 1, [1.0, 1.0])


def test_an_array_that_is_not_declared_again_is_refused():
    class Doubled(nn.Module):
        def __init__(self):
            self.scale = nn.Buffer(jnp.ones(3))
            self.scale = self.scale * 2

    with pytest.raises(TypeError, match="declare self.scale = nn.Buffer"):
        Doubled()
