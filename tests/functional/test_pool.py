import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import assert_close, check, check_bfloat16, normal, sample

MAX = [
    ((3, 9), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((2, 3, 9, 7), {"kernel_size": 2}),
    ((2, 3, 9, 8), {"kernel_size": (2, 3), "stride": (3, 2), "padding": (1, 0), "ceil_mode": True}),
    ((3, 9, 8), {"kernel_size": 2, "dilation": (2, 3), "stride": 1}),
    ((2, 2, 5, 6, 4), {"kernel_size": 2, "ceil_mode": True}),
    ((2, 3, 8), {"kernel_size": 2}),
    ((2, 3, 8, 6), {"kernel_size": 2}),
    ((2, 3, 9, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((2, 5, 6, 4), {"kernel_size": (3, 2, 1), "stride": (2, 1, 2), "padding": (1, 1, 0)}),
]
AVG = [
    ((3, 9), {"kernel_size": 4, "stride": 3, "padding": 2, "ceil_mode": True}),
    ((2, 3, 9, 7), {"kernel_size": 2}),
    ((2, 3, 9, 8), {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False}),
    ((2, 3, 8, 9), {"kernel_size": 3, "padding": 1, "ceil_mode": True, "divisor_override": 5}),
    ((2, 2, 5, 6, 4), {"kernel_size": 2, "padding": 1, "ceil_mode": True}),
    ((2, 3, 8), {"kernel_size": 2}),
    ((2, 3, 9, 8), {"kernel_size": 3, "stride": 2, "padding": 1}),
    ((3, 8, 9), {"kernel_size": (3, 2), "stride": 2, "padding": (1, 0), "ceil_mode": True}),
    ((2, 3, 8, 9), {"kernel_size": 3, "padding": 1, "ceil_mode": True, "count_include_pad": False}),
    ((2, 5, 6, 4), {"kernel_size": 2, "stride": 1, "divisor_override": -3}),
]
ADAPTIVE = [
    ((3, 7), 3),
    ((2, 3, 8, 6), 1),
    ((2, 3, 7, 5), (3, None)),
    ((2, 2, 5, 4, 4), (2, 3, None)),
    ((2, 3, 8), 4),
    ((2, 3, 7), 10),
    ((2, 3, 8, 6), (4, 3)),
    ((3, 7, 5), (None, 2)),
    ((2, 3, 7, 5), (10, 3)),
    ((2, 5, 6, 4), 3),
]


def ident(case):
    return f"{case[0]}-{case[1]}".replace(" ", "")


def run(kind, shape, dims, *positional, **arguments):
    name = f"{kind}_pool{dims}d"
    check(
        lambda x: getattr(F, name)(x, *positional, **arguments),
        lambda x: getattr(TF, name)(x, *positional, **arguments),
        normal(*shape),
    )


def dims_of(shape):
    """Cases are batched when they start with a batch of 2 and have a channel axis of 2 or 3."""
    return len(shape) - (2 if shape[0] == 2 and shape[1] in (2, 3) else 1)


@pytest.mark.parametrize("case", sample(MAX, 5), ids=ident)
def test_max_pool(case):
    run("max", case[0], dims_of(case[0]), **case[1])


@pytest.mark.parametrize("case", sample(AVG, 5), ids=ident)
def test_avg_pool(case):
    run("avg", case[0], dims_of(case[0]), **case[1])


@pytest.mark.parametrize("kind", ["adaptive_avg", "adaptive_max"])
@pytest.mark.parametrize("case", sample(ADAPTIVE, 4), ids=ident)
def test_adaptive_pool(case, kind):
    run(kind, case[0], dims_of(case[0]), case[1])


SWEEP = [
    {"kernel_size": k, "stride": s, "padding": p, "ceil_mode": c}
    for k, s, p, c in itertools.product((2, 3, 5), (None, 1, 2, 3), (0, 1, 2), (False, True))
    if p <= k // 2
]


@pytest.mark.full
@pytest.mark.parametrize("arguments", SWEEP, ids=str)
def test_sweep(arguments):
    shape = (2, 3, 7, 5)
    run("max", shape, 2, **arguments)
    run("avg", shape, 2, **arguments)
    run("avg", shape, 2, count_include_pad=False, **arguments)
    if arguments["kernel_size"] <= 3:
        run("max", shape, 2, dilation=(2, 1), **arguments)


@pytest.mark.full
@pytest.mark.parametrize("kind", ["adaptive_avg", "adaptive_max"])
@pytest.mark.parametrize("parts", range(1, 15))
def test_adaptive_sweep(parts, kind):
    run(kind, (2, 3, 7), 1, parts)


TIES = [{"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": (2, 4)}, {"kernel_size": 2}]


def zeros_and_ones(*shape):
    return np.random.default_rng(0).integers(0, 2, shape).astype(np.float32)


@pytest.mark.parametrize("arguments", sample(TIES, 1), ids=str)
def test_gradient_goes_to_the_first_of_equal_maxima(arguments):
    x = zeros_and_ones(2, 3, 8, 8)
    check(lambda x: F.max_pool2d(x, **arguments), lambda x: TF.max_pool2d(x, **arguments), x)


def test_gradient_of_adaptive_pooling_goes_to_the_first_of_equal_maxima():
    x = zeros_and_ones(2, 3, 5, 4)
    check(
        lambda x: F.adaptive_max_pool2d(x, (3, 2)), lambda x: TF.adaptive_max_pool2d(x, (3, 2)), x
    )


def test_nan_wins():
    x = np.array([[[0.0, np.nan, 1.0, 2.0], [5.0, 4.0, np.nan, np.nan]]], np.float32)
    value, pullback = jax.vjp(lambda x: F.max_pool2d(x, 2), jnp.asarray(x))
    leaf = torch.from_numpy(x).requires_grad_()
    expected = TF.max_pool2d(leaf, 2)
    assert_close(value, expected)
    (gradient,) = torch.autograd.grad(expected, leaf, torch.ones(1, 1, 2))
    assert_close(pullback(jnp.ones((1, 1, 2)))[0], gradient)


def test_integers():
    x = np.random.default_rng(0).integers(-9, 9, (1, 2, 5, 5), dtype=np.int32)
    ours = F.max_pool2d(jnp.asarray(x), 3, 2, 1)
    assert ours.dtype == np.int32
    assert_close(ours, TF.max_pool2d(torch.from_numpy(x), 3, 2, 1))


@pytest.mark.parametrize("name", ["max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"])
def test_low_precision_is_kept(name):
    check_bfloat16(lambda x: getattr(F, name)(x, 2), normal(2, 3, 7, 6))


def test_average_of_bfloat16_sums_in_float32():
    x = jnp.full((1, 1, 64, 64), 1.0, jnp.bfloat16)
    assert float(F.avg_pool2d(x, 64).item()) == 1.0
    assert float(F.adaptive_avg_pool2d(x, 1).item()) == 1.0


@pytest.mark.parametrize("size", [0, (0, 3), (3, 0), (None, 0)], ids=str)
def test_adaptive_pools_to_no_parts_are_empty(size):
    x = normal(2, 3, 7, 5)
    for name in ("adaptive_avg_pool2d", "adaptive_max_pool2d"):
        expected = getattr(TF, name)(torch.from_numpy(x), size).shape
        assert getattr(F, name)(jnp.asarray(x), size).shape == expected
    assert [a.shape for a in F.adaptive_max_pool2d(x, size, return_indices=True)] == [expected] * 2


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_adaptive_average_keeps_what_is_not_finite_in_its_parts(bad):
    x = normal(2, 3, 7, 5)
    x[0, 1, 2, 3] = bad
    expected = TF.adaptive_avg_pool2d(torch.from_numpy(x), (3, 2))
    assert_close(F.adaptive_avg_pool2d(jnp.asarray(x), (3, 2)), expected)


@pytest.mark.parametrize("case", [(70, 2), (67, 2), (131, 4), (40, 3)], ids=str)
def test_adaptive_average_of_long_parts(case):
    size, parts = case
    run("adaptive_avg", (2, 3, size), 1, parts)


def test_errors():
    x = jnp.ones((2, 3, 8, 8))
    with pytest.raises(ValueError, match=r"max_pool2d: expected input \[N, C, H, W] or \[C, H, W]"):
        F.max_pool2d(x[0, 0], 2)
    with pytest.raises(ValueError, match=r"expected padding of at most half of kernel_size \(2, 2"):
        F.max_pool2d(x, 2, padding=2)
    with pytest.raises(ValueError, match=r"avg_pool2d: expected kernel_size, stride and dilation"):
        F.avg_pool2d(x, 2, stride=0)
    with pytest.raises(ValueError, match=r"got a window of 9 on 8; use a larger input"):
        F.max_pool2d(x, 9)
    with pytest.raises(ValueError, match=r"expected divisor_override other than 0"):
        F.avg_pool2d(x, 2, divisor_override=0)
    with pytest.raises(TypeError, match=r"expected kernel_size an int or a tuple of 2 ints"):
        F.avg_pool2d(x, 2.0)  # pyright: ignore
    with pytest.raises(TypeError, match=r"avg_pool2d: expected a floating input, got bool"):
        F.avg_pool2d(x.astype(bool), 2)
    for size in ((1, 2, 3), (2,), -1):
        with pytest.raises(ValueError, match=r"expected output_size one number of 0 or more for"):
            F.adaptive_avg_pool2d(x, size)
    with pytest.raises(TypeError, match=r"expected output_size of ints or None, got 1.5"):
        F.adaptive_max_pool2d(x, 1.5)  # pyright: ignore


def test_no_channels_are_pooled_where_torch_pools_them():
    assert F.adaptive_avg_pool1d(jnp.zeros((2, 0, 5)), 2).shape == (2, 0, 2)
    assert F.adaptive_avg_pool2d(jnp.zeros((2, 0, 5, 5)), 2).shape == (2, 0, 2, 2)
    for pool, axes in ((F.adaptive_avg_pool3d, 3), (F.adaptive_max_pool2d, 2)):
        with pytest.raises(ValueError, match="every axis but the batch's of 1 or more, got 0 chan"):
            pool(jnp.zeros((2, 0, *[5] * axes)), 2)
