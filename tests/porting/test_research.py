"""Idioms of research code, and ports that zeros would make equal."""

import jax
import numpy as np
import pytest
import torch

import fx
from fx.porting.proof import elsewhere
from tests.porting import research

X = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))


def port(make, **options):
    torch.manual_seed(0)
    return fx.port(make, (X,), layers=False, **options)


@pytest.mark.parametrize("name", ["Sizes", "Aliased", "Arrays", "Zeros", "Drawn", "Farthest"])
def test_it_is_kept_as_it_is_written(name):
    found = port(getattr(research, name))
    assert found.equal and found.constructors == "ported", str(found)


def test_what_is_written():
    sizes = port(research.Sizes).source
    assert "return jax.tree.leaves(self.fc.functional()[1][0])[0].dtype" in sizes
    assert "return Swish.apply(self.fc(x))" in port(research.Aliased).source
    arrays = port(research.Arrays).source
    assert "self.order = nn.Buffer(np.arange(3)[::-1].copy(), persistent=False)" in arrays
    drawn = port(research.Drawn).source
    assert "self.w = nn.Parameter((3, 3), nn.init.uniform(b=scale))" in drawn
    zeros = port(research.Zeros)
    assert "def zero_module(module):\n    return module" in zeros.source
    assert not any("initial values are left out" in note for note in zeros.notes)
    assert ": nn.init.zeros,\n    })" in zeros.source


def test_constants_that_are_too_large_to_write_are_named():
    found = fx.port(research.Drawn(constant=True).eval(), (X,), layers=False)
    assert found.equal, str(found)
    assert any(note.startswith("c: in no state_dict of PyTorch's") for note in found.notes)
    kept = fx.state_dict(found.model, found.params, found.state)
    scope: dict = {}
    exec(found.source, scope)
    model = scope["build"]()
    again, _ = model.apply(*fx.load_state_dict(model, kept), X.numpy())
    ours, _ = found.model.apply(found.params, found.state, X.numpy())
    np.testing.assert_array_equal(again, ours)


def test_what_stands_before_weights_of_zero_is_compared():
    module = research.Zeros().eval()
    found = fx.port(module, (X,), layers=False)
    assert found.equal and found.elsewhere == "equal"
    found.params = {**found.params, "a": jax.tree.map(lambda w: w + 1, found.params["a"])}
    assert elsewhere.compared(found, module, (X,), {}).startswith("outputs differ")


def test_settings_that_are_a_dict_with_attributes():
    def make():
        return research.Configured(research.Attributes(width=5, depth=2))

    found = port(make)
    assert found.equal and found.constructors == "ported", str(found)
    assert "Configured(h=Namespace(width=5, depth=2))" in found.source
    live = fx.port(make().eval(), (X,), layers=False)
    assert live.equal, str(live)
