"""scaled_dot_product_attention and multi_head_attention_forward against torch's."""

import math

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
import torch.nn.functional as TF
from jax import export
from torch.nn.attention import SDPBackend, sdpa_kernel

import fx.functional as F
from tests.functional.check import assert_close, check, normal

KEY = jax.random.key(0)
SDPA = F.scaled_dot_product_attention
RNG = np.random.default_rng(0)
OPEN = RNG.random((4, 6)) > 0.4
OPEN[:, 0] = True
DEAD = OPEN.copy()
DEAD[1] = False
NUMBERS = normal(4, 6)
HOLES = np.where(OPEN, NUMBERS, -np.inf).astype(np.float32)
DEAD_NUMBERS = np.where(DEAD, NUMBERS, -np.inf).astype(np.float32)

QKV = (2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 8)
CASES = {
    "plain": (*QKV, {}),
    "bool": (*QKV, {"attn_mask": OPEN}),
    "dead rows": (*QKV, {"attn_mask": DEAD}),
    "numbers": (*QKV, {"attn_mask": NUMBERS}),
    "numbers with -inf": (*QKV, {"attn_mask": HOLES}),
    "dead rows of numbers": (*QKV, {"attn_mask": DEAD_NUMBERS}),
    "a mask for every head": (*QKV, {"attn_mask": normal(2, 3, 4, 6)}),
    "a mask of keys": (*QKV, {"attn_mask": OPEN[None, None, :1].repeat(2, 0)}),
    "a mask of queries": (*QKV, {"attn_mask": DEAD[:, 1:2]}),
    "causal, L < S": (*QKV, {"is_causal": True}),
    "causal, L > S": (QKV[1], QKV[0], QKV[0], {"is_causal": True}),
    "scale": (*QKV, {"scale": 0.3}),
    "no heads": ((4, 8), (6, 8), (6, 8), {"attn_mask": OPEN}),
    "three axes": ((3, 4, 8), (3, 6, 8), (3, 6, 8), {"is_causal": True}),
    "many axes": ((2, 1, 3, 2, 4, 8), (2, 1, 3, 2, 6, 8), (2, 1, 3, 2, 6, 8), {"attn_mask": OPEN}),
    "Ev": ((2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 5), {"attn_mask": OPEN}),
    "Ev, causal": ((2, 3, 4, 8), (2, 3, 6, 8), (2, 3, 6, 5), {"is_causal": True}),
    "grouped": ((2, 6, 4, 8), (2, 2, 6, 8), (2, 2, 6, 8), {"enable_gqa": True, "is_causal": True}),
    "grouped differently": ((6, 4, 8), (2, 6, 8), (3, 6, 8), {"enable_gqa": True}),
    "grouped, masked": ((4, 4, 8), (2, 6, 8), (2, 6, 8), {"enable_gqa": True, "attn_mask": DEAD}),
    "shared heads": ((2, 3, 4, 8), (2, 1, 6, 8), (2, 1, 6, 8), {}),
    "shared keys": ((2, 3, 4, 8), (3, 6, 8), (1, 6, 8), {}),
    "one key": ((2, 3, 4, 8), (2, 3, 1, 8), (2, 3, 1, 8), {}),
    "no keys": ((2, 3, 4, 8), (2, 3, 0, 8), (2, 3, 0, 8), {}),
    "no queries": ((2, 3, 0, 8), (2, 3, 6, 8), (2, 3, 6, 8), {}),
    "no batch": ((0, 3, 4, 8), (0, 3, 6, 8), (0, 3, 6, 8), {"is_causal": True}),
    "no features": ((2, 4, 0), (2, 6, 0), (2, 6, 3), {}),
}
PLAIN = ["plain", "dead rows", "numbers with -inf", "causal, L > S", "grouped"]
EMPTY = [name for name in CASES if name.startswith("no ") and name != "no heads"]


def marked(names):
    few = set(PLAIN)
    return [n if n in few else pytest.param(n, marks=pytest.mark.full) for n in names]


def arrays(name):
    *shapes, options = CASES[name]
    return [normal(*shape, seed=i) for i, shape in enumerate(shapes)], options


def to_torch(options, dtype=torch.float32):
    def tensor(value):
        if not isinstance(value, np.ndarray):
            return value
        value = torch.from_numpy(value)
        return value if value.dtype == torch.bool else value.to(dtype)

    return {name: tensor(value) for name, value in options.items()}


@pytest.mark.parametrize("name", CASES)
def test_output_is_as_exact_as_torchs(name):
    """At most twice torch's own float32 error, by torch in float64."""
    inputs, options = arrays(name)
    tensors = [torch.from_numpy(x) for x in inputs]
    theirs = TF.scaled_dot_product_attention(*tensors, **to_torch(options))
    wide = [t.double() for t in tensors]
    exact = TF.scaled_dot_product_attention(*wide, **to_torch(options, torch.float64)).numpy()
    ours = SDPA(*map(jnp.asarray, inputs), **options)
    assert ours.shape == exact.shape
    if exact.size:
        allowed = 2 * np.abs(theirs.numpy() - exact).max() + 1e-6 * np.abs(exact).max()
        assert np.abs(np.asarray(ours, np.float64) - exact).max() <= allowed


