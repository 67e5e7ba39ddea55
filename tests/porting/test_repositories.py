"""What repositories of speech, detection, point clouds and reinforcement learning do."""

import sys
import types

import jax
import pytest
import torch

import fx
from tests.porting import repositories

X = torch.linspace(-1.0, 1.0, 12).reshape(3, 4)
LIVE = pytest.mark.parametrize("live", [False, True])


@pytest.fixture(autouse=True)
def _torchs_promotion():
    with jax.numpy_dtype_promotion("standard"):
        yield


def port(kind, live=False, x=X):
    torch.manual_seed(0)
    return fx.port(kind() if live else kind, x, layers=False)


@LIVE
@pytest.mark.parametrize("kind", [
    repositories.Anchors, repositories.Fills, repositories.Agent, repositories.Gated,
    repositories.Token,
])  # fmt: skip
def test_it_is_equal(kind, live):
    found = port(kind, live)
    assert found.equal and found.gradients == found.training == "equal", str(found)
    assert found.constructors == ("written from the live model" if live else "ported"), str(found)


def test_a_constant_that_a_file_binds_several_times_is_the_one_that_was_there(monkeypatch):
    monkeypatch.setattr(repositories, "GAIN", 1.0)
    repositories.set_gain(4.0)
    found = port(repositories.Chosen)
    assert found.equal and found.constructors == "ported", str(found)
    for line in ("FUSED = False", "INVERTED = True", "SIZES = [1, 2, 3]", "GAIN = 4.0"):
        assert line in found.source
    assert "return 3 * x" in found.source and "nn.init.constant(2.0)" in found.source


def test_tensors_in_lists_of_a_constructor_are_buffers():
    source = port(repositories.Anchors).source
    assert "self.cells = nn.ParameterList([nn.Buffer(each, persistent=False)" in source
    assert "self.table = nn.ParameterDict({k: nn.Buffer(v, persistent=False)" in source
    assert "self.more.append(nn.Buffer(jnp.full((4,), float(n)), persistent=False))" in source


def test_a_method_of_first_values_alone_is_left_out_with_a_note():
    found = port(repositories.Fills)
    assert "solved" not in found.source and "logger" not in found.source
    said = "solved, which no forward calls, was left out: torch.linalg.lstsq(a, b[:, None])"
    assert any(said in note for note in found.notes), found.notes


def test_a_number_of_numpys_is_one_of_pythons():
    found = port(repositories.Wide, live=True)
    assert found.equal and "fc=nn.Linear(4, 4)" in found.source, str(found)


def test_chunks_of_a_batch_that_does_not_divide():
    found = port(repositories.Chunks, x=X[:2])
    assert found.equal, str(found)
    with torch.no_grad():
        expected = repositories.Chunks()(X).numpy()
    outputs, _ = found.model.apply(found.params, found.state, X.numpy())
    assert outputs == pytest.approx(expected, abs=1e-6)


def test_whole_numbers_with_a_dtype_are_drawn():
    found = port(repositories.Farthest)
    assert found.equal and "jax.random.randint(self.next_key()" in found.source, str(found)


@LIVE
def test_a_sparse_buffer_that_nothing_reads_is_left_out(live):
    found = port(repositories.Sparse, live)
    assert found.equal and any("sparse" in note for note in found.notes), str(found)


def test_a_sparse_buffer_that_is_read_is_named():
    found = port(repositories.ReadsSparse, live=True)
    assert '"heads" is sparse; make it dense in PyTorch' in found.obstacles[0], str(found)


def test_what_another_package_says_of_a_constructors_number_is_that_number(monkeypatch):
    other = types.ModuleType("parallel_of_another_place")
    other.world_size = lambda: 2
    monkeypatch.setitem(sys.modules, "parallel_of_another_place", other)
    found = port(repositories.Parallel)
    assert found.equal and found.constructors == "ported", str(found)
    assert any("self.width = 2 here, which it was when this ran" in n for n in found.notes)


def test_constants_that_a_file_changes_are_what_they_became():
    found = port(repositories.Changed)
    assert found.equal and found.constructors == "ported", str(found)
    for line in ("CONFIG = {'p': 0.1}", "FIRST = 3", "SECOND = 2", "    factor = 9"):
        assert line in found.source, found.source
    assert "TABLE = jnp.array([0.0, 4.0, 0.0, 0.0], jnp.float32)" in found.source


def test_what_is_detached_by_variable_is():
    found = port(repositories.Detached)
    assert found.equal, str(found)
    assert found.source.count("jax.lax.stop_gradient(") == 1


@LIVE
@pytest.mark.parametrize(
    "kind",
    [
        repositories.Pieces,
        repositories.Limits,
        repositories.Kernel,
        repositories.Shortcut,
    ],
)
def test_gradients_and_training_too(kind, live):
    found = port(kind, live)
    assert found.equal and found.gradients == found.training == "equal", str(found)
    assert found.constructors == ("written from the live model" if live else "ported"), str(found)


def test_buffers_begin_as_the_constructor_computes_them():
    found = port(repositories.Kernel)  # whose weights are loaded over what it begins with
    _, state = found.model.init(jax.random.key(0))
    for name, expected in repositories.Kernel().named_buffers():
        assert state[name] == pytest.approx(expected.numpy()), name


def test_a_limit_of_whole_numbers_is_numpys():
    class Whole(torch.nn.Module):
        def forward(self, x):
            return x.clamp(0, 1)

    found = port(Whole, live=True, x=torch.arange(-2, 3))
    assert found.equal and "jnp.clip(x, min=0, max=1)" in found.source, str(found)


def test_what_is_nowhere_a_number_is_equal_to_nothing():
    with pytest.raises(ValueError, match="PyTorch's own outputs are nan throughout"):
        port(repositories.Undefined)


@LIVE
def test_marks_on_layers_and_a_grid_for_each_map(live):
    found = port(repositories.Graph, live, torch.randn(1, 3, 4, 4))
    assert found.equal and found.elsewhere == found.training == "equal", str(found)
    assert found.constructors == ("written from the live model" if live else "ported"), str(found)
    assert "nn.mark(" in found.source
    x = torch.randn(2, 3, 6, 5)
    with torch.no_grad():
        torch.manual_seed(0)
        expected = repositories.Graph().eval()(x).numpy()
    outputs, _ = jax.jit(found.model.apply)(found.params, found.state, x.numpy())
    assert outputs == pytest.approx(expected, abs=1e-4)


@LIVE
def test_blocks_of_torchs_layers(live):
    found = port(repositories.Blocks, live)
    assert found.equal and found.training == "random", str(found)
    assert found.constructors == ("written from the live model" if live else "ported"), str(found)


@pytest.mark.filterwarnings("ignore:enable_nested_tensor is True")
def test_a_transformer_of_torchs_by_itself():
    theirs = torch.nn.Transformer(
        8, 2, 2, 1, 16, 0.2, "gelu", layer_norm_eps=1e-3, norm_first=True, bias=False
    )
    found = fx.port(theirs, (torch.randn(3, 2, 8), torch.randn(4, 2, 8)), layers=False)
    assert found.equal and found.training == "random", str(found)
    for word in ("num_encoder_layers=2", "dim_feedforward=16", "dropout=0.2", "norm_first=True"):
        assert word in found.source
