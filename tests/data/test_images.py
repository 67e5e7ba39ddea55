"""Parity with torchvision's tensor path: pinned values of its own, and its definitions in torch."""

import colorsys
import itertools
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fx.data import transforms as T
from fx.data.transforms import functional as I
from tests.data import torchvision_values as pinned

torch = pytest.importorskip("torch")
RNG = np.random.default_rng(0)
# Rounding of a handful of float32 operations on numbers in [0, 1].
TOLERANCE = {"atol": 2e-6, "rtol": 0}


def batch(n=5, channels=3, height=9, width=12):
    images = RNG.integers(0, 256, (n, channels, height, width)).astype(np.float32) / 255
    images[0] = images[0, :1]  # gray: no hue
    images[1, :, :2] = 0
    return images


def torch_rotate(image, angle, interpolation, center=None, fill=None):
    """`F.rotate` of one image [C, H, W]: an affine grid, a mask for the fill."""
    _, height, width = image.shape
    cx, cy = (0.0, 0.0) if center is None else (center[0] - width / 2, center[1] - height / 2)
    cos, sin = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    # Pixels from the middle to pixels from the middle, then both scaled to [-1, 1].
    theta = torch.tensor(
        [
            [cos, -sin * height / width, (cx - cos * cx + sin * cy) * 2 / width],
            [sin * width / height, cos, (cy - sin * cx - cos * cy) * 2 / height],
        ],
        dtype=torch.float64,
    )
    masked = torch.cat([image, torch.ones_like(image[:1])])[None].double()
    grid = torch.nn.functional.affine_grid(theta[None], list(masked.shape), align_corners=False)
    out = torch.nn.functional.grid_sample(
        masked, grid, mode=interpolation, padding_mode="zeros", align_corners=False
    )[0]
    out, mask = out[:-1], out[-1:]
    if interpolation == "nearest":
        return torch.where(mask < 0.5, fill or 0.0, out)
    if fill is None:
        return out
    return out * mask + (1 - mask) * fill


def torch_gray(image):
    if len(image) == 1:
        return image
    return (0.2989 * image[0] + 0.587 * image[1] + 0.114 * image[2])[None]


def torch_blend(image, other, factor):
    return (factor * image + (1 - factor) * other).clamp(0, 1)


def torch_hue(image, shift):
    """The conversion to HSV and back that torchvision takes from Pillow, pixel by pixel."""
    if len(image) == 1:
        return image
    pixels = image.double().reshape(3, -1).T.tolist()
    hsv = [colorsys.rgb_to_hsv(*pixel) for pixel in pixels]
    rgb = [colorsys.hsv_to_rgb((h + shift) % 1.0, s, v) for h, s, v in hsv]
    return torch.tensor(rgb).T.reshape(image.shape)


def from_torchvision(name):
    return np.array(json.loads(pinned.PATH.read_text())[name], np.float32)


@pytest.mark.parametrize("call", pinned.CALLS, ids=lambda call: pinned.written(*call))
def test_values_of_torchvision_itself(call):
    name, args, kwargs = call
    kwargs = {k: tuple(v) if isinstance(v, list) else v for k, v in kwargs.items()}
    ours = getattr(I, name)(T.ToTensor()(pinned.image()[None]), *args, **kwargs)
    np.testing.assert_allclose(ours.flatten(), from_torchvision(pinned.written(*call)), **TOLERANCE)


def test_jitter_is_torchvisions_own():
    images = T.ToTensor()(pinned.image()[None])
    ours = I.jitter_color(images, jnp.array([pinned.FACTORS]), jnp.array([pinned.ORDER]))
    np.testing.assert_allclose(ours.flatten(), from_torchvision(pinned.JITTER), **TOLERANCE)


TORCH = (
    lambda image, factor: torch_blend(image, torch.zeros_like(image), factor),
    lambda image, factor: torch_blend(image, torch_gray(image).mean(), factor),
    lambda image, factor: torch_blend(image, torch_gray(image), factor),
    torch_hue,
)
OURS = (I.adjust_brightness, I.adjust_contrast, I.adjust_saturation, I.adjust_hue)
FACTORS = ((0.0, 0.7, 1.0, 1.6, 3.0),) * 3 + ((-0.5, -0.13, 0.0, 0.09, 0.5),)


def in_torch(function, images, *amounts):
    parts = zip(torch.from_numpy(images), *amounts)
    return torch.stack([function(*part).float() for part in parts]).numpy()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("kind", range(4))
def test_adjustments_are_torchvisions(kind, channels):
    images, factors = batch(channels=channels), FACTORS[kind]
    expected = in_torch(TORCH[kind], images, factors)
    ours = OURS[kind](jnp.asarray(images), jnp.array(factors, jnp.float32))
    np.testing.assert_allclose(ours, expected, **TOLERANCE)
    for i, factor in enumerate(factors):  # one number for the whole batch
        one = OURS[kind](jnp.asarray(images), factor)[i]
        np.testing.assert_allclose(one, expected[i], **TOLERANCE)


