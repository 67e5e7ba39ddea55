from functools import partial
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

import fx
from fx import nn

KEY = jax.random.key(0)


def build(lib):
    return lib.Sequential(lib.Conv2d(3, 4, 3), lib.BatchNorm2d(4), lib.Flatten(), lib.Linear(4, 2))


def test_names_order_and_shapes_are_torchs():
    model, twin = build(nn), build(torch.nn)
    ours = fx.state_dict(model, *model.init(KEY))
    theirs = twin.state_dict()
    assert list(ours) == list(theirs)
    assert [tuple(a.shape) for a in ours.values()] == [tuple(a.shape) for a in theirs.values()]


def test_round_trips_through_torch():
    model, twin = build(nn), build(torch.nn)
    params, state = fx.load_state_dict(model, twin.state_dict())
    back = {
        n: torch.from_numpy(np.array(a)) for n, a in fx.state_dict(model, params, state).items()
    }
    twin.load_state_dict(back)
    again = fx.load_state_dict(model, twin.state_dict())
    chex.assert_trees_all_equal(again, (params, state))
    chex.assert_trees_all_equal_structs(again, model.init(KEY))


def test_gradients_in_place_of_params():
    model = build(nn)
    params, state = model.init(KEY)
    grads = jax.grad(lambda p: model.apply(p, state, jnp.ones((2, 3, 3, 3)))[0].sum())(params)
    assert list(fx.state_dict(model, grads)) == [
        "0.weight", "0.bias", "1.weight", "1.bias", "3.weight", "3.bias",
    ]  # fmt: skip


def test_everything_wrong_is_listed_at_once():
    model = build(nn)
    sd = dict(fx.state_dict(model, *model.init(KEY)))
    del sd["0.weight"]
    sd |= {"1.bias": np.ones(5, np.float32), "extra": np.ones(1), "3.bias": np.ones(2, np.int32)}
    sd["3.weight"] = np.ones((2, 4), np.float64)
    with pytest.raises(ValueError) as error:
        fx.load_state_dict(model, sd)
    for line in (
        "the weights do not fit Sequential",
        "missing: 0.weight [4, 3, 3, 3]",
        "1.bias: expected the shape (4,), got (5,)",
        "unexpected: extra",
        "3.bias: expected the dtype float32, got int32",
        "3.weight: expected the dtype float32, got float64, which would be rounded; pass dtype=",
    ):
        assert line in str(error.value)


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.module."])
def test_what_a_wrapper_puts_in_front_is_named(prefix, strict):
    model = build(nn)
    sd = fx.state_dict(model, *model.init(KEY))
    wrapped = {f"{prefix}{name}": value for name, value in sd.items()}
    with pytest.raises(ValueError, match=f'every name begins with "{prefix}", .*removeprefix'):
        fx.load_state_dict(model, wrapped, strict=strict)
    fx.load_state_dict(model, {n.removeprefix(prefix): a for n, a in wrapped.items()})
    with pytest.raises(ValueError) as error:
        fx.load_state_dict(model, {"a.b": np.ones(1), "a.c": np.ones(1)})
    assert "begins with" not in str(error.value)


def test_strict_is_a_bool():
    with pytest.raises(TypeError, match="expected strict to be True or False, got 'no'"):
        fx.load_state_dict(nn.Linear(1, 1), {}, strict="no")  # pyright: ignore


def test_not_strict_fills_and_passes_over():
    model = build(nn)
    sd = dict(fx.state_dict(model, *model.init(jax.random.key(5))))
    weight = sd.pop("0.weight")
    params, _ = fx.load_state_dict(model, {**sd, "extra": weight}, strict=False)
    chex.assert_trees_all_equal(params["0"]["weight"], model.init(KEY)[0]["0"]["weight"])
    chex.assert_trees_all_equal(params["3"]["bias"], sd["3.bias"])
    with pytest.raises(ValueError, match="leave out of the dict .*\n  0.bias: expected the shape"):
        fx.load_state_dict(model, {**sd, "0.bias": np.ones(9)}, strict=False)
    other = {f"layer{name}": value for name, value in sd.items()}
    with pytest.raises(
        ValueError, match=r"no name is one of the model's: layer0.bias, .*\.\.\. came, 0"
    ):
        fx.load_state_dict(model, other, strict=False)
    filled, _ = fx.load_state_dict(model, {}, strict=False)
    chex.assert_trees_all_equal(filled, model.init(KEY)[0])


def test_not_strict_says_what_did_not_fit_as_torch_does():
    model, twin = build(nn), build(torch.nn)
    sd = {name: array for name, array in twin.state_dict().items() if not name.startswith("1.")}
    sd = {"other.weight": torch.ones(2), **sd, "0.scale": torch.ones(2)}
    loaded, expected = fx.load_state_dict(model, sd, False), twin.load_state_dict(sd, False)
    assert loaded.missing_keys == expected.missing_keys
    assert loaded.unexpected_keys == expected.unexpected_keys == ["other.weight", "0.scale"]
    moved = jax.device_put(loaded)
    assert isinstance(moved, tuple) and moved.missing_keys == loaded.missing_keys
    chex.assert_trees_all_equal(moved[0], loaded[0])
    assert type(fx.load_state_dict(model, twin.state_dict())) is tuple
    tied = fx.load_state_dict(Tied(), {}, strict=False)
    assert tied.missing_keys == list(fx.state_dict(Tied(), *tied)) and not tied.unexpected_keys


