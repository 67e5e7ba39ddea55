"""Automatic augmentation: torchvision's bytes, and what is drawn how often."""

import itertools
import json
from collections import Counter

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fx.data import transforms as T
from fx.data.transforms import auto, operations
from fx.data.transforms.policies import magnitudes
from tests.data import torchvision_values as pinned
from tests.data.each_image import check_each_image

KEY = jax.random.key(0)
PINNED = json.loads(pinned.PATH.read_text())
NAMES = operations.OPERATIONS
AUTO = (
    T.RandAugment(), T.TrivialAugmentWide(), T.AutoAugment(), T.AugMix(),
    T.RandAugment(3, 30, fill=(0.5, 0.4, 0.3), interpolation="bilinear"),
    T.AutoAugment("svhn", fill=0.5), T.AugMix(5, 2, 1, 0.5, all_ops=False),
)  # fmt: skip


def bytes_of(n=16, channels=3, height=8, width=8):
    return np.random.default_rng(0).integers(0, 256, (n, channels, height, width), np.uint8)


def batch(*shape):
    return jnp.asarray(bytes_of(*shape), jnp.float32) / 255


def operate(image, name, magnitude, interpolation="nearest", fill=None):
    kind = jnp.full((1, 1), NAMES.index(name), jnp.int32)
    magnitude = jnp.full((1, 1), magnitude, jnp.float32)
    return operations.augmented(jnp.asarray(image)[None], kind, magnitude, interpolation, fill)[0]


@pytest.mark.parametrize(
    ("name", "magnitude", "interpolation", "fill"), pinned.operations(), ids=str
)
def test_operations_make_the_bytes_of_torchvision(name, magnitude, interpolation, fill):
    how = magnitude, interpolation, fill
    made = [np.asarray(operate(image, name, *how)) for image in pinned.photos(name)]
    expected = PINNED[pinned.written(name, how, {})]
    if interpolation == "nearest":
        assert pinned.digest(name, made) == expected
    else:
        # Means of four bytes that fall halfway between two, where rounding errors choose.
        off = made[0].ravel() - np.frombuffer(bytes.fromhex(expected), np.uint8).astype(int)
        assert np.abs(off).max() <= 1 and (off != 0).mean() < 0.05


def test_operations_of_plain_and_tiny_images():
    plain = np.arange(256, dtype=np.uint8)[:, None, None, None]
    values = plain.ravel().astype(np.float32)
    for size, strong in (((29, 31), (-0.9, 0.3, 0.54)), ((5, 5), (0.27,))):
        for m in strong:
            images = jnp.asarray(np.broadcast_to(plain, (256, 1, *size)))
            kind = jnp.full((256, 1), NAMES.index("Contrast"), jnp.int32)
            how = jnp.full((256, 1), m, jnp.float32), "nearest", None
            ours = operations.augmented(images, kind, *how)[:, 0, 2, 2]
            m = np.float32(m)  # the mean is the value, and torch rounds both of the products
            expected = np.clip((1 + m) * values - m * values, 0, 255).astype(np.uint8)
            np.testing.assert_array_equal(ours, expected)
    tiny = bytes_of(1, 3, 2, 5)[0]
    for name in ("Sharpness", "Equalize", "AutoContrast"):
        same = tiny if name != "AutoContrast" else np.full_like(tiny, 7)
        np.testing.assert_array_equal(operate(same, name, 0.9), same)


def test_all_branches_at_once_are_the_one_of_each_image():
    images = jnp.asarray(bytes_of(15))
    kind = jnp.arange(15, dtype=jnp.int32)[:, None]
    magnitude = jnp.full((15, 1), 0.9, jnp.float32)
    for how in ("nearest", None), ("bilinear", 0.5):
        names = dict(zip(("interpolation", "fill"), how))
        elsewhere = jax.jit(jax.vmap(lambda *one, names=names: operations.chained(*one, **names)))
        ours = operations.augmented(images, kind, magnitude, *how)
        off = np.asarray(elsewhere(images, kind, magnitude)).astype(int) - np.asarray(ours)
        assert np.abs(off).max() <= (how[0] == "bilinear") and (off != 0).mean() < 0.01


