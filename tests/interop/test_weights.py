import json

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from fx.interop.weights import DTYPES, read_weights, write_weights


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


TORCH = [torch.float32, torch.bfloat16, torch.float16, torch.int64, torch.uint8, torch.bool]


@pytest.mark.parametrize("dtype", TORCH, ids=str)
def test_torch_reads_what_we_write_and_we_read_what_torch_writes(tmp_path, dtype):
    tensor = torch.arange(6).reshape(3, 2).to(dtype)
    save_file({"fc.weight": tensor}, tmp_path / "torch.safetensors")
    ours = read_weights(tmp_path / "torch.safetensors")
    write_weights(tmp_path / "ours.safetensors", ours)
    back = load_file(tmp_path / "ours.safetensors")["fc.weight"]
    assert back.dtype == dtype and torch.equal(back, tensor)


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


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "w.safetensors"
    write_weights(path, {"a": np.ones(2, np.float32)})
    old = path.read_bytes()

    def full(arrays, filename):
        filename.write_bytes(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr("fx.interop.weights.save_file", full)
    with pytest.raises(OSError, match="No space left"):
        write_weights(path, {"a": np.zeros(2, np.float32)})
    assert path.read_bytes() == old and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("weights", "kind", "text"),
    [
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
    with pytest.raises(ValueError, match="got the folder .*weights.safetensors"):
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


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_of_torch_save_says_what_to_do(tmp_path, zipped):
    path = tmp_path / "model.pth"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"model.pth is a zip archive or a pickle.*save_file"):
        read_weights(path)


def test_a_header_of_128_bytes_does_not_pass_for_a_pickle(tmp_path):
    for length in range(20, 130):  # some header among these begins with pickle's byte 0x80
        write_weights(tmp_path / "w", {"a" * length: np.ones(1, np.float32)})
        assert read_weights(tmp_path / "w").keys() == {"a" * length}


def test_git_lfs_pointer(tmp_path):
    (tmp_path / "w").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(ValueError, match="git lfs pull"):
        read_weights(tmp_path / "w")


def test_float8_is_named_on_reading(tmp_path):
    save_file({"a": torch.ones(2).to(torch.float8_e4m3fn)}, tmp_path / "w")
    with pytest.raises(ValueError, match="a type that NumPy does not have.*float8"):
        read_weights(tmp_path / "w")


@pytest.mark.parametrize("offsets", [[0, 2**40], [4, 0], [-4, 4], [0, 3]])
def test_headers_that_lie_are_refused(tmp_path, offsets):
    head = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": offsets}})
    (tmp_path / "w").write_bytes(len(head).to_bytes(8, "little") + head.encode() + bytes(4))
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        read_weights(tmp_path / "w")
