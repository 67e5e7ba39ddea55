"""Facts about this machine and installation; each probe stands alone and needs no jax of its own.

Nothing here imports jax into this process: a broken one must not stop the report. What only jax
can tell is asked in a process of its own, which may die or hang.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

PACKAGES = (
    "fx", "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "numpy", "ml_dtypes",
    "safetensors", "flatbuffers", "lazy_loader", "grain", "matplotlib", "rich", "tensorboardX",
    "torch", "tensorflow",
)  # fmt: skip
_PLUGINS = re.compile(r"(jax-(cuda|rocm)|nvidia-|libtpu|jax-metal).*", re.IGNORECASE)
_MATTER = re.compile(
    r"(JAX|XLA|CUDA|NCCL|NVIDIA|CUBLAS|LIBTPU|OMP|MKL|OPENBLAS|PYTORCH|FX)_.*|LD_LIBRARY_PATH"
    r"|TF_(CPP|XLA|GPU|FORCE|CUDNN|DETERMINISTIC|ENABLE)_.*"
)
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|CREDENTIAL|_KEY$|API_KEY")

_ASK_JAX = """
import json
import jax
def known(read):
    try:
        return read()
    except Exception as error:
        return f"{type(error).__name__}: {error}".splitlines()[0]
def cuda():
    from jax._src.lib import cuda_versions as c
    return None if c is None else {
        "runtime": c.cuda_runtime_get_version(), "cudnn": c.cudnn_get_version()}
names = ("jax_enable_x64", "jax_default_matmul_precision", "jax_default_prng_impl",
    "jax_compilation_cache_dir", "jax_debug_nans", "jax_disable_jit", "jax_platforms",
    "jax_numpy_dtype_promotion", "jax_threefry_partitionable",
    "jax_persistent_cache_min_compile_time_secs", "jax_persistent_cache_enable_xla_caches")
print(json.dumps({
    "backend": jax.default_backend(),
    "devices": [{"kind": d.device_kind, "platform": d.platform,
        "memory_bytes": known(lambda: (d.memory_stats() or {}).get("bytes_limit"))}
        for d in jax.devices()],
    "processes": jax.process_count(),
    "config": {n: getattr(jax.config, n, None) for n in names},
    "known_variables": [n.upper() for n in jax.config.values],
    "cuda": known(cuda),
}, default=str))
"""


def collect() -> dict[str, dict[str, Any]]:
    """Every probe's facts by its name; one that fails says `{"error": ...}`."""
    probes: dict[str, Callable[[], dict[str, Any]]] = {
        "python": _python,
        "packages": packages,
        "plugins": plugins,
        "requirements": requirements,
        "gpu": gpu,
        "jax": ask_jax,
        "environment": environment,
        "cpu": _cpu,
        "configure": configure,
    }
    facts = {name: guarded(probe) for name, probe in probes.items()}
    facts["cache"] = guarded(lambda: cache(facts["jax"].get("config", {})))
    return facts


