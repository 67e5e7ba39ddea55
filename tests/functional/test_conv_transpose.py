import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from fx.functional import conv_transpose
from tests.functional.check import assert_close, check, check_bfloat16, normal, sample

# input, weight, arguments
CASES = [
    ((2, 3, 5), (3, 4, 3), {"stride": 2, "padding": 1, "output_padding": 1}),
    ((4, 4, 3), (4, 2, 3, 2), {"stride": (2, 3), "groups": 2, "dilation": (1, 2)}),
    ((2, 3, 4, 5), (3, 4, 4, 4), {"stride": 2, "padding": 1}),
    ((2, 3, 4, 5), (3, 4, 3, 2), {"padding": 1, "dilation": 2, "output_padding": (1, 0)}),
    ((1, 2, 2, 3, 2), (2, 3, 2, 3, 2), {"stride": (1, 2, 3), "padding": (1, 0, 2)}),
    ((2, 4, 3, 3), (4, 1, 3, 3), {"stride": 2, "groups": 4}),
    ((2, 4, 3, 3), (4, 3, 3, 3), {"groups": 2}),
    ((2, 3, 1, 1), (3, 4, 2, 2), {"stride": 5, "output_padding": 4}),
]
SWEEP = [
    ((2, 4, *(3, 1, 2)[:dims]), (4, 4 // groups, *(kernel, 2, 3)[:dims]), arguments)
    for dims in (1, 2, 3)
    for groups, kernel, stride, padding, dilation in itertools.product(
        (1, 2), (1, 4), (1, 2, 3), (0, 1), (1, 2)
    )
    if 2 * padding < dilation * (kernel - 1) + 1 or dims == 1
    if 2 * padding < dilation + max(stride, dilation) or dims == 1  # torch has no gradient of none
    for arguments in [
        {"stride": stride, "padding": padding, "groups": groups, "dilation": dilation,
         "output_padding": max(stride, dilation) - 1}
    ]
]  # fmt: skip


def ident(case):
    return f"{case[0]}-{case[1]}-{case[2]}".replace(" ", "")


def run(case):
    shape, kernel, arguments = case
    name = f"conv_transpose{len(kernel) - 2}d"
    outputs = kernel[1] * arguments.get("groups", 1)
    check(
        lambda x, w, b: getattr(F, name)(x, w, b, **arguments),
        lambda x, w, b: getattr(TF, name)(x, w, b, **arguments),
        *[normal(*shape), normal(*kernel, seed=1), normal(outputs, seed=2)],
    )


@pytest.mark.parametrize("case", sample(CASES, 2), ids=ident)
def test_against_torch(case):
    run(case)


@pytest.mark.full
@pytest.mark.parametrize("case", SWEEP, ids=ident)
def test_sweep(case):
    run(case)


# In phases: kernels of at least the stride, some above it.
PHASES = [
    ((2, 3, 4, 5), (3, 4, 4, 4), {"stride": 2, "padding": 1}),
    ((2, 4, 3, 2), (4, 2, 5, 3), {"stride": (2, 3), "padding": (3, 0), "groups": 2}),
    ((2, 4, 3, 3), (4, 1, 3, 3), {"stride": 2, "groups": 4, "output_padding": 1}),
    ((2, 3, 1, 1), (3, 2, 3, 4), {"stride": (3, 2), "padding": 1, "output_padding": (2, 1)}),
    ((1, 2, 2, 3, 2), (2, 3, 2, 3, 4), {"stride": (1, 2, 3), "padding": (1, 0, 2)}),
    ((2, 3, 7), (3, 4, 3), {"stride": 2, "padding": 6, "output_padding": 1}),
    *(case for case in SWEEP if case[2]["stride"] > 1 == case[2]["dilation"]),
]


@pytest.mark.parametrize("case", sample(PHASES, 6), ids=ident)
def test_phases_against_torch(case, monkeypatch):
    """Each is held with few output channels, too, where a product is used otherwise."""
    monkeypatch.setattr(conv_transpose, "FEW", 1)
    run(case)


def test_what_is_taken_in_phases():
    """A layer of a decoder; not kernels that do not overlap, few outputs, a dilated kernel."""

    def taken(w, **arguments):
        program = jax.make_jaxpr(
            lambda x, w: F.conv_transpose2d(x, w, **{"stride": 2, "padding": 1} | arguments)
        )(jnp.ones((1, 16, 6, 6)), w)
        return str(program).count("conv_general_dilated") - 1  # beside that of other platforms

    assert taken(jnp.ones((16, 16, 4, 4))) == 4
    assert taken(jnp.ones((16, 16, 3, 3)), output_padding=1) == 1  # the others are products
    assert not taken(jnp.ones((16, 16, 2, 2))) and not taken(jnp.ones((16, 3, 4, 4)))
    assert not taken(jnp.ones((16, 16, 3, 3)), dilation=2)


def test_empty_batch_and_output():
    assert F.conv_transpose2d(jnp.ones((0, 3, 4, 4)), jnp.ones((3, 2, 2, 2))).shape == (0, 2, 5, 5)
    with pytest.raises(ValueError, match=r"output with elements, got \[1\] and \[0\]"):  # as torch
        F.conv_transpose1d(jnp.ones((1, 3, 1)), jnp.ones((3, 2, 2)), stride=2, padding=1)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_is_kept(dtype):
    check_bfloat16(
        lambda *a: F.conv_transpose2d(*a, stride=2), normal(2, 3, 3, 4), normal(3, 4, 3, 3),
        normal(4), dtype=dtype,
    )  # fmt: skip


def test_float64(x64):
    x, w = normal(2, 3, 3, 4).astype(np.float64), normal(3, 4, 3, 3).astype(np.float64)
    y = F.conv_transpose2d(x, w, stride=2)
    assert y.dtype == np.float64
    assert_close(y, TF.conv_transpose2d(torch.from_numpy(x), torch.from_numpy(w), stride=2))


def test_errors():
    x, w = jnp.ones((2, 3, 4, 4)), jnp.ones((3, 2, 3, 3))
    with pytest.raises(ValueError, match=r"expected input \[N, 3, H, W], got \[2, 4, 4, 4]"):
        F.conv_transpose2d(jnp.ones((2, 4, 4, 4)), w)
    with pytest.raises(ValueError, match=r"conv_transpose2d: expected input \[N, C, H, W] or"):
        F.conv_transpose2d(x[0, 0], w)
    with pytest.raises(ValueError, match=r"expected output_padding less than stride or dilation"):
        F.conv_transpose2d(x, w, stride=2, output_padding=2)
    with pytest.raises(ValueError, match=r"expected groups to divide the 3 input channels, got"):
        F.conv_transpose2d(x, w, groups=2)
    with pytest.raises(ValueError, match=r"expected bias \[2], got \[3]; one value per output"):
        F.conv_transpose2d(x, w, jnp.ones(3))
    with pytest.raises(
        ValueError, match=r"expected weight \[in, out / groups, 2 kernel axes], got"
    ):
        F.conv_transpose2d(x, w[0])
    with pytest.raises(ValueError, match=r"expected an input and an output with elements, got \[1"):
        F.conv_transpose2d(x[..., :1, :1], w, padding=3)
    with pytest.raises(ValueError, match=r"expected padding of 0 or more, got \(-1, -1\)"):
        F.conv_transpose2d(x, w, padding=-1)
    with pytest.raises(
        TypeError, match=r"expected weight of the input's dtype bfloat16, got float"
    ):
        F.conv_transpose2d(x.astype(jnp.bfloat16), w)
