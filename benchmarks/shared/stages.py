"""Claims run one by one, each in a process of its own, with a limit of time."""

import contextlib
import dataclasses
import math
import os
import signal
import subprocess
import sys
import tempfile
import time


@dataclasses.dataclass(frozen=True)
class Stage:
    """A claim with its arguments.

    Attributes:
        name: what `--stage` and `--only` call it.
        arguments: the claim's module and what it is given.
        limit_s: after so long it is ended.
    """

    name: str
    arguments: tuple[str, ...]
    limit_s: float

    @property
    def claim(self) -> str:
        """The module's name."""
        return self.arguments[0]

    def show(self) -> str:
        """The command, for a list."""
        quoted = [f'"{part}"' if " " in part else part for part in self.arguments[1:]]
        command = " ".join(["python -m", f"benchmarks.{self.claim}", *quoted])
        return f"{self.name:24} at most {self.limit_s:3.0f} s   {command}"


def run(stage: Stage, limit_s: float, extra: tuple[str, ...] = ()) -> str | None:
    """Run a stage to its end; returns why it failed, or None."""
    module, *arguments = (*stage.arguments, *extra)
    env = dict(os.environ)
    if ("--device", "cpu") == tuple(arguments[:2]):  # also for claims that have no workers
        env |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
    budget = ("--budget-s", str(int(0.85 * limit_s)))
    command = [sys.executable, "-m", f"benchmarks.{module}", *arguments, *budget]
    start = time.perf_counter()
    print(f"\n--- {stage.name}: python -m benchmarks.{module} {' '.join(arguments)}", flush=True)
    process = subprocess.Popen(command, env=env, start_new_session=True)
    try:
        code = process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return f"not done within {limit_s:.0f} s"
    finally:
        end_group(process)
    print(f"--- {stage.name}: {time.perf_counter() - start:.0f} s", flush=True)
    return f"exit code {code}" if code else None


def end_group(process: subprocess.Popen) -> None:
    """End a process that leads a group, and whatever it has started and left behind."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def run_all(
    stages: list[Stage], *, tiny: bool = False, within_s: float = math.inf
) -> dict[str, str]:
    """Run stages in turn; returns those that failed, and why. A tiny run leaves no results."""
    failed: dict[str, str] = {}
    end = time.perf_counter() + within_s
    with tempfile.TemporaryDirectory() as folder:
        for stage in stages:
            limit_s = min(stage.limit_s, end - time.perf_counter())
            out = ("--tiny", "--rounds", "1", "--out", f"{folder}/{stage.name}.json")
            reason = "no time was left" if limit_s < 1 else run(stage, limit_s, out if tiny else ())
            if reason is not None:
                failed[stage.name] = reason
                print(f"{stage.name} failed: {reason}", file=sys.stderr, flush=True)
    return failed
