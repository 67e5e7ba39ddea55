"""The reference augmentation in batches in torch: what torchvision does to a tensor.

Every image draws its own numbers; the order of the jitters is fixed, where torchvision shuffles it.
"""

import math

import torch
from torch.nn.functional import grid_sample

GRAY = (0.2989, 0.587, 0.114)


def augment(x: torch.Tensor) -> torch.Tensor:
    """Flip, rotation by up to 10 degrees, brightness, contrast, saturation, hue of [N, 3, H, W]."""

    def draw(low: float, high: float) -> torch.Tensor:
        return low + (high - low) * torch.rand(len(x), 1, 1, 1, device=x.device)

    x = torch.where(draw(0, 1) < 0.5, x.flip(3), x)
    x = rotate(x, draw(-10, 10).flatten() * (math.pi / 180))
    x = (x * draw(0.8, 1.2)).clamp(0, 1)
    mean = gray(x).mean((1, 2, 3), keepdim=True)
    x = blend(x, mean, draw(0.8, 1.2))
    x = blend(x, gray(x), draw(0.8, 1.2))
    return hue(x, draw(-0.1, 0.1))


def rotate(x: torch.Tensor, angle: torch.Tensor) -> torch.Tensor:
    """About the centre, nearest neighbour, zeros outside; square images."""
    n, _, h, w = x.shape
    at = (torch.arange(h, device=x.device) * 2 + 1) / h - 1
    grid_y, grid_x = at.view(1, h, 1), at.view(1, 1, w)
    cos, sin = angle.cos().view(n, 1, 1), angle.sin().view(n, 1, 1)
    grid = torch.stack([cos * grid_x - sin * grid_y, sin * grid_x + cos * grid_y], -1)
    return grid_sample(x, grid, mode="nearest", align_corners=False)  # grid [N, H, W, 2]


def gray(x: torch.Tensor) -> torch.Tensor:
    r, g, b = x.unbind(1)
    return (GRAY[0] * r + GRAY[1] * g + GRAY[2] * b).unsqueeze(1)


def blend(x: torch.Tensor, other: torch.Tensor, amount: torch.Tensor) -> torch.Tensor:
    return (amount * x + (1 - amount) * other).clamp(0, 1)


def hue(x: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
    """Through HSV and back."""
    r, g, b = x.unbind(1)
    most, least = x.amax(1), x.amin(1)
    spread = most - least
    safe = torch.where(spread == 0, torch.ones_like(spread), spread)
    h = torch.where(most == r, (g - b) / safe, (b - r) / safe + 2)
    h = torch.where((most == b) & (most != r) & (most != g), (r - g) / safe + 4, h)
    h = (h / 6 + shift.view(-1, 1, 1)) % 1.0
    channels = []
    for offset in (5.0, 3.0, 1.0):  # red, green, blue
        k = (offset + 6 * h) % 6
        channels.append(most - spread * torch.minimum(k, 4 - k).clamp(0, 1))
    return torch.stack(channels, 1)
