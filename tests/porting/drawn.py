"""Models that draw random numbers in evaluation, too, as variational autoencoders do."""

import torch
import torch.nn.functional as F
from torch import nn


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
