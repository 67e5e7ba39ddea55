import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from tests.functional.check import assert_close, check, check_bfloat16, normal, sample

INF = float("inf")
PAIRS = [((4, 3), (4, 3)), ((2, 1, 3), (4, 3)), ((3,), (2, 3)), ((0, 3), (0, 3)), ((2, 1), (2, 1))]


@pytest.mark.parametrize("shapes", sample(PAIRS, 2), ids=str)
@pytest.mark.parametrize("p", sample([2.0, INF, 1.0, 1.5, 3.0, -1.0], 1))
def test_pairwise_distance(shapes, p):
    check(
        lambda a, b: F.pairwise_distance(a, b, p, 1e-3, keepdim=p == 2),
        lambda a, b: TF.pairwise_distance(a, b, p, 1e-3, keepdim=p == 2),
        normal(*shapes[0]),
        normal(*shapes[1], seed=1),
        vmap=0 not in shapes[0],
    )


@pytest.mark.parametrize("shapes", sample(PAIRS, 2), ids=str)
@pytest.mark.parametrize("dim", sample([-1, 0], 1))
def test_cosine_similarity(shapes, dim):
    check(
        lambda a, b: F.cosine_similarity(a, b, dim),
        lambda a, b: TF.cosine_similarity(a, b, dim),
        normal(*shapes[0]),
        normal(*shapes[1], seed=1),
        vmap=0 not in shapes[0],
    )


def test_vectors_of_infinite_length_are_similar_to_nothing_as_in_torch():
    x, y = np.float32([[1e30, -2e30, 1e30]]), normal(1, 3)
    value, gradient = jax.value_and_grad(lambda x: F.cosine_similarity(x, y).sum())(x)
    leaf = torch.from_numpy(x).requires_grad_()
    expected = TF.cosine_similarity(leaf, torch.from_numpy(y)).sum()
    expected.backward()
    assert_close(value, expected)
    assert_close(gradient, leaf.grad)


@pytest.mark.parametrize("size", sample([(5, 3), (1, 3), (2, 1)], 2), ids=str)
@pytest.mark.parametrize("p", sample([2.0, 0.5, 1.0, 1.5, 3.0, INF], 1))
def test_pdist(size, p):
    check(lambda x: F.pdist(x, p), lambda x: TF.pdist(x, p), normal(*size), second=False)


@pytest.mark.parametrize("p", [0.5, 1.0, 1.5, 2.0, 3.0, INF])
def test_equal_points_have_a_gradient_of_zero(p):
    x = np.array([[0, 1, -2], [0, 1, -2], [1, 1, 3]], np.float32)
    value, gradient = jax.value_and_grad(lambda x: F.pdist(x, p).sum())(x)
    leaf = torch.from_numpy(x).requires_grad_()
    expected = TF.pdist(leaf, p).sum()
    assert_close(value, expected)
    assert_close(gradient, torch.autograd.grad(expected, leaf)[0])


def test_no_points():
    """torch crashes in the gradient."""
    assert jax.grad(lambda x: F.pdist(x).sum())(jnp.zeros((0, 2))).shape == (0, 2)


def test_counting():
    x = np.array([[0, 1, -2], [0, 1, -2], [1, 1, 3]], np.float32)
    assert F.pdist(x, 0).tolist() == [0, 2, 2]
    assert not jax.grad(lambda x: F.pdist(x, 0).sum())(x).any()


def test_vectors_without_a_direction():
    """Shorter than eps: as torch divides by eps, and differentiates the length."""
    for scale in (0.0, 1e-9):
        arrays = scale * np.array([1, 2, 3], np.float32), np.ones(3, np.float32)
        leaves = [torch.from_numpy(a).requires_grad_() for a in arrays]
        expected = TF.cosine_similarity(*leaves, dim=0, eps=1e-4)
        value, gradients = jax.value_and_grad(F.cosine_similarity, (0, 1))(*arrays, 0, 1e-4)
        assert_close(value, expected)
        for ours, theirs in zip(gradients, torch.autograd.grad(expected, leaves), strict=True):
            assert_close(ours, theirs)


def test_dtypes():
    check_bfloat16(lambda a, b: F.cosine_similarity(a, b), normal(4, 3), normal(4, 3, seed=1))
    check_bfloat16(lambda a, b: F.pairwise_distance(a, b), normal(4, 3), normal(4, 3, seed=1))
    check_bfloat16(F.pdist, normal(4, 3))
    mixed = F.cosine_similarity(jnp.ones((2, 3), jnp.bfloat16), jnp.ones((2, 3)))
    assert mixed.dtype == jnp.float32
    ints = np.array([[1, 2]]), np.array([[4, 6]])
    assert_close(F.pairwise_distance(*ints), TF.pairwise_distance(*map(torch.from_numpy, ints)))


