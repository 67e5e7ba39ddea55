"""Functions that parts hold, settings that somebody changes, flags, and rows of tensors."""

import re

import jax
import numpy as np
import pytest
import torch

from fx.porting.pairs import twins
from tests.porting import own
from tests.porting.test_habits import LIVE, kept, port


@LIVE
def test_settings_that_are_changed_and_a_lambda_over_a_part(live):
    found = port(own.mlp, torch.randn(2, 3), live=live)
    assert kept(found, live), str(found)
    assert "    def mlpf(self, x):\n        m = self.mlp\n        return m.down(" in found.source
    if not live:
        assert "    config2 = Config()\n    config2.name = 'mlp'\n" in found.source
        assert "    config.depth = 2\n    config.block = config2\n" in found.source


@LIVE
def test_a_method_that_is_chosen_when_a_part_is_made(live):
    found = port(own.TwoFused, torch.randn(2, 3), live=live)
    assert kept(found, live), str(found)
    assert "x = getattr(self, self.fusion)(x, x + 1)" in found.source
    assert "if self.more is not None:" in found.source


def prepared():
    model = own.Prepared()
    model(torch.randn(8, 3) * 2 + 1)
    return model


@LIVE
def test_a_flag_that_no_call_changes(live):
    found = port(prepared, torch.randn(8, 3), live=live, training=True)
    assert kept(found, live) and found.training == "equal", str(found)
    (said, *_) = [note for note in found.notes if "for good" in note]
    assert "self.initialized.item() == 0 is False for good, as in what is ported" in said


def test_a_flag_that_the_call_itself_changes():
    found = port(own.Prepared, torch.randn(8, 3), live=True)
    assert "if a first call alone does, make that before" in str(found)
    assert "decide what is done" in str(port(own.Counting, torch.ones(2)))


@LIVE
def test_rows_that_a_loop_writes_into(live):
    images = [torch.randn(3, 4, 5), torch.randn(3, 6, 3)]
    found = port(own.Padded, images, live=live)
    assert kept(found, live), str(found)
    for text in (
        "for place, (image, padded, m) in enumerate(zip(images, batch, mask)):",
        "batch = batch.at[place, : image.shape[0], : image.shape[1], : image.shape[2]].set(image)",
        "mask = mask.at[place, : image.shape[1], : image.shape[2]].set(False)",
    ):
        assert text in found.source


def test_rows_that_are_read_again():
    found = port(own.Rows, torch.randn(4, 3))
    assert found.equal, str(found)
    assert "            y = y.at[place].set(row)\n            total =" in found.source
    assert "y = y.at[n, 0].set(row[1] * n)" in found.source


def test_rows_of_rows():
    (said,) = port(own.RowsOfRows, torch.randn(2, 3)).obstacles
    assert "writes into rows of row, which is a row itself; write into the tensor" in said


@pytest.mark.parametrize("kind", [own.TwoFused, own.mlp])
def test_a_copy_has_functions_of_its_own_parts(kind):
    from fx.porting.proof import trial

    model = kind()
    copy = trial.separate(model)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.zero_()
    x = torch.randn(2, 3)
    assert torch.equal(copy(x), x if kind is own.mlp else x * 0)
    assert not torch.equal(model(x), copy(x))


@LIVE
def test_parts_by_other_keys_than_text(live):
    found = port(own.KeyedParts, torch.randn(2, 3), live=live)
    assert kept(found, live), str(found)
    assert 'x = self.convs[str(("up", n))](x)' in found.source
    assert set(found.params) == {"decoder"} and len(found.params["decoder"]) == 3


@LIVE
def test_a_layer_that_only_some_share(live):
    found = port(own.SomeShared, torch.randn(2, 3, 8, 8), live=live, training=True)
    assert kept(found, live) and found.training == "equal", str(found)
    if not live:
        assert 'if getattr(self, "down", None) is not None and getattr(self, "norm"' in found.source


@LIVE
def test_a_constructor_that_draws_noise_and_takes_an_array(live):
    found = port(own.noisy, torch.randn(2, 3), live=live, training=True)
    assert kept(found, live) and found.training == "equal", str(found)
    assert live or "return Noisy(widths=np.array([3, 2]))" in found.source


@LIVE
def test_an_axis_of_a_class_and_sparse_gradients(live):
    ids = torch.tensor([[0, 3], [1, 1], [4, 2]])
    found = port(own.Fourier, torch.randn(3, 7), ids, live=live, training=True)
    assert kept(found, live) and found.gradients == "equal", str(found)
    assert ".at[jnp.arange(ids.shape[0])[:, None], ids].add(" in found.source


