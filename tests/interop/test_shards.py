import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fx.interop import read_weights, write_weights

WEIGHTS = {f"layer{i}.weight": np.full(250, i, np.float32) for i in range(5)}  # 1,000 bytes each


def write(folder, size=2000, weights=WEIGHTS):
    write_weights(folder / "model.safetensors", weights, max_shard_size=size)
    return folder / "model.safetensors.index.json"


def test_shards_hold_at_most_so_much_and_the_index_finds_them(tmp_path):
    index = write(tmp_path)
    names = [f"model-0000{i}-of-00003.safetensors" for i in (1, 2, 3)]
    assert sorted(p.name for p in tmp_path.iterdir()) == [*names, index.name]
    contents = json.loads(index.read_text())
    assert contents["metadata"] == {"total_size": 5000}
    assert contents["weight_map"]["layer4.weight"] == names[2]
    assert sum(len(load_file(tmp_path / name)) for name in names) == 5
    for path in (index, tmp_path):
        back = read_weights(path)
        assert list(back) == list(WEIGHTS)
        np.testing.assert_array_equal(back["layer3.weight"], WEIGHTS["layer3.weight"])


@pytest.mark.parametrize(("size", "files"), [("2KB", 3), ("0.003 MB", 2), (1, 5), ("5GB", 1)])
def test_sizes(tmp_path, size, files):
    write(tmp_path, size)
    assert len(list(tmp_path.glob("*.safetensors"))) == files
    assert (tmp_path / "model.safetensors").exists() == (files == 1)


@pytest.mark.parametrize("size", ["5 apples", "", 0, -1, "-1GB", True, "1e3"])
def test_wrong_sizes(tmp_path, size):
    with pytest.raises(ValueError, match='max_shard_size in bytes or as "5GB", got'):
        write(tmp_path, size)


def test_what_stood_there_before_goes(tmp_path):
    write(tmp_path, None)
    write(tmp_path, 1000)
    assert len(list(tmp_path.iterdir())) == 6
    write(tmp_path, 2000)
    assert len(list(tmp_path.iterdir())) == 4
    (tmp_path / "model-large.safetensors").write_bytes(b"another model's")
    write(tmp_path, None)
    left = ["model-large.safetensors", "model.safetensors"]
    assert sorted(p.name for p in tmp_path.iterdir()) == left


def test_tied_weights_stand_in_the_index(tmp_path):
    tied = WEIGHTS | {"head.weight": WEIGHTS["layer0.weight"]}
    index = write(tmp_path, weights=tied)
    assert json.loads(index.read_text())["metadata"]["layer0.weight"] == "head.weight"
    back = read_weights(tmp_path)
    assert back.keys() == tied.keys() and back["head.weight"] is back["layer0.weight"]


def test_shards_of_torch(tmp_path):
    for i in (1, 2):
        torch.save({f"w{i}": torch.full((2,), i)}, tmp_path / f"pytorch_model-{i}.bin")
    places = {f"w{i}": f"pytorch_model-{i}.bin" for i in (1, 2)}
    index = tmp_path / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": places}))
    assert {name: w.tolist() for name, w in read_weights(tmp_path).items()} == {
        "w1": [1, 1], "w2": [2, 2]
    }  # fmt: skip


def test_a_folder_with_one_file(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "best.pt")
    assert list(read_weights(tmp_path)) == ["a"]
    torch.save({"a": torch.ones(2)}, tmp_path / "last.pt")
    with pytest.raises(ValueError, match=r"got best.pt, last.pt; name the file"):
        read_weights(tmp_path)


@pytest.mark.parametrize(
    "place", ["../secret.safetensors", "/etc/passwd", "a/b.safetensors", "..", "", "x.index.json"]
)
def test_an_index_leads_nowhere_else(tmp_path, place):
    (tmp_path / "secret.safetensors").write_bytes(b"")
    folder = tmp_path / "model"
    folder.mkdir()
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": place}}))
    with pytest.raises(ValueError, match="expected files of weights beside the index"):
        read_weights(index)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", 'expected "weight_map"'),
        ('{"weight_map": {"a": 1}}', 'expected "weight_map"'),
        ('{"hidden_size": 768}', "name the file that holds the weights"),
    ],
)
def test_what_is_no_index_is_named(tmp_path, text, match):
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(ValueError, match=match):
        read_weights(tmp_path / "config.json")


def test_missing_shards_and_names(tmp_path):
    index = write(tmp_path)
    contents = json.loads(index.read_text())
    contents["weight_map"]["gone"] = "model-00001-of-00003.safetensors"
    index.write_text(json.dumps(contents))
    with pytest.raises(ValueError, match="names what is not there: gone in model-00001-of-00003"):
        read_weights(index)
    (tmp_path / "model-00002-of-00003.safetensors").unlink()
    with pytest.raises(FileNotFoundError, match="names 3 files, of which model-00002-of-00003.saf"):
        read_weights(index)
