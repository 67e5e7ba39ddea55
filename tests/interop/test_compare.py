import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import functional as F
from fx import nn
from fx.interop.compare import compare

X = np.random.default_rng(0).normal(size=(4, 3, 8, 8)).astype(np.float32)


def block(lib, relu, base=None):
    class Block(base or lib.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.norm = lib.Conv2d(3, 3, 3, padding=1), lib.BatchNorm2d(3)
            self.out = lib.Conv2d(3, 3, 1)

        def forward(self, x):
            return x + self.out(relu(self.norm(self.conv(x))))

    return Block()


def network(lib, relu=None, eps=1e-5, last=2):
    relu = relu or {nn: F.relu, torch.nn: torch.relu}[lib]
    pool = lib.AdaptiveAvgPool2d(1)
    return lib.Sequential(
        block(lib, relu), lib.BatchNorm2d(3, eps), block(lib, relu), pool, lib.Flatten(),
        lib.Linear(3, last),
    )  # fmt: skip


def pair(**changes):
    model, twin = network(nn, **changes), network(torch.nn)
    return model, *fx.load_state_dict(model, twin.state_dict()), twin


def test_equal_models():
    model, params, state, twin = pair()
    found = compare(model, params, state, twin, X)
    assert found.equal and found.first is None and found.cause == "" and not found.weights
    assert [layer.name for layer in found.layers[:5]] == ["0.conv", "0.norm", "0.out", "0", "1"]
    assert found.layers[-1].name == "" and max(layer.error for layer in found.layers) < 1e-5
    assert str(found).startswith("equal: 13 calls of layers compared, tolerance 0.0001, largest")
    assert found.only_here == found.only_torch == ()


def test_an_argument_of_a_layer_is_found():
    model, params, state, twin = pair(eps=0.1)
    found = compare(model, params, state, twin, torch.from_numpy(X))
    assert not found.equal and found.first.name == "1" and found.first.error > 0.01
    assert found.cause == "its inputs agree: look at its arguments and its forward"
    assert "first    BatchNorm2d (1) [4, 3, 8, 8]: error 0.0" in str(found)
    assert [layer.agrees for layer in found.layers[:4]] == [True] * 4


def test_code_between_layers_is_found():
    model, params, state, twin = pair(relu=lambda x: x)
    found = compare(model, params, state, twin, X)
    assert found.first.name == "0.out" and found.first.input_error > 0.1
    assert found.cause == 'its inputs differ already: look at the forward of "0" after "0.norm"'


def test_code_after_the_last_part_is_found():
    class Half(nn.Module):
        def __init__(self):
            self.inner = nn.Linear(2, 2)

        def forward(self, x):
            return self.inner(x) * 0.5

    class Whole(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = torch.nn.Linear(2, 2)

        def forward(self, x):
            return self.inner(x)

    twin = Whole()
    found = compare(Half(), *fx.load_state_dict(Half(), twin.state_dict()), twin, np.eye(2))
    assert found.first.name == "" and found.first.error == pytest.approx(0.5)
    assert (
        found.cause == "its parts agree and its inputs do: look at its forward, after its last part"
    )


def test_weights_that_differ_are_named():
    model, params, state, twin = pair()
    with torch.no_grad():
        twin[5].bias += 1
    found = compare(model, params, state, twin, X)
    assert found.first.name == "5" and found.cause == "its weights differ: 5.bias"
    assert found.weights[0].startswith("5.bias: error ")


def test_nothing_of_torch_changes():
    model, params, state, twin = pair()
    twin.train()
    twin[0].eval()
    before = {name: value.clone() for name, value in twin.state_dict().items()}
    compare(model, params, state, twin, X)
    assert twin.training and twin[1].training and not twin[0].norm.training
    assert all(torch.equal(before[name], value) for name, value in twin.state_dict().items())
    assert not any(part._forward_hooks for part in twin.modules())
    with pytest.raises(RuntimeError):
        compare(model, params, state, twin, X[:, :2])
    assert twin.training and not any(part._forward_hooks for part in twin.modules())


def test_shapes_nan_and_missing_layers():
    model, twin = nn.Sequential(nn.Linear(2, 2), nn.Flatten(0)), torch.nn.Linear(2, 2)
    twin = torch.nn.Sequential(twin, torch.nn.Identity(), torch.nn.Dropout())
    params, state = fx.load_state_dict(model, twin.state_dict())
    found = compare(model, params, state, twin, np.ones((3, 2)))
    assert found.first.note == "shape [6] here, [3, 2] in PyTorch" and found.only_torch == ("2",)
    assert "only in torch: 2" in str(found) and np.isinf(found.first.error)
    params = jax.tree.map(lambda a: a.at[(0,) * a.ndim].set(jnp.nan), params)
    found = compare(model, params, state, twin, np.ones((3, 2)))
    assert found.first.note == "not finite in different places" and found.first.name == "0"
    assert found.cause == "its weights differ: 0.weight, 0.bias"


def test_integers_keywords_and_a_layer_called_twice():
    class Words(nn.Module):
        def __init__(self):
            self.table, self.fc = nn.Embedding(5, 4), nn.Linear(4, 4)

        def forward(self, words, scale=None):
            return {"out": self.fc(self.fc(self.table(words))) * scale, "words": (words, None)}

    class Twin(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.fc = torch.nn.Embedding(5, 4), torch.nn.Linear(4, 4)

        forward = Words.forward

    twin = Twin()
    params, state = fx.load_state_dict(Words(), twin.state_dict())
    words = jnp.arange(5, dtype=jnp.int32)
    found = compare(Words(), params, state, twin, (words,), scale=np.float32(2))
    assert found.equal and [layer.call for layer in found.layers] == [0, 0, 1, 0]
    assert found["fc"].call == 0


def test_bfloat16_twins():
    model, twin = nn.Linear(8, 4), torch.nn.Linear(8, 4).bfloat16()
    params, state = fx.load_state_dict(model, twin.state_dict(), dtype=jnp.bfloat16)
    x = jnp.asarray(X[0, 0], jnp.bfloat16)
    assert compare(model, params, state, twin, x, tolerance=3e-2).equal


def test_wrong_arguments():
    model, params, state, twin = pair()
    with pytest.raises(TypeError, match="expected a model of fx.nn, got Sequential"):
        compare(twin, params, state, twin, X)
    with pytest.raises(TypeError, match="expected a torch.nn.Module, got ndarray; the order is"):
        compare(model, params, state, X, twin)
