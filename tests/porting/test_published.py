"""What published repositories do that books do not."""

import jax
import pytest
import torch

import fx
from tests.porting import published

X = torch.linspace(-1.0, 1.0, 12).reshape(3, 4)


@pytest.fixture(autouse=True)
def _torchs_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("kind", [
    published.SavedVariables, published.Top, published.Bottom, published.Spread,
    published.Chained, published.Deep, published.ByName, published.Guesses, published.Contexts,
    published.Checkpointed, published.Warped, published.Anew, published.Detector,
    published.Restored, published.HandsOn, published.Grows, published.InPlace, published.Fast,
    published.Tracked, published.Tuned,
])  # fmt: skip
@pytest.mark.filterwarnings("ignore:'saved_variables' is deprecated")
@pytest.mark.filterwarnings("ignore:Implicit dimension choice for softmax")
@pytest.mark.filterwarnings("ignore:softmax. no dim is given")
def test_it_is_equal(kind, live):
    torch.manual_seed(0)
    found = fx.port(kind() if live else kind, X, layers=False)
    assert found.equal and found.gradients == "equal", str(found)
    assert found.constructors == ("written from the live model" if live else "ported"), str(found)


@pytest.mark.parametrize("live", [False, True])
def test_what_a_part_holds_is_added_where_a_mask_is(live):
    torch.manual_seed(0)
    given = torch.randn(2, 3, 4), torch.tensor([[0, 1, -1], [1, 1, 0]])
    found = fx.port(published.Prompts() if live else published.Prompts, given, layers=False)
    assert found.equal and found.gradients == found.elsewhere == "equal", str(found)
    one = published.Prompts(), (torch.randn(1, 1, 4), torch.tensor([[0]]))
    assert fx.port(*one, layers=False).equal


def test_what_is_checkpointed_is_told():
    found = fx.port(published.Checkpointed, X, layers=False)
    assert any("Checkpoint.backward is left out, for it computes" in n for n in found.notes)
    assert "def backward(ctx" not in found.source


def test_a_row_for_each_place_of_a_mask_stays_an_obstacle():
    found = fx.port(published.Rows, (torch.randn(2, 3), torch.tensor([True, False])), layers=False)
    assert not found.equal and "a mask chooses how many values" in found.obstacles[0], str(found)


def test_gradients_that_a_function_of_the_models_own_cannot_take():
    found = fx.port(published.NoGradients, X, layers=False)
    said = "gradients were not compared: TypeError: 'NoneType' object is not subscriptable"
    assert said in found.notes and found.gradients == "", str(found)


def test_a_name_that_apply_has_for_itself_is_given_by_position():
    found = fx.port(published.Attends, (), layers=False, query=X, key=X, value=X)
    assert found.equal and found.training == "equal", str(found)


@pytest.mark.parametrize("live", [False, True])
def test_the_data_of_packed_sequences(live):
    given = torch.randn(3, 5, 4), [5, 4, 2]
    found = fx.port(published.Packed() if live else published.Packed, given)
    assert found.equal and found.report["lstm"].error < 1e-5, str(found)


def test_what_values_decide_is_found_where_inputs_have_no_gradient():
    found = fx.port(published.Masked(), X)
    assert "values of arrays decide what is done" in found.obstacles[0], str(found)


@pytest.mark.parametrize("live", [False, True])
def test_what_train_computes_of_weights_is_an_obstacle(live):
    torch.manual_seed(0)
    model = published.Biases()
    model.eval()
    found = fx.port(model if live else published.Biases, X)
    said = "train computes self.kept of weights, and forward reads what it was then; compute it in"
    assert any(said in line for line in found.obstacles), str(found)


def test_a_port_for_the_examples_batch_alone_is_not_equal():
    found = fx.port(published.Styled, (torch.randn(2, 3), torch.randn(2, 2)), layers=False)
    assert not found.equal and "expected the buffer 'weight' to keep its shape" in str(found)


def test_what_reads_what_it_writes_is_told():
    found = fx.port(published.Shifts(), X, layers=False)
    assert any("x[1:, :2] = x[:-1, :2] may read what it writes" in note for note in found.notes)


def test_a_number_called_weight_is_no_weight():
    found = fx.port(published.Weighs, X, layers=False)
    assert found.equal and found.constructors == "ported", str(found)
    assert "self.weight *= 3" in found.source


def test_an_object_that_forward_returns():
    found = fx.port(published.GivesAnObject(), X, layers=False)
    said = "TypeError: forward returns a Mixture, which is no array, list, tuple, dict or dataclass"
    assert found.obstacles[0].startswith(said), str(found)


def test_a_name_that_apply_has_for_itself():
    found = fx.port(published.AttendsByName, (), layers=False, query=X, key=X, value=X)
    said = "AttendsByName.forward takes key by name alone, which is what apply calls arguments of"
    assert found.obstacles == [f"{said} its own; give it another name"]


def test_weights_that_are_scaled_in_a_constructor_are_told():
    found = fx.port(published.Deep, X, layers=False)
    assert sum("initial values are left out" in note for note in found.notes) == 4, str(found)
    assert "self.scale = nn.Parameter((3,), nn.init.ones)" in found.source
