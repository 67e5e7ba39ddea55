"""Large matrix products and copies in both frameworks."""

import importlib
from typing import Any


class Torch:
    """A contender."""

    def __init__(self, side: int, copied: int):
        torch: Any = importlib.import_module("torch")
        from benchmarks.sides.torch_train import device, device_name, set_precision

        self.torch, self.set_precision = torch, set_precision
        self.device, self.settings = device_name(), set_precision("float32")
        pair = torch.randn(2, side, side, device=device())
        self.pairs = {"float32": pair, "bf16": pair.to(torch.bfloat16)}
        self.data = torch.zeros(copied // 4, device=device())
        self.into = torch.empty_like(self.data)

    def product(self, precision: str, repeats: int) -> int:
        """Multiplies; returns the floating point operations."""
        self.set_precision(precision)
        a, b = self.pairs["bf16" if precision == "bf16" else "float32"]
        for _ in range(repeats):
            a @ b
        self._wait()
        return 2 * len(a) ** 3 * repeats

    def copy(self, repeats: int) -> int:
        """Copies; returns the bytes read and written."""
        for _ in range(repeats):
            self.into.copy_(self.data)
        self._wait()
        return 2 * self.data.nbytes * repeats

    def _wait(self) -> None:
        if self.torch.cuda.is_available():
            self.torch.cuda.synchronize()


class Jax:
    """A contender."""

    def __init__(self, side: int, copied: int):
        import jax
        import jax.numpy as jnp

        from benchmarks.sides.jax_train import PRODUCTS, device_name

        self.jax, self.products = jax, PRODUCTS
        self.device, self.settings = device_name(), {}
        pair = jax.random.normal(jax.random.key(0), (2, side, side))
        self.pairs = {"float32": tuple(pair), "bf16": tuple(pair.astype(jnp.bfloat16))}
        self.data = jnp.zeros(copied // 4)
        self._multiply = jax.jit(jnp.matmul)
        self._copy = jax.jit(lambda x: x + 1)

    def product(self, precision: str, repeats: int) -> int:
        """Multiplies; returns the floating point operations."""
        a, b = self.pairs["bf16" if precision == "bf16" else "float32"]
        with self.jax.default_matmul_precision(self.products[precision]):
            found = [self._multiply(a, b) for _ in range(repeats)]
        self.jax.block_until_ready(found)
        return 2 * len(a) ** 3 * repeats

    def copy(self, repeats: int) -> int:
        """Reads and writes as much; returns the bytes."""
        for _ in range(repeats):
            self.data = self._copy(self.data)
        self.jax.block_until_ready(self.data)
        return 2 * self.data.nbytes * repeats
