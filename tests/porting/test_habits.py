"""Bare modules, layers of einops, and functions with gradients of their own."""

import argparse
import copy
import importlib
import sys
import textwrap
import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx.porting.pairs.twins import Function
from fx.porting.proof import gradient, trial
from tests.porting import habits

LIVE = pytest.mark.parametrize("live", [False, True])
IDS = torch.tensor([[0, 3], [1, 1]])


def port(kind, *inputs, live=False, training=False, **kwargs):
    torch.manual_seed(0)
    with jax.numpy_dtype_promotion("standard"):
        return fx.port(kind() if live else kind, inputs, layers=False, training=training, **kwargs)


def kept(found, live):
    """Whether the port is equal, in the way that was asked for."""
    way = "written from the live model" if live else "ported"
    return found.equal and found.constructors == way


@LIVE
def test_a_bare_module_is_a_container(live):
    found = port(habits.Bare, torch.randn(2, 3), live=live)
    assert kept(found, live), str(found)
    text = 'mid=nn.ModuleDict({"block_1": nn.Linear(3, 4)' if live else "self.mid = nn.Module()"
    assert text in found.source
    assert set(fx.state_dict(found.model, found.params)) == set(habits.Bare().state_dict())


@LIVE
def test_a_bare_module_with_weights_of_its_own(live):
    found = port(habits.BareWeights, torch.ones(2, 3), live=live)
    assert kept(found, live), str(found)
    names = set(fx.state_dict(found.model, found.params, found.state))
    assert names == {"mid.scale", "mid.noise_0"}


@LIVE
def test_layers_of_einops(live):
    found = port(habits.Patches, torch.randn(2, 3, 4, 6), live=live)
    assert kept(found, live), str(found)
    assert "class Rearrange(nn.Module):" in found.source
    assert "class Reduce(nn.Module):" in found.source


def test_a_layer_of_einops_without_a_counterpart():
    (said,) = port(habits.Mixed, torch.ones(2, 3)).obstacles
    assert said.endswith(
        "einops.layers.torch.EinMix has no counterpart here; write it with jnp.einsum"
    )


@LIVE
def test_gradients_of_ones_own_are_kept_and_compared(live):
    found = port(habits.Adversary, torch.randn(4, 3), 0.3, live=live)
    assert kept(found, live), str(found)
    assert "gradients: equal" in str(found)
    assert "        grad_input = jnp.where(x >= 1, 0, grad_input)" in found.source


def test_a_gradient_that_differs_is_no_equal_port(monkeypatch):
    found = port(habits.Adversary, torch.randn(4, 3), 0.3)
    monkeypatch.setattr(habits.Reversal, "backward", staticmethod(lambda ctx, g: (g, None)))
    expected = gradient.theirs(torch_twin(found), (torch.ones(2, 3), 0.3), {})
    arrays, joined = trial.arguments((torch.ones(2, 3), 0.3), {})
    found.gradients = gradient.compared(found, arrays, joined, expected)
    assert found.gradients.startswith("the gradient to features.weight differs: error ")
    assert not found.equal


def torch_twin(found):
    model = habits.Adversary()
    weights = fx.state_dict(found.model, found.params)
    model.load_state_dict({name: torch.from_numpy(np.array(w)) for name, w in weights.items()})
    return model


def test_random_numbers_of_a_function_are_named():
    (said,) = port(habits.Draws, torch.ones(2, 3)).obstacles
    assert said.endswith("draws random numbers without self; draw them where it is called")


class Scaled(Function):
    """One output, whole numbers and a size beside the array."""

    @staticmethod
    def forward(ctx, x, places, n):
        ctx.save_for_backward(places)
        ctx.mark_non_differentiable(places)
        ctx.n = n
        return x[places] * float(ctx.needs_input_grad[0])

    @staticmethod
    def backward(ctx, grad):
        (places,) = ctx.saved_tensors
        return jnp.zeros(3, grad.dtype).at[places].add(grad * ctx.n), None, None


def test_what_is_no_array_is_fixed():
    run = jax.jit(lambda x, places: Scaled.apply(x, places, 5).sum())
    places = jnp.array([2, 0, 2])
    np.testing.assert_array_equal(run(jnp.arange(3.0), places), 4)
    np.testing.assert_array_equal(jax.grad(run)(jnp.ones(3), places), [5, 0, 10])


NARROW = '''
import torch
from torch import nn


def make(n):
  class Inner(nn.Module):
    """A class in a function, in a file of two spaces."""
    factor = 3

    def __init__(self):
      super().__init__()
      self.sizes = [n, 2]

    def forward(self, x):

      shape = [x.size(0)] + self.sizes + [-1]
      if (
          x.size(1) > 2
          and self.factor
      ):
        x = x * self.factor
      return x.view(*shape)
  return Inner()
'''


