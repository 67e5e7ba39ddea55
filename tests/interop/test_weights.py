import errno
import json
import os
import tracemalloc

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.numpy import save_file as reference
from safetensors.torch import load_file, load_model, save_file, save_model

import fx
from fx import nn
from fx.interop.safetensors_file import DTYPES
from fx.interop.weights import read_weights, write_weights


def same(a, b):
    assert a.dtype == b.dtype and a.shape == b.shape
    assert a.tobytes() == b.tobytes()


@pytest.mark.parametrize("dtype", sorted(DTYPES))
def test_round_trip_of_every_dtype(tmp_path, dtype):
    value = np.arange(6).reshape(2, 3).astype(np.dtype(getattr(ml_dtypes, dtype, dtype)))
    write_weights(tmp_path / "w.safetensors", {"a.weight": value})
    same(read_weights(tmp_path / "w.safetensors")["a.weight"], value)


def test_scalars_empty_and_no_arrays(tmp_path):
    weights = {"n": np.int64(2**40), "none": np.zeros((0, 3), np.float32), "": np.float32(1)}
    write_weights(tmp_path / "w", weights)
    back = read_weights(tmp_path / "w")
    assert back.keys() == weights.keys() and back["n"].shape == () and back["n"] == 2**40
    write_weights(tmp_path / "w", {})
    assert read_weights(tmp_path / "w") == {}


def test_memory_layout_and_byte_order_do_not_matter(tmp_path):
    value = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    views = {"t": value.transpose(2, 0, 1), "s": value[:, ::2], "big": value.astype(">f4")}
    write_weights(tmp_path / "w", views)
    back = read_weights(tmp_path / "w")
    for name, view in views.items():
        np.testing.assert_array_equal(back[name], view)


def test_jax_arrays_and_the_dict_stay(tmp_path):
    weights = {"b": jnp.ones((2, 2), jnp.bfloat16), "a": jnp.arange(3, dtype=jnp.int32)}
    write_weights(tmp_path / "w", weights)
    assert list(weights) == ["b", "a"] and isinstance(weights["b"], jax.Array)
    assert jnp.asarray(read_weights(tmp_path / "w")["b"]).dtype == jnp.bfloat16


def test_bytes_are_a_function_of_the_contents(tmp_path):
    a, b = np.ones(3, np.float32), np.zeros(2, np.int32)
    write_weights(tmp_path / "1", {"a": a, "b": b})
    write_weights(tmp_path / "2", {"b": b, "a": a})
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


TORCH = [getattr(torch, name) for name in DTYPES]
FLOAT8 = [getattr(torch, name) for name in DTYPES if name.startswith("float8")]


@pytest.mark.parametrize("dtype", TORCH, ids=str)
def test_torch_reads_what_we_write_and_we_read_what_torch_writes(tmp_path, dtype):
    tensor = torch.arange(6).reshape(3, 2).to(dtype)
    save_file({"fc.weight": tensor}, tmp_path / "torch.safetensors")
    ours = read_weights(tmp_path / "torch.safetensors")
    write_weights(tmp_path / "ours.safetensors", ours)
    back = load_file(tmp_path / "ours.safetensors")["fc.weight"]
    assert back.dtype == dtype and torch.equal(back.view(torch.uint8), tensor.view(torch.uint8))


@pytest.mark.parametrize("dtype", FLOAT8, ids=str)
def test_float8_has_the_values_of_torch(tmp_path, dtype):
    tensor = torch.tensor([0.5, 1.0, 2.0, 4.0]).to(dtype)
    save_file({"a": tensor}, tmp_path / "w")
    values = read_weights(tmp_path / "w")["a"].astype(np.float32)
    np.testing.assert_array_equal(values, tensor.float().numpy())


