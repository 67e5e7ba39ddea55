import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF
from jax import export

from fx import functional as F
from tests.functional.check import check, check_bfloat16, normal, sample

CASES = [
    ("bilinear", "zeros", False),
    ("bicubic", "reflection", True),
    ("bilinear", "border", True),
]
CASES += [
    case
    for case in itertools.product(
        ("bilinear", "nearest", "bicubic"), ("zeros", "border", "reflection"), (True, False)
    )
    if case not in CASES
]


@pytest.mark.parametrize("case", sample(CASES, 2), ids=str)
def test_grid_sample(case):
    check(
        lambda x, g: F.grid_sample(x, g, *case),
        lambda x, g: TF.grid_sample(x, g, *case),
        normal(2, 3, 4, 5),
        normal(2, 3, 2, 2, scale=0.9),
        second=False,
    )


@pytest.mark.full
@pytest.mark.parametrize("case", [c for c in CASES if c[0] != "bicubic"], ids=str)
def test_volumes(case):
    check(
        lambda x, g: F.grid_sample(x, g, *case),
        lambda x, g: TF.grid_sample(x, g, *case),
        normal(2, 3, 4, 1, 3),
        normal(2, 3, 2, 1, 3, scale=0.9),
        second=False,
    )


@pytest.mark.parametrize("size", sample([(2, 1, 3, 4), (2, 1, 3, 2, 5), (2, 1, 3, 1)], 2), ids=str)
@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.filterwarnings("ignore:Since version 1.3.0, affine_grid behavior")
def test_affine_grid(size, corners):
    dims = len(size) - 2
    check(
        lambda t: F.affine_grid(t, size, corners),
        lambda t: TF.affine_grid(t, list(size), corners),
        normal(2, dims, dims + 1),
    )


def test_affine_grid_of_any_batch():
    (batch,) = export.symbolic_shape("b")
    theta = jax.ShapeDtypeStruct((batch, 2, 3), jnp.float32)
    grid = jax.eval_shape(lambda t: F.affine_grid(t, (t.shape[0], 3, 4, 5)), theta)
    assert grid.shape == (batch, 4, 5, 2)


def test_identity_gives_the_image_back():
    x = jnp.asarray(normal(1, 2, 4, 5))
    grid = F.affine_grid(jnp.eye(2, 3)[None], x.shape)
    assert jnp.allclose(F.grid_sample(x, grid), x, atol=1e-5)


def test_low_precision_is_kept_and_empty_batches_pass():
    grid = jnp.asarray(normal(2, 3, 2, 2, scale=0.5), jnp.bfloat16)
    check_bfloat16(lambda x: F.grid_sample(x, grid.astype(x.dtype)), normal(2, 3, 4, 5))
    assert F.grid_sample(jnp.ones((0, 3, 4, 5)), jnp.ones((0, 6, 7, 2))).shape == (0, 3, 6, 7)


@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_what_is_read_at_infinity_gives_the_image_no_gradient(mode):
    x, grid = jnp.asarray(normal(1, 2, 3, 3)), np.zeros((1, 1, 2, 2), np.float32)
    grid[0, 0, 0] = 0.2, np.inf
    gradient = jax.grad(lambda x: F.grid_sample(x, grid, mode).sum())(x)
    alone = jax.grad(lambda x: F.grid_sample(x, grid[:, :, 1:], mode).sum())(x)
    assert (gradient == alone).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("padding_mode", ["zeros", "border", "reflection"])
@pytest.mark.parametrize("mode", ["bilinear", "nearest", "bicubic"])
def test_what_is_read_at_no_place_is_torchs(mode, padding_mode, value):
    x, grid = normal(1, 2, 3, 4), np.zeros((1, 2, 2, 2), np.float32)
    grid[0, 0, 0, 0] = grid[0, 1, 0, 1] = value
    options = {"mode": mode, "padding_mode": padding_mode, "align_corners": False}
    theirs = torch.nn.functional.grid_sample(torch.tensor(x), torch.tensor(grid), **options)
    np.testing.assert_allclose(F.grid_sample(x, grid, **options), theirs, rtol=1e-5, atol=1e-6)


def test_errors():
    x, grid = jnp.ones((2, 3, 4, 5)), jnp.ones((2, 6, 7, 2))
    with pytest.raises(
        ValueError, match=r"expected mode one of bilinear, nearest, bicubic .*'cubi"
    ):
        F.grid_sample(x, grid, "cubic")
    with pytest.raises(ValueError, match=r"padding_mode one of zeros, border, .* and 'reflect'"):
        F.grid_sample(x, grid, padding_mode="reflect")
    with pytest.raises(
        ValueError, match=r"with grid \[N, H', W', 2], .* got \[2, 3, 4, 5] and \[1"
    ):
        F.grid_sample(x, grid[:1])
    with pytest.raises(
        TypeError, match=r"expected grid of the input's dtype float32, got bfloat16"
    ):
        F.grid_sample(x, grid.astype(jnp.bfloat16))
    with pytest.raises(
        ValueError, match=r"expected theta \[N, 2, 3] with size .* got \[2, 3, 4] w"
    ):
        F.affine_grid(jnp.ones((2, 3, 4)), (2, 1, 3, 3))
