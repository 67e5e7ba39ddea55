import pickle

import jax
import jax.export
import jax.numpy as jnp
import numpy as np
import pytest

from fx.data import transforms as T

KEY = jax.random.key(0)
RANDOM = (
    T.RandomHorizontalFlip(),
    T.RandomRotation(30),
    T.RandomCrop(8, 2),
    T.ColorJitter(0.2, 0.2, 0.2, 0.1),
)


def batch(n=64, size=8, channels=3):
    values = np.random.default_rng(0).random((n, channels, size, size), np.float32)
    return jnp.asarray(values)


def test_to_tensor():
    images = np.random.default_rng(0).integers(0, 256, (2, 4, 5, 3), np.uint8)
    ours = jax.jit(T.ToTensor())(images)
    assert ours.shape == (2, 3, 4, 5) and ours.dtype == jnp.float32
    np.testing.assert_allclose(ours, images.transpose(0, 3, 1, 2) / 255, rtol=2e-7)
    floats = images.astype(np.float16)
    kept = T.ToTensor()(floats)
    assert kept.dtype == jnp.float16
    np.testing.assert_array_equal(kept, floats.transpose(0, 3, 1, 2))


def test_preprocessing_exports_with_any_batch_size():
    size = jax.export.symbolic_shape("b")[0]
    transform = T.Compose((T.ToTensor(), T.Normalize((0.5, 0.4, 0.3), (0.2, 0.2, 0.2))))
    spec = jax.ShapeDtypeStruct((size, 8, 8, 3), jnp.uint8)
    exported = jax.export.export(jax.jit(transform))(spec)
    images = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), np.uint8)
    np.testing.assert_allclose(exported.call(images), transform(images), atol=1e-6)


def test_normalize_is_torchvisions():
    images = batch(4)
    mean, std = np.array((0.5, 0.4, 0.3), np.float32), np.array((0.2, 0.3, 0.4), np.float32)
    expected = (images - mean[:, None, None]) / std[:, None, None]
    np.testing.assert_allclose(T.Normalize(mean, std)(images), expected, rtol=1e-6)
    assert T.Normalize([0.5], [0.2]) == T.Normalize(0.5, 0.2)


@pytest.mark.parametrize("transform", RANDOM, ids=lambda t: type(t).__name__)
def test_random_transforms_are_pure_batched_and_compile(transform):
    images = batch()
    out = transform(images, KEY)
    assert out.shape == images.shape and out.dtype == images.dtype
    np.testing.assert_array_equal(out, transform(images, KEY))
    compiled = jax.jit(transform)
    # XLA may fuse a product and a sum into one rounding.
    np.testing.assert_allclose(compiled(images, KEY), out, atol=2e-6)
    assert not np.array_equal(out, transform(images, jax.random.key(1)))
    # One image in 64 places is treated in more than one way.
    same = transform(jnp.broadcast_to(images[:1], images.shape), KEY)
    assert len({bytes(np.asarray(image)) for image in same}) >= 2


@pytest.mark.parametrize("transform", RANDOM, ids=lambda t: type(t).__name__)
def test_a_random_transform_without_a_key_says_what_to_do(transform):
    text = f"{type(transform).__name__}: expected a PRNG key, got key=None; pass key=jax.random.key"
    with pytest.raises(ValueError, match=text + ".*Compose without random"):
        transform(batch(2))
    with pytest.raises(ValueError, match=text):
        T.Compose((transform,))(batch(2))


@pytest.mark.parametrize(
    "transform", (*RANDOM, T.Normalize(0.5, 0.5)), ids=lambda t: type(t).__name__
)
def test_bytes_that_skipped_to_tensor_raise(transform):
    with pytest.raises(TypeError, match=f"{type(transform).__name__}: .*put ToTensor.. before it"):
        transform(jnp.zeros((2, 8, 8, 3), jnp.uint8), KEY)


def test_flip_probability():
    images = batch(2000, 2)
    flipped = (T.RandomHorizontalFlip(0.3)(images, KEY) != images).any((1, 2, 3)).mean()
    assert abs(flipped - 0.3) < 0.04
    np.testing.assert_array_equal(T.RandomHorizontalFlip(0.0)(images, KEY), images)
    np.testing.assert_array_equal(T.RandomHorizontalFlip(1.0)(images, KEY), images[..., ::-1])


def uniform(draws, low, high):
    """Whether draws fill [low, high], and Kolmogorov and Smirnov see nothing at p = 0.001."""
    places = (np.sort(np.asarray(draws, np.float64)) - low) / (high - low)
    gap = np.abs(places - (np.arange(len(draws)) + 0.5) / len(draws)).max()
    return 0 <= places[0] < 0.01 and 0.99 < places[-1] <= 1 and gap < 1.95 / len(draws) ** 0.5


def test_rotation_draws_its_angles_uniformly(monkeypatch):
    drawn = []
    monkeypatch.setattr(T.functional, "rotate", lambda x, angle, *rest: drawn.append(angle) or x)
    T.RandomRotation(10)(batch(2000, 2), KEY)
    T.RandomRotation((5, 6))(batch(2000, 2), KEY)
    assert uniform(drawn[0], -10, 10) and uniform(drawn[1], 5, 6)
    assert not uniform(drawn[0], -10.5, 10) and not uniform(drawn[0] ** 3, -1000, 1000)


