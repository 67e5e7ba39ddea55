"""Windows, affine maps, blur and what else is drawn for each image; values are in test_images."""

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from fx.data import transforms as T
from fx.data.transforms.geometry import random_window
from tests.data.each_image import check_each_image

KEY = jax.random.key(0)
RANDOM = (
    T.RandomVerticalFlip(),
    T.RandomAffine(30, (0.1, 0.2), (0.8, 1.2), 10),
    T.RandomResizedCrop(8),
    T.RandomErasing(value="random"),
    T.RandomGrayscale(0.5),
    T.GaussianBlur(3),
    T.RandomApply([T.ColorJitter(0.4, 0.4, 0.4, 0.1)], 0.8),
    T.RandomPerspective(),
    T.RandomInvert(),
    T.RandomPosterize(3),
    T.RandomSolarize(0.4),
    T.RandomAdjustSharpness(2),
    T.RandomAutocontrast(),
    T.RandomEqualize(),
)


def batch(n=16, rows=8, columns=8, channels=3):
    values = np.random.default_rng(0).random((n, channels, rows, columns), np.float32)
    return jnp.asarray(values)


@pytest.mark.parametrize(
    "transform",
    [T.RandomCrop(8, 2), T.RandomHorizontalFlip(), T.RandomRotation(10), *RANDOM],
    ids=lambda t: type(t).__name__,
)
def test_images_keep_their_dtype_with_64_bits(transform, x64):
    for dtype in ("float32", "float64"):
        images = batch(2).astype(dtype)
        assert transform(images, KEY).dtype == dtype


@pytest.mark.parametrize("transform", RANDOM, ids=lambda t: type(t).__name__)
def test_each_image_of_a_batch_is_treated_by_itself(transform):
    check_each_image(transform, 8, 8, least=2)
    with pytest.raises(ValueError, match=f"{type(transform).__name__}: expected a PRNG key, got"):
        transform(batch(2))
    with pytest.raises(TypeError, match=f"{type(transform).__name__}: .*put ToTensor.. before it"):
        transform(jnp.zeros((2, 8, 8, 3), jnp.uint8), KEY)


def windows_of_torchvision(rng, n, size, scale, ratio, smaller):
    """The loop of RandomResizedCrop and RandomErasing, an image at a time."""
    rows, columns = size
    found = np.zeros((n, 4), int)
    for one in found:
        for _ in range(10):
            area = rows * columns * rng.uniform(*scale)
            shape = np.exp(rng.uniform(*np.log(ratio)))
            width, height = round((area * shape) ** 0.5), round((area / shape) ** 0.5)
            if smaller:
                fits = height < rows and width < columns
            else:
                fits = 0 < height <= rows and 0 < width <= columns
            if fits:
                top, left = rng.integers(0, (rows - height + 1, columns - width + 1))
                one[:] = top, left, height, width
                break
    return found.T


@pytest.mark.parametrize("smaller", [False, True])
@pytest.mark.parametrize("size", [(32, 32), (8, 20)])
def test_windows_are_drawn_as_torchvision_draws_them(size, smaller):
    n, scale, ratio = 4000, (0.08, 1.0), (3 / 4, 4 / 3)
    ours = np.asarray(random_window(KEY, n, size, scale, ratio, smaller))
    theirs = windows_of_torchvision(np.random.default_rng(0), n, size, scale, ratio, smaller)
    limit = 1.95 * (2 / n) ** 0.5  # Kolmogorov and Smirnov's, of two samples, at p = 0.001
    for ours_, theirs_ in zip(ours, theirs, strict=True):
        places = np.arange(-1, 33)
        shares = [(x[:, None] <= places).mean(0) for x in (ours_, theirs_)]
        assert np.abs(shares[0] - shares[1]).max() < limit
    top, left, height, width = ours
    assert (top + height <= size[0]).all() and (left + width <= size[1]).all()


def test_a_crop_for_which_no_window_fits_is_the_largest_in_the_middle():
    crop = T.RandomResizedCrop((3, 4), scale=(0.9, 1.0), ratio=(0.5, 2.0))
    images = batch(3, 4, 40)
    middle = images[:, :, :, 16:24]  # of ratio 2
    expected = T.Resize((3, 4))(middle)
    np.testing.assert_allclose(crop(images, KEY), expected, atol=1e-6)


