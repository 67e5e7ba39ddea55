"""What torchvision makes of a small image, pinned in torchvision_values.json, which this writes.

pip install torchvision==0.28.0 && python -m tests.data.torchvision_values
"""

import json
import zlib
from pathlib import Path

import numpy as np

PATH = Path(__file__).with_suffix(".json")
CORNERS = [[0, 0], [3, 0], [3, 3], [0, 3]]
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
    ("invert", (), {}),
    ("solarize", (0.4,), {}),
    ("adjust_sharpness", (1.7,), {}),
    ("adjust_sharpness", (0.2,), {}),
    ("autocontrast", (), {}),
    ("perspective", (CORNERS, [[1, 0], [3, 1], [2, 3], [0, 2]]), {"fill": [0.3]}),
    ("perspective", (CORNERS, [[0, 1], [2, 0], [3, 3], [0, 3]]), {"interpolation": "nearest"}),
]
ADJUSTMENTS = ("adjust_brightness", "adjust_contrast", "adjust_saturation", "adjust_hue")
FACTORS, ORDER = (1.3, 0.7, 1.4, 0.08), (2, 3, 0, 1)
# Operations on bytes, each with magnitudes that RandAugment and others give it.
OPERATIONS = {
    "Identity": (0.0,), "ShearX": (0.09, -0.99), "ShearY": (0.231, -0.3),
    "TranslateX": (4.35, -2.9), "TranslateY": (7.8, -1.2), "Rotate": (9.0, -31.5),
    "Brightness": (0.27, -0.27, 0.9), "Color": (0.27, -0.6, 0.99), "Contrast": (0.27, -0.9, 0.9),
    "Sharpness": (0.27, -0.3, 0.99), "Posterize": (7.0, 4.0, 0.0), "Solarize": (178.5, 0.0, 255.0),
    "AutoContrast": (0.0,), "Equalize": (0.0,), "Invert": (0.0,),
}  # fmt: skip
WARPS = ("ShearX", "ShearY", "TranslateX", "TranslateY", "Rotate")
HOW = (("nearest", None), ("nearest", 0.4), ("bilinear", None), ("bilinear", 0.4))
SIZE = (32, 54)  # height and width that magnitudes are for
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


def operations() -> list[tuple]:
    """Name, magnitude, interpolation and fill of the operations that are pinned."""
    given = [(name, m) for name, strong in OPERATIONS.items() for m in strong]
    return [(*one, *how) for one in given for how in (HOW if one[0] in WARPS else HOW[:1])]


def photo(channels: int, rows: int, columns: int) -> np.ndarray:
    """Uneven bytes, [C, rows, columns], of which only the first channel reaches from 0 to 255."""
    places = np.arange(channels * rows * columns).reshape(channels, rows, columns)
    waves = 0.5 + 0.3 * np.sin(places * 0.37) + 0.2 * np.cos(places**2 * 0.011)
    pixels = (waves * np.array([255, 180, 230])[:channels, None, None]).astype(np.uint8)
    pixels[0, 0, :2] = 0, 255
    return pixels


def photos(name: str) -> list[np.ndarray]:
    """What an operation is tried on; it takes 256 pixels for equalizing to change any."""
    return [photo(3, 6, 7)] if name in WARPS else [photo(1, 17, 20), photo(3, 17, 20)]


def digest(name: str, images: list[np.ndarray]) -> str | int:
    """The bytes of what a warp made, and of what has to be equal a sum of them."""
    made = b"".join(image.tobytes() for image in images)
    return made.hex() if name in WARPS else zlib.crc32(made)


def _bytes() -> dict:
    import torch
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.autoaugment import _apply_op

    found = {}
    for name, magnitude, interpolation, fill in operations():
        how = InterpolationMode(interpolation), None if fill is None else [255 * fill]
        tensors = [torch.from_numpy(image) for image in photos(name)]
        single = float(np.float32(magnitude))  # as those that transforms draw are
        made = [_apply_op(tensor, name, single, *how).numpy() for tensor in tensors]
        found[written(name, (magnitude, interpolation, fill), {})] = digest(name, made)
    return found


def _spaces() -> dict:
    from torchvision import transforms as T

    spaces = {
        "RandAugment": T.RandAugment()._augmentation_space(31, SIZE),
        "TrivialAugmentWide": T.TrivialAugmentWide()._augmentation_space(31),
        "AutoAugment": T.AutoAugment()._augmentation_space(10, SIZE),
        "AugMix": T.AugMix()._augmentation_space(10, SIZE),
        "AugMix(all_ops=False)": T.AugMix(all_ops=False)._augmentation_space(10, SIZE),
    }
    found = {
        name: {k: [[round(x, 5) for x in m.reshape(-1).tolist()], s] for k, (m, s) in space.items()}
        for name, space in spaces.items()
    }
    return found | {p.value: T.AutoAugment(p).policies for p in T.AutoAugmentPolicy}


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


def _pinned() -> dict:
    return {**_values(), **_bytes(), **_spaces()}


def _write() -> None:
    import torch
    import torchvision

    head = {"torchvision": torchvision.__version__, "torch": torch.__version__}
    lines = [f" {json.dumps(k)}: {json.dumps(v)}" for k, v in {**head, **_pinned()}.items()]
    PATH.write_text("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    _write()
