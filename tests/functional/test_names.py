"""The public names: torch's, with its arguments, their order and their defaults."""

import inspect

import pytest
import torch.nn.functional as TF

import fx.functional as F

# Left out or moved behind a star on purpose; the docstrings say so.
LEFT_OUT = {"_stacklevel", "out"}
ADDED = {"key", "dropout_key", "implementation"}
KEYWORD_ONLY = {"dtype", "key"}


def signature(function):
    try:
        return inspect.signature(function)
    except ValueError:  # builtins of torch have none
        return None


SIGNATURES = {n: signature(getattr(TF, n)) for n in F.__all__}
# torch wraps max_pool2d and its kin in a dispatcher that hides the arguments.
KNOWN = [n for n, s in SIGNATURES.items() if s and "args" not in s.parameters]


def test_every_name_is_torchs():
    assert [n for n in F.__all__ if not hasattr(TF, n)] == []
    assert sorted(F.__all__) == F.__all__
    assert len(KNOWN) > 35


@pytest.mark.parametrize("name", KNOWN)
def test_arguments_are_torchs(name):
    theirs = {n: p for n, p in SIGNATURES[name].parameters.items() if n not in LEFT_OUT}
    added = ADDED - set(theirs)  # torch's attention has an argument called key itself
    ours = {
        n: p for n, p in inspect.signature(getattr(F, name)).parameters.items() if n not in added
    }
    keyword = [n for n, p in ours.items() if p.kind is p.KEYWORD_ONLY]
    assert set(keyword) <= KEYWORD_ONLY | {n for n, p in theirs.items() if p.kind is p.KEYWORD_ONLY}
    assert set(ours) == set(theirs)
    positional = [n for n in ours if n not in keyword]
    assert positional == [n for n in theirs if n not in keyword]
    # What is by position here stands at the same place in torch.
    assert positional == list(SIGNATURES[name].parameters)[: len(positional)]
    assert {n: p.default for n, p in ours.items()} == {n: p.default for n, p in theirs.items()}


@pytest.mark.parametrize("name", F.__all__)
def test_docstrings_say_what_it_does(name):
    assert inspect.getdoc(getattr(F, name))
