"""Settings that must stand before XLA's backend starts; programs make them, fx never does."""

import ctypes
import os
import platform
import sys
from pathlib import Path

# Convolutions on CPU go back to Eigen's multithreaded ones: measured at 0.75 to 0.9 of the default
# time for a training step of the reference network (benchmarks/train_step.py shows both).
CPU_FLAGS = ("--xla_cpu_experimental_ynn_fusion_type=invalid",)

LEAST_SECONDS = "jax_persistent_cache_min_compile_time_secs"
KEPT_BYTES = 2**30
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8  # from glibc's malloc.h


def configure(
    *,
    cpu_convolutions: bool = True,
    keep_memory: bool = True,
    cache_dir: str | os.PathLike[str] | None = None,
    deterministic: bool = False,
) -> dict[str, str]:
    """Set the flags that help, before JAX starts its backend. Call it first in a program.

    Called before jax is imported it also keeps XLA's log to errors that matter
    (``TF_CPP_MIN_LOG_LEVEL=3``, where that is not set); afterwards that has no effect.

    Args:
        cpu_convolutions: let XLA's CPU backend use Eigen's convolutions, which are faster there.
        keep_memory: let the C library (glibc; others have no such setting) keep up to 1 GiB of
            what was freed. XLA takes its memory for each call anew, and with it the system clears
            every page: about 7 % of a training step of the reference network on a CPU.
            It need not take effect: one process of several was seen to fault as without it.
        cache_dir: a folder in which compiled programs are kept from one run to the next; None
            leaves JAX's setting as it is. Use only a folder that nobody else can write to. Small
            programs are kept as well, which JAX leaves out (those of under a second): a model's
            initial weights take dozens of them. JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS stands
            where it is set.
        deterministic: choose GPU kernels whose results are the same to the bit in every run.

    Returns:
        What was set, by name.

    Raises:
        RuntimeError: the backend has started already, so that flags would do nothing.
    """
    if _started():
        raise RuntimeError(
            "fx.configure: JAX's backend has started, and flags set now would do nothing; call "
            "fx.configure() before anything touches an array or jax.devices()"
        )
    flags = [*CPU_FLAGS] if cpu_convolutions else []
    if deterministic:
        flags.append("--xla_gpu_deterministic_ops=true")
    given = os.environ.get("XLA_FLAGS", "").split()
    names = {flag.split("=")[0] for flag in given}  # what the user has set stands
    added = [flag for flag in flags if flag.split("=")[0] not in names]
    os.environ["XLA_FLAGS"] = " ".join(given + added)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    done = {"XLA_FLAGS": os.environ["XLA_FLAGS"]}
    if keep_memory and _keep_memory():
        done["malloc"] = f"keeps {KEPT_BYTES} bytes"
    if cache_dir is not None:
        import jax

        path = str(Path(cache_dir).expanduser().resolve())
        jax.config.update("jax_compilation_cache_dir", path)
        done["jax_compilation_cache_dir"] = path
        if LEAST_SECONDS.upper() not in os.environ:
            jax.config.update(LEAST_SECONDS, 0.0)
            done[LEAST_SECONDS] = "0"
    return done


def _keep_memory() -> bool:
    """Sets glibc's allocator for this process; False where there is another one."""
    if platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    # One arena, because the others, of threads, cannot keep blocks as large as XLA's.
    settings = {M_ARENA_MAX: 1, M_MMAP_THRESHOLD: KEPT_BYTES, M_TRIM_THRESHOLD: KEPT_BYTES}
    return all([mallopt(name, value) for name, value in settings.items()])


def _started() -> bool:
    if "jax" not in sys.modules:
        return False
    # JAX has no public way to ask without starting it; this name has been stable since 2023.
    from jax._src import xla_bridge

    return xla_bridge.backends_are_initialized()
