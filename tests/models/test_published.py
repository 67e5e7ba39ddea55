"""Every network of images: a few steps of training, seeds under vmap, a bundle."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import functional as F
from fx import optim
from fx.models import BasicBlock, ResNet, VisionTransformer

KEY = jax.random.key(0)
pytestmark = pytest.mark.full  # each compiles a step and a bundle


def small_resnet():
    return ResNet(BasicBlock, [1, 1, 1, 1], 4, small_images=True)


def small_vit():
    return VisionTransformer(16, 4, 2, 2, 16, 32, dropout=0.1, num_classes=4, drop_path=0.1)


IMAGES = {"resnet": small_resnet, "vit": small_vit}


@pytest.mark.parametrize("name", IMAGES)
def test_a_few_steps_learn(name):
    model, optimizer = IMAGES[name](), optim.adam(3e-3)
    ts = fx.train.create(model, optimizer, KEY)
    step = fx.train.make_step(model, F.cross_entropy, optimizer)
    x = jax.random.normal(KEY, (8, 3, 16, 16))
    batch = x, jnp.arange(8) % 4
    losses = []
    for _ in range(12):
        ts, metrics = step(ts, batch)
        losses.append(float(metrics["loss"]))
    assert losses[-1] < 0.9 * losses[0], losses


@pytest.mark.parametrize("name", IMAGES)
def test_seeds_are_an_axis_and_the_bundle_runs(name, tmp_path):
    model = IMAGES[name]()
    x = np.random.default_rng(0).normal(size=(2, 3, 16, 16)).astype(np.float32)
    params, state = jax.jit(jax.vmap(model.init))(jax.random.split(KEY, 2))
    several = jax.jit(jax.vmap(lambda p, s: model.apply(p, s, x)[0]))(params, state)
    params, state = jax.tree.map(lambda a: a[1], (params, state))
    single = model.apply(params, state, x)[0]
    np.testing.assert_allclose(several[1], single, atol=1e-5)
    spec = ((None, 3, 16, 16), "float32")
    path = fx.export(
        model, params, state, spec, tmp_path / "bundle", postprocess=None, platforms=["cpu"]
    )
    np.testing.assert_allclose(fx.load_bundle(path)(x)["outputs"], single, atol=1e-5)