def test_a_crop_of_whole_images_resizes_them():
    whole = T.RandomResizedCrop(5, scale=(1, 1), ratio=(1, 1))
    np.testing.assert_allclose(whole(batch(), KEY), T.Resize(5)(batch()), atol=1e-6)
    same = T.RandomResizedCrop(8, scale=(1, 1), ratio=(1, 1), interpolation="bicubic")
    np.testing.assert_allclose(same(batch(), KEY), batch(), atol=1e-6)


def test_what_is_erased_is_a_window_of_the_value():
    images = 1 + batch(200)
    out = T.RandomErasing(0.6, value=(0.1, 0.2, 0.3))(images, KEY)
    changed = np.asarray(out != images)
    assert (changed.all(1) == changed.any(1)).all()
    some = changed.any((1, 2, 3))
    assert abs(some.mean() - 0.6) < 0.12  # 3.5 standard deviations
    for image, where in zip(out[some], changed[some, 0]):
        rows, columns = where.any(1), where.any(0)
        assert (where == rows[:, None] & columns).all()  # a rectangle
        assert np.diff(np.flatnonzero(rows)).max(initial=1) == 1
        assert {tuple(v) for v in np.asarray(image)[:, where].T.tolist()} == {
            tuple(np.float32([0.1, 0.2, 0.3]).tolist())
        }


def test_affine_draws_within_its_ranges(monkeypatch):
    drawn = []
    monkeypatch.setattr(T.functional, "affine", lambda x, *rest: drawn.append(rest) or x)
    T.RandomAffine((-5, 10), (0.25, 0.5), (0.5, 2), (-1, 2, 3, 4))(batch(2000, 4, 8), KEY)
    angle, (x, y), scale, (along_x, along_y), *how = drawn[0]
    assert how == ["nearest", 0.0, None]
    for values, low, high in (
        (angle, -5, 10), (scale, 0.5, 2), (along_x, -1, 2), (along_y, 3, 4),
    ):  # fmt: skip
        assert low <= values.min() < low + 0.02 * (high - low)
        assert high - 0.02 * (high - low) < values.max() <= high
    assert set(np.asarray(x).tolist()) == set(np.asarray(y).tolist()) == {-2, -1, 0, 1, 2}
    T.RandomAffine(3)(batch(100), KEY)
    angle, (x, y), scale, shear, *_ = drawn[1]
    assert -3 <= angle.min() < -2 < 2 < angle.max() <= 3
    assert not x.any() and not y.any() and (scale == 1).all() and not np.any(shear)


def test_perspective_draws_as_torchvision(monkeypatch):
    drawn = []
    monkeypatch.setattr(T.functional, "perspective", lambda x, *rest: drawn.append(rest) or x)
    T.RandomPerspective(0.6)(batch(4000, 11, 20), KEY)
    start, end, *how = drawn[0]
    assert how == ["bilinear", 0.0]
    np.testing.assert_array_equal(start, [[0, 0], [19, 0], [19, 10], [0, 10]])
    inward = (np.asarray(end) - np.asarray(start)) * [[1, 1], [-1, 1], [-1, -1], [1, -1]]
    for axis, most in ((0, 6), (1, 3)):  # of half of 20 and half of 11
        for corner in inward[:, :, axis].T:
            counts = np.bincount(corner, minlength=most + 1)
            share = 1 / (most + 1)
            assert len(counts) == most + 1
            assert np.abs(counts / 4000 - share).max() < 4.5 * (share / 4000) ** 0.5


def test_perspective_of_each_image():
    images, corners = batch(3), jnp.array([[0.0, 0], [7, 0], [7, 7], [0, 7]])
    ends = corners + jnp.array([[0.0, 0], [1, 0], [0, 2]])[:, None]
    moved = T.functional.perspective(images, corners, ends, "nearest")
    np.testing.assert_array_equal(moved[0], images[0])
    np.testing.assert_array_equal(moved[1, :, :, 1:], images[1, :, :, :-1])
    np.testing.assert_array_equal(moved[2, :, 2:], images[2, :, :-2])
    still = T.functional.perspective(images, corners[:, ::-1], corners[:, ::-1])
    np.testing.assert_allclose(still, images, atol=1e-6)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
def test_perspective_has_numbers_everywhere(interpolation):
    """On the horizon a point of the plane is infinitely far, and few pixels often meet it."""
    for size in ((2, 2), (4, 4), (3, 5), (8, 8)):
        images = batch(64, *size)
        found = T.RandomPerspective(1.0, 1.0, interpolation, 0.5)(images, KEY)
        assert bool(jnp.isfinite(found).all()), size
        assert 0 <= found.min() and found.max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (9, 1)])
