"""What stands in the way is named with its file and line; nothing is guessed."""

from pathlib import Path

import numpy as np
import pytest
import torch

import fx
from tests.porting import stopped

FILE = Path(stopped.__file__)


def line(text: str) -> int:
    """The line of the file on which a text stands first."""
    return next(n for n, each in enumerate(FILE.read_text().splitlines(), 1) if text in each)


def port(model, x=None):
    return fx.port(model, torch.ones(2, 3) if x is None else x, layers=False, training=False)


def test_functions_without_a_counterpart_are_all_named():
    first, second = line("bessel_j0(x)"), line("x.renorm")
    found = port(stopped.Bessel())
    assert not found.equal and found.model is None
    assert found.obstacles == [
        f"{FILE}:{first}: torch.special.bessel_j0(x): torch.special.bessel_j0 has no counterpart "
        "here",
        f"{FILE}:{second}: x.renorm(2, 0, 1.0): Tensor.renorm has no counterpart here",
    ]
    assert str(found).startswith(f"obstacle: {FILE}:{first}: ")


def test_what_fx_refuses_is_named_by_the_line_it_came_from():
    (found,) = port(stopped.Counts()).obstacles
    place = f"{FILE}:{line('self.count = self.count + 1')}: AttributeError: Counts: 'count' is "
    assert found.startswith(place + "assigned in forward, where only a Buffer may change")


def test_a_function_that_writes_into_its_argument_returns_it():
    found = port(stopped.IntoArgument())
    assert found.equal, str(found)
    assert found.source.count("        return x\n") == 6 and "        return y\n" in found.source
    assert "        x = self.scaled(x)\n        x = self.early(x)\n" in found.source


def test_writes_into_an_argument_that_only_the_caller_reads():
    found = port(stopped.IntoArgumentToo()).obstacles
    first, second = line("x.div_(3)"), line("self.added(x[0])")
    assert found == [
        f"{FILE}:{second}: added writes into its argument x; give what it is a name first",
        f"{FILE}:{first}: divided writes into its argument x, which only its caller reads; return "
        "x from it, and take it where it is called",
    ]


def test_writes_into_an_argument_that_are_read_here():
    found = port(stopped.OwnArgument())
    assert found.obstacles == [] and found.equal


def test_a_split_that_does_not_come_out_even():
    found = port(stopped.Uneven())
    assert found.equal, str(found)
    assert "jnp.split((values := x * 2), list(range(-(-values.shape[1] // 2), " in found.source


def test_a_layer_that_fx_does_not_have():
    (found,) = port(stopped.Quantised()).obstacles
    assert 'QuantStub ("quant") has no counterpart here' in found


def test_a_forward_replaced_on_the_object():
    (found,) = port(stopped.Replaced()).obstacles
    assert found == '"part": its forward was replaced on the object'


def test_a_forward_that_is_another_method_of_the_object():
    found = port(stopped.Chosen("twice"))
    assert found.equal and "return self.twice(*args, **kwargs)" in found.source, str(found)
    (said,) = port(torch.nn.Sequential(stopped.Chosen("once"), stopped.Chosen("twice"))).obstacles
    assert said.endswith("its objects have different forwards: once, twice")


def test_what_did_not_run_is_left_out_and_said():
    found = port(stopped.Branches())
    assert found.equal, str(found)
    where = f"stopped.py:{line('if bessel') + 1} did not run"
    assert f'raise NotImplementedError("{where} when this was ported")' in found.source
    method = line("def unused")
    assert found.notes == [
        f"{where}, and was left out",
        f"stopped.py:{method}: unused did not run, and was left out",
    ]
    with pytest.raises(NotImplementedError, match="did not run when this was ported"):
        found.model.apply(found.params, found.state, np.ones((2, 3), np.float32), True)


def test_an_unequal_port_says_so(monkeypatch):
    """Weights that differ: the comparison is real."""
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Tanh())
    given = model.state_dict

    def other():
        return {name: value + 1 for name, value in given().items()}

    monkeypatch.setattr(model, "state_dict", other)
    found = port(model)
    assert found.obstacles == [] and not found.equal
    assert str(found).startswith("different: error ")


def test_scripted_and_compiled_modules():
    net, x = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU()), torch.randn(2, 3)
    with pytest.warns(DeprecationWarning):
        scripted = torch.jit.script(net)
    with pytest.raises(TypeError, match="with its Python source, got RecursiveScriptModule"):
        fx.port(scripted, x)
    assert fx.port(torch.compile(net), x).equal


def test_what_jax_says_of_its_own_values_is_said_of_the_model():
    (found,) = fx.port(stopped.OutsideCache(), torch.ones(2, 3), layers=False).obstacles
    place = f"{FILE}:{line('GRID[key] = torch.linspace')}: UnexpectedTracerError: what one call"
    assert found.startswith(place)
    (found,) = port(stopped.NumPys()).obstacles
    place = f"{FILE}:{line('np.sqrt(ratios)')}: TracerArrayConversionError: NumPy's functions"
    assert found.startswith(place)
