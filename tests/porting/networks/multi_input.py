"""An image, a text and numbers, with settings in a dataclass and a dict of heads."""

from dataclasses import dataclass
from typing import Dict, Optional, Tuple

import torch
from torch import Tensor, nn

EPSILON = 1e-6
KINDS = {"relu": nn.ReLU, "tanh": nn.Tanh}


@dataclass(frozen=True)
class Config:
    width: int = 8
    vocabulary: int = 11
    kind: str = "tanh"


def normalise(x: Tensor, dim: int = -1) -> Tensor:
    return x / (x.norm(p=2, dim=dim, keepdim=True) + EPSILON)


class Fusion(nn.Module):
    config: Config

    def __init__(self, config: Config, heads: Optional[Dict[str, int]] = None) -> None:
        super().__init__()
        self.config = config
        self.image = nn.Sequential(nn.Conv2d(1, config.width, 3), nn.AdaptiveMaxPool2d(1))
        self.text = nn.EmbeddingBag(config.vocabulary, config.width, mode="mean")
        self.numbers = nn.Linear(3, config.width)
        self.act = KINDS[config.kind]()
        self.mix = nn.Bilinear(config.width, config.width, config.width)
        heads = heads or {"class": 4, "score": 1}
        self.heads = nn.ModuleDict({name: nn.Linear(config.width, n) for name, n in heads.items()})

    def forward(
        self, image: Tensor, text: Tensor, numbers: Optional[Tensor] = None
    ) -> Tuple[Dict[str, Tensor], Tensor]:
        a = normalise(self.image(image).squeeze(-1).squeeze(-1))
        b = normalise(self.text(text))
        x = self.mix(a, b)
        if numbers is not None:
            x = x + self.numbers(numbers)
        similarity = torch.einsum("nd,md->nm", a, b)
        x = self.act(x)
        return {name: head(x) for name, head in self.heads.items()}, similarity


def make():
    return Fusion(Config(width=6))


INPUT = ((2, 1, 5, 5), (2, 4, "int", 11), (2, 3))
