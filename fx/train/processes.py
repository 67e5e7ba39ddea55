"""Several processes as one run: how they find each other, agree, and end when one of them dies."""

import atexit
import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_HOW = (
    "a run ends in all of its processes when one dies, for each holds a part of every step. Start "
    "them all again; fit(..., resume=True) goes on from the last checkpoint"
)
# It waits for the end of its input, which comes with the end of the process, however that ends.
_WITNESS = "import sys; sys.stdin.read() or sys.stderr.write(sys.argv[1])"
_COLLECTIVES = ("gloo", "nccl", "coordination service", "coordinationservice")


@contextlib.contextmanager
def distributed(
    coordinator: str | None = None,
    *,
    count: int | None = None,
    index: int | None = None,
    local_devices: Sequence[int] | None = None,
    timeout_s: int = 20,
) -> Iterator[None]:
    """Join the processes of one run for the time of a `with` block.

    Every process runs the same program, and inside of the block `jax.devices()` are those of all of
    them. Put the whole program into the block: JAX must not have been used before.

        with fx.train.distributed("10.0.0.1:1234", count=2, index=0):
            sharding = fx.train.data_parallel()
            ...
            fx.fit(step, ts, loader, out="run", resume=True, epochs=10)

    Dead processes are noticed within `timeout_s`, on CPUs at once. The others then end with an
    error that says so and with an exit status that is not 0, to be started again by whoever started
    them. Folders that the run reads and writes must be the same for all.

    Args:
        coordinator: "host:port" of process 0, the same in all. None asks Slurm, Open MPI,
            Kubernetes or the TPU's environment, and so for the next three.
        count: Number of processes. 1 joins nothing: the program runs as it would without.
        index: Which one this is, from 0.
        local_devices: Which of the machine's GPUs this process takes; None takes all.
        timeout_s: Seconds without a sign of life, after which a process counts as dead.

    Raises:
        ValueError: timeout_s below 2; an index that is not one of count; no coordinator where the
            environment does not tell one.
        RuntimeError: JAX was used before; the others did not come within five minutes; or, from
            within the block, a process of the run died.

    Source: torch's init_process_group and torchrun, without the launcher.
    """
    if timeout_s < 2:
        raise ValueError(f"distributed: expected timeout_s of 2 or more, got {timeout_s}")
    if count is not None and not 0 <= (index or 0) < count:
        raise ValueError(f"distributed: expected index from 0 to {count - 1}, got {index}")
    if count == 1:
        yield
        return
    # fit turns SIGTERM into an orderly stop; JAX's own handler would swallow it everywhere else.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(
        coordinator,
        count,
        index,
        local_devices,
        heartbeat_timeout_seconds=timeout_s,
        shutdown_timeout_seconds=timeout_s,
    )
    me = f"process {jax.process_index()} of {jax.process_count()}"
    with _witness(f"\n{me} died before its end: {_HOW}.\n"):
        try:
            yield
            barrier("the end")  # others may be minutes behind; then all shut down together
        except BaseException as error:
            # JAX's shutdown at exit would wait for processes that may never come, then abort.
            atexit.register(_leave, error.code if isinstance(error, SystemExit) else 1)
            if _is_lost(error):
                raise RuntimeError(
                    f"{me} lost another one, which died or was cut off: {_HOW}"
                ) from error
            raise
    jax.distributed.shutdown()


def barrier(name: str) -> None:
    """Wait until every process of the run is here.

    Args:
        name: What for, the same in all processes; for error messages.
    """
    if jax.process_count() > 1:
        from jax.experimental import multihost_utils

        multihost_utils.sync_global_devices(f"fx: {name}")


def any_process(flag: bool) -> bool:
    """Whether a flag is set in any process of the run; every process must ask, at the same point.

    Example:
        >>> any_process(True), any_process(False)
        (True, False)
    """
    if jax.process_count() == 1:
        return flag
    from jax.experimental import multihost_utils

    return bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def whole(tree: Any) -> Any:
    """Gather arrays that are spread over processes; every process must ask, at the same point.

    Args:
        tree: Arrays, PRNG keys among them.

    Returns:
        The tree, every array whole on this process's default device.
    """
    from jax.experimental import multihost_utils

    def gather(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array):
            return leaf
        if jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            data = gather(jax.random.key_data(leaf))
            return jax.random.wrap_key_data(data, impl=jax.random.key_impl(leaf))
        if leaf.is_fully_addressable:
            return jnp.asarray(jax.device_get(leaf))
        return jnp.asarray(multihost_utils.process_allgather(leaf, tiled=True))

    return jax.tree.map(gather, tree)


@contextlib.contextmanager
def _witness(text: str) -> Iterator[None]:
    """Have a text written if the process dies within the block without an exception.

    When process 0 dies, or a machine falls silent, JAX aborts the others from a thread of C++;
    nothing in Python runs any more, and what JAX says does not tell how to go on.
    """
    command = [sys.executable, "-ISs", "-c", _WITNESS, text]
    # Its own session: Ctrl-C in the terminal is not for it.
    watch = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
    try:
        yield
    finally:
        watch.communicate(b"all is well")


def _is_lost(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, Exception) and any(name in text for name in _COLLECTIVES)


def _leave(code: int | str | None) -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) and code else 1)
