"""Sources that come from elsewhere: sequences, PyTorch, Hugging Face, ArrayRecord, TFDS."""

import importlib.util
import subprocess
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest

from fx.data import (
    Examples,
    Loader,
    PadCollate,
    ReadError,
    Stream,
    StreamLoader,
    from_array_record,
    from_huggingface,
    from_torch,
    tfds,
)


def targets(batches):
    return [t for _, part in batches for t in np.asarray(part).tolist()]


def test_a_list_of_pairs():
    data = Examples([([1, 2], 0.5), ([3, 4], 1.5)], classes=["x"])
    inputs, labels = data.take(np.array([[1], [0]]))
    assert inputs.tolist() == [[[3, 4]], [[1, 2]]] and labels.tolist() == [[1.5], [0.5]]
    assert data.classes == ("x",) and repr(data) == "Examples(2 of list)"


def test_dicts_are_picked_apart():
    rows = [{"a": i, "b": [i, i], "y": -i} for i in range(3)]
    data = Examples(rows, inputs=("a", "b"), targets="y")
    (a, b), y = data.take(np.arange(3))
    assert a.tolist() == [0, 1, 2] and b.shape == (3, 2) and y.tolist() == [0, -1, -2]


@pytest.mark.parametrize(
    ("sequence", "options", "text"),
    [
        ([{"a": 1}], {}, r"expected an example \(input, target\), got a dict of \['a'\]; say"),
        ([{"a": 1}], {"inputs": "a", "targets": "b"}, r"expected a field 'b', got \['a'\]"),
        ([(1, 2, 3)], {}, r"got tuple of 3; several inputs go in a tuple or dict of their own"),
        ([5], {}, r"expected an example \(input, target\), got int;"),
    ],
)
def test_wrong_examples(sequence, options, text):
    with pytest.raises(
        ReadError, match="Loader: reading sample 0 failed with ValueError: .*" + text
    ):
        next(Loader(Examples(sequence, **options), 1).epoch(0))


def test_wrong_sequences():
    with pytest.raises(
        TypeError, match=r"expected something with len\(\) and \[i\], got generator"
    ):
        Examples(x for x in [])
    with pytest.raises(ValueError, match="Examples: expected at least one example, got none"):
        Examples([])


def test_a_map_style_data_set_of_torch():
    torch = pytest.importorskip("torch")

    class Squares(torch.utils.data.Dataset):
        classes = ("even", "odd")

        def __len__(self):
            return 7

        def __getitem__(self, i):
            return torch.tensor([i * i, i], dtype=torch.float32), i % 2

    data = from_torch(Squares())
    assert data.classes == ("even", "odd")
    theirs = torch.utils.data.DataLoader(Squares(), 3)
    ours = Loader(data, 3, shuffle=False, workers=2)
    for (a, x), (b, y) in zip(ours.epoch(0), theirs, strict=True):
        np.testing.assert_array_equal(a, b.numpy())
        assert a.dtype == jnp.float32 and x.tolist() == y.tolist()
    tensors = torch.utils.data.TensorDataset(torch.ones(3, 2).bfloat16(), torch.arange(3))
    inputs, _ = next(Loader(from_torch(tensors), 2).epoch(0))
    assert inputs.dtype == jnp.bfloat16 and inputs.tolist() == [[1, 1], [1, 1]]


def test_an_iterable_data_set_of_torch():
    torch = pytest.importorskip("torch")

    class Count(torch.utils.data.IterableDataset):
        def __iter__(self):
            return ((torch.tensor(i), -i) for i in range(5))

    stream = from_torch(Count())
    assert isinstance(stream, Stream) and stream.length is None
    assert targets(StreamLoader(stream, 2).epoch(3)) == [0, -1, -2, -3, -4]


