"""What is trained: for each network its batches, its optimizer's numbers, and its tiny form."""

import dataclasses
from typing import Any

import numpy as np

from benchmarks.shared.images import batches, tokens


@dataclasses.dataclass(frozen=True)
class Task:
    """A network and what it reads.

    Attributes:
        title: its name in tables.
        side: of its images in pixels; 0 for tokens.
        options: of its constructors, in fx and in torch.
        length: tokens in an example.
        lr: Adam's learning rate, with weight decay 1e-4 as L2.
        unit: what is counted.
    """

    title: str
    side: int = 0
    options: tuple[tuple[str, Any], ...] = ()
    length: int = 0
    lr: float = 1e-3
    unit: str = "images/s"

    def batches(self, count: int, size: int, seed: int) -> tuple[np.ndarray, np.ndarray, str]:
        """Inputs and targets with leading axes [count, size], and what they are."""
        if self.side:
            return batches(count, size, seed, self.side)
        options = dict(self.options)
        both = tokens(count, size, self.length, options.get("vocabulary", 50257), seed)
        return both[..., :-1], both[..., 1:], "noise as tokens"

    def count(self, batch: int) -> int:
        """Images or tokens in a batch."""
        return batch * (self.length or 1)


TASKS = {
    "convnet": Task("ConvNet", side=32),
    "resnet18": Task("ResNet-18", side=32, lr=1e-4),
    "gpt2": Task("GPT-2 small", length=1024, lr=1e-4, unit="tokens/s"),
    "vit": Task("ViT-S/16", side=224, lr=1e-4),
}
SMALL = {"dim": 32, "depth": 2, "heads": 2}
TINY = {
    "convnet": TASKS["convnet"],
    "resnet18": TASKS["resnet18"],
    "gpt2": dataclasses.replace(
        TASKS["gpt2"],
        length=16,
        options=tuple({"vocabulary": 101, "length": 16, **SMALL}.items()),
    ),
    "vit": dataclasses.replace(
        TASKS["vit"], side=32, options=tuple({"num_classes": 10, "side": 32, **SMALL}.items())
    ),
}


def task(name: str, tiny: bool) -> Task:
    """The task of a network."""
    return (TINY if tiny else TASKS)[name]
