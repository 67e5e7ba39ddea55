import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest
from jax.sharding import PartitionSpec

from fx.train.sharding import Sharding, data_parallel, fsdp

ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("marks", ["not full", pytest.param("full", marks=pytest.mark.full)])
def test_on_eight_devices(marks):
    """One process for all of these: the number of devices is fixed when JAX starts."""
    flags = (
        os.environ.get("XLA_FLAGS", ""),
        "--xla_force_host_platform_device_count=8",
        "--xla_backend_optimization_level=0",  # compiling is what takes the time here
    )
    settings = {"XLA_FLAGS": " ".join(flags), "JAX_ENABLE_X64": "1", "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", marks]
    done = subprocess.run(
        [*command, "tests/train/on_eight_devices.py"],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_equal_arguments_make_equal_shardings():
    devices = jax.devices()[:1]
    assert data_parallel(devices) == data_parallel(devices)
    assert fsdp(devices) == fsdp(devices) != fsdp(devices, min_size=2)
    assert len({data_parallel(devices), fsdp(devices), fsdp(devices)}) == 2


def test_wrong_arguments():
    with pytest.raises(ValueError, match="fsdp: expected min_size of 1 or more, got 0"):
        fsdp(min_size=0)
    mesh = data_parallel(jax.devices()[:1]).mesh
    for axes in (("rows",), ()):
        with pytest.raises(ValueError, match=r"expected axes to be among the mesh's \('data',\)"):
            Sharding(mesh, lambda name, shape: PartitionSpec(), axes=axes)
