import pickle
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import nn
from fx.nn import init

KEY = jax.random.key(0)


def build(nn, make):
    class Mixture(nn.Module):
        def __init__(self):
            super().__init__()
            self.scales = nn.ParameterList([make(2), make(3, 2)])
            self.scales.append(make(2))
            self.by_name = nn.ParameterDict({"left": make(2), "right": make(2)})
            self.by_name["other"] = make(1)

        def forward(self, x):
            y = self.scales[-1] * self.by_name["left"]
            for scale in self.scales:
                y = y + (x * scale).sum(0)
            for name, value in self.by_name.items():
                y = y + len(name) * value
            first, second = self.scales[:2]
            return y + first + second[0] + len(self.scales) * ("left" in self.by_name)

    return Mixture()


def test_a_model_as_it_is_written_for_torch():
    torch.manual_seed(0)
    theirs = build(torch.nn, lambda *shape: torch.nn.Parameter(torch.randn(*shape)))
    ours = build(nn, lambda *shape: nn.Parameter(shape, init.normal()))
    params, state = ours.init(KEY)
    names = {n: a.shape for n, a in fx.state_dict(ours, params, state).items()}
    assert names == {n: tuple(t.shape) for n, t in theirs.state_dict().items()}
    weights = {n: t.numpy() for n, t in theirs.state_dict().items()}
    params, state = fx.load_state_dict(ours, weights)
    y, _ = jax.jit(ours.apply)(params, state, jnp.ones((4, 3, 2)).sum(0))
    expected = theirs(torch.ones(4, 3, 2).sum(0))
    np.testing.assert_allclose(y, expected.detach().numpy(), rtol=1e-6)
    again = pickle.loads(pickle.dumps(ours.scales))
    assert again == ours.scales and hash(again) == hash(ours.scales)
    assert repr(ours) == re.sub("torch.(float|Float)(32|Tensor)", "float32", repr(theirs))


def test_lists_and_dicts():
    one, two = nn.Parameter(1, init.zeros), nn.Parameter(2, init.ones)
    values = nn.ParameterList([one])
    values += [two, np.zeros((2, 3), np.float32)]
    values[0] = two
    assert len(values) == 3 and values[:2] == [two, two] and values[2].shape == (2, 3)
    with pytest.raises(IndexError, match="ParameterList: index 3 with 3 parameters"):
        values[3]
    named = nn.ParameterDict([("b", one), ("a", two)])
    assert list(named) == list(named.keys()) == ["b", "a"] and list(named.values()) == [one, two]
    assert named.pop("b") == one and "b" not in named and named.get("b") is None
    del named["a"]
    assert len(named) == 0
    with pytest.raises(KeyError, match="ParameterDict: nothing called 'a'"):
        named["a"]


def test_errors():
    with pytest.raises(
        TypeError, match="ParameterList: expected a Parameter or an array at '0', g"
    ):
        nn.ParameterList([1.0])
    with pytest.raises(ValueError, match="ParameterDict: a parameter called 'pop' would hide the"):
        nn.ParameterDict({"pop": nn.Parameter(1, init.zeros)})
    with pytest.raises(ValueError, match="expected a name without a first '_', got '_x'"):
        nn.ParameterDict({"_x": nn.Parameter(1, init.zeros)})
    frozen = nn.Sequential(nn.Linear(1, 1)), nn.ParameterList([nn.Parameter(1, init.zeros)])
    frozen[1].init(KEY)
    with pytest.raises(AttributeError, match="ParameterList is frozen after __init__"):
        frozen[1].append(nn.Parameter(1, init.zeros))


def test_what_is_not_trained_is_a_buffer():
    array = np.ones(3, np.float32)
    assert nn.Parameter(array, True) == nn.Parameter(array, requires_grad=True)
    for make in (
        lambda: nn.Parameter(array, False),
        lambda: nn.Parameter((3,), init.zeros, requires_grad=False),
    ):
        with pytest.raises(TypeError, match="nn.Buffer"):
            make()


def test_a_declaration_has_the_length_of_its_first_axis():
    zeros = nn.init.zeros
    assert len(nn.Parameter((3, 2), zeros)) == 3 and len(nn.Buffer((0,), zeros)) == 0
    assert nn.Buffer((0,), zeros) and nn.Parameter((), zeros)
    with pytest.raises(TypeError, match="Parameter of no axes has no len"):
        len(nn.Parameter((), zeros))
