import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import assert_close, check, check_bfloat16, normal

SHAPES = [(6, 5), (5,), (2, 5, 3), (2, 5, 3, 4)]
REDUCTIONS = ["mean", "sum", "none"]
# shape, weighted, smoothing, reduction
SAMPLE = [
    ((6, 5), False, 0.0, "mean"),
    ((6, 5), True, 0.1, "mean"),
    ((5,), True, 0.0, "sum"),
    ((2, 5, 3), True, 0.0, "mean"),
    ((2, 5, 3, 4), False, 0.3, "none"),
]
SWEEP = list(itertools.product(SHAPES, [False, True], [0.0, 0.1, 1.0], REDUCTIONS))
WEIGHT = np.random.default_rng(1).uniform(0.1, 2, 5).astype(np.float32)


def classes(shape, ignore=None):
    shape = (shape[0], *shape[2:]) if len(shape) > 1 else ()
    target = np.random.default_rng(0).integers(0, 5, shape)
    if ignore is not None and shape:
        target.flat[::3] = ignore
    return target


def soft(shape):
    logits = torch.from_numpy(normal(*shape, seed=5))
    return logits.softmax(1 if len(shape) > 1 else 0).numpy()


def run(case, ignore):
    shape, weighted, smoothing, reduction = case
    arguments = {"label_smoothing": smoothing, "reduction": reduction}
    if ignore is not None:
        arguments["ignore_index"] = ignore
    target = classes(shape, ignore)
    check(
        lambda x: F.cross_entropy(
            x,
            jnp.asarray(target, jnp.int32),
            jnp.asarray(WEIGHT) if weighted else None,
            **arguments,
        ),
        lambda x: TF.cross_entropy(
            x, torch.from_numpy(target), torch.from_numpy(WEIGHT) if weighted else None, **arguments
        ),
        normal(*shape),
    )


def run_soft(case):
    shape, weighted, smoothing, reduction = case
    arguments = {"label_smoothing": smoothing, "reduction": reduction}
    check(
        lambda x, t: F.cross_entropy(x, t, jnp.asarray(WEIGHT) if weighted else None, **arguments),
        lambda x, t: TF.cross_entropy(
            x, t, torch.from_numpy(WEIGHT) if weighted else None, **arguments
        ),
        normal(*shape),
        soft(shape),
    )


@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_classes(case):
    run(case, ignore=2)


@pytest.mark.parametrize("case", SAMPLE, ids=str)
def test_probabilities(case):
    run_soft(case)


@pytest.mark.full
@pytest.mark.parametrize("case", SWEEP, ids=str)
def test_sweep(case):
    run(case, None)
    run(case, -100)
    run(case, 7)
    run_soft(case)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_nll_loss(shape, weighted):
    target = classes(shape, -100)
    weight = WEIGHT if weighted else None
    for reduction in REDUCTIONS:
        x = normal(*shape)
        expected = TF.nll_loss(
            torch.from_numpy(x),
            torch.from_numpy(target),
            torch.from_numpy(WEIGHT) if weighted else None,
            reduction=reduction,
        )
        assert_close(F.nll_loss(x, target, weight, reduction=reduction), expected)


def test_nll_loss_derivatives():
    target = classes((2, 5, 3), 1)
    check(
        lambda x: F.nll_loss(x, target, jnp.asarray(WEIGHT), ignore_index=1),
        lambda x: TF.nll_loss(
            x, torch.from_numpy(target), torch.from_numpy(WEIGHT), ignore_index=1
        ),
        normal(2, 5, 3),
    )


def test_all_ignored():
    x, target = normal(3, 5), np.full(3, -100)
    assert jnp.isnan(F.cross_entropy(x, target))
    assert F.cross_entropy(x, target, reduction="sum") == 0
    assert not F.cross_entropy(x, target, reduction="none").any()


@pytest.mark.parametrize("outside", [5, -1])
def test_a_class_outside_makes_the_loss_nan(outside):
    target = jnp.array([0, outside, 1])
    loss = jax.jit(F.cross_entropy)(normal(3, 5), target)
    assert jnp.isnan(loss)
    each = F.cross_entropy(normal(3, 5), target, reduction="none")
    np.testing.assert_array_equal(jnp.isnan(each), [False, True, False])


