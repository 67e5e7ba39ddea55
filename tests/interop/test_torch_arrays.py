import chex
import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
import torch

import fx
from fx import nn
from fx.interop import from_torch, to_torch
from fx.interop.safetensors_file import DTYPES

NAMES = [*sorted(DTYPES), "complex128"]


@pytest.mark.parametrize("name", NAMES)
def test_every_dtype_goes_both_ways(name):
    value = np.array([[0, 1], [2, 4]]).astype(np.dtype(getattr(ml_dtypes, name, name)))
    tensor = to_torch({"a": value})["a"]
    assert tensor.dtype == getattr(torch, name) and tuple(tensor.shape) == (2, 2)
    np.testing.assert_array_equal(
        tensor.to(torch.complex128).numpy(), value.astype(np.complex128), strict=True
    )
    back = from_torch({"a": tensor})["a"]
    assert back.dtype == value.dtype and back.tobytes() == value.tobytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
def test_a_model_goes_both_ways(dtype):
    build = lambda lib: lib.Sequential(lib.Conv1d(2, 3, 1), lib.BatchNorm1d(3))
    model, twin = build(nn), build(torch.nn).to(dtype)
    params, state = fx.load_state_dict(model, from_torch(twin.state_dict()))
    other = build(torch.nn).to(dtype)
    other.load_state_dict(to_torch(fx.state_dict(model, params, state)))
    for name, tensor in twin.state_dict().items():
        assert torch.equal(other.state_dict()[name], tensor), name
    chex.assert_trees_all_equal(fx.load_state_dict(model, twin.state_dict()), (params, state))


def test_float8_tensors_load_where_a_model_declares_them():
    class Table(nn.Module):
        def __init__(self):
            self.table = nn.Buffer((4,), nn.init.zeros, jnp.float8_e4m3fn)

    tensor = torch.tensor([0.5, 1, 2, 448]).to(torch.float8_e4m3fn)
    _, state = fx.load_state_dict(Table(), {"table": tensor})
    assert state["table"].astype(jnp.float32).tolist() == [0.5, 1, 2, 448]


def test_memory_is_never_shared():
    array, tensor = np.ones(3, np.float32), torch.ones(3)
    to_torch({"a": array})["a"].zero_()
    ours = from_torch({"a": tensor})["a"]
    tensor.zero_()
    assert array.tolist() == ours.tolist() == [1, 1, 1]
    leaf = jnp.ones(3)
    to_torch({"a": leaf})["a"].zero_()
    assert leaf.tolist() == [1, 1, 1]


def test_shared_names_stay_shared():
    tied = torch.ones(2)
    ours = from_torch({"a": tied, "b": tied, "c": tied[:1], "d": torch.ones(2)})
    assert ours["a"] is ours["b"] and ours["a"] is not ours["d"] and ours["c"].shape == (1,)
    theirs = to_torch({"a": ours["a"], "b": ours["b"]} | dict.fromkeys("cd", jnp.zeros(1)))
    assert theirs["a"] is theirs["b"] and theirs["c"] is theirs["d"]


def test_layouts():
    base = torch.arange(6.0).reshape(2, 3)
    np.testing.assert_array_equal(from_torch({"a": base.T})["a"], base.T.numpy())
    assert to_torch({"a": np.ones((2, 3), ">f4")})["a"].dtype == torch.float32
    assert to_torch({"a": np.float32(2)})["a"].shape == ()
    conjugate = torch.tensor([1 + 2j]).conj()
    assert from_torch({"a": conjugate})["a"].tolist() == [1 - 2j]
    leaf = torch.ones(2, requires_grad=True)
    assert from_torch({"a": leaf})["a"].tolist() == [1, 1]


@pytest.mark.parametrize(
    ("call", "value", "text"),
    [
        (from_torch, {"a": np.ones(1)}, 'from_torch "a": expected a tensor of PyTorch, got ndarr'),
        (from_torch, {"a": torch.eye(2).to_sparse()}, 'from_torch "a": expected a dense tensor'),
        (
            from_torch,
            {"a": torch.ones(1, device="meta")},
            "got torch.strided torch.float32 on meta",
        ),
        (from_torch, torch.nn.Linear(1, 1), "expected a flat dict of arrays by name, got Linear"),
        (to_torch, {"a": torch.ones(1)}, 'to_torch "a": expected an array of JAX or NumPy, got Te'),
        (to_torch, {"a": [1.0]}, 'to_torch "a": expected an array of JAX or NumPy, got list'),
        (to_torch, {"a": {"b": np.ones(1)}}, 'to_torch "a": expected an array'),
        (to_torch, {"a": np.array(["x"])}, 'to_torch "a": torch has no dtype str'),
        (to_torch, {"a": jax.random.key(0)}, 'to_torch "a": torch has no dtype key<fry>'),
        (to_torch, (np.ones(1),), "expected a flat dict of arrays by name, got tuple"),
    ],
)
def test_what_cannot_go_is_named(call, value, text):
    with pytest.raises(TypeError, match=text):
        call(value)
