"""Random numbers that are drawn in evaluation: both models get the same ones to be compared."""

import jax
import numpy as np
import pytest
import torch

import fx
from fx.porting import alike
from tests.porting import drawn

X = torch.linspace(-1.0, 1.0, 24).reshape(4, 6)
KINDS = [drawn.VAE, drawn.Sized, drawn.Old, drawn.Categorical, drawn.Gumbel, drawn.Normal,
         drawn.Filled, drawn.Counts, drawn.ByFunction, drawn.Drops]  # fmt: skip


def port(kind, live=False, **options):
    torch.manual_seed(0)
    with jax.numpy_dtype_promotion("standard"):
        return fx.port(kind() if live else kind, X, layers=False, **options)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_compared_with_the_same_numbers(kind):
    found = port(kind)
    assert found.equal and found.constructors == "ported", str(found)
    assert found.gradients == found.elsewhere == "equal", str(found)
    assert found.training == ("random" if kind is drawn.Drops else "equal")
    assert alike.NOTE in found.notes


def test_a_live_model_layer_by_layer():
    torch.manual_seed(0)
    found = fx.port(drawn.VAE(), X)
    assert found.equal and found.report["encoder"].error < 1e-5, str(found)


def test_what_is_written_draws_with_the_key_that_apply_is_given():
    found = port(drawn.VAE)
    assert "jax.random.normal(self.next_key()" in found.source

    def run(key):
        return found.model.apply(found.params, found.state, X.numpy(), key=jax.random.key(key))[0]

    (first, *_), (again, *_), (other, *_) = run(0), run(0), run(1)
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01
    with pytest.raises(ValueError, match="expected a key for its random numbers"):
        found.model.apply(found.params, found.state, X.numpy())
    drawn_ = np.stack([run(n)[0] for n in range(200)])
    theirs = drawn.VAE()
    theirs.load_state_dict({n: torch.tensor(np.array(v)) for n, v in fx.state_dict(
        found.model, found.params, found.state).items()})  # fmt: skip
    with torch.no_grad():
        expected = np.stack([theirs(X)[0].numpy() for _ in range(200)])
    np.testing.assert_allclose(drawn_.mean(0), expected.mean(0), atol=0.25)
    np.testing.assert_allclose(drawn_.std(0), expected.std(0), atol=0.2)


def test_another_distribution_is_a_difference(monkeypatch):
    monkeypatch.setitem(alike._OURS, "normal", alike._uniform)
    found = port(drawn.VAE)
    (said,) = found.obstacles
    assert "random numbers are drawn in evaluation, too, and PyTorch's are others" in said
    assert any(
        n.startswith("compared with the same numbers in both: different") for n in found.notes
    )


def test_what_always_drops():
    found = port(drawn.AlwaysDrops, training=True)
    assert found.equal and found.training == "equal", str(found)
    assert "F.dropout(y + std, 0.5, key=self.next_key())" in found.source
    assert "0.5, training=True, key=self.next_key())" in found.source


def test_another_rate_of_what_always_drops():
    with alike.drawn():
        kept = torch.nn.functional.dropout(torch.ones(4, 6), 0.5)
    ours = alike.Functional()
    assert np.array_equal(ours.dropout(np.ones((4, 6), np.float32), 0.5), kept.numpy())
    assert not np.array_equal(ours.dropout(np.ones((4, 6), np.float32), 0.6), kept.numpy())


def test_pytorch_draws_its_own_again_afterwards():
    port(drawn.VAE)
    assert not torch.equal(torch.randn(3), torch.randn(3))
