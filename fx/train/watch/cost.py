"""What a step costs: operations, their share of the device's peak, memory."""

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

from fx.train.watch.event import Event
from fx.train.watch.peaks import find_peak


def flops(step: Callable, ts: Any, batch: Any) -> float:
    """Count the floating-point operations of a call of a step.

    Matrix products and convolutions are counted, as the program has them before XLA optimises it
    (a product that nothing uses included):
    two operations for each product of numbers, none for a convolution's padding. Elementwise work
    is left out, as is usual for a model's utilisation. The body of a scan counts as often as it
    runs (XLA's own analysis, see `xla_flops`, counts it once), so a call of `steps_per_call` k
    counts k steps. Of a while loop, whose turns are not known, one turn counts; of the branches of
    a condition, the costliest. What `remat` computes again is counted again. Kernels (Pallas,
    custom calls) count nothing. Nothing is compiled or run.

    Args:
        step: A `Step`, a jitted function, or a plain one of jax: `(ts, batch) -> ...`.
        ts: The training state, or its shapes; one that was donated will do.
        batch: A batch, or its shapes.

    Returns:
        Operations of one call, on all devices together.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> flops(lambda w, x: x @ w, jnp.ones((4, 5)), jnp.ones((3, 4)))  # 2 * 3 * 4 * 5
        120.0
    """
    return _count(_traceable(step).trace(ts, batch).jaxpr.jaxpr)


def xla_flops(step: Callable, ts: Any, batch: Any) -> float | None:
    """Read the operations of a call off XLA's analysis of the compiled program.

    It counts elementwise work too, loop bodies once, what the compiler added or took away, and
    one device's share. Compiled again is only what no call has compiled yet, and then for the
    calls to come.

    Args:
        step: As for `flops`.
        ts: The training state, with the placement that calls have.
        batch: A batch.

    Returns:
        Operations; None where the platform does not tell.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> xla_flops(lambda w, x: x @ w, jnp.ones((4, 5)), jnp.ones((3, 4)))
        120.0
    """
    analysis = _traceable(step).lower(ts, batch).compile().cost_analysis()
    return None if analysis is None else analysis.get("flops")


def mfu(flops: float, seconds: float, peak: float) -> float:
    """Compute a model's FLOP utilisation: the share of the peak that was reached.

    Args:
        flops: Operations, see `flops`.
        seconds: The time that they took.
        peak: FLOP/s of all devices that took part; see `find_peak`.

    Returns:
        A share of 1.

    Example:
        >>> mfu(5e12, 0.1, 100e12)
        0.5

    Source:
        Chowdhery et al., PaLM, appendix B. With `remat`, what is computed twice counts twice here,
        which that paper calls hardware utilisation.
    """
    return flops / seconds / peak


def memory(devices: Iterable[Any] | None = None) -> dict[str, float]:
    """Ask the devices of this process for their memory, without waiting for them.

    Args:
        devices: The devices; all of this process.

    Returns:
        "memory_gb", in use now, and "memory_peak_gb", the most so far, in 1e9 bytes, each of the
        device that has most; nothing where no device tells, as CPUs do not.

    Example:
        >>> memory()
        {}
    """
    told = [device.memory_stats() for device in devices or jax.local_devices()]
    names = {"bytes_in_use": "memory_gb", "peak_bytes_in_use": "memory_peak_gb"}
    found = {}
    for field, name in names.items():
        sizes = [stats[field] for stats in told if stats and field in stats]
        if sizes:
            found[name] = max(sizes) / 1e9
    return found


class Meter:
    """Report utilisation and memory beside a run's own values, without waiting for the device.

    A callback for `fx.fit`. For a log event it returns "mfu", from the event's speed and the
    operations of a call, and what `memory` finds.

    Args:
        step: The step of the run.
        ts: Its state, before or after.
        batch: A batch as the step gets it.
        precision: As for `make_step`.
        peak: FLOP/s of one device; `find_peak` where it is left out, which on a device that is not
            in its table takes a second.
        flops: What is counted. "program": products and convolutions of the program that was
            written, by `flops`. "xla": what XLA's cost analysis says of the compiled program, by
            `xla_flops`, times the devices; elementwise work is in it, and a step that no call has
            compiled yet is compiled now. Since XLA counts the body of a loop once, programs with
            products in loops are refused there.

    Attributes:
        flops_per_example: Operations for one example.
        peak: FLOP/s of all devices of the run.

    Raises:
        ValueError: An unknown precision or way to count; a batch without examples; with
            flops="xla", products in a loop (steps_per_call, accumulate, `nn.Stack`, a recurrent
            layer), or a platform that does not tell.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> meter = Meter(lambda w, x: x @ w, jnp.ones((4, 5)), jnp.ones((3, 4)), peak=1e6)
        >>> meter(Event("log", 1, 50, {}, 1.0, 2500.0, None))
        {'mfu': 0.1}
        >>> step, w, x = (lambda w, x: x @ w + 1.0), jnp.ones((4, 5)), jnp.ones((3, 4))
        >>> for way in ("program", "xla"):
        ...     Meter(step, w, x, peak=1e6, flops=way).flops_per_example
        40.0
        45.0
    """

    def __init__(
        self,
        step: Callable,
        ts: Any,
        batch: Any,
        *,
        precision: str = "float32",
        peak: float | None = None,
        flops: str = "program",
    ) -> None:
        per_call = getattr(step, "steps_per_call", 1)
        shapes = [np.shape(leaf) for leaf in jax.tree.leaves(batch)]
        examples = math.prod(shapes[0][: 1 if per_call == 1 else 2]) if shapes else 0
        if not examples or not shapes[0]:
            raise ValueError(
                f"Meter: expected a batch of examples, got arrays of shapes {list(shapes)}"
            )
        devices = _devices((ts, batch))
        self.flops_per_example = _operations(flops, step, ts, batch, len(devices)) / examples
        one = find_peak(precision, devices[0]) if peak is None else peak
        self.peak = one * len(devices)

    def __call__(self, event: Event) -> dict[str, float]:
        """Return what there is to add to the event's values."""
        if event.kind != "log":
            return {}
        if event.images_per_s is None:
            return memory()
        achieved = mfu(self.flops_per_example * event.images_per_s, 1.0, self.peak)
        return {"mfu": achieved, **memory()}


