import collections
import tracemalloc
import zipfile

import numpy as np
import pytest
import torch

import fx
from fx import nn
from fx.interop import read_torch, read_weights
from fx.interop.plain_pickle import _DTYPES
from fx.interop.torch_arrays import tensor_array

FORMATS = pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])


def save(value, path, zipped=True, **options):
    torch.save(value, path, _use_new_zipfile_serialization=zipped, **options)
    return path


def same(ours, theirs):
    theirs = tensor_array(theirs, "test")
    assert ours.dtype == theirs.dtype and ours.shape == theirs.shape
    assert ours.tobytes() == theirs.tobytes()


@FORMATS
def test_a_model_loads(tmp_path, zipped):
    def build(lib):
        return lib.Sequential(lib.Conv2d(3, 4, 3), lib.BatchNorm2d(4), lib.Flatten())

    twin, model = build(torch.nn), build(nn)
    weights = read_weights(save(twin.state_dict(), tmp_path / "model.pth", zipped))
    assert list(weights) == list(twin.state_dict())
    params, state = fx.load_state_dict(model, weights)
    x = torch.randn(2, 3, 3, 3)
    np.testing.assert_allclose(
        model.apply(params, state, x.numpy())[0], twin.eval()(x).detach(), atol=1e-5
    )


@FORMATS
@pytest.mark.parametrize("name", sorted(_DTYPES))
def test_every_dtype(tmp_path, name, zipped):
    dtype = getattr(torch, name)
    if name.startswith("float8") and not zipped:
        pytest.skip("torch itself writes no float8 in the old format")
    tensor = torch.tensor([0, 1, 2, 4]).to(dtype)
    same(read_weights(save({"a": tensor}, tmp_path / "w", zipped))["a"], tensor)


@FORMATS
@pytest.mark.parametrize("mmap", [True, False])
def test_views_strides_and_shapes(tmp_path, zipped, mmap):
    base = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    tensors = {
        "whole": base, "rows": base[1:3], "columns": base[:, ::2], "transposed": base.T,
        "scalar": base[2, 3], "none": base[:0], "expanded": torch.ones(1).expand(3, 5),
        "parameter": torch.nn.Parameter(base[0]), "odd": torch.arange(7).bool()[1:],
        "bytes": torch.arange(3, dtype=torch.uint8), "after": torch.arange(5.0).double(),
    }  # fmt: skip
    weights = read_weights(save(tensors, tmp_path / "w", zipped), mmap=mmap)
    assert list(weights) == list(tensors)
    for name, tensor in tensors.items():
        same(weights[name], tensor)
        assert weights[name].flags.aligned


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_protocols(tmp_path, protocol):
    weights = {"x" * 300: torch.ones(2), "é": torch.zeros(1)}
    back = read_weights(save(weights, tmp_path / "w", pickle_protocol=protocol))
    assert list(back) == list(weights)


def test_names_that_share_a_tensor_share_an_array(tmp_path):
    tied = torch.ones(3)
    back = read_weights(save({"a": tied, "b": tied, "c": torch.ones(3)}, tmp_path / "w"))
    assert back["a"] is back["b"] and back["a"] is not back["c"]


def test_the_file_is_mapped_and_read_only(tmp_path):
    path = save({"a": torch.ones(3)}, tmp_path / "w")
    with pytest.raises(ValueError, match="read-only"):
        read_weights(path)["a"][0] = 2
    view = read_weights(path)["a"]
    while not isinstance(view, np.memmap):
        view = view.base  # ends in an error where there is no mapped file below


