"""Models that draw random numbers in evaluation, too, as variational autoencoders do."""

import torch
import torch.nn.functional as F
from torch import distributions, nn
from torch.distributions import Independent, kl_divergence


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Linear(6, 8)
        self.mean, self.log_var = nn.Linear(8, 3), nn.Linear(8, 3)
        self.decoder = nn.Linear(3, 6)

    def sample(self, mean, std):
        return mean + torch.randn_like(std) * std

    def forward(self, x):
        hidden = F.relu(self.encoder(x))
        mean, log_var = self.mean(hidden), self.log_var(hidden)
        return self.decoder(self.sample(mean, torch.exp(0.5 * log_var))), mean, log_var


class Sized(VAE):
    def sample(self, mean, std):
        return mean + torch.randn(std.size(0), 3) * std


class Old(VAE):
    def sample(self, mean, std):
        noise = torch.FloatTensor(std.size()).normal_()
        return std.data.new(std.size()).normal_() * std + mean + noise


class Categorical(VAE):
    def sample(self, mean, std):
        noise = -torch.log(-torch.log(torch.rand_like(std) + 1e-7) + 1e-7)
        return F.softmax((mean + std + noise) / 0.5, dim=-1)


class Gumbel(VAE):
    def sample(self, mean, std):
        return F.gumbel_softmax(mean + std, tau=0.7) + F.gumbel_softmax(mean, hard=True, dim=0)


class Normal(VAE):
    def sample(self, mean, std):
        return torch.normal(mean, std) + std


class Filled(VAE):
    def sample(self, mean, std):
        noise = torch.empty_like(std).uniform_(-1, 2) + torch.empty_like(std).exponential_(2.0)
        return mean + std * (noise + torch.empty_like(std).bernoulli_(0.3))


class Counts(VAE):
    def sample(self, mean, std):
        noise = torch.randint(0, 5, std.shape) + torch.randint(3, std.shape)
        chosen = torch.bernoulli(torch.sigmoid(mean))
        return mean + std[torch.randperm(std.shape[0])] * noise * chosen


def drawn(mean, std):
    return mean + torch.randn_like(std) * std + torch.rand_like(mean)


class ByFunction(VAE):
    def sample(self, mean, std):
        return drawn(mean, std)


class Drops(VAE):
    """It draws in evaluation, and drops in training."""

    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)

    def sample(self, mean, std):
        return self.drop(super().sample(mean, std))


class AlwaysDrops(VAE):
    def sample(self, mean, std):
        y = F.dropout(F.dropout2d(mean[..., None, None] + 1, 0.3)[..., 0, 0], 0.5, training=True)
        return F.dropout(y + std, 0.5)


class Policy(nn.Module):
    """An actor: it samples what it does, or says how likely what was done is."""

    def __init__(self):
        super().__init__()
        self.choice, self.mean = nn.Linear(6, 4), nn.Linear(6, 2)
        self.log_std = nn.Parameter(torch.zeros(1, 2))
        self.noise = torch.distributions.Normal(0, 1)
        self.last = 0

    def near(self, x):
        mean = self.mean(x)
        return distributions.Normal(mean, self.log_std.exp().expand_as(mean))

    def forward(self, x, action=None):
        choice, near = distributions.Categorical(logits=self.choice(x)), self.near(x)
        if action is None:
            action = choice.sample()
        move = near.rsample() + self.noise.sample(near.mean.shape)
        self.last = move.detach()
        other = self.near(x + 1).sample()
        rest = distributions.Normal(torch.zeros_like(move), torch.ones_like(move))
        far = kl_divergence(Independent(near, 1), Independent(rest, 1))
        seen = distributions.Bernoulli(logits=move)
        return (
            action, choice.log_prob(action), choice.entropy(), near.log_prob(other).sum(1), far,
            move, seen.log_prob(seen.sample()), near.stddev, near.cdf(move), choice.probs,
        )  # fmt: skip
