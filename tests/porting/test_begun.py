"""First values that constructors give weights in place become rules by name."""

import math

import jax
import numpy as np
import pytest

import fx
from fx.porting.proof.begun import grouped

torch = pytest.importorskip("torch")
from tests.porting import begun  # noqa: E402


def test_first_values_are_rules_by_name():
    torch.manual_seed(0)
    theirs: list = []

    def make():
        theirs.append(begun.Begun())
        return theirs[-1]

    found = fx.port(make, torch.randint(0, 20, (2, 9)))
    assert found.equal and found.constructors == "ported", str(found)
    assert not found.notes, str(found)
    for line in (
        '"embedded.weight": nn.init.normal(std=0.5)',
        '"blocks.0.weight": nn.init.trunc_normal(std=0.02)',
        '"blocks.*.bias": nn.init.constant(0.5)',
        f'"blocks.2.weight": nn.init.normal(std={0.02 / math.sqrt(6)!r})',
        '"norm.weight": nn.init.zeros',
        "\"conv.weight\": nn.init.kaiming_normal(mode='fan_out', nonlinearity='relu')",
        '"conv.bias": nn.init.zeros',
        '"orthogonal.weight": nn.init.orthogonal(gain=1.4142135623730951)',
        '"head.weight": nn.init.kaiming_uniform(a=2.23606797749979)',
        '"head.bias": nn.init.uniform(a=-0.25, b=0.25)',
    ):
        assert f"        {line},\n" in found.source, found.source
    assert '"kept' not in found.source and '"head.scale' not in found.source
    params, state = found.model.init(jax.random.key(0))
    for name, value in fx.state_dict(found.model, params, state).items():
        there = theirs[-1].state_dict()[name].numpy()
        if np.ptp(there) == 0:
            np.testing.assert_allclose(value, there, err_msg=name)
        else:
            assert 0.5 < np.std(value) / np.std(there) < 2, name


def test_a_live_model_has_no_first_values():
    torch.manual_seed(0)
    found = fx.port(begun.Begun(), torch.randint(0, 20, (2, 9)))
    assert found.equal and "by_name" not in found.source, str(found)


def test_what_no_initialiser_tells_keeps_its_note():
    torch.manual_seed(0)
    found = fx.port(begun.Halved, torch.randn(2, 16), layers=False)
    assert found.equal, str(found)
    assert any("initial values are left out" in note for note in found.notes), str(found)
    assert '        "out.bias": nn.init.zeros,\n    })' in found.source


def test_a_part_of_a_weight():
    torch.manual_seed(0)
    found = fx.port(begun.Remembers, torch.randn(2, 3, 16), layers=False)
    assert found.equal and found.constructors == "ported", str(found)
    assert any("initial values are left out" in note for note in found.notes), str(found)
    assert '"rnn.weight_hh_l0": nn.init.orthogonal(),\n    })' in found.source


def test_a_layer_of_torchs_that_begins_anew():
    torch.manual_seed(0)
    found = fx.port(lambda: begun.LowRank(16, 16), torch.randn(2, 16), layers=False)
    assert found.equal and found.constructors == "ported", str(found)
    assert '"lora_A": nn.init.kaiming_uniform(a=2.23606797749979),\n' in found.source


def test_names_share_a_rule_where_all_have_it():
    names = ["h.0.w", "h.1.w", "g.0.w", "g.1.w", "h10.w"]
    given = {"h.0.w": "a", "h.1.w": "a", "g.0.w": "b", "h10.w": "c"}
    assert grouped(given, names) == {"h.*.w": "a", "g.0.w": "b", "h10.w": "c"}
