"""What a step needs of the device's memory, said where it did not fit."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

_OUT_OF_MEMORY = ("RESOURCE_EXHAUSTED", "Out of memory", "out of memory")
_UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error of XLA says that memory did not suffice."""
    kind = isinstance(error, jax.errors.JaxRuntimeError | MemoryError)
    return kind and any(mark in str(error) for mark in _OUT_OF_MEMORY)


def explain_memory(step: Any, ts: Any, batch: Any) -> str:
    """Say what a compiled step needs of memory, what the device has, and what to try.

    Nothing runs: the step is compiled for the shapes of its arguments, which may have been donated.

    Args:
        step: A `Step`, or a function of `(ts, batch)`, compiled or not.
        ts: The state that it was called with.
        batch: The batch.

    Returns:
        Some lines of text.

    Example:
        >>> text = explain_memory(lambda ts, batch: ts @ batch, jnp.eye(256), jnp.eye(256))
        >>> print(text.splitlines()[1])
          the state        256.0 KiB
    """
    compiled = getattr(step, "compiled", step)
    compiled = compiled if hasattr(compiled, "lower") else jax.jit(compiled)
    shapes = jax.tree.map(_shape, (ts, batch))
    sizes = {name: _size_bytes(tree) for name, tree in zip(("state", "batch"), shapes)}
    analysis: Any = None
    try:
        analysis = compiled.lower(*shapes).compile().memory_analysis()
    except jax.errors.JaxRuntimeError as error:  # it may not even compile for want of memory
        trouble = f"  the rest is not known: compiling failed too ({_first_line(error)})"
    else:
        trouble = "" if analysis else "  the rest is not known: this backend does not tell"
    lines = ["what the step needs on the device:"]
    lines.append(f"  the state        {show_bytes(sizes['state'])}")
    lines.append(f"  the batch        {show_bytes(sizes['batch'])}")
    temporary = None
    if analysis:
        temporary = analysis.temp_size_in_bytes
        fresh = analysis.output_size_in_bytes - analysis.alias_size_in_bytes
        whole = analysis.argument_size_in_bytes + fresh + temporary
        lines.append(f"  its results      {show_bytes(fresh)} (what donation did not save)")
        lines.append(
            f"  temporaries      {show_bytes(temporary)} (activations; they grow with the batch)"
        )
        lines.append(f"  together         {show_bytes(whole)}")
    lines += [trouble] * bool(trouble) + _device()
    lines += ["what to try:", *_advice(sizes["state"], temporary, _donates(analysis))]
    return "\n".join(lines)


def out_of_memory(step: Any, ts: Any, batch: Any, error: BaseException) -> MemoryError:
    """Make the error to raise from XLA's, which says little that helps."""
    return MemoryError(
        f"train step: the device is out of memory ({_first_line(error)});\n"
        f"{explain_memory(step, ts, batch)}"
    )


def show_bytes(size_bytes: float) -> str:
    """A size as text.

    Example:
        >>> show_bytes(3 * 2**20)
        '3.0 MiB'
    """
    unit = 0
    while size_bytes >= 1024 and unit < len(_UNITS) - 1:
        size_bytes, unit = size_bytes / 1024, unit + 1
    return f"{size_bytes:.{int(unit > 0)}f} {_UNITS[unit]}"


def _donates(analysis: Any) -> bool:
    return analysis is not None and analysis.alias_size_in_bytes > 0


def _advice(state_bytes: int, temporary_bytes: int | None, donated: bool) -> list[str]:
    smaller = [
        "a smaller batch; temporaries shrink with it",
        "make_step(accumulate=2): the same batch in two parts, the same update",
        'make_step(precision="bf16"): activations take half',
        "make_step(remat=True): activations are computed again instead of kept",
    ]
    advice = smaller
    if temporary_bytes is not None and temporary_bytes < state_bytes:
        advice = [
            "an optimizer with less state (sgd, adafactor): the state is the largest part",
            "FSDP over several devices: the state is split among them",
            *smaller[:2],
        ]
    if not donated:
        advice = ["make_step(donate=True): the new state takes the old one's memory", *advice]
    device = jax.local_devices()[0]
    if device.platform == "gpu":
        advice.append(
            "nvidia-smi: does another process hold memory? jax takes 75 % of a GPU at its start; "
            "XLA_PYTHON_CLIENT_MEM_FRACTION=0.95 before it starts gives it more"
        )
    return [f"  - {line}" for line in advice]


def _device() -> list[str]:
    device = jax.local_devices()[0]
    stats = device.memory_stats() or {}
    name = f"{device.device_kind} ({device.platform})"
    if "bytes_limit" not in stats:
        return [f"the device: {name}, which does not tell its memory"]
    limit, used = stats["bytes_limit"], stats.get("bytes_in_use", 0)
    return [f"the device: {name}, {show_bytes(limit)} for jax, {show_bytes(used)} in use now"]


def _shape(leaf: Any) -> jax.ShapeDtypeStruct:
    # A donated array has lost its memory and kept its shape.
    if isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer):
        sharding = leaf.sharding if leaf.committed else None
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)
    return jax.ShapeDtypeStruct(jnp.shape(leaf), jnp.result_type(leaf))


def _size_bytes(tree: Any) -> int:
    return sum(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


def _first_line(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0]
