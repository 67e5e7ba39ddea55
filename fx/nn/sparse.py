"""Lookups in tables as layers."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from fx import functional as F
from fx.nn import draws, init
from fx.nn.checks import no_device, positive
from fx.nn.module import Module, where
from fx.nn.parameter import Buffer, Parameter


def _normal_but_one_row(key: Any, shape: tuple, dtype: Any, row: int) -> jax.Array:
    return draws.normal(key, shape, dtype).at[row].set(0)


def padding_row(module: Module, padding_idx: int | None, rows: int) -> int | None:
    """The padding's row, counted from the start.

    Raises:
        ValueError: it is not a row of the table.
    """
    if padding_idx is not None and not -rows <= padding_idx < rows:
        kind = type(module).__name__
        raise ValueError(f"{kind}: expected padding_idx among {rows} rows, got {padding_idx}")
    return None if padding_idx is None else padding_idx % rows


def table(
    module: Module, weight: Any, shape: tuple[int, int], padding_idx: int | None
) -> init.Initialiser:
    """How a table begins: as the given one, or N(0, 1) with zeros for the padding.

    Raises:
        ValueError: the given one has another shape.
    """
    if weight is not None:
        if np.shape(weight) != shape:
            raise ValueError(
                f"{type(module).__name__}: expected _weight {list(shape)}, got "
                f"{list(np.shape(weight))}"
            )
        return init.constant(np.asarray(weight))
    if padding_idx is None:
        return init.normal()
    return init.Initialiser(_normal_but_one_row, row=padding_idx)


def dtype_of(weight: Any) -> Any:
    """The dtype of a given table, as jax would have it; None without one."""
    return None if weight is None else jax.dtypes.canonicalize_dtype(np.asarray(weight).dtype)


class Embedding(Module):
    """Rows of a learned table.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: length of a row.
        padding_idx: a row that begins as zeros and gets no gradient; negative counts from the end.
        max_norm: the norm to which longer rows are shortened when they are read; the table stays as
            it is.
        norm_type: the p of that norm.
        scale_grad_by_freq: whether a row's gradient is divided by how often the input names it.
        sparse: accepted, no effect: XLA has dense gradients only.
        _weight: [num_embeddings, embedding_dim], the table to begin with.
        _freeze: whether the table is a buffer, which is not trained.
        device: must be None.
        dtype: of the table; float32, or that of `_weight`, unless told.

    Parameters: weight [num_embeddings, embedding_dim], N(0, 1).

    Raises:
        TypeError: a size is not an integer; at a call, the input is not of an integer dtype.
        ValueError: a size is negative; padding_idx is not a row; `_weight` has another shape;
            device is not None.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> from fx import nn
        >>> layer = nn.Embedding(10, 4)
        >>> params, state = layer.init(jax.random.key(0))
        >>> layer.apply(params, state, jnp.array([[1, 2, 3]]))[0].shape
        (1, 3, 4)

    Source: torch.nn.Embedding. An index outside of the table gives NaN: a compiled function cannot
    raise on a value. torch's max_norm shortens the rows in the table too.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Any = None,
        _freeze: bool = False,
        device: None = None,
        dtype=None,
    ):
        no_device(self, device)
        positive(self, 0, num_embeddings=num_embeddings, embedding_dim=embedding_dim)
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.padding_idx = padding_row(self, padding_idx, num_embeddings)
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq, self.sparse = scale_grad_by_freq, sparse
        declare, shape = Buffer if _freeze else Parameter, (num_embeddings, embedding_dim)
        begin = table(self, _weight, shape, self.padding_idx)
        self.weight = declare(shape, begin, dtype or dtype_of(_weight))

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> "Embedding":
        """A layer that begins with a given table.

        Args:
            embeddings: [num_embeddings, embedding_dim].
            freeze: whether the table is a buffer, which is not trained.
            padding_idx: a row that gets no gradient.
            max_norm: as the constructor's.
            norm_type: as the constructor's.
            scale_grad_by_freq: as the constructor's.
            sparse: accepted, no effect.

        Raises:
            ValueError: embeddings does not have two axes.
        """
        if np.ndim(embeddings) != 2:
            raise ValueError(
                f"Embedding.from_pretrained: expected a table [num, dim], got the shape "
                f"{np.shape(embeddings)}"
            )
        rows, columns = np.shape(embeddings)
        return cls(
            rows,
            columns,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight=embeddings,
            _freeze=freeze,
        )

    def forward(self, input: jax.Array) -> jax.Array:
        """[...], integers, in; [..., embedding_dim] out."""
        input = jnp.asarray(input)
        if not jnp.issubdtype(input.dtype, jnp.integer):
            raise TypeError(
                f"{where(self)}: expected integer input, got {input.dtype}; "
                "convert indices with x.astype(jnp.int32)"
            )
        return F.embedding(
            input,
            self.weight,
            self.padding_idx,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.sparse,
        )

    def extra_repr(self) -> str:
        """Sizes, and what is not as by default."""
        shown = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.padding_idx is not None:
            shown += f", padding_idx={self.padding_idx}"
        if self.max_norm is not None:
            shown += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            shown += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            shown += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        return shown + ", sparse=True" * bool(self.sparse)
