"""What torch's methods of tensors are called here, said where `forward` or a loss calls one."""

import re

import jax
import jax.numpy as jnp

from fx import functional

ASKS_FOR_VALUES = (
    jax.errors.ConcretizationTypeError,
    jax.errors.TracerArrayConversionError,
    jax.errors.TracerIntegerConversionError,
)
"""What JAX raises where a function that is compiled wants to know a value."""

_NAMES = {
    "view": "x.reshape(shape)",
    "view_as": "x.reshape(y.shape)",
    "unflatten": "x.reshape(shape)",
    "size": "x.shape[dim]",
    "dim": "x.ndim",
    "numel": "x.size",
    "unsqueeze": "jnp.expand_dims(x, dim)",
    "permute": "x.transpose(dims)",
    "t": "x.T",
    "contiguous": "nothing, leave it out",
    "clone": "nothing, leave it out",
    "expand": "jnp.broadcast_to(x, shape)",
    "expand_as": "jnp.broadcast_to(x, y.shape)",
    "repeat_interleave": "jnp.repeat(x, n, axis=dim)",
    "cat": "jnp.concatenate(arrays, axis=dim)",
    "split": "jnp.split(x, places, axis=dim), at places, not of sizes",
    "chunk": "jnp.split(x, n, axis=dim)",
    "unbind": "jnp.unstack(x, axis=dim)",
    "clamp": "jnp.clip(x, low, high)",
    "masked_fill": "jnp.where(mask, value, x)",
    "gather": "jnp.take_along_axis(x, index, axis=dim)",
    "index_select": "jnp.take(x, index, axis=dim)",
    "scatter_": "x.at[index].set(y)",
    "scatter_add": "x.at[index].add(y)",
    "index_add": "x.at[index].add(y)",
    "topk": "jax.lax.top_k(x, k)",
    "values": "x itself: x.max(axis) and x.sort(axis) give values alone, x.argmax the indices",
    "amax": "x.max(axis)",
    "amin": "x.min(axis)",
    "norm": "jnp.linalg.norm(x, axis=dim)",
    "logsumexp": "jax.nn.logsumexp(x, axis=dim)",
    "pow": "x**n",
    "mm": "x @ y",
    "bmm": "x @ y",
    "rsqrt": "jax.lax.rsqrt(x)",
    "erf": "jax.lax.erf(x)",
    "detach": "jax.lax.stop_gradient(x)",
    "data": "jax.lax.stop_gradient(x)",
    "float": "x.astype(jnp.float32)",
    "half": "x.astype(jnp.float16)",
    "bfloat16": "x.astype(jnp.bfloat16)",
    "long": "x.astype(jnp.int32)",
    "int": "x.astype(jnp.int32)",
    "bool": "x.astype(bool)",
    "type_as": "x.astype(y.dtype)",
    "to": "x.astype(dtype); arrays are on the device",
    "device": "nothing, arrays are made on the device",
    "cuda": "nothing, arrays are made on the device",
    "new_zeros": "jnp.zeros(shape, x.dtype)",
    "new_ones": "jnp.ones(shape, x.dtype)",
    "tensor": "jnp.array(values)",
    "randn": "jax.random.normal(self.next_key(), shape)",
    "randn_like": "jax.random.normal(self.next_key(), x.shape)",
    "rand": "jax.random.uniform(self.next_key(), shape)",
}
_ATTRIBUTE = re.compile(r"(?:ArrayImpl'|Tracer'?|'jax\.numpy').* has no attribute '?(\w+)'?")
_KEYWORD = re.compile("unexpected keyword argument '(dim|keepdim|unbiased)'")
_KEYWORDS = {"dim": "axis=", "keepdim": "keepdims=", "unbiased": "ddof=1, and 0 is the default"}
_OTHERS = (
    (re.compile(r"array\.view\(\) is not supported|'-?\d+' as a data type"), "view"),
    (re.compile("'int' object is not callable"), "size"),
)
_VALUES = (
    "; values are not known while it is compiled: jnp.where(condition, a, b) or jax.lax.cond in "
    "place of `if`, jax.numpy in place of NumPy, arrays in place of .item() and float()"
)
_MASK = (
    "; how much x[mask] has is not known while it is compiled: compute all, and leave out what "
    "does not count with jnp.where(mask, x, 0), or with targets of -100 for cross_entropy"
)


def hint(error: BaseException) -> str:
    """What to write in place of what torch has and `jax.numpy` has not; "" for other errors."""
    said = str(error)
    if found := _ATTRIBUTE.search(said):
        return _called(found[1])
    if found := _KEYWORD.search(said):
        return f"; torch's {found[1]}= is {_KEYWORDS[found[1]]} here"
    if isinstance(error, jax.errors.NonConcreteBooleanIndexError):
        return _MASK
    if isinstance(error, ASKS_FOR_VALUES):
        return _VALUES
    return "".join(_called(name) for pattern, name in _OTHERS if pattern.search(said))


def _called(name: str) -> str:
    plain = name.rstrip("_")
    known = _NAMES.get(name) or _NAMES.get(plain)
    if known is None and plain in functional.__all__:
        known = f"F.{plain}(x, ...)"
    if known is None and hasattr(jnp, plain):
        known = f"jnp.{plain}(x, ...)"
    return f"; torch's {name} is {known} here" if known else ""
