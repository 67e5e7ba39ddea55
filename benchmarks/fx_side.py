"""The reference network and its training step in fx."""

import os
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import fx
from benchmarks.images import MEAN, STD
from fx import functional as F
from fx import optim
from fx.data import transforms as T


def augmentation(flips: bool = True) -> T.Compose:
    flip = (T.RandomHorizontalFlip(),) if flips else ()
    return T.Compose((T.ToTensor(), *flip, T.Normalize(MEAN, STD)))


def optimizer() -> Any:
    return optim.adam(1e-3, weight_decay=1e-4)


class Contender:
    """Runs steps; made by `benchmarks.worker`."""

    def __init__(self, name: str, images: np.ndarray, labels: np.ndarray, precision: str):
        called = re.search(r"(\d+) steps a call", name)
        self._per_call = int(called.group(1)) if called else 1
        self._disable_jit = name.endswith("un-jitted")
        self.settings = {
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
            "policy": precision,
            "float32 products": {"float32": "highest", "tf32": "high"}.get(precision, "default"),
        }
        model = fx.models.ConvNet()
        self._ts = fx.train.create(model, optimizer(), jax.random.key(0))
        self._step = fx.train.make_step(
            model,
            F.cross_entropy,
            optimizer(),
            transform=augmentation(),
            precision=precision,
            steps_per_call=self._per_call,
        )
        count = len(images)
        labels = labels.astype(np.int32)
        if self._per_call > 1:
            rows = np.arange(self._per_call) % count
            self._batches = [jax.device_put((images[rows], labels[rows]))]
        else:
            self._batches = [jax.device_put((images[i], labels[i])) for i in range(count)]
        self._next = 0

    def run(self, steps: int) -> int:
        """Runs that many steps to the end, rounded up to whole calls, and returns how many."""
        calls = -(-steps // self._per_call)
        with jax.disable_jit(self._disable_jit):
            for _ in range(calls):
                self._ts, metrics = self._step(self._ts, self._batches[self._next])
                self._next = (self._next + 1) % len(self._batches)
        jax.block_until_ready((self._ts, metrics))
        return calls * self._per_call

    def device_name(self) -> str:
        """What it runs on; "cpu" for any CPU."""
        device = jax.devices()[0]
        return "cpu" if device.platform == "cpu" else device.device_kind

    def device_peak_bytes(self) -> int | None:
        """The most of the device's memory that was taken, as the framework's allocator counts."""
        return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


def start() -> None:
    """Makes the framework take the memory that it takes at all."""
    jnp.ones((1000, 1000)).sum().block_until_ready()
