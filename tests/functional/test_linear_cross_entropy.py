"""The loss of a last layer: whole, and some rows at a time."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

import fx.functional as F
from fx import nn
from tests.functional.check import assert_close, normal

X, W, B = normal(6, 3), normal(7, 3, seed=1), normal(7, seed=2)
TARGET = np.array([0, 6, 2, 2, 5, 1])
WEIGHT = np.linspace(0.1, 1.5, 7, dtype=np.float32)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize(
    "options",
    [nn.LinearCrossEntropyOptions(), nn.LinearCrossEntropyOptions(batch_chunk_size=4)],
)
def test_rows_at_a_time_give_the_same(reduction, options):
    given = {"weight": jnp.asarray(WEIGHT), "reduction": reduction, "ignore_index": 2}

    def loss(x, w, b, options):
        return F.linear_cross_entropy(
            x, w, jnp.asarray(TARGET, jnp.int32), linear_bias=b, options=options, **given
        )

    tensors = [torch.from_numpy(a).requires_grad_() for a in (X, W, B)]
    given = {**given, "weight": torch.from_numpy(WEIGHT)}
    theirs = TF.linear_cross_entropy(
        tensors[0], tensors[1], torch.from_numpy(TARGET), linear_bias=tensors[2], **given
    )
    theirs.sum().backward()
    given["weight"] = jnp.asarray(WEIGHT)
    arrays = [jnp.asarray(a) for a in (X, W, B)]
    for chosen in (None, options):
        value = loss(*arrays, chosen)
        assert_close(value, theirs)
        found = jax.grad(lambda *a: loss(*a, chosen).sum(), (0, 1, 2))(*arrays)
        for ours, tensor in zip(found, tensors):
            assert_close(ours, tensor.grad)


def test_logits_do_not_exist_at_once():
    options = nn.LinearCrossEntropyOptions(batch_chunk_size=2)

    def gradient(x, w, t):
        return jax.grad(lambda x: F.linear_cross_entropy(x, w, t, options=options))(x)

    shown = str(jax.make_jaxpr(gradient)(X, W, jnp.asarray(TARGET, jnp.int32)))
    assert "[2,1,7]" in shown and "[6,1,7]" not in shown and "[6,7]" not in shown


@pytest.mark.parametrize("rows, method, expected", [
    (None, "auto", 16), (None, "aspect_ratio", 32), (None, "aspect_ratio:4", 8), (5, "auto", 5),
    (None, None, 100),
])  # fmt: skip
def test_rows_are_torchs(rows, method, expected):
    ours = nn.LinearCrossEntropyOptions(batch_chunk_size=rows, chunking_method=method)
    theirs = torch.nn.LinearCrossEntropyOptions(batch_chunk_size=rows, chunking_method=method)
    adjusted = theirs._adjust(100, 8, 40, torch.float32)
    assert ours.rows(100, 8, 40) == expected == adjusted.batch_chunk_size


@pytest.mark.parametrize("call, text", [
    (lambda: F.linear_cross_entropy(X[None], W, TARGET), "expected input .N, D. or .D."),
    (lambda: F.linear_cross_entropy(X, W[:, :2], TARGET), "expected input .N, D. or .D."),
    (lambda: F.linear_cross_entropy(X[0], W[:, None], TARGET[0]), "add an axis, x.None."),
    (lambda: F.linear_cross_entropy(X, W, TARGET, linear_bias=B[1:]), "expected linear_bias .7.,"),
    (lambda: F.linear_cross_entropy(X, W, normal(6, 7), ignore_index=1), "expected ignore_index="),
    (lambda: nn.LinearCrossEntropyOptions(batch_chunk_size=0), "expected batch_chunk_size of 1"),
    (lambda: nn.LinearCrossEntropyOptions(chunking_method="rows"), "expected chunking_method"),
    (lambda: nn.LinearCrossEntropyOptions(acc_policy="loose"), "expected acc_policy"),
    (lambda: nn.LinearCrossEntropyLoss(3, 5, weight=np.ones(4)), "expected weight .5., got .4."),
    (lambda: nn.LinearCrossEntropyLoss(3, 5, label_smoothing=2), "expected label_smoothing"),
])  # fmt: skip
def test_errors(call, text):
    with pytest.raises(ValueError, match=text):
        call()
