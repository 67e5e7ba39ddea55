"""Sequences of different lengths in one batch.

torch keeps such a batch without its padding, in an array as long as all sequences together. Here it
keeps its padding, and the lengths stand beside it: the shape does not depend on values, so one
compiled program serves all lengths, under jit, vmap and scan alike.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@jax.tree_util.register_dataclass
@dataclass(frozen=True)
class PackedSequence:
    """A batch of sequences and their lengths; `pack_padded_sequence` makes it.

    Args:
        padded: [L, N, ...]; what lies behind a sequence's end has no influence.
        lengths: [N], integers from 1 to L. Where they are known before the program runs (NumPy, as
            `pack_padded_sequence` makes of a list), `data` is known too.

    Source: torch.nn.utils.rnn.PackedSequence, whose fields are properties here. For another array
    with the same lengths use ``dataclasses.replace(packed, padded=...)``.
    """

    padded: Any
    lengths: Any

    @property
    def data(self) -> jax.Array:
        """[sum(lengths), ...]: without padding, in torch's order: by time, then by length.

        Raises:
            ValueError: the lengths are a jax array, on which no shape can depend.
        """
        lengths = self._known("data", "padded")
        steps = np.concatenate([np.full(n, t) for t, n in enumerate(self._batch_sizes(lengths))])
        order = np.argsort(-lengths, kind="stable")
        rows = np.concatenate([order[:n] for n in self._batch_sizes(lengths)])
        return jnp.asarray(self.padded)[steps, rows]

    def __getitem__(self, index: int) -> jax.Array:
        """The field at an index, as torch's named tuple has them: `packed[0]` is its `data`."""
        fields = ("data", "batch_sizes", "sorted_indices", "unsorted_indices")
        return getattr(self, fields[index])

    @property
    def batch_sizes(self) -> np.ndarray:
        """[L], how many sequences have each step. Raises as `data` does."""
        return self._batch_sizes(self._known("batch_sizes", "lengths"))

    @property
    def sorted_indices(self) -> jax.Array:
        """[N], the sequences ordered by length, the longest first."""
        return jnp.argsort(-jnp.asarray(self.lengths))

    @property
    def unsorted_indices(self) -> jax.Array:
        """[N], the inverse of `sorted_indices`."""
        return jnp.argsort(self.sorted_indices)

    @staticmethod
    def _batch_sizes(lengths: np.ndarray) -> np.ndarray:
        return (np.arange(lengths.max())[:, None] < lengths).sum(1)

    def _known(self, name: str, instead: str) -> np.ndarray:
        if isinstance(self.lengths, jax.Array):
            raise ValueError(
                f"PackedSequence.{name}: expected lengths that are known when the program is "
                f"traced, a list or a NumPy array, got a jax array; use .{instead}, or mask with "
                "jnp.arange(L)[:, None] < lengths"
            )
        return np.asarray(self.lengths)


def pack_padded_sequence(
    input: jax.Array,
    lengths: Any,
    batch_first: bool = False,
    enforce_sorted: bool = True,
) -> PackedSequence:
    """A padded batch and its lengths as one value, which recurrent layers take.

    Args:
        input: [L, N, ...], or [N, L, ...] with batch_first.
        lengths: [N], integers from 1 to L: a list or a NumPy array, which become part of the
            program, or a jax array, which may differ from call to call of one program.
        batch_first: whether the batch is the input's first axis.
        enforce_sorted: whether a list or NumPy array of lengths must be in decreasing order; they
            need not be here, in neither case.

    Returns:
        The sequences in the order given. What was padding is 0.

    Raises:
        TypeError: lengths are not integers.
        ValueError: the input has fewer than two axes or no element; there is not one length for
            each sequence; and, of a list or NumPy array, a length is not within 1 and L, or they
            are not in decreasing order though enforce_sorted is set.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
        >>> packed = pack_padded_sequence(x, [2, 1, 3], batch_first=True, enforce_sorted=False)
        >>> packed.data.tolist()
        [4, 1, 3, 5, 2, 6]

    Source: torch.nn.utils.rnn.pack_padded_sequence. A list or NumPy array cuts L to the longest
    length, as in torch; a jax array leaves it.
    """
    input = jnp.asarray(input)
    if input.ndim < 2 or not input.size:
        raise ValueError(
            f"pack_padded_sequence: expected input [L, N, ...], none of them 0, "
            f"got {list(input.shape)}"
        )
    padded = jnp.swapaxes(input, 0, 1) if batch_first else input
    lengths = _as_lengths(lengths, padded)
    if not isinstance(lengths, jax.Array):
        _check_values(lengths, padded.shape[0], enforce_sorted)
        padded = padded[: lengths.max()]
    return PackedSequence(_padding_as(padded, lengths, 0), lengths)


