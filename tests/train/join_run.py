"""A process of a run: python -m tests.train.join_run OUT PORT COUNT INDEX [option=value ...]

Options: `die` and `stop`, the step before which this process gets SIGKILL or SIGTERM; `hang`, the
step before which it stops like a machine that falls silent; `raise`, before which it raises; `nan`,
the step whose tenth example is NaN; `timeout`, in seconds; `fsdp`, to spread parameters; `predict`,
to write what `fx.train.predict` gives here to OUT/INDEX.npz; `alone`, to export the weights of the
last checkpoint to OUT/bundle.
"""

import os
import signal
import sys

import jax
import jax.numpy as jnp
import numpy as np

import fx
from fx.train import create, make_step
from fx.train.processes import distributed
from fx.train.sharding import data_parallel, fsdp
from tests.train.mesh_run import loader, loss_fn, network, optimizer

SIGNALS = {"die": signal.SIGKILL, "stop": signal.SIGTERM, "hang": signal.SIGSTOP}


def at(number, wants):
    """Whatever was asked for at this step."""
    if wants.get("raise") == number:
        raise OSError("the disk is gone")
    for name, kind in SIGNALS.items():
        if wants.get(name) == number:
            os.kill(os.getpid(), kind)


class Watched:
    """A loader of which `at` hears before each step."""

    def __init__(self, loader, wants):
        self.loader, self.wants = loader, wants

    def __len__(self):
        return len(self.loader)

    def epoch(self, epoch, start=0):
        for number, batch in enumerate(self.loader.epoch(epoch, start)):
            at(epoch * len(self) + start + number, self.wants)
            if self.wants.get("nan") == epoch * len(self) + start + number:
                batch = batch[0].at[9, 0, 2, 3].set(jnp.nan), batch[1]
            yield batch


def main(out, index, wants):
    sharding = fsdp(min_size=32) if wants.get("fsdp") else data_parallel()
    batches = loader(sharding, np.float32)
    checked = "nan" in wants
    step = make_step(network(), loss_fn, optimizer(), sharding=sharding, check_finite=checked)
    ts = create(network(), step.optimizer, jax.random.key(0), sharding=sharding)
    validate = fx.train.make_eval(network(), loss_fn, batches)
    options = {"epochs": 3, "out": out, "resume": True, "log_every": 2, "checkpoint_every": 3}
    result = fx.fit(
        step, ts, Watched(batches, wants), validate=validate, progress=index == 0, **options
    )
    if wants.get("predict"):
        ts = result.ts
        found = fx.train.predict(network(), ts.params, ts.state, batches)
        np.savez(f"{out}/{index}.npz", outputs=found[0], targets=found[1])
    if wants.get("alone"):  # the other process does not take part
        weights = fx.checkpoint.restore_weights(out, network())
        spec = ((None, *batches.dataset.inputs.shape[1:]), "float32")
        fx.export(network(), *weights, spec, f"{out}/bundle", postprocess=None)
    print(result.stopped, int(result.ts.step), flush=True)


if __name__ == "__main__":
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    out, port, count, index = sys.argv[1], *map(int, sys.argv[2:5])
    wants = {name: int(value) for name, value in (word.split("=") for word in sys.argv[5:])}
    timeout_s = wants.get("timeout", 20)
    with distributed(f"127.0.0.1:{port}", count=count, index=index, timeout_s=timeout_s):
        main(out, index, wants)
