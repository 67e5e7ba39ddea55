"""A model in a file, by the expression that makes it: what `fx port` runs."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from fx.porting.proof.prove import Port, port


def port_file(path: str | Path, call: str, inputs: list[str], tolerance: float = 1e-4) -> Port:
    """Port the model that an expression makes in the names of a file.

    The file is imported and the expression evaluated: both are code that runs.

    Args:
        path: A Python file.
        call: Such as "Net(num_classes=10)".
        inputs: One "2,3,32,32" for each input; "2,6:int64:13" is whole numbers below 13.
        tolerance: Of outputs, relative to their largest magnitude.

    Raises:
        OSError: the file cannot be read.
        ValueError: an input is not a shape; the file or the expression raises.
    """
    arrays = tuple(example(text) for text in inputs)
    module = _loaded(Path(path))

    def make() -> Any:
        return eval(compile(call, "--call", "eval"), vars(module))

    try:
        return port(make, arrays, tolerance=tolerance)
    except (AttributeError, NameError, SyntaxError) as error:
        raise ValueError(f"{call}: {type(error).__name__}: {error}") from error


def example(text: str) -> np.ndarray:
    """An array from "2,3,32,32" or "2,6:int64:13".

    Raises:
        ValueError: the text has another form.
    """
    shape, _, rest = text.partition(":")
    dtype, _, high = rest.partition(":")
    try:
        sizes = tuple(int(size) for size in shape.split(","))
        kind = np.dtype(dtype or "float32")
        below = int(high or 2)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"--input: expected a shape such as 2,3,32,32 or 2,6:int64:13, got {text!r}"
        ) from error
    random = np.random.default_rng(0)
    if kind.kind == "f":
        return random.normal(size=sizes).astype(kind)
    return random.integers(0, below, sizes).astype(kind)


def _loaded(path: Path) -> ModuleType:
    if not path.is_file():
        raise FileNotFoundError(f"{path}: there is no such file")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{path}: expected a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    sys.path.insert(0, str(path.parent.resolve()))  # what the file imports beside itself
    try:
        spec.loader.exec_module(module)
    except (AttributeError, NameError, SyntaxError) as error:
        raise ValueError(f"{path}: {type(error).__name__}: {error}") from error
    finally:
        sys.path.pop(0)
    return module
