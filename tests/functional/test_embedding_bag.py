import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF
from jax import export

from fx import functional as F
from fx import nn
from tests.functional.check import assert_close, check, check_bfloat16, normal, sample

FLAT, OFFSETS = np.array([2, 0, 4, 2, 2, 1]), np.array([0, 2, 3])
PADDED = np.array([[2, 0, 4], [2, 2, 1], [3, 3, 3]])
# torch crashes in the gradient of a maximum over nothing, so no bag of these is all padding.
CASES = [
    (PADDED, None, {"mode": "max", "padding_idx": 2}),
    (FLAT, OFFSETS, {"mode": "max", "padding_idx": 1}),
    (FLAT, OFFSETS, {"mode": "mean", "max_norm": 0.8, "norm_type": 1.0}),
    (FLAT, np.array([0, 3, 6]), {"mode": "sum", "include_last_offset": True}),
    (PADDED, None, {}),
    (PADDED, None, {"padding_idx": -2, "max_norm": 1.0}),
    (FLAT, OFFSETS, {"mode": "sum", "padding_idx": 2}),
    (FLAT, np.array([0, 4]), {"mode": "sum", "include_last_offset": True}),
    (FLAT[:1], np.array([0]), {}),
]


def ids(case):
    return f"{case[0].shape}-{case[2]}"


@pytest.mark.parametrize("case", sample(CASES, 4), ids=ids)
def test_embedding_bag(case):
    index, offsets, kwargs = case
    check(
        lambda w: F.embedding_bag(jnp.asarray(index, jnp.int32), w, offsets, **kwargs),
        # A copy, which torch's max_norm changes in place.
        lambda w: TF.embedding_bag(
            torch.from_numpy(index), w.clone(),
            None if offsets is None else torch.from_numpy(offsets), **kwargs,
        ),
        normal(5, 3),
        second=False,
    )  # fmt: skip


def test_gradients_scaled_by_frequency():
    """Against torch's embedding: its embedding_bag takes the count of another row."""
    check(
        lambda w: F.embedding_bag(PADDED, w, mode="sum", scale_grad_by_freq=True),
        lambda w: TF.embedding(torch.from_numpy(PADDED), w, scale_grad_by_freq=True).sum(1),
        normal(5, 3),
        second=False,
    )


@pytest.mark.parametrize("offsets", [None, OFFSETS])
def test_weights_of_samples(offsets):
    index = PADDED if offsets is None else FLAT
    check(
        lambda w, s: F.embedding_bag(
            jnp.asarray(index, jnp.int32), w, offsets, mode="sum", per_sample_weights=s,
            padding_idx=2,
        ),
        lambda w, s: TF.embedding_bag(
            torch.from_numpy(index), w, None if offsets is None else torch.from_numpy(offsets),
            mode="sum", per_sample_weights=s, padding_idx=2,
        ),
        normal(5, 3),
        normal(*index.shape, seed=1),
        second=False,
    )  # fmt: skip


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_empty_bags_are_zero(mode):
    offsets = np.array([0, 0, 2, 6, 6])
    ours = F.embedding_bag(jnp.asarray(FLAT, jnp.int32), normal(5, 3), offsets, mode=mode)
    weight = torch.from_numpy(normal(5, 3))
    theirs = TF.embedding_bag(torch.from_numpy(FLAT), weight, torch.from_numpy(offsets), mode=mode)
    assert_close(ours, theirs)
    assert not ours[0].any() and not ours[3:].any()
    nothing = F.embedding_bag(jnp.zeros(0, jnp.int32), normal(5, 3), np.array([0, 0]), mode=mode)
    assert nothing.shape == (2, 3) and not nothing.any()


@pytest.mark.parametrize("mode", ["sum", "max"])
@pytest.mark.parametrize("offsets", [None, np.array([0])])
def test_the_gradient_of_equal_maxima_goes_to_the_first(mode, offsets):
    index = np.array([[3, 1, 4]]) if offsets is None else np.array([3, 1, 4])
    weight = np.ones((5, 2), np.float32)
    ours = jax.grad(lambda w: F.embedding_bag(index, w, offsets, mode=mode).sum())(weight)
    leaf = torch.from_numpy(weight).requires_grad_()
    offsets = None if offsets is None else torch.from_numpy(offsets)
    TF.embedding_bag(torch.from_numpy(index), leaf, offsets, mode=mode).sum().backward()
    assert_close(ours, leaf.grad)


@pytest.mark.parametrize(
    "kwargs",
    [
        {"max_norm": 1.0},
        {"max_norm": 0.5, "norm_type": 1.0, "padding_idx": 2},
        {"scale_grad_by_freq": True, "max_norm": 2.0, "norm_type": float("inf")},
    ],
    ids=str,
)
def test_embedding_with_norms_and_frequencies(kwargs):
    check(
        lambda w: F.embedding(jnp.asarray(PADDED, jnp.int32), w, **kwargs),
        lambda w: TF.embedding(torch.from_numpy(PADDED), w.clone(), **kwargs),
        normal(5, 3),
        second=False,
    )


