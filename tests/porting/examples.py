"""The networks of this folder, and inputs for them."""

import importlib
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

NAMES = sorted(path.stem for path in (Path(__file__).parent / "networks").glob("*.py"))


def network(name: str) -> ModuleType:
    return importlib.import_module(f"tests.porting.networks.{name}")


def inputs(module: ModuleType) -> tuple[torch.Tensor, ...]:
    """Tensors from what a network's INPUT says: a shape, and what is in it if not numbers."""
    generator = torch.Generator().manual_seed(0)
    return tuple(_tensor(spec, generator) for spec in module.INPUT)


def _tensor(spec: tuple, generator: torch.Generator) -> torch.Tensor:
    shape = [n for n in spec if isinstance(n, int)]
    if "int" in spec:
        return torch.randint(0, shape[-1], shape[:-1], generator=generator)
    if "mask" in spec:
        return torch.ones(shape).index_fill_(1, torch.tensor([shape[1] - 1]), 0.0)
    return torch.rand(shape, generator=generator)


def shaken(make: Any) -> torch.nn.Module:
    """A network whose every weight and statistic has an effect."""
    torch.manual_seed(0)
    model = make()
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape))
        for name, value in model.named_buffers():
            if name.endswith("running_var"):
                value.copy_(0.5 + torch.rand(value.shape))
            elif name.endswith("running_mean"):
                value.copy_(0.1 * torch.randn(value.shape))
    return model
