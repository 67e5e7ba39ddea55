import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fx import functional as F
from tests.functional.check import assert_close

KEY = jax.random.key(0)
# function, input, axes that share one draw
CHANNELS = [
    ("dropout1d", (40, 50, 3), (2,)),
    ("dropout1d", (500, 3), (1,)),
    ("dropout2d", (40, 50, 3, 2), (2, 3)),
    ("dropout2d", (40, 50, 3), (2,)),
    ("dropout3d", (40, 50, 3, 2, 2), (2, 3, 4)),
    ("dropout3d", (500, 3, 2, 2), (1, 2, 3)),
]
ALL = [
    "dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout",
]  # fmt: skip
SHAPE = {"dropout1d": (2, 3, 4), "dropout3d": (2, 3, 4, 2, 2)}


def ones(name):
    return jnp.ones(SHAPE.get(name, (2, 3, 4, 2)))


def test_dropout_scales_what_it_keeps():
    y = F.dropout(jnp.ones((100, 100)), 0.3, key=KEY)
    np.testing.assert_allclose(np.unique(y), [0, 1 / 0.7], rtol=1e-6)
    # 10,000 draws: the share dropped is within 4 standard deviations.
    assert abs(float((y == 0).mean()) - 0.3) < 4 * (0.3 * 0.7 / 1e4) ** 0.5


@pytest.mark.parametrize("name, shape, shared", CHANNELS)
def test_channels_are_dropped_whole(name, shape, shared):
    y = np.asarray(getattr(F, name)(jnp.ones(shape), 0.3, key=KEY))
    np.testing.assert_array_equal(y.max(shared), y.min(shared))
    draws = y.max(shared)
    np.testing.assert_allclose(np.unique(draws), [0, 1 / 0.7], rtol=1e-6)
    assert abs((draws == 0).mean() - 0.3) < 4 * (0.3 * 0.7 / draws.size) ** 0.5


def test_alpha_dropout_keeps_mean_and_variance():
    x = jax.random.normal(jax.random.key(1), (200, 200))
    y = F.alpha_dropout(x, 0.3, True, key=KEY)
    # 40,000 draws
    assert abs(float(y.mean())) < 4 / 200
    assert abs(float(y.std()) - 1) < 4 / 200
    dropped = np.unique(y, return_counts=True)[1].max()
    assert dropped / y.size == pytest.approx(0.3, abs=0.01)


@pytest.mark.parametrize("name", ALL)
def test_ends_of_p_and_evaluation(name):
    function, x = getattr(F, name), ones(name)
    np.testing.assert_array_equal(function(x, 0.5, False), x)
    np.testing.assert_array_equal(function(x, 0.0, True), x)
    np.testing.assert_array_equal(function(x, 1.0, True), jnp.zeros_like(x))


@pytest.mark.parametrize("name", ALL)
def test_one_key_is_one_mask(name):
    function, x = getattr(F, name), ones(name)
    drop = lambda x, key: function(x, 0.5, True, key=key)
    eager = drop(x, KEY)
    assert_close(jax.jit(drop)(x, KEY), eager)
    keys = jax.random.split(KEY, 3)
    mapped = jax.vmap(drop, (None, 0))(x, keys)
    assert_close(mapped, jnp.stack([drop(x, key) for key in keys]))
    assert not (mapped[0] == mapped[1]).all()


@pytest.mark.parametrize("name", ALL)
def test_derivatives(name):
    function, x = getattr(F, name), ones(name)
    total = lambda x: (function(x, 0.5, True, key=KEY) ** 3).sum()
    gradient, curvature = jax.jvp(jax.grad(total), (x,), (x,))
    dropped = function(x, 0.5, True, key=KEY) == 0
    assert_close(jnp.where(dropped, gradient, 0), jnp.zeros(x.shape))
    assert jnp.isfinite(curvature).all() and curvature.any()


@pytest.mark.parametrize("name", ALL)
def test_low_precision_is_kept(name):
    x = ones(name).astype(jnp.bfloat16)
    y = getattr(F, name)(x, 0.3, True, key=KEY)
    assert y.dtype == jnp.bfloat16
    wide = getattr(F, name)(x.astype(jnp.float32), 0.3, True, key=KEY)
    assert_close(y.astype(jnp.float32), wide, "bfloat16")


def test_nan_is_not_hidden():
    assert jnp.isnan(F.dropout(jnp.full(100, jnp.nan), 0.5, key=KEY)).all()


def test_the_mask_does_not_depend_on_x64():
    narrow = F.dropout(jnp.ones(100), 0.5, key=KEY)
    with jax.enable_x64(True):
        wide = F.dropout(jnp.ones(100, jnp.float32), 0.5, key=KEY)
    np.testing.assert_array_equal(narrow, wide)


@pytest.mark.parametrize("name", ALL)
def test_errors(name):
    function, x = getattr(F, name), ones(name)
    with pytest.raises(ValueError, match=rf"{name}: expected a PRNG key when training, got None;"):
        function(x, 0.5, True)
    with pytest.raises(ValueError, match=rf"{name}: expected p between 0 and 1, got 1.5"):
        function(x, 1.5)
    with pytest.raises(TypeError, match=rf"{name}: expected a floating input, got int32"):
        function(x.astype(jnp.int32), 0.5, True, key=KEY)
