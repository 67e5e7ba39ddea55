"""Ports that agree on the example have to agree on other inputs, too, and in what is trained."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx.porting.calls import constant, special
from fx.porting.model import tree
from fx.porting.proof import trial
from tests.porting import traps


def port(make, *inputs, training=False):
    torch.manual_seed(0)
    with jax.numpy_dtype_promotion("standard"):
        return fx.port(make, inputs, layers=False, training=training)


def again(found, module, *inputs):
    """The error of a port for inputs that it has not seen."""
    with jax.numpy_dtype_promotion("standard"):
        return trial.evaluation_error(found, module, inputs, {})


def test_the_number_of_pieces_is_the_inputs():
    found = port(traps.Pieces, torch.randn(2, 8))
    assert found.equal, str(found)
    for length in (10, 11):
        assert again(found, traps.Pieces(), torch.randn(3, length)) < 1e-6


def test_what_is_read_twice_gets_a_name():
    found = port(traps.Twice, torch.randn(3, 4))
    assert found.equal, str(found)
    assert "(values2 := F.softmax(x, 1)).max(axis=1), values2.argmax(axis=1)" in found.source


def test_writes_into_parts():
    x, idx = torch.randn(4, 4), torch.tensor([0, 1])
    found = port(traps.Parts, x, idx)
    assert found.equal, str(found)
    assert again(found, traps.Parts(), x, torch.tensor([3, 3])) < 1e-6
    assert "x = jnp.where(x > 1, x * 2, x)" in found.source


def test_writes_that_no_array_here_can_follow():
    copy, through = port(traps.Copy, torch.ones(3, 3), torch.tensor([0, 1])).obstacles
    assert "add_ changes a copy, as an index of arrays makes one, and PyTorch leaves the" in copy
    assert "writes through 'x.view(-1)', and arrays here do not change" in through


def test_the_names_that_numpy_has_for_arguments():
    found = port(traps.Axes, torch.randn(3, 4))
    assert found.equal, str(found)


@pytest.mark.parametrize("live", [False, True])
def test_a_lambda_with_a_global_name(live):
    found = port(traps.Lambdas() if live else traps.Lambdas, torch.randn(3))
    assert found.equal, str(found)
    assert "\nsquare = lambda x: x * x" in found.source


def test_the_gradient_of_a_norm_that_is_0():
    found = port(traps.Distances, torch.randn(3, 3))
    assert found.equal and found.gradients == "equal", str(found)
    assert "optax.safe_norm(rel, 0.0, axis=-1, keepdims=True)" in found.source


def test_the_gradient_of_a_deviation_that_is_0():
    found = port(traps.Deviations, torch.eye(4, 3).mul(2))
    assert found.equal and found.gradients == "equal", str(found)
    assert "jnp.where((var := y.var(axis=-1, keepdims=True, ddof=1)) == 0, 0, " in found.source


@pytest.mark.parametrize("live", [False, True])
def test_what_is_made_without_gradients(live):
    found = port(traps.Teacher() if live else traps.Teacher, torch.randn(2, 3), training=True)
    assert found.equal and found.gradients == found.training == "equal", str(found)
    for text in (
        "        scale = 2\n        teacher = jax.lax.stop_gradient(self.target(x))\n",
        "self.mean = jax.lax.stop_gradient(jnp.broadcast_to(y.mean(axis=0), self.mean.shape))",
        " return x\n        y = jax.lax.stop_gradient(self.target(x) * n)\n        return y",
        "jax.lax.stop_gradient(self.online(x))",
    ):
        assert text in found.source, found.source


def test_a_gradient_that_goes_where_torch_has_none_is_no_equal_port(monkeypatch):
    monkeypatch.setattr(constant, "data", lambda rw, node, text: text)
    found = port(traps.Teacher, torch.randn(2, 3))
    assert found.gradients.startswith("the gradient to online.weight differs: error ")
    assert not found.equal


def test_a_forward_that_writes_into_weights():
    found = port(lambda: traps.Masked(1, 2, 3), torch.ones(1, 1, 4, 4))
    (obstacle,) = found.obstacles
    assert "self.weight.data *= 0.5: writes into a weight, which keeps it for the opt" in obstacle


@pytest.mark.parametrize("live", [False, True])
def test_a_forward_that_masks_its_weights(live):
    """The gradient goes to all of the weight, as in PyTorch, whose own weight is masked."""
    found = port(
        traps.PixelCNN() if live else traps.PixelCNN, torch.randn(2, 3, 5, 5), training=True
    )
    assert found.equal and found.gradients == found.training == "equal", str(found)
    assert "    weight = nn.Scratch()\n" in found.source
    assert any("self.weight is changed for the rest of the call" in note for note in found.notes)
    again = found.model.apply(found.params, found.state, jnp.ones((1, 3, 5, 5)))[0]
    params = jax.tree.map(lambda leaf: leaf + 0, found.params)
    params["a"]["weight"] = params["a"]["weight"].at[:, :, 2, 2].add(7.0)  # masked
    ours = found.model.apply(params, found.state, jnp.ones((1, 3, 5, 5)))[0]
    np.testing.assert_array_equal(ours, again)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("kind", [traps.Tables, traps.Sized])
def test_what_attributes_hold(kind, live):
    found = port(kind() if live else kind, torch.randn(2, 3))
    assert found.equal and hash(found.model) is not None, str(found)
    weights = fx.state_dict(found.model, found.params, found.state)
    assert set(weights) == set(kind().state_dict())


def test_gradients_that_float32_cannot_tell_apart_are_compared_in_float64():
    x = torch.randn(64, 64)
    found = port(traps.Cancels(), torch.cat([x, 1e-7 - x]))
    assert found.equal and found.gradients == "equal", str(found)


def test_a_weight_that_subclasses_of_layers_share_is_one():
    found = port(traps.Shared().eval(), torch.tensor([[1, 2, 0]]))
    assert found.equal, str(found)
    assert sum(leaf.size for leaf in jax.tree.leaves(found.params)) == 21
    assert 'nn.tie(self, "second.weight", "first.weight")' in found.source


def test_weights_that_are_not_shared_as_in_pytorch_are_an_obstacle(monkeypatch):
    monkeypatch.setattr(tree.Tree, "_share_tensor", lambda *given: None)
    found = port(traps.Shared().eval(), torch.tensor([[1, 2, 0]]))
    assert not found.equal
    assert "there are 63 numbers to train, and 21 in PyTorch" in found.obstacles[0]


def test_parts_whose_names_are_numbers():
    found = port(traps.Numbered().eval(), torch.randn(2, 3))
    assert found.equal, str(found)
    assert "Numbered(n=2, **{'0': nn.Linear(3, 3), '1': nn.Linear(3, 3)})" in found.source


def test_windows_by_strides():
    found = port(traps.Windows(), torch.randn(2, 8, 3))
    assert found.equal, str(found)
    assert again(found, traps.Windows(), torch.randn(3, 12, 2)) < 1e-6


def test_parametrisations_of_a_live_model():
    torch.manual_seed(0)
    found = port(traps.normalised(), torch.randn(2, 3, 9))
    assert found.equal, str(found)
    assert 'weight_norm(nn.Conv1d(3, 4, 3), "weight", dim=2)' in found.source
    assert "n_power_iterations=2" in found.source


def test_imports_inside_a_function():
    found = port(traps.Late, torch.randn(2, 3))
    assert found.equal, str(found)
    assert "import math" in found.source and "torch" not in found.source.partition("class")[2]


def test_scans_and_numbers_among_outputs():
    found = port(traps.Scans(), torch.randn(2, 5))
    assert found.equal, str(found)
    assert again(found, traps.Scans(), torch.randn(3, 8)) < 1e-6
    assert "ImportError" not in found.source


def test_what_follows_a_branch_that_is_always_taken_is_left_out():
    found = port(traps.Checks(), torch.randn(2, 5))
    assert found.equal, str(found)
    assert "bessel" not in found.source


def test_a_fault_of_ones_own_is_an_obstacle_with_its_place(monkeypatch):
    def broken(*given):
        raise KeyError("nothing")

    monkeypatch.setitem(special.SPECIAL, "einsum", broken)
    (obstacle,) = port(traps.Sums(), torch.randn(2, 5)).obstacles
    assert "KeyError while Sums was written ('nothing'), a fault of fx.port" in obstacle


def test_marks_on_containers():
    found = port(traps.Marked().eval(), torch.randn(2, 3))
    assert found.equal, str(found)
    assert "do_output=True" in found.source


def test_a_name_that_is_imported_and_given_to_something_else():
    (obstacle,) = port(traps.Rebound(), torch.randn(2, 3)).obstacles
    assert "traps.py" in obstacle and "must be Tensor" in obstacle


def test_a_name_that_one_method_imports_is_another_ones_own():
    found = port(traps.Own(), torch.randn(2, 3))
    assert found.equal, str(found)
    assert again(found, traps.Own(), torch.randn(8, 3)) < 1e-6


def test_strides_of_a_view_are_an_obstacle():
    (obstacle,) = port(traps.Transposed(), torch.ones(3, 3)).obstacles
    assert "how the numbers of a view lie is not known here" in obstacle


def test_an_object_that_a_forward_changes_is_an_obstacle():
    (obstacle,) = port(traps.Counted().eval(), torch.ones(3, 3)).obstacles
    assert "self.counter.n += 1: changes an object that is no module" in obstacle


def test_negative_zeros_frozen_weights_and_arguments_by_place():
    torch.manual_seed(0)
    found = port(traps.Places().eval(), torch.randn(2, 3), True)
    assert found.equal, str(found)
    assert any("1 weights are frozen in PyTorch, not here" in note for note in found.notes)


def test_a_part_that_keywords_are_handed_to_is_ported_without_its_cache():
    module = traps.Caching()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    found = port(module, torch.randn(4, 3))
    assert found.equal, str(found)
    assert any("use_cache=False" in note for note in found.notes)
    assert module.training
    torch.testing.assert_close(module.state_dict(), before)


def test_what_one_method_leaves_for_another_is_scratch():
    found = port(traps.LeavesASize().eval(), torch.randn(2, 3))
    assert found.equal and "    asked = nn.Scratch()\n    length = nn.Scratch()\n" in found.source


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("ran", [False, True])
def test_a_state_that_methods_hand_on_within_a_call(live, ran):
    """A model that has run before holds a state that the next call does not need."""
    xs = torch.randn(3, 2, 4)
    if live:
        made = traps.Steps()
        _ = made(xs) if ran else None
        found = port(made, xs)
    else:
        found = port(traps.Steps, xs)
        assert found.constructors == "ported"
    assert found.equal, str(found)
    assert "h = nn.Scratch()" in found.source and "(self.h, self.c)" in found.source


@pytest.mark.parametrize("live", [False, True])
def test_a_state_that_a_constructor_begins(live):
    found = port(traps.BegunSteps() if live else traps.BegunSteps, torch.randn(3, 2, 4))
    assert found.equal and "nn.Buffer" not in found.source, str(found)


def test_what_was_none_and_is_made_in_each_call_anew():
    found = port(traps.MadeOnce, torch.randn(3, 4))
    assert found.equal and found.constructors == "ported", str(found)
    assert "table = nn.Scratch()" in found.source


def test_what_one_call_leaves_for_the_next_is_state():
    """Of its constructor, which makes it None, the port says so."""
    found = port(traps.HandsOn, torch.randn(3, 4))
    assert "hidden=nn.Buffer(" in found.source and "Scratch" not in found.source
    assert "'hidden' is assigned in forward, where only a Buffer may change" in str(found.notes)
