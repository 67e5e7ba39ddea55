"""How many floating-point operations a device can do in a second: known, or measured."""

import functools
import re
import time
from typing import Any

import jax
import jax.numpy as jnp

from fx.train.precision import check_precision, matmul_precision

# Dense peaks in TFLOP/s, by the `device_kind` that jax reports (a whole match, so that neither a
# laptop's chip nor a MIG slice takes the figure of a card). "float32" is without tensor cores;
# sums are in float32. Makers quote the double for sparse matrices; these are without.
#
# H100, H200, GH200: NVIDIA H100, H200 and GH200 datasheets. A100, L4, L40S, T4, V100: the
# datasheets of these names. RTX 30: NVIDIA Ampere GA102 whitepaper 2.1, appendix A. RTX 40: NVIDIA
# Ada whitepaper 2.1, appendix A. TPU: "System architecture" in Cloud TPU's documentation, per chip
# (v2 and v3, where jax counts cores, are left to measurement).
_KNOWN: tuple[tuple[str, dict[str, float]], ...] = (
    (r"NVIDIA H100 80GB HBM3", {"float32": 66.9, "tf32": 494.7, "bf16": 989.4, "fp16": 989.4}),
    (r"NVIDIA H100 PCIe", {"float32": 51.2, "tf32": 378, "bf16": 756, "fp16": 756}),
    (r"NVIDIA H(100|200) NVL", {"float32": 60, "tf32": 417.5, "bf16": 835.5, "fp16": 835.5}),
    (
        r"NVIDIA (H200|GH200 (480GB|144G HBM3e))",
        {"float32": 66.9, "tf32": 494.7, "bf16": 989.4, "fp16": 989.4},
    ),
    (
        r"(NVIDIA )?A100-(SXM4|PCIE|PCIe)-(40|80)GB|NVIDIA A100 80GB PCIe",
        {"float32": 19.5, "tf32": 156, "bf16": 312, "fp16": 312},
    ),
    (r"NVIDIA L4", {"float32": 30.3, "tf32": 60, "bf16": 121, "fp16": 121}),
    (r"NVIDIA L40S", {"float32": 91.6, "tf32": 183, "bf16": 362, "fp16": 362}),
    (r"(NVIDIA )?Tesla T4|NVIDIA T4", {"float32": 8.1, "fp16": 65}),
    (r"(NVIDIA )?(Tesla )?V100-SXM2-(16|32)GB(-LS)?", {"float32": 15.7, "fp16": 125}),
    (r"(NVIDIA )?(Tesla )?V100-PCIE-(16|32)GB", {"float32": 14, "fp16": 112}),
    (r"(NVIDIA )?GeForce RTX 3090", {"float32": 35.6, "tf32": 35.6, "bf16": 71, "fp16": 71}),
    (r"(NVIDIA )?GeForce RTX 3080", {"float32": 29.8, "tf32": 29.8, "bf16": 59.5, "fp16": 59.5}),
    (r"(NVIDIA )?GeForce RTX 3070", {"float32": 20.3, "tf32": 20.3, "bf16": 40.6, "fp16": 40.6}),
    (r"NVIDIA GeForce RTX 4090", {"float32": 82.6, "tf32": 82.6, "bf16": 165.2, "fp16": 165.2}),
    (r"NVIDIA GeForce RTX 4080", {"float32": 48.7, "tf32": 48.7, "bf16": 97.5, "fp16": 97.5}),
    (r"NVIDIA GeForce RTX 4070 Ti", {"float32": 40.1, "tf32": 40.1, "bf16": 80.2, "fp16": 80.2}),
    (r"TPU v4", {"bf16": 275}),
    (r"TPU (v5 lite|v5e)", {"bf16": 197}),
    (r"TPU (v5|v5p)", {"bf16": 459}),
    (r"TPU (v6 lite|v6e)", {"bf16": 918}),
)


def known_peak(device_kind: str, precision: str) -> float | None:
    """Look up a device's peak.

    Args:
        device_kind: `jax.Device.device_kind`.
        precision: As for `make_step`.

    Returns:
        FLOP/s of one device, dense; None where the table has none.

    Raises:
        ValueError: An unknown precision.

    Example:
        >>> known_peak("NVIDIA A100-SXM4-40GB", "bf16")
        312000000000000.0
    """
    check_precision(precision)
    for pattern, peaks in _KNOWN:
        if re.fullmatch(pattern, device_kind):
            return peaks[precision] * 1e12 if precision in peaks else None
    return None


def measure_peak(precision: str = "float32", device: Any = None, *, largest: int = 8192) -> float:
    """Measure a device's peak as the best of a few matrix products, in less than a second or two.

    Products of 512 x 512 come first, and sizes double until one product takes 20 ms or has the
    largest size. On a machine that others use, what comes out is what they left.

    Args:
        precision: As for `make_step`.
        device: A `jax.Device`; jax's first where it is None.
        largest: The largest size of a matrix.

    Returns:
        FLOP/s of one device.

    Raises:
        ValueError: An unknown precision.

    Example:
        >>> measure_peak(largest=512) > 1e6
        True
    """
    check_precision(precision)
    dtype = {"bf16": jnp.bfloat16, "fp16": jnp.float16}.get(precision, jnp.float32)
    device = device or jax.local_devices()[0]
    best, size = 0.0, 512
    while True:
        matrix = jax.device_put(jnp.full((size, size), 1 / size, dtype), device)
        seconds = _fastest(matrix, precision)
        best = max(best, 2 * size**3 / seconds)
        if seconds > 0.02 or size * 2 > largest:
            return best
        size *= 2


def find_peak(precision: str = "float32", device: Any = None) -> float:
    """Return a device's peak, from the table where it is there, else measured."""
    device = device or jax.local_devices()[0]
    known = known_peak(device.device_kind, precision)
    return measure_peak(precision, device) if known is None else known


def _fastest(matrix: jax.Array, precision: str) -> float:
    product = functools.partial(_product, precision=precision)
    times = []
    for _ in range(6):  # the first one compiles
        start = time.perf_counter()
        product(matrix).block_until_ready()
        times.append(time.perf_counter() - start)
    return min(times[1:])


@functools.partial(jax.jit, static_argnames="precision")
def _product(matrix: jax.Array, precision: str) -> Any:
    with matmul_precision(precision):
        return matrix @ matrix