def test_perspective_leaves_images_without_corners(size):
    images = batch(4, *size)
    np.testing.assert_array_equal(T.RandomPerspective(p=1.0)(images, KEY), images)


@pytest.mark.parametrize("transform", [T.RandomRotation(10), T.RandomPerspective(), T.AugMix()])
def test_maps_of_no_images(transform):
    assert transform(batch(0), KEY).shape == (0, 3, 8, 8)


def test_sharpness_of_an_array_of_numpy():
    images = np.asarray(batch(2))
    found = T.functional.adjust_sharpness(images, 2)
    expected = T.functional.adjust_sharpness(jnp.asarray(images), 2)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("kind", [T.RandomRotation, T.RandomAffine, T.RandomPerspective])
def test_a_list_of_fills_is_hashed(kind):
    listed, given = (kind(0.1, fill=fill) for fill in ([0.1, 0.2, 0.3], (0.1, 0.2, 0.3)))
    assert listed == given and hash(listed) == hash(given)


@pytest.mark.parametrize("fill", [(0.1, 0.2), [0.1, 0.2]])
def test_a_fill_of_too_few_channels(fill):
    with pytest.raises(ValueError, match="rotate: expected a fill for all or for each of 3 chann"):
        T.functional.rotate(batch(2), 10.0, fill=fill)


@pytest.mark.parametrize("divide", [jax.jit(lambda x: x / 255), lambda x: np.float32(x) / 255])
def test_tones_of_bytes_are_those_of_bytes(divide):
    pixels = np.arange(768, dtype=np.float32).reshape(1, 3, 16, 16) % 256
    images = jnp.asarray(divide(jnp.asarray(pixels)))

    def made(function, *amounts):
        return np.round(np.asarray(function(images, *amounts)) * 255)

    for bits in range(9):
        expected = pixels.astype(int) & (256 - 2 ** (8 - bits))
        np.testing.assert_array_equal(made(T.functional.posterize, bits), expected)
    for threshold in range(256):
        expected = np.where(pixels >= threshold, 255 - pixels, pixels)
        np.testing.assert_array_equal(made(T.functional.solarize, threshold / 255), expected)
    # Of 256 values once each, 255 count, and each is one of them.
    np.testing.assert_array_equal(made(T.functional.equalize), pixels)
    np.testing.assert_array_equal(made(T.functional.equalize), made(lambda x: x))


def test_equalize_and_autocontrast_go_by_channel():
    images = batch(2, 48, 48) * jnp.array([0.2, 0.5, 1.0])[:, None, None]
    for out in T.functional.equalize(images), T.functional.autocontrast(images):
        assert (out.min((2, 3)) < 0.01).all() and (out.max((2, 3)) > 0.99).all()
        np.testing.assert_allclose(out.mean((2, 3)), 0.5, atol=0.06)
    plain = jnp.full((1, 3, 20, 20), 0.2)
    np.testing.assert_allclose(T.functional.equalize(plain), plain, atol=1e-6)
    np.testing.assert_array_equal(T.functional.autocontrast(plain), plain)
    small = batch(1, 2, 9)
    np.testing.assert_array_equal(T.functional.adjust_sharpness(small, 3), small)


def test_some_images_get_all_transforms_and_the_others_none():
    images = batch(400, 2, 2)
    apply = T.RandomApply([T.RandomVerticalFlip(1.0), T.RandomHorizontalFlip(1.0)], 0.3)
    out, turned = apply(images, KEY), images[:, :, ::-1, ::-1]
    chosen = np.asarray((out == turned).all((1, 2, 3)))
    assert abs(chosen.mean() - 0.3) < 0.08
    np.testing.assert_array_equal(out[~chosen], images[~chosen])
    with pytest.raises(ValueError, match=r"RandomApply: .* keep \[400, 3, 2, 2\], got \[400, 3, 1"):
        T.RandomApply([T.CenterCrop(1)])(images, KEY)


