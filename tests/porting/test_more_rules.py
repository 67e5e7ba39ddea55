"""Rules for functions that docs/from-pytorch.md does not list, run on both sides."""

import ast
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch

from fx import functional as F
from fx.porting.calls.calls import Call, ported
from fx.porting.calls.special import SPECIAL

CALLS = """
torch.ger(v, v); m.mv(v); v.inner(w); torch.frac(m); m.ravel(); m.fliplr(); m.rot90(); m.negative()
m.greater_equal(0.1); torch.less(m, 0.1); m.not_equal(m); torch.isclose(m, m + 1e-9)
v.diag_embed(); m.diag_embed(1); m.cumprod(1, dtype=torch.float32); m.moveaxis(0, 1)
m.take_along_dim(i, 1); m.nansum(1); m.nanmean(0, keepdim=True); m.pinverse()
torch.count_nonzero(m, dim=1); m.quantile(0.3, dim=1); m.logcumsumexp(1); torch.erfc(m); m.frac()
torch.erfinv(m / 9); torch.lgamma(m * m); torch.digamma(m * m + 1); torch.special.expit(m)
m.xlogy(m * m); torch.matrix_exp(m); torch.linalg.matrix_power(m, 3); torch.block_diag(m, m)
torch.column_stack([v, w]); torch.dstack([m, m]); torch.selu(m); torch.celu(m, 2.0)
torch.linalg.cross(v, w); torch.cross(m, m + 1, dim=0); torch.linalg.eigvalsh(m @ m.T)
torch.linalg.svdvals(m); torch.linalg.multi_dot([m, m, v]); torch.fft.ifft(v); torch.fft.rfft(v)
torch.fft.irfft(v, n=4); torch.fft.fftshift(m, dim=1); torch.fft.fftfreq(4); torch.fft.rfftn(m)
torch.fft.fftn(m, dim=(0, 1)); i.bitwise_and(1); i.byte(); torch.isin(i, i[0]); v.addcdiv(v, w)
torch.einsum("ij,j->i", (m, v)); torch.LongTensor(range(3)); torch.ByteTensor([1, 2])
v.subtract(w); m.is_contiguous(); torch.FloatTensor([1, 2]); v.floor_divide(0.3)
torch.acosh(m * m + 1); m.asinh(); torch.heaviside(m, v); torch.sinc(m); i.gcd(i + 4); m.sgn()
m.signbit(); torch.deg2rad(m); torch.fmax(m, v); torch.isposinf(m / 0); m.float_power(2); v.vdot(w)
i.bitwise_xor(3); i.bitwise_left_shift(2); torch.atleast_2d(v); torch.atleast_3d(m)
m.round(decimals=1); torch.addmm(m, m, m, beta=0.5, alpha=2); m.addmm(m, m); v.addmv(m, w)
m.addr(v, w, alpha=0.3); m.baddbmm(m[None], m[None]); m.addbmm(m[None], m[None])
torch.rsub(m, 2.0); torch.rsub(m, v, alpha=3); m.ldexp(i); m.dist(m + 1); v.dist(w, 1); m.msort()
v.diagflat(1); m.corrcoef(); m.cov(correction=0); m.histc(4, -1, 1); m.masked_scatter(p, m)
torch.trapezoid(m, v); torch.trapz(m, dx=0.5); torch.constant_pad_nd(m, (1, 2), 3.0)
torch.logspace(0, 2, 5); torch.cartesian_prod(v, w); torch.nonzero_static(i, size=3); m.diff()
torch.diff(m, 2); torch.diff(m, dim=0, prepend=m); m.nanquantile(0.3, dim=1)
m.quantile(0.3, interpolation="nearest"); m.take_along_dim(i)
m.new_zeros((2, 3), dtype=torch.int32); m.new_full((2,), 3.5, dtype=torch.float32)
torch.full_like(m, 2, dtype=torch.int32); torch.logit(m, 0.2); torch.special.logit(m, eps=0.1)
m.argsort(dim=0, stable=True); torch.linalg.cholesky(c, upper=True)
torch.linalg.pinv(m, rtol=0.01); torch.linalg.vecdot(m, m); torch.linalg.matrix_rank(m)
torch.linalg.vander(v); torch.linalg.diagonal(m, offset=1); torch.linalg.matrix_norm(m)
torch.linalg.eigvalsh(m, UPLO="U"); c.logdet(); torch.logdet(n); torch.special.entr(m)
torch.special.xlog1py(m, m * m); torch.special.ndtr(m); m.i0(); torch.special.log_ndtr(m)
torch.special.i1e(m); (m * m).igamma(m * m + 1); torch.polygamma(1, m * m); (m * m + 2).mvlgamma(2)
torch.special.zeta(m * m + 2, m * m + 1); torch.fft.hfft(v); torch.searchsorted(e, m)
torch.bucketize(m, e, right=True); torch.searchsorted(e, e, side="right")
torch.linalg.solve_triangular(m, m, upper=True); m.cholesky_solve(m * m + 1)
m.index_put((i[0], i[1]), v); torch.index_put(m, (i[0],), v, accumulate=True)
m.index_add(-1, i[0], m, alpha=2.0); m.slice_scatter(m[:2], 0, 1)
m.slice_scatter(m[:, :1], 1, end=1); m.slice_scatter(m[:, :2], dim=-1, step=2)
torch.select_scatter(m, v, 1, 2); m.select_scatter(v, -1, 0); m.index_fill(-2, i[0], 3.0)
m.slice_scatter(m[1:], -2, end=2); m.logcumsumexp(-1); torch.logcumsumexp(m, dim=-2)
torch.bincount(i[0], v, 5); i[0].bincount(None, 4); torch.bincount(i[0], minlength=3, weights=v)
"""


