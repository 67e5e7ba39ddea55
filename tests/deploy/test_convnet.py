"""The reference network, from fx.nn to a bundle and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx.deploy
from fx.models import ConvNet


def preprocess(images):
    return jnp.transpose(images, (0, 3, 1, 2)).astype(jnp.float32) / 255


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """Images, the live model's probabilities for them, and the engine of its export."""
    model = ConvNet(num_classes=7)
    params, state = model.init(jax.random.key(0))
    params = jax.tree.map(lambda p: p * 8 if p.ndim == 2 else p, params)  # not all 1/7
    noise = np.random.default_rng(0).integers(0, 256, (8, 32, 32, 3), np.uint8)
    images = noise // np.arange(1, 9, dtype=np.uint8)[:, None, None, None]  # noise looks alike
    state = jax.tree.map(lambda s: s * s.dtype.type(0.3), state)  # not what a fresh model has
    logits, _ = jax.jit(model.apply)(params, state, preprocess(images))
    path = tmp_path_factory.mktemp("convnet") / "bundle"
    spec = ((None, 32, 32, 3), "uint8")
    fx.deploy.export(model, params, state, spec, path, preprocess=preprocess)
    return images, np.asarray(jax.nn.softmax(logits)), fx.deploy.load_bundle(path)


@pytest.mark.parametrize("size", [1, 3, 8])
def test_equal_to_the_live_model(pair, size):
    images, expected, engine = pair
    found = engine(images[:size])["probabilities"]
    np.testing.assert_allclose(found, expected[:size], atol=1e-5)
    assert np.ptp(expected, axis=0).max() > 0.1 and engine.manifest["rows_independent"]


def test_the_manifest_shows_the_model(pair):
    text = pair[2].manifest["model"]
    assert "Conv2d(3, 32, kernel_size=(3, 3)" in text and "(classifier): Sequential(" in text
