"""The twins' weights under the names of fx.models; that both then agree, the benchmark checks."""

import jax
import pytest

import fx
from benchmarks.networks import in_fx
from benchmarks.networks.tasks import TINY
from benchmarks.sides import torch_train


@pytest.mark.parametrize("name", TINY)
def test_every_weight_of_the_twin_has_its_place(name):
    twin = torch_train.network(name, TINY[name]).state_dict()
    weights = in_fx.renamed(name, {key: value.numpy() for key, value in twin.items()})
    assert len(weights) >= len(twin)
    model = in_fx.network(name, TINY[name])
    params, state = fx.load_state_dict(model, weights)
    shapes = jax.eval_shape(model.init, jax.random.key(0))
    assert jax.tree.map(lambda a: a.shape, (params, state)) == jax.tree.map(
        lambda a: a.shape, shapes
    )
