import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import assert_close, check, check_bfloat16, normal, to_numpy

CASES = [
    ("relu", {}),
    ("relu6", {}),
    ("hardtanh", {}),
    ("hardtanh", {"min_val": -0.5, "max_val": 2.0}),
    ("leaky_relu", {}),
    ("leaky_relu", {"negative_slope": 0.2}),
    ("elu", {}),
    ("elu", {"alpha": 0.5}),
    ("celu", {"alpha": 2.0}),
    ("selu", {}),
    ("gelu", {}),
    ("gelu", {"approximate": "tanh"}),
    ("silu", {}),
    ("mish", {}),
    ("sigmoid", {}),
    ("tanh", {}),
    ("hardsigmoid", {}),
    ("hardswish", {}),
    ("softplus", {}),
    ("softplus", {"beta": 2.0, "threshold": 3.0}),
    ("logsigmoid", {}),
    ("softsign", {}),
    ("tanhshrink", {}),
    ("hardshrink", {"lambd": 0.7}),
    ("softshrink", {"lambd": 0.3}),
    ("threshold", {"threshold": 0.1, "value": 20.0}),
    ("glu", {"dim": 1}),
    ("softmax", {"dim": -1}),
    ("softmax", {"dim": 0}),
    ("log_softmax", {"dim": 1}),
    ("softmin", {"dim": 1}),
    ("normalize", {}),
    ("normalize", {"p": 1.0, "dim": 0}),
    ("normalize", {"p": 3.0, "dim": -1, "eps": 2.0}),
]
ELEMENTWISE = [c for c in CASES if c[0] not in ("glu", "softmax", "log_softmax", "softmin")]
# Every kink of the functions above, both of their sides, and where exponentials overflow.
KINKS = [-1e4, -100.0, -6.0, -3.0, -1.0, -0.5, 0.0, 0.3, 0.5, 0.7, 1.0, 2.0, 3.0, 6.0, 100.0, 1e4]


def ident(case):
    return "-".join([case[0], *(f"{k}={v}" for k, v in case[1].items())])


@pytest.mark.parametrize("case", CASES, ids=ident)
def test_against_torch(case):
    name, arguments = case
    # Away from kinks, where a second derivative would depend on rounding.
    x = normal(3, 6, scale=2.0)
    check(
        lambda x: getattr(F, name)(x, **arguments),
        lambda x: getattr(TF, name)(x, **arguments),
        x,
        second=name != "hardsigmoid",  # torch has none
    )


@pytest.mark.parametrize("case", ELEMENTWISE[:-3], ids=ident)
def test_kinks_and_extremes_have_torchs_gradient(case):
    name, arguments = case
    x = torch.tensor(KINKS, requires_grad=True)
    y = getattr(TF, name)(x, **arguments)
    (expected,) = torch.autograd.grad(y.sum(), x)
    ours = lambda x: getattr(F, name)(x, **arguments)
    value, pullback = jax.vjp(ours, jnp.array(KINKS))
    assert_close(value, y)
    assert_close(pullback(jnp.ones(len(KINKS)))[0], expected)


@pytest.mark.parametrize("name", ["elu", "celu", "selu", "softsign", "relu", "silu", "hardshrink"])
def test_second_derivatives_at_0_are_torchs(name):
    expected = torch.autograd.functional.hessian(getattr(TF, name), torch.tensor(0.0))
    assert_close(jax.hessian(getattr(F, name))(0.0), expected)


@pytest.mark.parametrize("name", ["softshrink", "hardshrink", "hardtanh", "threshold"])
def test_what_is_no_number_stays(name):
    arguments = (0.1, 2.0) if name == "threshold" else ()
    assert jnp.isnan(getattr(F, name)(jnp.nan, *arguments))


@pytest.mark.parametrize("scale", [0.1, 1e-2, 1e-3])
def test_tanhshrink_of_small_numbers_keeps_its_digits(scale):
    x = normal(300, scale=scale)
    exact = torch.tensor(x, dtype=torch.float64)
    slopes = jax.vmap(jax.grad(F.tanhshrink))
    _, bends = jax.jvp(slopes, (x,), (jnp.ones_like(x),))
    assert_relative(F.tanhshrink(x), TF.tanhshrink(exact))
    assert_relative(slopes(x), exact.tanh() ** 2)
    assert_relative(bends, 2 * exact.tanh() / exact.cosh() ** 2)


