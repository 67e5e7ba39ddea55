"""Random numbers that are drawn in evaluation: both models get the same ones to be compared."""

import jax
import numpy as np
import pytest
import torch

import fx
from fx.porting.pairs import distributions
from fx.porting.proof import alike
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


@pytest.mark.parametrize("live", [False, True])
def test_distributions(live):
    found = port(drawn.Policy, live, training=True)
    assert found.equal and found.gradients == found.training == "equal", str(found)
    assert found.constructors == ("written from the live model" if live else "ported")
    for text in (
        "choice, near = Categorical(logits=self.choice(x)), self.near(x)",
        "action = choice.sample(key=self.next_key())",
        "near.rsample(key=self.next_key()) + self.noise.sample(near.mean.shape, key=",
        "noise=Normal(loc=0.0, scale=1.0)" if live else "self.noise = Normal(0, 1)",
        "def kl_divergence(p: Any, q: Any) -> jax.Array:",
    ):
        assert text in found.source, text


def test_a_density_that_is_another_one(monkeypatch):
    monkeypatch.setattr(torch.distributions.Normal, "log_prob", lambda self, x: x - self.loc)
    assert port(drawn.Policy).error > 0.1


LOGITS, OTHERS = torch.randn(2, 4, 5, generator=torch.Generator().manual_seed(0))
PROBS, THEIRS = torch.rand(2, 4, 5, generator=torch.Generator().manual_seed(0))
PROBS[0, 0] = THEIRS[0, 0] = THEIRS[1, 1] = 0.0
PROBS[2, 0] = 1.0
VALUES = (torch.arange(20).reshape(4, 5) % 2).float()


@pytest.mark.parametrize("event", [False, True])
@pytest.mark.parametrize(
    ("name", "given", "other", "value"),
    [
        ("Categorical", {"logits": LOGITS}, {"logits": OTHERS}, torch.tensor([0, 2, 4, 1])),
        ("Categorical", {"probs": PROBS}, {"probs": THEIRS}, torch.arange(12).reshape(3, 4) % 5),
        ("Bernoulli", {"logits": LOGITS}, {"logits": OTHERS}, VALUES),
        ("Bernoulli", {"probs": PROBS}, {"probs": THEIRS}, VALUES[0]),
        ("Normal", {"loc": LOGITS, "scale": PROBS + 0.1}, {"loc": OTHERS, "scale": 2.0}, VALUES),
        ("Normal", {"loc": 0.5, "scale": 2}, {"loc": 0, "scale": 1.0}, VALUES),
    ],
)
def test_distributions_are_torchs(name, given, other, value, event):
    theirs = [getattr(torch.distributions, name)(**each) for each in (given, other)]
    arrays = (
        {k: v.numpy() if torch.is_tensor(v) else v for k, v in each.items()}
        for each in (given, other)
    )
    ours = [getattr(distributions, name)(**each) for each in arrays]
    if event:
        if not theirs[0].batch_shape:
            pytest.skip("a number has no axis that could be an event")
        theirs = [torch.distributions.Independent(each, 1) for each in theirs]
        ours = [distributions.Independent(each, 1) for each in ours]
    pairs = {
        "log_prob": (ours[0].log_prob(value.numpy()), theirs[0].log_prob(value)),
        "entropy": (ours[0].entropy(), theirs[0].entropy()),
        "kl": (
            distributions.kl_divergence(*ours), torch.distributions.kl_divergence(*theirs),
        ),
    }  # fmt: skip
    for word in ("mean", "mode", "stddev", "variance", "probs", "logits"):
        if hasattr(ours[0], word):
            pairs[word] = getattr(ours[0], word), getattr(theirs[0], word)
    if name == "Normal" and not event:
        pairs["cdf"] = ours[0].cdf(value.numpy()), theirs[0].cdf(value)
    for word, (mine, expected) in pairs.items():
        assert np.shape(mine) == tuple(expected.shape), word
        np.testing.assert_allclose(mine, expected.numpy(), 2e-6, 2e-6, err_msg=word)
    shape = ours[0].sample((2, 3), key=jax.random.key(0)).shape
    assert shape == tuple(theirs[0].sample((2, 3)).shape)


def test_samples_have_their_distribution():
    key = jax.random.key(0)
    chosen = distributions.Categorical(probs=np.array([0.2, 0.3, 0.5], np.float32))
    share = np.bincount(np.asarray(chosen.sample((20_000,), key=key))) / 20_000
    np.testing.assert_allclose(share, [0.2, 0.3, 0.5], atol=0.02)
    coin = distributions.Bernoulli(probs=np.full(20_000, 0.3, np.float32))
    assert abs(float(coin.sample(key=key).mean()) - 0.3) < 0.02
    near = distributions.Normal(2.0, 3.0)
    drawn = near.sample((20_000,), key=key)
    assert abs(float(drawn.mean()) - 2) < 0.1 and abs(float(drawn.std()) - 3) < 0.1
    slope = jax.grad(lambda mean: distributions.Normal(mean, 1.0).rsample((), key=key))(0.0)
    flat = jax.grad(lambda mean: distributions.Normal(mean, 1.0).sample((), key=key))(0.0)
    assert (slope, flat) == (1, 0)