@LIVE
def test_a_file_of_two_spaces(live, tmp_path, monkeypatch):
    (tmp_path / "narrow.py").write_text(NARROW)
    monkeypatch.syspath_prepend(tmp_path)
    narrow = importlib.import_module("narrow")
    found = port(lambda: narrow.make(2), torch.ones(3, 4), live=live)
    assert found.equal and found.constructors == "written from the live model", str(found)
    assert "shape = [x.shape[0]] + list(self.sizes) + [-1]\n" in found.source


@LIVE
def test_what_a_forward_assigns_and_nobody_reads_is_left_out(live):
    found = port(habits.Looked, torch.randn(4, 3), live=live, training=True)
    assert kept(found, live) and found.training == "equal", str(found)
    for text in (
        "        shape = 1\n        shape_ = x.shape\n        y = self.fc(x)\n",
        "        y, other = self.both(y)\n",
        "        self.norm(x)\n        return y.reshape(shape_[0], -1) * shape\n",
    ):
        assert text in found.source, found.source
    notes = [note for note in found.notes if "is written and not read" in note]
    assert [note.split("self.")[1].split()[0] for note in notes] == ["seen", "weights", "normed"]
    assert "def map" not in found.source


def test_what_constructors_did_does_not_stop_a_port_without_them():
    found = port(habits.Ended, torch.ones(2, 3))
    assert found.equal and found.constructors == "written from the live model", str(found)


@LIVE
def test_modules_in_plain_lists_are_shared_with_where_they_are_registered(live):
    found = port(habits.Listed, torch.randn(4, 3), live=live)
    assert kept(found, live), str(found)
    assert 'nn.tie(self, "heads.1", "head_1")' in found.source
    params, _ = fx.load_state_dict(found.model, fx.from_torch(habits.Listed().state_dict()))
    assert set(params) == {"head_0", "head_1"}
    assert "assert y.ndim == 2" in found.source and "isnan" not in found.source
    assert [note.partition(" ")[2] for note in found.notes] == [
        "checks values, and was left out"
    ] * 2


def test_weights_that_torch_does_not_register_are_named():
    (said,) = port(habits.Unlisted, torch.ones(2, 3), live=True).obstacles
    assert said.endswith(
        'AttributeError: self.heads was not carried over: the weights of "heads.0" are not in '
        "torch's state_dict either, as it is not registered; use nn.ModuleList or nn.ModuleDict "
        "in PyTorch"
    )


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (habits.Decided, "values of arrays decide what is done, and they are not known when a"),
        (habits.Masked, "a mask chooses how many values there are, which has to be known when a"),
    ],
)
def test_what_depends_on_values_is_said_with_what_to_do(kind, said):
    (found,) = port(kind, torch.randn(2, 3)).obstacles
    assert said in found and "; " in found


def test_a_layer_in_place_whose_input_is_read_again_is_named():
    found = port(habits.Aliased, torch.randn(4, 3))
    assert found.obstacles == [
        '"block.0": ReLU(inplace=True) changes an array that is read again; to have PyTorch\'s '
        "numbers, let forward read what the layer returns"
    ]
    assert found.error > 0.01 and str(found).startswith('obstacle: "block.0"')


@LIVE
def test_what_training_writes_through_data_is_state(live):
    found = port(habits.Averaged, torch.randn(4, 3), live=live, training=True)
    assert kept(found, live) and found.training == "equal" and not found.notes, str(found)
    _, state = found.model.apply(found.params, found.state, np.ones((2, 3), "f"), train=True)
    np.testing.assert_allclose(state["mean"], 0.1)


@LIVE
def test_functions_of_torch_that_are_held(live):
    found = port(habits.Partial, torch.randn(4, 3), live=live)
    assert kept(found, live), str(found)
    assert "partial(jnp.concatenate, axis=1)" in found.source


@LIVE
def test_a_bias_that_is_given_to_a_layer_made_without(live):
    found = port(habits.Head, torch.tensor([[0, 4]]), live=live)
    assert kept(found, live), str(found)
    assert set(found.params) == {"embed", "bias"}


@LIVE
def test_a_tensor_that_is_not_registered_is_a_buffer_outside_of_state_dict(live):
    found = port(habits.Table, torch.randn(4, 3), live=live)
    assert kept(found, live), str(found)
    assert fx.state_dict(found.model, found.params, found.state) == {}


