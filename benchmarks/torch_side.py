"""The reference network and its training step in PyTorch, as most people write them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.images import MEAN, STD


class ConvNet(nn.Module):
    """fx.models.ConvNet's twin: the same layers under the same names."""

    def __init__(self, num_classes: int = 10, dropout_rate: float = 0.3):
        super().__init__()
        layers: list[nn.Module] = []
        for c_in, c in ((3, 32), (32, 64), (64, 128)):
            layers += [nn.Conv2d(c_in, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU()]
            layers += [nn.Conv2d(c, c, 3, padding=1), nn.BatchNorm2d(c), nn.ReLU()]
            layers += [nn.MaxPool2d(2), nn.Dropout2d(0.25)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(128, 256),
            nn.ReLU(),
            nn.Dropout(dropout_rate),
            nn.Linear(256, num_classes),
        )
        self.apply(_initialize)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns logits [N, num_classes] of images [N, 3, H, W]."""
        return self.classifier(self.features(x))


def _initialize(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        nn.init.zeros_(module.bias)
    elif isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, 0, 0.01)
        nn.init.zeros_(module.bias)


def set_precision(precision: str) -> dict[str, str]:
    """Says explicitly what torch leaves to its defaults (TF32 in cuDNN, not in matmul)."""
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    return {
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn.allow_tf32": str(torch.backends.cudnn.allow_tf32),
        "autocast": "bfloat16" if precision == "bf16" else "off",
    }


def make_step(
    model: nn.Module, precision: str, channels_last: bool, flips: bool = True
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    device = next(model.parameters()).device
    mean, std = (torch.tensor(v, device=device).reshape(1, 3, 1, 1) for v in (MEAN, STD))
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    criterion = nn.CrossEntropyLoss()

    def step(images: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        x = images.permute(0, 3, 1, 2).float().div(255)  # [N, 3, H, W], channels last in memory
        if not channels_last:
            x = x.contiguous()
        if flips:
            mirrored = torch.rand(len(x), 1, 1, 1, device=device) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
        x = (x - mean) / std
        optimizer.zero_grad()
        with torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16"):
            loss = criterion(model(x), labels)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


class Contender:
    """Runs steps; made by `benchmarks.worker`."""

    def __init__(self, name: str, images: np.ndarray, labels: np.ndarray, precision: str):
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.settings = {"threads": str(torch.get_num_threads()), **set_precision(precision)}
        torch.manual_seed(0)
        channels_last = name.endswith("channels-last")
        model: Any = ConvNet().to(self.device)
        if channels_last:
            model = model.to(memory_format=torch.channels_last)
        if name.startswith("torch.compile"):
            model = torch.compile(model)
        self._step = make_step(model, precision, channels_last)
        moved = (torch.from_numpy(array).to(self.device) for array in (images, labels))
        self._batches = list(zip(*moved, strict=True))
        self._next = 0

    def run(self, steps: int) -> int:
        """Runs that many steps to the end, and returns how many."""
        for _ in range(steps):
            self._step(*self._batches[self._next])
            self._next = (self._next + 1) % len(self._batches)
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return steps

    def device_name(self) -> str:
        """What it runs on; "cpu" for any CPU."""
        return torch.cuda.get_device_name() if self.device.type == "cuda" else "cpu"

    def device_peak_bytes(self) -> int | None:
        """The most of the device's memory that was taken, as the framework's allocator counts."""
        return torch.cuda.max_memory_allocated() if self.device.type == "cuda" else None


def start() -> None:
    """Makes the framework take the memory that it takes at all."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.ones(1000, 1000, device=device).sum().item()
