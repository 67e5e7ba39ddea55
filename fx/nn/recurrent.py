"""Recurrent layers over whole sequences, and the cells that take one step."""

import math
import warnings
from typing import Any, cast

import jax
import jax.numpy as jnp

from fx.functional import recurrent
from fx.nn import init
from fx.nn.checks import no_device, of_dtype, positive, shape_error
from fx.nn.module import Module, where
from fx.nn.parameter import Parameter
from fx.nn.utils.rnn import PackedSequence

GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}
KINDS = ("weight_ih", "weight_hh", "bias_ih", "bias_hh", "weight_hr")


def mode_of(module: Module, nonlinearity: str) -> str:
    """The name that torch has for an RNN of that nonlinearity."""
    if nonlinearity not in ("tanh", "relu"):
        raise ValueError(
            f'{type(module).__name__}: expected nonlinearity "tanh" or "relu", got {nonlinearity!r}'
        )
    return f"RNN_{nonlinearity.upper()}"


def declare(module: Module, suffix: str, bias: bool, dtype: Any, *shapes: tuple[int, int]) -> None:
    """Weights and biases of one layer in one direction, uniform within 1 / sqrt(hidden) of 0."""
    bound = 1 / math.sqrt(module.hidden_size) if module.hidden_size else 0.0
    begin = init.uniform(-bound, bound)
    for kind, shape in zip(("weight_ih", "weight_hh"), shapes):
        setattr(module, kind + suffix, Parameter(shape, begin, dtype))
    for kind in ("bias_ih", "bias_hh"):
        setattr(module, kind + suffix, Parameter(shapes[0][:1], begin, dtype) if bias else None)
    for shape in shapes[2:]:
        setattr(module, "weight_hr" + suffix, Parameter(shape, begin, dtype))


def weights_of(module: Module, suffix: str = "") -> recurrent.Weights:
    """The arrays that `declare` declared."""
    return recurrent.Weights(*(getattr(module, kind + suffix, cast(Any, None)) for kind in KINDS))