@LIVE
@pytest.mark.parametrize("space", [argparse.Namespace, types.SimpleNamespace])
def test_arguments_of_a_program_and_abstract_classes(live, space):
    def make():
        return habits.Concrete(space(width=2, act="tanh", scale=3.0))

    found = port(make, torch.randn(4, 3), live=live)
    assert kept(found, live), str(found)
    again, _ = fx.load_state_dict(found.model, fx.from_torch(make().state_dict()))
    assert hash(found.model) == hash(copy.deepcopy(found.model)) and set(again) == {"fc"}


FILES = {
    "one_part_of_two": """
        LIMIT, SIZES = 2.0, [3, 4]

        def scale(x):
            return x * LIMIT + SIZES[0]
    """,
    "other_part_of_two": """
        LIMIT = 5.0
        SIZES: list = [7, 8]

        def scale(x, depth=1):
            return scale(x, depth - 1) if depth else x - LIMIT * SIZES[1]
    """,
    "net_of_two": """
        import one_part_of_two
        from other_part_of_two import scale
        from torch import nn

        LIMIT = 9.0

        class Net(nn.Module):
            def forward(self, x):
                return one_part_of_two.scale(x) * LIMIT, scale(x)
    """,
}


def test_what_several_files_call_by_one_name(tmp_path, monkeypatch):
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))
    monkeypatch.syspath_prepend(tmp_path)
    found = port(importlib.import_module("net_of_two").Net, torch.randn(2, 3))
    assert found.equal, str(found)
    for name in FILES:
        sys.modules.pop(name)
    for text in ("def scale(x):", "def other_part_of_two_scale(x, depth=1):", "\nLIMIT = 9.0"):
        assert text in found.source, found.source


@LIVE
def test_running_extremes_bins_and_written_slices(live):
    found = port(habits.Ordered, torch.randn(4, 3).round(decimals=1), live=live)
    assert kept(found, live), str(found)
    for text in (
        "low = jax.lax.cummin(x, axis=0)\n",
        ".at[:, 1:].set(rest)",
        ".at[where[:, 0], bins[:, 0]].set(first[:, 0])",
    ):
        assert text in found.source, found.source


def test_an_axis_of_no_axes_is_an_obstacle():
    (obstacle,) = port(habits.Scalar, torch.ones(3)).obstacles
    assert obstacle.endswith("a tensor of no axes has none to name in JAX")


@LIVE
def test_spectra_and_what_they_are_of(live):
    found = port(habits.Audio, torch.randn(2, 70), live=live, training=True)
    assert kept(found, live) and found.training == "equal", str(found)
    assert found.source.count("def stft(") == found.source.count("def istft(") == 1
    assert "jnp.hamming(12 + 1)[:-1]" in found.source


def test_a_spectrum_as_pairs_is_an_obstacle():
    with pytest.warns(UserWarning, match="stft with return_complex=False is deprecated"):
        (obstacle,) = port(habits.Pairs, torch.ones(2, 70)).obstacles
    assert obstacle.endswith("pairs of numbers are not written; pass return_complex=True")


@LIVE
def test_reductions_along_edges(live):
    edges = torch.tensor([[0, 1, 2, 3, 3, 4], [1, 0, 1, 1, 4, 0]])  # none goes to 2 and 3
    found = port(habits.Gathered, torch.randn(5, 3) - 1, edges, live=live, training=True)
    assert kept(found, live), str(found)
    assert ".set(-jnp.inf).at[" in found.source


@LIVE
def test_axes_from_the_last_and_tensors_by_name(live):
    i = torch.tensor([[0, 2, 1], [1, 0, 2], [2, 1, 0], [0, 1, 2]])
    found = port(habits.FromTheLast, torch.randn(4, 3).round(decimals=1), i, live=live)
    assert kept(found, live), str(found)
    assert "jax.lax.cummax(x, axis=1)" in found.source
    assert "jax.lax.cummin(x, axis=self.dim % x.ndim)" in found.source


@LIVE
def test_inputs_that_are_written_to_stay(live):
    x = torch.randn(4, 3)
    before = x.clone()
    found = port(habits.InPlace, x, live=live, training=True)
    assert kept(found, live) and found.training == "equal", str(found)
    assert torch.equal(x, before)


def test_a_complex_signal_is_an_obstacle():
    found = port(habits.ComplexSound, torch.randn(2, 16, 9, dtype=torch.complex64))
    assert "complex signals are not written; leave return_complex out" in found.obstacles[0]


@LIVE
def test_adjoints_of_complex_matrices_are_conjugated(live):
    found = port(habits.Complex, torch.randn(4, 3), live=live)
    assert kept(found, live), str(found)
    assert found.source.count(".mT.conj()") == 3