def translated(node: ast.AST) -> str:
    """Arguments in these calls are names, numbers, dtypes and sums of them."""
    return ast.unparse(node).replace("torch.", "jnp.")


def written(text: str) -> str:
    """What a call of torch becomes, by the rules alone."""
    (statement,) = ast.parse(text).body
    node = statement.value
    owner, rewriter = ast.unparse(node.func.value), SimpleNamespace(text=translated)
    tensors = not owner.startswith("torch")
    key = f"{'Tensor' if tensors else owner}.{node.func.attr}"
    args = [node.func.value, *node.args] if tensors else list(node.args)
    call = Call(key, node, args, {k.arg: k.value for k in node.keywords}, [], rewriter)
    return SPECIAL.get(node.func.attr, ported)(call)


@pytest.mark.parametrize("line", CALLS.strip().splitlines())
def test_rules_compute_what_torch_does(line):
    rng = np.random.default_rng(0)
    eye = np.eye(3, dtype=np.float32)
    arrays = {name: rng.normal(size=shape).astype(np.float32)
              for name, shape in (("m", (3, 3)), ("v", 3), ("w", 3))}  # fmt: skip
    arrays["c"], arrays["n"] = arrays["m"] @ arrays["m"].T + eye, -eye
    arrays["e"], arrays["p"] = np.array([-0.5, 0.1, 0.4], np.float32), arrays["m"] > 0
    arrays["i"] = np.array([[0, 2, 1], [1, 1, 0], [2, 0, 0]])
    tensors = {"torch": torch} | {name: torch.from_numpy(a) for name, a in arrays.items()}
    names = {"jnp": jnp, "jax": jax, "F": F} | {n: jnp.asarray(a) for n, a in arrays.items()}
    for text in line.split("; "):
        theirs = torch.as_tensor(eval(text, tensors)).resolve_conj().numpy()
        with jax.numpy_dtype_promotion("standard"):
            ours = eval(written(text), names)
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, atol=2e-5, err_msg=text)


def test_normal_numbers_about_a_mean():
    names = {"jax": jax, "jnp": jnp, "m": jnp.full(2000, 3.0), "key": jax.random.key(0)}
    for text in ("torch.normal(m, 0.5)", "torch.normal(3, 0.5, (2000,))"):
        node = ast.parse(text).body[0].value
        rewriter = SimpleNamespace(text=ast.unparse, key=lambda _: "key")
        drawn = eval(ported(Call("torch.normal", node, node.args, {}, [], rewriter)), names)
        np.testing.assert_allclose([drawn.mean(), drawn.std()], [3, 0.5], atol=0.05)


def test_numbers_and_names_of_two_functions():
    names = {"jnp": jnp, "n": jnp.arange(-4, 5), "x": jnp.linspace(-1, 1, 9)}
    theirs = {"torch": torch, "n": torch.arange(-4, 5), "x": torch.linspace(-1, 1, 9)}
    for text in (
        "torch.fmod(n, 3)", "torch.remainder(x, 0.3)", "torch.atan2(x, n)", "torch.copysign(x, n)",
        "torch.logical_and(n, n - 1)", "n.logical_or(n - 1)", "torch.logical_xor(n, n - 1)",
        "n.logical_not()", "torch.div(x, 0.3, rounding_mode='trunc')",
        "torch.div(n, 3, rounding_mode='trunc')", "n.div(3, rounding_mode='floor')",
        "torch.bincount(n + 4, minlength=9)", "torch.broadcast_tensors(x, n)[1]",
    ):  # fmt: skip
        outer = ast.parse(text).body[0].value
        node = outer.value if isinstance(outer, ast.Subscript) else outer
        into = written(ast.unparse(node))
        with jax.numpy_dtype_promotion("standard"):
            ours = eval(ast.unparse(outer).replace(ast.unparse(node), into), names)
        np.testing.assert_allclose(ours, eval(text, theirs).numpy(), atol=1e-6, err_msg=text)
