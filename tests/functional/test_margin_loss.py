"""Losses of margins, embeddings and likelihoods, against torch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import assert_close, check, check_bfloat16, is_float, normal, sample

SIGNS = np.where(normal(4, 3, seed=5) < 0, -1, 1).astype(np.float32)
COUNTS = np.random.default_rng(0).poisson(2.0, (4, 3)).astype(np.float32)
CLASSES = np.array([0, 2, 1, 2])
LISTED = np.array([[2, 0, -1], [-1, 1, 2], [1, -1, 0], [0, 1, 2]])
PAIR, TRIPLE = 2, 3
# name, arguments, number of floating inputs, fixed inputs, whether torch has second derivatives
CASES = [
    ("hinge_embedding_loss", {"margin": 0.7}, 1, [SIGNS], True),
    ("margin_ranking_loss", {"margin": 0.3, "reduction": "none"}, 2, [SIGNS], True),
    ("cosine_embedding_loss", {"margin": 0.1}, 2, [SIGNS[:, 0]], True),
    ("soft_margin_loss", {"reduction": "sum"}, 1, [SIGNS[:1]], True),
    ("multilabel_margin_loss", {"reduction": "none"}, 1, [LISTED], False),
    ("multi_margin_loss", {"p": 2}, 1, [CLASSES], False),
    ("triplet_margin_loss", {"p": 1.5, "swap": True}, 3, [], True),
    ("poisson_nll_loss", {"full": True}, 1, [COUNTS], True),
    ("multilabel_soft_margin_loss", {"reduction": "none"}, 1, [COUNTS / 10], True),
    ("triplet_margin_with_distance_loss", {"margin": 2.0, "swap": True}, 3, [], True),
    ("triplet_margin_loss", {"p": 1, "reduction": "none"}, 3, [], True),
    ("triplet_margin_loss", {"p": float("inf")}, 3, [], True),
    ("multi_margin_loss", {"margin": 0.2, "reduction": "sum"}, 1, [CLASSES], False),
    ("hinge_embedding_loss", {"reduction": "none"}, 1, [SIGNS[:, :1]], True),
]  # fmt: skip


def ident(case):
    return "-".join([case[0], *(f"{k}={v}" for k, v in case[1].items())])


def pair(name, arguments, constants):
    return (
        lambda *x: getattr(F, name)(*x, *map(jnp.asarray, constants), **arguments),
        lambda *x: getattr(TF, name)(*x, *map(torch.from_numpy, constants), **arguments),
    )


@pytest.mark.parametrize("case", sample(CASES, 8), ids=ident)
def test_against_torch(case):
    name, arguments, count, constants, second = case
    check(
        *pair(name, arguments, constants), *[normal(4, 3, seed=i) for i in range(count)],
        second=second,
    )  # fmt: skip


@pytest.mark.parametrize("shape", [(4, 3), (4,), (4, 1)])
def test_gaussian_variances(shape):
    variance = np.abs(normal(*shape, seed=9))
    check(
        lambda x, t, v: F.gaussian_nll_loss(x, t, v, eps=0.4, full=True),
        lambda x, t, v: TF.gaussian_nll_loss(x, t, v, eps=0.4, full=True),
        normal(4, 3), normal(4, 3, seed=1), variance,
        second=False,  # torch's tape has the clamped value, in some of its second derivatives
    )  # fmt: skip


def test_weights():
    w = np.array([0.5, 0.0, 2.0], np.float32)
    x, t = normal(4, 3), COUNTS / 10
    check(
        lambda x: F.multilabel_soft_margin_loss(x, t, jnp.asarray(w)),
        lambda x: TF.multilabel_soft_margin_loss(x, torch.from_numpy(t), torch.from_numpy(w)),
        x,
    )
    check(
        lambda x: F.multi_margin_loss(x, jnp.asarray(CLASSES), weight=jnp.asarray(w)),
        lambda x: TF.multi_margin_loss(x, torch.from_numpy(CLASSES), weight=torch.from_numpy(w)),
        x,
        second=False,
    )


def test_gradients_at_kinks_are_torchs():
    zeros, ones = np.zeros((4, 3), np.float32), np.ones((4, 3), np.float32)
    check(*pair("hinge_embedding_loss", {}, [-ones]), ones, second=False, vmap=False)
    check(*pair("margin_ranking_loss", {}, [ones]), zeros, zeros, second=False, vmap=False)
    check(*pair("cosine_embedding_loss", {}, [-ones[:, 0]]), zeros, zeros, second=False)
    check(*pair("multi_margin_loss", {"margin": 0.0}, [CLASSES]), zeros, second=False, vmap=False)
    check(*pair("triplet_margin_loss", {"eps": 0.0}, []), zeros, zeros, zeros, second=False)


def test_without_a_batch():
    for x, name, constants in [
        (normal(3), "multi_margin_loss", [np.array(1)]),
        (normal(3), "multi_margin_loss", [np.array([1])]),
        (normal(3), "multilabel_margin_loss", [LISTED[0]]),
    ]:
        check(*pair(name, {"reduction": "none"}, constants), x, second=False)
    first, second = normal(3), normal(3, seed=1)
    check(*pair("cosine_embedding_loss", {}, [np.array(-1.0, np.float32)]), first, second)
    check(*pair("triplet_margin_loss", {}, []), first, second, normal(3, seed=2))


def test_soft_margin_does_not_overflow():
    x = jnp.array([-1e4, 1e4])
    loss, gradient = jax.value_and_grad(lambda x: F.soft_margin_loss(x, jnp.ones(2)))(x)
    assert loss == 5000 and gradient.tolist() == [-0.5, 0.0]


def test_what_is_out_of_range_is_nan():
    x = jnp.ones((2, 3))
    for loss in (
        F.multi_margin_loss(x, jnp.array([0, 3]), reduction="none"),
        F.multilabel_margin_loss(x, jnp.array([[0, 1, -1], [3, -1, -1]]), reduction="none"),
        F.gaussian_nll_loss(x, x, jnp.array([[1.0], [-1.0]]), reduction="none").sum(1),
    ):
        assert jnp.isnan(loss).tolist() == [False, True]


@pytest.mark.parametrize("case", CASES[:9], ids=ident)
def test_low_precision_is_kept(case):
    name, arguments, count, constants, _ = case
    inputs = [normal(4, 3, seed=i) for i in range(count)]
    constants = [jnp.asarray(c, jnp.bfloat16 if is_float(c) else None) for c in constants]
    check_bfloat16(lambda *x: getattr(F, name)(*x, *constants, **arguments), *inputs, factor=2)


@pytest.mark.parametrize("name", ["margin_ranking_loss", "multilabel_soft_margin_loss"])
@pytest.mark.parametrize("dtypes", ["bhb", "bbf", "fbb", "bbb", "bbi"])
def test_result_has_the_dtype_of_all_arrays_together(name, dtypes):
    kinds = {"b": "bfloat16", "h": "float16", "f": "float32", "i": "int32"}
    names = [kinds[d] for d in dtypes]
    ours = getattr(F, name)(*(jnp.ones((2, 3), n) for n in names))
    theirs = getattr(TF, name)(*(torch.ones(2, 3, dtype=getattr(torch, n)) for n in names))
    assert str(theirs.dtype) == f"torch.{ours.dtype}"


def test_shapes_are_checked():
    x = jnp.ones((4, 3))
    for loss in ("hinge_embedding_loss", "soft_margin_loss", "multilabel_soft_margin_loss"):
        with pytest.raises(ValueError, match=rf"{loss}: expected shapes that broadcast, got input"):
            getattr(F, loss)(x, jnp.ones((4, 2)))
    with pytest.raises(ValueError, match=r"as many axes .* got \[4, 3], \[4, 3] and \[3]; add axe"):
        F.margin_ranking_loss(x, x, x[0])
    with pytest.raises(ValueError, match=r"multi_margin_loss: expected target \[4], one class .*"):
        F.multi_margin_loss(x, jnp.zeros(3, jnp.int32))
    with pytest.raises(ValueError, match=r"expected weight \[3], one per class .* got \[2]"):
        F.multi_margin_loss(x, jnp.zeros(4, jnp.int32), weight=jnp.ones(2))
    with pytest.raises(ValueError, match=r"expected target \[4, 3], the input's shape, got \[4]"):
        F.multilabel_margin_loss(x, jnp.zeros(4, jnp.int32))
    with pytest.raises(ValueError, match=r"expected input \[N, C] or \[C] .* got \[1, 4, 3]"):
        F.multi_margin_loss(x[None], jnp.zeros(1, jnp.int32))
    with pytest.raises(ValueError, match=r"expected input \[\.\.\., C], got a scalar"):
        F.multilabel_soft_margin_loss(x[0, 0], x[0, 0])
    with pytest.raises(ValueError, match=r"cosine_embedding_loss: expected inputs \[N, D] and"):
        F.cosine_embedding_loss(x, x, x)
    with pytest.raises(ValueError, match=r"triplet_margin_loss: expected three inputs with as ma"):
        F.triplet_margin_loss(x, x, x[0])
    with pytest.raises(ValueError, match=r"poisson_nll_loss: expected target \[4, 3] or what bro"):
        F.poisson_nll_loss(x, x[:3])
    with pytest.raises(ValueError, match=r"expected var \[4, 3], \[4] or .* got \[3]"):
        F.gaussian_nll_loss(x, x, jnp.ones(3))


def test_numbers_and_kinds_are_checked():
    x, classes = jnp.ones((4, 3)), jnp.zeros(4, jnp.int32)
    with pytest.raises(ValueError, match="multi_margin_loss: expected p 1 or 2, got 3"):
        F.multi_margin_loss(x, classes, 3)
    with pytest.raises(ValueError, match="triplet_margin_loss: expected margin > 0, got 0"):
        F.triplet_margin_loss(x, x, x, 0)
    with pytest.raises(ValueError, match="gaussian_nll_loss: expected var >= 0, got -1"):
        F.gaussian_nll_loss(x, x, -1.0)
    for loss in (F.multi_margin_loss, F.multilabel_margin_loss):
        with pytest.raises(TypeError, match=r"expected integer classes, got float32 .*astype"):
            loss(x, x)
    # Which take integers: see test_distance.py and test_loss.py.
    mixed = ("triplet", "cosine", "poisson")
    for name in {case[0] for case in CASES if not case[0].startswith(mixed)}:
        loss, more = getattr(F, name), (x, x) if "ranking" in name else (x,)
        with pytest.raises(TypeError, match=f"{name}: expected a floating input, got int32"):
            loss(x.astype(jnp.int32), *more)
    with pytest.raises(ValueError, match="hinge_embedding_loss: expected reduction"):
        F.hinge_embedding_loss(x, x, reduction="average")


def test_number_as_variance():
    x, t = normal(4, 3), normal(4, 3, seed=1)
    expected = TF.gaussian_nll_loss(torch.from_numpy(x), torch.from_numpy(t), 0.3)
    assert_close(F.gaussian_nll_loss(jnp.asarray(x), jnp.asarray(t), 0.3), expected)