def pad_packed_sequence(
    sequence: PackedSequence,
    batch_first: bool = False,
    padding_value: float = 0.0,
    total_length: int | None = None,
) -> tuple[jax.Array, Any]:
    """A padded batch and its lengths, from one value.

    Args:
        sequence: what `pack_padded_sequence` or a recurrent layer gave.
        batch_first: whether the batch is the output's first axis.
        padding_value: what stands behind a sequence's end.
        total_length: the output's L; that of the sequence unless told.

    Returns:
        [L, N, ...], or [N, L, ...] with batch_first, and the lengths [N] as they were given.

    Raises:
        TypeError: sequence is not a `PackedSequence`.
        ValueError: total_length is less than the longest length.

    Source: torch.nn.utils.rnn.pad_packed_sequence. Where the lengths are a jax array, L is that of
    the input of `pack_padded_sequence`, not the longest length, and total_length may cut it.
    """
    if not isinstance(sequence, PackedSequence):
        raise TypeError(
            f"pad_packed_sequence: expected a PackedSequence, got {type(sequence).__name__}; "
            "make one with pack_padded_sequence"
        )
    lengths, padded = sequence.lengths, jnp.asarray(sequence.padded)
    if total_length is not None:
        longest = 0 if isinstance(lengths, jax.Array) else lengths.max()
        if total_length < max(1, longest):
            raise ValueError(
                f"pad_packed_sequence: expected total_length of {max(1, longest)} or more, the "
                f"longest length, got {total_length}"
            )
        more = max(0, total_length - padded.shape[0])
        padded = jnp.pad(padded[:total_length], [(0, more), *[(0, 0)] * (padded.ndim - 1)])
    padded = _padding_as(padded, lengths, padding_value)
    return (jnp.swapaxes(padded, 0, 1) if batch_first else padded), lengths


