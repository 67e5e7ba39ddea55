"""Weights begin as torch's do."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import nn

KEY = jax.random.key(0)

# name, arguments, bounds of weight and bias
UNIFORM = [
    ("Linear", (50, 400), 1 / math.sqrt(50)),
    ("Bilinear", (30, 20, 40), 1 / math.sqrt(30)),
    ("Conv1d", (16, 64, 5), 1 / math.sqrt(80)),
    ("Conv2d", (16, 64, 3), 1 / math.sqrt(144)),
    ("Conv2d", (16, 64, (3, 2), 1, 0, 1, 4), 1 / math.sqrt(24)),
    ("Conv3d", (8, 64, 2), 1 / math.sqrt(64)),
]


@pytest.mark.parametrize(("name", "args", "bound"), UNIFORM, ids=lambda v: str(v)[:30])
def test_uniform_within_torchs_bounds(name, args, bound):
    params, _ = getattr(nn, name)(*args).init(KEY)
    torch.manual_seed(0)
    twin = getattr(torch.nn, name)(*args)
    for part in ("weight", "bias"):
        ours, theirs = np.asarray(params[part]), getattr(twin, part).detach().numpy()
        for values in (ours, theirs):  # both, so that the bound is torch's too
            largest, count = np.abs(values).max(), values.size
            assert largest <= bound * (1 + 1e-6)
            assert largest >= bound * (1 - 12 / count)  # fails once in 160,000 seeds
            # Five standard deviations of the mean and of the standard deviation of a sample.
            assert abs(values.mean()) <= 5 * bound / math.sqrt(3 * count)
            spread = bound / math.sqrt(3)
            assert abs(values.std() - spread) <= 5 * spread * math.sqrt(0.2 / count)


@pytest.mark.parametrize("padding_idx", [None, 3, -1])
def test_embedding_is_normal_but_for_the_padding(padding_idx):
    layer = nn.Embedding(200, 50, padding_idx)
    table = np.asarray(layer.init(KEY)[0]["weight"])
    if padding_idx is not None:
        assert not table[padding_idx].any()
        table = np.delete(table, padding_idx, axis=0)
    assert abs(table.mean()) <= 5 / math.sqrt(table.size)
    assert abs(table.std() - 1) <= 5 / math.sqrt(2 * table.size)
    assert table.all()


@pytest.mark.parametrize(
    "layer",
    [
        nn.BatchNorm1d(3), nn.BatchNorm2d(3), nn.BatchNorm3d(3), nn.LayerNorm((2, 3)),
        nn.GroupNorm(1, 3), nn.InstanceNorm2d(3, affine=True, track_running_stats=True),
        nn.RMSNorm(3),
    ],
    ids=str,
)  # fmt: skip
def test_norms_begin_with_ones_and_zeros(layer):
    twin = getattr(torch.nn, type(layer).__name__)
    args = {"LayerNorm": ((2, 3),), "GroupNorm": (1, 3)}.get(type(layer).__name__, (3,))
    tracked = {"affine": True, "track_running_stats": True}
    twin = twin(*args, **(tracked if "Instance" in type(layer).__name__ else {}))
    values = fx.state_dict(layer, *layer.init(KEY))
    for name, theirs in twin.state_dict().items():
        np.testing.assert_array_equal(values[name], theirs.numpy())
    if "num_batches_tracked" in values:
        assert values["num_batches_tracked"].dtype == jnp.int32


def test_prelu_begins_with_its_argument():
    assert nn.PReLU(2, 0.1).init(KEY)[0]["weight"].tolist() == [np.float32(0.1)] * 2


def test_weights_given_to_an_embedding():
    table = np.arange(6, dtype=np.float32).reshape(3, 2)
    trained = nn.Embedding.from_pretrained(table, freeze=False, padding_idx=0)
    frozen = nn.Embedding.from_pretrained(table)
    np.testing.assert_array_equal(trained.init(KEY)[0]["weight"], table)
    params, state = frozen.init(KEY)
    assert params == {}
    np.testing.assert_array_equal(state["weight"], table)
    assert list(fx.state_dict(frozen, params, state)) == ["weight"]
    output, _ = frozen.apply(params, state, jnp.array([2, 0]))
    np.testing.assert_array_equal(output, table[[2, 0]])


def test_weights_given_to_a_loss_are_in_its_state_dict():
    weight = [1.0, 2.0, 3.0]
    loss = nn.CrossEntropyLoss(weight=np.asarray(weight))  # float64, as NumPy makes it
    params, state = loss.init(KEY)
    assert params == {}
    assert {n: a.tolist() for n, a in fx.state_dict(loss, params, state).items()} == {
        "weight": weight
    }
    assert state["weight"].dtype == jnp.float32
    assert loss == nn.CrossEntropyLoss(weight=np.asarray(weight)) and hash(loss)
    assert loss != nn.CrossEntropyLoss(weight=np.asarray([1.0, 2.0, 4.0]))


def test_layers_without_parameters_run_by_themselves():
    logits, classes = jnp.array([[2.0, 0.0], [0.0, 1.0]]), jnp.array([0, 0])
    weight = np.array([1.0, 3.0], np.float32)
    ours = nn.CrossEntropyLoss(weight=weight)(logits, classes)
    theirs = torch.nn.CrossEntropyLoss(weight=torch.from_numpy(weight))(
        torch.from_numpy(np.array(logits)), torch.from_numpy(np.array(classes)).long()
    )
    np.testing.assert_allclose(ours, theirs.item(), rtol=1e-6)
    assert nn.MaxPool1d(2)(jnp.array([[1.0, 3.0]])).tolist() == [[3.0]]
    assert nn.InstanceNorm1d(1)(jnp.array([[[-1.0, 1.0]]])).round(3).tolist() == [[[-1.0, 1.0]]]
    with pytest.raises(RuntimeError, match="Dropout: training is known"):
        nn.Dropout()(jnp.ones(2))