@FORMATS
def test_the_whole_of_a_checkpoint(tmp_path, zipped):
    model = torch.nn.Linear(2, 2)
    optimizer = torch.optim.Adam(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    saved = {
        "epoch": 7, "lr": 0.1, "name": "a", "none": None, "sizes": [torch.Size([2, 3]), (1, True)],
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "big": 2**40,
        "device": torch.device("cpu"), "dtype": torch.float32, "raw": b"\x00\xff",
        "milestones": collections.Counter([30, 60]),
    }  # fmt: skip
    back = read_torch(save(saved, tmp_path / "c.pt", zipped))
    assert list(back) == list(saved) and str(back["dtype"]) == "torch.float32"
    for name in ("epoch", "lr", "name", "none", "big", "milestones"):
        assert back[name] == saved[name]
    assert back["sizes"] == [(2, 3), (1, True)] and back["device"] == "cpu"
    same(back["optimizer"]["state"][0]["exp_avg"], optimizer.state[model.weight]["exp_avg"])
    same(read_weights(tmp_path / "c.pt", key="model")["bias"], model.bias)


def test_a_checkpoint_says_how_to_choose(tmp_path):
    flat = {"fc.weight": torch.ones(2)}
    nested = {"epoch": 1, "state_dict": flat, "ema": {"model": flat, "decay": 0.9}}
    path = save(nested, tmp_path / "c.pt")
    with pytest.raises(ValueError) as error:
        read_weights(path)
    for text in (
        "c.pt is not a flat dict of arrays; it holds 'epoch' (int), 'state_dict' (1 arrays)",
        "choose with key='state_dict' or ('ema', 'model')",
        "fx.interop.read_torch(path) gives all",
    ):
        assert text in str(error.value)
    assert list(read_weights(path, key="state_dict")) == ["fc.weight"]
    assert list(read_weights(path, key=("ema", "model"))) == ["fc.weight"]
    with pytest.raises(ValueError, match=r"has no 'model' in it; it holds 'epoch' \(int\)"):
        read_weights(path, key="model")
    with pytest.raises(ValueError, match="is not a flat dict of arrays.*it holds a list; no dict"):
        read_weights(save([torch.ones(1)], tmp_path / "l.pt"))
    assert read_weights(save({}, tmp_path / "e.pt")) == {}


def test_key_is_for_torch_only(tmp_path):
    fx.write_weights(tmp_path / "w", {"a": np.ones(1)})
    with pytest.raises(ValueError, match="key='model' is for checkpoints of PyTorch"):
        read_weights(tmp_path / "w", key="model")


def test_special_tensors_are_refused(tmp_path):
    conjugate = torch.ones(2, dtype=torch.complex64).conj()
    with pytest.raises(ValueError, match="lazily conjugated; save tensor.resolve_conj"):
        read_weights(save({"a": conjugate}, tmp_path / "c"))
    with pytest.raises(ValueError, match="asks for torch._utils._rebuild_sparse_tensor"):
        read_weights(save({"a": torch.eye(2).to_sparse()}, tmp_path / "s"))
    with pytest.raises(ValueError, match="asks for torch._utils._rebuild_meta_tensor_no_storage"):
        read_weights(save({"a": torch.ones(2, device="meta")}, tmp_path / "m"))


def test_a_whole_model_is_refused_and_says_what_to_do(tmp_path):
    with pytest.raises(ValueError, match=r"torch.nn.modules.linear.Linear, which is code; if you"):
        read_weights(save(torch.nn.Linear(1, 1), tmp_path / "model.pt"))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_named(tmp_path):
    torch.jit.script(torch.nn.Linear(1, 1)).save(tmp_path / "model.pt")
    with pytest.raises(ValueError, match="it is a program of TorchScript, which is code"):
        read_weights(tmp_path / "model.pt")


def test_numbers_of_other_machines(tmp_path):
    """A file written on a big-endian machine, made here by hand."""
    values = [1.0, 2.0]
    tensors = [torch.tensor(values), torch.tensor(values).bfloat16(), torch.tensor([1 + 2j])]
    save(dict(zip("abc", tensors)), tmp_path / "w")
    with zipfile.ZipFile(tmp_path / "w") as old, zipfile.ZipFile(tmp_path / "big", "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if "/data/" in name:
                width = "u2" if name.endswith("1") else "u4"
                data = np.frombuffer(data, width).byteswap().tobytes()
            new.writestr(name, b"big" if name.endswith("byteorder") else data)
    for ours, theirs in zip(read_weights(tmp_path / "big").values(), tensors):
        same(ours, theirs)


def test_a_large_file_takes_no_memory(tmp_path):
    path = save({"a": torch.zeros(2**22), "b": torch.zeros(2**22)}, tmp_path / "w")
    tracemalloc.start()
    try:
        weights = read_weights(path)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()
    assert weights["b"].nbytes == 2**24
