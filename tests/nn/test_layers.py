"""What every layer of the table must do."""

import inspect
import pickle
from typing import get_overloads

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from jax import export
from torch.nn.attention import SDPBackend, sdpa_kernel

import fx
from fx import nn
from tests.functional.check import assert_close, to_numpy
from tests.nn.bound.draw import beyond
from tests.nn.table import CASES, every

pytestmark = [
    pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel"),
    pytest.mark.filterwarnings("ignore:reduction. 'mean' divides the total loss"),
    pytest.mark.filterwarnings("ignore:size_average and reduce args will be deprecated"),
    pytest.mark.filterwarnings("ignore:enable_nested_tensor is True, but"),
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.filterwarnings("ignore:Support for mismatched .* is deprecated"),
]
KEY = jax.random.key(0)
# As `SHARE` in tests/nn/bound/test_bound.py, and why: many steps or layers, each of which rounds.
DEEP = ("RNN", "LSTM", "GRU", "MultiheadAttention", "Transformer")
NAMES = sorted({case.name for case in CASES})


def tensors(arrays, dtype):
    given = [torch.from_numpy(a) for a in arrays]
    return [
        t.long() if t.dtype == torch.int32 else t.to(dtype) if t.is_floating_point() else t
        for t in given
    ]


def weights(layer):
    """A copy: torch changes running statistics in place."""
    return {name: tensor.numpy().copy() for name, tensor in layer.state_dict().items()}


