import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF

from fx import functional as F
from fx.functional import taps
from tests.functional.check import assert_close, check, check_bfloat16, normal, sample

IMAGE, LINE, VOLUME = (2, 3, 5, 4), (2, 3, 7), (1, 2, 3, 2, 4)
CASES = [
    (IMAGE, {"scale_factor": 2}),
    (IMAGE, {"size": (7, 3), "mode": "bilinear"}),
    (IMAGE, {"scale_factor": (2, 0.6), "mode": "bicubic", "align_corners": True}),
    (IMAGE, {"size": (3, 9), "mode": "bicubic", "antialias": True}),
    ((2, 3, 5, 7), {"scale_factor": 0.4, "mode": "lanczos", "antialias": True}),
    (IMAGE, {"scale_factor": 1.7, "mode": "bilinear", "recompute_scale_factor": True}),
    (IMAGE, {"scale_factor": 0.6, "mode": "bilinear", "antialias": True}),
    (IMAGE, {"size": 3, "mode": "area"}),
    (IMAGE, {"scale_factor": 1.3, "mode": "nearest-exact"}),
    (LINE, {"scale_factor": 3, "mode": "linear"}),
    (LINE, {"size": 1, "mode": "linear", "align_corners": True}),
    (VOLUME, {"size": (2, 5, 4), "mode": "trilinear"}),
    (VOLUME, {"scale_factor": (2, 1.5, 1), "mode": "nearest"}),
]
CASES += [
    (IMAGE, {"size": size, "mode": mode, "align_corners": corners, "antialias": antialias})
    for size, mode, corners, antialias in itertools.product(
        ((1, 1), (5, 4), (10, 8), (2, 12)), ("bilinear", "bicubic"), (True, False), (True, False)
    )
]


@pytest.mark.parametrize("case", sample(CASES, 4), ids=str)
def test_against_torch(case):
    shape, arguments = case
    check(
        lambda x: F.interpolate(x, **arguments),
        lambda x: TF.interpolate(x, **arguments),
        normal(*shape),
    )


@pytest.mark.parametrize("size", [(2, 2), (7, 7), (5, 8), (64, 64), (64, 65), (16, 60)])
@pytest.mark.parametrize("factor", [1.02, 1.1, 1.3, (1.05, 2.1), 1.5, 2.1, 0.5])
def test_nearest_reads_torchs_pixels_of_small_images(size, factor):
    x = normal(1, 2, *size)
    expected = torch.nn.functional.interpolate(torch.tensor(x), scale_factor=factor)
    np.testing.assert_array_equal(F.interpolate(x, scale_factor=factor), expected)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact"])
def test_nearest_reads_torchs_pixels(mode):
    """Positions are rounded to float32 on the way, which decides between neighbours."""
    rng = np.random.default_rng(0)
    for _ in range(100):
        x = torch.arange(int(rng.integers(1, 300)), dtype=torch.float32)[None, None]
        factor = float(rng.choice([1 / 3, 0.1, 0.7, 3, 1.1, 2.6, rng.uniform(0.05, 4)]))
        for options in ({"size": int(rng.integers(1, 600))}, {"scale_factor": factor}):
            if "size" in options or int(x.shape[-1] * factor) > 0:
                theirs = TF.interpolate(x, mode=mode, **options)
                sizes = x.shape[-1], theirs.shape[-1], options.get("scale_factor")
                axis = taps.Axis(*sizes, align_corners=False, dtype=np.float32)
                ours = taps.nearest(axis, mode == "nearest-exact")
                np.testing.assert_array_equal(ours, theirs[0, 0].numpy())


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_bytes(mode):
    x = np.random.default_rng(0).integers(0, 256, (2, 3, 6, 8), dtype=np.uint8)
    theirs = TF.interpolate(torch.from_numpy(x), (9, 5), mode=mode).numpy()
    ours = jax.jit(lambda x: F.interpolate(x, (9, 5), mode=mode))(x)
    assert ours.dtype == np.uint8
    away = np.abs(np.asarray(ours, int) - theirs)
    assert away.max() <= (mode != "nearest") and np.mean(away > 0) < 0.1


def test_low_precision_is_kept():
    check_bfloat16(lambda x: F.interpolate(x, (7, 3), mode="bilinear"), normal(*IMAGE))


def test_old_names():
    x = normal(*IMAGE)
    assert_close(F.upsample(x, scale_factor=2), F.interpolate(x, scale_factor=2))
    assert_close(F.upsample_nearest(x, 3), F.interpolate(x, 3))
    aligned = F.interpolate(x, 3, mode="bilinear", align_corners=True)
    assert_close(F.upsample_bilinear(x, 3), aligned)


def test_an_axis_that_keeps_its_size_is_not_filtered():
    x = normal(1, 2, 3, 5)  # the factor makes 3 and 6 of them
    call = {"scale_factor": 1.3, "mode": "bicubic", "antialias": True}
    expected = torch.nn.functional.interpolate(torch.from_numpy(x), **call)
    assert_close(F.interpolate(x, **call), expected)


def test_errors():
    x = jnp.ones(IMAGE)
    with pytest.raises(ValueError, match=r"expected either size or scale_factor, got size=None"):
        F.interpolate(x)
    with pytest.raises(ValueError, match=r"a mode for the input's axes .* got 'linear' for \[2, 3"):
        F.interpolate(x, 2, mode="linear")
    with pytest.raises(ValueError, match=r"expected align_corners=None with mode 'nearest', got T"):
        F.interpolate(x, 2, align_corners=True)
    with pytest.raises(ValueError, match=r"expected antialias only with modes .* got 'nearest'"):
        F.interpolate(x, 2, antialias=True)
    with pytest.raises(ValueError, match=r"expected antialias=True and no align_corners with mode"):
        F.interpolate(x, 2, mode="lanczos")
    with pytest.raises(ValueError, match=r"expected recompute_scale_factor only with scale_factor"):
        F.interpolate(x, 2, recompute_scale_factor=True)
    with pytest.raises(ValueError, match=r"one for each of 2 axes, got \(1, 2, 3\)"):
        F.interpolate(x, (1, 2, 3))
    with pytest.raises(TypeError, match=r"expected size of ints, got 2.5"):
        F.interpolate(x, 2.5)  # pyright: ignore
    with pytest.raises(
        ValueError, match=r"expected an output with pixels, got \[0, 0] from \[5, 4"
    ):
        F.interpolate(x, scale_factor=0.1)
    with pytest.raises(ValueError, match=r"expected channels with pixels, got \[2, 3, 5, 0]"):
        F.interpolate(x[..., :0], 2)
    with pytest.raises(TypeError, match=r"interpolate: expected a floating input, got int32"):
        F.interpolate(x.astype(jnp.int32), 2, mode="bilinear")