def guarded(probe: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """A probe's facts, or what went wrong with it."""
    try:
        return probe()
    except Exception as error:  # whatever is broken here is what is asked about
        return {"error": f"{type(error).__name__}: {error}"}


def _python() -> dict[str, Any]:
    return {
        "version": platform.python_version(),
        "platform": platform.platform(),
        "executable": sys.executable,
    }


def packages() -> dict[str, Any]:
    """Versions of what is installed, None of what is not."""
    return {name: _version(name) for name in PACKAGES}


def plugins() -> dict[str, Any]:
    """Versions of jax's plugins and of NVIDIA's libraries that came with pip."""
    names = {str(d.metadata["Name"]): d.version for d in metadata.distributions()}
    return {name: names[name] for name in sorted(names) if name and _PLUGINS.fullmatch(name)}


def requirements() -> dict[str, Any]:
    """What fx, and jax's plugins, ask of other packages: `{package: {asked for by: bounds}}`."""
    found: dict[str, dict[str, str]] = {}
    for asker in ("fx", *(name for name in plugins() if name.startswith("jax-cuda"))):
        try:
            lines = metadata.requires(asker) or []
        except metadata.PackageNotFoundError:
            continue
        for line in lines:
            text, _, condition = line.partition(";")
            match = re.match(r"\s*([\w.-]+)(?:\[[^]]*\])?\s*(.*)", text)
            libraries = asker != "fx" and "with-cuda" in condition or "with_cuda" in condition
            if match and match[2] and ("extra" not in condition or libraries):
                found.setdefault(match[1], {})[asker] = match[2].strip(" ()")
    return found


def gpu() -> dict[str, Any]:
    """What nvidia-smi says; `{"present": False}` where there is none."""
    if shutil.which("nvidia-smi") is None:
        return {"present": False}
    query = ["--query-gpu=name,driver_version,memory.total,memory.used", "--format=csv,noheader"]
    listed = _run(["nvidia-smi", *query], timeout_s=20)
    if listed.returncode:
        return {"present": False, "trouble": (listed.stdout + listed.stderr).strip()[:300]}
    head = _run(["nvidia-smi"], timeout_s=20).stdout
    version = re.search(r"CUDA Version:\s*([\d.]+)", head)
    gpus = [[cell.strip() for cell in line.split(",")] for line in listed.stdout.splitlines()]
    return {
        "present": bool(gpus),
        "gpus": [
            {"name": g[0], "memory_total": g[2], "memory_used": g[3]} for g in gpus if len(g) == 4
        ],
        "driver": gpus[0][1] if gpus and len(gpus[0]) > 1 else None,
        "cuda": version[1] if version else None,
    }


def ask_jax(timeout_s: float = 120) -> dict[str, Any]:
    """Start jax in a process of its own and ask for devices and settings."""
    try:
        done = _run([sys.executable, "-c", _ASK_JAX], timeout_s)
    except subprocess.TimeoutExpired:
        return {"error": f"jax did not start within {timeout_s:.0f} s"}
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        said = [line for line in done.stderr.strip().splitlines() if line.strip()]
        unknown = re.findall(r"Unknown flags? in XLA_FLAGS: (.*)", done.stderr)
        end = unknown[-1] if unknown else (said[-1] if said else f"exit code {done.returncode}")
        facts = {"error": f"jax does not start: {end}"}
        return facts | ({"unknown_flags": unknown[-1].split()} if unknown else {})
    return json.loads(lines[-1])


def environment() -> dict[str, Any]:
    """Variables that jax, XLA, CUDA and their neighbours read; secrets left out."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if _MATTER.fullmatch(name) and not _SECRET.search(name)
    }


def _cpu() -> dict[str, Any]:
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    return {"count": os.cpu_count(), "usable": usable, "threads_xla": usable or os.cpu_count()}


def configure() -> dict[str, Any]:
    """What `fx.configure()` would set, and whether this process still can."""
    from fx.runtime import CPU_FLAGS

    now = os.environ.get("XLA_FLAGS", "")
    names = {flag.partition("=")[0] for flag in now.split()}
    started = False
    if "jax" in sys.modules:
        from jax._src import xla_bridge

        started = xla_bridge.backends_are_initialized()
    return {
        "flags": list(CPU_FLAGS),
        "applied": all(flag.partition("=")[0] in names for flag in CPU_FLAGS),
        "backend_started": started,
        "changed_since_start": now != _flags_at_start() if started else False,
        "deterministic": "--xla_gpu_deterministic_ops=true" in now,
    }


def _flags_at_start() -> str | None:
    """XLA_FLAGS of the process when it began; the present ones where the system does not tell."""
    try:
        variables = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return os.environ.get("XLA_FLAGS", "")
    found = [v.partition(b"=")[2] for v in variables if v.startswith(b"XLA_FLAGS=")]
    return found[0].decode() if found else ""


def cache(config: dict[str, Any]) -> dict[str, Any]:
    """The persistent compilation cache: where, how large, whether it can be written."""
    folder = config.get("jax_compilation_cache_dir") or os.environ.get("JAX_COMPILATION_CACHE_DIR")
    if not folder:
        return {"folder": None}
    if "://" in folder:
        return {"folder": folder, "remote": True}
    path = Path(folder)
    there = next((p for p in (path, *path.absolute().parents) if p.exists()), None)
    files = [p for p in path.rglob("*") if p.is_file()] if path.is_dir() else []
    return {
        "folder": str(path),
        "exists": path.is_dir(),
        "writable": there is not None and there.is_dir() and os.access(there, os.W_OK | os.X_OK),
        "shared": path.is_dir() and bool(path.stat().st_mode & 0o002),
        "entries": len(files),
        "size_bytes": sum(p.stat().st_size for p in files),
        "free_bytes": None if there is None else shutil.disk_usage(there).free,
    }


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _run(command: list[str], timeout_s: float) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=timeout_s)