@pytest.mark.parametrize("name", marked([n for n in CASES if n not in EMPTY]))
def test_derivatives_equal_torchs(name):
    inputs, options = arrays(name)

    def theirs(query, key, value):
        with sdpa_kernel(SDPBackend.MATH):
            return TF.scaled_dot_product_attention(query, key, value, **to_torch(options))

    check(lambda *qkv: SDPA(*qkv, **options), theirs, *inputs)


@pytest.mark.parametrize("dtype, size", [("float32", 8), ("float32", 1), ("bfloat16", 8)])
def test_scores_beyond_what_exp_takes(dtype, size):
    """Compiled as users compile, where what was fused gave NaN; torch's weights are 0 and 1."""
    query, key = (jnp.asarray(1e10 * normal(2, 5, size, seed=i), dtype) for i in range(2))
    value = jnp.asarray(normal(2, 5, 3), dtype)
    tensors = [torch.from_numpy(np.array(x, np.float32)) for x in (query, key, value)]
    theirs = TF.scaled_dot_product_attention(*(t.to(getattr(torch, dtype)) for t in tensors))
    output, gradient = jax.jit(jax.value_and_grad(lambda q: SDPA(q, key, value).sum()))(query)
    assert_close(jax.jit(SDPA)(query, key, value), theirs)
    assert jnp.isfinite(output) and jnp.isfinite(gradient).all()


@pytest.mark.parametrize("mask", [NUMBERS, HOLES, DEAD_NUMBERS])
def test_gradient_to_a_mask_of_numbers(mask):
    query, key, value = arrays("plain")[0]
    weight = normal(2, 3, 4, 8, seed=9)
    ours = jax.grad(lambda m: jnp.vdot(SDPA(query, key, value, m), weight))(jnp.asarray(mask))
    theirs = torch.from_numpy(mask.copy()).requires_grad_()
    tensors = map(torch.from_numpy, (query, key, value))
    (TF.scaled_dot_product_attention(*tensors, theirs) * torch.from_numpy(weight)).sum().backward()
    assert_close(ours, theirs.grad)


def test_a_mask_beside_is_causal():
    """Both hold, as in torch's kernel for CPUs."""
    (query, key, value), _ = arrays("plain")
    tensors = [torch.from_numpy(x) for x in (query, key, value)]
    theirs = TF.scaled_dot_product_attention(*tensors, torch.from_numpy(OPEN), is_causal=True)
    assert_close(SDPA(query, key, value, OPEN, is_causal=True), theirs)


@pytest.mark.parametrize("name", marked([n for n in CASES if n not in EMPTY]))
def test_float64(name, x64):
    inputs, options = arrays(name)
    wide = [torch.from_numpy(x).double() for x in inputs]
    exact = TF.scaled_dot_product_attention(*wide, **to_torch(options, torch.float64))
    ours = SDPA(*[jnp.asarray(x, jnp.float64) for x in inputs], **options)
    assert ours.dtype == jnp.float64
    assert_close(ours, exact, "float64")


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("mask", [None, OPEN, HOLES])
def test_low_precision(dtype, mask):
    """Scores and softmax in float32; gradients exist, under strict promotion too."""
    low = [jnp.asarray(x, dtype) for x in arrays("plain")[0]]

    def loss(*qkv):
        return SDPA(*qkv, mask).astype(jnp.float32).sum()

    output, grads = SDPA(*low, mask), jax.grad(loss, (0, 1, 2))(*low)
    wide = [x.astype(jnp.float32) for x in low]
    assert output.dtype == jnp.dtype(dtype) == grads[0].dtype
    assert_close(output, SDPA(*wide, mask), dtype)
    for ours, expected in zip(grads, jax.grad(loss, (0, 1, 2))(*wide)):
        assert_close(ours, expected, dtype, factor=3)


def test_one_compilation_and_unknown_batch_sizes():
    (query, key, value), _ = arrays("plain")

    @jax.jit
    @chex.assert_max_traces(1)
    def run(*qkv):
        return SDPA(*qkv, OPEN)

    assert_close(run(query, key, value), SDPA(query, key, value, OPEN))
    run(query + 1, key, value)
    shapes = "b, h, l, 8", "b, h, s, 8"
    scope = export.SymbolicScope()
    q, k = (export.symbolic_shape(s, scope=scope) for s in shapes)
    specs = [jax.ShapeDtypeStruct(s, jnp.float32) for s in (q, k, k)]
    platforms = ("cpu", "cuda", "tpu")
    causal = jax.jit(lambda *qkv: SDPA(*qkv, is_causal=True))
    program = export.deserialize(
        bytearray(export.export(causal, platforms=platforms)(*specs).serialize())
    )
    assert_close(program.call(query, key, value), causal(query, key, value))


