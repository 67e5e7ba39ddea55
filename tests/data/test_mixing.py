"""Transforms of inputs and targets: torchvision's two, and those of one's own in a run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import data, nn, train
from fx.data import transforms as T
from fx.functional import cross_entropy, mse_loss

KEY = jax.random.key(0)
IMAGES = jnp.asarray(np.random.default_rng(0).random((4, 3, 6, 10), np.float32))
LABELS = jnp.array([0, 1, 2, 1])
ONE_HOT = jax.nn.one_hot(LABELS, 3)


@pytest.mark.parametrize("seed", range(4))
def test_mixup_is_a_blend_with_the_one_before(seed):
    images, targets = T.MixUp(num_classes=3).pair(IMAGES, LABELS, jax.random.key(seed))
    share = float(targets[0, 0])  # of the first image; the rest is the last one's
    assert 0 < share < 1
    for i in range(4):
        blend = share * IMAGES[i] + (1 - share) * IMAGES[i - 1]
        np.testing.assert_allclose(images[i], blend, rtol=1e-5)
        np.testing.assert_allclose(
            targets[i], share * ONE_HOT[i] + (1 - share) * ONE_HOT[i - 1], rtol=1e-5
        )


def test_cutmix_pastes_a_window_of_the_one_before():
    areas = []
    for seed in range(30):
        images, targets = T.CutMix(num_classes=3).pair(IMAGES, LABELS, jax.random.key(seed))
        pasted = np.array(images != IMAGES)
        window = pasted[0, 0]
        assert (pasted == window).all()
        rows, columns = window.any(1), window.any(0)
        assert (window == rows[:, None] & columns).all()
        for edge in (rows, columns):  # in one piece
            assert np.abs(np.diff(edge.astype(int), prepend=0, append=0)).sum() <= 2
        before = jnp.roll(IMAGES, 1, 0)
        np.testing.assert_array_equal(images, jnp.where(window, before, IMAGES))
        share = 1 - window.mean()
        blend = share * ONE_HOT + (1 - share) * jnp.roll(ONE_HOT, 1, 0)
        np.testing.assert_allclose(targets, blend, atol=1e-6)
        areas.append(window.mean())
    assert min(areas) < 0.1 and max(areas) > 0.4


def test_the_share_has_its_distribution():
    def shares(alpha):
        mix = T.MixUp(alpha, 2)
        keys = jax.random.split(KEY, 4000)
        pair = jax.vmap(lambda key: mix.pair(IMAGES[:2], jnp.array([0, 1]), key)[1][0, 0])
        return np.asarray(pair(keys))

    for alpha in (0.2, 1.0, 8.0):
        found = shares(alpha)  # of Beta(a, a): mean 1/2, variance 1 / (4 (2 a + 1))
        assert found.mean() == pytest.approx(0.5, abs=0.03)
        assert found.var() == pytest.approx(1 / (4 * (2 * alpha + 1)), rel=0.1)


@pytest.mark.parametrize("mix", [T.MixUp(0.4), T.CutMix(0.4)])
def test_probabilities_are_mixed_again_and_a_batch_is_pure(mix):
    images, targets = mix.pair(IMAGES, ONE_HOT, KEY)
    np.testing.assert_allclose(targets.sum(1), 1, rtol=1e-6)
    again = jax.jit(mix.pair)(IMAGES, ONE_HOT, KEY)
    np.testing.assert_allclose(again[0], images, rtol=1e-5)
    assert not np.array_equal(mix.pair(IMAGES, ONE_HOT, jax.random.key(9))[0], images)
    classes = type(mix)(0.4, 3).pair(IMAGES, LABELS, KEY)
    np.testing.assert_array_equal(classes[1], targets)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: T.MixUp(0.0), ValueError, "MixUp: expected alpha above 0, got 0.0"),
        (lambda: T.CutMix(num_classes=0), ValueError, "CutMix: expected num_classes of 1 or more"),
        (lambda: T.MixUp(num_classes=3)(IMAGES, KEY), TypeError, r"call pair\(inputs, targets, ke"),
        (lambda: T.MixUp().pair(IMAGES, LABELS, KEY), TypeError, r"say how .* MixUp\(num_classes="),
        (
            lambda: T.MixUp(num_classes=3).pair(IMAGES, LABELS[:3], KEY),
            ValueError,
            r"expected classes \[4\] or probabilities \[4, K\].*, got int32 \[3\]",
        ),
        (
            lambda: T.CutMix(num_classes=3).pair(jnp.zeros((4, 6, 6, 3), jnp.uint8), LABELS, KEY),
            TypeError,
            r"CutMix: expected float images .* put ToTensor\(\) before it",
        ),
        (
            lambda: T.MixUp(num_classes=3).pair(IMAGES, LABELS),
            ValueError,
            "MixUp: expected a PRNG key, got key=None; .* without random transforms",
        ),
        (
            lambda: T.WithTargets(lambda x, y, key: x).pair(IMAGES, LABELS),
            TypeError,
            r"WithTargets: expected the function to return \(inputs, targets\), got Array",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


MODEL = nn.Sequential(nn.Flatten(), nn.Linear(3 * 6 * 10, 3))
MIXED = T.Compose((T.Normalize(0.5, 0.5), T.RandomHorizontalFlip(), T.MixUp(num_classes=3)))


def test_a_step_trains_on_what_is_mixed():
    step = train.make_step(MODEL, cross_entropy, fx.optim.sgd(0.1), transform=MIXED, donate=False)
    ts = train.create(MODEL, step.optimizer, KEY)
    after, metrics = step(ts, (IMAGES, LABELS))
    augment_key, _ = jax.random.split(jax.random.fold_in(ts.key, 0))
    images, targets = MIXED.pair(IMAGES, LABELS, augment_key)
    outputs, _ = MODEL.apply(ts.params, ts.state, images)
    assert float(metrics["loss"]) == pytest.approx(float(cross_entropy(outputs, targets)), rel=1e-5)
    assert metrics["loss"] != step(after, (IMAGES, LABELS))[1]["loss"]
    found = fx.debug.inspect_step(MODEL, cross_entropy, ts, (IMAGES, LABELS), transform=MIXED)
    assert found.loss == pytest.approx(float(metrics["loss"]), rel=1e-5)
    with pytest.raises(TypeError, match=r"MixUp: expected inputs and targets; call pair"):
        MIXED(IMAGES, KEY)


def denoised(x, targets, key):
    assert targets is None
    return (x if key is None else x + jax.random.normal(key, x.shape)), 2 * x


def test_an_evaluation_and_a_prediction_have_the_targets_that_are_made():
    x = np.random.default_rng(0).standard_normal((10, 4)).astype(np.float32)
    model, loader = nn.Identity(), data.Loader(data.Dataset(x), 4)
    transform = T.Compose((T.WithTargets(denoised),))
    ts = train.create(model, fx.optim.sgd(0.1), KEY)
    found = train.make_eval(model, mse_loss, loader, transform=transform)(ts)
    assert found["loss"] == pytest.approx(float(np.mean(x**2)), rel=1e-5)
    outputs, targets = train.predict(model, ts.params, ts.state, loader, transform=transform)
    np.testing.assert_array_equal(outputs, x)
    np.testing.assert_array_equal(targets, 2 * x)


def test_targets_that_stay_are_not_touched():
    class Words:
        def padded(self):
            yield (np.zeros((3, 2), np.float32), np.array(["a", "b", "c"])), np.ones(3, bool)

    plain = T.Compose((lambda x, key: x + 1,))
    _, targets = train.predict(nn.Identity(), {}, {}, Words(), transform=plain)
    assert targets.tolist() == ["a", "b", "c"]
