"""The probes on this machine, and on broken ones."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fx import doctor
from fx.cli import main
from fx.doctor import probes


@pytest.fixture(scope="module")
def facts():
    return probes.collect()


def test_this_machine(facts):
    import jax

    assert facts["packages"]["jax"] == jax.__version__
    assert facts["jax"]["backend"] == jax.default_backend()
    assert "JAX_ENABLE_X64" in facts["jax"]["known_variables"]
    assert facts["requirements"]["jax"]["fx"].startswith(("<", ">"))
    assert [name for name, some in facts.items() if "error" in some] == []
    json.dumps(facts)


def test_the_text_names_what_was_asked_for(facts):
    text = str(doctor.Checkup(facts, tuple(doctor.find(facts))))
    for word in ("jaxlib", "optax", "jax runs on", "preallocation", "default_matmul_precision",
                 "determinism", "would set", "compilation cache", "enable_x64"):  # fmt: skip
        assert word in text


def test_a_probe_that_breaks_says_so():
    def broken():
        raise ImportError("libcuda.so.1: cannot open")

    assert probes.guarded(broken) == {"error": "ImportError: libcuda.so.1: cannot open"}


def fake(monkeypatch, tmp_path, script):
    """Another python for the probe to start."""
    path = tmp_path / "python"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(path))


def test_jax_that_dies(monkeypatch, tmp_path):
    fake(monkeypatch, tmp_path, "echo 'Fatal: no driver' >&2; exit 134")
    assert probes.ask_jax() == {"error": "jax does not start: Fatal: no driver"}


def test_jax_that_dies_of_a_flag(monkeypatch, tmp_path):
    fake(monkeypatch, tmp_path, "echo 'F0 x] Unknown flags in XLA_FLAGS: --a=1 --b' >&2; exit 134")
    assert probes.ask_jax()["unknown_flags"] == ["--a=1", "--b"]


def test_jax_that_hangs(monkeypatch, tmp_path):
    fake(monkeypatch, tmp_path, "exec sleep 60")
    assert probes.ask_jax(timeout_s=0.3) == {"error": "jax did not start within 0 s"}


def smi(monkeypatch, tmp_path, script):
    path = tmp_path / "nvidia-smi"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")


def test_a_gpu(monkeypatch, tmp_path):
    smi(
        monkeypatch,
        tmp_path,
        'if [ $# -gt 0 ]; then echo "NVIDIA H200, 570.86, 143771 MiB, 4 MiB"; '
        'else echo "| Driver Version: 570.86   CUDA Version: 12.8 |"; fi',
    )
    assert probes.gpu() == {
        "present": True,
        "gpus": [{"name": "NVIDIA H200", "memory_total": "143771 MiB", "memory_used": "4 MiB"}],
        "driver": "570.86",
        "cuda": "12.8",
    }


def test_a_driver_that_is_broken(monkeypatch, tmp_path):
    smi(monkeypatch, tmp_path, "echo 'NVIDIA-SMI has failed'; exit 9")
    assert probes.gpu() == {"present": False, "trouble": "NVIDIA-SMI has failed"}


def test_the_cache(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir(mode=0o755)
    (folder / "a").write_bytes(b"12345")
    found = probes.cache({"jax_compilation_cache_dir": str(folder)})
    assert (found["entries"], found["size_bytes"], found["writable"]) == (1, 5, True)
    assert found["free_bytes"] > 0 and not found["shared"]
    folder.chmod(0o777)
    assert probes.cache({"jax_compilation_cache_dir": str(folder)})["shared"]
    (tmp_path / "file").touch()
    inside = probes.cache({"jax_compilation_cache_dir": str(tmp_path / "file" / "cache")})
    assert not inside["writable"] and not inside["exists"]
    new = probes.cache({"jax_compilation_cache_dir": str(tmp_path / "new" / "cache")})
    assert new["writable"] and not new["exists"]
    assert probes.cache({"jax_compilation_cache_dir": "gs://bucket"})["remote"]


def test_variables_that_matter_without_secrets(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--a=1")
    monkeypatch.setenv("NVIDIA_API_KEY", "s")
    monkeypatch.setenv("HOMEPAGE", "x")
    found = probes.environment()
    assert found["XLA_FLAGS"] == "--a=1" and not {"NVIDIA_API_KEY", "HOMEPAGE"} & set(found)


def test_flags_set_too_late():
    code = (
        "import jax, os; jax.devices(); os.environ['XLA_FLAGS'] = '--xla_late=1';"
        "from fx.doctor import probes; print(probes.configure()['changed_since_start'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    expected = "True" if Path("/proc/self/environ").exists() else "False"
    assert done.stdout.strip() == expected, done.stderr


def test_the_command_without_jax_in_this_process():
    """A jax that cannot be imported must not stop the report."""
    code = (
        "import sys; sys.modules['jax'] = None\n"
        "from fx.cli import main; sys.exit(main(['doctor', '--json']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    report = json.loads(done.stdout)
    assert done.returncode == (0 if report["ok"] else 1), done.stderr
    assert report["facts"]["jax"]["backend"]


def test_the_exit_code(monkeypatch, capsys, facts):
    monkeypatch.setattr(probes, "collect", lambda: facts)
    assert main(["doctor"]) == (1 if any(f.wrong for f in doctor.find(facts)) else 0)
    assert capsys.readouterr().out.startswith("python\n")
    broken = {**facts, "jax": {"error": "jax does not start"}}
    monkeypatch.setattr(probes, "collect", lambda: broken)
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False