class TestDropout:
    x = jnp.ones((50, 2, 8, 4))

    def run(self, p, key, value=None):
        value = jnp.ones((50, 2, 16, 1)) if value is None else value
        return SDPA(self.x, jnp.ones((50, 2, 16, 4)), value, dropout_p=p, dropout_key=key)

    def test_it_drops_weights_and_keeps_the_mean(self):
        outputs = self.run(0.25, KEY)  # of each output, 16 equal weights were kept or dropped
        kept = np.asarray(outputs) * 16 * 0.75
        np.testing.assert_allclose(kept, np.round(kept), atol=1e-4)
        assert abs(outputs.mean() - 1) < 5 * math.sqrt(0.25 / 0.75 / 16 / outputs.size)
        assert len(np.unique(np.round(kept))) > 3
        variance = 0.25 / 0.75 / 16
        assert 0.8 * variance < outputs.var() < 1.25 * variance

    def test_the_key_decides(self):
        one = self.run(0.5, KEY)
        np.testing.assert_array_equal(one, self.run(0.5, KEY))
        np.testing.assert_array_equal(one, jax.jit(self.run, static_argnums=0)(0.5, KEY))
        assert (one != self.run(0.5, jax.random.key(1))).any()

    def test_the_ends(self):
        np.testing.assert_array_equal(self.run(0.0, None), 1)
        np.testing.assert_array_equal(self.run(1.0, None), 0)

    def test_gradients_go_through_the_weights_that_stay(self):
        value = jnp.asarray(normal(50, 2, 16, 1))
        grad = jax.grad(lambda v: self.run(0.5, KEY, v).sum())(value)
        output = self.run(0.5, KEY, value)
        np.testing.assert_allclose((grad * value).sum(), output.sum(), rtol=1e-4)
        assert (jax.grad(lambda v: self.run(0.5, KEY, v)[0, 0, 0, 0])(value) == 0).mean() > 0.9


def attention_error(kind, text, *inputs, **options):
    with pytest.raises(kind, match=text):
        SDPA(*inputs, **options)


def test_errors():
    query, key, value = (jnp.asarray(x) for x in arrays("plain")[0])
    attention_error(
        TypeError, "one dtype, got float32, bfloat16 and float32; convert",
        query, key.astype(jnp.bfloat16), value,
    )  # fmt: skip
    attention_error(
        TypeError, "expected a floating input, got int32", *(jnp.ones((2, 2), jnp.int32),) * 3
    )
    attention_error(
        ValueError, r"expected query \[\.\.\., L, E\].*got \[8\]", query[0, 0, 0], key, value
    )
    attention_error(
        ValueError, r"same last axis.*got \[2, 3, 4, 7\], \[2, 3, 6, 8\]",
        query[..., :7], key, value,
    )  # fmt: skip
    attention_error(ValueError, "key and value with the same length", query, key, value[:, :, :5])
    attention_error(
        ValueError,
        "leading axes that fit, got.*set enable_gqa=True",
        query,
        key[:, :2],
        value[:, :2],
    )
    attention_error(
        ValueError, "heads .axis -3. of key and value to divide the query's",
        query, key[:, :2], value[:, :2], enable_gqa=True,
    )  # fmt: skip
    attention_error(
        ValueError, "with enable_gqa all three", query[0, 0], key[0, 0], value[0, 0],
        enable_gqa=True,
    )  # fmt: skip
    attention_error(
        TypeError, "expected attn_mask of booleans, float32 or float32, got int32; True",
        query, key, value, np.ones((4, 6), np.int32),
    )  # fmt: skip
    for shape in [(4, 5), (5,), (3, 3, 4, 6), (1, 2, 3, 4, 6)]:
        attention_error(
            ValueError, rf"broadcastable to \[2, 3, 4, 6\], got \[{', '.join(map(str, shape))}\]",
            query, key, value, np.ones(shape, bool),
        )  # fmt: skip
    attention_error(
        ValueError, "expected dropout_p between 0 and 1, got 1.5", query, key, value, dropout_p=1.5
    )
    attention_error(
        ValueError, "expected a PRNG key with dropout_p=0.5, got None; in forward pass",
        query, key, value, dropout_p=0.5,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["int mask", "gqa", "heads", "last axis", "dtypes", "mask shape"])
def test_torch_raises_too(name):
    query, key, value = (torch.from_numpy(x) for x in arrays("plain")[0])
    inputs = {
        "int mask": ((query, key, value, torch.ones(4, 6, dtype=torch.int32)), {}),
        "gqa": ((query, key[:, :2], value[:, :2]), {"enable_gqa": True}),
        "heads": ((query, key[:, :2], value[:, :2]), {}),
        "last axis": ((query[..., :7], key, value), {}),
        "dtypes": ((query, key.double(), value), {}),
        "mask shape": ((query, key, value, torch.ones(4, 5)), {}),
    }
    tensors, options = inputs[name]
    with pytest.raises(RuntimeError):
        TF.scaled_dot_product_attention(*tensors, **options)
