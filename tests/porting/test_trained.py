"""What is equal has PyTorch's gradients, too."""

import jax
import pytest
import torch

import fx
from tests.porting import trained

X = torch.randn(4, 3)


def ported(make, *inputs, **kwargs):
    torch.manual_seed(0)
    return fx.port(make, inputs, layers=False, **kwargs)


@pytest.mark.parametrize("live", [False, True])
def test_the_class_above_by_its_name(live):
    found = ported(trained.Above() if live else trained.Above, torch.randn(2, 3, 5))
    assert found.equal and found.gradients == "equal", str(found)
    assert "return super().forward(x.swapaxes(1, 2))" in found.source
    assert ("super().__init__(size, eps=1e-3)" in found.source) != live


@pytest.mark.parametrize("tuned", [False, True])
def test_a_setting_that_says_whether_a_part_is_trained(tuned):
    found = ported(lambda: trained.Tuned(tuned), X)
    assert found.equal and found.constructors == "ported", str(found)
    assert "if not self.tuned:\n            h = jax.lax.stop_gradient(h)" in found.source
    assert "if frozen:\n            y = jax.lax.stop_gradient(y)" in found.source

    def loss(params, **given):
        return found.model.apply(params, found.state, X.numpy(), **given)[0].sum()

    gradient = jax.grad(loss)(found.params)
    assert bool(gradient["body"]["weight"].any()) == tuned and gradient["head"]["weight"].any()
    assert not any(
        leaf.any() for leaf in jax.tree.leaves(jax.grad(loss)(found.params, frozen=True))
    )


def test_a_return_where_gradients_are_a_settings_affair():
    (obstacle,) = ported(trained.Returns, X).obstacles
    assert "set_grad_enabled(self.tuned): cannot be written around a return" in obstacle


def test_gradients_are_compared_though_nothing_says_that_they_are_stopped(monkeypatch):
    monkeypatch.setattr("fx.porting.calls.constant.condition", lambda *given: "")
    found = ported(trained.Tuned, X)
    assert not found.equal and "the gradient to body.weight differs" in found.gradients
    (note,) = found.notes
    assert "not kept: with them, the gradient to body.weight differs" in note
    assert ported(trained.Tuned, X, training=False).gradients == ""


def test_what_a_cache_keeps_is_made_anew_for_gradients():
    found = ported(trained.Remembers(), X)
    assert found.equal and found.gradients == "equal", str(found)


def test_what_jax_takes_no_gradients_of_is_a_note():
    found = ported(trained.Products(), X)
    assert found.equal and found.gradients == "", str(found)
    assert any("JAX takes no gradients of it: scatter_mul gradients" in n for n in found.notes)


def test_a_model_that_writes_into_its_input():
    found = ported(trained.Writes(), X)
    assert found.equal and found.gradients == "equal", str(found)