class _Recurrent(Module):
    """What RNN, LSTM and GRU share."""

    def __init__(
        self, mode: str, input_size: int, hidden_size: int, num_layers: int, bias: bool,
        batch_first: bool, dropout: float, bidirectional: bool, proj_size: int, device: None, dtype,
    ):  # fmt: skip
        no_device(self, device)
        positive(self, input_size=input_size, hidden_size=hidden_size, num_layers=num_layers)
        self.mode = mode
        self.input_size, self.hidden_size = input_size, hidden_size
        self.num_layers, self.bias, self.batch_first = num_layers, bias, batch_first
        self.dropout, self.bidirectional, self.proj_size = dropout, bidirectional, proj_size
        self._check_settings()
        self.dropout = float(dropout)
        gates, out = GATES[mode] * hidden_size, self._out()
        for layer in range(num_layers):
            size = out * (1 + bidirectional) if layer else input_size
            shapes = [(gates, size), (gates, out), *[(proj_size, hidden_size)] * (proj_size > 0)]
            for suffix in self._suffixes(layer):
                declare(self, suffix, bias, dtype, *shapes)

    def _check_settings(self) -> None:
        kind = type(self).__name__
        for name in ("bias", "batch_first"):
            if not isinstance(getattr(self, name), bool):
                raise TypeError(f"{kind}: expected {name} a bool, got {getattr(self, name)!r}")
        p = self.dropout
        if isinstance(p, bool) or not isinstance(p, int | float) or not 0 <= p <= 1:
            raise ValueError(
                f"{kind}: expected dropout between 0 and 1, got {p!r}; it is the probability of "
                "being dropped"
            )
        if not 0 <= self.proj_size < self.hidden_size:
            raise ValueError(
                f"{kind}: expected proj_size from 0 (none) to less than hidden_size "
                f"{self.hidden_size}, got {self.proj_size}"
            )
        if p and self.num_layers == 1:
            warnings.warn(
                f"{kind}: dropout={p} has no effect with one layer: it stands between layers",
                stacklevel=4,
            )

    def _out(self) -> int:
        return self.proj_size or self.hidden_size

    def _suffixes(self, layer: int) -> list[str]:
        return [f"_l{layer}", f"_l{layer}_reverse"][: 1 + self.bidirectional]

    def flatten_parameters(self) -> None:
        """Does nothing: XLA lays weights out by itself."""

    def _run(self, input: Any, hx: Any, names: tuple[str, ...]) -> tuple[Any, recurrent.State]:
        """Any kind of input to the output of the same kind, and h (and c) as torch stacks them."""
        packed = isinstance(input, PackedSequence)
        x = of_dtype(self, input.padded if packed else input, self.weight_ih_l0.dtype)
        first = self.batch_first and not packed
        batched = x.ndim == 3
        self._check_input(x, packed, first)
        if not batched:
            x = x[:, None]
        elif first:
            x = jnp.swapaxes(x, 0, 1)
        suffixes = [self._suffixes(layer) for layer in range(self.num_layers)]
        drops = self.training and self.num_layers > 1
        output, finals = recurrent.layers(
            self.mode,
            x,
            list(zip(*self._states(hx, names, x, batched))),
            [[weights_of(self, suffix) for suffix in pair] for pair in suffixes],
            self.dropout if drops else 0.0,
            jnp.asarray(input.lengths) if packed else None,
            self.next_key() if drops and 0 < self.dropout < 1 else None,
        )
        state = tuple(jnp.stack(parts) for parts in zip(*finals))  # each [layers * D, N, out]
        if packed:
            return PackedSequence(output, input.lengths), state
        if not batched:
            return output[:, 0], tuple(part[:, 0] for part in state)
        return (jnp.swapaxes(output, 0, 1) if first else output), state

    def _check_input(self, x: jax.Array, packed: bool, batch_first: bool) -> None:
        size = self.input_size
        expected = f"[N, L, {size}]" if batch_first else f"[L, N, {size}]"
        expected += "" if packed else f" or [L, {size}]"
        if x.ndim not in ((3,) if packed else (2, 3)):
            raise shape_error(self, expected, x, "give it one feature axis, after time and batch")
        if x.shape[-1] != size:
            raise shape_error(self, expected, x, f"set input_size={x.shape[-1]}")
        if x.shape[1 if batch_first and x.ndim == 3 else 0] == 0:
            raise shape_error(self, expected, x, "give it one time step or more")

    def _states(
        self, hx: Any, names: tuple[str, ...], x: jax.Array, batched: bool
    ) -> list[jax.Array]:
        """The states h (and c), each [layers * D, N, ...]; zeros unless given."""
        count, sizes = self.num_layers * (1 + self.bidirectional), (self._out(), self.hidden_size)
        given = (None,) * len(names) if hx is None else hx if len(names) > 1 else (hx,)
        if len(names) > 1 and not isinstance(given, tuple | list):
            raise TypeError(f"{where(self)}: expected hx a pair (h_0, c_0), got {type(hx)}")
        if len(given) != len(names):
            raise ValueError(f"{where(self)}: expected hx (h_0, c_0), got {len(given)} values")
        states = []
        for name, value, size in zip(names, given, sizes):
            full = (count, x.shape[1], size)
            shape = full if batched else (count, size)
            if value is None:
                value = jnp.zeros(shape, x.dtype)
            value = of_dtype(self, value, x.dtype)
            if value.shape != shape:
                raise ValueError(
                    f"{where(self)}: expected {name} {list(shape)}, [num_layers * directions, "
                    f"{'N, ' if batched else ''}size], got {list(value.shape)}"
                )
            states.append(value.reshape(full))  # [layers * D, N, size]
        return states

    def extra_repr(self) -> str:
        """Sizes, and what is not as by default."""
        shown = f"{self.input_size}, {self.hidden_size}"
        defaults = {"proj_size": 0, "num_layers": 1, "bias": True, "batch_first": False}
        defaults |= {"dropout": 0, "bidirectional": False}
        for name, default in defaults.items():
            if getattr(self, name) != default:
                shown += f", {name}={getattr(self, name)}"
        return shown


