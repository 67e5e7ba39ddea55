"""What libraries of models do that plain models do not ports, and computes the same."""

import inspect

import jax
import pytest
import torch

import fx
from fx.porting.calls import special
from tests.porting import library

LIVE = pytest.mark.parametrize("live", [False, True])
PARTS = [library.Asks, library.Gaps, library.Walks, library.Several, library.Branched]
WARNS = pytest.mark.filterwarnings("ignore:.torch.backends.cuda.sdp_kernel.")


def port(kind, *inputs, live=True):
    torch.manual_seed(0)
    with jax.numpy_dtype_promotion("standard"):
        return fx.port(kind() if live else kind, inputs, layers=False)


@LIVE
def test_functions_without_a_global_name(live):
    found = port(library.Functions, torch.randn(2, 3), live=live)
    assert found.equal, str(found)
    if live:
        for text in (
            "functions_function = lambda x: x\n",
            "def always_function(value):\n    return lambda *args, **kwargs: value\n",
            "def inner(act, by):\n    def inner(x):\n        # a function inside another one\n"
            "        return act(x) * by\n    return inner\n",
            "head=always_function(value=None),",
            "first=inner(act=jnp.sin, by=2),",
            "four=Constantly(value=4)",
        ):
            assert text in found.source, found.source


@LIVE
@pytest.mark.parametrize("kind", PARTS)
def test_parts_that_are_not_there(kind, live):
    found = port(kind, torch.randn(2, 3), live=live)
    assert found.equal and found.training == "equal", str(found)
    weights = fx.state_dict(found.model, found.params, found.state)
    assert list(weights) == list(kind().state_dict())
    if live and kind is library.Asks:
        assert "        if skip is not None:\n            self.skip = skip\n" in found.source
        assert "        self.act = act\n" in found.source


@LIVE
def test_weights_that_are_computed(live):
    found = port(library.Parametrized, torch.randn(2, 5, 3), live=live)
    assert found.equal and found.training == "equal", str(found)
    weights = fx.state_dict(found.model, found.params, found.state)
    assert set(weights) == set(library.Parametrized().state_dict())


@WARNS
@LIVE
def test_lists_named_tuples_and_contexts_of_kernels(live):
    found = port(library.Sizes, torch.randn(2, 3, 3), live=live)
    assert found.equal, str(found)
    assert "jnp.array_split(x, (1,), axis=1)" in found.source
    assert "from einops import rearrange\n" in found.source
    said = "sizes: Any" if live else 'sizes: "list[int] | Kernels | None"'
    assert said in found.source and "sdp" not in found.source


def test_functions_that_are_compiled():
    from tests.porting import compiled

    found = port(compiled.Compiled, torch.randn(2, 3))
    assert found.equal and "torch.compile" not in found.source, str(found)


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
def test_attention_with_functions_of_places():
    from tests.porting import compiled

    found = port(compiled.Flexible, torch.randn(2, 2, 8, 4))
    assert found.equal and "def later(b, h, q, k):" in found.source, str(found)


def test_text_that_is_no_python_is_an_obstacle(monkeypatch):
    monkeypatch.setitem(special.SPECIAL, "flatten", lambda call: "x.reshape(-1")
    (said,) = port(library.Flat, torch.ones(2, 3)).obstacles
    line = inspect.getsourcelines(library.Flat)[1] + 2
    assert said.startswith(f"{library.__file__}:{line}: fx.port wrote what is no Python here")


def test_gradients_are_those_of_weights_where_pytorch_takes_none_to_inputs():
    found = port(library.Changed, torch.randn(2, 3))
    assert found.equal and found.gradients == "equal", str(found)


@LIVE
def test_trees_kept_contexts_and_types_of_other_files(live):
    found = port(library.Kept, torch.randn(1, 3, 4), live=live)
    assert found.equal, str(found)
    if live:
        assert "cache: Any = None" in found.source and "kernels(" not in found.source