@LIVE
def test_parts_by_name_out_of_a_dict_that_decorators_fill(live):
    found = port(own.from_settings, torch.randn(2, 3), live=live)
    assert kept(found, live), str(found)
    if not live:
        assert "MODELS = {'block': Block, 'encoder': Encoder}\n" in found.source
        for line in (
            'nn.tie(self.levels[0], "1.body.1", "0.body.1")',
            'nn.tie(self.levels, "1.0.body.1", "0.0.body.1")',
            'nn.tie(self, "second.levels.0.0.body.1", "first.1.body.1")',
        ):
            assert line in found.source, found.source


@LIVE
def test_a_class_that_a_decorator_has_made(live):
    model = own.Persistent(3)
    kind = type(model)
    found = port(lambda: own.Persistent(3), torch.randn(2, 3), live=live)
    assert kept(found, live), str(found)
    assert "class Persistent(nn.Module):" in found.source and "Kept" not in found.source
    assert live or "    return Persistent(width=3)" in found.source
    again = port(lambda: model, torch.randn(2, 3), live=True)
    assert again.equal and type(model) is kind and type(model.inner) is kind
    assert own.Persistent is kind


@LIVE
def test_buffers_that_are_written_under_another_name(live):
    found = port(own.Averages, torch.randn(5, 3), live=live, training=True)
    assert kept(found, live), str(found)
    assert found.training == found.elsewhere == "equal"
    for text in (
        ', mean.shape); setattr(self, f"mean{n}", mean)',
        "            result, self.whole = averaged(self.whole, ",
        "        calls += 1\n        self.calls = calls\n",
    ):
        assert text in found.source, found.source


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (own.ListedBuffers, "writes into u0, which the model holds, under another name: arrays"),
        (own.GivenAway, "averaged writes into what it is given, which the model holds: arrays"),
    ],
)
def test_buffers_that_cannot_be_followed_are_named(kind, text):
    (said,) = port(kind, torch.randn(5, 4), training=True).obstacles
    assert text in said


@LIVE
def test_marks_counts_seeds_and_what_is_not_read(live):
    found = port(own.marked, torch.tensor([0, 3, 1]), live=live, training=True)
    assert kept(found, live) and found.training == "equal", str(found)
    assert "a = a.at[:, :2].set(parts[0])\n        b = b.at[:, 2:].set(parts[1])" in found.source
    assert any("table: max_norm limits rows where they are read" in note for note in found.notes)


def test_a_model_that_counts_keeps_its_count():
    model = own.Averages().eval()
    port(lambda: model, torch.randn(5, 3), live=True, training=True)
    assert model.calls == 1  # of the one run that is recorded


@pytest.mark.parametrize(
    ("kind", "inputs", "text"),
    [
        (own.Hooked, torch.ones(2, 3), '"fc.weight": a hook changes its gradient, which nothing'),
        (own.OneMemory, torch.tensor([0, 3]), '"a.weight" and "b.weight" share memory, so that'),
    ],
)
@LIVE
def test_what_training_does_beside_a_forward_is_named(kind, inputs, text, live):
    (said,) = port(kind, inputs, live=live, training=True).obstacles
    assert said.startswith(text)


@pytest.mark.parametrize("mode", [True, False])
def test_a_train_that_decides_what_forward_does(mode):
    model = own.Merging().train(mode)
    before = model.fc.weight.clone()
    (said,) = port(lambda: model, torch.randn(2, 3), live=True, training=True).obstacles
    wanted = "its train makes merged False in training, and True in evaluation, which forward reads"
    assert wanted in said and model.merged is not mode
    assert torch.allclose(model.fc.weight, before)


def test_a_model_is_left_as_it_was():
    model = own.PartInEvaluation()
    found = port(lambda: model, torch.randn(4, 3), live=True, training=True)
    now = torch.get_rng_state()
    assert found.equal and model.training and not model.norm.training
    assert any(note.startswith("norm: in another mode than the whole") for note in found.notes)
    torch.manual_seed(0)  # as the test's `port` does
    assert torch.equal(now, torch.get_rng_state())


@LIVE
def test_training_that_does_not_run_here_is_an_obstacle(live):
    found = port(own.Skipping, torch.randn(2, 3), live=live, training=True)
    assert not found.equal and "values of arrays decide" in found.obstacles[0], str(found)
    assert re.search(r"own.py:\d+: ConcretizationTypeError", found.obstacles[0])


@pytest.mark.filterwarnings("ignore:To copy construct", "ignore:Converting a tensor with")
def test_whole_numbers_as_floats_and_copies():
    found = port(own.Shifted, torch.randn(2, 3), training=True)
    assert found.equal and found.gradients == "equal", str(found)
    assert ", 0, 5).astype(x.dtype)" in found.source
    y, _ = found.model.apply(found.params, found.state, np.ones((2, 3)), key=jax.random.key(0))
    assert np.isfinite(y).all()


@LIVE
def test_statistics_that_are_weights(live):
    found = port(own.FrozenStatistics, torch.randn(5, 3), live=live, training=True)
    assert not found.equal and "kept.0 differs afterwards" in found.training, str(found)


