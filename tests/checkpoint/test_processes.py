"""Two processes that share a run: a checkpoint is a joint effort, and so is its failure."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from fx import checkpoint

ROOT = Path(__file__).parent.parent.parent
PROGRAM = """
import sys
import jax, numpy as np, jax.numpy as jnp
port, number, run = sys.argv[1], int(sys.argv[2]), sys.argv[3]
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_cpu_collectives_implementation", "gloo")
jax.distributed.initialize(f"127.0.0.1:{port}", 2, number)
import fx
from fx import checkpoint
from fx.checkpoint import writing

mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
spread, same = jax.NamedSharding(mesh, jax.P("data")), jax.NamedSharding(mesh, jax.P())

def state(step):
    make = lambda: fx.train.TrainState(
        jnp.int32(step), {"w": jnp.arange(8.0) + step}, {}, (), jax.random.key(step)
    )
    placed = jax.tree.map(lambda leaf: same, jax.eval_shape(make))
    return jax.jit(make, out_shardings=placed.replace(params={"w": spread}))()

def attempt(work):
    try:
        work()
    except Exception as error:
        print(type(error).__name__, error, flush=True)

with checkpoint.Writer(run) as writer:
    writer.save(state(1), {"at": 1})
    print("written", checkpoint.verify(f"{run}/checkpoints/1"), flush=True)
    checkpoint.save(run + "/other", state(2), {})
    real = writing.write_manifest
    if number == 0:
        def write_manifest(*args):
            raise OSError(28, "No space left on device")
        writing.write_manifest = write_manifest
    attempt(lambda: writer.save(state(3), {}))
    writing.write_manifest = real
    writer.save(state(4), {"at": 4})
ts, loop_state = checkpoint.restore(run, like=state(9))
assert loop_state == {"at": 4} and ts.params["w"].sharding.is_equivalent_to(spread, 1)
mine = np.asarray(ts.params["w"].addressable_data(0))
print("read", mine.tolist(), int(ts.step), flush=True)
attempt(lambda: checkpoint.save(sys.argv[4], state(1), {}))
"""


@pytest.mark.full
def test_two_processes_write_one_checkpoint_and_fail_together(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    env = {**os.environ, "PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}
    run, taken = tmp_path / "run", tmp_path / "taken"
    with checkpoint.only_writer(taken):
        children = [
            subprocess.Popen(
                [sys.executable, "-c", PROGRAM, port, str(number), run, taken],
                env=env,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )  # fmt: skip
            for number in (0, 1)
        ]
        try:
            ends = [child.communicate(timeout=240) for child in children]
        finally:
            for child in children:
                child.kill()
                child.wait()
    assert [child.returncode for child in children] == [0, 0], ends
    first, second = (
        [line for line in output.splitlines() if "[Gloo]" not in line] for output, _ in ends
    )
    assert first[0] == second[0] == "written []"
    assert first[1].startswith("OSError [Errno 28] checkpoint: step 3 could not be written to ")
    assert second[1].startswith("RuntimeError fx: finishing a checkpoint failed on process [0]")
    assert (
        first[2] == "read [4.0, 5.0, 6.0, 7.0] 4" and second[2] == "read [8.0, 9.0, 10.0, 11.0] 4"
    )
    assert first[3].startswith("BlockingIOError checkpoint: expected to be the only one")
    assert second[3].startswith(f"RuntimeError fx: taking the lock on {taken} failed on")
    assert checkpoint.steps(run) == [1, 4]
