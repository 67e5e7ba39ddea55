import jax.numpy as jnp
import numpy as np
import pytest

import fx.deploy
from fx.deploy import load_bundle
from fx.deploy.golden import difference, make_inputs
from fx.deploy.signature import parse


@pytest.mark.parametrize(
    ("got", "expected", "error"),
    [
        ([1.0, 2.0], [1.0, 2.0], 0.0),
        ([0.5], [0.25], 0.25),
        ([110.0], [100.0], 0.1),
        ([np.inf, np.nan], [np.inf, np.nan], 0.0),
        ([np.inf], [1.0], np.inf),
        ([np.nan], [1.0], np.inf),
        ([-np.inf], [np.inf], np.inf),
        ([1.0], [1.0, 1.0], np.inf),
        ([3], [2], 0.5),
    ],
)
def test_difference(got, expected, error):
    assert difference({"y": np.array(got)}, {"y": np.array(expected)}) == pytest.approx(error)


def test_difference_takes_the_worst_output_and_misses_none():
    one = {"a": np.zeros(2), "b": np.zeros(2)}
    assert difference(one, {"a": np.zeros(2), "b": np.ones(2)}) == 1.0
    assert difference(one, {"a": np.zeros(2)}) == np.inf


def test_noise_is_the_same_each_time():
    inputs = parse(((None, 4, 4, 3), "uint8"), list)
    (a,), (b,) = (make_inputs(inputs, None) for _ in range(2))
    np.testing.assert_array_equal(a, b)
    assert a.shape == (3, 4, 4, 3) and a.min() < 50 and a.max() > 200


DEPENDENCES = {
    "largest": lambda x: x / x.max(),
    "least to largest": lambda x: (x - x.min()) / (x.max() - x.min() + 1e-6),
    "sum so far": lambda x: jnp.cumsum(x, 0),
    "row before": lambda x: x - jnp.roll(x, 1, 0).at[0].set(0),
    "first row": lambda x: x - x[:1],
    "rank": lambda x: x.argsort(0).argsort(0).astype(jnp.float32),
    "mean": lambda x: x - x.mean(0),
    "how many": lambda x: x / jnp.ones_like(x).sum(0),
}


@pytest.mark.parametrize("name", DEPENDENCES)
@pytest.mark.parametrize("example", [None, np.zeros((3, 4), np.float32)])
def test_the_export_finds_that_rows_depend_on_each_other(name, example, tmp_path):
    class Model:
        def apply(self, params, state, x):
            return DEPENDENCES[name](x + 1e-3), state

    spec = ((None, 4), "float32")
    given = {"postprocess": None, "example": example}
    engine = load_bundle(fx.deploy.export(Model(), {}, {}, spec, tmp_path / "b", **given))
    assert engine.manifest["rows_independent"] is False
    x = np.random.default_rng(0).uniform(0, 9, (300, 4)).astype(np.float32)
    (found,) = engine(x).values()
    np.testing.assert_allclose(found, DEPENDENCES[name](x + np.float32(1e-3)), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("dtype", ["bool", "int32", "uint8", "float16"])
def test_the_export_finds_that_rows_do_not(dtype, tmp_path):
    class Model:
        def apply(self, params, state, x):
            return jnp.cumsum(x.astype(jnp.float32), 1), state

    example = np.array([[0, 1, 1], [1, 0, 1]], dtype)
    path = tmp_path / "b"
    fx.deploy.export(Model(), {}, {}, ((None, 3), dtype), path, postprocess=None, example=example)
    assert load_bundle(path).manifest["rows_independent"] is True
