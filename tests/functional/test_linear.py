import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import assert_close, check, check_bfloat16, normal

INDICES = np.array([[2, 0, 4], [2, 2, 1]])


@pytest.mark.parametrize("shape", [(3,), (4, 3), (2, 5, 3)])
def test_linear(shape):
    check(F.linear, TF.linear, normal(*shape), normal(5, 3, seed=1), normal(5, seed=2))


def test_linear_without_bias_or_output_axis():
    check(F.linear, TF.linear, normal(4, 3), normal(5, 3, seed=1))
    check(F.linear, TF.linear, normal(4, 3), normal(3, seed=1))


def test_bilinear():
    arrays = normal(4, 3), normal(4, 2, seed=1), normal(5, 3, 2, seed=2), normal(5, seed=3)
    check(F.bilinear, TF.bilinear, *arrays)


@pytest.mark.parametrize("padding_idx", [None, 2, -1])
def test_embedding(padding_idx):
    check(
        lambda w: F.embedding(jnp.asarray(INDICES, jnp.int32), w, padding_idx),
        lambda w: TF.embedding(torch.from_numpy(INDICES), w, padding_idx),
        normal(5, 3),
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
def test_embedding_of_an_index_outside_is_nan(dtype):
    # 200 rows: in int8 a negative number's replacement must not be one of them.
    index = np.array([0, 127 if dtype == np.int8 else 199], dtype)
    assert jnp.isfinite(F.embedding(index, normal(200, 2))).all()
    outside = np.array([-1 if dtype != np.uint8 else 255], dtype)
    assert jnp.isnan(jax.jit(F.embedding)(outside, normal(200, 2))).all()


def test_one_hot():
    ours = F.one_hot(jnp.asarray(INDICES, jnp.int32))
    assert_close(ours, TF.one_hot(torch.from_numpy(INDICES)))
    assert_close(F.one_hot(INDICES, 7), TF.one_hot(torch.from_numpy(INDICES), 7))
    assert_close(jax.jit(lambda t: F.one_hot(t, 7))(INDICES), F.one_hot(INDICES, 7))
    assert ours.dtype == jnp.int32
    assert F.one_hot(np.array([255], np.uint8), 300).argmax() == 255
    assert not jax.jit(lambda t: F.one_hot(t, 3))(jnp.array([-1, 3])).any()
    assert jax.jit(lambda: F.one_hot(INDICES))().shape == F.one_hot(INDICES).shape
    assert F.one_hot(jnp.zeros((0, 2), int), 3).shape == (0, 2, 3)


def test_low_precision_is_kept():
    check_bfloat16(F.linear, normal(4, 3), normal(5, 3, seed=1), normal(5, seed=2))
    check_bfloat16(lambda w: F.embedding(INDICES, w), normal(5, 3))


def test_errors():
    w = jnp.ones((5, 3))
    with pytest.raises(ValueError, match=r"linear: expected input \[..., 3], got \[2, 4]; flatten"):
        F.linear(jnp.ones((2, 4)), w)
    with pytest.raises(ValueError, match=r"bilinear: expected inputs \[..., 3] and \[..., 2] with"):
        F.bilinear(jnp.ones((4, 3)), jnp.ones((5, 2)), jnp.ones((5, 3, 2)))
    with pytest.raises(TypeError, match=r"embedding: expected integer input, got float32"):
        F.embedding(w, w)
    with pytest.raises(ValueError, match=r"padding_idx within the 5 rows of the weight, got 5"):
        F.embedding(INDICES, w, 5)
    with pytest.raises(
        ValueError, match=r"one_hot: expected num_classes, got -1 under a transform"
    ):
        jax.jit(F.one_hot)(INDICES)
    with pytest.raises(TypeError, match=r"one_hot: expected integer input, got float32"):
        F.one_hot(w)
    with pytest.raises(ValueError, match=r"one_hot: expected num_classes of 1 or more, got 0"):
        F.one_hot(INDICES, 0)
    with pytest.raises(ValueError, match=r"one_hot: expected values in \[0, 3\), got 0 to 3; give"):
        F.one_hot(jnp.array([0, 3]), 3)
    with pytest.raises(ValueError, match=r"one_hot: expected values in \[0, 2\), got -1 to 1"):
        F.one_hot(np.array([-1, 1]))
