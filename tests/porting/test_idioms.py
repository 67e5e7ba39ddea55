"""What published PyTorch code does besides calling layers ports, and computes the same."""

import jax
import numpy as np
import pytest
import torch

import fx
from tests.porting import idioms


def port(make, *inputs, training=True):
    torch.manual_seed(0)
    with jax.numpy_dtype_promotion("standard"):
        found = fx.port(make, inputs, layers=False, training=training)
    return found


def test_configuration_objects_and_what_constructors_do_besides():
    def make():
        return idioms.Configured(options=idioms.Options(act="sin"))

    found = port(make, torch.randn(2, 4, 5))
    assert found.equal and found.constructors == "ported", str(found)
    assert "@dataclass(unsafe_hash=True)\nclass Sizes:" in found.source  # it changes itself
    assert "@jax.tree_util.register_dataclass\n@dataclass\nclass Output:" in found.source
    assert '    model = Configured(options=Options(act="sin"))' in found.source.replace("'", '"')
    assert "return nn.init.by_name(model, {" in found.source
    assert "nn.utils.parametrizations.weight_norm(" in found.source
    assert "self.gain = nn.Parameter((self.sizes.heads, 1), nn.init.constant(options.scale))" in (
        found.source
    )
    frozen, *said = [note.rpartition(": ")[2] for note in found.notes]
    assert " weights are frozen in PyTorch, not here (conv.bias, " in frozen
    assert list(dict.fromkeys(said)) == [
        "the mark on a weight is left out",
        "requires_grad is left out; choose what is trained with fx.partition",
    ]
    outputs, _ = jax.jit(found.model.apply)(found.params, found.state, np.ones((1, 4, 3), "f"))
    assert list(outputs.parts) == ["a", "m", "z"]  # sorted when compiled, so compared by key


def test_writes_by_index_and_mask():
    found = port(idioms.Places, torch.rand(3, 5), torch.tensor([4, 0, 4]))
    assert found.equal and found.training == "equal", str(found)
    for text in (
        "weights, chosen = jax.lax.top_k(x, 2)",
        "jnp.zeros_like(x).at[jnp.arange(chosen.shape[0])[:, None], chosen].set(weights)",
        "jnp.put_along_axis(mask, jnp.expand_dims(where, 1), 9.0, axis=1, inplace=False)",
        "sums = jnp.zeros((5,)).at[where].add(x[:, 0])",
        "mask = jnp.where(mask > 8, -1.0, mask)",
        "mask = jnp.where((x[:, 0] > 0.5)[..., None], 0.0, mask)",
        "self.mean = (self.mean * 0.9) + 0.1 * x.mean(axis=0)",
    ):
        assert text in found.source, text


def test_older_functions():
    found = port(idioms.Old, torch.randn(4, 3))
    assert found.equal and found.constructors == "ported", str(found)
    assert "x = x\n" not in found.source


def test_packed_sequences():
    found = port(idioms.Packed, torch.randn(3, 6, 2), torch.tensor([6, 2, 4]))
    assert found.equal and found.constructors == "ported", str(found)


@pytest.mark.filterwarnings("ignore:.torch.nn.utils.weight_norm. is deprecated")
def test_the_older_weight_norm_on_a_live_model_and_an_index_without_a_name():
    found = port(idioms.Shared(), torch.randn(2, 2, 4))
    assert found.equal, str(found)
    assert "conv=nn.utils.weight_norm(nn.Conv1d(2, 3, 2), dim=1)" in found.source
    assert 'nn.tie(self, "net.0", "conv")' in found.source
    assert ".at[jnp.arange((places := " in found.source


def test_random_numbers_of_a_constructor_are_declared():
    found = port(idioms.Random, torch.randn(2, 2), training=False)
    assert found.equal and found.constructors == "ported", str(found)
    assert "self.waves = nn.Buffer((3, 2), nn.init.normal(std=1 / 2), persistent=persistent)" in (
        found.source
    )
    assert "self.weight = nn.Parameter((2, 2), nn.init.normal(std=1 / math.sqrt(2)))" in (
        found.source
    )
    lost = port(lambda: idioms.Random(persistent=False), torch.randn(2, 2), training=False)
    assert lost.equal and lost.constructors == "written from the live model"
    assert "the constructors were not kept: with them the outputs differ by" in lost.notes[0]