@LIVE
def test_operations_that_would_be_observed_and_helpers(live):
    index = torch.randint(0, 7, (2, 6, 1))
    found = port(own.refined, torch.randn(2, 3, 4, 5), index, live=live, training=True)
    assert kept(found, live) and found.training == "equal", str(found)
    assert "x = self.skip.add(self.layer(x), x)" in found.source
    assert "return x.size == 0" in found.source
    assert any(note.startswith("layer: has hooks") for note in found.notes)
    if not live:
        assert "def __init__(self, width, layer=layer):" in found.source


def test_float_functional_is_torchs():
    theirs, ours = torch.nn.quantized.FloatFunctional(), twins.FloatFunctional()
    x, y = torch.randn(2, 3, 3)
    for name in ("add", "mul", "matmul", "add_relu"):
        mine = getattr(ours, name)(x.numpy(), y.numpy())
        np.testing.assert_allclose(mine, getattr(theirs, name)(x, y).numpy(), 1e-5, 1e-6)
    for name in ("add_scalar", "mul_scalar"):
        expected = getattr(theirs, name)(x, 2.5)
        np.testing.assert_allclose(getattr(ours, name)(x.numpy(), 2.5), expected.numpy(), 1e-6)
    joined = ours.cat([x.numpy(), y.numpy()], dim=1)
    np.testing.assert_allclose(joined, theirs.cat([x, y], dim=1).numpy())


def test_operands_by_a_star():
    found = port(own.Projected, torch.randn(2, 6, 4), torch.randn(2, 6, 4), training=True)
    assert found.equal and 'jnp.einsum("bnd,nk->bkd", *args)' in found.source, str(found)


@pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated")
def test_weight_norm_of_a_class_of_ones_own():
    found = port(own.Rescaled, torch.randn(3, 2), training=True)
    assert kept(found, False) and found.training == "equal", str(found)


@LIVE
def test_weights_that_a_hook_computes(live):
    found = port(own.Scaled, torch.randn(2, 3, 5, 5), live=live)
    said = '"conv": a forward pre-hook, Equalized, computes its weight; have torch.nn.utils.param'
    assert not found.equal and any(said in each for each in found.obstacles + found.notes), str(
        found
    )


@LIVE
def test_a_class_on_torchs_common_batch_norm(live):
    found = port(own.AnyNormed, torch.randn(4, 3, 7), live=live, training=True)
    assert kept(found, live) and found.training == "equal", str(found)
    assert "class AnyNorm(nn.SyncBatchNorm):" in found.source


@LIVE
def test_a_static_method_of_a_layer(live):
    found = port(own.Causal, torch.randn(2, 5, 8), live=live, training=True)
    assert kept(found, live) and found.training == "equal", str(found)
    assert "nn.Transformer.generate_square_subsequent_mask(x.shape[1]" in found.source


@LIVE
def test_variances_that_einops_is_given(live):
    found = port(lambda: own.Standardized(3, 4, 3), torch.randn(2, 3, 5, 5), live=live)
    assert kept(found, live), str(found)
    assert "partial(jnp.var, ddof=0)" in found.source and "ddof=2)" in found.source


@LIVE
def test_a_parameter_that_a_forward_makes_anew(live):
    found = port(own.Averaged, torch.randn(5, 3), live=live, training=True)
    said = "a forward makes a parameter anew"
    assert not found.equal and any(said in each for each in found.obstacles), str(found)


@LIVE
def test_constructors_that_are_given_tensors(live):
    found = port(own.coupled, torch.randn(2, 4), live=live, training=True)
    assert kept(found, live) and found.training == "equal", str(found)
    if not live:
        assert "mask=np.array([1.0, 0.0, 1.0, 0.0], np.float32)" in found.source


def test_buffers_that_a_constructor_gives_to_functions():
    found = port(own.turned, torch.randn(2, 5, 4), training=True)
    assert kept(found, False) and found.training == "equal", str(found)
    assert "jnp.outer(t, jnp.asarray(self.inv_freq))" in found.source


@LIVE
def test_types_as_strings(live):
    target = torch.tensor([0, 2, 1, 1])
    found = port(own.Focal, torch.randn(4, 3), target, live=live, training=True)
    assert kept(found, live) and found.training == "equal", str(found)


def test_derivatives_that_a_forward_takes_are_named():
    found = port(own.Forces, torch.randn(4, 3))
    said = "torch.autograd.grad has no counterpart here; make what is between x and y a function"
    assert any(said in each for each in found.obstacles), str(found)


@LIVE
def test_chance_that_did_not_come_about(live):
    found = port(own.Skips, torch.randn(2, 4), live=live, training=True)
    said = "random.random(): what is compiled would draw this number once"
    assert not found.equal and any(said in each for each in found.obstacles), str(found)
