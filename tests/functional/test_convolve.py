"""Convolutions that are put together on a CPU, against the one operation that they stand for."""

import functools
import itertools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from fx import functional as F
from fx.functional import convolve as module
from fx.functional.convolve import convolve
from fx.models import ConvNet
from fx.nn import Conv2d
from fx.nn.summary import summary
from fx.train.watch import cost
from tests.functional.check import normal

ONE, TWO = (1, 1, 1), (2, 1, 1)
# form, x [N, *spatial, in], weight [out, in / groups, *kernel], stride, pads, dilation, groups
CASES = [
    ("_by_taps", (2, 7, 6), (6, 1, 3), (1,), ((1, 1),), (1,), 6),
    ("_by_taps", (2, 7, 6, 4), (4, 1, 3, 2), (2, 1), ((1, 1), (0, 1)), (1, 2), 4),
    ("_by_taps", (2, 7, 6, 3), (6, 1, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 3),
    ("_by_taps", (1, 5, 6, 4, 2), (2, 1, 2, 3, 1), (1, 2, 1), ((0, 1), (1, 1), (0, 0)), ONE, 2),
    ("_by_taps", (2, 7, 6, 4), (4, 1, 3, 3), (1, 1), ((-1, 2), (1, -1)), (1, 1), 4),
    ("_by_groups", (2, 9, 8), (6, 4, 3), (2,), ((2, 0),), (1,), 2),
    ("_by_groups", (2, 7, 6, 24), (12, 2, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 12),
    ("_by_groups", (1, 6, 7, 80), (8, 40, 3, 2), (2, 1), ((1, 1), (0, 1)), (1, 2), 2),
    ("_by_groups", (1, 12, 11, 6), (6, 1, 9, 8), (1, 1), ((1, 1), (4, 4)), (1, 1), 6),
    ("_by_groups", (1, 5, 6, 4, 4), (6, 2, 2, 3, 1), (2, 1, 1), ((1, 0), (1, 1), (0, 0)), ONE, 2),
    ("_by_planes", (2, 6, 5, 4, 3), (4, 3, 3, 2, 3), ONE, ((1, 1),) * 3, ONE, 1),
    ("_by_planes", (1, 9, 5, 4, 8), (7, 8, 3, 1, 2), (2, 1, 1), ((2, 1), (0, 0), (1, 0)), TWO, 1),
    ("_by_planes", (1, 6, 5, 4, 3), (3, 3, 2, 3, 3), (1, 1, 1), ((-1, 1),) * 3, ONE, 1),
    ("_by_patches", (2, 9, 40), (41, 40, 2), (2,), ((0, 2),), (1,), 1),
    ("_by_patches", (2, 8, 11, 3), (9, 3, 4, 5), (4, 5), ((1, 0), (-1, 3)), (1, 1), 1),
    ("_by_patches", (1, 5, 6, 4, 4), (8, 4, 2, 4, 2), (2, 4, 2), ((0, 1), (0, 2), (0, 0)), ONE, 1),
    ("_plain", (2, 9, 40), (41, 40, 2), (2,), ((0, 2),), (2,), 1),
    ("_by_columns", (2, 9, 8), (6, 8, 4), (2,), ((2, 0),), (1,), 1),
    ("_by_columns", (2, 7, 6, 3), (5, 3, 3, 3), (2, 1), ((1, 1), (-1, 1)), (1, 2), 1),
    ("_by_pixels", (2, 7, 6, 40), (41, 40, 1, 1), (2, 1), ((0, 0), (1, -1)), (1, 1), 1),
    ("_by_columns", (1, 5, 6, 4, 1), (2, 1, 3, 2, 3), (1, 2, 1), ((1, 1), (0, 0), (1, 0)), TWO, 1),
    ("_by_sums", (2, 9, 40), (5, 40, 4), (1,), ((2, 0),), (2,), 1),
    ("_by_sums", (2, 7, 6, 40), (3, 40, 3, 3), (1, 1), ((1, 1), (-1, 1)), (1, 2), 1),
    ("_by_sums", (1, 5, 6, 4, 40), (1, 40, 3, 2, 3), ONE, ((1, 1), (0, 0), (1, 0)), ONE, 1),
]  # fmt: skip
ONE_OF_EACH = [*{form: (form, *rest) for form, *rest in CASES if form != "_plain"}.values()]
RESNEXT = ((1, 8, 8, 64), (64, 4, 3, 3), (1, 1), ((1, 1), (1, 1)), (1, 1), 16)


def ident(case):
    form, x, weight, stride, *_ = case
    return f"{form}-{x}-{weight}-{stride}".replace(" ", "")


def arrays(x, weight, dtype="float32"):
    return jnp.asarray(normal(*x), dtype), jnp.asarray(normal(*weight, seed=1), dtype)


def both(stride, pads, dilation, groups):
    ours = functools.partial(convolve, stride=stride, pads=pads, dilation=dilation, groups=groups)
    geometry = (stride, pads, dilation)
    return ours, functools.partial(module._plain, geometry=geometry, groups=groups)


@pytest.mark.parametrize("case", CASES, ids=ident)
def test_equals_one_operation(case, x64):
    form, *shapes, stride, pads, dilation, groups = case
    x, weight = arrays(*shapes, "float64")
    assert module._form(x, weight, (stride, pads, dilation), groups).__name__ == form
    ours, plain = both(stride, pads, dilation, groups)
    wanted = plain(x, weight)
    cotangent = jnp.asarray(normal(*wanted.shape, seed=2), x.dtype)

    def everything(f):
        y, tangent = jax.jvp(f, (x, weight), (x[::-1] + 1, weight * weight))
        gradients = jax.grad(lambda x, w: jnp.sum(cotangent * f(x, w) ** 2), (0, 1))
        second = jax.jvp(gradients, (x, weight), (x + 1, weight[::-1]))
        many = jax.vmap(f, (0, None))(jnp.stack([x, 2 * x]), weight)
        each = jax.vmap(f)(jnp.stack([x, 2 * x]), jnp.stack([weight, weight - 1]))
        return y, tangent, second, many, each

    for a, b in zip(*map(jax.tree.leaves, (everything(ours), everything(plain))), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
@pytest.mark.parametrize("case", ONE_OF_EACH, ids=ident)
def test_half_precision_is_rounded_once(case, dtype):
    _, *shapes, stride, pads, dilation, groups = case
    x, weight = arrays(*shapes, dtype)
    ours, plain = both(stride, pads, dilation, groups)
    wide = plain(x.astype(jnp.float32), weight.astype(jnp.float32))
    y = ours(x, weight)
    assert y.dtype == dtype
    unit = float(jnp.finfo(dtype).eps)
    np.testing.assert_allclose(y.astype(jnp.float32), wide, rtol=0.51 * unit, atol=1e-6)
    cotangent = (1 + y) / 3
    dx = jax.jit(lambda x: jax.vjp(lambda x: ours(x, weight), x)[1](cotangent)[0])(x)
    wide = jax.vjp(lambda x: plain(x, weight.astype(jnp.float32)), x.astype(jnp.float32))[1](
        cotangent.astype(jnp.float32)
    )[0]
    assert dx.dtype == dtype
    np.testing.assert_allclose(dx.astype(jnp.float32), wide, rtol=0.51 * unit, atol=1e-5)


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=ident)
def test_the_gradient_keeps_the_operands_alone(case):
    _, *shapes, stride, pads, dilation, groups = case
    x, weight = arrays(*shapes)
    _, backward = jax.vjp(both(stride, pads, dilation, groups)[0], x, weight)
    kept = [leaf.shape for leaf in jax.tree.leaves(backward)]
    assert sorted(kept) == sorted([x.shape, weight.shape])


@pytest.mark.parametrize("case", ONE_OF_EACH, ids=ident)
def test_exports_to_every_platform_with_a_symbolic_batch(case):
    _, *shapes, stride, pads, dilation, groups = case
    x, weight = arrays(*shapes)
    ours, plain = both(stride, pads, dilation, groups)
    (n,) = jax.export.symbolic_shape("n")
    specs = (jax.ShapeDtypeStruct((n, *x.shape[1:]), x.dtype), weight)
    exported = jax.export.export(jax.jit(ours), platforms=("cpu", "cuda", "tpu"))(*specs)
    np.testing.assert_allclose(exported.call(x, weight), plain(x, weight), rtol=1e-4, atol=1e-5)
    one = jax.export.export(jax.jit(ours), platforms=("cuda",))(*specs).mlir_module()
    assert one.count("stablehlo.convolution") == 1  # elsewhere it stays one operation


def test_what_cannot_be_put_together_stays_one_operation():
    for x, weight, groups in [
        (jnp.ones((2, 7, 6, 4), jnp.int32), jnp.ones((4, 1, 3, 3), jnp.int32), 4),
        (jnp.ones((0, 7, 6, 4)), jnp.ones((4, 1, 3, 3)), 4),
        (jnp.ones((2, 7, 6, 5)), jnp.ones((5, 5, 3, 3)), 1),
        (jnp.ones((1, 3, 32 * 129)), jnp.ones((129, 32, 3)), 129),
    ]:
        assert module._form(x, weight, ((1, 1), (), (1, 1)), groups) is module._plain


@pytest.mark.parametrize("pads", [((-1, 1), (0, 0)), ((-2, 1), (-1, 2)), ((1, -1), (-1, -1))])
def test_negative_padding_cuts(pads):
    """XLA alone reads past the input here, in float32: in memory that holds anything."""
    x, weight = arrays((2, 7, 6, 8), (40, 8, 3, 2))
    wide = [np.asarray(a, np.float64) for a in (x, weight)]
    cells = [range(-before, n + behind) for n, (before, behind) in zip((7, 6), pads)]
    seen = np.zeros((2, *map(len, cells), 8))
    for (i, a), (j, b) in itertools.product(*map(enumerate, cells)):
        seen[:, i, j] = wide[0][:, a, b] if 0 <= a < 7 and 0 <= b < 6 else 0
    windows = np.lib.stride_tricks.sliding_window_view(seen, (3, 2), (1, 2))
    wanted = np.einsum("nhwikl,oikl->nhwo", windows, wide[1])
    cut = jax.jit(both((1, 1), pads, (1, 1), 1)[0])
    np.testing.assert_allclose(cut(x, weight), wanted, rtol=1e-4, atol=1e-4)
    assert re.findall(r"pad = \[\[(.+?)\]\]", text := cut.lower(x, weight).as_text()), text
    assert not re.search(r"pad = \[\[.*-.*?\]\]", text)  # that memory may happen to hold zeros


@pytest.mark.parametrize("jitted", [False, True])
def test_xla_gets_convolutions_that_it_has_fast_kernels_for(jitted):
    """Also in the gradient of a jitted function, which must not hand on the platform."""
    *shapes, stride, pads, dilation, groups = RESNEXT
    x, weight = arrays(*shapes)
    ours, _ = both(stride, pads, dilation, groups)
    ours = jax.jit(ours) if jitted else ours
    gradients = jax.jit(jax.grad(lambda x, w: jnp.sum(ours(x, w) ** 2), (0, 1)))
    text = gradients.lower(x, weight).compile().as_text()
    found = re.findall(r" convolution\(.*?dim_labels=(\S+?)[,\s]", text)
    assert len(found) == 3 * 2  # 16 groups of 4 channels are 2 of 32
    assert set(found) == {"b01f_01io->b01f"}
    assert "feature_group_count" not in text and "conditional(" not in text


@pytest.mark.parametrize("case", [c for c in ONE_OF_EACH if c[-1] == 1], ids=ident)
def test_weights_of_several_seeds_are_no_groups(case):
    """XLA takes a convolution over mapped weights as one in groups, which is slow on a CPU."""
    form, *shapes, stride, pads, dilation, groups = case
    x, weight = (jnp.stack([a, a + 1]) for a in arrays(*shapes))
    gradients = jax.grad(
        lambda x, w: jnp.sum(jax.vmap(both(stride, pads, dilation, groups)[0])(x, w))
    )
    text = jax.jit(gradients).lower(x, weight).as_text()
    grouped = re.findall(r"(?:feature|batch)_group_count = (\d+)", text)
    assert (set(grouped) > {"1"}) == (form == "_by_planes")


@pytest.mark.emitters
def test_taps_are_not_computed_again_for_each_reader():
    x, weight = jnp.ones((2, 8, 8, 16)), jnp.ones((16, 1, 5, 5))
    ours, _ = both((1, 1), ((2, 2), (2, 2)), (1, 1), 16)
    gradients = jax.jit(jax.grad(lambda x, w: jnp.sum(x * ours(jnp.tanh(x), w) ** 2), (0, 1)))
    text = gradients.lower(x, weight).compile().as_text()
    assert text.count(" multiply(") < 4 * 25  # the answer, and its gradients to x and weight


def test_counts_of_operations_leave_out_the_zeros():
    *shapes, stride, pads, dilation, groups = RESNEXT
    x, weight = arrays(*shapes)
    ours, plain = both(stride, pads, dilation, groups)
    assert cost.flops(ours, x, weight) == cost.flops(plain, x, weight)
    layer = Conv2d(64, 64, 3, padding=1, groups=16, bias=False)
    wanted = 2 * 64 * 64 * 4 * 9
    assert summary(layer, (1, 64, 8, 8)).flops == wanted
    assert summary(ConvNet(), (1, 3, 32, 32)).flops > wanted


def test_layers_of_one_shape_are_traced_once(monkeypatch):
    calls, form = [], module._by_taps
    monkeypatch.setattr(module, "_by_taps", lambda *a: calls.append(a) or form(*a))

    def loss(ws, x):
        for w in ws:
            x = F.conv2d(x, w, padding=1, groups=5)
        return x.sum()

    ws = [jnp.ones((5, 1, 3, 3))] * 6
    jax.make_jaxpr(jax.grad(loss))(ws, jnp.ones((2, 5, 9, 7)))
    assert 1 <= len(calls) <= 2


@pytest.mark.parametrize("sizes", [(1, 64), (64, 1), (2, 3)], ids=str)
def test_gradients_to_a_narrow_weight_keep_their_digits_over_many_pixels(sizes):
    x, weight = arrays((4, 100, 101, sizes[1]), (*sizes, 1, 1))
    cotangent = jnp.asarray(normal(4, 100, 101, sizes[0], seed=2))
    ours, plain = both((1, 1), ((0, 0), (0, 0)), (1, 1), 1)
    _, pullback = jax.vjp(functools.partial(ours, x), weight)
    exact = np.einsum("nhwo,nhwi->oi", *(np.asarray(a, np.float64) for a in (cotangent, x)))
    error = np.abs(pullback(cotangent)[0].reshape(sizes) - exact).max()
    assert error < 1e-6 * np.abs(exact).max()

    def product(function):
        moved = jax.grad(lambda x, w: jnp.sum(function(x, w) ** 3) / x.size, (0, 1))
        return jax.jit(lambda x, w: jax.jvp(moved, (x, w), (x + 1, 1 - w))[1])(x, weight)

    for a, b in zip(product(ours), product(plain), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-4 * float(jnp.abs(b).max()))
