import jax.numpy as jnp
import numpy as np
import pytest

from fx.data import Dataset, Loader


def test_statistics_equal_numpys_over_many_chunks():
    images = np.random.default_rng(0).integers(0, 256, (700, 32, 32, 3), np.uint8)
    mean, std = Dataset(images, np.zeros(700)).statistics()
    np.testing.assert_allclose(mean, (images / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (images / 255).std((0, 1, 2)), rtol=1e-12)


def test_statistics_of_floats_are_not_scaled_and_do_not_cancel():
    values = 1e6 + np.random.default_rng(0).normal(size=(50, 7, 2))
    mean, std = Dataset(values, np.zeros(50)).statistics()
    np.testing.assert_allclose(mean, values.mean((0, 1)), rtol=1e-12)
    np.testing.assert_allclose(std, values.std((0, 1)), rtol=1e-9)


def test_statistics_of_other_integers_are_refused():
    values = np.full((3, 1), 51)
    with pytest.raises(TypeError, match="uint8 or floats, as ToTensor takes them, got int64; conv"):
        Dataset(values, np.zeros(3)).statistics()
    half = values.astype(jnp.bfloat16)
    assert Dataset(half, np.zeros(3)).statistics() == ((51.0,), (0.0,))


def test_statistics_need_one_array():
    with pytest.raises(
        TypeError, match=r"one array \[N, ..., C\], got \(int64\[3,1\], int64\[3\]\)"
    ):
        Dataset((np.ones((3, 1), int), np.ones(3, int)), np.ones(3)).statistics()


def test_take_and_subset_copy():
    data = Dataset({"a": np.arange(6), "b": np.arange(12).reshape(6, 2)}, np.arange(6), ("x", "y"))
    inputs, targets = data.take(np.array([[4, 1], [0, 0]]))
    assert inputs["b"].shape == (2, 2, 2) and targets.tolist() == [[4, 1], [0, 0]]
    part = data.subset(np.array([5, 2]))
    part.targets[:] = 9
    assert len(part) == 2 and part.classes == ("x", "y") and data.targets.max() == 5


@pytest.mark.parametrize(
    ("inputs", "targets", "kind", "text"),
    [
        (
            [1, 2],
            np.ones(2),
            TypeError,
            r"expected inputs\[0\] to be a NumPy array \[N, ...\], got",
        ),
        (np.ones(2), np.float64(1), TypeError, r"expected targets to be a NumPy array"),
        (
            np.ones(3),
            np.ones(2),
            ValueError,
            r"arrays of one length, got \{'inputs': 3, 'targets': 2",
        ),
        (np.ones((0, 3)), np.ones(0), ValueError, r"at least one example, got \{'inputs': 0"),
        ((), (), ValueError, r"at least one example, got no arrays"),
    ],
)
def test_wrong_arrays(inputs, targets, kind, text):
    with pytest.raises(kind, match=text):
        Dataset(inputs, targets)


def test_an_empty_subset_is_refused():
    with pytest.raises(ValueError, match="Dataset.subset: expected at least one index, got none"):
        Dataset(np.ones(3), np.ones(3)).subset([])


def test_the_fingerprint_tells_data_sets_apart():
    values = np.arange(300.0).reshape(100, 3)
    labels = np.arange(100)
    data = Dataset(values, labels)
    assert data.fingerprint() == Dataset(values.copy(order="F"), labels).fingerprint()
    others = [
        Dataset(values[::-1], labels),
        Dataset(values.astype(np.float32), labels),
        Dataset(values.reshape(100, 3, 1), labels),
        Dataset({"a": values}, labels),
        Dataset(values, labels + 1),
        data.subset(range(99)),
    ]
    assert len({each.fingerprint() for each in (data, *others)}) == 7
    assert Dataset(np.ones((2, 0)), np.ones(2)).fingerprint()


def test_another_byte_order_is_an_error_that_says_what_to_do():
    swapped = Dataset(np.arange(6, dtype=">f4"), np.zeros(6, np.int32))
    with pytest.raises(TypeError, match=r'byte order, got dtype >f4; convert it: x.astype\("f4"\)'):
        next(iter(Loader(swapped, 2).epoch(0)))
