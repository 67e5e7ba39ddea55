"""Recurrent cells: one step of an RNN, an LSTM or a GRU."""

from typing import Any

import jax
import jax.numpy as jnp

from fx.functional import recurrent
from fx.nn.checks import no_device, of_dtype, positive, shape_error
from fx.nn.module import Module, where
from fx.nn.recurrent import GATES, declare, mode_of, weights_of


class _Cell(Module):
    def __init__(
        self, mode: str, input_size: int, hidden_size: int, bias: bool, device: None, dtype
    ):
        no_device(self, device)
        positive(self, 0, input_size=input_size, hidden_size=hidden_size)
        self.input_size, self.hidden_size, self.bias = input_size, hidden_size, bias
        gates = GATES[mode] * hidden_size
        declare(self, "", bias, dtype, (gates, input_size), (gates, hidden_size))

    def _step(self, mode: str, input: Any, given: Any, names: tuple[str, ...]) -> recurrent.State:
        x = of_dtype(self, input, self.weight_ih.dtype)
        expected = f"[N, {self.input_size}] or [{self.input_size}]"
        if x.ndim not in (1, 2):
            raise shape_error(self, expected, x, "a cell takes one time step")
        if x.shape[-1] != self.input_size:
            raise shape_error(self, expected, x, f"set input_size={x.shape[-1]}")
        shape = (*x.shape[:-1], self.hidden_size)
        state = []
        for name, value in zip(names, given):
            value = jnp.zeros(shape, x.dtype) if value is None else of_dtype(self, value, x.dtype)
            if value.shape != shape:
                raise ValueError(
                    f"{where(self)}: expected {name} {list(shape)}, got {list(value.shape)}"
                )
            state.append(value)
        return recurrent.cell(mode, x, tuple(state), weights_of(self))

    def extra_repr(self) -> str:
        shown = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            shown += f", bias={self.bias}"
        if getattr(self, "nonlinearity", "tanh") != "tanh":
            shown += f", nonlinearity={self.nonlinearity}"
        return shown


class RNNCell(_Cell):
    """One step of an `RNN`: h' = tanh(x @ W_ih.T + b_ih + h @ W_hh.T + b_hh).

    Args:
        input_size: of the input's last axis.
        hidden_size: of h.
        bias: whether there are biases.
        nonlinearity: "tanh" or "relu".
        device: must be None.
        dtype: of all parameters; float32 unless told.

    Parameters and errors: see `LSTMCell`; and an unknown nonlinearity.

    Source: torch.nn.RNNCell.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: None = None,
        dtype=None,
    ):
        super().__init__(mode_of(self, nonlinearity), input_size, hidden_size, bias, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: jax.Array, hx: jax.Array | None = None) -> jax.Array:
        """[N, in] or [in], and h [N, hidden] or [hidden] (zeros unless given), to the new h."""
        return self._step(mode_of(self, self.nonlinearity), input, (hx,), ("hx",))[0]


class LSTMCell(_Cell):
    """One step of an `LSTM`.

    Args:
        input_size: of the input's last axis.
        hidden_size: of h and c.
        bias: whether there are biases.
        device: must be None.
        dtype: of all parameters; float32 unless told.

    Parameters, gates in the order i, f, g, o: weight_ih [4 * hidden, in], weight_hh [4 * hidden,
    hidden], bias_ih and bias_hh [4 * hidden]; all uniform within 1 / sqrt(hidden).

    Raises:
        TypeError: a size is not an integer; at a call, an input or state is not of the weights'
            dtype, or hx is not a pair.
        ValueError: a size is negative; device is not None; at a call, the input or a state has
            another shape.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> cell = nn.LSTMCell(3, 5)
        >>> params, state = cell.init(jax.random.key(0))
        >>> (h, c), _ = cell.apply(params, state, jnp.ones((8, 3)))
        >>> h.shape, c.shape
        ((8, 5), (8, 5))

    Source: torch.nn.LSTMCell.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: None = None,
        dtype=None,
    ):
        super().__init__("LSTM", input_size, hidden_size, bias, device, dtype)

    def forward(
        self, input: jax.Array, hx: tuple[jax.Array, jax.Array] | None = None
    ) -> tuple[jax.Array, jax.Array]:
        """[N, in] or [in], and (h, c), each [N, hidden] or [hidden], to the new (h, c)."""
        if hx is not None and not (isinstance(hx, tuple | list) and len(hx) == 2):
            raise TypeError(f"{where(self)}: expected hx a pair (h, c), got {type(hx).__name__}")
        h, c = self._step("LSTM", input, hx or (None, None), ("hx[0]", "hx[1]"))
        return h, c


class GRUCell(_Cell):
    """One step of a `GRU`; arguments, parameters and errors as `LSTMCell`.

    Gates in the order r, z, n, so 3 * hidden where an LSTM has 4. Source: torch.nn.GRUCell.
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        device: None = None,
        dtype=None,
    ):
        super().__init__("GRU", input_size, hidden_size, bias, device, dtype)

    def forward(self, input: jax.Array, hx: jax.Array | None = None) -> jax.Array:
        """[N, in] or [in], and h [N, hidden] or [hidden] (zeros unless given), to the new h."""
        return self._step("GRU", input, (hx,), ("hx",))[0]
