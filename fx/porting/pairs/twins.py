"""Classes and functions of other libraries in fx: their text goes into a file that needs them.

Nothing here is imported where it is ported: a file that was written stands by itself.
"""

import math
from typing import Any

import einops
import jax
import jax.numpy as jnp

from fx import nn


class Parts(nn.Module):
    """Parts and weights by name, as a bare `nn.Module()` has them."""

    def __init__(self, **held: Any):
        for name, value in held.items():
            setattr(self, name, value)


def clamp(x: Any, min: Any = None, max: Any = None) -> Any:
    """Values within limits; at a limit the gradient is 1, where that of `jnp.clip` is a half."""
    x = x if min is None else jnp.where(x < min, min, x)
    return x if max is None else jnp.where(x > max, max, x)


def absolute(x: Any) -> Any:
    """Magnitudes of real numbers; of 0 the gradient is 0, where that of `jnp.abs` is 1."""
    return x * jnp.sign(x)


class Namespace:
    """`argparse.Namespace`, with a hash, so that a description can hold it."""

    def __init__(self, **values: Any):
        vars(self).update(values)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Namespace) and vars(self) == vars(other)

    def __hash__(self) -> int:
        return hash(repr(sorted(vars(self).items())))

    def __contains__(self, name: str) -> bool:
        return name in vars(self)

    def __getitem__(self, name: str) -> Any:
        return vars(self)[name]

    def get(self, name: str, default: Any = None) -> Any:
        """A value, or what stands for it."""
        return vars(self).get(name, default)


class Config(Namespace):
    """A configuration by name and by key: `config.width`, `config["width"]`, `**config`."""

    def __iter__(self) -> Any:
        return iter(vars(self))

    def __len__(self) -> int:
        return len(vars(self))

    def keys(self) -> Any:
        """The names."""
        return vars(self).keys()

    def values(self) -> Any:
        """What stands under them."""
        return vars(self).values()

    def items(self) -> Any:
        """Both."""
        return vars(self).items()


class Settings(Namespace):
    """A configuration of Hugging Face's."""

    def get_text_config(self, *_: Any, **__: Any) -> Any:
        """The part about text, or all of it."""
        return getattr(self, "text_config", self)


class Output:
    """What a model returns, by name and by number, as Hugging Face's libraries have it."""

    def keys(self) -> list[str]:
        """The names of what is not None, in order; `**output` asks for them."""
        return [name for name, value in vars(self).items() if value is not None]

    def to_tuple(self) -> tuple:
        """What is not None, in order."""
        return tuple(getattr(self, name) for name in self.keys())

    def __getitem__(self, key: Any) -> Any:
        return getattr(self, key) if isinstance(key, str) else self.to_tuple()[key]

    def __iter__(self) -> Any:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self.keys())

    def values(self) -> tuple:
        """What is not None, in order."""
        return self.to_tuple()

    def items(self) -> list[tuple[str, Any]]:
        """Names and values of what is not None, in order."""
        return list(zip(self.keys(), self.to_tuple()))

    def get(self, key: str, default: Any = None) -> Any:
        """A value by name."""
        return default if getattr(self, key, None) is None else getattr(self, key)


def grouped_mm(input: jax.Array, weight: jax.Array, offs: jax.Array) -> jax.Array:
    """Rows [S, in] by groups that end at `offs`, each by its matrix of [groups, in, out]."""
    sizes = jnp.diff(offs, prepend=0).astype(jnp.int32)
    return jax.lax.ragged_dot(input.astype(weight.dtype), weight, sizes)


class Rearrange(nn.Module):
    """`einops.rearrange` as a layer."""

    def __init__(self, pattern: str, **axes_lengths: int):
        self.pattern, self.axes_lengths = pattern, axes_lengths

    def forward(self, x: jax.Array) -> jax.Array:
        """The array, its axes as the pattern says."""
        return einops.rearrange(x, self.pattern, **self.axes_lengths)