class RNN(_Recurrent):
    """h' = tanh(x @ W_ih.T + b_ih + h @ W_hh.T + b_hh) over sequences; see `LSTM` for the rest.

    Args:
        input_size: of the input's last axis.
        hidden_size: of h.
        num_layers: how many layers stand on top of each other.
        nonlinearity: "tanh" or "relu".
        bias: whether there are biases.
        batch_first: see `LSTM`.
        dropout: see `LSTM`.
        bidirectional: see `LSTM`.
        device: must be None.
        dtype: of all parameters; float32 unless told.

    Parameters and errors: as `LSTM`, without gates; and an unknown nonlinearity.

    Source: torch.nn.RNN.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: None = None,
        dtype=None,
    ):
        self.nonlinearity = nonlinearity
        super().__init__(
            mode_of(self, nonlinearity), input_size, hidden_size, num_layers, bias, batch_first,
            dropout, bidirectional, 0, device, dtype,
        )  # fmt: skip

    def forward(self, input: Any, hx: jax.Array | None = None) -> tuple[Any, jax.Array]:
        """Input and h_0 as `LSTM`; gives the output and h."""
        output, (h,) = self._run(input, hx, ("h_0",))
        return output, h


class LSTM(_Recurrent):
    """Long short-term memory over sequences, in layers and directions.

    Args:
        input_size: of the input's last axis.
        hidden_size: of c, and of h unless it is projected.
        num_layers: how many layers stand on top of each other.
        bias: whether there are biases.
        batch_first: whether arrays are [N, L, ...] instead of [L, N, ...]; states never are.
        dropout: the probability that an element between two layers is dropped in training.
        bidirectional: whether each layer also runs backwards; its outputs stand after the others.
        proj_size: of h, which is then projected; 0 for none.
        device: must be None.
        dtype: of all parameters; float32 unless told.

    Parameters, for each layer k, and with the ending _reverse for the direction backwards, gates in
    the order i, f, g, o: weight_ih_lk [4 * hidden, in], weight_hh_lk [4 * hidden, out], bias_ih_lk
    and bias_hh_lk [4 * hidden], weight_hr_lk [proj, hidden]; all uniform within 1 / sqrt(hidden).

    Raises:
        TypeError: a size is not an integer; bias or batch_first is not a bool; at a call, an input
            or state is not of the weights' dtype, or hx is not a pair.
        ValueError: a size is less than 1; dropout is outside [0, 1]; proj_size is not within 0 and
            hidden_size; device is not None; at a call, the input or a state has another shape, the
            sequence has no step, or in training with dropout no key was given to `apply`.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.LSTM(3, 5, num_layers=2, batch_first=True)
        >>> params, state = layer.init(jax.random.key(0))
        >>> (output, (h, c)), _ = layer.apply(params, state, jnp.ones((8, 10, 3)))
        >>> output.shape, h.shape, c.shape
        ((8, 10, 5), (2, 8, 5), (2, 8, 5))

    Source: torch.nn.LSTM. A `PackedSequence` keeps its padding, see `fx.nn.utils.rnn`.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: None = None,
        dtype=None,
    ):
        super().__init__(
            "LSTM", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            proj_size, device, dtype,
        )  # fmt: skip

    def forward(
        self, input: Any, hx: tuple[jax.Array, jax.Array] | None = None
    ) -> tuple[Any, tuple[jax.Array, jax.Array]]:
        """Run over sequences.

        Args:
            input: [L, N, in], [N, L, in] with batch_first, [L, in] without a batch, or a
                `PackedSequence`.
            hx: (h_0, c_0), [num_layers * directions, N, out] and [..., hidden], without N where the
                input has none; zeros unless given.

        Returns:
            The output, [L, N, directions * out] or as the input is, and (h, c) after the last step
            of each sequence, shaped as hx.
        """
        output, (h, c) = self._run(input, hx, ("h_0", "c_0"))
        return output, (h, c)


class GRU(_Recurrent):
    """Gated recurrent units over sequences; arguments, parameters and errors as `LSTM`.

    Gates in the order r, z, n, so 3 * hidden where an LSTM has 4, and no projection. Source:
    torch.nn.GRU, where r multiplies after the matrix product.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: None = None,
        dtype=None,
    ):
        super().__init__(
            "GRU", input_size, hidden_size, num_layers, bias, batch_first, dropout, bidirectional,
            0, device, dtype,
        )  # fmt: skip

    def forward(self, input: Any, hx: jax.Array | None = None) -> tuple[Any, jax.Array]:
        """Input and h_0 as `LSTM`; gives the output and h."""
        output, (h,) = self._run(input, hx, ("h_0",))
        return output, h