def assert_relative(ours, exact):
    error = np.abs(np.asarray(ours, np.float64) - exact.numpy())
    assert error.max() < 1e-6 * exact.abs().max()


def test_hardswish_of_infinities_has_torchs_gradient():
    far = jnp.array([-jnp.inf, jnp.inf])
    assert jax.grad(lambda x: F.hardswish(x)[1])(far).tolist() == [0, 1]


def test_hardsigmoid_of_no_number_has_torchs_gradient():
    x = torch.tensor(torch.nan, requires_grad=True)
    TF.hardsigmoid(x).backward()
    value, gradient = jax.value_and_grad(F.hardsigmoid)(jnp.nan)
    assert jnp.isnan(value) and gradient.item() == x.grad.item() == 0


@pytest.mark.parametrize("case", CASES, ids=ident)
def test_low_precision_is_kept(case):
    check_bfloat16(lambda x: getattr(F, case[0])(x, **case[1]), normal(3, 6))


@pytest.mark.parametrize("case", CASES, ids=ident)
def test_pickles(case):
    function = getattr(F, case[0])
    assert pickle.loads(pickle.dumps(function)) is function


@pytest.mark.parametrize("weight", [(1,), (5,)])
def test_prelu(weight):
    check(F.prelu, TF.prelu, normal(3, 5, 4), normal(*weight))


def test_prelu_of_an_unbatched_vector():
    assert_close(F.prelu(jnp.array([-1.0, 2.0]), jnp.array([0.1])), np.array([-0.1, 2.0]))


def test_numpy_scalars_do_not_widen():
    assert F.elu(jnp.ones(3, jnp.bfloat16), np.float32(0.5)).dtype == jnp.bfloat16
    assert F.softplus(jnp.ones(3, jnp.float16), beta=np.float64(2)).dtype == jnp.float16
    assert F.threshold(jnp.ones(3, jnp.float16), np.float32(0), 1).dtype == jnp.float16


SMOOTH = "elu celu selu silu mish hardsigmoid hardswish softplus logsigmoid sigmoid gelu".split()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("name", [*SMOOTH, "glu"])
def test_value_and_slope_of_a_low_precision_are_those_of_float32_rounded(name, dtype):
    def of(x):
        return F.glu(jnp.stack([jnp.full_like(x, 0.7), x], 1))[:, 0] if name == "glu" else ours(x)

    ours = getattr(F, name)
    x = jnp.linspace(-8, 8, 501, dtype=dtype)
    for function in (of, lambda x: jax.vjp(of, x)[1](jnp.ones_like(x))[0]):
        exact = function(x.astype(jnp.float32)).astype(dtype)
        unit = float(jnp.finfo(dtype).eps)
        np.testing.assert_allclose(*map(to_numpy, (function(x), exact)), unit, unit / 128)
    second = jax.grad(lambda x: jax.vjp(of, x)[1](jnp.ones_like(x))[0].sum())
    assert_close(second(x), second(x.astype(jnp.float32)), dtype)


def test_leaky_relu_of_bfloat16_has_the_slope_of_float32():
    x = jnp.linspace(-8, 0, 501, dtype=jnp.bfloat16)
    exact = F.leaky_relu(x.astype(jnp.float32), 0.3).astype(jnp.bfloat16)
    assert_close(F.leaky_relu(x, 0.3), exact, "float32")


def test_slopes_of_bfloat16_gelu_by_tanh_are_those_of_float32_rounded():
    slopes = jax.vmap(jax.grad(lambda x: F.gelu(x, "tanh")))
    x = jnp.linspace(-4, 4, 501, dtype=jnp.bfloat16)
    exact = slopes(x.astype(jnp.float32))
    assert jnp.abs(slopes(x).astype(jnp.float32) - exact).max() <= 2**-8  # half a unit, up to 2


def test_a_traced_argument_has_a_gradient_in_a_low_precision_too():
    x = jnp.linspace(-2, 2, 5, dtype=jnp.bfloat16)
    slope = jax.grad(lambda beta: F.softplus(x, beta).sum().astype(jnp.float32))(jnp.float32(1))
    assert jnp.isfinite(slope)


def test_threshold_of_integers_is_an_integer_as_in_torch():
    x = np.arange(-3, 3, dtype=np.int32)
    for arguments in ((1.3, 0.5), (-1.3, 7.9), (True, 2)):
        expected = TF.threshold(torch.from_numpy(x), *arguments)
        assert_close(F.threshold(jnp.asarray(x), *arguments), expected)