@pytest.mark.parametrize("transform", AUTO, ids=repr)
def test_each_image_is_augmented_by_itself(transform):
    out = check_each_image(transform, 16, 20, least=8)
    np.testing.assert_allclose(out * 255, np.round(out * 255), atol=1e-4)


@pytest.mark.parametrize(
    "transform", [AUTO[0], pytest.param(AUTO[3], marks=pytest.mark.full)], ids=repr
)
def test_seeds_as_an_axis_are_a_loop_over_them(transform):
    images, keys = batch(6), jax.random.split(KEY, 3)
    ours = jax.jit(jax.vmap(transform, (None, 0)))(images, keys)
    one = jax.jit(transform)
    np.testing.assert_array_equal(ours, [one(images, key) for key in keys])


@pytest.mark.parametrize("transform", AUTO, ids=repr)
def test_gray_and_half_precision(transform):
    if transform.fill is None or isinstance(transform.fill, float):
        assert jax.eval_shape(transform, batch(8, 1), KEY).shape == (8, 1, 8, 8)
    assert jax.eval_shape(transform, batch().astype(jnp.bfloat16), KEY).dtype == jnp.bfloat16


def test_half_precision_is_rounded_once():
    apply = jax.jit(T.TrivialAugmentWide())
    half = apply(batch().astype(jnp.bfloat16), KEY)
    np.testing.assert_array_equal(half, apply(batch(), KEY).astype(jnp.bfloat16))


def drawn(monkeypatch, transform, n=20_000, size=pinned.SIZE):
    """Kinds, magnitudes (and shares) of a large batch."""
    calls = []
    for name in ("augmented", "mixed"):
        monkeypatch.setattr(auto, name, lambda images, *rest: calls.append(rest) or images)
    monkeypatch.setattr(auto, "to_bytes", lambda images: images)
    transform(jnp.zeros((n, 1, *size)), KEY)
    return [np.asarray(x) for x in calls[0][:-2]]


def often(found, expected):
    """Counts of independent draws are within 4.5 deviations of what is expected."""
    n = sum(found.values())
    assert set(found) <= set(expected) and sum(expected.values()) == pytest.approx(1)
    for what, share in expected.items():
        assert abs(found[what] - n * share) <= 4.5 * (n * share * (1 - share)) ** 0.5 + 1, what


def strong(kind, magnitude, space, places):
    """Check that magnitudes are those of torchvision at these places, half of them negative."""
    for name, (values, signed) in space.items():
        ours = magnitude[kind == NAMES.index(name)]
        values = [values[place] for place in places] if len(values) > 1 else [0.0]
        near = np.abs(np.abs(ours)[:, None] - values)
        assert near.min(1).max() < 2e-5, name
        if len(set(values)) == len(values):
            often(
                Counter(near.argmin(1).tolist()), dict.fromkeys(range(len(values)), 1 / len(values))
            )
        some = ours[ours != 0]
        assert len(some) or not any(values)
        if signed:
            often(Counter((some < 0).tolist()), {True: 0.5, False: 0.5})
        else:
            assert (ours >= 0).all()


def test_rand_augment_draws_as_torchvision(monkeypatch):
    kind, magnitude = drawn(monkeypatch, T.RandAugment(3, 7))
    assert kind.shape == magnitude.shape == (20_000, 3)
    space = PINNED["RandAugment"]
    often(Counter(np.array(NAMES)[kind].ravel().tolist()), dict.fromkeys(space, 1 / 14))
    pairs = Counter(zip(kind[:, 0].tolist(), kind[:, 1].tolist()))
    often(pairs, {(i, j): 1 / 196 for i in range(14) for j in range(14)})
    strong(kind, magnitude, space, [7])


def test_trivial_augment_draws_as_torchvision(monkeypatch):
    kind, magnitude = drawn(monkeypatch, T.TrivialAugmentWide(), 60_000)
    space = PINNED["TrivialAugmentWide"]
    often(Counter(np.array(NAMES)[kind].ravel().tolist()), dict.fromkeys(space, 1 / 14))
    strong(kind, magnitude, space, range(31))