class Reduce(nn.Module):
    """`einops.reduce` as a layer."""

    def __init__(self, pattern: str, reduction: str, **axes_lengths: int):
        self.pattern, self.reduction, self.axes_lengths = pattern, reduction, axes_lengths

    def forward(self, x: jax.Array) -> jax.Array:
        """The array, reduced as the pattern says."""
        return einops.reduce(x, self.pattern, self.reduction, **self.axes_lengths)


class FloatFunctional(nn.Module):
    """`torch.nn.quantized.FloatFunctional`: operations that a quantised model would observe."""

    def add(self, x: Any, y: Any) -> jax.Array:
        """The sum."""
        return x + y

    def add_scalar(self, x: Any, y: float) -> jax.Array:
        """The sum with a number."""
        return x + y

    def add_relu(self, x: Any, y: Any) -> jax.Array:
        """The sum where it is positive, and 0."""
        return jax.nn.relu(x + y)

    def mul(self, x: Any, y: Any) -> jax.Array:
        """The product."""
        return x * y

    def mul_scalar(self, x: Any, y: float) -> jax.Array:
        """The product with a number."""
        return x * y

    def matmul(self, x: Any, y: Any) -> jax.Array:
        """The matrix product."""
        return x @ y

    def cat(self, x: Any, dim: int = 0) -> jax.Array:
        """Arrays one after another."""
        return jnp.concatenate(x, axis=dim)


class Function:
    """`torch.autograd.Function`: `apply` computes `forward`, and its gradient is `backward`'s.

    The gradient runs `forward` again for what it keeps on `ctx`, which XLA makes one with the
    first. It is a `jax.custom_vjp`, so there is no forward mode. Without a `backward` it is that of
    what `forward` computes.
    """

    forward: Any
    setup_context: Any = None
    backward: Any = None
    saved_tensors: tuple = ()
    saved_variables: tuple = property(lambda self: self.saved_tensors)  # type: ignore[assignment]
    needs_input_grad: tuple = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep arrays for `backward`."""
        self.saved_tensors = tensors

    def mark_non_differentiable(self, *tensors: Any) -> None:
        """Nothing to do: what is no float has no gradient."""

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Compute `forward`; arrays are differentiated, everything else is fixed."""
        places = [n for n, arg in enumerate(args) if isinstance(arg, jax.Array)]

        def forward(ctx: "Function", arrays: tuple) -> Any:
            given = dict(zip(places, arrays))
            ctx.needs_input_grad = tuple(n in given for n in range(len(args)))
            inputs = tuple(given.get(n, arg) for n, arg in enumerate(args))
            if cls.setup_context is None:
                return cls.forward(ctx, *inputs)
            outputs = cls.forward(*inputs)
            cls.setup_context(ctx, inputs, outputs)
            return outputs

        if cls.backward is None:
            return forward(cls(), tuple(args[n] for n in places))

        @jax.custom_vjp
        def run(*arrays: Any) -> Any:
            return forward(cls(), arrays)

        def backward(arrays: tuple, grads: Any) -> tuple:
            ctx = cls()
            several = isinstance(forward(ctx, arrays), tuple)
            found = cls.backward(ctx, *(grads if several else (grads,)))
            found = found if isinstance(found, tuple) else (found,)
            return tuple(found[n] for n in places)

        run.defvjp(lambda *arrays: (run(*arrays), arrays), backward)
        return run(*(args[n] for n in places))