def test_inplace_is_accepted():
    for name in ("relu", "relu6", "elu", "silu", "mish", "hardswish", "leaky_relu", "hardtanh"):
        assert_close(
            getattr(F, name)(jnp.array([-1.0, 2.0]), inplace=True),
            getattr(TF, name)(torch.tensor([-1.0, 2.0]), inplace=True),
        )


def test_softmax_in_another_dtype():
    y = F.softmax(jnp.array([1, 2], jnp.int32), dim=0, dtype=jnp.float32)
    assert_close(y, TF.softmax(torch.tensor([1, 2]), dim=0, dtype=torch.float32))


@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax_of_masked_and_scalar(name):
    x = np.array([[0.0, -np.inf, 1.0], [-np.inf] * 3], np.float32)
    assert_close(
        getattr(F, name)(jnp.asarray(x), dim=1), getattr(TF, name)(torch.from_numpy(x), dim=1)
    )
    assert_close(
        getattr(F, name)(jnp.float32(3), dim=0), getattr(TF, name)(torch.tensor(3.0), dim=0)
    )


def test_log_softmax_of_bfloat16_sums_in_float32():
    x = jnp.zeros((1, 4096), jnp.bfloat16)
    assert_close(F.log_softmax(x, dim=1), np.full((1, 4096), -np.log(4096)), "bfloat16")


def test_normalize_of_zeros_has_torchs_gradient():
    check(F.normalize, TF.normalize, np.zeros((2, 3), np.float32), second=False)
    x = np.array([[0.0, 3.0, -4.0]], np.float32)
    check(lambda x: F.normalize(x, p=1.0), lambda x: TF.normalize(x, p=1.0), x, second=False)
    check(
        lambda x: F.normalize(x, p=float("inf")),
        lambda x: TF.normalize(x, p=float("inf")),
        normal(2, 3),
    )


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "softmin"])
@pytest.mark.parametrize("axes", range(6))
def test_a_missing_dim_is_torchs_guess(name, axes):
    x = normal(*(2, 3, 4, 3, 2)[:axes])
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        theirs = getattr(TF, name)(torch.tensor(np.asarray(x)))
    with pytest.warns(UserWarning, match=rf"{name}: no dim is given .* dim=\d is taken") as found:
        ours = getattr(F, name)(x)
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert found[0].filename == __file__


def test_errors():
    x = jnp.ones((2, 3))
    with pytest.raises(ValueError, match=r'gelu: expected approximate "none" or "tanh", got True'):
        F.gelu(x, approximate=True)  # pyright: ignore
    with pytest.raises(ValueError, match=r"log_softmax: expected dim within the 2 axes .* got 2"):
        F.log_softmax(x, dim=2)
    with pytest.raises(TypeError, match=r"softmax: expected a floating input, got int32"):
        F.softmax(jnp.ones(3, jnp.int32), dim=0)
    with pytest.raises(ValueError, match=r"glu: expected an even length along dim -1, got \[2, 3]"):
        F.glu(x)
    with pytest.raises(ValueError, match=r"prelu: expected weight \[1] or \[3], got \[2]"):
        F.prelu(x, jnp.ones(2))
    with pytest.raises(ValueError, match=r"softshrink: expected lambd from 0 .*, got -1"):
        F.softshrink(x, -1)
    with pytest.raises(ValueError, match=r"softshrink: expected lambd .* float32 holds, got inf"):
        F.softshrink(x, float("inf"))
    with pytest.raises(ValueError, match=r"softmax: expected dim .* got True"):
        F.softmax(x, True)
    with pytest.raises(ValueError, match=r"glu: expected .* along dim True"):
        F.glu(x, True)


@pytest.mark.parametrize("name", ["elu", "celu", "selu", "softplus", "logsigmoid"])
@pytest.mark.parametrize("order", [1, 2])
def test_derivatives_of_exponentials_keep_their_digits(name, order):
    """At -19 the derivative of elu was 0, and is exp(-19)."""
    x = np.array([-30, -19, -10, -1, 0.5, 10, 18], np.float32)
    ours, theirs = getattr(F, name), torch.tensor(x, dtype=torch.float64, requires_grad=True)
    expected = getattr(torch.nn.functional, name)(theirs)
    for _ in range(order):
        ours = jax.grad(ours)
        (expected,) = torch.autograd.grad(expected.sum(), theirs, create_graph=True)
    np.testing.assert_allclose(jax.vmap(ours)(x), expected.detach(), rtol=1e-6)
