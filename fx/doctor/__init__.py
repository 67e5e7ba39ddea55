"""`fx doctor`: what is installed, what jax sees, and what is wrong with it."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from fx.doctor import probes
from fx.doctor.findings import Facts
from fx.doctor.findings import Finding as Finding
from fx.doctor.findings import find as find

_LIBRARIES = {"runtime": "CUDA", "cudnn": "cuDNN"}


@dataclass(frozen=True)
class Checkup:
    """What `examine` found; prints as a report.

    Attributes:
        facts: By probe and name.
        findings: What is wrong, then advice.
    """

    facts: Facts = field(repr=False)
    findings: tuple[Finding, ...]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong; advice does not count."""
        return not any(finding.wrong for finding in self.findings)

    def json(self) -> str:
        """Facts and findings as JSON."""
        findings = [asdict(finding) for finding in self.findings]
        return json.dumps(
            {"ok": self.ok, "findings": findings, "facts": self.facts}, indent=2, default=str
        )

    def __str__(self) -> str:
        lines = []
        for title, rows in _sections(self.facts):
            wide = max(len(str(name)) for name, _ in rows) + 1
            lines += [title, *(f"  {name:<{wide}} {value}".rstrip() for name, value in rows), ""]
        for wrong, title in ((True, "what is wrong"), (False, "advice")):
            chosen = [finding for finding in self.findings if finding.wrong is wrong]
            if chosen:
                lines.append(title)
                lines += [f"  - {finding.what}\n    {finding.do}" for finding in chosen]
                lines.append("")
        if self.ok:
            lines.append("nothing is wrong")
        return "\n".join(lines).rstrip()


def examine() -> Checkup:
    """Look at this machine and installation; jax is started in a process of its own.

    Returns:
        A `Checkup`. It never raises for what is broken: that is a finding.
    """
    facts = probes.collect()
    return Checkup(facts, tuple(find(facts)))


def _sections(facts: Facts) -> list[tuple[str, list[tuple[str, Any]]]]:
    jax, gpu, cache, configure = (facts[n] for n in ("jax", "gpu", "cache", "configure"))
    settings = jax.get("config", {})
    packages = [(name, version or "-") for name, version in facts["packages"].items()]
    found = [
        ("python", list(facts["python"].items())),
        ("packages", packages + list(facts["plugins"].items())),
        ("devices", _devices(jax, gpu, facts["cpu"])),
        ("memory", _memory(facts["environment"])),
        ("settings of jax", [(n.removeprefix("jax_"), v) for n, v in settings.items()]),
        ("determinism", [
            ("on GPUs", "on" if configure.get("deterministic") else "off"),
            ("random numbers", settings.get("jax_default_prng_impl")),
        ]),
        ("fx.configure()", [
            ("would set", " ".join(configure.get("flags", ()))),
            ("in force", "yes" if configure.get("applied") else "no"),
            ("backend started", "yes" if configure.get("backend_started") else "no"),
        ]),
        ("compilation cache", _cache(cache)),
        ("environment", list(facts["environment"].items())),
    ]  # fmt: skip
    return [(title, rows) for title, rows in found if rows]


def _devices(jax: dict, gpu: dict, cpu: dict) -> list[tuple[str, Any]]:
    rows: list[tuple[str, Any]] = [("jax runs on", jax.get("backend", jax.get("error")))]
    for number, device in enumerate(jax.get("devices", ())):
        size = device["memory_bytes"]
        memory = f", {size / 2**30:.1f} GiB for jax" if isinstance(size, int) else ""
        rows.append((f"device {number}", f"{device['kind']} ({device['platform']}){memory}"))
    if isinstance(jax.get("cuda"), dict):
        rows += [(_LIBRARIES[n], _dotted(n, v)) for n, v in jax["cuda"].items() if n in _LIBRARIES]
    for number, one in enumerate(gpu.get("gpus", ())):
        used = f"{one['memory_used']} of {one['memory_total']} used"
        rows.append((f"nvidia-smi {number}", f"{one['name']}, {used}"))
    if gpu.get("driver"):
        rows.append(("driver", f"{gpu['driver']}, for CUDA up to {gpu.get('cuda')}"))
    elif not gpu.get("present"):
        rows.append(("nvidia-smi", gpu.get("trouble", gpu.get("error", "no NVIDIA GPU found"))))
    rows.append(("CPU cores", f"{cpu.get('count')}, usable by XLA's threads {cpu.get('usable')}"))
    return rows


def _dotted(library: str, number: int) -> str:
    """A version as NVIDIA's headers number it: 12080 is CUDA 12.8, 91002 cuDNN 9.10.2."""
    if library == "runtime":
        return f"{number // 1000}.{number % 1000 // 10}"
    scale = 10_000 if number >= 90_000 else 1_000  # up to cuDNN 8
    return f"{number // scale}.{number % scale // 100}.{number % 100}"


def _memory(variables: dict) -> list[tuple[str, Any]]:
    on = variables.get("XLA_PYTHON_CLIENT_PREALLOCATE", "true").lower() not in ("false", "0")
    share = variables.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "0.75, the default")
    kind = variables.get("XLA_PYTHON_CLIENT_ALLOCATOR", "the default")
    return [("preallocation on GPUs", "on" if on else "off"), ("share", share), ("allocator", kind)]


def _cache(cache: dict) -> list[tuple[str, Any]]:
    if not cache.get("folder"):
        return [("folder", cache.get("error", "none"))]
    if cache.get("remote"):
        return [("folder", cache["folder"])]
    rows = [("folder", cache["folder"]), ("writable", "yes" if cache["writable"] else "no")]
    rows.append(("holds", f"{cache['entries']} files, {cache['size_bytes'] / 2**20:.1f} MiB"))
    if cache["free_bytes"] is not None:
        rows.append(("free on its disk", f"{cache['free_bytes'] / 2**30:.1f} GiB"))
    return rows
