"""What is wrong with made-up machines."""

import re

import pytest

from fx.doctor import Checkup, find
from fx.doctor.findings import within


def sound(**changes):
    """A machine on which nothing is wrong, but for what is given: `probe__name=value`."""
    facts = {
        "python": {"version": "3.12.1"},
        "packages": {"fx": "0.1.0", "jax": "0.10.2", "jaxlib": "0.10.2", "flax": "0.12.8"},
        "plugins": {},
        "requirements": {"jax": {"fx": "<0.12,>=0.10"}, "flax": {"fx": ">=0.12"}},
        "gpu": {"present": False},
        "jax": {"backend": "cpu", "config": {}, "known_variables": ["JAX_PLATFORMS"]},
        "environment": {},
        "cpu": {"count": 2, "usable": 2},
        "configure": {"flags": [], "applied": True, "backend_started": False},
        "cache": {
            "folder": "/cache", "exists": True, "writable": True, "shared": False, "entries": 1,
            "size_bytes": 5, "free_bytes": 2**40,
        },
    }  # fmt: skip
    for path, value in changes.items():
        probe, _, name = path.partition("__")
        facts[probe][name] = value
    return facts


CUDA12 = {"jax-cuda12-plugin": "0.10.2", "jax-cuda12-pjrt": "0.10.2"}
ONE_GPU = {
    "gpu__present": True,
    "gpu__cuda": "12.8",
    "gpu__driver": "570.1",
    "gpu__gpus": [{"name": "H200", "memory_total": "1", "memory_used": "0"}],
}


def with_environment(**variables):
    facts = sound()
    facts["environment"] = variables
    return facts


def with_plugins(facts, plugins):
    return {**facts, "plugins": plugins}


def test_a_sound_machine():
    assert find(sound()) == []
    facts = with_plugins(sound(**ONE_GPU, jax__backend="gpu"), CUDA12)
    assert find(facts) == []
    assert str(Checkup(facts, ())).endswith("nothing is wrong")


def test_a_machine_with_a_gpu_shows_its_cuda():
    devices = [{"kind": "NVIDIA H200", "platform": "gpu", "memory_bytes": 3 * 2**30}]
    cuda = {"runtime": 12080, "cudnn": 91002}
    facts = sound(**ONE_GPU, jax__backend="gpu", jax__devices=devices, jax__cuda=cuda)
    lines = [" ".join(line.split()) for line in str(Checkup(facts, ())).splitlines()]
    for line in (
        "device 0 NVIDIA H200 (gpu), 3.0 GiB for jax",
        "CUDA 12.8",
        "cuDNN 9.10.2",
        "nvidia-smi 0 H200, 0 of 1 used",
        "driver 570.1, for CUDA up to 12.8",
    ):
        assert line in lines
    old = sound(jax__cuda={"runtime": 11020, "cudnn": 8907})
    assert "11.2" in str(Checkup(old, ())) and "8.9.7" in str(Checkup(old, ()))
    bare = str(Checkup(sound(jax__cuda=None), ()))  # as jax says it without a CUDA build
    assert "CUDA" not in bare and "no NVIDIA GPU found" in bare