@settings(max_examples=25, deadline=None)
@given(
    st.dictionaries(
        st.text(max_size=12).filter(lambda name: name != "__metadata__"),
        st.lists(st.integers(0, 3), max_size=3),
        max_size=4,
    )
)
def test_any_names_and_shapes_come_back(tmp_path_factory, shapes):
    path = tmp_path_factory.mktemp("w") / "w.safetensors"
    weights = {name: np.full(shape, 0.5, np.float32) for name, shape in shapes.items()}
    write_weights(path, weights)
    back = read_weights(path)
    assert back.keys() == weights.keys()
    for name in weights:
        same(back[name], weights[name])


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "w.safetensors"
    write_weights(path, {"a": np.ones(2, np.float32)})
    old = path.read_bytes()

    class Lost:  # as an array on a device that has gone away
        shape, dtype = (2,), np.dtype(np.float32)

        def __array__(self, *args, **kwargs):
            raise OSError("No space left on device")

    with pytest.raises(OSError, match="No space left"):
        write_weights(path, {"a": np.zeros(2, np.float32), "b": Lost()})
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("shards", [None, 4])
@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("missing/w.safetensors", FileNotFoundError, "; make the folder {}/missing first"),
        ("file/w.safetensors", NotADirectoryError, "; {}/file is a file; choose a folder"),
        ("folder", IsADirectoryError, "; it is a folder: give a file in it, as {}/folder/model.s"),
    ],
)
def test_a_path_that_cannot_be_written_to_is_named(tmp_path, name, kind, text, shards):
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    text = rf"write_weights: expected .* written to, but {tmp_path}/{name} cannot \(.*\){text}"
    with pytest.raises(kind, match=text.format(tmp_path)):
        write_weights(tmp_path / name, {"a": np.ones(1), "b": np.ones(1)}, max_shard_size=shards)
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["file", "folder"]


def test_a_full_disk_names_the_path_too(tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device", source)

    monkeypatch.setattr(os, "replace", full)
    text = f"but {tmp_path}/w.safetensors cannot .No space left on device.; choose another folder"
    with pytest.raises(OSError, match=text):
        write_weights(tmp_path / "w.safetensors", {"a": np.ones(1)})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("weights", "kind", "text"),
    [
        ("w.pth", TypeError, r"write_weights: expected a flat dict.*fx.read_weights\('w.pth'\)"),
        ({1: np.ones(2)}, TypeError, "names that are strings, got 1"),
        ({"__metadata__": np.ones(2)}, ValueError, "keeps the name '__metadata__'"),
        ({"fc": {"weight": np.ones(2)}}, TypeError, '"fc": expected an array, got a dict; flatten'),
        ({"x": [1.0]}, TypeError, '"x": expected an array, got list; wrap it'),
        ({"x": np.array([None])}, TypeError, '"x": expected one of bfloat16.*got object'),
        ({"x": np.ones(1, complex)}, TypeError, '"x": expected one of.*got complex128'),
        ({"x": np.array(["a"])}, TypeError, '"x": expected one of.*got <U1'),
        ({"k": jax.random.key(0)}, TypeError, '"k": expected one of.*got key<fry>.*key_data'),
    ],
)
def test_what_cannot_be_written_is_named(tmp_path, weights, kind, text):
    with pytest.raises(kind, match=text):
        write_weights(tmp_path / "w", weights)
    assert not list(tmp_path.iterdir())


def test_missing_file_and_folder(tmp_path):
    with pytest.raises(FileNotFoundError, match="read_weights: no file at .*gone"):
        read_weights(tmp_path / "gone")
    with pytest.raises(ValueError, match="in the folder .* got no file of weights; name the file"):
        read_weights(tmp_path)


@pytest.mark.parametrize("cut", [0, 4, 20, -1])
def test_a_cut_file_is_named(tmp_path, cut):
    path = tmp_path / "w.safetensors"
    write_weights(path, {"a": np.ones(5, np.float32)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match=r"w.safetensors \(\d+ bytes\) is not a whole safetensors"):
        read_weights(path)


@pytest.mark.parametrize("text", [b"hello", b"\xff" * 100, b'{"a": 1}', b"\0" * 64])
def test_garbage_is_named(tmp_path, text):
    (tmp_path / "w").write_bytes(text)
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        read_weights(tmp_path / "w")


def test_a_header_of_128_bytes_does_not_pass_for_a_pickle(tmp_path):
    for length in range(20, 130):  # some header among these begins with pickle's byte 0x80
        write_weights(tmp_path / "w", {"a" * length: np.ones(1, np.float32)})
        assert read_weights(tmp_path / "w").keys() == {"a" * length}


def test_git_lfs_pointer(tmp_path):
    (tmp_path / "w").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ValueError, match="git lfs pull"):
        read_weights(tmp_path / "w")


def test_a_type_without_a_numpy_dtype_is_named(tmp_path):
    save_file({"a": torch.zeros(2, dtype=torch.uint8).view(torch.float4_e2m1fn_x2)}, tmp_path / "w")
    with pytest.raises(ValueError, match='"a" has the type F4, which NumPy does not have; convert'):
        read_weights(tmp_path / "w")