def test_jitter_draws_factors_and_orders(monkeypatch):
    drawn = []
    monkeypatch.setattr(T.functional, "jitter_color", lambda x, *rest: drawn.append(rest) or x)
    T.ColorJitter(0.2, (0.5, 0.6), 3, 0.1)(batch(3000, 2), KEY)
    factors, orders = map(np.asarray, drawn[0])
    ranges = ((0.8, 1.2), (0.5, 0.6), (0, 4), (-0.1, 0.1))  # saturation is not below 0
    for (low, high), factor in zip(np.float32(ranges), factors.T):
        assert uniform(factor, low, high)
    assert np.abs(np.corrcoef(factors.T) - np.eye(4)).max() < 0.07  # 4 / sqrt(3000)
    names, counts = np.unique(orders, axis=0, return_counts=True)
    assert len(names) == 24 and ((counts - 125) ** 2 / 125).sum() < 49.7  # 23 degrees: p = 0.001


def test_no_jitter_changes_nothing():
    images = batch()
    np.testing.assert_allclose(T.ColorJitter()(images, KEY), images, atol=1e-6)


@pytest.mark.parametrize(
    ("padding", "box"), [(2, (2, 2, 2, 2)), ((1, 3), (1, 3, 1, 3)), ((1, 2, 3, 4), (1, 2, 3, 4))]
)
@pytest.mark.parametrize("mode", ["constant", "edge", "reflect", "symmetric"])
def test_crop_cuts_windows_of_the_padded_image(padding, box, mode):
    images = batch(300, 6, 1)
    left, top, right, bottom = box
    fill = {"constant_values": 0.5} if mode == "constant" else {}
    padded = np.pad(images[0, 0], ((top, bottom), (left, right)), mode=mode, **fill)
    windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 4)).reshape(-1, 5, 4)
    same = jnp.broadcast_to(images[:1], images.shape)
    crops = T.RandomCrop((5, 4), padding, fill=0.5, padding_mode=mode)(same, KEY)
    found = {bytes(np.asarray(crop)) for crop in crops}
    possible = {bytes(np.ascontiguousarray(window)) for window in windows}
    assert found <= possible and len(found) > 0.8 * len(possible)


def test_crop_pads_what_is_too_small():
    crops = T.RandomCrop(8, pad_if_needed=True)(jnp.ones((4, 1, 6, 9)), KEY)
    assert crops.shape == (4, 1, 8, 8) and set(np.asarray(crops.sum((1, 2, 3))).tolist()) <= {48}
    with pytest.raises(ValueError, match="images of at least 8x8 after padding, got 6x9; give pad"):
        T.RandomCrop(8)(jnp.ones((4, 1, 6, 9)), KEY)


def test_compose_gives_each_its_own_key():
    flip, images = T.RandomHorizontalFlip(), batch()
    twice = T.Compose([flip, flip])(images, KEY)
    first = flip(images, jax.random.fold_in(KEY, 0))
    np.testing.assert_array_equal(twice, flip(first, jax.random.fold_in(KEY, 1)))
    assert not np.array_equal(twice, images)


def test_transforms_are_hashable_picklable_descriptions():
    made = [
        T.Compose([T.ToTensor(), *RANDOM, T.Normalize([0.5] * 3, np.ones(3))]) for _ in range(2)
    ]
    assert made[0] == made[1] == pickle.loads(pickle.dumps(made[0]))
    assert len(set(made)) == 1
    assert repr(T.RandomHorizontalFlip()) == "RandomHorizontalFlip(p=0.5)"


def test_the_whole_augmentation_compiles_once():
    transform = T.Compose((T.ToTensor(), *RANDOM, T.Normalize(0.5, 0.5)))
    compiled = jax.jit(transform)
    for seed in range(3):
        out = compiled(np.full((4, 8, 8, 3), seed, np.uint8), jax.random.key(seed))
    assert out.shape == (4, 3, 8, 8) and compiled._cache_size() == 1


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: T.Normalize((0, 0), (1, 0)),
            r"Normalize: .*above 0, got mean .* and std \(1.0, 0",
        ),
        (lambda: T.Normalize((0, 0), (1, 1, 1)), "Normalize: expected as many means as standard"),
        (lambda: T.RandomHorizontalFlip(1.5), r"expected p in \[0, 1\], got 1.5"),
        (lambda: T.RandomRotation(-3), "expected degrees of 0 or more, got -3"),
        (lambda: T.RandomRotation(3, expand=True), "expand=True would give each image .* its own"),
        (lambda: T.RandomCrop(3, (1, 2, 3)), "padding of 1, 2 or 4 numbers, got 3"),
        (lambda: T.RandomCrop(3, padding_mode="wrap"), "padding_mode .*, got 'wrap'"),
        (lambda: T.ColorJitter(brightness=-1), r"expected brightness .*\[0, inf\], got -1"),
        (lambda: T.ColorJitter(contrast=(0.9, 0.3)), r"expected contrast .*, got \(0.9, 0.3\)"),
        (lambda: T.ColorJitter(hue=0.6), r"expected hue .* within \[-0.5, 0.5\], got 0.6"),
    ],
)
def test_wrong_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()


def test_wrong_images_for_to_tensor():
    with pytest.raises(
        TypeError, match=r"expected uint8 or float images \[N, H, W, C\], got int32"
    ):
        T.ToTensor()(jnp.zeros((2, 8, 8, 3), jnp.int32))
    for shape in ((8, 8, 3), (2, 3, 32, 32)):
        with pytest.raises(ValueError, match=r"ToTensor: expected images \[N, H, W, C\], got \["):
            T.ToTensor()(jnp.zeros(shape, jnp.uint8))