def test_low_precision_is_kept_and_summed_in_float32():
    check_bfloat16(lambda w: F.embedding_bag(PADDED, w), normal(5, 3))
    ones = jnp.ones((1, 1), jnp.bfloat16)
    assert F.embedding_bag(jnp.zeros((1, 1024), jnp.int32), ones, mode="sum").item() == 1024


@pytest.mark.parametrize("mode", ["mean", "max"])
def test_any_number_of_bags_in_one_export(mode):
    run = jax.jit(lambda i, w, o: F.embedding_bag(i, w, o, mode=mode, include_last_offset=True))
    shapes = ("n", jnp.int32), ("5, 3", jnp.float32), ("b + 1", jnp.int32)
    scope = export.SymbolicScope()
    specs = [
        jax.ShapeDtypeStruct(export.symbolic_shape(shape, scope=scope), dtype)
        for shape, dtype in shapes
    ]
    program = export.export(run)(*specs)
    for offsets in ([0, 2, 6], [0, 0, 2, 3]):
        given = jnp.asarray(FLAT, jnp.int32), jnp.asarray(normal(5, 3)), jnp.array(offsets)
        assert_close(program.call(*given), run(*given))


def test_errors():
    w, index = jnp.ones((5, 3)), jnp.asarray(PADDED, jnp.int32)
    with pytest.raises(ValueError, match='expected mode "sum", "mean" or "max", got \'min\''):
        F.embedding_bag(index, w, mode="min")
    with pytest.raises(ValueError, match="expected sparse=False and scale_grad_by_freq=False with"):
        F.embedding_bag(index, w, mode="max", sparse=True)
    with pytest.raises(ValueError, match='expected mode="sum" with per_sample_weights, got \'mean'):
        F.embedding_bag(index, w, per_sample_weights=jnp.ones((3, 3)))
    with pytest.raises(ValueError, match=r"expected per_sample_weights \[3, 3], the input's shape"):
        F.embedding_bag(index, w, mode="sum", per_sample_weights=jnp.ones(3))
    with pytest.raises(
        TypeError, match="per_sample_weights of the weight's dtype float32, got int"
    ):
        F.embedding_bag(index, w, mode="sum", per_sample_weights=index)
    with pytest.raises(ValueError, match=r"expected weight \[num, dim], got \[5]"):
        F.embedding_bag(index, w[:, 0])
    with pytest.raises(ValueError, match=r"expected input \[B, N] or \[N] of integers, got \[]"):
        F.embedding_bag(index[0, 0], w)
    with pytest.raises(ValueError, match="expected offsets with input .* and offsets None"):
        F.embedding_bag(index[0], w)
    with pytest.raises(ValueError, match="and none with .* and offsets"):
        F.embedding_bag(index, w, jnp.array([0]))
    with pytest.raises(TypeError, match="expected integer offsets, got float32"):
        F.embedding_bag(index[0], w, jnp.zeros(2))
    with pytest.raises(
        ValueError, match=r"expected offsets \[B], \[B \+ 1] with include_last_offs"
    ):
        F.embedding_bag(index[0], w, jnp.zeros(0, jnp.int32), include_last_offset=True)
    with pytest.raises(TypeError, match="embedding: expected integer input, got float32"):
        F.embedding_bag(w, w)
    with pytest.raises(ValueError, match="expected padding_idx within the 5 rows of the weight"):
        F.embedding_bag(index, w, padding_idx=5)


@pytest.mark.parametrize("mode", ["sum", "mean", "max"])
def test_a_table_without_rows_takes_no_indices(mode):
    table, none = jnp.zeros((0, 3)), np.zeros((0, 2), int)
    theirs = torch.zeros(0, 3)
    assert F.embedding(none, table).shape == (0, 2, 3)
    assert F.embedding_bag(none, table, mode=mode).shape == (0, 3)
    bags = F.embedding_bag(none[:, 0], table, jnp.array([0, 0]), mode=mode)
    expected = TF.embedding_bag(
        torch.zeros(0, dtype=torch.long), theirs, torch.tensor([0, 0]), mode=mode
    )
    np.testing.assert_array_equal(bags, expected)
    assert nn.EmbeddingBag(0, 3, mode=mode).init(jax.random.key(0))[0]["weight"].shape == (0, 3)
    with pytest.raises(ValueError, match="embedding: expected an empty input for a weight without"):
        F.embedding_bag(np.zeros((1, 2), int), table, mode=mode)