def test_dtypes():
    model, twin = nn.Linear(2, 2), torch.nn.Linear(2, 2)
    half = fx.load_state_dict(model, twin.bfloat16().state_dict())[0]
    assert half["weight"].dtype == jnp.float32
    np.testing.assert_array_equal(half["weight"], twin.weight.detach().float().numpy())
    kept = fx.load_state_dict(model, twin.state_dict(), dtype=jnp.bfloat16)[0]
    assert kept["bias"].dtype == jnp.bfloat16
    rounded = fx.load_state_dict(model, twin.double().state_dict(), dtype=jnp.float32)[0]
    assert rounded["bias"].dtype == jnp.float32


def test_a_counter_that_does_not_fit_is_an_error():
    model = nn.BatchNorm1d(2)
    sd = dict(fx.state_dict(model, *model.init(KEY)))
    with pytest.raises(ValueError, match="num_batches_tracked: a value does not fit int32"):
        fx.load_state_dict(model, {**sd, "num_batches_tracked": np.array(2**40)})


def test_a_file_of_before_torch_counted_batches_loads():
    model = nn.Stack(nn.BatchNorm1d(2), 3)
    params, state = model.init(KEY)
    weights = fx.state_dict(model, params, state)
    old = {name: a for name, a in weights.items() if not name.endswith("num_batches_tracked")}
    assert len(old) == len(weights) - 3
    chex.assert_trees_all_equal(fx.load_state_dict(model, old), (params, state))
    with pytest.raises(ValueError, match=r"missing: 1\.running_var"):
        fx.load_state_dict(model, {n: a for n, a in old.items() if n != "1.running_var"})


def test_buffers_that_are_not_persistent_stay_out():
    class Cached(nn.Module):
        def __init__(self):
            self.cache = nn.Buffer((2,), nn.init.ones, persistent=False)
            self.kept = nn.Buffer((2,), nn.init.zeros)

    params, state = Cached().init(KEY)
    sd = fx.state_dict(Cached(), params, state)
    assert list(sd) == ["kept"]
    chex.assert_trees_all_equal(fx.load_state_dict(Cached(), sd)[1], state)
    assert fx.load_state_dict(Cached(), {}, strict=False).missing_keys == ["kept"]


def test_weights_do_not_share_memory_with_torch():
    model, twin = nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    _, state = fx.load_state_dict(model, twin.state_dict())
    twin.train()(torch.ones(3, 2) * 5)
    np.testing.assert_array_equal(state["running_mean"], np.zeros(2))


class Tied(nn.Module):
    def __init__(self):
        self.embed, self.head = nn.Linear(3, 3), nn.Linear(3, 3)
        nn.tie(self, "head.weight", "embed.weight")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("name", ["embed.weight", "head.weight"])
def test_one_name_of_a_tied_weight_is_enough(name, strict):
    given = {name: np.full((3, 3), 7, np.float32)}
    biases = {"embed.bias": np.zeros(3, np.float32), "head.bias": np.zeros(3, np.float32)}
    params, _ = fx.load_state_dict(Tied(), {**given, **biases}, strict)
    np.testing.assert_array_equal(params["embed"]["weight"], given[name])
    with pytest.raises(ValueError, match=r"missing: embed.weight \[3, 3\]"):
        fx.load_state_dict(Tied(), biases)


def test_swapped_or_nested_arguments():
    params, _ = Tied().init(KEY)
    with pytest.raises(TypeError, match=r"got dicts in it, under \['embed', 'head'\].* no loading"):
        fx.load_state_dict(Tied(), params)
    checkpoint = {"epoch": 3, "optimizer": {}, "model": {"w": np.zeros(1)}}
    with pytest.raises(TypeError, match=r"\['optimizer', 'model'\]; of a checkpoint give that"):
        fx.load_state_dict(Tied(), checkpoint)


@pytest.mark.parametrize("function", [partial(fx.load_state_dict, nn.Linear(1, 1)), fx.from_torch])
def test_what_holds_the_weights_is_not_the_weights(function):
    for path in ("run/model.pth", Path("run/model.pth")):
        with pytest.raises(
            TypeError, match=r"read the file first: fx.read_weights\('run/model.pth'"
        ):
            function(path)
    for given in (None, torch.nn.Linear(1, 1), ({}, {})):
        with pytest.raises(TypeError, match=rf"got {type(given).__name__}; of a file: fx.read_wei"):
            function(given)


@pytest.mark.parametrize("model", [object(), nn.Linear])
def test_a_model_without_torchs_names_is_refused(model):
    with pytest.raises(TypeError, match="expected a model of fx.nn.*flax.traverse_util"):
        fx.state_dict(model, {}, {})
    with pytest.raises(TypeError, match="expected a model of fx.nn"):
        fx.load_state_dict(model, {})