def test_torch_is_not_imported_for_it():
    code = (
        "import sys, numpy as np\n"
        "from fx.data import Loader, from_torch\n"
        "next(Loader(from_torch([(np.ones(2), 1)]), 1).epoch(0))\n"
        "print({'torch', 'datasets', 'grain', 'PIL'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "set()\n", done.stderr


def test_from_torch_wants_a_data_set():
    with pytest.raises(TypeError, match=r"from_torch: expected a data set with len\(\) and"):
        from_torch(3)


class TestHuggingFace:
    def data(self):
        datasets = pytest.importorskip("datasets")
        features = datasets.Features(
            {
                "image": datasets.Array2D((2, 2), "uint8"),
                "label": datasets.ClassLabel(names=["cat", "dog"]),
                "words": datasets.Sequence(datasets.Value("int32")),
            }
        )
        rows = {
            "image": [np.full((2, 2), i) for i in range(6)],
            "label": [i % 2 for i in range(6)],
            "words": [[i] * (i + 1) for i in range(6)],
        }
        return datasets.Dataset.from_dict(rows, features=features)

    def test_columns_are_read_by_batches(self):
        data = from_huggingface(self.data())
        assert len(data) == 6 and data.classes == ("cat", "dog")
        assert data.targets.tolist() == [0, 1] * 3
        inputs, labels = data.take(np.array([[4, 1]]))
        assert inputs.dtype == np.uint8 and inputs.shape == (1, 2, 2, 2)
        assert inputs[0, 0].tolist() == [[4, 4], [4, 4]] and labels.tolist() == [[0, 1]]
        assert len(data.fingerprint()) == 8
        other = from_huggingface(self.data().select(range(5)))
        assert other.fingerprint() != data.fingerprint()

    def test_images_come_decoded(self):
        datasets, image = pytest.importorskip("datasets"), pytest.importorskip("PIL.Image")
        pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4, 3), np.uint8)
        features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int8")})
        rows = {"image": [image.fromarray(each) for each in pixels], "label": [0, 1, 2]}
        data = from_huggingface(datasets.Dataset.from_dict(rows, features=features))
        inputs, labels = data.take(np.array([2, 0]))
        np.testing.assert_array_equal(inputs, pixels[[2, 0]])
        assert inputs.dtype == np.uint8 and labels.dtype == np.int8

    def test_an_integer_that_is_missing_is_an_error_with_its_row(self):
        datasets = pytest.importorskip("datasets")
        rows = {"image": [[1.0]] * 6, "label": [0, 1, None, 0, 1, 0]}
        data = from_huggingface(datasets.Dataset.from_dict(rows))
        with pytest.raises(ValueError, match="column 'label', got None in row 2"):
            data.take(np.array([0, 5, 2]))
        with pytest.raises(ValueError, match="None in row 2"):
            len(data.targets)

    def test_it_trains_and_resumes(self):
        loader = Loader(from_huggingface(self.data()), 4, seed=1, workers=2)
        whole = targets(loader.epoch(0))
        assert sorted(whole) == [0, 0, 0, 1, 1, 1]
        assert targets(loader.epoch(0, start=1)) == whole[4:]

    def test_lengths_that_differ_are_padded(self):
        data = from_huggingface(self.data(), inputs="words")
        loader = Loader(data, 3, shuffle=False, collate=PadCollate(4))
        (tokens, mask), _ = next(loader.epoch(0))
        assert tokens.tolist() == [[0, 0, 0, 0], [1, 1, 0, 0], [2, 2, 2, 0]]
        assert mask.sum() == 6
        text = "expected inputs to be an array of numbers, got dtype object; lengths that differ"
        with pytest.raises(ReadError, match=text):
            next(Loader(data, 3, shuffle=False).epoch(0))

    def test_a_transform_of_its_own_is_kept(self):
        mapped = self.data().with_transform(lambda rows: {"image": [1.5], "label": rows["label"]})
        data = from_huggingface(mapped)
        assert isinstance(data, Examples)
        assert float(data.example(3)[0]) == 1.5

    def test_a_stream_shuffles_anew_in_each_epoch(self):
        stream = self.data().to_iterable_dataset().shuffle(seed=0, buffer_size=6)
        loader = StreamLoader(from_huggingface(stream, targets="label"), 6, length=6)
        images = [np.asarray(next(loader.epoch(n))[0])[:, 0, 0].tolist() for n in (0, 1, 0)]
        assert images[0] == images[2] != images[1] and sorted(images[1]) == list(range(6))

    def test_wrong_ones(self):
        datasets = pytest.importorskip("datasets")
        with pytest.raises(ValueError, match="expected a column 'text', got .'image', 'label', 'w"):
            from_huggingface(self.data(), inputs="text")
        with pytest.raises(
            TypeError, match=r"one split, got a DatasetDict of \['train'\]; give one"
        ):
            from_huggingface(datasets.DatasetDict({"train": self.data()}))
        with pytest.raises(
            TypeError, match="expected a datasets.Dataset or IterableDataset, got li"
        ):
            from_huggingface([1])