def test_sizes():
    images = batch(2, 6, 9)
    assert T.Resize(4)(images).shape == (2, 3, 4, 6)
    assert T.Resize(4)(images.mT).shape == (2, 3, 6, 4)
    assert T.Resize(4, max_size=5)(images).shape == (2, 3, 3, 5)
    assert T.Resize((4, 11))(images).shape == (2, 3, 4, 11)
    assert T.Resize(4)(images.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    assert T.CenterCrop(7)(images).shape == (2, 3, 7, 7)
    assert T.Grayscale()(images).shape == (2, 1, 6, 9)
    assert T.CenterCrop(np.int64(4)) == T.CenterCrop((4, 4)) and T.Resize([4, 3]).size == (4, 3)
    three = T.Grayscale(3)(images)
    np.testing.assert_array_equal(three[:, 2], T.Grayscale()(images)[:, 0])


def test_preprocessing_exports_with_any_batch_size():
    prepare = T.Compose([T.ToTensor(), T.Resize(6), T.CenterCrop(5), T.Grayscale(3)])
    spec = jax.ShapeDtypeStruct((*jax.export.symbolic_shape("b"), 8, 9, 3), jnp.uint8)
    exported = jax.export.export(jax.jit(prepare))(spec)
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 9, 3), np.uint8)
    np.testing.assert_allclose(exported.call(images), prepare(images), atol=1e-6)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: T.RandomVerticalFlip(2), r"RandomVerticalFlip: expected p in \[0, 1\], got 2"),
        (lambda: T.RandomApply([], -1), r"RandomApply: expected p in"),
        (lambda: T.RandomAffine(3, (2, 0)), r"translate of two shares in \[0, 1\], got \(2, 0\)"),
        (lambda: T.RandomAffine(3, scale=(0, 1)), "scale of two numbers, .* 1e-06 or more, got"),
        (lambda: T.RandomAffine(3, shear=(1, 2, 3)), "shear along y of two numbers"),
        (lambda: T.RandomAffine(-3), r"degrees of two numbers, the smaller first, got \(3, -3\)"),
        (lambda: T.RandomResizedCrop(0), r"size \(height, width\) of 1 or more, or a .* got 0"),
        (lambda: T.RandomResizedCrop(3, ratio=(2, 1)), r"ratio of two .*, got \(2, 1\)"),
        (lambda: T.RandomResizedCrop(3, scale=0.5), r"scale of two .* 0 or more, got 0\.5"),
        (lambda: T.CenterCrop(2.5), r"CenterCrop: expected size \(height, width\) .*, got 2\.5"),
        (lambda: T.RandomAffine(3, 0.1), r"translate of two shares in \[0, 1\], got 0\.1"),
        (lambda: T.RandomErasing(1.0, value=(1, 2))(batch(2), KEY), "each of 3 channels, got 2"),
        (lambda: T.GaussianBlur(3.5), r"kernel_size \(width, height\) .*, got 3\.5"),
        (lambda: T.RandomErasing(value="noise"), "value to be a number, .* got 'noise'"),
        (lambda: T.GaussianBlur(4), "kernel_size of odd numbers, got 4"),
        (lambda: T.GaussianBlur(3, 0), "sigma of two numbers"),
        (lambda: T.GaussianBlur(9)(batch(2, 4, 4), KEY), r"less than the images' size, got \(9, 9"),
        (lambda: T.Resize((3, 4), max_size=9), "max_size with one number for size"),
        (lambda: T.Resize(3, "lanczos")(batch(2)), "or \"bicubic\", got 'lanczos'"),
        (lambda: T.Resize(3, "bicubic", antialias=False)(batch(2)), "antialias=True with"),
        (lambda: T.RandomPerspective(1.5), r"distortion_scale in \[0, 1\], got 1\.5"),
        (lambda: T.RandomPerspective(interpolation="cubic"), "or \"bilinear\", got 'cubic'"),
        (
            lambda: T.functional.perspective(batch(2), [[0, 1]], [[0, 1]]),
            r"\[N, 4, 2\], got \[1, 2",
        ),
        (lambda: T.RandomPosterize(9), "bits to be a whole number from 0 to 8, got 9"),
        (lambda: T.RandomPosterize(2.5), "bits to be a whole number from 0 to 8, got 2.5"),
        (lambda: T.RandomSolarize(128), r"threshold in \[0, 1\], .* got 128; divide that of"),
        (lambda: T.RandomAdjustSharpness(-1), "sharpness_factor of 0 or more, got -1"),
        (lambda: T.RandomInvert(2), r"RandomInvert: expected p in \[0, 1\], got 2"),
        (
            lambda: T.functional.invert(batch(2, 8, 8, 4)),
            "invert: expected images with 1 or 3 chan",
        ),
        (lambda: T.Grayscale(2), "num_output_channels of 1 or 3, got 2"),
    ],
)
def test_wrong_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()