@pytest.mark.parametrize("offsets", [[0, 2**40], [4, 0], [-4, 4], [0, 3]])
def test_headers_that_lie_are_refused(tmp_path, offsets):
    head = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": offsets}})
    (tmp_path / "w").write_bytes(len(head).to_bytes(8, "little") + head.encode() + bytes(4))
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        read_weights(tmp_path / "w")


def test_the_bytes_are_those_of_the_formats_own_library(tmp_path):
    weights = {"b": np.ones((2, 3), np.float32), "a": np.arange(3, dtype=np.int8), "é": np.eye(2)}
    write_weights(tmp_path / "ours", weights)
    reference(weights, tmp_path / "theirs", {"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_arrays_are_pages_of_the_file_unless_asked_otherwise(tmp_path):
    path = tmp_path / "w"
    write_weights(path, {"a": np.ones(4, np.float32)})
    mapped, copied = read_weights(path)["a"], read_weights(path, mmap=False)["a"]
    write_weights(path, {"a": np.zeros(4, np.float32)})  # replaces the file; the old one stays open
    np.testing.assert_array_equal(mapped, np.ones(4))
    assert not mapped.flags.writeable and copied.flags.writeable
    with path.open("r+b") as file:  # written into: the next reader of its pages sees it
        mapped = read_weights(path)["a"]
        file.seek(-4, 2)
        file.write(np.float32(7).tobytes())
    assert mapped[3] == 7


def test_reading_allocates_no_memory_for_the_numbers(tmp_path):
    write_weights(tmp_path / "w", {"a": np.zeros(2**22, np.float32)})
    tracemalloc.start()
    try:
        weights = read_weights(tmp_path / "w")
        assert tracemalloc.get_traced_memory()[1] < 2**20 and weights["a"].nbytes == 2**24
    finally:
        tracemalloc.stop()


def test_a_byte_that_is_no_bool_is_true(tmp_path):
    write_weights(tmp_path / "w", {"a": np.array([True, False])})
    text = (tmp_path / "w").read_bytes()
    (tmp_path / "w").write_bytes(text[:-2] + b"\x07\x00")
    assert (read_weights(tmp_path / "w")["a"].view(np.uint8) == [1, 0]).all()


def test_tensors_of_torch_are_written_too(tmp_path):
    twin = torch.nn.Linear(2, 3, dtype=torch.bfloat16)
    write_weights(tmp_path / "w", twin.state_dict())
    back = load_file(tmp_path / "w")
    assert all(torch.equal(back[name], value) for name, value in twin.state_dict().items())


def test_tied_weights_are_written_once(tmp_path):
    class Language(nn.Module):
        def __init__(self):
            self.embed, self.head = nn.Embedding(5, 4), nn.Linear(4, 5)
            nn.tie(self, "head.weight", "embed.weight")

    weights = fx.state_dict(Language(), *Language().init(jax.random.key(0)))
    write_weights(tmp_path / "w", weights)
    with safe_open(tmp_path / "w", "pt") as file:
        assert sorted(file.keys()) == ["embed.weight", "head.bias"]
        assert file.metadata() == {"format": "pt", "head.weight": "embed.weight"}
    back = read_weights(tmp_path / "w")
    assert back.keys() == weights.keys() and back["head.weight"] is back["embed.weight"]


def test_tied_weights_go_both_ways_with_torch(tmp_path):
    def twin():
        model = torch.nn.ModuleDict({"e": torch.nn.Linear(3, 3), "h": torch.nn.Linear(3, 3)})
        model["h"].weight = model["e"].weight
        return model

    first, second = twin(), twin()
    save_model(first, tmp_path / "theirs")
    write_weights(tmp_path / "ours", read_weights(tmp_path / "theirs"))
    load_model(second, tmp_path / "ours")
    assert torch.equal(first["h"].weight, second["h"].weight)
    assert (tmp_path / "ours").stat().st_size < 3 * 9 * 4 + 500


def test_a_path_of_another_format_is_refused(tmp_path):
    with pytest.raises(ValueError, match='expected a path for safetensors, got ".*model.pth"'):
        write_weights(tmp_path / "model.pth", {"a": np.ones(2)})
    assert not list(tmp_path.iterdir())
