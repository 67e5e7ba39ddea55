"""docs/coverage.md is what its script writes, and the script finds what is missing."""

import importlib.util
from pathlib import Path

import pytest

import fx.functional
from fx import nn

PATH = Path(__file__).parents[2] / "docs" / "make_coverage.py"
SPEC = importlib.util.spec_from_file_location("make_coverage", PATH)
coverage = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(coverage)


def test_the_page_is_up_to_date():
    assert coverage.text() == coverage.PAGE.read_text(), "run python docs/make_coverage.py"


def test_a_missing_name_is_found(monkeypatch):
    monkeypatch.delattr(nn, "ReLU")
    with pytest.raises(LookupError, match="torch.nn.ReLU: neither in fx nor in LEFT_OUT"):
        coverage.text()


def test_a_name_of_both_kinds_is_found(monkeypatch):
    monkeypatch.setitem(coverage.LEFT_OUT, "torch.nn.ReLU", "no reason")
    with pytest.raises(LookupError, match="torch.nn.ReLU: in fx and in LEFT_OUT"):
        coverage.text()


@pytest.mark.parametrize("ours, text", [
    (lambda input, p=0.4, training=True, inplace=False: None, "dropout: p is .0.4, True. here"),
    (lambda input, p=0.5, inplace=False: None, "dropout: training is None here"),
    (lambda input, training=True, p=0.5, inplace=False: None, "dropout: arguments stand in anoth"),
    (lambda input, p=0.5, training=True, inplace=False, seed=0: None, "dropout: seed is .0, True."),
])  # fmt: skip
def test_arguments_that_differ_are_found(monkeypatch, ours, text):
    monkeypatch.setattr(fx.functional, "dropout", ours)
    with pytest.raises(LookupError, match=text):
        coverage.row("torch.nn.functional", "dropout")


def test_arguments_of_compiled_functions_are_known():
    """torch's C++ functions have no signature; a wrong default of one is found all the same."""
    assert coverage.row("torch.nn.functional", "conv2d") == ("conv2d", True, "")
    assert coverage.torch_arguments(coverage.torch.nn.functional.max_pool2d)["stride"] == (
        None,
        True,
    )
