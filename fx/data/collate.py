"""Examples to batches: stacked, or padded with a mask."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

Example = tuple[Any, Any]


def stack(examples: Sequence[Example]) -> Example:
    """Stack examples leaf by leaf, as torch's default collate function does.

    Args:
        examples: B trees `(input, target)` of arrays, all of one structure and of the same shapes.

    Returns:
        The tree with leaves `[B, ...]`.

    Raises:
        ValueError: structures, shapes or dtypes differ.

    Example:
        >>> stack([(np.zeros(3), np.int32(1)), (np.ones(3), np.int32(2))])[1]
        array([1, 2], dtype=int32)
    """
    first = jax.tree.structure(examples[0])
    for i, example in enumerate(examples):
        if (structure := jax.tree.structure(example)) != first:
            raise ValueError(
                f"stack: expected examples of one structure, got {first} in example 0 and "
                f"{structure} in example {i} of the batch"
            )
    return jax.tree.map_with_path(_stack, examples[0], *examples[1:])


def _stack(path: Any, *leaves: Any) -> np.ndarray:
    arrays = [np.asarray(leaf) for leaf in leaves]
    first = arrays[0]
    for i, array in enumerate(arrays):
        if array.shape != first.shape or array.dtype != first.dtype:
            mend = "cast them to one dtype with transform="
            if array.shape != first.shape:
                mend = "resize or crop them; fx.data.PadCollate pads a first axis of other lengths"
            if array.shape[:2] == first.shape[:2] and array.dtype == first.dtype == np.uint8:
                mend = (
                    "images want one mode: of Hugging Face's data, "
                    'dataset.cast_column("image", datasets.Image(mode="RGB"))'
                )
            at = f" at {jax.tree_util.keystr(path)} of examples" if path else ""
            raise ValueError(
                f"stack: expected arrays of one shape and dtype{at}, got {first.dtype}"
                f"{list(first.shape)} in example 0 and {array.dtype}{list(array.shape)} in example "
                f"{i} of the batch; {mend}"
            )
    return np.stack(arrays)


@dataclasses.dataclass(frozen=True)
class PadCollate:
    """Stack sequences of different lengths: padded to one length, with a mask of what is real.

    Each length that comes out is a shape that the training step compiles for. `multiple` and
    `buckets` keep them few.

    Args:
        multiple: batches are as long as their longest sequence, rounded up to a multiple of this.
        buckets: lengths, ascending; batches have the least one that holds their longest sequence.
            Given, `multiple` is not used.
        value: what inputs are padded with.
        targets: what targets are padded with, where these are sequences of the same lengths, as
            -100, which `cross_entropy` ignores; None stacks the targets as they are.

    Raises:
        ValueError: `multiple` is below 1, or `buckets` are not ascending; called with a sequence
            longer than the last bucket, or arrays of one example that differ in length.

    Example:
        >>> collate = PadCollate(multiple=4)
        >>> (tokens, mask), labels = collate([(np.array([5, 6]), 0), (np.array([7]), 1)])
        >>> tokens.tolist()
        [[5, 6, 0, 0], [7, 0, 0, 0]]
        >>> mask.astype(int).tolist()
        [[1, 1, 0, 0], [1, 0, 0, 0]]

    Source:
        `torch.nn.utils.rnn.pad_sequence(batch_first=True)`, which gives no mask and knows no
        buckets.
    """

    multiple: int = 1
    buckets: tuple[int, ...] | None = None
    value: float = 0
    targets: float | None = None

    def __post_init__(self) -> None:
        if self.multiple < 1:
            raise ValueError(f"PadCollate: expected multiple of 1 or more, got {self.multiple}")
        if self.buckets is not None:
            buckets = tuple(self.buckets)
            if not buckets or list(buckets) != sorted(set(buckets)) or buckets[0] < 1:
                raise ValueError(
                    f"PadCollate: expected buckets to be lengths, ascending, got {buckets}"
                )
            object.__setattr__(self, "buckets", buckets)

    def __call__(self, examples: Sequence[Example]) -> Example:
        """Make a batch.

        Args:
            examples: B pairs `(input, target)`; an input is an array `[L, ...]`, or a tuple or
                dict of such arrays, all of one length.

        Returns:
            `(inputs, targets)`. An array becomes `(padded, mask)`, a tuple gets the mask as its
            last, a dict as its "mask": bool `[B, L]`, True where a sequence is.
        """
        lengths = [_length(i, example, self.targets) for i, example in enumerate(examples)]
        length = self._round(max(lengths))
        inputs = stack([_pad(example[0], length, self.value) for example in examples])
        targets = [example[1] for example in examples]
        if self.targets is not None:
            targets = [_pad(target, length, self.targets) for target in targets]
        mask = np.arange(length) < np.array(lengths)[:, None]  # [B, L]
        if isinstance(inputs, dict):
            return {**inputs, "mask": mask}, stack(targets)
        parts = inputs if isinstance(inputs, tuple) else (inputs,)
        return (*parts, mask), stack(targets)

    def _round(self, longest: int) -> int:
        if self.buckets is None:
            return max(1, -(-longest // self.multiple)) * self.multiple
        for bucket in self.buckets:
            if longest <= bucket:
                return bucket
        raise ValueError(
            f"PadCollate: expected sequences of at most {self.buckets[-1]}, the last bucket, got "
            f"one of {longest}; cut it in transform=, or add a bucket"
        )


def _length(i: int, example: Example, targets: float | None) -> int:
    leaves = jax.tree.leaves(example if targets is not None else example[0])
    shapes = [np.shape(leaf) for leaf in leaves]
    if not shapes or () in shapes or len({shape[0] for shape in shapes}) > 1:
        raise ValueError(
            f"PadCollate: expected arrays [L, ...] of one length in example {i} of the batch, got "
            f"shapes {[list(shape) for shape in shapes]}"
        )
    return shapes[0][0]


def _pad(tree: Any, length: int, value: float) -> Any:
    def pad(leaf: Any) -> np.ndarray:
        leaf = np.asarray(leaf)
        try:
            whole = np.full((length, *leaf.shape[1:]), value, leaf.dtype)
        except OverflowError as error:
            raise ValueError(
                f"PadCollate: cannot fill arrays of {leaf.dtype} with {value}; give them a dtype "
                "that has it, or fill with another number"
            ) from error
        whole[: len(leaf)] = leaf
        return whole

    return jax.tree.map(pad, tree)