FLOATS = normal(4, 3), normal(4, 3, seed=1), normal(4, 3, seed=2)
MIXED = [("float16", "int8"), ("int32", "float32"), ("uint8", "uint8"), ("int8", "uint8"),
         ("float16", "bfloat16"), ("bool", "float64"), ("int16", "int32")]  # fmt: skip


@pytest.mark.parametrize("dtypes", MIXED, ids="-".join)
@pytest.mark.parametrize("name, more", [
    ("cosine_similarity", {}), ("pairwise_distance", {"p": 1.0}),
    ("cosine_embedding_loss", {"target": np.array([1, -1, 1, 1])}),
    ("triplet_margin_loss", {}), ("triplet_margin_loss", {"swap": True, "reduction": "none"}),
    ("triplet_margin_with_distance_loss", {}),
])  # fmt: skip
def test_inputs_of_two_dtypes(name, more, dtypes):
    """Integers are floats beside floats; two give an integer's difference, which may wrap."""
    count = 3 if name.startswith("triplet") else 2
    arrays = [np.abs(3 * x) for x in FLOATS[:count]]
    theirs = [torch.from_numpy(x).to(getattr(torch, d)) for x, d in zip(arrays, dtypes * 2)]
    with jax.enable_x64(True):
        ours = [jnp.asarray(np.asarray(x, d)) for x, d in zip(arrays, dtypes * 2)]
        given = {
            k: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for k, v in more.items()
        }
        try:
            expected = getattr(TF, name)(*theirs, **given)
        except RuntimeError:
            with pytest.raises(TypeError, match=f"{name[:7]}.*: expected"):
                getattr(F, name)(*ours, **more)
            return
        output = getattr(F, name)(*ours, **more)
    low = {"float16", "bfloat16"} & set(dtypes)
    assert str(output.dtype) == str(expected.dtype)[6:]
    assert_close(output, expected, *low or ("float32",))


def test_axes_of_normalize():
    x = normal(2, 3, 4)
    for dim in [(0, 2), [1, -1], (), -3]:
        check(lambda x: F.normalize(x, 3, dim), lambda x: TF.normalize(x, 3, dim), x)  # noqa: B023
    for dim in [(1, 1), (1, -2), 3, -4]:
        with pytest.raises(ValueError, match="normalize: expected dim an axis of"):
            F.normalize(x, dim=dim)
        with pytest.raises((RuntimeError, IndexError)):
            TF.normalize(torch.from_numpy(x), dim=dim)


@pytest.mark.parametrize("p", [INF, -INF, -1.0])
def test_vectors_of_no_elements_have_no_largest(p):
    x = jnp.zeros((3, 0))
    with pytest.raises(ValueError, match="normalize: expected vectors of 1 element or more for p="):
        F.normalize(x, p, 1)
    with pytest.raises(ValueError, match="pairwise_distance: expected vectors of 1 element or mo"):
        F.pairwise_distance(x, x, p)
    assert F.normalize(x, p, 0).shape == (3, 0)
    assert F.pdist(x, INF).tolist() == [0, 0, 0]


def test_errors():
    x = jnp.ones((2, 3))
    with pytest.raises(
        ValueError, match=r"pairwise_distance: expected inputs that broadcast again"
    ):
        F.pairwise_distance(x, jnp.ones((2, 4)))
    with pytest.raises(
        ValueError, match=r"cosine_similarity: expected dim an axis of \[2, 3], got"
    ):
        F.cosine_similarity(x, x, 2)
    with pytest.raises(TypeError, match="cosine_similarity: expected a floating input, got int32"):
        F.cosine_similarity(x.astype(int), x.astype(int))
    with pytest.raises(ValueError, match="triplet_margin_loss: expected inputs that broadcast aga"):
        F.triplet_margin_loss(x, x, x[:, :2])
    with pytest.raises(ValueError, match="cosine_embedding_loss: expected inputs that broadcast a"):
        F.cosine_embedding_loss(x, x, jnp.ones(3))
    with pytest.raises(
        TypeError, match="pairwise_distance: expected numbers, got bool and float32"
    ):
        F.pairwise_distance(x > 0, x)
    with pytest.raises(ValueError, match=r"pdist: expected input \[N, D], got \[3]"):
        F.pdist(x[0])
    with pytest.raises(ValueError, match="pdist: expected p of 0 or more, got -1"):
        F.pdist(x, -1)
    with pytest.raises(TypeError, match="pdist: expected a floating input, got int32"):
        F.pdist(x.astype(int))
