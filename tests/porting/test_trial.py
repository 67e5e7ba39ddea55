"""Both models as a whole: where one way of compiling fails, another is tried."""

import numpy as np
import pytest
import torch
from torch import nn

import fx
from fx.porting.proof import trial


class Equal(nn.Module):
    """A softmax of equal values, which XLA without its emitters has given as infinite."""

    def __init__(self):
        super().__init__()
        self.fc, self.norm = nn.Linear(16, 5), nn.LayerNorm(5)
        nn.init.ones_(self.fc.weight)
        nn.init.zeros_(self.fc.bias)

    def forward(self, x):
        return nn.functional.log_softmax(nn.functional.normalize(self.norm(self.fc(x))), dim=1)


def test_a_way_of_compiling_that_fails_is_not_the_last_word():
    x = torch.ones(3, 16)
    found = fx.port(Equal(), x, layers=False)
    assert found.equal and found.training == "equal", str(found)
    *_, (outputs, state) = trial.runs(found, (x,), {})
    np.testing.assert_allclose(outputs, np.full((3, 5), np.log(1 / 5)), rtol=1e-5)
    assert state == {}


class Chosen(nn.Module):
    """What the model does is up to numbers, and to an argument that is no array."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 2)

    def forward(self, x, double=False, mask=None):
        x = self.fc(x if mask is None else x[mask])
        return x * 2 if double else x


@pytest.mark.parametrize("layers", [False, True])
def test_arguments_that_are_no_arrays(layers):
    found = fx.port(Chosen(), torch.rand(4, 3), layers=layers, double=True)
    assert found.equal and found.training == "equal", str(found)


def test_what_does_not_compile_is_compared_layer_by_layer():
    mask = torch.tensor([True, False, True, True])
    found = fx.port(Chosen(), torch.rand(4, 3), training=False, mask=mask)
    assert found.equal and found.report["fc"].shape == (3, 2), str(found)


def test_a_difference_stays_one(monkeypatch):
    model = Equal()
    found = fx.port(model, torch.ones(3, 16), layers=False)
    monkeypatch.setitem(found.params["fc"], "weight", np.eye(5, 16, dtype=np.float32))
    assert trial.evaluation_error(found, model, (torch.rand(3, 16),), {}) > 0.01
    assert trial.training(found, model, (torch.rand(3, 16),), {}).startswith("outputs differ: ")


class Twice(nn.Module):
    """Two values of a batch, normalised twice: their signs, but where they are nearly equal."""

    def __init__(self):
        super().__init__()
        self.parts = nn.Sequential(
            nn.Linear(40, 30), nn.BatchNorm1d(30), nn.Linear(30, 30), nn.BatchNorm1d(30)
        )

    def forward(self, x):
        return self.parts(x)


def test_training_that_enlarges_rounding_is_compared_in_float64():
    torch.manual_seed(5)
    model, x = Twice(), torch.rand(2, 40)
    found = fx.port(model, x, layers=False)
    assert found.training == "equal", str(found)
    found.tolerance = 1e-7  # which float32 does not reach here
    assert trial.training(found, model, (x,), {}) == "equal"
    assert trial._training(found, model, (x,), {}).startswith("outputs differ")
    found.params["parts"]["2"]["weight"] *= 1.01
    assert trial.training(found, model, (x,), {}).startswith("outputs differ")


class Chaotic(nn.Module):
    """It enlarges a difference at each of its layers."""

    def __init__(self, depth=20):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(30, 30) for _ in range(depth)])

    def forward(self, x):
        for layer in self.layers:
            x = torch.sin(layer(x) * 4)
        return x


def test_outputs_that_are_rounding_in_float32_are_compared_in_float64():
    torch.manual_seed(0)
    model, x = Chaotic(), torch.rand(2, 30)
    found = fx.port(model, x, layers=False)
    assert found.equal and found.error < 1e-8 and found.elsewhere == "equal", str(found)
    layered = fx.port(model, x)
    assert layered.equal and str(layered).startswith("equal: 21 calls of layers"), str(layered)
    assert any("the model enlarges rounding, PyTorch's own to" in note for note in found.notes)
    found.params["layers"]["0"]["weight"] *= 1.001
    found.error = trial.evaluation_error(found, model, (x,), {})
    assert found.error > found.tolerance and trial.rounding(found, model, (x,), {}) is None


class OwnFloat32(nn.Module):
    """It does not run in float64, and differs in training: a part of it does."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        if self.training:
            x = nn.functional.softplus(x)
        return self.fc(x) + self.fc(torch.arange(3, dtype=torch.float32))


def test_training_that_differs_and_has_no_float64_stays_a_difference(monkeypatch):
    right = fx.functional.softplus
    monkeypatch.setattr(fx.functional, "softplus", lambda *args: right(*args) * 1.5)
    found = fx.port(OwnFloat32(), torch.randn(2, 3), layers=False)
    assert found.training.startswith("outputs differ") and not found.equal, str(found)


class SeldomDrops(nn.Module):
    """As a diffusion model drops a label, one time in ten."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    def forward(self, x):
        if self.training:
            x = torch.where(torch.rand(len(x)) < 1e-6, 0.0, 1.0)[:, None] * x
        return self.fc(x)


def test_what_draws_in_training_is_random_even_if_nothing_came_of_it():
    assert fx.port(SeldomDrops(), torch.randn(2, 3), layers=False).training == "random"
