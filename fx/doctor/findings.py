"""What is wrong with the facts, each with what to do; pure functions of `probes.collect`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

Facts = dict[str, dict[str, Any]]

# Variables of other frameworks that people carry over; jax does not read them.
_ORPHANS = {
    "TF_FORCE_GPU_ALLOW_GROWTH": "XLA_PYTHON_CLIENT_PREALLOCATE=false is jax's",
    "TF_GPU_ALLOCATOR": "XLA_PYTHON_CLIENT_ALLOCATOR is jax's",
    "TF_DETERMINISTIC_OPS": "fx.configure(deterministic=True) is what helps",
    "TF_CUDNN_DETERMINISTIC": "fx.configure(deterministic=True) is what helps",
    "TF_XLA_FLAGS": "XLA_FLAGS is what jax reads",
    "TF_ENABLE_ONEDNN_OPTS": "it is TensorFlow's",
    "PYTORCH_CUDA_ALLOC_CONF": "it is PyTorch's; XLA_PYTHON_CLIENT_MEM_FRACTION is jax's",
    "CUBLAS_WORKSPACE_CONFIG": "it is PyTorch's; fx.configure(deterministic=True) is what helps",
}
# Read by jax or its launchers without being among its settings.
_READ = ("JAX_PLATFORM_NAME", "JAX_TRACEBACK_FILTERING", "JAX_COORDINATOR_ADDRESS",
         "JAX_NUM_PROCESSES", "JAX_PROCESS_ID", "JAX_LOCAL_DEVICE_IDS")  # fmt: skip
_LEAST_FREE_BYTES = 2**30


@dataclass(frozen=True)
class Finding:
    """Something to mend, or to know.

    Attributes:
        what: What is the matter.
        do: What to do about it.
        wrong: False for advice: nothing is broken.
    """

    what: str
    do: str
    wrong: bool = True


def find(facts: Facts) -> list[Finding]:
    """Everything that is wrong with the facts, then advice."""
    rules = (_broken, _versions, _plugins, _gpu, _memory, _flags, _cache, _variables, _settings)
    found = [finding for rule in rules for finding in rule(facts)]
    return sorted(found, key=lambda finding: not finding.wrong)


def _broken(facts: Facts) -> Iterator[Finding]:
    unknown = facts["jax"].get("unknown_flags")
    if unknown:
        yield Finding(
            f"XLA does not know {', '.join(unknown)} in XLA_FLAGS, and stops",
            "take it out of XLA_FLAGS, or check its spelling for this version of jaxlib",
        )
    elif "error" in facts["jax"]:
        yield Finding(facts["jax"]["error"], "run python -c 'import jax; jax.devices()' to see why")
    for name, some in facts.items():
        if name != "jax" and "error" in some:
            yield Finding(f"could not look at {name}: {some['error']}", "reinstall what it names")


def _versions(facts: Facts) -> Iterator[Finding]:
    installed = {**facts["plugins"], **facts["packages"]}
    installed = {_canonical(name): version for name, version in installed.items()}
    for package, askers in facts["requirements"].items():
        version = installed.get(_canonical(package))
        for asker, bounds in askers.items() if isinstance(askers, dict) else ():
            if asker == "fx" and version is None:
                if package in facts["packages"]:
                    yield Finding(f"{package} is missing", f"pip install '{package}{bounds}'")
            elif version is not None and not within(version, bounds):
                why = "; another package, torch say, may have pinned it" if asker != "fx" else ""
                yield Finding(
                    f"{package} is {version}, and {asker} needs {bounds}{why}",
                    f"pip install '{package}{bounds}'",
                )
    jax, jaxlib = installed.get("jax"), installed.get("jaxlib")
    if (
        jax
        and jaxlib
        and (_numbers(jaxlib) > _numbers(jax) or _numbers(jaxlib)[:2] != _numbers(jax)[:2])
    ):
        yield Finding(f"jax is {jax} and jaxlib {jaxlib}", f"pip install 'jaxlib=={jax}'")


def _plugins(facts: Facts) -> Iterator[Finding]:
    jaxlib = facts["packages"].get("jaxlib")
    plugins = {n: v for n, v in facts["plugins"].items() if re.match(r"jax-cuda\d+-", n)}
    kinds = sorted({re.findall(r"cuda(\d+)", name)[0] for name in plugins})
    if len(kinds) > 1:
        extra = [name for name in plugins if f"cuda{kinds[0]}" in name]
        yield Finding(
            f"jax's plugins for CUDA {' and '.join(kinds)} are both installed",
            f"keep one: pip uninstall {' '.join(extra)}",
        )
    for name, version in plugins.items():
        if jaxlib and _numbers(version)[:3] != _numbers(jaxlib)[:3]:
            yield Finding(
                f"{name} is {version} and jaxlib {jaxlib}: jax ignores it, or fails",
                f"pip install 'jax[cuda{re.findall(r'cuda([0-9]+)', name)[0]}]=={jaxlib}'",
            )
    driver = facts["gpu"].get("cuda")
    for kind in kinds:
        if driver and int(kind) > _numbers(driver)[0]:
            yield Finding(
                f"the driver runs CUDA up to {driver}, and jax's plugin is for CUDA {kind}",
                f"update the driver, or pip install 'jax[cuda{_numbers(driver)[0]}]'",
            )


def _gpu(facts: Facts) -> Iterator[Finding]:
    gpu, jax, variables = facts["gpu"], facts["jax"], facts["environment"]
    if gpu.get("trouble"):
        yield Finding(
            f"nvidia-smi fails: {gpu['trouble']}", "the driver is broken; see `dmesg`, or reboot"
        )
    if not gpu.get("present") or jax.get("backend") in (None, "gpu"):
        return
    name = gpu["gpus"][0]["name"] if gpu.get("gpus") else "one"
    what = f"there is a GPU ({name}), but jax runs on {jax['backend']}"
    platforms = variables.get("JAX_PLATFORMS", "")
    cuda = next((n for n in facts["plugins"] if re.fullmatch(r"jax-cuda\d+-plugin", n)), None)
    if platforms and not {"cuda", "gpu"} & set(platforms.split(",")):
        yield Finding(what, f"unset JAX_PLATFORMS, which is {platforms}")
    elif variables.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1"):
        yield Finding(what, "unset CUDA_VISIBLE_DEVICES, which hides it")
    elif cuda is None:
        extra = "cuda13" if _numbers(gpu.get("cuda") or "12")[0] >= 13 else "cuda12"
        yield Finding(what, f"pip install '.[{extra}]' in fx's folder")
    else:
        yield Finding(what, f"{cuda} is there and does not load: python -c 'import jax; "
                      "jax.devices(\"cuda\")' says why")  # fmt: skip


def _memory(facts: Facts) -> Iterator[Finding]:
    variables = facts["environment"]
    fraction = variables.get("XLA_PYTHON_CLIENT_MEM_FRACTION") or variables.get(
        "XLA_CLIENT_MEM_FRACTION"
    )
    if fraction is not None:
        try:
            share = float(fraction)
        except ValueError:
            share = -1.0
        if not 0 < share <= 1:
            yield Finding(
                f"XLA_PYTHON_CLIENT_MEM_FRACTION is {fraction!r}, which is no share of the memory",
                "set it to 0.75 or so, or unset it",
            )
        elif not 0.3 <= share <= 0.95:
            yield Finding(
                f"jax takes {share:.0%} of the GPU's memory",
                "0.75 is its default; above 0.95 CUDA itself may find none",
                wrong=False,
            )
    if variables.get("XLA_PYTHON_CLIENT_PREALLOCATE", "true").lower() in ("false", "0"):
        yield Finding(
            "preallocation is off: memory is taken piece by piece, is slower and fragments",
            "unset XLA_PYTHON_CLIENT_PREALLOCATE, unless the GPU is shared",
            wrong=False,
        )
    if variables.get("XLA_PYTHON_CLIENT_ALLOCATOR") == "platform":
        yield Finding(
            "XLA_PYTHON_CLIENT_ALLOCATOR=platform asks CUDA for every array, which is slow",
            "unset it, unless you look for a leak",
            wrong=False,
        )


def _flags(facts: Facts) -> Iterator[Finding]:
    flags = facts["environment"].get("XLA_FLAGS", "").split()
    for flag in flags:
        if not flag.startswith("--"):
            yield Finding(
                f"XLA_FLAGS holds {flag!r}, which is no flag",
                "write --name=value, with spaces between",
            )
    values: dict[str, set[str]] = {}
    for flag in flags:
        values.setdefault(flag.partition("=")[0], set()).add(flag)
    for same in values.values():
        if len(same) > 1:
            yield Finding(
                f"XLA_FLAGS says {' and '.join(sorted(same))}; the last holds", "keep one"
            )
    state = facts["configure"]
    if state.get("changed_since_start"):
        yield Finding(
            "XLA_FLAGS was changed in this process and the backend has started; what was set after "
            "that does nothing",
            "call fx.configure() before anything touches an array",
            wrong=False,
        )
    elif state.get("applied") is False and facts["jax"].get("backend") == "cpu":
        yield Finding(
            "fx.configure() is not in force here; on CPUs it makes convolutions faster",
            "call fx.configure() at the top of the program",
            wrong=False,
        )


def _cache(facts: Facts) -> Iterator[Finding]:
    cache = facts["cache"]
    if cache.get("folder") is None:
        if "error" not in cache:
            yield Finding(
                "compiled programs are not kept from run to run",
                "fx.configure(cache_dir=...), a folder that only you can write",
                wrong=False,
            )
        return
    if cache.get("remote"):
        return
    if not cache["writable"]:
        yield Finding(
            f"the cache folder {cache['folder']} cannot be written", "chmod u+w, or another"
        )
    if cache.get("shared"):
        yield Finding(
            f"everybody can write to the cache folder {cache['folder']}, and what is in it is run",
            f"chmod o-w {cache['folder']}",
        )
    if cache["free_bytes"] is not None and cache["free_bytes"] < _LEAST_FREE_BYTES:
        yield Finding(
            f"the disk of {cache['folder']} has {cache['free_bytes'] / 2**20:.0f} MiB left",
            "delete old entries of the cache; jax makes them again",
        )


def _variables(facts: Facts) -> Iterator[Finding]:
    variables, known = facts["environment"], facts["jax"].get("known_variables")
    for name, instead in _ORPHANS.items():
        if name in variables:
            yield Finding(f"{name} is set, and jax does not read it", f"{instead}", wrong=False)
    for name in variables:
        if known and name.startswith("JAX_") and name not in known and name not in _READ:
            yield Finding(
                f"{name} is set, and jax has no such setting", "check its spelling", wrong=False
            )
    own = [name for name in facts["plugins"] if name.startswith("nvidia-")]
    path = variables.get("LD_LIBRARY_PATH", "")
    if own and re.search(r"cuda|cudnn|nvidia", path, re.IGNORECASE):
        yield Finding(
            f"LD_LIBRARY_PATH ({path}) names CUDA libraries that are found before those of pip",
            "unset LD_LIBRARY_PATH",
        )


def _settings(facts: Facts) -> Iterator[Finding]:
    config = facts["jax"].get("config", {})
    for name, what in (
        ("jax_disable_jit", "nothing is compiled: every step is many times slower"),
        ("jax_debug_nans", "every operation is checked for nan, which is slow"),
        (
            "jax_enable_x64",
            "float64 is on: Python floats and NumPy arrays may take twice the memory",
        ),
    ):
        if config.get(name):
            yield Finding(f"{name} is on: {what}", f"unset {name.upper()}", wrong=False)


def within(version: str, bounds: str) -> bool:
    """Whether a version is within bounds such as ">=0.10,<0.12".

    Example:
        >>> within("0.10.2", ">=0.10,<0.12"), within("0.12", ">=0.10,<0.12")
        (True, False)
    """
    for bound in bounds.split(","):
        match = re.match(r"\s*(>=|<=|==|!=|~=|>|<)\s*([\w.*]+)", bound)
        if match is None:
            continue
        sign, asked = match[1], match[2].removesuffix(".*")
        wide = len(_numbers(asked)) if match[2].endswith(".*") else None
        have, limit = _numbers(version)[:wide], _numbers(asked)
        have, limit = (
            have + (0,) * (len(limit) - len(have)),
            limit + (0,) * (len(have) - len(limit)),
        )
        if sign == "~=":
            digits = len(_numbers(asked)) - 1
            sound = have >= limit and have[:digits] == limit[:digits]
        else:
            sound = {
                ">=": have >= limit, "<=": have <= limit, "==": have == limit,
                "!=": have != limit, ">": have > limit, "<": have < limit,
            }[sign]  # fmt: skip
        if not sound:
            return False
    return True


def _numbers(version: str) -> tuple[int, ...]:
    release = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, release[0].split("."))) if release else (0,)


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