@pytest.mark.parametrize("policy", ["imagenet", "cifar10", "svhn"])
def test_auto_augment_draws_as_torchvision(monkeypatch, policy):
    kind, magnitude = drawn(monkeypatch, T.AutoAugment(policy))
    expected = Counter()
    for pair in PINNED[policy]:
        options = []
        for name, share, place in pair:
            value = 0 if place is None else PINNED["AutoAugment"][name][0][place]
            options.append([((name, round(value, 2)), share), (("Identity", 0), 1 - share)])
        for (one, p), (other, q) in itertools.product(*options):
            expected[one, other] += p * q / 25
    places = np.abs(np.where(kind > 0, magnitude, 0)).astype(float).round(2).tolist()
    rows = zip(np.array(NAMES)[kind].tolist(), places)
    often(Counter(tuple(zip(*row)) for row in rows), +expected)
    turned = magnitude[(kind > 0) & (kind < 10) & (magnitude != 0)] < 0
    often(Counter(turned.tolist()), {True: 0.5, False: 0.5})


@pytest.mark.parametrize("all_ops", [True, False])
def test_augmix_draws_as_torchvision(monkeypatch, all_ops):
    kept, shares, kind, magnitude = drawn(monkeypatch, T.AugMix(all_ops=all_ops))
    assert kind.shape == (20_000, 3, 3) and shares.shape == (20_000, 3)
    np.testing.assert_allclose(kept + shares.sum(1), 1, atol=1e-6)
    # Beta(1, 1) is uniform; of three shares of Dirichlet(1, 1, 1) each is Beta(1, 2).
    places = np.linspace(0, 1, 21)
    of_chains = shares / (1 - kept)[:, None]
    for ours, cdf in ((kept, places), *((x, 1 - (1 - places) ** 2) for x in of_chains.T)):
        assert np.abs((ours[:, None] <= places).mean(0) - cdf).max() < 1.95 / 20_000**0.5
    goes_on = kind > 0
    often(Counter(goes_on.sum(2).ravel().tolist()), {1: 1 / 3, 2: 1 / 3, 3: 1 / 3})
    assert (np.diff(goes_on.astype(int), axis=2) <= 0).all()
    space = PINNED["AugMix" if all_ops else "AugMix(all_ops=False)"]
    often(Counter(np.array(NAMES)[kind[goes_on]].tolist()), dict.fromkeys(space, 1 / len(space)))
    strong(kind[goes_on], magnitude[goes_on], space, range(3))


def test_augmix_chains_may_be_of_one_depth():
    kind, _ = T.AugMix(mixture_width=2, chain_depth=4)._chains(KEY, (100, 3, 8, 8))
    assert kind.shape == (100, 2, 4) and (kind > 0).all()


@pytest.mark.parametrize("chains", [1, 2])
def test_augmix_blends_as_torchvision(chains):
    images, rng = bytes_of(5), np.random.default_rng(0)
    kept, shares = rng.dirichlet([1, 1], 5).astype(np.float32)[:, 0], rng.random((5, chains))
    shares = (shares / shares.sum(1, keepdims=True) * (1 - kept)[:, None]).astype(np.float32)
    kind = jnp.asarray(rng.integers(0, 15, (5, chains, 3)), jnp.int32)
    magnitude = jnp.full((5, chains, 3), 0.3, jnp.float32)
    ours = operations.mixed(jnp.asarray(images), kept, shares, kind, magnitude, "nearest", None)
    total = kept[:, None, None, None] * images.astype(np.float32)
    for i in range(chains):
        how = kind[:, i], magnitude[:, i], "nearest", None
        made = np.asarray(operations.augmented(jnp.asarray(images), *how)).astype(np.float32)
        total = total + shares[:, i, None, None, None] * made
    np.testing.assert_array_equal(ours, total.astype(np.uint8))


