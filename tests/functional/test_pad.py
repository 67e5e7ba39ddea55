import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF
from jax import export

from fx import functional as F
from fx.functional.pad import _grow, _joined
from tests.functional.check import assert_close, check, check_bfloat16, normal, sample

CASES = [
    ((2, 3, 5), (1, 2), "constant"),
    ((2, 3, 5), (-1, 2, 0, 3, 1, -1), "constant"),
    ((5,), (2, 0), "constant"),
    ((2, 3, 5), (4, 3), "reflect"),
    ((3, 5), (1, 2), "replicate"),
    ((2, 3, 5), (5, 4), "circular"),
    ((2, 3, 5, 4), (1, 3, 4, 0), "reflect"),
    ((3, 5, 4), (1, 7, 6, 0), "replicate"),
    ((2, 3, 5, 4), (1, 3, 4, 2), "circular"),
    ((2, 3, 5, 4, 3), (1, 2, 3, 0, 2, 1), "reflect"),
    ((3, 5, 4, 3), (1, 2, 5, 0, 2, 1), "replicate"),
    ((2, 3, 5, 4, 3), (1, 3, 4, 0, 2, 1), "circular"),
    ((2, 3, 5), (-1, 2), "reflect"),
    ((2, 3, 5), (-2, 2), "circular"),
    ((2, 3, 5), (3, -2), "replicate"),
]


def ident(case):
    return f"{case[2]}-{case[0]}-{case[1]}".replace(" ", "")


@pytest.mark.parametrize("case", sample(CASES, 9), ids=ident)
def test_against_torch(case):
    shape, pad, mode = case
    check(lambda x: F.pad(x, pad, mode), lambda x: TF.pad(x, pad, mode), normal(*shape))


def test_value_and_integers():
    x = np.arange(6).reshape(2, 3)
    assert_close(
        F.pad(jnp.asarray(x), (1, 0), value=7), TF.pad(torch.from_numpy(x), (1, 0), value=7)
    )


def test_low_precision_is_kept():
    check_bfloat16(lambda x: F.pad(x, (1, 1), "reflect"), normal(2, 3, 5))


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_every_platform_computes_the_same_and_no_gradient_scatters(mode):
    x, widths = jnp.asarray(normal(2, 4, 5, 3)), ((3, 0), (1, 2))
    np.testing.assert_array_equal(_grow(x, widths, mode), _joined(x, widths, mode))
    gradient = jax.jit(jax.grad(lambda x: jnp.sum(_grow(x, widths, mode) ** 2)))
    assert "scatter" not in gradient.lower(x).as_text()


@pytest.mark.parametrize("mode", ["reflect", "replicate", "circular"])
def test_sizes_may_be_symbolic(mode):
    symbols = export.symbolic_shape("n, 3, l", constraints=["l >= 2"])
    exported = export.export(jax.jit(lambda x: F.pad(x, (1, 1), mode)))(
        jax.ShapeDtypeStruct(symbols, jnp.float32)
    )
    x = normal(2, 3, 5)
    np.testing.assert_array_equal(exported.call(x), F.pad(x, (1, 1), mode))


def test_errors():
    x = jnp.ones((2, 3, 5))
    with pytest.raises(ValueError, match=r'expected mode "constant", .* got \'wrap\''):
        F.pad(x, (1, 1), "wrap")
    with pytest.raises(ValueError, match=r"expected at most 4 for mode 'reflect', got \(5, 0\)"):
        F.pad(x, (5, 0), "reflect")
    with pytest.raises(ValueError, match=r"expected at most 5 for mode 'circular', got \(0, 6\)"):
        F.pad(x, (0, 6), "circular")
    with pytest.raises(ValueError, match=r"expected two numbers for each of at most 3 axes, got"):
        F.pad(x, (1, 1, 1))
    with pytest.raises(ValueError, match=r"expected two numbers for each of at most 3 axes, got"):
        F.pad(x, (1,) * 8)
    with pytest.raises(ValueError, match=r"expected numbers for all of the spatial axes .* 6 for"):
        F.pad(x, (1,) * 6, "replicate")
    with pytest.raises(ValueError, match=r"expected to crop at most 5 elements, got \(-3, -3\)"):
        F.pad(x, (-3, -3))
    with pytest.raises(ValueError, match=r"to leave something with mode 'reflect', got \(-2"):
        F.pad(x, (-2, -3), "reflect")
    with pytest.raises(ValueError, match=r"expected value only with mode \"constant\""):
        F.pad(x, (1, 1), "reflect", 1.0)
