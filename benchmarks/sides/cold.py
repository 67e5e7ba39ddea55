"""One cold start, timed from outside: SIDE WHAT CACHE FILES BATCH; prints when it was ready."""

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def fx_train(cache: str, files: Path, batch: int) -> None:
    import fx

    fx.configure(cache_dir=cache)
    from benchmarks.sides.jax_train import Trainer

    Trainer("convnet", batch, "float32").run(1)


def fx_predict(cache: str, files: Path, batch: int) -> None:
    import fx

    fx.configure(cache_dir=cache)
    import numpy as np

    fx.load_bundle(files / "bundle").predict(np.zeros((32, 32, 3), np.uint8))


def torch_train(cache: str, files: Path, batch: int, compiled: str | None = None) -> None:
    from benchmarks.sides.torch_train import Trainer

    Trainer("convnet", batch, "float32", channels_last=True, compiled=compiled).run(1)


def torch_predict(cache: str, files: Path, batch: int, compiled: str | None = None) -> None:
    import numpy as np

    from benchmarks.sides.inference import torch_side

    weights = dict(np.load(files / "weights.npz"))
    predict, _, _ = torch_side(weights, channels_last=True, compiled=compiled)
    predict(np.zeros((1, 32, 32, 3), np.uint8))


def onnx_predict(cache: str, files: Path, batch: int) -> None:
    import numpy as np
    import onnxruntime

    providers = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(str(files / "model.onnx"), providers=providers)
    session.run(None, {"images": np.zeros((1, 32, 32, 3), np.uint8)})


def compile_train(cache: str, files: Path, batch: int) -> None:
    torch_train(cache, files, batch, "default")


def compile_predict(cache: str, files: Path, batch: int) -> None:
    torch_predict(cache, files, batch, "default")


def prepare_all(cache: str, files: Path, batch: int) -> None:
    """What predictions start from: weights, a bundle, an ONNX file."""
    os.environ["CUDA_VISIBLE_DEVICES"], os.environ["JAX_PLATFORMS"] = "", "cpu"
    import numpy as np

    from benchmarks.sides.inference import export_bundle, export_onnx
    from benchmarks.sides.torch_train import Reference

    Reference("convnet", 1, "float32").save(str(files / "weights.npz"))
    weights = dict(np.load(files / "weights.npz"))
    export_bundle(weights, files / "bundle")
    try:
        export_onnx(weights, files / "model.onnx")
    except ModuleNotFoundError as missing:
        print(f"no ONNX file: {missing}", file=sys.stderr)


STARTS: dict[str, Callable[[str, Path, int], Any]] = {
    "fx train": fx_train,
    "fx predict": fx_predict,
    "torch train": torch_train,
    "torch predict": torch_predict,
    "compile train": compile_train,
    "compile predict": compile_predict,
    "onnx predict": onnx_predict,
    "prepare all": prepare_all,
}


if __name__ == "__main__":
    side, what, cache, files, batch = sys.argv[1:]
    STARTS[f"{side} {what}"](cache, Path(files), int(batch))
    print("ready", time.time(), flush=True)
