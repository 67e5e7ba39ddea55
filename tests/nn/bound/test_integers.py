"""Integer inputs of every width that torch takes: equal to torch's, dtype included.

What torch makes floats of (a loss, a sigmoid) is within the bound of `draw.py`.
"""

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from fx import functional as F
from tests.functional.check import sample
from tests.nn.bound.draw import Draw, beyond, leaves
from tests.nn.bound.spatial import real, whole

WIDTHS = ("uint8", "int8", "int16", "int32", "int64")
RNG = np.random.default_rng(5)
LABELS = RNG.integers(0, 4, (3, 4)).astype(np.int32)
ROW = RNG.integers(0, 4, 3).astype(np.int32)
SIGN = np.array([1, -1, 1], np.int32)
SEQUENCE, IMAGE, BLOCK = whole(RNG, 2, 4, 6), abs(whole(RNG, 2, 4, 6, 4)), whole(RNG, 2, 4, 4, 4, 4)
TABLE, SCORES = real(RNG, 4, 3), real(RNG, 3, 4)
LOG_STEPS = np.asarray(np.log(np.full((6, 3, 5), 0.2)), np.float32)

BY_ONE = ("bilinear", "bicubic")  # torch's arithmetic in fixed point, where it is near a half


def row(name, *on, **call):
    return Draw(name, (), {}, on, call)


ROWS = [
    row("one_hot", LABELS, num_classes=5),
    row("embedding", LABELS, TABLE),
    row("embedding", LABELS, TABLE, padding_idx=0),
    row("embedding_bag", LABELS, TABLE, mode="sum"),
    row("embedding_bag", LABELS, TABLE, mode="max"),
    row("cross_entropy", SCORES, ROW),
    row("cross_entropy", SCORES, ROW, label_smoothing=0.1, ignore_index=1),
    row("nll_loss", SCORES, ROW),
    row("multi_margin_loss", SCORES, ROW),
    row("multilabel_margin_loss", SCORES, LABELS),
    row("ctc_loss", LOG_STEPS, 1 + LABELS, ROW + 3, ROW),
    row("hinge_embedding_loss", SCORES[:, 0], SIGN),
    row("soft_margin_loss", SCORES[:, 0], SIGN),
    row("margin_ranking_loss", SCORES[:, 0], SCORES[:, 1], SIGN),
    row("cosine_embedding_loss", SCORES, SCORES[::-1].copy(), SIGN),
    row("poisson_nll_loss", SCORES, LABELS),
    row("pad", SEQUENCE, [1, 2]),
    row("pad", SEQUENCE, [1, -2], value=3),
    row("pad", IMAGE, [1, 0, 2, 1], mode="circular"),
    row("pad", IMAGE, [1, 0, 2, 1], mode="reflect"),
    row("pad", IMAGE, [1, 0, 2, 1], mode="replicate"),
    row("max_pool2d", IMAGE, 3, 2, 1, ceil_mode=True),
    row("max_pool2d", IMAGE, 2, return_indices=True),
    row("max_pool3d", BLOCK, 2, 1),
    row("avg_pool1d", SEQUENCE, 2),
    row("avg_pool2d", IMAGE, 2),
    row("lp_pool1d", SEQUENCE, 2, 2),
    row("lp_pool2d", IMAGE, 3, 2),
    row("lp_pool2d", IMAGE, 0.5, (1, 2), 1),
    row("lp_pool2d", IMAGE, float("inf"), 2),
    row("max_unpool2d", real(RNG, 1, 1, 1, 3), np.array([[[[0, 5, 10]]]], np.int32), 2,
        output_size=(2, 6)),
    row("relu", SEQUENCE),
    row("relu6", SEQUENCE),
    row("hardtanh", SEQUENCE, -2, 3),
    row("threshold", SEQUENCE, 2, 7),
    row("sigmoid", SEQUENCE),
    row("tanh", SEQUENCE),
    row("softsign", SEQUENCE),
    row("tanhshrink", SEQUENCE),
    row("pixel_shuffle", IMAGE, 2),
    row("pixel_unshuffle", IMAGE, 2),
    row("channel_shuffle", IMAGE, 2),
    row("interpolate", IMAGE, 7, mode="nearest"),
    row("interpolate", IMAGE, 3, mode="nearest-exact"),
    row("interpolate", IMAGE, 7, mode="bilinear"),
    row("interpolate", IMAGE, 3, mode="bicubic"),
    row("linear", SEQUENCE, whole(RNG, 3, 6)),
    row("conv1d", SEQUENCE, whole(RNG, 3, 4, 2)),
    row("conv2d", IMAGE, whole(RNG, 3, 4, 2, 2)),
    row("pairwise_distance", SEQUENCE, SEQUENCE[::-1].copy()),
]  # fmt: skip


def torchs(draw, width, dtype=torch.float32):
    """Outputs of torch, which has its own integers of every width."""

    def tensor(value):
        if not isinstance(value, np.ndarray):
            return value
        is_float = value.dtype == np.float32
        made = torch.from_numpy(value if is_float else value.astype(width))
        return made.to(dtype) if is_float else made

    function = getattr(torch.nn.functional, draw.name)
    return [o.numpy() for o in leaves(function(*map(tensor, draw.on), **draw.call))]


def differences(draw, width):
    """What is wrong, of which nothing should be; None where torch or the width takes no such."""
    whole_numbers = [a for a in draw.on if isinstance(a, np.ndarray) and a.dtype == np.int32]
    if any((a.astype(width) != a).any() for a in whole_numbers):
        return None
    try:
        expected, exact = torchs(draw, width), torchs(draw, width, torch.float64)
    except (RuntimeError, TypeError, NotImplementedError):
        return None
    on = [
        jnp.asarray(a.astype(width) if a.dtype == np.int32 else a)
        if isinstance(a, np.ndarray)
        else a
        for a in draw.on
    ]
    found = []
    for ours, low, wide in zip(
        leaves(getattr(F, draw.name)(*on, **draw.call)), expected, exact, strict=True
    ):
        same = np.dtype(str(low.dtype).replace("int64", "int32"))  # the widest without x64
        if ours.dtype != same:
            found.append(f"{width}: {ours.dtype} against torch's {low.dtype}")
        elif np.issubdtype(low.dtype, np.floating):
            found += beyond(width, ours, low, wide)
        elif np.abs(np.asarray(ours, int) - low).max() > (draw.call.get("mode") in BY_ONE):
            found.append(f"{width}: {np.asarray(ours)} against torch's {low}")
    return found


@pytest.mark.parametrize("draw", sample(ROWS, 2), ids=str)
def test_integers_are_exact(draw):
    found = {width: differences(draw, width) for width in WIDTHS}
    taken = {width: wrong for width, wrong in found.items() if wrong is not None}
    assert taken, "torch takes none: leave the row out"
    assert not any(taken.values()), taken
