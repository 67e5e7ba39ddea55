"""A dict that a forward fills is computed each time, where nothing but its key decides."""

import pytest
import torch

import fx
from tests.porting import caches

X = torch.arange(6.0).reshape(2, 3)


@pytest.mark.parametrize("live", [False, True])
def test_what_a_key_decides_is_computed_each_time(live):
    torch.manual_seed(0)
    model = caches.Biased().eval()
    model(X)  # a cache that is full is no other case
    found = fx.port(model if live else caches.Biased, X, layers=False)
    assert found.equal and found.training == "equal", str(found)
    assert "        bias_cache = table[self.index]\n        return bias_cache\n" in found.source
    assert "key" not in found.source
    assert ("self._bias_cache" in found.source) == (not live)  # where the constructor makes it


def test_a_cache_that_was_filled_before():
    model = caches.Full().eval()
    with torch.no_grad():
        model(X)
    found = fx.port(model, X, layers=False)
    assert found.equal and found.training == "equal", str(found)
    assert "key" not in found.source


def test_methods_of_torch_that_did_not_run_are_left_out():
    found = fx.port(caches.Biased(), X, layers=False, training=False)
    assert "def train" not in found.source and found.notes == []


@pytest.mark.parametrize("kind", [caches.Remembers, caches.Counts])
def test_a_dict_that_holds_more_is_an_obstacle(kind):
    (found,) = fx.port(kind, X, layers=False, training=False).obstacles
    assert "a dict inside a module's description cannot be changed" in found
