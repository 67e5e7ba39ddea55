import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from torch.optim import swa_utils

import fx
from fx import nn, optim


def network(n):
    return n.Sequential(
        n.Conv2d(2, 4, 3),
        n.BatchNorm2d(4),
        n.ReLU(),
        n.Sequential(n.Conv2d(4, 3, 2)),
        n.BatchNorm2d(3),
    )


def batches():
    rng = np.random.default_rng(0)
    return [rng.normal(1, 2, size=(n, 2, 6, 6)).astype(np.float32) for n in (8, 8, 3)]


def test_update_bn_is_torchs():
    theirs = network(torch.nn)
    model = network(nn)
    params, state = fx.load_state_dict(model, theirs.state_dict())
    before = jax.tree.map(np.asarray, state)
    swa_utils.update_bn([(torch.tensor(x), None) for x in batches()], theirs)
    new = optim.update_bn([(x, None) for x in batches()], model, params, state)
    ours = fx.state_dict(model, params, new)
    for name, value in theirs.state_dict().items():
        np.testing.assert_allclose(ours[name], value, rtol=1e-5, atol=1e-6, err_msg=name)
    assert jax.tree.structure(new) == jax.tree.structure(state)
    jax.tree.map(np.testing.assert_array_equal, state, before)


class Counts(nn.Module):
    def __init__(self):
        self.norm = nn.BatchNorm1d(2)
        self.seen = nn.Buffer((), nn.init.zeros)
        self.drop = nn.Dropout(0.5)

    def forward(self, x, shift):
        self.seen = self.seen + 1
        return self.drop(self.norm(x + shift))


def test_other_buffers_stay_and_inputs_may_be_several_and_transformed():
    model = Counts()
    params, state = model.init(jax.random.key(0))
    x = jnp.arange(6.0).reshape(3, 2)
    new = optim.update_bn(
        [((x, jnp.ones(2)), None)], model, params, state, transform=lambda i, key: (i[0], i[1] * 2)
    )
    assert float(new["seen"]) == 0
    np.testing.assert_allclose(new["norm"]["running_mean"], [4.0, 5.0])
    assert int(new["norm"]["num_batches_tracked"]) == 1


def test_without_batchnorm_and_without_batches():
    model = nn.Linear(2, 2)
    params, state = model.init(jax.random.key(0))
    assert optim.update_bn([], model, params, state) is state
    model = nn.BatchNorm1d(2)
    with pytest.raises(
        ValueError, match="update_bn: expected batches, but the loader yielded none"
    ):
        optim.update_bn([], model, *model.init(jax.random.key(0)))
    with pytest.raises(TypeError, match="update_bn: expected a model of fx.nn, got Plain"):
        optim.update_bn([], type("Plain", (), {})(), {}, {})