def test_modules_that_are_moved_stay_where_they_are():
    found = port(habits.Moved, torch.randn(2, 3))
    assert kept(found, False), str(found)
    assert ".to(" not in found.source and ".cuda()" not in found.source
    assert "self.rest = nn.Sequential(nn.Linear(4, 4), nn.ReLU())\n" in found.source


def test_a_module_that_is_cast_says_so():
    found = port(habits.Halved, torch.randn(2, 3))
    (obstacle,) = found.obstacles
    assert "nn.Linear(3, 4).to(torch.bfloat16): weights have the dtype that they are" in obstacle


def test_one_module_under_two_names_is_tied():
    found = port(habits.Twice, torch.randn(5, 3), training=True)
    assert kept(found, False) and found.training == "equal", str(found)
    for line in (
        'nn.tie(self, "conv.1", "bn")',
        'nn.tie(self.steps, "1.0", "0.0")',
        'nn.tie(self, "again", "first")',
    ):
        assert f"        {line}\n" in found.source, found.source


def test_float64_of_numpys_and_numbers_that_a_constructor_draws():
    found = port(habits.Wide, torch.randn(2, 3))
    assert kept(found, False), str(found)
    assert "sigmas: float64 in PyTorch, float32 here" in found.notes
    assert any("drawn in a constructor are the same each time" in note for note in found.notes)
    first, second = (found.model.init(jax.random.key(seed))[0]["turn"] for seed in range(2))
    np.testing.assert_array_equal(first, second)


def test_tensors_by_the_names_of_their_classes():
    found = port(habits.Created, np.array([0, 1, 0]), torch.randn(2, 3), training=True)
    assert kept(found, False), str(found)
    assert "places = jnp.array(ids, jnp.int32)" in found.source


@pytest.mark.parametrize("kind", [habits.Stored, habits.Repeated])
def test_statistics_of_batch_norm_go_where_they_were(kind):
    found = port(kind, torch.randn(2, 3, 4), training=True)
    assert kept(found, False) and found.training == "equal", str(found)


def test_statistics_that_an_expression_would_lose():
    (obstacle,) = port(habits.Inside, torch.randn(2, 3, 4)).obstacles
    assert "it writes statistics; give its result a line of its own, y = ..." in obstacle


@LIVE
def test_settings_of_which_there_is_no_copy(live):
    def made():
        return habits.Dotted(habits.dotdict(drop=0.3, width=5))

    found = port(made() if live else made, torch.randn(2, 3), training=True)
    assert found.equal and found.training == "random", str(found)


def test_a_port_that_trains_otherwise_is_not_equal():
    found = port(habits.Stored, torch.randn(2, 3, 4), training=True)
    assert found.equal
    found.training = "stored_mean differs afterwards: error 1"
    assert not found.equal and str(found).startswith("different: error ")


def test_what_repositories_have_around_their_layers():
    ids = torch.tensor([[0, 3], [1, 1]])
    found = port(
        lambda: habits.Common(habits.Settings()), torch.randn(2, 3, 5, 5), ids, training=True
    )
    assert kept(found, False) and found.training == "equal", str(found)
    for text in (
        "logger = logging.getLogger(__name__)",
        "self.settings, self.init_ = settings, init",
        "nn.Embedding.from_pretrained(",
        "return Common(settings=Settings())",
    ):
        assert text in found.source, found.source


def test_a_value_under_a_name_of_fxs_own_in_a_live_model():
    found = port(lambda: habits.Common(habits.Settings()), torch.randn(2, 3, 5, 5), IDS, live=True)
    assert kept(found, True) and 'init_="normal"' in found.source.replace("'", '"'), str(found)


def test_a_function_that_fills_weights_is_left_out():
    found = port(habits.Enlarged, torch.randn(2, 3, 4, 4))
    assert kept(found, False), str(found)
    assert "fill_up_weights" not in found.source
    assert any("initial values are left out" in note for note in found.notes)


def test_lists_that_constructors_hand_on_and_change():
    found = port(habits.Branches, torch.randn(2, 2), torch.randn(2, 3))
    assert kept(found, False), str(found)
    assert "        sizes = list(sizes) if isinstance(sizes, tuple) else sizes\n" in found.source


def test_arrays_that_are_no_parameters_are_not_tied():
    """A tensor that is made of each while it is written may be in the place of the one before."""
    for _ in range(3):
        found = port(habits.Permuted, torch.randn(2, 3), live=True)
        assert found.equal and "nn.tie" not in found.source, str(found)
