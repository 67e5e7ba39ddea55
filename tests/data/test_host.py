import numpy as np
import pytest

from fx.data import Dataset, Loader, host


def images(n=64, size=6, dtype=np.uint8, channels=3):
    rng = np.random.default_rng(0)
    return rng.integers(0, 100, (n, size, size, channels)).astype(dtype)


class Fixed:
    """A generator that says what it is told."""

    def __init__(self, *answers):
        self.answers = list(answers)

    def integers(self, low, high, size):
        answer = np.full(size, self.answers.pop(0))
        assert low <= answer.min() and answer.max() < high
        return answer

    def random(self, size):
        return np.full(size, self.answers.pop(0))


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_crop_is_a_window_of_the_padded_image(dtype, channels):
    batch = images(3, 5, dtype, channels)
    whole = np.pad(batch, ((0, 0), (2, 2), (2, 2), (0, 0)), constant_values=9)
    for top in range(6):
        for left in range(5):
            found = host.random_crop(batch, Fixed(top, left), (4, 5), padding=2, fill=9)
            assert found.dtype == dtype
            np.testing.assert_array_equal(found, whole[:, top : top + 4, left : left + 5])


def test_places_are_uniform_and_each_image_has_its_own():
    batch = np.broadcast_to(np.arange(9, dtype=np.uint8).reshape(1, 3, 3, 1), (9000, 3, 3, 1))
    found = host.random_crop(batch, np.random.default_rng(1), 1)[:, 0, 0, 0]
    counts = np.bincount(found, minlength=9)
    assert ((counts - 1000) ** 2 / 1000).sum() < 26.1  # 8 degrees: p = 0.001


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_flips_are_mirror_images(dtype):
    batch = images(dtype=dtype)
    kept = batch.copy()
    np.testing.assert_array_equal(host.random_horizontal_flip(batch, Fixed(0.4)), batch[:, :, ::-1])
    np.testing.assert_array_equal(host.random_horizontal_flip(batch, Fixed(0.6)), batch)
    found = host.random_horizontal_flip(batch[:, ::2], np.random.default_rng(0), p=0.25)
    mirrored = [(a == b[:, ::-1]).all() for a, b in zip(found, batch[:, ::2])]
    assert 4 < sum(mirrored) < 30
    np.testing.assert_array_equal(batch, kept)


def test_a_batch_transform_augments():
    def augment(batch, rng):
        pictures, labels = batch
        pictures = host.random_crop(pictures, rng, 6, padding=2)
        return host.random_horizontal_flip(pictures, rng), labels

    data = Dataset(images(), np.arange(64, dtype=np.int32))
    one, two = (Loader(data, 16, batch_transform=augment, workers=n) for n in (1, 2))
    for (a, labels), (b, _) in zip(one.epoch(0), two.epoch(0), strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.shape == (16, 6, 6, 3) and (np.asarray(a) != data.inputs[labels]).any()


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda x, r: host.random_crop(x, r, 9), "random_crop: expected images of at least 9x9"),
        (lambda x, r: host.random_crop(x[0], r, 3), r"expected NumPy images \[N, H, W, C\], got"),
        (lambda x, r: host.random_horizontal_flip(x, r, 2), r"expected p in \[0, 1\], got 2"),
        (lambda x, r: host.random_horizontal_flip(7, r), "images .* got int"),
    ],
)
def test_wrong_images(call, text):
    with pytest.raises(ValueError, match=text):
        call(images(), np.random.default_rng(0))
