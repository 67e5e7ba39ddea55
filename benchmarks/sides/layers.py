"""The contenders of benchmarks.layers: every layer with the same weights and input on each side."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.networks.layers import LAYERS, Layer, small

Calls = dict[str, Callable[[], Any]]  # by way: "forward", "gradient"
SHOWN = 1000  # values of an array that are compared


def drawn(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """An array that its name determines."""
    rng = np.random.default_rng(list(name.encode()))
    return (0.1 * rng.standard_normal(shape)).astype(np.float32)


def some(array: np.ndarray) -> np.ndarray:
    """Values spread over an array."""
    flat = np.asarray(array, np.float32).ravel()
    return flat[:: max(1, flat.size // SHOWN)]


class Side:
    """A contender.

    Args:
        tiny: small inputs.
    """

    device, settings = "cpu", {"precision": "float32"}

    def __init__(self, tiny: bool):
        chosen = {n: small(layer) if tiny else layer for n, layer in LAYERS.items()}
        self.calls = {name: self.make(layer) for name, layer in chosen.items()}

    def make(self, layer: Layer) -> Calls:
        """The layer's two calls, each of which waits for its end."""
        raise NotImplementedError

    def show(self, layer: str) -> list[np.ndarray]:
        """The answer and the gradient to the input, channels second."""
        raise NotImplementedError

    def answers(self) -> dict[str, list[np.ndarray]]:
        """Some values of every layer's answer and gradient."""
        return {name: [some(each) for each in self.show(name)] for name in self.calls}

    def run(self, seconds: float) -> dict[str, dict[str, float]]:
        """Seconds of a call of each layer, each way: the median over so long."""
        return {
            name: {way: _median(call, seconds) for way, call in calls.items()}
            for name, calls in self.calls.items()
        }


def _median(call: Callable[[], Any], seconds: float) -> float:
    call()
    times: list[float] = []
    end = time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return float(np.median(times))


class Torch(Side):
    """PyTorch eager."""

    def __init__(self, tiny: bool, channels_last: bool):
        from benchmarks.sides.torch_train import device, device_name, set_precision

        self.settings = set_precision("float32")
        self._last, self._where = channels_last, device()
        super().__init__(tiny)
        self.device = device_name()

    def make(self, layer: Layer) -> Calls:
        """See `Side`."""
        import torch

        order = {4: torch.channels_last, 5: torch.channels_last_3d}.get(len(layer.size))
        order = order if self._last and layer.spatial else None
        module = getattr(torch.nn, layer.kind)(*layer.arguments, **layer.options)
        with torch.no_grad():
            for name, weight in module.named_parameters():
                weight.copy_(torch.from_numpy(drawn(name, tuple(weight.shape))))
        x = torch.from_numpy(drawn("input", layer.size)).to(self._where)
        module = module.to(self._where)
        if order is not None:
            module, x = module.to(memory_format=order), x.contiguous(memory_format=order)
        needing = x.clone(memory_format=torch.preserve_format).requires_grad_()
        inputs = [needing, *module.parameters()]
        with torch.no_grad():
            answer = _first(module(x))
        factor = torch.from_numpy(drawn("factor", tuple(answer.shape))).to(self._where)
        if order is not None and factor.ndim == x.ndim:
            factor = factor.contiguous(memory_format=order)
        wait = torch.cuda.synchronize if self._where == "cuda" else lambda: None

        def forward() -> Any:
            with torch.inference_mode():
                y = _first(module(x))
            wait()
            return y

        def gradient() -> Any:
            y = _first(module(needing))
            grads = torch.autograd.grad((y.square() * factor).sum(), inputs)
            wait()
            return grads[0]

        return {"forward": forward, "gradient": gradient}

    def show(self, layer: str) -> list[np.ndarray]:
        """See `Side`."""
        calls = self.calls[layer]
        return [calls[way]().cpu().contiguous().numpy() for way in calls]


class Fx(Side):
    """fx, jitted."""

    def __init__(self, tiny: bool):
        super().__init__(tiny)
        from benchmarks.sides.jax_train import device_name

        self.device = device_name()

    def make(self, layer: Layer) -> Calls:
        """See `Side`."""
        import jax
        import jax.numpy as jnp

        import fx

        module = getattr(fx.nn, layer.kind)(*layer.arguments, **layer.options)
        params, state = module.init(jax.random.key(0))
        params = jax.tree.map_with_path(
            lambda path, a: jnp.asarray(drawn(".".join(key.key for key in path), a.shape)), params
        )
        x = jnp.asarray(_last(drawn("input", layer.size), layer))

        def apply(params: Any, x: jax.Array) -> jax.Array:
            x = jnp.moveaxis(x, -1, 1) if layer.spatial else x
            with jax.default_matmul_precision("highest"):
                y = _first(module.apply(params, state, x, train=True)[0])
            return jnp.moveaxis(y, 1, -1) if layer.spatial else y

        forward = jax.jit(apply)
        sizes = jax.eval_shape(apply, params, x).shape
        sizes = (sizes[0], sizes[-1], *sizes[1:-1]) if layer.spatial else sizes
        factor = jnp.asarray(_last(drawn("factor", sizes), layer))

        def loss(params: Any, x: jax.Array, factor: jax.Array) -> jax.Array:
            return jnp.sum(jnp.square(apply(params, x)) * factor)

        gradient = jax.jit(jax.grad(loss, (0, 1)))
        return {
            "forward": lambda: jax.block_until_ready(forward(params, x)),
            "gradient": lambda: jax.block_until_ready(gradient(params, x, factor))[1],
        }

    def show(self, layer: str) -> list[np.ndarray]:
        """See `Side`."""
        spatial = LAYERS[layer].spatial
        values = [np.asarray(call()) for call in self.calls[layer].values()]
        return [np.ascontiguousarray(np.moveaxis(v, -1, 1)) if spatial else v for v in values]


def _first(y: Any) -> Any:
    """The sequence that a recurrent layer gives; another's output."""
    return y[0] if isinstance(y, tuple) else y


def _last(x: np.ndarray, layer: Layer) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(x, 1, -1)) if layer.spatial else x
