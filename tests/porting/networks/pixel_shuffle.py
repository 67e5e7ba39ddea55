"""Super-resolution by sub-pixel convolution, beside an interpolated image."""

from functools import partial

import torch
import torch.nn.functional as F
from torch import nn


class Upscale(nn.Module):
    def __init__(self, factor=2, width=8, act=partial(nn.LeakyReLU, negative_slope=0.1)):
        super().__init__()
        self.factor = factor
        self.body = nn.Sequential()
        for i in range(2):
            self.body.add_module(f"conv{i}", nn.Conv2d(3 if i == 0 else width, width, 3, padding=1))
            self.body.add_module(f"act{i}", act())
        self.tail = nn.Conv2d(width, 3 * factor**2, 3, padding=1)
        self.shuffle = nn.PixelShuffle(factor)
        self.register_buffer("mean", torch.tensor([0.4, 0.5, 0.6]).view(1, 3, 1, 1))
        self.register_buffer("calls", torch.zeros((), dtype=torch.long), persistent=False)

    def forward(self, x):
        base = F.interpolate(x, scale_factor=self.factor, mode="bilinear", align_corners=False)
        x = self.shuffle(self.tail(self.body(x - self.mean)))
        out = base + x
        out[:, :, 0] = 0.0
        out[..., -1] *= 0.5
        if self.training:
            self.calls += 1
        return out.clamp_(0, 1)


def make():
    return Upscale()


INPUT = ((1, 3, 5, 5),)