def test_large_logits_and_masked_classes():
    x = np.array([[1e4, 0.0, -1e4], [0.0, -np.inf, 2.0]], np.float32)
    target = np.array([1, 2])
    assert_close(
        F.cross_entropy(x, target, reduction="none"),
        TF.cross_entropy(torch.from_numpy(x), torch.from_numpy(target), reduction="none"),
    )


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
def test_small_integers(dtype):
    x = normal(3, 200)
    target = np.array([0, 100, 127])
    expected = F.cross_entropy(x, target)
    assert_close(F.cross_entropy(x, target.astype(dtype)), expected)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_low_precision_is_kept_and_sums_in_float32(dtype):
    target = classes((6, 5))
    check_bfloat16(lambda x: F.cross_entropy(x, target), normal(6, 5), dtype=dtype)
    check_bfloat16(lambda x: F.nll_loss(x, target), normal(6, 5), dtype=dtype)
    probabilities = jnp.asarray(soft((6, 5)), dtype)
    check_bfloat16(lambda x: F.cross_entropy(x, probabilities), normal(6, 5), dtype=dtype)
    loss = F.cross_entropy(jnp.zeros((1, 4096), dtype), jnp.array([0]))
    assert_close(float(loss), np.log(4096), dtype)


@pytest.mark.parametrize(
    "names",
    [
        ("bfloat16", "float32", "bfloat16"),
        ("float16", "bfloat16", "float16"),
        ("bfloat16", "bfloat16", "float32"),
        ("bfloat16", "bfloat16", "bfloat16"),
    ],
)
def test_probabilities_give_the_dtype_of_all_arrays_together(names):
    shapes = ((2, 3), (2, 3), (3,))
    ours = F.cross_entropy(*(jnp.ones(s, n) for s, n in zip(shapes, names)))
    theirs = TF.cross_entropy(
        *(torch.ones(s, dtype=getattr(torch, n)) for s, n in zip(shapes, names))
    )
    assert str(theirs.dtype) == f"torch.{ours.dtype}"
    assert_close(ours, theirs, "bfloat16")


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_one_class_on_an_axis_of_its_own(reduction):
    """torch takes it forward only: its gradient raises."""
    x, weight = normal(3), np.array([0.5, 2, 3], np.float32)
    for name, target in itertools.product(("nll_loss", "cross_entropy"), ([1], [-100])):
        theirs, ours = torch.tensor(target), jnp.array(target)
        expected = getattr(TF, name)(
            torch.tensor(x), theirs, torch.tensor(weight), reduction=reduction
        )
        assert_close(getattr(F, name)(x, ours, weight, reduction=reduction), expected)


def test_errors():
    x, target = normal(8, 10), jnp.zeros(8, jnp.int32)
    with pytest.raises(ValueError, match=r"expected target \[8] for input \[8, 10], got \[7]"):
        F.cross_entropy(x, target[:7])
    with pytest.raises(ValueError, match=r"nll_loss: expected target \[8] for input \[8, 10], got"):
        F.nll_loss(x, target[None])
    with pytest.raises(TypeError, match=r"expected integer classes \[8] or, .* got float32 \[8]"):
        F.cross_entropy(x, target.astype(jnp.float32))
    with pytest.raises(TypeError, match=r"nll_loss: expected integer classes"):
        F.nll_loss(x, x)
    with pytest.raises(ValueError, match=r"cross_entropy: expected weight \[10], one per class"):
        F.cross_entropy(x, target, jnp.ones(8))
    with pytest.raises(ValueError, match=r"cross_entropy: expected reduction .* got 'avg'"):
        F.cross_entropy(x, target, reduction="avg")
    with pytest.raises(ValueError, match=r"label_smoothing between 0 and 1, got 1.5"):
        F.cross_entropy(x, target, label_smoothing=1.5)
    with pytest.raises(ValueError, match=r"expected input \[N, C, ...] or \[C], got a scalar"):
        F.cross_entropy(jnp.float32(1), target)
    with pytest.raises(TypeError, match=r"cross_entropy: expected a floating input, got int32"):
        F.cross_entropy(jnp.ones((8, 10), jnp.int32), target)
