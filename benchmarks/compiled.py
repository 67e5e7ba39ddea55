"""What XLA makes of a training step for an H200, compiled on a machine that has none.

    pip install '.[bench,cuda13]'
    JAX_PLATFORMS=cpu python -m benchmarks.compiled

XLA's compiler for CUDA needs a description of the GPU and not the GPU. So the very program that
would run there can be read here: its kernels, the calls of cuDNN, the activations that are copied
or transposed, the bytes that it moves and the memory that it takes. No time is measured. Kernels
are XLA's choice without trying any, as it does on the GPU: products may become cuBLAS's there.

Bytes are, for XLA's own kernels, what its cost analysis counts for the compiled program, and for
cuDNN's all that they are given and give. NNX's compiled functions cannot be compiled for a device
that is not there.
"""

import importlib
import math
import re
import sys
import time
from typing import Any

import jax
import numpy as np
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

from benchmarks.networks.tasks import task
from benchmarks.shared import report
from benchmarks.sides.jax_train import PEERS, PRODUCTS

FX, HAND, LINEN, CUDNN = "fx", "plain JAX by hand", "Flax Linen", "fx, cuDNN's attention"
MORE: dict[str, dict[str, Any]] = {CUDNN: {"attention": "cudnn"}}
SIDES = {FX: "fx", HAND: "hand", LINEN: "linen", CUDNN: "fx"}
PROGRAMS = {
    ("convnet", 512, "bf16"): (FX, HAND, LINEN),
    ("convnet", 512, "float32"): (FX, HAND, LINEN),
    ("resnet18", 1024, "bf16"): (FX,),
    ("vit", 128, "bf16"): (FX, CUDNN),
    ("gpt2", 8, "bf16"): (FX, CUDNN),
}
# The figures of an H200 SXM as XLA's own description of it has them (openxla/xla,
# xla/backends/gpu/target_config/specs/h200.txtpb); what it has more changes no program here.
H200 = """
gpu_device_info {
  cuda_compute_capability { major: 9 feature_extension: ACCELERATED_FEATURES }
  core_count: 132 fpus_per_core: 128 clock_rate_ghz: 1.98
  memory_bandwidth: 4800000000000 device_memory_size: 151397597184 l2_cache_size: 52428800
  shared_memory_per_block: 49152 shared_memory_per_block_optin: 232448
  shared_memory_per_core: 233472 registers_per_block_limit: 65536 registers_per_core_limit: 65536
  threads_per_block_limit: 1024 threads_per_core_limit: 2048 threads_per_warp: 32
  thread_dim_limit_x: 1024 thread_dim_limit_y: 1024 thread_dim_limit_z: 64
  block_dim_limit_x: 2147483647 block_dim_limit_y: 65535 block_dim_limit_z: 65535
  device_address_bits: 64 device_vendor: "NVIDIA Corporation" name: "NVIDIA H200"
  driver_version: "13.0.0" runtime_version: "13.0.0" compile_time_toolkit_version: "13.0.0"
  dnn_version: "9.10.0"
}
platform_name: "CUDA" device_description_str: "NVIDIA H200"
dnn_version_info { major: 9 minor: 10 patch: 0 }
"""
FREE = ("get-tuple-element", "parameter", "bitcast", "constant", "tuple")  # no kernels
LINE = re.compile(r"\s+(?:ROOT )?%(\S+) = (.*?) ([\w-]+)\((.*?)\)")
BYTES = {"pred": 1, "u8": 1, "s8": 1, "bf16": 2, "f16": 2, "s64": 8, "u64": 8, "f64": 8}


def device() -> Any:
    """An H200 to compile for."""
    try:
        found = topologies.get_topology_desc(
            "1x1x1", platform="cuda", target_config=H200, topology="1x1x1"
        )
    except NotImplementedError:
        sys.exit("compiled: jax has no plugin for CUDA here; pip install '.[bench,cuda13]'")
    return found.devices[0]