def _operations(way: str, step: Callable, ts: Any, batch: Any, devices: int) -> float:
    """Operations of a call on all devices, as `Meter` counts them."""
    if way == "program":
        return flops(step, ts, batch)
    if way != "xla":
        raise ValueError(f'Meter: expected flops="program" or "xla", got {way!r}')
    if _has_loops(_traceable(step).trace(ts, batch).jaxpr.jaxpr):
        raise ValueError(
            'Meter: flops="xla" expected a step without products in loops, whose bodies XLA counts '
            "once, but this one has some (steps_per_call, accumulate, nn.Stack and recurrent "
            'layers make them); use flops="program"'
        )
    told = xla_flops(step, ts, batch)
    if not told:
        raise ValueError(
            f'Meter: flops="xla" expected XLA to tell the operations of the compiled step, got '
            f'{told} on {jax.default_backend()}; use flops="program"'
        )
    return told * devices


def _traceable(step: Callable) -> Any:
    function = getattr(step, "compiled", step)
    return function if hasattr(function, "trace") else jax.jit(function)


def _devices(tree: Any) -> Sequence[Any]:
    """The devices over which the widest array is spread; one of this process comes first."""
    sets = [
        leaf.sharding.device_set for leaf in jax.tree.leaves(tree) if isinstance(leaf, jax.Array)
    ]
    widest = max(sets, key=len, default={jax.local_devices()[0]})
    return sorted(widest, key=lambda device: device.process_index != jax.process_index())


def _count(jaxpr: core.Jaxpr) -> float:
    return float(sum(map(_count_one, jaxpr.eqns)))


def _has_loops(jaxpr: core.Jaxpr) -> bool:
    """Whether there are products in the body of a loop."""
    for eqn in jaxpr.eqns:
        inner = [each for value in eqn.params.values() for each in _jaxprs(value)]
        if eqn.primitive.name in ("scan", "while") and any(map(_count, inner)):
            return True
        if any(map(_has_loops, inner)):
            return True
    return False


def _count_one(eqn: core.JaxprEqn) -> float:
    name, params = eqn.primitive.name, eqn.params
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left, (out,) = _shapes(eqn)[0][0], _shapes(eqn)[1]
        return 2.0 * math.prod(out) * math.prod(left[axis] for axis in contracted)
    if name == "conv_general_dilated":
        return _count_convolution(eqn)
    inner = [_count(jaxpr) for value in params.values() for jaxpr in _jaxprs(value)]
    if name == "scan":
        return params["length"] * sum(inner)
    if name == "cond":
        platforms = params.get("branches_platforms")  # all but None trade operations for speed
        return inner[platforms.index(None)] if platforms else max(inner)
    if name == "shard_map":
        # The body is one device's share; what the axes are called depends on jax's version.
        axes = params.get("newly_manual_axes") or params["manual_axes"]
        return sum(inner) * math.prod(params["mesh"].shape[axis] for axis in axes)
    return 0.0 if name == "pallas_call" else sum(inner)


def _count_convolution(eqn: core.JaxprEqn) -> float:
    (left, right), (result,) = _shapes(eqn)
    params = eqn.params
    lhs, rhs, out = params["dimension_numbers"]
    products = left[lhs[0]] // params["batch_group_count"] * right[rhs[0]] * right[rhs[1]]
    for axis, (low, _) in enumerate(params["padding"]):
        start = np.arange(result[out[2 + axis]]) * params["window_strides"][axis]
        offset = np.arange(right[rhs[2 + axis]]) * params["rhs_dilation"][axis]
        place, spread = start[:, None] + offset - low, params["lhs_dilation"][axis]
        # What falls on padding, or between the elements of a dilated input, is no product.
        real = (place >= 0) & (place <= (left[lhs[2 + axis]] - 1) * spread)
        products *= int((real & (place % spread == 0)).sum())
    return 2.0 * products


def _shapes(eqn: core.JaxprEqn) -> tuple[list[Any], list[Any]]:
    """The shapes of what goes in, and of what comes out."""
    inputs = [getattr(variable.aval, "shape", ()) for variable in eqn.invars]
    return inputs, [getattr(variable.aval, "shape", ()) for variable in eqn.outvars]


def _jaxprs(value: Any) -> list[core.Jaxpr]:
    if isinstance(value, core.ClosedJaxpr):
        return [value.jaxpr]
    if isinstance(value, core.Jaxpr):
        return [value]
    if isinstance(value, tuple | list):
        return [jaxpr for item in value for jaxpr in _jaxprs(item)]
    return []