def stft(
    x: jax.Array, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: jax.Array | None = None, center: bool = True, pad_mode: str = "reflect",
    normalized: bool = False, onesided: bool | None = None,
) -> jax.Array:  # fmt: skip
    """`torch.stft` of [..., time]: [..., frequency, frames], complex."""
    if center:
        mode = {"replicate": "edge", "circular": "wrap"}.get(pad_mode, pad_mode)
        x = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(n_fft // 2, n_fft // 2)], mode=mode)
    starts = jnp.arange(0, x.shape[-1] - n_fft + 1, hop_length or n_fft // 4)
    frames = x[..., starts[:, None] + jnp.arange(n_fft)]  # [..., frames, n_fft]
    frames = frames * centred_window(window, win_length or n_fft, n_fft, frames.real.dtype)
    half = onesided is not False and not jnp.iscomplexobj(x)
    spectrum = (jnp.fft.rfft if half else jnp.fft.fft)(frames)
    return spectrum.swapaxes(-1, -2) * (n_fft**-0.5 if normalized else 1)


def istft(
    spectrum: jax.Array, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
    window: jax.Array | None = None, center: bool = True, normalized: bool = False,
    onesided: bool | None = None, length: int | None = None,
) -> jax.Array:  # fmt: skip
    """`torch.istft` of [..., frequency, frames]: [..., time], real."""
    spectrum = spectrum.swapaxes(-1, -2) * (n_fft**0.5 if normalized else 1)
    half = onesided is True or (onesided is None and spectrum.shape[-1] != n_fft)
    frames = jnp.fft.irfft(spectrum, n_fft) if half else jnp.fft.ifft(spectrum).real
    window = centred_window(window, win_length or n_fft, n_fft, frames.dtype)
    count, hop = frames.shape[-2], hop_length or n_fft // 4
    total = n_fft + hop * (count - 1)
    places = jnp.arange(count)[:, None] * hop + jnp.arange(n_fft)
    sums = jnp.zeros((*frames.shape[:-2], total), frames.dtype).at[..., places].add(frames * window)
    weights = jnp.zeros(total, frames.dtype).at[places].add(window**2)
    start = n_fft // 2 if center else 0
    end = total - start if length is None else min(start + length, total)
    x = sums[..., start:end] / jnp.where(weights > 1e-11, weights, 1)[start:end]
    lack = 0 if length is None else length - x.shape[-1]
    return jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, lack)])


def strides(x: jax.Array) -> tuple[int, ...]:
    """`x.stride()` of a tensor whose numbers lie in order."""
    return tuple(math.prod(x.shape[axis + 1 :]) for axis in range(x.ndim))


def as_strided(
    x: jax.Array, size: tuple[int, ...], stride: tuple[int, ...], storage_offset: int = 0
) -> jax.Array:
    """`x.as_strided(size, stride)` of a tensor whose numbers lie in order; a copy."""
    steps = (jnp.arange(n) * step for n, step in zip(size, stride))
    places = sum(jnp.ix_(*steps), jnp.asarray(storage_offset))
    return x.reshape(-1)[places]


def centred_window(
    window: jax.Array | None, length: int, n_fft: int, dtype: jnp.dtype
) -> jax.Array:
    """A window of a length within n_fft places; ones where there is none."""
    window = jnp.ones(length, dtype) if window is None else window
    left = (n_fft - length) // 2
    return jnp.pad(window, (left, n_fft - length - left))


def flex_attention(
    query: jax.Array, key: jax.Array, value: jax.Array, score_mod: Any = None,
    block_mask: Any = None, scale: float | None = None, enable_gqa: bool = False,
) -> jax.Array:  # fmt: skip
    """Attention whose scores a function of score, batch, head, query and key changes."""
    if enable_gqa:
        times = query.shape[1] // key.shape[1]
        key, value = (jnp.repeat(x, times, axis=1) for x in (key, value))
    scores = query @ key.mT * (query.shape[-1] ** -0.5 if scale is None else scale)
    if score_mod is not None:
        places = jnp.ogrid[tuple(map(slice, scores.shape))]
        scores = jnp.vectorize(score_mod)(scores, *places)
    seen = scores > -jnp.inf
    seen = seen if block_mask is None else seen & block_mask
    weights = jax.nn.softmax(jnp.where(seen, scores, jnp.finfo(scores.dtype).min))
    return jnp.where(seen.any(axis=-1, keepdims=True), weights, 0) @ value


def create_block_mask(
    mask_mod: Any, batch: int | None, heads: int | None, queries: int, keys: int, **_: Any
) -> jax.Array:
    """Which key each query sees, by a function of batch, head, query and key: all of it at once."""
    places = jnp.ogrid[: batch or 1, : heads or 1, :queries, :keys]
    return jnp.vectorize(mask_mod)(*places)
