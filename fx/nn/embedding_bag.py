"""Bags of rows of a learned table as a layer."""

from typing import Any, cast

import jax
import numpy as np

from fx import functional as F
from fx.nn.checks import no_device, positive
from fx.nn.module import Module
from fx.nn.parameter import Buffer, Parameter
from fx.nn.rewrite import replace
from fx.nn.sparse import dtype_of, padding_row, table


class EmbeddingBag(Module):
    """Sums, means or maxima over bags of rows of a learned table.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: length of a row.
        max_norm: see `Embedding`.
        norm_type: see `Embedding`.
        scale_grad_by_freq: see `Embedding`.
        mode: "sum", "mean" or "max".
        sparse: accepted, no effect: XLA has dense gradients only.
        _weight: [num_embeddings, embedding_dim], the table to begin with.
        include_last_offset: whether `offsets` has one more element, where the last bag ends.
        padding_idx: an index that is left out, whose row begins as zeros; negative counts from the
            end.
        device: must be None.
        dtype: of the table; float32, or that of `_weight`, unless told.

    Parameters: weight [num_embeddings, embedding_dim], N(0, 1).

    Raises:
        TypeError: a size is not an integer; at a call, the input is not of an integer dtype.
        ValueError: a size is less than 1; padding_idx is not a row; `_weight` has another shape;
            the mode is unknown; device is not None; at a call, what `F.embedding_bag` raises.

    Source: torch.nn.EmbeddingBag.
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Any = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: None = None,
        dtype=None,
    ):
        no_device(self, device)
        positive(self, 0, num_embeddings=num_embeddings)
        positive(self, embedding_dim=embedding_dim)
        if mode not in ("sum", "mean", "max"):
            raise ValueError(f'EmbeddingBag: expected mode "sum", "mean" or "max", got {mode!r}')
        self.num_embeddings, self.embedding_dim = num_embeddings, embedding_dim
        self.max_norm, self.norm_type = max_norm, norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.padding_idx = padding_row(self, padding_idx, num_embeddings)
        self.mode, self.sparse, self.include_last_offset = mode, sparse, include_last_offset
        shape = (num_embeddings, embedding_dim)
        begin = table(self, _weight, shape, self.padding_idx)
        self.weight = Parameter(shape, begin, dtype or dtype_of(_weight))

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Any,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> "EmbeddingBag":
        """A layer that begins with a given table, [num, dim].

        Args: as the constructor's, and `freeze`: whether the table is a buffer, not trained.

        Raises:
            ValueError: embeddings does not have two axes.
        """
        if np.ndim(embeddings) != 2:
            raise ValueError(
                f"EmbeddingBag.from_pretrained: expected a table [num, dim], got the shape "
                f"{np.shape(embeddings)}"
            )
        layer = cls(
            *np.shape(embeddings), max_norm, norm_type, scale_grad_by_freq, mode, sparse,
            embeddings, include_last_offset, padding_idx,
        )  # fmt: skip
        return (
            cast("EmbeddingBag", replace(layer, "weight", Buffer(embeddings))) if freeze else layer
        )

    def forward(
        self,
        input: jax.Array,
        offsets: jax.Array | None = None,
        per_sample_weights: jax.Array | None = None,
    ) -> jax.Array:
        """[B, N], or [N] and offsets [B], in; [B, embedding_dim] out."""
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        """Sizes, the mode, and what is not as by default."""
        shown = f"{self.num_embeddings}, {self.embedding_dim}"
        if self.max_norm is not None:
            shown += f", max_norm={self.max_norm}"
        if self.norm_type != 2:
            shown += f", norm_type={self.norm_type}"
        if self.scale_grad_by_freq:
            shown += f", scale_grad_by_freq={self.scale_grad_by_freq}"
        shown += f", mode={self.mode!r}"
        return shown if self.padding_idx is None else f"{shown}, padding_idx={self.padding_idx}"