def test_hue_is_exact_on_every_edge_of_the_colour_circle():
    colours = np.array(list(itertools.product((0.0, 0.25, 1.0), repeat=3)), np.float32)
    images = np.repeat(colours[:, :, None, None], 13, axis=0)
    shifts = np.tile(np.arange(-6, 7, dtype=np.float32) / 12, len(colours))
    expected = in_torch(torch_hue, images, shifts.tolist())
    ours = I.adjust_hue(jnp.asarray(images), jnp.asarray(shifts))
    np.testing.assert_allclose(ours, expected, **TOLERANCE)


def test_jitter_applies_the_four_in_each_images_order():
    orders = np.array(list(itertools.permutations(range(4))), np.int32)
    images = np.repeat(batch(2, height=4, width=4)[1:], len(orders), axis=0)
    factors = RNG.uniform(0.6, 1.4, (len(orders), 4)).astype(np.float32)
    factors[:, 3] -= 1

    def reference(image, order, amounts):
        for kind in order:
            image = TORCH[kind](image, float(amounts[kind]))
        return image

    expected = in_torch(reference, images, orders, factors)
    ours = jax.jit(I.jitter_color)(images, jnp.asarray(factors), jnp.asarray(orders))
    # Each step is as exact as above, and contrast and saturation up to 1.4 amplify what came in.
    np.testing.assert_allclose(ours, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize(
    ("center", "fill"), [(None, None), (None, 0.3), ((2.0, 3.5), 0.0), ((12.0, 0.0), 1.0)]
)
@pytest.mark.parametrize("size", [(32, 32), (9, 12)])
def test_rotation_is_torchvisions(interpolation, center, fill, size):
    # Angles at which no source falls halfway between two pixels, where rounding errors decide.
    angles = [-9.7, 3.3, 10.0, 47.1, 181.3]
    images = batch(5, 3, *size)
    expected = in_torch(
        lambda image, angle: torch_rotate(image, angle, interpolation, center, fill), images, angles
    )
    ours = I.rotate(
        jnp.asarray(images), jnp.array(angles, jnp.float32), interpolation, center, fill
    )
    # Positions are float32: up to 32 * 2**-23 pixels off, times a step of 1 between neighbours.
    np.testing.assert_allclose(ours, expected, atol=2e-5, rtol=0)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_no_rotation_and_quarter_turns_are_exact(interpolation):
    images = jnp.asarray(batch(2, 3, 8, 8))
    np.testing.assert_array_equal(I.rotate(images, 0, interpolation), images)
    for turns in (1, 2, 3):
        turned = I.rotate(images, 90.0 * turns, interpolation)
        np.testing.assert_allclose(turned, np.rot90(images, turns, (2, 3)), atol=5e-6)


def test_fill_may_be_one_number_a_channel():
    image = I.rotate(jnp.ones((1, 3, 9, 9)), 45, fill=(0.1, 0.2, 0.3))
    np.testing.assert_allclose(image[0, :, 0, 0], (0.1, 0.2, 0.3), rtol=1e-6)


def test_flip_and_crop():
    images = batch(3)
    flipped = I.hflip(jnp.asarray(images), jnp.array([True, False, True]))
    np.testing.assert_array_equal(flipped[0], images[0, :, :, ::-1])
    np.testing.assert_array_equal(flipped[1], images[1])
    np.testing.assert_array_equal(I.hflip(jnp.asarray(images)), images[..., ::-1])
    cut = I.crop(jnp.asarray(images), jnp.array([0, 2, 4]), jnp.array([7, 0, 3]), (5, 4))
    np.testing.assert_array_equal(cut[2], images[2, :, 4:9, 3:7])


@pytest.mark.parametrize("function", [*OURS, I.rotate])
def test_bfloat16_stays(function):
    images = jnp.asarray(batch(), jnp.bfloat16)
    out = function(images, 0.25)
    assert out.dtype == jnp.bfloat16
    exact = function(images.astype(jnp.float32), 0.25)
    np.testing.assert_allclose(out.astype(jnp.float32), exact, atol=0.05)  # a few of its 2**-8


def test_wrong_images():
    with pytest.raises(TypeError, match=r"hflip: expected float images .*got uint8 \[1, 8, 8, 3\]"):
        I.hflip(jnp.zeros((1, 8, 8, 3), jnp.uint8))
    with pytest.raises(
        ValueError, match=r"rotate: expected images \[N, C, H, W\], got \[3, 8, 8\]"
    ):
        I.rotate(jnp.zeros((3, 8, 8)), 3)
    with pytest.raises(
        ValueError, match=r"expected images with 1 or 3 channels, got \[1, 4, 8, 8\]"
    ):
        I.adjust_hue(jnp.zeros((1, 4, 8, 8)), 0.1)
    with pytest.raises(ValueError, match=r'"nearest" or "bilinear", got \'cubic\''):
        I.rotate(jnp.zeros((1, 3, 8, 8)), 3, "cubic")
    with pytest.raises(
        ValueError, match=r"expected images \[N, 3, H, W\] for 3 means, got \[1, 2,"
    ):
        I.normalize(jnp.zeros((1, 2, 8, 8)), (0, 0, 0), (1, 1, 1))
