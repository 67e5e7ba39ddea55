"""CIFAR-10 through TFDS: a data set in its format, and a builder that pretends to download."""

import http.server
import io
import json
import socket
import sys
import threading
import time

import numpy as np
import pytest

from fx.data import cifar10, prepared

COUNTS = {"train": 30, "test": 12}


def write_prepared(root, version="3.0.2", label=None, file_format="array_record"):
    """What `tfds build cifar10 --file_format=array_record` leaves, smaller, without TensorFlow."""
    tfds = pytest.importorskip("tensorflow_datasets")
    pytest.importorskip("PIL")
    folder = root / "cifar10" / version
    folder.mkdir(parents=True)
    features = {
        "id": tfds.features.Text(),
        "image": tfds.features.Image(shape=(32, 32, 3)),
        "label": tfds.features.ClassLabel(num_classes=10),
    }
    tfds.features.FeaturesDict(features).save_config(folder)
    written, splits = {}, []
    for split, count in COUNTS.items():
        rng = np.random.default_rng(count)
        images = rng.integers(0, 256, (count, 32, 32, 3), np.uint8)
        labels = np.arange(count) % 10 if label is None else np.full(count, label)
        written[split] = images, labels
        write_records(folder / f"cifar10-{split}.{file_format}-00000-of-00001", images, labels)
        template = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"
        splits.append({"name": split, "shardLengths": [str(count)], "filepathTemplate": template})
    info = {"name": "cifar10", "version": version, "fileFormat": file_format, "splits": splits}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return written


def write_records(path, images, labels):
    from array_record.python.array_record_module import ArrayRecordWriter
    from PIL import Image
    from tensorflow_datasets.proto import tf_example_pb2

    writer = ArrayRecordWriter(str(path), "group_size:1")
    for image, label in zip(images, labels):
        png = io.BytesIO()
        Image.fromarray(image).save(png, "PNG")
        example = tf_example_pb2.Example()
        feature = example.features.feature
        feature["id"].bytes_list.value.append(b"train_00000")
        feature["image"].bytes_list.value.append(png.getvalue())
        feature["label"].int64_list.value.append(int(label))
        writer.write(example.SerializeToString())
    writer.close()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.delenv("FX_DATA_DIR", raising=False)
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path


def test_prepared_data_is_read_without_tensorflow(folder):
    written = write_prepared(folder)
    loaded = "tensorflow" in sys.modules
    for split, (images, labels) in written.items():
        data = cifar10(split)
        np.testing.assert_array_equal(data.inputs, images)
        np.testing.assert_array_equal(data.targets, labels)
        assert data.targets.dtype == np.int32 and data.classes[9] == "truck"
    assert ("tensorflow" in sys.modules) == loaded


def test_the_newest_version_is_taken(folder):
    for version in ("3.0.2", "3.0.10", "2.9.9"):
        write_prepared(folder, version)
    (folder / "cifar10" / "4.0.0.incompleteX").mkdir()
    found = prepared.find_version(folder)
    assert found is not None and found.name == "3.0.10"


def test_prepared_labels_out_of_range(folder):
    write_prepared(folder, label=12)
    text = r"labels 0 to 9 in .*3.0.2, got 12 in record 0 \(30 in all\): .*TFDS prepare it again"
    with pytest.raises(ValueError, match=text):
        cifar10("train")


def test_another_format_says_how_to_prepare_again(folder):
    write_prepared(folder, file_format="tfrecord")
    with pytest.raises(ValueError, match="expected .*3.0.2 in TFDS's format array_record, got ano"):
        cifar10("test")


def test_prepared_data_without_tfds_names_the_extra(folder, monkeypatch):
    write_prepared(folder)
    monkeypatch.setitem(sys.modules, "tensorflow_datasets", None)
    with pytest.raises(
        ImportError, match=r"was prepared by TFDS.*pip install '\.\[tfds\]' in fx's folder"
    ):
        cifar10("test")


class FakeBuilder:
    """The four things that are used of a TFDS builder."""

    def __init__(self, name, file_format):
        assert (name, file_format) == ("cifar10", "array_record")
        self.data_dir, self.prepared = "fake", 0

    def download_and_prepare(self):
        self.prepared += 1

    def as_data_source(self, split):
        assert self.prepared == 1, "read before it was prepared"
        return FakeSource(split)


class FakeSource:
    def __init__(self, split):
        self.count = {"train": 1003, "test": 3}[split]  # more than is read at once

    def __len__(self):
        return self.count

    def __getitems__(self, rows):
        image = np.ones((32, 32, 3), np.uint8)
        return [{"image": image * (row % 256), "label": row % 10} for row in rows]


@pytest.fixture
def online(folder, monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(tfds, "builder", FakeBuilder)
    monkeypatch.setattr(prepared.importlib.util, "find_spec", lambda name: name)
    monkeypatch.setattr(prepared, "_reachable", lambda url, timeout_s: True)


def test_tfds_downloads_what_is_nowhere_else(online):
    data = cifar10("train")
    assert len(data) == 1003 and data.targets[1001] == 1
    assert data.inputs[1001, 0, 0, 0] == 1001 % 256
    assert len(cifar10("test")) == 3


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        (
            "tensorflow_datasets",
            r"tensorflow-datasets is not installed; pip install '\.\[tfds\]' in fx's folder",
        ),
        ("tensorflow", "TFDS prepares CIFAR-10 with TensorFlow, which is not installed"),
        ("network", "https://.*tar.gz did not answer within 5 s"),
    ],
)
def test_why_nothing_was_downloaded(online, monkeypatch, missing, text):
    def find_spec(name):
        return None if name == missing else name

    monkeypatch.setattr(prepared.importlib.util, "find_spec", find_spec)
    monkeypatch.setattr(prepared, "_reachable", lambda url, timeout_s: missing != "network")
    with pytest.raises(FileNotFoundError, match="3. download by TensorFlow Datasets: " + text):
        cifar10()


class Answer(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200 if self.path == "/there" else 404)
        self.end_headers()

    def log_message(self, *_):
        pass


def test_reachability_is_asked_of_a_real_server(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        base = f"http://127.0.0.1:{server.server_port}"
        assert prepared._reachable(base + "/there", 5)
        assert not prepared._reachable(base + "/gone", 5)
    finally:
        server.shutdown()
        server.server_close()
    assert not prepared._reachable(base + "/there", 5)


def test_a_server_that_is_silent_or_talks_nonsense_costs_no_more_than_the_limit(monkeypatch):
    monkeypatch.setenv("no_proxy", "*")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        started = time.monotonic()
        assert not prepared._reachable(url, 0.2)
        assert time.monotonic() - started < 4
        for thread in threading.enumerate():
            if thread.name == "fx-reachable":
                thread.join(5)
                assert not thread.is_alive()

        def babble():
            for _ in range(2):  # the request above is still in the queue
                connection, _ = listening.accept()
                with connection:
                    connection.sendall(b"nonsense\r\n\r\n")

        thread = threading.Thread(target=babble, daemon=True)
        thread.start()
        assert not prepared._reachable(url, 5)
        thread.join()


def test_a_name_server_that_is_silent_costs_no_more_than_the_limit(monkeypatch):
    over = threading.Event()

    def urlopen(*_, **__):
        over.wait(10)
        raise OSError("no such name")

    monkeypatch.setattr(prepared.urllib.request, "urlopen", urlopen)
    started = time.monotonic()
    assert not prepared._reachable("https://example.invalid", 0.1)
    assert time.monotonic() - started < 4
    over.set()