class TestArrayRecord:
    def write(self, path, values):
        module = pytest.importorskip("array_record.python.array_record_module")
        writer = module.ArrayRecordWriter(str(path), "group_size:1")
        for value in values:
            writer.write(np.array([value, -value], np.int32).tobytes())
        writer.close()

    def test_records_of_several_files(self, tmp_path):
        self.write(tmp_path / "a-1.array_record", range(3))
        self.write(tmp_path / "a-2.array_record", range(3, 7))
        decode = lambda record: tuple(np.frombuffer(record, np.int32))
        data = from_array_record(tmp_path / "a-*.array_record", decode)
        assert len(data) == 7
        loader = Loader(data, 3, seed=3, workers=2)
        assert sorted(targets(loader.epoch(0))) == [-6, -5, -4, -3, -2, -1, 0]
        inputs, labels = data.take(np.array([5, 0]))
        assert inputs.tolist() == [5, 0] and labels.tolist() == [-5, 0]
        both = [tmp_path / "a-2.array_record", tmp_path / "a-1.array_record"]
        assert from_array_record(both, decode).take(np.array([0]))[0].tolist() == [3]

    def test_files_that_are_none(self, tmp_path):
        with pytest.raises(
            FileNotFoundError, match=r"expected files at .*/no-\*, and there are none"
        ):
            from_array_record(tmp_path / "no-*", bytes)
        (tmp_path / "junk").write_bytes(b"hello" * 100)
        with pytest.raises(ValueError, match=r"junk is not an ArrayRecord file, or its beginning"):
            from_array_record(tmp_path / "junk", bytes)
        self.write(tmp_path / "half", range(3))
        (tmp_path / "half").write_bytes((tmp_path / "half").read_bytes()[: 2**16])
        with pytest.raises(ValueError, match="half cannot be read: .*damaged, truncated or empty"):
            from_array_record(tmp_path / "half", bytes)

    def test_a_decoder_that_fails_names_the_record(self, tmp_path):
        self.write(tmp_path / "a", range(3))
        data = from_array_record(tmp_path / "a", lambda record: 1 / 0)
        with pytest.raises(ReadError, match="reading sample 2 failed with ZeroDivisionError"):
            list(Loader(data, 1, shuffle=False).epoch(0, start=2))


class TestTfds:
    def test_what_is_prepared(self, tmp_path):
        from tests.data.test_prepared import write_prepared

        written = write_prepared(tmp_path)
        data = tfds("cifar10", "test", data_dir=tmp_path)
        images, labels = written["test"]
        assert len(data) == 12 and len(data.classes) == 10
        found = data.take(np.arange(12))
        np.testing.assert_array_equal(found[0], images)
        np.testing.assert_array_equal(found[1], labels)

    @pytest.fixture
    def builders(self, monkeypatch):
        """TensorFlow as it seems, and builders that pretend to download; returns those made."""
        library = pytest.importorskip("tensorflow_datasets")
        real, made = importlib.util.find_spec, []

        class Builder:
            def __init__(self, name, data_dir, file_format):
                self.asked, self.prepared = (name, data_dir, file_format), 0
                self.data_dir = data_dir / name
                features = {"label": SimpleNamespace(names=["zero", "one"])}
                self.info = SimpleNamespace(features=features)
                made.append(self)

            def download_and_prepare(self):
                self.prepared += 1

            def as_data_source(self, split):
                assert self.prepared == 1, "read before it was prepared"
                if split != "train":
                    raise NotImplementedError("tfrecord")
                return [{"image": np.full((2, 2, 1), i), "label": i % 2} for i in range(5)]

        monkeypatch.setattr(library, "builder", Builder)
        monkeypatch.setattr(
            importlib.util, "find_spec", lambda name: name if name == "tensorflow" else real(name)
        )
        return made

    def test_what_is_downloaded(self, tmp_path, builders):
        data = tfds("mnist", data_dir=tmp_path)
        [builder] = builders
        assert builder.asked == ("mnist", tmp_path, "array_record") and builder.prepared == 1
        assert len(data) == 5 and data.classes == ("zero", "one")
        images, labels = data.take(np.array([3, 0]))
        assert images[:, 0, 0, 0].tolist() == [3, 0] and labels.tolist() == [1, 0]

    def test_what_was_downloaded_in_another_format(self, tmp_path, builders):
        with pytest.raises(
            ValueError, match="expected .*mnist in the format array_record, got .* --overwrite"
        ):
            tfds("mnist", "test", data_dir=tmp_path)

    def test_what_is_not(self, tmp_path):
        pytest.importorskip("tensorflow_datasets")
        with pytest.raises(
            FileNotFoundError, match="expected mnist to be prepared in .* tfds build"
        ):
            tfds("mnist", data_dir=tmp_path)