def pad_sequence(
    sequences: Sequence[jax.Array],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> jax.Array:
    """Sequences of different lengths as one padded array.

    Args:
        sequences: arrays [L_n, ...], alike but for their lengths.
        batch_first: whether the batch is the output's first axis.
        padding_value: what fills the shorter ones.
        padding_side: "right", after a sequence, or "left", before it.

    Returns:
        [L, N, ...], or [N, L, ...] with batch_first; L is the longest length.

    Raises:
        ValueError: no sequence, other axes than the first differ, or an unknown padding_side.

    Example:
        >>> import jax.numpy as jnp
        >>> pad_sequence([jnp.ones(2), jnp.ones(3)], batch_first=True).tolist()
        [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]]
    """
    arrays = [jnp.asarray(s) for s in sequences]
    if not arrays or any(not a.ndim or a.shape[1:] != arrays[0].shape[1:] for a in arrays):
        raise ValueError(
            "pad_sequence: expected one or more arrays [L_n, ...], alike but for L_n, got the "
            f"shapes {[list(a.shape) for a in arrays]}"
        )
    if padding_side not in ("left", "right"):
        raise ValueError(
            f'pad_sequence: expected padding_side "left" or "right", got {padding_side!r}'
        )
    longest = max(len(a) for a in arrays)

    def pad(a):
        more = longest - len(a)
        sides = (more, 0) if padding_side == "left" else (0, more)
        fill = jnp.asarray(padding_value).astype(a.dtype)
        return jnp.pad(a, [sides, *[(0, 0)] * (a.ndim - 1)], constant_values=fill)

    return jnp.stack([pad(a) for a in arrays], axis=0 if batch_first else 1)


def unpad_sequence(
    padded_sequences: jax.Array, lengths: Any, batch_first: bool = False
) -> list[jax.Array]:
    """The sequences of a padded array, each as long as it is.

    Args:
        padded_sequences: [L, N, ...], or [N, L, ...] with batch_first.
        lengths: [N], integers that are known: not an argument of a compiled function.
        batch_first: whether the batch is the first axis.

    Returns:
        N arrays [L_n, ...].

    Raises:
        ValueError: there is not one length for each sequence; the lengths are not known.
    """
    padded = jnp.asarray(padded_sequences)
    padded = padded if batch_first else jnp.swapaxes(padded, 0, 1)
    try:
        known = np.asarray(lengths)
    except jax.errors.TracerArrayConversionError:
        raise ValueError(
            "unpad_sequence: expected lengths that are known, got an argument of a compiled "
            "function, on which no shape can depend; keep the padding and mask it"
        ) from None
    if known.shape != padded.shape[:1]:
        raise ValueError(
            f"unpad_sequence: expected {padded.shape[0]} lengths, got the shape {known.shape}"
        )
    return [sequence[:length] for sequence, length in zip(padded, known.tolist())]


def pack_sequence(sequences: Sequence[jax.Array], enforce_sorted: bool = True) -> PackedSequence:
    """Sequences [L_n, ...] as one value; see `pad_sequence` and `pack_padded_sequence`."""
    padded = pad_sequence(sequences)
    lengths = np.array([len(s) for s in sequences], np.int32)
    return pack_padded_sequence(padded, lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[jax.Array]:
    """The sequences of a packed batch, each as long as it is; see `unpad_sequence`."""
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)


def _as_lengths(lengths, padded):
    if not isinstance(lengths, jax.Array):  # a list may hold traced numbers
        traced = any(isinstance(n, jax.Array) for n in lengths)
        lengths = jnp.stack(lengths) if traced else np.asarray(lengths)
    if lengths.shape != padded.shape[1:2]:
        raise ValueError(
            f"pack_padded_sequence: expected {padded.shape[1]} lengths, one for each sequence, got "
            f"the shape {list(lengths.shape)}; is batch_first right?"
        )
    if not jnp.issubdtype(lengths.dtype, jnp.integer):
        raise TypeError(
            f"pack_padded_sequence: expected integer lengths, got {lengths.dtype}; "
            "convert them with .astype(jnp.int32)"
        )
    return lengths.astype(np.int32)


def _check_values(lengths, longest, enforce_sorted):
    if lengths.min() < 1 or lengths.max() > longest:
        raise ValueError(
            f"pack_padded_sequence: expected lengths from 1 to {longest}, the input's length, got "
            f"{lengths.tolist()}"
        )
    if enforce_sorted and (np.diff(lengths) > 0).any():
        raise ValueError(
            f"pack_padded_sequence: expected lengths in decreasing order, got {lengths.tolist()}; "
            "pass enforce_sorted=False"
        )


def _padding_as(padded, lengths, value):
    """The array with another value behind each sequence's end."""
    lengths = jnp.asarray(lengths)
    inside = jnp.arange(padded.shape[0], dtype=lengths.dtype)[:, None] < lengths  # [L, N]
    inside = inside.reshape(*inside.shape, *(1,) * (padded.ndim - 2))  # [L, N, 1, ...]
    return jnp.where(inside, padded, jnp.asarray(value).astype(padded.dtype))
