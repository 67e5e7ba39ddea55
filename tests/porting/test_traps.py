"""Ports that agree on the example have to agree on other inputs, too, and in what is trained."""

import jax
import pytest
import torch

import fx
from fx.porting import trial
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


@pytest.mark.parametrize("live", [False, True])
def test_a_lambda_with_a_global_name(live):
    found = port(traps.Lambdas() if live else traps.Lambdas, torch.randn(3))
    assert found.equal, str(found)
    assert "\nsquare = lambda x: x * x" in found.source