def like(tree, seed):
    """Random numbers of a tree's shapes."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: jnp.asarray(rng.normal(size=a.shape), a.dtype), tree)


def torch_derivatives(case, layer, arrays, tangents, dtype=torch.float32):
    """Outputs, cotangents, gradients by name and their derivative along the tangents."""
    inputs = tensors(arrays, dtype)
    points = dict(layer.named_parameters())
    for i, (input, spec) in enumerate(zip(inputs, case.on)):
        if spec.moves:
            points[i] = input.requires_grad_()
    # Copies, because inplace=True does change them in torch.
    with sdpa_kernel(SDPBackend.MATH):  # the one attention that has second derivatives
        outputs = jax.tree.leaves(layer(*[x.clone() for x in inputs]))
    cotangents = like([np.empty(o.shape, np.float32) for o in outputs], 2)
    if not points:
        return outputs, cotangents, {}, {}
    weight = [torch.from_numpy(np.array(c)).to(dtype) for c in cotangents]
    first = torch.autograd.grad(outputs, [*points.values()], weight, create_graph=True)
    along = sum(
        (g * torch.from_numpy(np.array(tangents[name]))).sum() for name, g in zip(points, first)
    )
    second = {name: torch.zeros_like(p) for name, p in points.items()}
    if case.second and along.requires_grad:
        found = torch.autograd.grad(along, [*points.values()], allow_unused=True)
        second |= {name: g for name, g in zip(points, found) if g is not None}
    return outputs, cotangents, dict(zip(points, first)), second


def by_name(model, params, inputs, case):
    moving = [i for i, spec in enumerate(case.on) if spec.moves]
    return {**fx.state_dict(model, params), **dict(zip(moving, inputs))}


def check_parity(case, train):
    model, layer, arrays = case.ours(), case.theirs(train), case.sample()
    params, state = fx.load_state_dict(model, weights(layer))
    moving = [i for i, spec in enumerate(case.on) if spec.moves]
    point = (params, [jnp.asarray(arrays[i]) for i in moving])
    tangent = like(point, 1)

    def run(params, values):
        inputs = [jnp.asarray(a) for a in arrays]
        for i, value in zip(moving, values):
            inputs[i] = value
        outputs, new_state = model.apply(params, state, *inputs, train=train)
        return jax.tree.leaves(outputs), new_state

    towards = by_name(model, *tangent, case)
    outputs, cotangents, first, second = torch_derivatives(case, layer, arrays, towards)
    wide = case.theirs(train).double()
    exact, _, exact_first, _ = torch_derivatives(case, wide, arrays, towards, torch.float64)

    @jax.jit
    def derivatives(point, tangent, cotangents):
        def gradients(*point):
            values, pull, state = jax.vjp(run, *point, has_aux=True)
            return (pull(cotangents), values), state

        (found, values), along, state = jax.jvp(gradients, point, tangent, has_aux=True)
        return values, state, found, along

    values, new_state, found, (along, forward) = derivatives(point, tangent, cotangents)
    wrong, share = [], 4e-6 if case.name.startswith(DEEP) else 1e-6
    for value, *output in zip(values, outputs, exact, strict=True):
        wrong += beyond("output", value, *map(to_numpy, output), share)
    for name, gradient in by_name(model, *found, case).items():
        given = (gradient, to_numpy(first[name]), to_numpy(exact_first[name]))
        wrong += beyond(f"gradient to {name}", *given, share, least=0.1)
    for name, ours in fx.state_dict(model, params, new_state).items():
        given = (to_numpy(each.state_dict()[name]) for each in (layer, wide))
        wrong += beyond(f"{name} after the call", ours, *given, share)
    assert not wrong
    if case.second:
        for name, ours in by_name(model, *along, case).items():
            assert_close(ours, second[name], what=f"second derivative to {name}", factor=10)
    chex.assert_tree_all_finite(along)
    paired = sum(jnp.vdot(a, b) for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(tangent)))
    moved = sum(jnp.vdot(a, b) for a, b in zip(forward, cotangents))
    assert_close(moved, paired, what="forward mode", factor=10)


@every(one_in=2)
def test_evaluation_equals_torch(case):
    check_parity(case, train=False)


@every([case for case in CASES if case.modal])
def test_training_equals_torch(case):
    check_parity(case, train=True)


@every(
    [case for case in CASES if not case.modal and ("Dropout" not in case.name or 0.0 in case.args)],
    one_in=3,
)
def test_training_is_evaluation_where_there_is_no_difference(case):
    model = case.ours()
    variables = jax.eval_shape(model.init, KEY)
    programs = [
        str(jax.make_jaxpr(lambda *a, t=t: model.apply(*a, train=t))(*variables, *case.sample()))
        for t in (False, True)
    ]
    assert programs[0] == programs[1]


@every(one_in=4)
def test_transformations(case):
    """Jit equals eager, vmap equals a loop, the state keeps its form, one compilation is enough."""
    model, samples = case.ours(), [case.sample(seed) for seed in range(2)]
    train = case.modal
    params, state = fx.load_state_dict(model, weights(case.theirs()))
    eager = [model.apply(params, state, *sample, train=train) for sample in samples]
    chex.assert_trees_all_equal_shapes_and_dtypes(eager[0][1], state)

    @jax.jit
    @chex.assert_max_traces(1)
    def run(params, state, *inputs):
        return case.ours().apply(params, state, *inputs, train=train)

    jitted = [run(params, state, *sample) for sample in samples]
    mapped = jax.vmap(run, (None, None, *(0,) * len(case.on)))
    chex.clear_trace_counter()
    stacked = mapped(params, state, *map(np.stack, zip(*samples)))
    for i, (output, new_state) in enumerate(eager):
        for what, other in [("jit", jitted[i]), ("vmap", jax.tree.map(lambda a: a[i], stacked))]:  # noqa: B023
            jax.tree.map(lambda a, b: assert_close(a, b, what=what), other[0], output)
            jax.tree.map(lambda a, b: assert_close(a, b, what="state"), other[1], new_state)


@every(one_in=5)
def test_bfloat16(case):
    model, arrays = case.ours(), case.sample()
    params, state = fx.load_state_dict(model, weights(case.theirs()))
    wide, _ = jax.jit(model.apply, static_argnames="train")(
        params, state, *arrays, train=case.modal
    )
    low = [jnp.asarray(a, jnp.bfloat16 if a.dtype == np.float32 else None) for a in arrays]
    params = jax.tree.map(lambda a: a.astype(jnp.bfloat16), params)
    # The weights of a loss, of which one of float32 would give a loss of float32, as in torch.
    state |= {k: a.astype(jnp.bfloat16) for k, a in state.items() if k.endswith("weight")}
    apply = jax.jit(model.apply, static_argnames="train")
    output, new_state = apply(params, state, *low, train=case.modal)
    chex.assert_trees_all_equal_shapes_and_dtypes(new_state, state)
    for narrow, expected in zip(jax.tree.leaves(output), jax.tree.leaves(wide), strict=True):
        assert narrow.dtype == jnp.bfloat16
        assert_close(narrow, expected, "bfloat16", factor=3)


@every([c for c in CASES if c.batched], one_in=2)
def test_batch_of_unknown_size(case):
    """What jax.export needs: shapes follow from a symbolic batch size."""
    model, (batch,) = case.ours(), export.symbolic_shape("b")
    variables = jax.eval_shape(model.init, KEY)
    known = case.sample()
    unknown = [jax.ShapeDtypeStruct((batch, *x.shape[1:]), x.dtype) for x in known]
    output, _ = jax.eval_shape(model.apply, *variables, *unknown)
    expected, _ = jax.eval_shape(model.apply, *variables, *known)
    for of_any, of_known in zip(jax.tree.leaves(output), jax.tree.leaves(expected), strict=True):
        assert len(of_any.shape) == len(of_known.shape)
        for size, at_known in zip(of_any.shape, of_known.shape):
            assert eval(str(size), {"b": known[0].shape[0]}) == at_known


@every()
def test_description(case):
    """Prints as torch prints, compares, hashes, pickles, and has torch's attributes and names."""
    model, layer = case.ours(), case.theirs()
    assert repr(model) == repr(layer)
    assert model == case.ours() and hash(model) == hash(case.ours())
    again = pickle.loads(pickle.dumps(model))
    assert again == model and repr(again) == repr(model)
    for name, value in vars(layer).items():
        if not name.startswith("_") and name in vars(model):
            ours = getattr(model, name)
            if callable(value):  # an activation
                ours, value = ours.__name__, value.__name__
            assert ours == (tuple(value) if isinstance(value, list) else value), name
    variables = jax.eval_shape(model.init, KEY)
    names = fx.state_dict(model, *variables)
    assert {n: a.shape for n, a in names.items()} == {
        n: tuple(t.shape) for n, t in layer.state_dict().items()
    }
    loaded = fx.load_state_dict(model, weights(layer))
    for name, value in fx.state_dict(model, *loaded).items():
        np.testing.assert_array_equal(value, layer.state_dict()[name].numpy())
    chex.assert_trees_all_equal_shapes_and_dtypes(loaded, variables)


