"""A process for one contender: its own flags, threads and memory, and one at a time at work.

A contender is any object with `device` (a name), `settings` (what it was set to, by name) and
methods; the parent calls these by name and is told what they returned and how long they took.
"""

import dataclasses
import importlib
import os
import time
from multiprocessing.connection import Connection
from typing import Any

from benchmarks.shared import machine


@dataclasses.dataclass(frozen=True)
class Job:
    """What a worker has to be.

    Attributes:
        maker: "module:function" that makes the contender.
        options: its keyword arguments.
        device: "auto" or "cpu".
        flags: whether XLA gets the flags of `fx.configure()`; every JAX contender does, alike.
    """

    maker: str
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    device: str = "auto"
    flags: bool = True


def main(job: Job, pipe: Connection) -> None:
    """Serve calls until told None, then say what memory it took."""
    try:
        done = _prepare(job)
        module, _, name = job.maker.partition(":")
        side = importlib.import_module(module)
        maker = getattr(side, name)
        getattr(side, "start", lambda: None)()  # the memory that a framework takes at all
        before = machine.resident_bytes()
        contender = maker(**job.options)
        settings = contender.settings | done
        pipe.send(({"device": contender.device, "settings": settings}, 0.0))
        _serve(contender, pipe)
        pipe.send((_memory(contender, before), 0.0))
    except EOFError:  # the parent is gone
        return
    except Exception as error:  # the other contenders go on, and the table says why this did not
        text = str(error).strip().splitlines() or [""]
        pipe.send(f"{type(error).__name__}: {text[0][:200]}")


def _prepare(job: Job) -> dict[str, str]:
    """Settings that must stand before the frameworks are imported; returns fx.configure's."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    # What an earlier run compiled would make torch.compile's first step look short.
    os.environ.setdefault("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    # Several processes share a GPU, one at work at a time: none may take the memory beforehand.
    os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
    if job.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"], os.environ["JAX_PLATFORMS"] = "", "cpu"
    return importlib.import_module("fx").configure() if job.flags else {}


def _serve(contender: Any, pipe: Connection) -> None:
    warm = False
    while (call := pipe.recv()) is not None:
        method, arguments = call
        start = time.perf_counter()
        answer = getattr(contender, method)(*arguments)
        pipe.send((answer, time.perf_counter() - start))
        if method == "run" and not warm:  # from here on memory is that of the steady state
            warm = True
            machine.reset_peak()


def _memory(contender: Any, before: int) -> dict[str, int | None]:
    device_peak = getattr(contender, "device_peak_bytes", lambda: None)()
    grown = machine.peak_resident_bytes() - before
    return {"host_growth_bytes": grown, "device_peak_bytes": device_peak}
