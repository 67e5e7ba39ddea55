"""What an example does not show is asked for, written as it would be, or said."""

import re

import jax
import pytest
import torch

import fx
from fx.porting.calls import pieces
from fx.porting.proof import trial
from tests.porting import unseen


def port(make, *inputs, **options):
    torch.manual_seed(0)
    return fx.port(make, inputs, layers=False, **options)


X = torch.rand(3, 4)


@pytest.mark.parametrize("kind", ["std", "repeat", "max", "size"])
def test_branches_that_did_not_run_are_written_too(kind):
    found = port(unseen.Branches, X)
    assert found.equal, str(found)
    scope, other = {}, unseen.Branches(kind)
    exec(found.source, scope)
    model = scope["Branches"](kind)
    params, state = fx.load_state_dict(model, other.state_dict())
    ours, _ = model.apply(params, state, X.numpy())
    torch.testing.assert_close(
        torch.tensor(jax.device_get(ours)), other(X).detach(), rtol=1e-4, atol=1e-4
    )


def test_a_branch_that_cannot_be_known_raises_and_is_a_note():
    found = port(unseen.Branches, X)
    assert "return self.made(x).argsort" not in found.source
    assert any("did not run, and was left out" in note for note in found.notes)
    assert "x[0] = 0" not in found.source
    assert "if self.kind == 'plain' else x.std" not in found.source.replace('"', "'")


@pytest.mark.parametrize("make", [unseen.Views, unseen.Second])
def test_a_write_through_another_name_is_an_obstacle(make):
    (obstacle,) = port(make, torch.rand(3, 4)).obstacles
    assert "which shares its numbers with y, and y is read afterwards" in obstacle


def test_a_write_into_what_is_not_read_again():
    found = port(unseen.Own, torch.rand(3, 4) * 10 - 5)
    assert found.equal, str(found)


def test_a_write_that_changed_nothing_is_named():
    (obstacle,) = port(unseen.Hidden, torch.rand(3, 4) * 10 - 5).obstacles
    assert "writes into part, which is not read again" in obstacle


def test_a_number_of_pieces_is_not_the_examples():
    found = port(unseen.Pieces, torch.rand(4, 2))
    assert found.equal and found.elsewhere == "equal", str(found)
    assert trial.evaluation_error(found, unseen.Pieces(), (torch.rand(6, 2),), {}) < 1e-6


def test_what_is_of_the_example_alone_is_found_on_other_inputs(monkeypatch):
    monkeypatch.setattr(pieces, "_unpacked", lambda call: True)
    found = port(unseen.Pieces, torch.rand(4, 2))
    assert any("other inputs, which PyTorch takes, raise" in note for note in found.notes)


def test_a_model_that_seldom_drops_is_random():
    with jax.numpy_dtype_promotion("standard"):
        assert port(unseen.Lucky, torch.rand(2, 3)).training == "random"


def test_pythons_random_numbers_are_an_obstacle():
    (obstacle,) = port(unseen.Layers, torch.rand(2, 3)).obstacles
    assert "random.random(): what is compiled would draw this number once" in obstacle


def test_numpys_random_numbers_in_training_are_a_note():
    found = port(unseen.Masks, torch.rand(2, 3))
    assert found.equal and found.training == "random", str(found)
    assert any("np.random.rand(): what is compiled would draw this" in n for n in found.notes)


def test_a_tuple_without_gradients():
    found = port(unseen.Pairs, torch.rand(2, 3))
    assert found.equal and found.gradients == "equal", str(found)
    assert "jax.lax.stop_gradient((self.fc(x), x * 2))" in found.source


def test_starred_arguments_are_an_obstacle():
    (obstacle,) = port(unseen.Starred, torch.rand(2, 3, 4)).obstacles
    assert "x.flatten(*self.axes): arguments with * are not known apart" in obstacle


def test_a_forward_that_takes_gradients_is_an_obstacle_with_its_line():
    (obstacle,) = port(unseen.Inner, torch.rand(2, 3)).obstacles
    assert "unseen.py" in obstacle and "torch.autograd.grad has no counterpart here" in obstacle


def test_a_running_mean_that_is_0_but_for_rounding():
    found = port(unseen.Constant, torch.rand(8, 3) * 100)
    assert found.equal and found.training == "equal", str(found)


def test_a_weight_that_is_declared_as_frozen_is_a_buffer():
    found = port(unseen.Positions, torch.rand(2, 3))
    assert found.equal and found.constructors == "ported", str(found)
    assert "self.scale = nn.Buffer((3,), nn.init.ones)" in found.source
    assert "self.shift = (nn.Parameter if learned else nn.Buffer)((3,)" in found.source
    assert list(found.state) == ["scale", "shift"] and list(found.params) == ["fc"]
    live = fx.port(unseen.Positions().eval(), torch.rand(2, 3), layers=False)
    assert live.equal and list(live.state) == ["scale", "shift"], str(live)
    names = list(unseen.Positions().state_dict())
    for each in (found, live):
        assert sorted(fx.state_dict(each.model, each.params, each.state)) == sorted(names)
        assert not any("frozen" in note for note in each.notes)


