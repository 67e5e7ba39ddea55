"""Training steps in JAX: fx's, a program by hand, and Flax's; what differs is in `PEERS`."""

import importlib
import os
import re
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks.networks.tasks import Task, task

BATCHES = 16
AGREEMENT_SEED = 1
# Each has `make(network, task, precision, weights, steps_per_call) -> (carry, step)`, where step is
# compiled: (carry, batch) -> (carry, loss). Weights of None are drawn, and what is random is on.
PEERS = {"fx": "fx_step", "hand": "jax_step", "linen": "linen_step", "nnx": "nnx_step"}
PRODUCTS = {"float32": "highest", "tf32": "high", "bf16": "default"}


def start() -> None:
    """Makes the framework take the memory that it takes at all."""
    jnp.ones((1000, 1000)).sum().block_until_ready()


def device_name() -> str:
    """What it runs on; "cpu" for any CPU."""
    device = jax.devices()[0]
    return "cpu" if device.platform == "cpu" else device.device_kind


def device_peak_bytes() -> int | None:
    """The most of the device's memory that was taken, as the framework's allocator counts."""
    return (jax.devices()[0].memory_stats() or {}).get("peak_bytes_in_use")


class Trainer:
    """A contender.

    Args:
        network: a name of `benchmarks.networks.tasks`.
        batch: examples in a batch.
        precision: "float32", "tf32" or "bf16".
        tiny: the network's tiny form.
        peer: a name of `PEERS`.
        steps_per_call: fx's own.
        jitted: False runs operation by operation.
        more: what else the peer's `make` takes.
    """

    def __init__(
        self,
        network: str,
        batch: int,
        precision: str,
        tiny: bool = False,
        *,
        peer: str = "fx",
        steps_per_call: int = 1,
        jitted: bool = True,
        **more: Any,
    ):
        self.name, self.batch, self.precision, self.jitted = network, batch, precision, jitted
        self.task: Task = task(network, tiny)
        self.per_call, self._more = steps_per_call, more
        self.device = device_name()
        inputs, targets, data = self.task.batches(BATCHES, batch, seed=0)
        self.settings = {
            "XLA_FLAGS": os.environ.get("XLA_FLAGS", ""),
            "float32 products": PRODUCTS[precision],
            "policy": precision,
            "data": data,
        }
        self._peer = importlib.import_module(f"benchmarks.sides.{PEERS[peer]}")
        rows = np.arange(steps_per_call) % BATCHES
        pairs = [(inputs[rows], targets[rows])] if steps_per_call > 1 else zip(inputs, targets)
        self._batches = [jax.device_put(pair) for pair in pairs]
        self._next, self._carry, self._step = 0, None, None

    def losses(self, weights: str, batch: int, steps: int) -> list[float]:
        """Losses of the first steps from these weights, without what is random."""
        given = {name: np.asarray(value) for name, value in np.load(weights).items()}
        inputs, targets, _ = self.task.batches(steps, batch, seed=AGREEMENT_SEED)
        found = []
        with jax.default_matmul_precision(PRODUCTS[self.precision]):
            carry, step = self._make(given, 1)
            for pair in zip(inputs, targets, strict=True):
                carry, loss = step(carry, pair)
                found.append(float(loss))
        return found

    def run(self, steps: int) -> dict[str, Any]:
        """Runs that many steps to the end, rounded up to whole calls."""
        calls = -(-steps // self.per_call)
        precision = jax.default_matmul_precision(PRODUCTS[self.precision])
        with precision, jax.disable_jit(not self.jitted):
            if self._step is None:
                self._carry, self._step = self._make(None, self.per_call)
            for _ in range(calls):
                self._carry, loss = self._step(self._carry, self._batches[self._next])
                self._next = (self._next + 1) % len(self._batches)
            jax.block_until_ready((self._carry, loss))
        return {"count": self.task.count(self.batch) * calls * self.per_call}

    def traffic(self) -> float | None:
        """Bytes that the compiled step reads and writes, as XLA counts them after fusion."""
        compiled = getattr(self._step, "compiled", None)
        if compiled is None or self.per_call > 1:
            return None
        with jax.default_matmul_precision(PRODUCTS[self.precision]):
            cost = compiled.lower(self._carry, self._batches[0]).compile().cost_analysis()
        return cost.get("bytes accessed")

    def device_peak_bytes(self) -> int | None:
        """The most of the device's memory that was taken; trials of kernels are in it."""
        return device_peak_bytes()

    def _make(self, weights: dict[str, np.ndarray] | None, steps_per_call: int) -> Any:
        given = (self.name, self.task, self.precision, weights, steps_per_call)
        return self._peer.make(*given, **self._more)


def convnet_layers(weights: dict[str, np.ndarray]) -> dict[str, list[tuple[np.ndarray, ...]]]:
    """Give torch's weights of the ConvNet channels-last, for those who name layers otherwise.

    Returns:
        "conv": six of (kernel [h, w, in, out], bias); "norm": six of (scale, bias, mean, var);
        "dense": two of (kernel [in, out], bias).
    """
    found: dict[str, list[tuple[np.ndarray, ...]]] = {"conv": [], "norm": [], "dense": []}
    names = [name.removesuffix(".weight") for name in weights if name.endswith(".weight")]
    for name in sorted(
        names, key=lambda name: (name[:4] != "feat", int(re.findall(r"\d+", name)[0]))
    ):
        weight, bias = weights[f"{name}.weight"], weights[f"{name}.bias"]
        if weight.ndim == 4:
            found["conv"].append((weight.transpose(2, 3, 1, 0), bias))
        elif weight.ndim == 2:
            found["dense"].append((weight.T, bias))
        else:
            statistics = (weights[f"{name}.running_mean"], weights[f"{name}.running_var"])
            found["norm"].append((weight, bias, *statistics))
    return found
