"""What torchvision makes of a small image, pinned in torchvision_values.json, which this writes.

pip install torchvision==0.28.0 && python -m tests.data.torchvision_values
"""

import json
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_suffix(".json")
CALLS = [
    ("rgb_to_grayscale", (), {}),
    ("adjust_brightness", (1.6,), {}),
    ("adjust_contrast", (0.4,), {}),
    ("adjust_saturation", (1.7,), {}),
    ("adjust_hue", (0.1,), {}),
    ("adjust_hue", (-0.37,), {}),
    ("normalize", ([0.5, 0.4, 0.3], [0.2, 0.3, 0.4]), {}),
    ("rotate", (10.0,), {"interpolation": "nearest", "fill": [0.3]}),
    ("rotate", (-33.0,), {"interpolation": "bilinear", "fill": [0.1, 0.2, 0.3]}),
    ("rotate", (131.0,), {"interpolation": "bilinear", "center": [1.0, 2.5]}),
    ("affine", (20.0, [1, -1], 0.8, [10.0, -5.0]), {"interpolation": "nearest", "fill": [0.3]}),
    ("affine", (-70.0, [0, 1], 1.3, [0.0, 15.0]), {"interpolation": "bilinear"}),
    ("affine", (5.0, [0, 0], 1.0, [8.0, 0.0]), {"interpolation": "bilinear", "center": [1.0, 2.5]}),
    ("vflip", (), {}),
    ("center_crop", ([3, 7],), {}),
    ("resize", ([7, 3],), {}),
    ("resize", ([2, 9],), {"antialias": False}),
    ("resize", ([3, 6],), {"interpolation": "nearest"}),
    ("resized_crop", (1, 0, 3, 2, [2, 5]), {}),
    ("resized_crop", (0, 1, 4, 3, [3, 2]), {"interpolation": "bicubic"}),
    ("gaussian_blur", ([3, 5], 0.8), {}),
    ("gaussian_blur", ([5, 1],), {}),
]
ADJUSTMENTS = ("adjust_brightness", "adjust_contrast", "adjust_saturation", "adjust_hue")
FACTORS, ORDER = (1.3, 0.7, 1.4, 0.08), (2, 3, 0, 1)
JITTER = f"{ADJUSTMENTS} by {FACTORS} in the order {ORDER}"


def written(name: str, args: tuple, kwargs: dict) -> str:
    """A call as one writes it: the key of its values."""
    given = [*map(repr, args), *(f"{k}={v!r}" for k, v in kwargs.items())]
    return f"{name}({', '.join(['image', *given])})"


def image() -> np.ndarray:
    """A colourful image in bytes, [4, 4, 3], with black, white and gray in it."""
    pixels = (np.arange(48) * 61 % 256).astype(np.uint8).reshape(4, 4, 3)
    pixels[0, 0], pixels[0, 1], pixels[3, 3] = 0, 255, 100
    return pixels


def _values() -> dict:
    from torchvision.transforms import InterpolationMode, functional

    tensor, found = functional.to_tensor(image()), {}
    for name, args, kwargs in CALLS:
        modes = {k: InterpolationMode(v) for k, v in kwargs.items() if k == "interpolation"}
        result = getattr(functional, name)(tensor, *args, **{**kwargs, **modes})
        found[written(name, args, kwargs)] = result
    for kind in ORDER:
        tensor = getattr(functional, ADJUSTMENTS[kind])(tensor, FACTORS[kind])
    found[JITTER] = tensor
    return {name: [round(x, 7) for x in t.flatten().tolist()] for name, t in found.items()}


def _write() -> None:
    import torch
    import torchvision

    head = {"torchvision": torchvision.__version__, "torch": torch.__version__}
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in {**head, **_values()}.items()]
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    _write()
