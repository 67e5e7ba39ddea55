"""The parts of the speedrun, each against what the recipe says, on images of noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from examples import speedrun

RNG = np.random.default_rng(0)
IMAGES = RNG.integers(0, 256, (24, 32, 32, 3), dtype=np.uint8)


def test_the_first_convolution_makes_patches_uncorrelated():
    images = speedrun.prepare(IMAGES)
    filters = speedrun.whitening(images, eps=0.0)
    assert filters.shape == (24, 3, 2, 2)
    np.testing.assert_array_equal(filters[12:], -filters[:12])
    seen = fx.functional.conv2d(images, filters[:12])  # [N, 12, 31, 31]
    flat = np.moveaxis(np.asarray(seen), 1, -1).reshape(-1, 12)
    np.testing.assert_allclose(flat.T @ flat / len(flat), np.eye(12), atol=1e-3)


def test_convolutions_start_as_the_identity_and_the_head_with_deviation_1():
    params, _ = speedrun.Net((32, 40, 16)).init(jax.random.key(0))
    x = jnp.asarray(RNG.normal(size=(2, 24, 8, 8)), jnp.float32)
    weight = params["layers"]["1"]["conv1"]["weight"]  # [32, 24, 3, 3]
    out = fx.functional.conv2d(x, weight, padding="same")
    np.testing.assert_allclose(out[:, :24], x, atol=1e-5)
    assert np.abs(out[:, 24:]).max() > 0.1
    assert np.std(params["head"]["weight"], ddof=1) == pytest.approx(1.0, rel=1e-5)
    assert params["layers"]["3"]["conv1"]["weight"].shape == (16, 40, 3, 3)


def test_flips_alternate_and_shifts_are_windows():
    images = speedrun.prepare(IMAGES)
    labels = jnp.arange(24)
    key = jax.random.key(3)
    rows = {}
    for epoch in range(2):
        batches, order = speedrun.augment(
            images, labels, key, jnp.int32(epoch), batch_size=8, shift=2
        )
        assert batches.shape == (3, 8, 3, 32, 32)
        assert sorted(order.ravel().tolist()) == list(range(24))
        for image, row in zip(batches.reshape(-1, 3, 32, 32), order.ravel().tolist()):
            rows[epoch, row] = np.asarray(image)
    padded = np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2)), "reflect")
    for row in range(24):
        flips = []
        for epoch in range(2):
            windows = [
                (padded[row, :, y : y + 32, x : x + 32], y, x) for y in range(5) for x in range(5)
            ]
            plain = any(np.array_equal(rows[epoch, row], w) for w, _, _ in windows)
            mirrored = any(np.array_equal(rows[epoch, row], w[:, :, ::-1]) for w, _, _ in windows)
            assert plain != mirrored
            flips.append(mirrored)
        assert flips[0] != flips[1]


def test_muon_keeps_the_norm_and_steps_by_an_orthogonal_matrix():
    params = {"w": jnp.asarray(RNG.normal(size=(6, 4, 3, 3)), jnp.float32)}
    grads = {"w": jnp.asarray(RNG.normal(size=(6, 4, 3, 3)), jnp.float32)}
    optimizer = speedrun.normed_muon(fx.optim.constant_lr(0.5, 1.0))
    updates, state = optimizer.update(grads, optimizer.init(params), params)
    assert float(fx.optim.current_lr(state)) == 0.5
    unit = params["w"] * (6**0.5 / jnp.linalg.norm(params["w"]))
    step = (unit - (params["w"] + updates["w"])) / 0.5
    values = np.linalg.svd(np.asarray(step).reshape(6, -1), compute_uv=False)
    assert (values > 0.4).all() and (values < 1.6).all()  # what the iteration promises


def test_the_recipe_for_96_cuts_out_squares_and_ends_at_its_slow_weights():
    images = speedrun.prepare(IMAGES)
    batches, order = speedrun.augment(
        images, jnp.arange(24), jax.random.key(0), jnp.int32(1), batch_size=24, shift=0, cutout=12
    )
    gone = np.asarray(batches[0] == 0).all(1)  # [24, 32, 32]; noise is never 0
    assert (gone.sum((1, 2)) == 144).all()
    assert (gone.any(1).sum(1) == 12).all() and (gone.any(2).sum(1) == 12).all()

    model = speedrun.Net((4, 4, 4), deep=True)
    shapes, _ = jax.eval_shape(model.init, jax.random.key(0))
    params = jax.tree.map(lambda leaf: np.full(leaf.shape, 0.5, np.float32), shapes)
    assert sorted(params["layers"]["2"]) == ["conv1", "conv2", "conv3", "norm1", "norm2", "norm3"]
    optimizer = speedrun.deep_optimizer(8, steps=7, whiten_steps=2)
    grads = jax.tree.map(np.ones_like, params)

    @jax.jit
    def step(params, state):
        updates, state = optimizer.update(grads, state, params)
        return jax.tree.map(jnp.add, params, updates), state

    start, state, seen = params, jax.jit(optimizer.init)(params), []
    for _ in range(7):
        params, state = step(params, state)
        seen.append(params["head"]["weight"])
    frozen = ("whiten", "weight"), ("layers", "1", "norm1", "weight")
    for path in frozen:
        before, after = start, params
        for name in path:
            before, after = before[name], after[name]
        np.testing.assert_allclose(after, before, rtol=1e-6)
    np.testing.assert_allclose(seen[6], seen[4], rtol=1e-6)  # the slow weights' last update
    assert np.abs(seen[5] - seen[4]).max() > 0


@pytest.mark.full
def test_views_are_the_image_its_shifts_and_mirror_images():
    model = speedrun.Net((4, 4, 4))
    params, state = model.init(jax.random.key(0))
    images = speedrun.prepare(IMAGES[:2])
    logits = speedrun.views(model, params, state, images, "float32")
    padded = jnp.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), "reflect")
    expected = 0.0
    for share, view in (
        (0.5, images),
        (0.25, padded[:, :, :32, :32]),
        (0.25, padded[:, :, 2:, 2:]),
    ):
        for x in (view, jnp.flip(view, -1)):
            expected = expected + share / 2 * model.apply(params, state, x)[0]
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_it_trains_and_leaves_alone_what_is_frozen(monkeypatch, capsys):
    labels = np.arange(96) % 2
    images = RNG.integers(0, 100, (96, 32, 32, 3), dtype=np.uint8)
    images[labels == 1, 8:24, 8:24] += 120
    monkeypatch.setattr(speedrun, "load", lambda split, limit: (images, labels))
    small = speedrun.Net((4, 8, 8))
    recipe = speedrun.RECIPES[94]._replace(net=small)
    monkeypatch.setitem(speedrun.RECIPES, 94, recipe)
    kept = []
    real = speedrun.accuracy
    monkeypatch.setattr(speedrun, "accuracy", lambda *a: kept.append(a[1]) or real(*a))
    found = speedrun.main(["--epochs", "4", "--batch-size", "24", "--runs", "2"])
    assert min(found) > 0.9
    norms = kept[0].params["layers"]["1"]["norm1"]
    assert np.array_equal(norms["weight"], np.ones(4)) and np.abs(norms["bias"]).max() > 0
    whiten = speedrun.whitening(speedrun.prepare(images))
    np.testing.assert_allclose(kept[0].params["whiten"]["weight"], whiten, rtol=1e-5)
    assert capsys.readouterr().out.count("test accuracy") == 2
