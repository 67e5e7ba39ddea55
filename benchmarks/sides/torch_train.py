"""Training steps in PyTorch, as most people write them, and compiled."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.networks.tasks import Task, task
from benchmarks.networks.torch_convnet import ConvNet
from benchmarks.networks.torch_resnet import ResNet18
from benchmarks.networks.torch_transformer import GPT2, ViT
from benchmarks.shared.images import MEAN, STD

NETWORKS = {"convnet": ConvNet, "resnet18": ResNet18, "gpt2": GPT2, "vit": ViT}
BATCHES = 16  # different ones, so that nothing depends on seeing the same
AGREEMENT_SEED = 1


def device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def device_name() -> str:
    """What it runs on; "cpu" for any CPU."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


def start() -> None:
    """Makes the framework take the memory that it takes at all."""
    torch.ones(1000, 1000, device=device()).sum().item()


def set_precision(precision: str) -> dict[str, str]:
    """Says explicitly what torch leaves to its defaults (TF32 in cuDNN, not in matmul)."""
    tf32 = precision == "tf32"
    torch.set_float32_matmul_precision("high" if tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = tf32
    torch.backends.cudnn.benchmark = True
    return {
        "threads": str(torch.get_num_threads()),
        "float32_matmul_precision": torch.get_float32_matmul_precision(),
        "cudnn.allow_tf32": str(torch.backends.cudnn.allow_tf32),
        "cudnn.benchmark": str(torch.backends.cudnn.benchmark),
        "autocast": "bfloat16" if precision == "bf16" else "off",
    }


def network(name: str, what: Task, dropout: bool = True) -> nn.Module:
    """The network in training mode."""
    off = {} if dropout or name != "convnet" else {"dropout_rate": 0.0, "channel_dropout_rate": 0.0}
    return NETWORKS[name](**dict(what.options), **off).to(device())


def make_objective(
    model: nn.Module, what: Task, precision: str, channels_last: bool, flips: bool
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """From a batch, uint8 images or tokens on the device, to the loss."""
    where = device()
    mean, std = (torch.tensor(v, device=where).reshape(1, 3, 1, 1) for v in (MEAN, STD))

    def prepare(images: torch.Tensor) -> torch.Tensor:
        x = images.permute(0, 3, 1, 2).float().div(255)  # [N, 3, H, W], channels last in memory
        if not channels_last:
            x = x.contiguous()
        if flips:
            mirrored = torch.rand(len(x), 1, 1, 1, device=where) < 0.5
            x = torch.where(mirrored, x.flip(3), x)
        return (x - mean) / std

    def objective(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        x = prepare(inputs) if what.side else inputs
        with torch.autocast(where.type, torch.bfloat16, enabled=precision == "bf16"):
            outputs = model(x)
            return cross_entropy(outputs.flatten(0, -2), targets.flatten())

    return objective


def make_step(
    model: nn.Module, objective: Callable, what: Task, compiled: str | None
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Gradients and Adam around the objective, which is compiled as a whole or not at all."""
    fused = compiled is not None and device().type == "cuda"
    optimizer = torch.optim.Adam(
        model.parameters(), lr=what.lr, weight_decay=1e-4, fused=fused or None
    )
    if compiled is not None:
        objective = torch.compile(objective, mode=compiled)

    def step(inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        torch.compiler.cudagraph_mark_step_begin()
        optimizer.zero_grad()
        loss = objective(inputs, targets)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


class Trainer:
    """A contender.

    Args:
        network: a name of `benchmarks.networks.tasks`.
        batch: examples in a batch.
        precision: "float32", "tf32" or "bf16" (autocast).
        tiny: the network's tiny form.
        channels_last: the memory format of weights and images.
        compiled: a mode of torch.compile; None is eager.
    """

    def __init__(
        self,
        network: str,
        batch: int,
        precision: str,
        tiny: bool = False,
        *,
        channels_last: bool = False,
        compiled: str | None = None,
    ):
        self.device, self.settings = device_name(), set_precision(precision)
        if compiled == "max-autotune":
            # Trials of kernels in this process: those of a pool would outlive a killed worker.
            os.environ["TORCHINDUCTOR_AUTOTUNE_IN_SUBPROC"] = "0"
        self.name, self.batch, self.precision = network, batch, precision
        self.channels_last, self.compiled = channels_last, compiled
        self.task = task(network, tiny)
        torch.manual_seed(0)
        inputs, targets, self.settings["data"] = self.task.batches(BATCHES, batch, seed=0)
        self._batches = self._moved(inputs, targets)
        self._next = 0
        self._step: Callable | None = None

    def losses(self, weights: str, batch: int, steps: int) -> list[float]:
        """Losses of the first steps from these weights, without what is random."""
        model = network(self.name, self.task, dropout=False)
        given = np.load(weights)
        model.load_state_dict({name: torch.from_numpy(given[name]) for name in given})
        step = self._build(model, flips=False)
        inputs, targets, _ = self.task.batches(steps, batch, seed=AGREEMENT_SEED)
        found = [step(x, y).item() for x, y in self._moved(inputs, targets)]
        torch.compiler.reset()
        return found

    def run(self, steps: int) -> dict[str, Any]:
        """Runs that many steps to the end."""
        if self._step is None:
            self._step = self._build(network(self.name, self.task), flips=True)
        for _ in range(steps):
            self._step(*self._batches[self._next])
            self._next = (self._next + 1) % len(self._batches)
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        return {"count": self.task.count(self.batch) * steps}

    def device_peak_bytes(self) -> int | None:
        """The most of the device's memory that was taken, as the framework's allocator counts."""
        return torch.cuda.max_memory_allocated() if torch.cuda.is_available() else None

    def _build(self, model: nn.Module, flips: bool) -> Callable:
        if self.channels_last:
            model = model.to(memory_format=torch.channels_last)
        options = (self.task, self.precision, self.channels_last, flips)
        return make_step(model, make_objective(model, *options), self.task, self.compiled)

    def _moved(self, inputs: np.ndarray, targets: np.ndarray) -> list[tuple[Any, Any]]:
        x = torch.from_numpy(inputs).to(device())
        y = torch.from_numpy(targets).long().to(device())
        return list(zip(x, y, strict=True))


class Reference(Trainer):
    """Where the check starts from: the weights that all take, and the arithmetic of a step."""

    def save(self, weights: str) -> None:
        """Writes initial weights, by torch's names."""
        state = network(self.name, self.task).state_dict()
        np.savez(weights, **{name: value.cpu().numpy() for name, value in state.items()})

    def flops(self) -> int:
        """Floating point operations of the products and convolutions of a step."""
        step = self._build(network(self.name, self.task), flips=False)
        with FlopCounterMode(display=False) as counter:
            step(*self._batches[0])
        return counter.get_total_flops()