@pytest.mark.parametrize(
    ("name", "bins", "size", "rest"),
    [
        ("RandAugment", 31, [150 / 331 * side for side in pinned.SIZE], ()),
        ("TrivialAugmentWide", 31, (32, 32), (0.99, 135, 0.99, (8, 2))),
        ("AutoAugment", 10, [150 / 331 * side for side in pinned.SIZE], ()),
        ("AugMix", 10, [side / 3 for side in pinned.SIZE], (0.3, 30, 0.9, (4, 0))),
    ],
)
def test_magnitudes_are_torchvisions(name, bins, size, rest):
    ours = magnitudes(bins, tuple(size), *rest)
    for operation, (values, signed) in PINNED[name].items():
        row = ours[NAMES.index(operation)]
        np.testing.assert_allclose(row if len(values) > 1 else row[:1], values, atol=1e-5)
        assert signed == (operation in NAMES[1:10])


def test_a_gradient_to_parameters_passes_by_augmentation():
    def loss(scale):
        return jnp.mean(scale * T.RandAugment()(batch(4), KEY))

    value, slope = jax.jit(jax.value_and_grad(loss))(2.0)
    np.testing.assert_allclose(2 * slope, value, rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (
            lambda: T.RandAugment(magnitude=31),
            "magnitude to be a whole number from 0 to 30, got 31",
        ),
        (lambda: T.RandAugment(num_ops=1.5), "num_ops to be a whole number of 0 or more, got 1.5"),
        (lambda: T.TrivialAugmentWide(1), "num_magnitude_bins to be a whole number of 2 or more"),
        (lambda: T.AutoAugment("cifar"), 'policy "imagenet", .* or "svhn", got \'cifar\''),
        (
            lambda: T.AugMix(11),
            "AugMix: expected severity to be a whole number from 1 to 10, got 11",
        ),
        (lambda: T.AugMix(mixture_width=0), "mixture_width to be a whole number of 1 or more, got"),
        (lambda: T.AugMix(chain_depth=0.5), r"chain_depth to be a whole number, got 0\.5"),
        (lambda: T.AugMix(alpha=0), "AugMix: expected alpha above 0, got 0"),
        (lambda: T.AugMix(interpolation="bicubic"), "or \"bilinear\", got 'bicubic'"),
        (lambda: T.RandAugment(fill=128), r"fill in \[0, 1\], .* got 128; divide that of bytes by"),
        (lambda: T.RandAugment(fill=(0, 1))(batch(), KEY), "each of 3 channels, got 2"),
        (lambda: T.RandAugment()(batch(2, 4), KEY), r"1 or 3 channels, got \[2, 4, 8, 8\]"),
        (lambda: T.AugMix()(batch()), "AugMix: expected a PRNG key, got key=None"),
    ],
)
def test_wrong_arguments(make, text):
    with pytest.raises(ValueError, match=text):
        make()


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: T.RandAugment(fill="a"), "RandAugment: expected fill to be a number, got 'a'"),
        (lambda: T.RandAugment(fill=jnp.zeros(3)), "fill to be a number, .* holds no arrays"),
        (lambda: T.AugMix(alpha="a"), "AugMix: expected alpha to be a number, got 'a'"),
        (lambda: T.MixUp(alpha=None), "MixUp: expected alpha to be a number, got None"),
        (lambda: T.RandomInvert("a"), "RandomInvert: expected p to be a number, got 'a'"),
        (lambda: T.RandomSolarize("a"), "expected threshold to be a number, got 'a'"),
        (lambda: T.RandomAdjustSharpness("a"), "sharpness_factor to be a number, got 'a'"),
        (lambda: T.RandomPerspective("a"), "expected distortion_scale to be a number, got 'a'"),
    ],
)
def test_what_is_no_number(make, text):
    with pytest.raises(TypeError, match=text):
        make()


def test_a_list_is_no_policy():
    with pytest.raises(ValueError, match=r"or \"svhn\", got \['imagenet'\]"):
        T.AutoAugment(["imagenet"])


@pytest.mark.parametrize("transform", AUTO[:4], ids=repr)
def test_bytes_that_skipped_to_tensor_raise(transform):
    text = f"{type(transform).__name__}: expected float images .*put ToTensor.. before it"
    with pytest.raises(TypeError, match=text):
        transform(jnp.zeros((2, 8, 8, 3), jnp.uint8), KEY)
