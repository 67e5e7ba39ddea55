"""The ConvNet answering: from uint8 images in NumPy to probabilities in NumPy, every contender."""

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shared.images import MEAN, STD, batches

Predict = Callable[[np.ndarray], np.ndarray]  # uint8 [N, 32, 32, 3] -> float32 [N, 10]


class Predictor:
    """A contender.

    Args:
        side: a name of `SIDES`.
        weights: an .npz file by torch's names.
        options: of the side.
    """

    def __init__(self, side: str, weights: str, **options: Any):
        given = {name: np.asarray(value) for name, value in np.load(weights).items()}
        start = time.perf_counter()
        self.predict, self.device, self.settings = SIDES[side](given, **options)
        self.settings["made_s"] = f"{time.perf_counter() - start:.2f}"

    def outputs(self, batch: int) -> np.ndarray:
        """Probabilities of images that are the same for all."""
        return np.array(self.predict(_images(batch)))

    def run(self, batch: int, calls: int) -> dict[str, Any]:
        """Calls one after the other; returns how many images, and each call's seconds."""
        images, latencies = _images(batch), []
        for _ in range(calls):
            start = time.perf_counter()
            self.predict(images)
            latencies.append(time.perf_counter() - start)
        return {"count": batch * calls, "latencies_s": latencies}


def _images(batch: int) -> np.ndarray:
    return batches(1, batch, seed=2)[0][0]


def torch_model(weights: dict[str, np.ndarray]) -> Any:
    """The network with preprocessing in front and a softmax behind, as one module."""
    import torch

    from benchmarks.networks.torch_convnet import ConvNet

    class Whole(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.network = ConvNet()
            self.register_buffer("mean", torch.tensor(MEAN).reshape(1, 3, 1, 1))
            self.register_buffer("std", torch.tensor(STD).reshape(1, 3, 1, 1))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            x = (images.permute(0, 3, 1, 2).float() / 255 - self.mean) / self.std
            return self.network(x).softmax(1)

    model = Whole()
    model.network.load_state_dict({n: torch.from_numpy(a) for n, a in weights.items()})
    return model.eval()


def torch_side(
    weights: dict[str, np.ndarray], channels_last: bool, compiled: str | None = None
) -> tuple[Predict, str, dict]:
    """PyTorch under inference_mode."""
    import torch

    from benchmarks.sides.torch_train import device, device_name, set_precision

    settings, where = set_precision("float32"), device()
    model = torch_model(weights).to(where)
    if channels_last:
        model = model.to(memory_format=torch.channels_last)
    if compiled is not None:
        model = torch.compile(model, mode=compiled)
        settings["mode"] = compiled

    @torch.inference_mode()
    def predict(images: np.ndarray) -> np.ndarray:
        return model(torch.from_numpy(images).to(where)).cpu().numpy()

    return predict, device_name(), settings


def _fx_model(weights: dict[str, np.ndarray]) -> tuple[Any, Any, Any, Any]:
    import fx
    from benchmarks.sides.fx_step import augmentation

    model = fx.models.ConvNet()
    params, state = fx.load_state_dict(model, weights)
    return model, params, state, augmentation(flips=False)


def fx_jit(weights: dict[str, np.ndarray]) -> tuple[Predict, str, dict]:
    """`jax.jit` around `model.apply`, float32 as float32."""
    import jax

    from benchmarks.sides.jax_train import device_name

    model, params, state, prepare = _fx_model(weights)

    @jax.jit
    def forward(params: Any, state: Any, images: jax.Array) -> jax.Array:
        with jax.default_matmul_precision("highest"):
            return jax.nn.softmax(model.apply(params, state, prepare(images))[0])

    settings = {"XLA_FLAGS": os.environ.get("XLA_FLAGS", ""), "float32 products": "highest"}
    return lambda images: np.asarray(forward(params, state, images)), device_name(), settings


def export_bundle(weights: dict[str, np.ndarray], path: Path) -> None:
    """The bundle that a server loads."""
    import jax

    import fx

    model, params, state, prepare = _fx_model(weights)
    classes = [str(i) for i in range(10)]
    spec = ((None, 32, 32, 3), "uint8")
    with jax.default_matmul_precision("highest"):
        fx.export(model, params, state, spec, path, preprocess=prepare, classes=classes)


def fx_engine(weights: dict[str, np.ndarray]) -> tuple[Predict, str, dict]:
    """The exported bundle, as a server runs it."""
    import fx
    from benchmarks.sides.jax_train import device_name

    with tempfile.TemporaryDirectory() as folder:
        export_bundle(weights, Path(folder) / "bundle")
        engine = fx.load_bundle(Path(folder) / "bundle", max_batch_size=1024)
    settings = {"XLA_FLAGS": os.environ.get("XLA_FLAGS", ""), "max_batch_size": "1024"}
    return lambda images: engine(images)["probabilities"], device_name(), settings


def export_onnx(weights: dict[str, np.ndarray], path: Path) -> None:
    """The same module as PyTorch's, through torch.onnx.export."""
    import torch

    example = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    torch.onnx.export(
        torch_model(weights),
        (example,),
        str(path),
        dynamo=True,
        verbose=False,
        input_names=["images"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
    )


def onnx_side(weights: dict[str, np.ndarray]) -> tuple[Predict, str, dict]:
    """The same in onnxruntime."""
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        export_onnx(weights, path)
        providers = onnxruntime.get_available_providers()
        session = onnxruntime.InferenceSession(str(path), providers=providers)
    provider = session.get_providers()[0]
    settings = {"provider": provider, "onnxruntime": onnxruntime.__version__}
    device = "cpu" if provider.startswith("CPU") else provider
    return lambda images: session.run(None, {"images": images})[0], device, settings


SIDES: dict[str, Callable[..., tuple[Predict, str, dict]]] = {
    "torch": torch_side,
    "fx": fx_jit,
    "engine": fx_engine,
    "onnx": onnx_side,
}
