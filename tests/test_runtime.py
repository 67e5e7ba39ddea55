import subprocess
import sys

import jax
import pytest

import fx


def run(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)


def test_flags_are_set_and_the_users_stand():
    done = run(
        "import os; os.environ['XLA_FLAGS'] = '--xla_cpu_experimental_ynn_fusion_type=x --other=1';"
        "import fx; print(fx.configure(deterministic=True)['XLA_FLAGS'])"
    )
    assert done.stdout.split() == [
        "--xla_cpu_experimental_ynn_fusion_type=x", "--other=1", "--xla_gpu_deterministic_ops=true",
    ]  # fmt: skip


def test_it_imports_no_jax_so_that_it_can_come_first():
    done = run("import fx, sys; fx.configure(); print('jax' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_convolutions_run_and_are_quiet(tmp_path):
    done = run(
        f"import fx; fx.configure(cache_dir={str(tmp_path)!r})\n"
        "import jax, jax.numpy as jnp\n"
        "F = fx.functional\n"
        "y = jax.jit(F.conv2d)(jnp.ones((2, 3, 8, 8)), jnp.ones((4, 3, 3, 3)))\n"
        "print(float(y[0, 0, 0, 0]), jax.config.jax_compilation_cache_dir)\n"
    )
    assert done.stdout.split() == ["27.0", str(tmp_path)] and done.stderr == ""


def test_too_late_is_an_error():
    jax.devices()
    with pytest.raises(RuntimeError, match="fx.configure: JAX's backend has started"):
        fx.configure()
