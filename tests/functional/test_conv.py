import functools
import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import assert_close, check, check_bfloat16, normal, sample

# torch says, once, that it copies the input for even kernels.
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")

# input, weight, arguments
CASES = [
    ((3, 9), (4, 3, 2), {"stride": 2, "padding": 1}),
    ((2, 4, 9), (6, 2, 4), {"padding": "same", "dilation": 2, "groups": 2}),
    ((2, 3, 7, 6), (4, 3, 3, 3), {"padding": 1}),
    ((2, 4, 7, 6), (4, 1, 3, 3), {"groups": 4, "padding": "same"}),
    ((2, 4, 8, 9), (6, 2, 3, 2), {"groups": 2, "dilation": (2, 3), "stride": 2, "padding": 3}),
    ((3, 7, 6), (4, 3, 2, 4), {"padding": "same"}),
    ((1, 2, 4, 5, 6), (3, 2, 2, 3, 1), {"stride": (1, 2, 2), "padding": (1, 0, 0)}),
    ((2, 3, 9), (4, 3, 3), {}),
    ((2, 3, 7, 6), (4, 3, 3, 2), {"stride": (2, 1), "padding": (0, 1)}),
    ((2, 3, 7, 6), (4, 3, 1, 1), {"padding": "valid", "stride": (3,)}),
    ((4, 4, 5, 6), (4, 2, 2, 3, 2), {"padding": "same", "groups": 2}),
]


def ident(case):
    return f"{case[0]}-{case[1]}-{case[2]}".replace(" ", "")


def both(dims, **arguments):
    functions = (getattr(module, f"conv{dims}d") for module in (F, TF))
    return [functools.partial(function, **arguments) for function in functions]


def run(case, bias=True):
    shape, kernel, arguments = case
    ours, theirs = both(len(kernel) - 2, **arguments)
    inputs = [normal(*shape), normal(*kernel, seed=1)]
    check(ours, theirs, *inputs, *([normal(kernel[0], seed=2)] if bias else []))


@pytest.mark.parametrize("case", sample(CASES, 7), ids=ident)
def test_against_torch(case):
    run(case)


def test_without_bias():
    run(CASES[2], bias=False)


SWEEP = [
    ((2, 4, *size[:dims]), (6, 4 // groups, *kernel[:dims]), arguments)
    for dims in (1, 2, 3)
    for size, kernel in [((5, 6, 7), (1, 2, 3)), ((8, 5, 4), (3, 3, 2))]
    for groups in (1, 2)
    for stride, padding, dilation in itertools.product((1, 2, 3), (0, 1, "same"), (1, 2))
    if not (padding == "same" and stride > 1)
    if all(d + 2 * (padding if padding != "same" else 9) > dilation * (k - 1)
           for d, k in zip(size[:dims], kernel[:dims]))
    for arguments in [
        {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    ]
]  # fmt: skip


@pytest.mark.full
@pytest.mark.parametrize("case", SWEEP, ids=ident)
def test_sweep(case):
    run(case)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_is_kept(dtype):
    ours, _ = both(2, padding=1)
    check_bfloat16(ours, normal(2, 3, 7, 6), normal(4, 3, 3, 3), normal(4), dtype=dtype)


def test_float64(x64):
    ours, theirs = both(2)
    x, w = normal(2, 3, 7, 6).astype(np.float64), normal(4, 3, 3, 3).astype(np.float64)
    y = ours(x, w)
    assert y.dtype == np.float64
    assert_close(y, theirs(torch.from_numpy(x), torch.from_numpy(w)), "float64")


def test_errors():
    x, w = jnp.ones((8, 3, 32, 32)), jnp.ones((16, 64, 3, 3))
    with pytest.raises(ValueError, match=r"expected input \[N, 64, H, W], got \[8, 3, 32, 32]"):
        F.conv2d(x, w)
    with pytest.raises(ValueError, match=r"conv2d: expected input \[N, C, H, W] or \[C, H, W]"):
        F.conv2d(x[0, 0], w)
    with pytest.raises(ValueError, match=r"conv1d: expected input \[N, C, L] or \[C, L]"):
        F.conv1d(x, w[..., 0])
    w = w[:, :3]
    with pytest.raises(ValueError, match=r'expected stride 1 with padding="same", got stride \(2'):
        F.conv2d(x, w, stride=2, padding="same")
    with pytest.raises(ValueError, match=r'expected padding "same", "valid" or numbers, got \'SA'):
        F.conv2d(x, w, padding="SAME")
    with pytest.raises(ValueError, match=r"expected groups to divide the 16 output channels.*=3"):
        F.conv2d(x, w[:, :1], groups=3)
    with pytest.raises(ValueError, match=r"expected bias \[16], got \[3]"):
        F.conv2d(x, w, jnp.ones(3))
    with pytest.raises(ValueError, match=r"expected weight \[out, in / groups, 2 kernel axes]"):
        F.conv2d(x, w[0])
    with pytest.raises(ValueError, match=r"got window \[3, 3] on \[2, 2]; use a larger input"):
        F.conv2d(x[..., :2, :2], w)
    with pytest.raises(ValueError, match=r"expected stride of 1 or more, got \(0, 0\)"):
        F.conv2d(x, w, stride=0)
    with pytest.raises(ValueError, match=r"expected padding of 0 or more, got \(-1, -1\)"):
        F.conv2d(x, w, padding=-1)
    with pytest.raises(ValueError, match=r"expected dilation an int or a tuple of 2 ints, got \(1"):
        F.conv2d(x, w, dilation=(1, 1, 1))
    with pytest.raises(TypeError, match=r"expected stride an int or a tuple of 2 ints, got 1.5"):
        F.conv2d(x, w, stride=1.5)  # pyright: ignore
    with pytest.raises(
        TypeError, match=r"expected weight of the input's dtype bfloat16, got float"
    ):
        F.conv2d(x.astype(jnp.bfloat16), w)
    with pytest.raises(
        TypeError, match=r"expected bias of the input's dtype float32, got bfloat16"
    ):
        F.conv2d(x, w, jnp.ones(16, jnp.bfloat16))
