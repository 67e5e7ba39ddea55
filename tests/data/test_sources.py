import os
import sys

import numpy as np
import pytest

from fx.data import cifar10, digits, sources
from fx.data.sources import CIFAR10_CLASSES, CIFAR10_MEAN, CIFAR10_STD, read_binary

FOLDER = "cifar-10-batches-bin"
REAL = os.path.join(os.environ.get("FX_DATA_DIR", ""), FOLDER)
needs_data = pytest.mark.skipif(
    not os.path.isdir(REAL), reason=f"needs the real CIFAR-10: FX_DATA_DIR/{FOLDER} is not there"
)
FIRST_LABELS, SUM = [3, 4, 5, 7, 9, 9, 9, 6, 9, 1, 3, 1], 85923963


@pytest.fixture
def nowhere(tmp_path, monkeypatch):
    """No data in any place, and no network."""
    monkeypatch.delenv("FX_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "tfds"))
    monkeypatch.setattr(sources.prepared, "cannot_download", lambda: "the network is off")
    return tmp_path


def write(path, images, labels):
    """The published format: a label byte, then the three planes."""
    path.parent.mkdir(exist_ok=True)
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    np.concatenate([labels[:, None].astype(np.uint8), planes], axis=1).tofile(path)


def examples(n, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 256, (n, 32, 32, 3), np.uint8), rng.integers(0, 10, n)


def test_a_file_reads_back(tmp_path):
    images, labels = examples(7)
    write(tmp_path / "a.bin", images, labels)
    read = read_binary(tmp_path / "a.bin", records=7)
    np.testing.assert_array_equal(read[0], images)
    np.testing.assert_array_equal(read[1], labels)
    assert read[0].flags.c_contiguous and read[1].dtype == np.int32


def test_the_environment_names_the_folder(nowhere, monkeypatch):
    monkeypatch.setattr(sources.read_binary, "__defaults__", (4,))
    parts = [examples(4, seed) for seed in range(6)]
    for i, (images, labels) in enumerate(parts):
        name = f"data_batch_{i + 1}.bin" if i < 5 else "test_batch.bin"
        write(nowhere / FOLDER / name, images, labels)
    monkeypatch.setenv("FX_DATA_DIR", str(nowhere))
    train, test = cifar10("train"), cifar10("test")
    np.testing.assert_array_equal(train.inputs, np.concatenate([part[0] for part in parts[:5]]))
    np.testing.assert_array_equal(test.targets, parts[5][1])
    assert test.classes == CIFAR10_CLASSES and len(train) == 20
    monkeypatch.delenv("FX_DATA_DIR")
    np.testing.assert_array_equal(cifar10("test", nowhere).inputs, test.inputs)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (
            3073 * 4 - 1,
            r"12292 bytes, got 12291 bytes \(3 whole records and 3072 bytes over\): the",
        ),
        (3073 * 3, r"4 records of 3073 bytes, 12292 bytes, got 9219 bytes \(3 whole records\)"),
        (3073 * 5, r"got 15365 bytes \(5 whole records\)"),
        (3074 * 4, r"got 12296 bytes \(4 whole records and 4 bytes over\)"),
        (0, r"got 0 bytes \(0 whole records\): the file is truncated, or not of CIFAR-10's binary"),
    ],
)
def test_a_file_of_the_wrong_size(tmp_path, size, text):
    path = tmp_path / "test_batch.bin"
    path.write_bytes(bytes(size))
    with pytest.raises(ValueError, match="expected .*test_batch.bin to have .*" + text) as caught:
        read_binary(path, records=4)
    assert "unpack https://" in str(caught.value)


def test_a_label_out_of_range(tmp_path):
    images, labels = examples(5)
    labels[3:] = 10, 255
    write(tmp_path / "a.bin", images, labels)
    text = r"labels 0 to 9 in .*a.bin, got 10 in record 3 \(2 in all\): the data is damaged"
    with pytest.raises(ValueError, match=text):
        read_binary(tmp_path / "a.bin", records=5)