def parameters(function, without=()):
    """(name, default, may be positional) of a signature; functions by name."""
    return [
        (p.name, getattr(p.default, "__name__", p.default), p.kind)
        for p in inspect.signature(function).parameters.values()
        if p.name not in without
    ]


@pytest.mark.parametrize("name", NAMES)
def test_signature_is_torchs(name):
    deprecated = ("min_value", "max_value")
    theirs = getattr(torch.nn, name)
    if theirs.__init__ is torch.nn.Module.__init__:
        expected = parameters(lambda self: None)
    else:  # what takes *args (LSTM) declares its arguments as an overload
        declared = get_overloads(theirs.__init__) or [theirs.__init__]
        expected = parameters(declared[0], deprecated)
    own = ("attn_implementation",)  # by keyword alone
    assert parameters(getattr(nn, name).__init__, own) == expected
    forward = [p[0] for p in parameters(theirs.forward)]
    assert [p[0] for p in parameters(getattr(nn, name).forward)] == forward


def test_the_table_has_every_layer():
    """Every layer that torch has too; containers hold layers, and are tested apart."""
    core = {"Module", "Parameter", "Buffer", "Sequential", "ModuleList", "ModuleDict"}
    core |= {"ParameterList", "ParameterDict"}
    layers = {
        name for name, value in vars(nn).items()
        if isinstance(value, type) and issubclass(value, nn.Module) and hasattr(torch.nn, name)
    }  # fmt: skip
    assert layers - core <= set(NAMES)


@pytest.mark.parametrize(
    "case",
    {
        c.name: c
        for c in CASES
        if "dtype" in inspect.signature(getattr(nn, c.name).__init__).parameters
    }.values(),
    ids=str,
)
def test_device_and_dtype(case):
    kind, kwargs = getattr(nn, case.name), dict(case.kwargs)
    args = case.args
    declared = kind(*args, **kwargs, dtype=jnp.bfloat16)
    params, _ = jax.eval_shape(declared.init, KEY)
    assert all(leaf.dtype == jnp.bfloat16 for leaf in jax.tree.leaves(params))
    with pytest.raises(
        ValueError, match=f"{case.name}: expected device=None, got 'cuda'.*device_put"
    ):
        kind(*args, **kwargs, device="cuda")
