import numpy as np
import pytest

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