def test_a_missing_file_or_folder(nowhere):
    with pytest.raises(FileNotFoundError, match=r"the folder .*cifar-10-batches-bin, and there is"):
        cifar10(data_dir=nowhere)
    (nowhere / FOLDER).mkdir()
    with pytest.raises(FileNotFoundError, match=r"the file .*test_batch.bin, and it is missing"):
        cifar10("test", nowhere)


@pytest.mark.parametrize("variable", [None, "elsewhere"])
def test_one_error_names_every_way(nowhere, monkeypatch, variable):
    if variable:
        monkeypatch.setenv("FX_DATA_DIR", variable)
    with pytest.raises(FileNotFoundError) as caught:
        cifar10()
    text = str(caught.value)
    state = "it is elsewhere, which has no such folder" if variable else "it is not set"
    for part in (
        f"1. FX_DATA_DIR/{FOLDER}: {state}; unpack https://www.cs.toronto.edu",
        f"2. data prepared by TensorFlow Datasets: none in {nowhere / 'tfds'}; ",
        "3. download by TensorFlow Datasets: the network is off",
        "--data digits",
    ):
        assert part in text


def test_wrong_splits():
    with pytest.raises(ValueError, match='cifar10: expected split "train" or "test", got \'val\''):
        cifar10("val")
    with pytest.raises(ValueError, match='digits: expected split "train" or "test", got \'val\''):
        digits("val")
    with pytest.raises(ValueError, match="digits: expected size of 1 or more, got 0"):
        digits(size=0)


def test_digits_are_split_by_class_and_complete():
    from sklearn.datasets import load_digits

    train, test = digits("train", size=8), digits("test", size=8)
    raw = load_digits()
    together = np.concatenate([train.inputs, test.inputs])[..., 0].reshape(-1, 64)
    expected = np.round(raw.images.reshape(-1, 64) / 16 * 255)
    order, wanted = (np.lexsort(x.T) for x in (together, expected))
    np.testing.assert_array_equal(together[order], expected[wanted])
    share = np.bincount(test.targets) / np.bincount(raw.target)
    assert np.abs(share - 0.2).max() < 0.01
    assert train.inputs.dtype == np.uint8 and train.targets.dtype == np.int32


def test_digits_are_a_function_of_the_seed():
    first, again, other = digits("test"), digits("test"), digits("test", seed=1)
    assert first.inputs.shape == (359, 32, 32, 3)
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert not np.array_equal(first.inputs, other.inputs)
    # The split stays, or the accuracy that the documentation states would be of another one.
    assert first.targets[:12].tolist() == FIRST_LABELS and int(first.inputs.sum()) == SUM


@pytest.mark.parametrize("size", [5, 8, 16, 32])
def test_resizing_is_torchs_bilinear(size):
    torch = pytest.importorskip("torch")
    images = np.random.default_rng(0).random((3, 8, 8))
    expected = torch.nn.functional.interpolate(
        torch.from_numpy(images)[None], (size, size), mode="bilinear", align_corners=False
    )[0]
    np.testing.assert_allclose(sources._resize(images, size), expected, atol=1e-12)


def test_digits_without_scikit_learn(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match=r"pip install '\.\[digits\]' in fx's folder"):
        digits()


@needs_data
def test_the_real_data_has_the_statistics_that_we_state():
    train = cifar10("train")
    assert np.bincount(train.targets).tolist() == [5000] * 10
    mean, std = train.statistics()
    np.testing.assert_allclose(mean, CIFAR10_MEAN, atol=5e-5)
    np.testing.assert_allclose(std, CIFAR10_STD, atol=5e-5)
    test = cifar10("test")
    assert np.bincount(test.targets).tolist() == [1000] * 10


@needs_data
def test_the_names_of_the_classes_are_those_beside_the_data():
    with open(os.path.join(REAL, "batches.meta.txt")) as file:
        assert tuple(file.read().split()) == CIFAR10_CLASSES
