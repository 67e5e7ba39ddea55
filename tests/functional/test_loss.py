import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import assert_close, check, check_bfloat16, normal, sample

CASES = [
    ("mse_loss", {}),
    ("l1_loss", {"reduction": "sum"}),
    ("smooth_l1_loss", {"beta": 0.7, "reduction": "none"}),
    ("huber_loss", {"delta": 0.7}),
    ("kl_div", {"reduction": "batchmean", "log_target": True}),
    ("mse_loss", {"reduction": "none"}),
    ("mse_loss", {"reduction": "sum"}),
    ("l1_loss", {}),
    ("smooth_l1_loss", {}),
    ("smooth_l1_loss", {"beta": 0.0}),
    ("huber_loss", {"reduction": "sum"}),
    ("kl_div", {"reduction": "none", "log_target": True}),
]
POSITIVE = [
    ("kl_div", {"reduction": "batchmean"}),
    ("kl_div", {"reduction": "sum"}),
    ("binary_cross_entropy", {}),
    ("binary_cross_entropy", {"reduction": "none"}),
    ("binary_cross_entropy_with_logits", {"reduction": "sum"}),
    ("binary_cross_entropy_with_logits", {}),
]


def ident(case):
    return "-".join([case[0], *(f"{k}={v}" for k, v in case[1].items())])


def probabilities(*shape, seed=0):
    return np.random.default_rng(seed).uniform(0.05, 0.95, shape).astype(np.float32)


def pair(case):
    name, arguments = case
    return (
        lambda *a, **kw: getattr(F, name)(*a, **arguments, **kw),
        lambda *a, **kw: getattr(TF, name)(*a, **arguments, **kw),
    )


@pytest.mark.parametrize("case", sample(CASES, 5), ids=ident)
def test_against_torch(case):
    check(*pair(case), normal(4, 3), normal(4, 3, seed=7))


@pytest.mark.parametrize("case", POSITIVE, ids=ident)
@pytest.mark.filterwarnings("ignore:reduction. 'mean' divides")
def test_probabilities_against_torch(case):
    check(*pair(case), probabilities(4, 3), probabilities(4, 3, seed=1))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", ["mse_loss", "l1_loss", "huber_loss"])
def test_weighted(name, reduction):
    ours, theirs = pair((name, {"reduction": reduction}))
    x, t, w = normal(4, 3), normal(4, 3, seed=7), probabilities(4, 3)
    expected = theirs(torch.from_numpy(x), torch.from_numpy(t), weight=torch.from_numpy(w))
    assert_close(ours(x, t, weight=jnp.asarray(w)), expected)


def test_gradient_of_equal_input_and_target():
    x = normal(4, 3)
    for name in ("l1_loss", "smooth_l1_loss", "huber_loss", "mse_loss"):
        check(*pair((name, {})), x, x, second=False)


def test_kl_div_with_zeros_in_the_target():
    t = np.array([[0.0, 1.0], [0.25, 0.75]], np.float32)
    check(
        lambda x: F.kl_div(x, t, reduction="sum"),
        lambda x: TF.kl_div(x, torch.from_numpy(t), reduction="sum"),
        -probabilities(2, 2),
    )


def test_binary_cross_entropy_at_its_ends():
    x = np.array([0.0, 1.0, 0.0, 1.0], np.float32)
    t = np.array([0.0, 0.0, 1.0, 1.0], np.float32)
    check(
        lambda x: F.binary_cross_entropy(x, jnp.asarray(t), reduction="none"),
        lambda x: TF.binary_cross_entropy(x, torch.from_numpy(t), reduction="none"),
        x,
        second=False,
    )
    assert jnp.isnan(F.binary_cross_entropy(jnp.array([1.5]), jnp.array([1.0])))


@pytest.mark.parametrize("name, given", [
    ("binary_cross_entropy", ([0.0, 1.0, 0.5], [0.0, 0.3, 0.5])),  # logarithms are infinite
    ("huber_loss", ([0.0, 0.0, 1.0], [1.0, -1.0, 1.5])),  # where the formula changes
])  # fmt: skip
def test_mixed_second_derivatives_at_the_ends_are_torchs(name, given):
    tensors = tuple(map(torch.tensor, given))
    expected = torch.autograd.functional.hessian(getattr(TF, name), tensors)
    found = jax.hessian(getattr(F, name), (0, 1))(*map(jnp.asarray, given))
    assert_close(found[0][1], expected[0][1])
    assert_close(found[1][0], found[0][1].T)


