"""Spatial sizes that an export leaves open: one program for all, equal to the live function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import export

from fx import functional as F

SHAPES = ((1, 3, 8, 8), (2, 3, 11, 6), (2, 3, 4, 30))
FUNCTIONS = {
    **{
        f"interpolate {mode} {times}": (
            lambda x, mode=mode, times=times: F.interpolate(x, scale_factor=times, mode=mode)
        )
        for mode, times in (
            ("nearest", 2), ("nearest-exact", 3), ("bilinear", 2), ("bilinear", 5), ("bicubic", 9),
        )
    },
    "interpolate to a size": lambda x: F.interpolate(
        x, size=(x.shape[2] * 2, x.shape[3] * 4), mode="bilinear"
    ),
    "adaptive_avg_pool2d 1": lambda x: F.adaptive_avg_pool2d(x, 1),
    "adaptive_avg_pool2d 3": lambda x: F.adaptive_avg_pool2d(x, 3),
    "adaptive_max_pool2d 1": lambda x: F.adaptive_max_pool2d(x, 1),
    "adaptive_max_pool2d 7": lambda x: F.adaptive_max_pool2d(x, 7),
    "avg_pool2d": lambda x: F.avg_pool2d(x, 2),
    "avg_pool2d ends": lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False),
    "avg_pool2d ceil": lambda x: F.avg_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max_pool2d ceil": lambda x: F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
    "max_pool2d": lambda x: F.max_pool2d(x, 2, return_indices=True)[1],
    "lp_pool2d": lambda x: F.lp_pool2d(x, 2, 2),
    "pad reflect": lambda x: F.pad(x, (1, 2, 2, 1), mode="reflect"),
    "unfold": lambda x: F.unfold(x, 3, padding=1),
}  # fmt: skip


def exported(function):
    n, h, w = export.symbolic_shape("n, h, w", constraints=["h >= 4", "w >= 4"])
    return export.export(jax.jit(function))(jax.ShapeDtypeStruct((n, 3, h, w), jnp.float32))


@pytest.mark.parametrize("function", FUNCTIONS.values(), ids=FUNCTIONS)
def test_one_program_for_all_sizes(function):
    program = exported(function)
    for shape in SHAPES:
        x = np.random.default_rng(0).standard_normal(shape, np.float32)
        np.testing.assert_allclose(program.call(x), function(x), rtol=0, atol=2e-6)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"scale_factor": 1.5}, "got h to 1.5 times as much; export with a number"),
        (
            {"scale_factor": 2, "align_corners": True},
            r"enlarged a whole number of .* got h to 2\*h",
        ),
        ({"scale_factor": 2, "antialias": True}, "without align_corners or antialias"),
        ({"size": (7, 7)}, "got h to 7; export with a number in its place"),
        ({"scale_factor": 2, "mode": "area"}, 'a mode other than "area" .* "nearest" enlarges'),
        (
            {"scale_factor": 41, "mode": "nearest"},
            "made 41 times as large has pixels that rounding",
        ),
    ],
)
def test_what_cannot_be_left_open(options, text):
    with pytest.raises(ValueError, match=text):
        exported(lambda x: F.interpolate(x, **{"mode": "bilinear", **options}))


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.conv2d(x, jnp.ones((2, 3, 5, 1))),
        lambda x: F.conv_transpose2d(x, jnp.ones((3, 2, 1, 1)), padding=3),
    ],
)
def test_sizes_that_may_be_too_small_are_asked_for(function):
    with pytest.raises(jax.errors.InconclusiveDimensionOperation, match="h"):  # h is 4 or more
        exported(function)
