"""A process for one contender: its own flags, threads and memory, and one at a time at work."""

import dataclasses
import importlib
import os
import time
from multiprocessing.connection import Connection

from benchmarks import machine


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker has to be.

    Attributes:
        name: the contender, or "agreement".
        batch: images in a batch.
        precision: "float32", "tf32" or "bf16".
        device: "auto" or "cpu".
    """

    name: str
    batch: int
    precision: str
    device: str


BATCHES = 16  # different ones, so that nothing depends on seeing the same


def main(job: Job, pipe: Connection) -> None:
    """Answers a number of steps with the seconds they took, and None with the memory it took."""
    try:
        _prepare(job)
        if job.name == "agreement":
            pipe.send(importlib.import_module("benchmarks.agreement").losses())
            return
        _serve(job, pipe)
    except EOFError:  # the parent is gone
        return
    except Exception as error:  # the other contenders go on, and the table says why this did not
        text = str(error).strip().splitlines() or [""]
        pipe.send(f"{type(error).__name__}: {text[0][:200]}")


def _prepare(job: Job) -> None:
    """Settings that must stand before the frameworks are imported."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # Several processes share a GPU, one at work at a time: none may take the memory beforehand.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if job.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"], os.environ["JAX_PLATFORMS"] = "", "cpu"
    if job.name.startswith("fx") and "JAX's own flags" not in job.name:
        importlib.import_module("fx").configure()


def _serve(job: Job, pipe: Connection) -> None:
    from benchmarks.images import batches

    side = importlib.import_module(f"benchmarks.{'fx' if job.name[:2] == 'fx' else 'torch'}_side")
    images, labels, data = batches(BATCHES, job.batch, seed=0)
    side.start()
    before = machine.resident_bytes()
    contender = side.Contender(job.name, images, labels, job.precision)
    pipe.send({"device": contender.device_name(), "settings": contender.settings, "data": data})
    warm = False
    while (steps := pipe.recv()) is not None:
        start = time.perf_counter()
        steps = contender.run(steps)
        pipe.send((steps, time.perf_counter() - start))
        if not warm:
            whole, warm = machine.peak_resident_bytes(), True
            machine.reset_peak()
    steady = machine.peak_resident_bytes()
    pipe.send(
        {
            "host_growth_first_bytes": whole - before,
            "host_growth_bytes": steady - before,
            "device_peak_bytes": contender.device_peak_bytes(),
        }
    )