def test_binary_cross_entropy_weights():
    x, t, w = probabilities(4, 3), probabilities(4, 3, seed=1), probabilities(3, seed=2)
    check(
        lambda x, t: F.binary_cross_entropy(x, t, jnp.asarray(w)),
        lambda x, t: TF.binary_cross_entropy(x, t, torch.from_numpy(w)),
        x,
        t,
    )
    check(
        lambda x: F.binary_cross_entropy_with_logits(x, t, w, pos_weight=3 * w),
        lambda x: TF.binary_cross_entropy_with_logits(
            x, torch.from_numpy(t), torch.from_numpy(w), pos_weight=torch.from_numpy(3 * w)
        ),
        normal(4, 3, scale=3.0),
    )


def test_logits_do_not_overflow():
    x = np.array([-1e4, -100.0, 0.0, 100.0, 1e4], np.float32)
    t = np.array([0.0, 1.0, 0.5, 0.0, 1.0], np.float32)
    check(
        lambda x: F.binary_cross_entropy_with_logits(x, t, reduction="none"),
        lambda x: TF.binary_cross_entropy_with_logits(x, torch.from_numpy(t), reduction="none"),
        x,
        second=False,
    )


def test_empty():
    empty = jnp.ones((0, 3))
    assert jnp.isnan(F.mse_loss(empty, empty))
    assert F.mse_loss(empty, empty, reduction="sum") == 0


@pytest.mark.parametrize("case", CASES[:5] + POSITIVE, ids=ident)
def test_low_precision_is_kept(case):
    check_bfloat16(pair(case)[0], probabilities(4, 3), probabilities(4, 3, seed=1))


def test_sums_of_bfloat16_are_taken_in_float32():
    x = jnp.ones(4096, jnp.bfloat16)
    assert F.mse_loss(x, jnp.zeros(4096), reduction="sum") == 4096


def test_integer_targets_are_converted():
    x, t = normal(3), np.array([0, 1, 1])
    assert_close(
        F.binary_cross_entropy_with_logits(x, t),
        TF.binary_cross_entropy_with_logits(torch.from_numpy(x), torch.from_numpy(t).float()),
    )


DTYPES = ("float16", "bfloat16", "float32", "float64", "int32", "int64", "uint8", "bool")
TOGETHER = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div")


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize(
    "name", [*TOGETHER, "poisson_nll_loss", "gaussian_nll_loss", "soft_margin_loss"]
)
def test_the_dtype_of_input_and_target_is_torchs(name, x64):
    """And what torch refuses is refused."""

    def of(module, ones, a, b):
        variance = [ones(3, a)] if name == "gaussian_nll_loss" else []
        try:
            value = getattr(module, name)(ones(3, a), ones(3, b), *variance)
        except (TypeError, RuntimeError):
            return "refused", None
        return str(value.dtype).removeprefix("torch."), float(value)

    for a, b in itertools.product(DTYPES, repeat=2):
        if (name, a, b) == ("poisson_nll_loss", "bool", "bool"):
            continue  # of no use, and not refused
        ours = of(F, lambda n, dtype: jnp.ones(n, dtype), a, b)
        theirs = of(TF, lambda n, dtype: torch.ones(n, dtype=getattr(torch, dtype)), a, b)
        assert ours[0] == theirs[0], (a, b)
        assert ours[1] is theirs[1] or ours[1] == pytest.approx(theirs[1], rel=1e-2), (a, b)


def test_logits_of_bfloat16_have_a_loss_of_float32_where_targets_are():
    x, t = jnp.full(3, 0.5, jnp.bfloat16), jnp.ones(3)
    loss = F.binary_cross_entropy_with_logits(x, t)
    assert loss.dtype == jnp.float32 and loss == pytest.approx(0.474077, abs=1e-6)


NAMES = sorted({case[0] for case in CASES + POSITIVE})


@pytest.mark.parametrize("name", NAMES)
def test_errors(name):
    loss, x = getattr(F, name), jnp.full((4, 3), 0.5)
    with pytest.raises(ValueError, match=rf"{name}: expected target \[4, 3], .* got \[4, 1]; resh"):
        loss(x, x[:, :1])
    with pytest.raises(ValueError, match=rf"{name}: expected reduction \"mean\", .* got 'average'"):
        loss(x, x, reduction="average")
    whole = x.astype(jnp.int32)
    with pytest.raises(TypeError, match=rf"{name}: expected a floating input, got int32"):
        loss(whole, whole if name in ("mse_loss", "l1_loss", "smooth_l1_loss") else x)


def test_errors_of_parameters():
    x = jnp.ones((4, 3))
    with pytest.raises(ValueError, match=r"smooth_l1_loss: expected beta >= 0, got -1"):
        F.smooth_l1_loss(x, x, beta=-1)
    with pytest.raises(ValueError, match=r"huber_loss: expected delta > 0, got 0"):
        F.huber_loss(x, x, delta=0)
    with pytest.raises(ValueError, match=r"mse_loss: expected weight \[4, 3], .* got \[3]"):
        F.mse_loss(x, x, weight=jnp.ones(3))