def compiled(network: str, batch: int, precision: str, contender: str, tiny: bool) -> Any:
    """A contender's training step for the H200, and its state."""
    side = importlib.import_module(f"benchmarks.sides.{PEERS[SIDES[contender]]}")
    wanted = task(network, tiny)
    inputs, targets, _ = wanted.batches(1, batch, seed=0)
    place = SingleDeviceSharding(device())
    with jax.default_matmul_precision(PRODUCTS[precision]):
        carry, step = side.make(network, wanted, precision, None, 1, **MORE.get(contender, {}))
        arguments = jax.tree.map(
            lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place),
            jax.eval_shape(lambda *given: given, carry, (inputs[0], targets[0])),
        )
        traced = getattr(step, "compiled", step).trace(*arguments)
        return traced.lower(lowering_platforms=("cuda",)).compile(), carry


def counts(text: str, weights: set[tuple[int, ...]]) -> dict[str, int]:
    """What a program for a GPU consists of.

    Args:
        text: its optimised HLO.
        weights: their shapes, axes sorted by size: what else is moved is an activation.

    Returns:
        "kernels"; of these "convolutions" and "attention", which are cuDNN's, and "moved", which
        only copy or transpose an activation; "library_bytes" that cuDNN's are given and give.
    """
    found = dict.fromkeys(("kernels", "convolutions", "attention", "moved", "library_bytes"), 0)
    known: dict[str, str] = {}
    for line in text[text.index("\nENTRY") :].splitlines():
        if not (match := LINE.match(line)):
            continue
        name, shape, operation, arguments = match.groups()
        known[name] = shape
        if operation in FREE:
            continue
        found["kernels"] += 1
        if operation == "custom-call":
            found["convolutions"] += "__cudnn$conv" in line
            found["attention"] += "__cudnn$fmha" in line
            given = (known.get(each, "") for each in re.findall(r"%([\w.-]+)", arguments))
            found["library_bytes"] += sum(map(size_bytes, (shape, *given)))
        elif operation in ("copy", "transpose") or name.startswith("wrapped_transpose"):
            axes = tuple(sorted(arrays(shape)[0][1]))
            found["moved"] += math.prod(axes) > 1 and axes not in weights
    return found


def size_bytes(shape: str) -> int:
    """Bytes of a shape, or a tuple of them; cuDNN's scratch memory, u8, is left out."""
    return sum(
        BYTES.get(dtype, 4) * math.prod(axes) for dtype, axes in arrays(shape) if dtype != "u8"
    )


def arrays(shape: str) -> list[tuple[str, list[int]]]:
    """The dtypes and axes in a shape as HLO writes it."""
    found = re.findall(r"(\w+)\[([\d,]*)\]", shape)
    return [(dtype, [int(n) for n in axes.split(",") if n]) for dtype, axes in found]


def measure(network: str, batch: int, precision: str, contender: str, tiny: bool) -> dict[str, Any]:
    """Compile a contender's step, and count."""
    start = time.perf_counter()
    program, carry = compiled(network, batch, precision, contender, tiny)
    seconds = time.perf_counter() - start
    weights = {tuple(sorted(np.shape(leaf))) for leaf in jax.tree.leaves(carry)}
    found = counts(program.as_text(), weights)
    memory = program.memory_analysis()
    return found | {
        "bytes": cost(program)["bytes accessed"] + found.pop("library_bytes"),
        "temporary_bytes": memory.temp_size_in_bytes,
        "seconds": seconds,
    }


def cost(program: Any) -> dict[str, float]:
    """XLA's analysis, which jax has no public way to ask for where the device is not there."""
    from jax._src.lib import xla_client

    client = jax.devices("cpu")[0].client
    module = program.runtime_executable().hlo_modules()[0]
    return xla_client._xla.hlo_module_cost_analysis(client, module)


def main(given: list[str] | None = None) -> None:
    options = report.parser(__doc__, rounds=1).parse_args(given)
    found = report.begin("compiled", given, tiny=options.tiny)
    device()
    found["programs"] = []
    for (network, batch, precision), names in PROGRAMS.items():
        contenders = {}
        for name in names:
            contenders[name] = measure(network, batch, precision, name, options.tiny)
            print(network, batch, precision, name, contenders[name], flush=True)
        entry = {"network": task(network, options.tiny).title, "batch": batch}
        found["programs"].append(entry | {"precision": precision, "contenders": contenders})
    report.write(found, options.out or report.RESULTS / "compiled-h200.json")


if __name__ == "__main__":
    main()