def test_frozen_weights_of_a_module_that_is_frozen_whole_are_named():
    module = unseen.Positions(learned=True).eval().requires_grad_(False)
    found = fx.port(module, torch.rand(2, 3), layers=False)
    assert any("4 weights are frozen in PyTorch, not here (scale, " in n for n in found.notes)
    assert found.state == {}


def test_sums_of_bytes_are_signed():
    found = port(unseen.Bytes, torch.randint(0, 256, (3, 4), dtype=torch.uint8))
    assert found.equal and found.source.count("dtype=jnp.int32)") == 3, str(found)


def test_a_registry_that_ran_when_the_file_was_imported():
    found = port(unseen.Registered, X)
    assert found.equal and found.constructors == "ported", str(found)
    assert "self[name] = kind" in found.source and "self.known.add(name)" in found.source


def test_edges_of_each_row_and_axes_of_a_setting():
    found = port(unseen.Rows, torch.rand(3, 4), torch.rand(3, 5) * 3)
    assert found.equal and "swapaxes(*self.axes)" in found.source, str(found)


def test_what_train_does_beside_is_a_note():
    found = port(unseen.Keeps, torch.rand(4, 3))
    assert not any("def train" in line for line in found.source.splitlines())
    assert any("train is left out: what it does beside is not done" in n for n in found.notes)
    assert found.training.startswith("outputs differ")


def test_arms_that_did_not_run_in_lines_that_did_are_written():
    x = torch.randn(2, 5, 4)
    found = port(unseen.Arms, x)
    assert found.equal, str(found)
    (note,) = found.notes
    assert "did not run, and stays as it was: x.chunk(2, dim=-1)" in note
    scope, other = {}, unseen.Arms(pool=True)
    exec(found.source, scope)
    model = scope["Arms"](pool=True)
    params, state = fx.load_state_dict(model, other.state_dict())
    ours, _ = model.apply(params, state, x.numpy())
    for mine, theirs in zip(ours, other(x), strict=True):
        torch.testing.assert_close(torch.from_numpy(jax.device_get(mine).copy()), theirs.detach())


def test_expansions_of_what_has_no_name():
    found = port(unseen.Expanded, torch.randn(1, 5, 4), torch.rand(2, 6))
    assert found.equal, str(found)


def test_a_mask_that_one_tower_has_and_the_other_has_not():
    x, y = torch.randn(3, 2, 8), torch.randn(5, 2, 8)
    found = port(unseen.Towers, x, y)
    assert found.equal and found.constructors == "ported", str(found)
    assert "self.mask = nn.Buffer(mask, persistent=False) if mask is not None else None" in (
        found.source
    )
    live = fx.port(unseen.Towers().eval(), (x, y), layers=False)
    assert live.equal, str(live)


@pytest.mark.parametrize("kind", [unseen.Alone, unseen.Valued, unseen.Harmless])
def test_what_is_written_in_place_and_read_under_its_name(kind):
    found = port(kind, torch.rand(3, 4) - 0.5)
    assert found.equal and found.elsewhere == "equal", str(found)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (unseen.Averaged, "writes into b, which is not read again: .* in the training step"),
        (unseen.Clipped, "writes into weight, which is not read again"),
        (unseen.OfAList, "writes into row, which is not read again"),
        (unseen.OfAnEntry, "writes into rows, which shares its numbers with y, and y is read"),
        (unseen.OfEither, "writes into part, which shares its numbers with y, and y is read"),
        (unseen.OnOneLine, "writes into flat, which shares its numbers with y, and y is read"),
        (unseen.OfASecondName, "writes into y, whose numbers before shares, and before is read"),
        (unseen.OfAComprehension, "writes into the variable of a comprehension, .* write a loop"),
        (unseen.BehindAFunction, "writes into y, whose numbers z shares, and z is read"),
        (unseen.ByAFunction, r"writes into its argument values, and y is read .* y.clone\(\)"),
    ],
)
def test_what_others_see_of_a_write_is_named(kind, text):
    """Most change nothing in the example, so that the outputs would be equal."""
    (obstacle,) = port(kind, torch.rand(3, 4) - 0.5).obstacles
    assert re.search(text, obstacle), obstacle


def test_a_function_that_writes_into_its_argument_returns_both():
    found = port(unseen.ByAFunctionAlone, torch.rand(3, 4) - 0.5, training=True)
    assert found.equal and found.training == "equal", str(found)
    for text in (
        "        y = self.clipped(y)\n        z = y\n",
        "        result, y = self.placed(y, 0.1)\n        place = jnp.clip(result[..., None]",
        "rest = self.placed(y + 1, eps=0.2)[0]",
        "return (bins >= 0).sum(axis=-1), bins",
    ):
        assert text in found.source, found.source
