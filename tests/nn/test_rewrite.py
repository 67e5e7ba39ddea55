"""Changed copies of descriptions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fx import nn
from tests.nn.parts import Dense

KEY = jax.random.key(0)
X = jnp.ones((5, 3))


class Activated(nn.Module):
    def __init__(self, act):
        self.act = act

    def forward(self, x):
        return self.act(x)


def test_replace_and_transform_make_changed_copies():
    model = nn.Sequential(Dense(3, 4), Dense(4, 2))
    other = nn.replace(model, "1", Dense(4, 7))
    assert other.apply(*other.init(KEY), X)[0].shape == (5, 7) and model[1].d_out == 2
    assert nn.replace(model, "1.d_out", 7) != model
    with pytest.raises(ValueError, match="nothing called '2'"):
        nn.replace(model, "2", Dense(1, 1))
    assert nn.transform(model, lambda part: part) == model


def test_replace_takes_what_can_stand_there():
    without = nn.replace(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), "0.bias", None)
    assert without[0].bias is None
    other = nn.replace(Activated(nn.ReLU()), "act", jax.nn.silu)
    np.testing.assert_array_equal(other.apply({}, {}, X)[0], jax.nn.silu(X))
    with pytest.raises(TypeError, match="expected nn.Parameter, nn.Buffer or None .*'0.weight'"):
        nn.replace(without, "0.weight", np.zeros((4, 3)))
    with pytest.raises(TypeError, match="expected a part, a function or None for .*'act', got int"):
        nn.replace(Activated(nn.ReLU()), "act", 3)
    with pytest.raises(TypeError, match="Sequential: expected a module at '1', got .* write an nn"):
        nn.replace(without, "1", jax.nn.silu)


def test_marks_that_a_forward_reads():
    class Graph(nn.Module):
        def __init__(self):
            self.layers = nn.Sequential(
                nn.mark(nn.Linear(3, 3), source=-1, save=True), nn.mark(nn.ReLU(), source=0)
            )

        def forward(self, x):
            kept = []
            for layer in self.layers:
                x = layer(x if layer.source == -1 else kept[layer.source])
                kept.append(x)
            return x

    model = Graph()
    params, state = model.init(jax.random.key(0))
    y, _ = jax.jit(model.apply)(params, state, jnp.ones((2, 3)))
    weight = params["layers"]["0"]
    expected = jax.nn.relu(jnp.ones((2, 3)) @ weight["weight"].T + weight["bias"])
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert model == Graph() and model.layers[0].save is True
    assert model.layers[0] != nn.Linear(3, 3) and repr(model.layers[0]) == repr(nn.Linear(3, 3))


@pytest.mark.parametrize(("marks", "error", "said"), [
    ({"bias": 3}, ValueError, "Linear has an attribute 'bias'; nn.replace"),
    ({"apply": 3}, ValueError, "would shadow Module.apply"),
    ({"part": nn.ReLU()}, TypeError, "expected a value for 'part', got ReLU"),
    ({"scale": nn.Parameter(3, nn.init.ones)}, TypeError, "expected a value for 'scale'"),
    ({"mask": np.ones(3)}, TypeError, "a description cannot hold a raw array"),
])  # fmt: skip
def test_marks_that_a_part_cannot_have(marks, error, said):
    with pytest.raises(error, match=said):
        nn.mark(nn.Linear(3, 3), **marks)