WRONG = [
    (sound(**ONE_GPU), r"there is a GPU \(H200\), but jax runs on cpu", r"install '\.\[cuda12\]'"),
    (sound(**{**ONE_GPU, "gpu__cuda": "13.1"}), "jax runs on cpu", r"install '\.\[cuda13\]'"),
    (with_plugins(sound(**ONE_GPU), CUDA12), "jax runs on cpu", "does not load"),
    (
        {**sound(**ONE_GPU), "environment": {"JAX_PLATFORMS": "cpu"}},
        "jax runs on cpu",
        "unset JAX_PLATFORMS, which is cpu",
    ),
    (
        {**sound(**ONE_GPU), "environment": {"CUDA_VISIBLE_DEVICES": ""}},
        "jax runs on cpu",
        "unset CUDA_VISIBLE_DEVICES",
    ),
    (
        with_plugins(sound(), {**CUDA12, "jax-cuda12-plugin": "0.9.0"}),
        "jax-cuda12-plugin is 0.9.0 and jaxlib 0.10.2",
        r"jax\[cuda12\]==0.10.2",
    ),
    (
        with_plugins(sound(), {**CUDA12, "jax-cuda13-plugin": "0.10.2"}),
        "for CUDA 12 and 13 are both installed",
        "pip uninstall jax-cuda12-plugin jax-cuda12-pjrt",
    ),
    (
        with_plugins(sound(**ONE_GPU, jax__backend="gpu"), {"jax-cuda13-plugin": "0.10.2"}),
        "the driver runs CUDA up to 12.8, and jax's plugin is for CUDA 13",
        "update the driver",
    ),
    (sound(gpu__trouble="no driver"), "nvidia-smi fails: no driver", "driver is broken"),
    (sound(packages__jax="0.12.0", packages__jaxlib="0.12.0"), "jax is 0.12.0, and fx needs <0.12",
     "pip install 'jax<0.12,>=0.10'"),
    (sound(packages__jaxlib="0.9.2"), "jax is 0.10.2 and jaxlib 0.9.2", "jaxlib==0.10.2"),
    (sound(packages__flax=None), "flax is missing", "pip install 'flax>=0.12'"),
    (
        {
            **with_plugins(sound(), {**CUDA12, "nvidia-cudnn-cu12": "9.1.0.70"}),
            "requirements": {"nvidia-cudnn-cu12": {"jax-cuda12-plugin": "<10.0,>=9.8"}},
        },
        "nvidia-cudnn-cu12 is 9.1.0.70, and jax-cuda12-plugin needs .*torch say, may have pinned",
        "pip install 'nvidia-cudnn-cu12<10.0,>=9.8'",
    ),
    (
        {**with_plugins(sound(), {"nvidia-cudnn-cu12": "9.8"}),
         "environment": {"LD_LIBRARY_PATH": "/usr/local/cuda/lib64"}},
        "LD_LIBRARY_PATH .* found before those of pip",
        "unset LD_LIBRARY_PATH",
    ),
    (sound(jax__unknown_flags=["--xla_x=1"], jax__error="died"),
     "XLA does not know --xla_x=1 in XLA_FLAGS", "take it out"),
    (sound(jax__error="jax does not start: no"), "jax does not start: no", "see why"),
    (sound(gpu__error="OSError: no"), "could not look at gpu: OSError: no", "reinstall"),
    (with_environment(XLA_FLAGS="xla_a=1"), "holds 'xla_a=1', which is no flag", "--name=value"),
    (with_environment(XLA_FLAGS="--a=1 --a=2"), "--a=1 and --a=2; the last holds", "keep one"),
    (with_environment(XLA_PYTHON_CLIENT_MEM_FRACTION="75%"), "'75%', which is no share", "0.75"),
    (with_environment(XLA_PYTHON_CLIENT_MEM_FRACTION="75"), "'75', which is no share", "0.75"),
    (sound(cache__writable=False), "cache folder /cache cannot be written", "chmod u.w"),
    (sound(cache__shared=True), "everybody can write to the cache folder /cache", "chmod o-w"),
    (sound(cache__free_bytes=2**20), "disk of /cache has 1 MiB left", "delete old entries"),
]  # fmt: skip


@pytest.mark.parametrize("facts, what, do", WRONG, ids=[what for _, what, _ in WRONG])
def test_what_is_wrong(facts, what, do):
    findings = [finding for finding in find(facts) if finding.wrong]
    assert len(findings) == 1
    assert re.search(what, findings[0].what) and re.search(do, findings[0].do)
    checkup = Checkup(facts, tuple(findings))
    assert not checkup.ok and "what is wrong\n  - " in str(checkup)


ADVICE = [
    (with_environment(XLA_PYTHON_CLIENT_PREALLOCATE="false"), "preallocation is off"),
    (with_environment(XLA_PYTHON_CLIENT_MEM_FRACTION="0.1"), "jax takes 10% of the GPU"),
    (with_environment(XLA_PYTHON_CLIENT_ALLOCATOR="platform"), "asks CUDA for every array"),
    (with_environment(TF_FORCE_GPU_ALLOW_GROWTH="true"), "jax does not read it"),
    (with_environment(JAX_PLATFORM="cpu"), "JAX_PLATFORM is set, and jax has no such setting"),
    (sound(jax__config={"jax_disable_jit": True}), "nothing is compiled"),
    (sound(jax__config={"jax_debug_nans": True}), "checked for nan"),
    (sound(jax__config={"jax_enable_x64": True}), "float64 is on"),
    (sound(configure__applied=False), r"fx.configure\(\) is not in force"),
    (sound(configure__changed_since_start=True), "XLA_FLAGS was changed in this process"),
    (sound(cache__folder=None), "not kept from run to run"),
]


@pytest.mark.parametrize("facts, what", ADVICE, ids=[what for _, what in ADVICE])
def test_advice_is_not_a_fault(facts, what):
    findings = find(facts)
    assert len(findings) == 1 and re.search(what, findings[0].what) and findings[0].do
    checkup = Checkup(facts, tuple(findings))
    assert checkup.ok and "advice\n  - " in str(checkup)


def test_probes_that_all_failed_are_findings():
    facts = {name: {"error": "OSError: gone"} for name in sound()}
    findings = find(facts)
    assert len([f for f in findings if "OSError: gone" in f.what]) == len(facts)
    assert "OSError: gone" in str(Checkup(facts, tuple(findings)))


@pytest.mark.parametrize(
    "version, bounds, is_within",
    [
        ("0.10.2", ">=0.10,<0.12", True),
        ("0.12.0", "<0.12", False),
        ("0.12.0rc1", "<0.12", False),
        ("9.1.0.70", ">=9.8,<10.0", False),
        ("2.13.0+cpu", "==2.13.0", True),
        ("1.4.9", "~=1.4.2", True),
        ("1.5", "~=1.4.2", False),
        ("1.4.9", "==1.4.*", True),
        ("2", "!=2.0", False),
        ("3", ">2", True),
        ("3", "", True),
    ],
)
def test_bounds(version, bounds, is_within):
    assert within(version, bounds) is is_within
