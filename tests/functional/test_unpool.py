"""Maxima with their places, what undoes them, and the pools made of maxima and averages."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import assert_close, check, check_bfloat16, normal, sample

WINDOWS = [
    ((2, 3, 7, 6), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((2, 3, 9, 8), {"kernel_size": (2, 3), "stride": (3, 2), "padding": (1, 0), "ceil_mode": True}),
    ((3, 9), {"kernel_size": 2, "dilation": 2, "stride": 1}),
    ((2, 2, 5, 6, 4), {"kernel_size": 2, "padding": 1}),
]


def dims_of(shape):
    return max(len(shape) - 2, 1)


def pairs(ours, theirs):
    assert_close(ours[0], theirs[0])
    np.testing.assert_array_equal(ours[1], theirs[1].numpy())


@pytest.mark.parametrize("case", sample(WINDOWS, 2), ids=str)
@pytest.mark.parametrize("kind", ["ties", "nan", "infinite"])
def test_indices(case, kind):
    shape, arguments = case
    name, x = f"max_pool{dims_of(shape)}d", np.round(normal(*shape))
    if kind != "ties":
        x[..., :4] = {"nan": np.nan, "infinite": -np.inf}[kind]
    ours = jax.jit(lambda x: getattr(F, f"{name}_with_indices")(x, **arguments))(x)
    pairs(ours, getattr(TF, name)(torch.from_numpy(x), return_indices=True, **arguments))
    assert_close(getattr(F, name)(x, return_indices=True, **arguments)[0], ours[0])


@pytest.mark.parametrize("sizes", [(3, 4), (None, 1), (7, 9)])
def test_indices_of_adaptive_pooling(sizes):
    x = np.round(normal(2, 3, 7, 5))
    ours = jax.jit(lambda x: F.adaptive_max_pool2d(x, sizes, return_indices=True))(x)
    pairs(ours, TF.adaptive_max_pool2d(torch.from_numpy(x), sizes, return_indices=True))
    again = F.adaptive_max_pool1d_with_indices(x[0, 0], 3)
    pairs(again, TF.adaptive_max_pool1d_with_indices(torch.from_numpy(x[0, 0]), 3))


def test_gradient_passes_where_the_places_are_asked_for():
    check(
        lambda x: F.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
        lambda x: TF.max_pool2d(x, 3, 2, 1, return_indices=True)[0],
        np.round(normal(1, 2, 5, 6)),
    )


@pytest.mark.parametrize("window", [(2, 2, 0), (3, 2, 1)])
def test_unpool(window):
    """Where windows overlap, places repeat."""
    pooled, places = TF.max_pool2d(torch.from_numpy(normal(2, 2, 7, 6)), *window, return_indices=1)
    check(
        lambda x: F.max_unpool2d(x, jnp.asarray(places.numpy()), *window, output_size=(7, 6)),
        lambda x: TF.max_unpool2d(x, places, *window, output_size=(7, 6)),
        pooled,
    )


def test_unpool_drops_what_is_outside():
    y = F.max_unpool1d(jnp.array([[5.0, 6.0, 7.0]]), jnp.array([[0, -1, 6]]), 2)
    assert y.tolist() == [[5, 0, 0, 0, 0, 0]]


@pytest.mark.parametrize(
    "case",
    sample([(2, (3, 2), 2, True), (3.0, 2, None, False), (1.5, 2, 1, False), (np.inf, 2, 1, True),
            (-np.inf, 3, None, False)], 2),
    ids=str,
)  # fmt: skip
def test_lp_pool(case):
    check(
        lambda x: F.lp_pool2d(x, *case),
        lambda x: TF.lp_pool2d(x, *case),
        np.abs(normal(2, 2, 5, 6)) + 0.1,
    )


@pytest.mark.parametrize("batched", [True, False])
def test_fractional_pool(batched):
    samples = np.random.default_rng(0).random((2 if batched else 1, 3, 2)).astype(np.float32)
    x = np.round(normal(2, 3, 9, 7))[slice(None) if batched else 0]
    ours = jax.jit(
        lambda x: F.fractional_max_pool2d_with_indices(x, (2, 3), (4, 5), _random_samples=samples)
    )(x)
    theirs = TF.fractional_max_pool2d_with_indices(
        torch.from_numpy(x), (2, 3), (4, 5), _random_samples=torch.from_numpy(samples)
    )
    pairs(ours, theirs)


def test_fractional_pool_of_both_sizes_takes_the_size_as_torch_does():
    x, samples = normal(2, 3, 9, 8), np.full((2, 3, 2), 0.3, np.float32)
    ours = F.fractional_max_pool2d(jnp.asarray(x), 2, 3, 0.5, _random_samples=jnp.asarray(samples))
    theirs = TF.fractional_max_pool2d(
        torch.from_numpy(x), 2, 3, 0.5, _random_samples=torch.from_numpy(samples)
    )
    assert_close(ours, theirs)


def test_fractional_pool_draws_from_its_key():
    x = jnp.asarray(normal(2, 3, 20, 20))
    draw = jax.jit(lambda key: F.fractional_max_pool2d(x, 2, output_ratio=0.6, key=key))
    one, again, other = (draw(jax.random.key(i)) for i in (0, 0, 1))
    assert (one == again).all() and (one != other).any()


def test_low_precision_is_kept():
    check_bfloat16(lambda x: F.lp_pool2d(x, 2, 2), normal(2, 3, 4, 6))
    check_bfloat16(lambda x: F.local_response_norm(x, 3), normal(2, 5, 4))


def test_errors():
    x = jnp.ones((2, 3, 4, 4))
    with pytest.raises(ValueError, match=r"indices of its shape, got \[2, 3, 4, 4] and \[4, 4]"):
        F.max_unpool2d(x, jnp.zeros((4, 4), int), 2)
    with pytest.raises(TypeError, match=r"max_unpool2d: expected indices of integers, got float32"):
        F.max_unpool2d(x, x, 2)
    with pytest.raises(
        ValueError, match=r"output_size less than a stride \[2, 2] from \[8, 8], go"
    ):
        F.max_unpool2d(x, jnp.zeros(x.shape, int), 2, output_size=(8, 10))
    with pytest.raises(ValueError, match=r"expected an output of 1 or more along every axis, got"):
        F.max_unpool2d(x[..., :1], jnp.zeros((2, 3, 4, 1), int), 2, padding=1)
    with pytest.raises(ValueError, match=r"lp_pool2d: expected norm_type other than 0"):
        F.lp_pool2d(x, 0, 2)
    with pytest.raises(ValueError, match=r"fractional_max_pool2d: expected either output_size or"):
        F.fractional_max_pool2d(x, 2)
    with pytest.raises(ValueError, match=r"expected a key for its random windows, got none"):
        F.fractional_max_pool2d(x, 2, 2)
    with pytest.raises(ValueError, match=r"expected _random_samples \[2, 3, 2], got \[2]"):
        F.fractional_max_pool2d(x, 2, 2, _random_samples=jnp.ones(2))
    with pytest.raises(ValueError, match=r"of at most \[4, 4] for the input's \[4, 4]"):
        F.fractional_max_pool2d(x, 2, 4, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"of at most \[3, 3, 3] for the input's \[4, 4, 4]"):
        F.fractional_max_pool3d(jnp.ones((1, 4, 4, 4)), 2, 3, key=jax.random.key(0))
    with pytest.raises(ValueError, match=r"expected output_ratio of 2 numbers, got \(0.5,\)"):
        F.fractional_max_pool2d(x, 2, output_ratio=(0.5,))
    with pytest.raises(ValueError, match=r"fractional_max_pool2d: expected input \[N, C, H, W] or"):
        F.fractional_max_pool2d(x[0, 0], 2, 2)
    with pytest.raises(ValueError, match=r"local_response_norm: expected input \[N, C, ...], got"):
        F.local_response_norm(x[0, 0], 2)
    with pytest.raises(ValueError, match=r"local_response_norm: expected size of 1 or more, got 0"):
        F.local_response_norm(x, 0)
