import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx.deploy

SPEC = ((None, 8, 6, 3), "uint8")
CLASSES = ["ant", "bee", "cat", "dog"]


class Tiny:
    """Contrast by contrast: two linear layers over pixels, and a running mean in state."""

    def init(self, key):
        k1, k2 = jax.random.split(key)
        params = {
            "fc1": {"weight": jax.random.normal(k1, (16, 144)) * 0.2, "bias": jnp.zeros(16)},
            "fc2": {"weight": jax.random.normal(k2, (4, 16))},
        }
        return params, {"norm": {"mean": jnp.full(144, 0.4), "count": jnp.int32(3)}}

    def apply(self, params, state, x, *, train=False, key=None):
        x = x.reshape(x.shape[0], -1) - state["norm"]["mean"]
        x = jnp.tanh(x @ params["fc1"]["weight"].T + params["fc1"]["bias"])
        return x @ params["fc2"]["weight"].T, state

    def __repr__(self):
        return "Tiny()"


def scale(images):
    return images.astype(jnp.float32) / 255


@pytest.fixture(scope="session")
def tiny():
    """A model, its params and its state."""
    return Tiny(), *Tiny().init(jax.random.key(0))


@pytest.fixture(scope="session")
def bundle(tiny, tmp_path_factory):
    """A bundle of it, not to be written to."""
    path = tmp_path_factory.mktemp("bundles") / "tiny"
    return fx.deploy.export(*tiny, SPEC, path, preprocess=scale, classes=CLASSES)


@pytest.fixture(scope="session")
def engine(bundle):
    return fx.deploy.load_bundle(bundle)


@pytest.fixture
def copy(bundle, tmp_path):
    """A bundle to be damaged."""
    import shutil

    return shutil.copytree(bundle, tmp_path / "copy")


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(0, 256, (40, 8, 6, 3), np.uint8)


@pytest.fixture
def live(tiny):
    """The live model on uint8 images."""
    model, params, state = tiny

    def predict(images):
        logits, _ = model.apply(params, state, scale(jnp.asarray(images)))
        return np.asarray(jax.nn.softmax(logits, axis=-1))

    return predict
