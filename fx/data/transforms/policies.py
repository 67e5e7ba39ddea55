"""What automatic augmentation draws from: magnitudes, and the policies of AutoAugment.

The numbers are those of the papers as torchvision has them.
"""

from __future__ import annotations

import numpy as np

from fx.data.transforms.operations import OPERATIONS


def magnitudes(
    bins: int,
    shift: tuple[float, float],
    shear: float = 0.3,
    turn: float = 30.0,
    change: float = 0.9,
    bits: tuple[int, int] = (8, 4),
) -> np.ndarray:
    """How strong each operation is, from the least magnitude to the greatest.

    Args:
        bins: how many magnitudes there are, 2 or more.
        shift: the widest, along the height and along the width, in pixels.
        shear: the tangent of the steepest.
        turn: the widest, in degrees.
        change: the largest of brightness, colour, contrast and sharpness, about a factor of 1.
        bits: what posterizing keeps, from the first to the last.

    Returns:
        float32 `[len(OPERATIONS), bins]`, in the units of `operations.augmented`; 0 where an
        operation has no magnitude.
    """
    steps = np.arange(bins, dtype=np.float32) / np.float32((bins - 1) / (bits[0] - bits[1]))
    tops = {"TranslateX": shift[1], "TranslateY": shift[0], "Rotate": turn}
    tops |= dict.fromkeys(("ShearX", "ShearY"), shear)
    tops |= dict.fromkeys(("Brightness", "Color", "Contrast", "Sharpness"), change)
    rows = {name: np.linspace(0, top, bins) for name, top in tops.items()}
    rows |= {"Posterize": bits[0] - np.round(steps), "Solarize": np.linspace(255, 0, bins)}
    return np.stack([rows.get(name, np.zeros(bins)) for name in OPERATIONS]).astype(np.float32)


def policy(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """AutoAugment's policy of a data set.

    Returns:
        Of each of 25 pairs of operations the kinds, places in `OPERATIONS`, int32 `[25, 2]`; the
        probabilities, float32; and the magnitudes of ten, int32, 0 where there is none.
    """
    pairs = [pair.split(",") for pair in POLICIES[name].split(";")]
    cells = [[(*cell.split(), "0")[:3] for cell in pair] for pair in pairs]
    kinds = [[OPERATIONS.index(kind) for kind, _, _ in pair] for pair in cells]
    shares = [[float(share) for _, share, _ in pair] for pair in cells]
    bins = [[int(magnitude) for _, _, magnitude in pair] for pair in cells]
    return np.array(kinds, np.int32), np.array(shares, np.float32), np.array(bins, np.int32)


# An operation, its probability, and its magnitude of 0 to 9 where it has one.
POLICIES = {
    "imagenet": """
        Posterize 0.4 8, Rotate 0.6 9; Solarize 0.6 5, AutoContrast 0.6;
        Equalize 0.8, Equalize 0.6; Posterize 0.6 7, Posterize 0.6 6;
        Equalize 0.4, Solarize 0.2 4; Equalize 0.4, Rotate 0.8 8;
        Solarize 0.6 3, Equalize 0.6; Posterize 0.8 5, Equalize 1.0;
        Rotate 0.2 3, Solarize 0.6 8; Equalize 0.6, Posterize 0.4 6;
        Rotate 0.8 8, Color 0.4 0; Rotate 0.4 9, Equalize 0.6;
        Equalize 0.0, Equalize 0.8; Invert 0.6, Equalize 1.0;
        Color 0.6 4, Contrast 1.0 8; Rotate 0.8 8, Color 1.0 2;
        Color 0.8 8, Solarize 0.8 7; Sharpness 0.4 7, Invert 0.6;
        ShearX 0.6 5, Equalize 1.0; Color 0.4 0, Equalize 0.6;
        Equalize 0.4, Solarize 0.2 4; Solarize 0.6 5, AutoContrast 0.6;
        Invert 0.6, Equalize 1.0; Color 0.6 4, Contrast 1.0 8;
        Equalize 0.8, Equalize 0.6
    """,
    "cifar10": """
        Invert 0.1, Contrast 0.2 6; Rotate 0.7 2, TranslateX 0.3 9;
        Sharpness 0.8 1, Sharpness 0.9 3; ShearY 0.5 8, TranslateY 0.7 9;
        AutoContrast 0.5, Equalize 0.9; ShearY 0.2 7, Posterize 0.3 7;
        Color 0.4 3, Brightness 0.6 7; Sharpness 0.3 9, Brightness 0.7 9;
        Equalize 0.6, Equalize 0.5; Contrast 0.6 7, Sharpness 0.6 5;
        Color 0.7 7, TranslateX 0.5 8; Equalize 0.3, AutoContrast 0.4;
        TranslateY 0.4 3, Sharpness 0.2 6; Brightness 0.9 6, Color 0.2 8;
        Solarize 0.5 2, Invert 0.0; Equalize 0.2, AutoContrast 0.6;
        Equalize 0.2, Equalize 0.6; Color 0.9 9, Equalize 0.6;
        AutoContrast 0.8, Solarize 0.2 8; Brightness 0.1 3, Color 0.7 0;
        Solarize 0.4 5, AutoContrast 0.9; TranslateY 0.9 9, TranslateY 0.7 9;
        AutoContrast 0.9, Solarize 0.8 3; Equalize 0.8, Invert 0.1;
        TranslateY 0.7 9, AutoContrast 0.9
    """,
    "svhn": """
        ShearX 0.9 4, Invert 0.2; ShearY 0.9 8, Invert 0.7;
        Equalize 0.6, Solarize 0.6 6; Invert 0.9, Equalize 0.6;
        Equalize 0.6, Rotate 0.9 3; ShearX 0.9 4, AutoContrast 0.8;
        ShearY 0.9 8, Invert 0.4; ShearY 0.9 5, Solarize 0.2 6;
        Invert 0.9, AutoContrast 0.8; Equalize 0.6, Rotate 0.9 3;
        ShearX 0.9 4, Solarize 0.3 3; ShearY 0.8 8, Invert 0.7;
        Equalize 0.9, TranslateY 0.6 6; Invert 0.9, Equalize 0.6;
        Contrast 0.3 3, Rotate 0.8 4; Invert 0.8, TranslateY 0.0 2;
        ShearY 0.7 6, Solarize 0.4 8; Invert 0.6, Rotate 0.8 4;
        ShearY 0.3 7, TranslateX 0.9 3; ShearX 0.1 6, Invert 0.6;
        Solarize 0.7 2, TranslateY 0.6 7; ShearY 0.8 4, Invert 0.8;
        ShearX 0.7 9, TranslateY 0.8 3; ShearY 0.8 5, AutoContrast 0.7;
        ShearX 0.7 2, Invert 0.1
    """,
}
