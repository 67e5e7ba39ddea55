"""What must not get slower and does not depend on the machine: the program made of a step.

Times belong to the benchmarks. Here are counts: compilations, transfers, convolutions, transposes
and copies of activations, bytes that are donated; and the loop's cost as a ratio, with a margin.
"""

import re
import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import fx
from fx import functional as F
from fx.data import transforms
from tests.train.tiny_run import Batches, make

BATCH = 64
AUGMENT = transforms.Compose((transforms.ToTensor(), transforms.RandomHorizontalFlip()))


@pytest.fixture(scope="module")
def step():
    optimizer = fx.optim.adam(1e-3, weight_decay=1e-4)
    return fx.train.make_step(
        fx.models.ConvNet(), F.cross_entropy, optimizer, transform=AUGMENT, max_compiles=1
    )


@pytest.fixture(scope="module")
def compiled(step):
    ts = jax.eval_shape(
        lambda key: fx.train.create(fx.models.ConvNet(), step.optimizer, key), jax.random.key(0)
    )
    images = jax.ShapeDtypeStruct((BATCH, 32, 32, 3), jnp.uint8)
    labels = jax.ShapeDtypeStruct((BATCH,), jnp.int32)
    return ts, step.compiled.lower(ts, (images, labels)).compile()


def operations(compiled, name):
    text = compiled.as_text()
    return [line for line in text.splitlines() if re.search(rf"= \S+ {name}\(", line)]


def test_every_convolution_runs_once(compiled):
    """Five forward, five for weights' gradients, five for inputs'; the first is a product."""
    assert len(operations(compiled[1], "convolution")) == 15


def test_no_activation_is_transposed_between_spatial_operations(compiled):
    moved = []
    for line in operations(compiled[1], "transpose"):
        shape = [int(n) for n in re.search(r"= \w+\[([\d,]+)\]", line)[1].split(",")]
        if np.prod(shape) > 4e5:  # the images themselves are smaller
            moved.append(re.search(r"dimensions=\{([\d,]+)\}", line)[1])
    # On CPUs XLA sums a weight's gradient over the batch as a convolution over "channels", and
    # puts the batch last for it, in both arguments. Nothing of ours can be seen in these.
    for_weights = [each for each in moved if each in ("3,1,2,0", "1,2,0,3", "1,2,3,0")]
    assert len(for_weights) == len(moved) <= 11, moved


def test_no_activation_is_copied_but_where_it_is_transposed(compiled):
    """XLA writes its transposes for weights' gradients, which are counted above, by a copy."""
    copied = []
    for line in operations(compiled[1], "copy"):
        shape = re.findall(r"\d+", re.search(r"= \w+\[([\d,]*)\]", line)[1])
        if np.prod([int(n) for n in shape]) > 4e5:
            copied.append(line)
    assert all("copy(%transpose" in line for line in copied) and len(copied) <= 11, copied


def test_nothing_leaves_the_device_within_a_step(compiled):
    """On a CPU a transfer guard does not see reading; in the program it has a name."""
    text = compiled[1].as_text()
    for name in ("infeed", "outfeed", "send", "recv"):
        assert not operations(compiled[1], name)
    targets = set(re.findall(r'custom_call_target="([^"]+)"', text))
    assert not [each for each in targets if "callback" in each.lower()], targets


def test_no_activation_is_computed_again_to_be_transposed(compiled):
    """In front of the channels the inputs of convolutions are moved as they lie in memory."""
    moved = [line for line in operations(compiled[1], "transpose") if "{3,1,2,0}" in line]
    assert moved and all("transpose(%param" in line for line in moved), moved


def test_sums_over_activations_are_folded(compiled):
    """XLA's own, in windows and with strides, are left where a sum is small: the loss, the head."""
    windows = operations(compiled[1], "reduce-window")
    assert not [line for line in windows if re.search(r"= \w+\[\d+,\d+,\d+", line)]


def test_the_state_is_donated(compiled):
    ts, program = compiled
    analysis = program.memory_analysis()
    weights = sum(
        leaf.size * leaf.dtype.itemsize
        for leaf in jax.tree.leaves((ts.params, ts.state, ts.opt_state))
    )
    assert analysis.alias_size_in_bytes >= weights


def test_a_run_compiles_once_and_moves_nothing_but_batches():
    step, ts, _ = make()
    batches = [jax.device_put(batch) for batch in Batches().epoch(0)]
    ts, _ = step(ts, batches[0])
    compiled = step.compilations.count  # other tests share the step
    with jax.transfer_guard("disallow"):
        for batch in batches[1:]:
            ts, metrics = step(ts, batch)
    assert step.compilations.count == compiled and np.isfinite(metrics["loss"])


def test_the_loop_costs_little():
    """Beside a bare loop over the same calls; machines that run tests are busy: a wide margin."""
    length, per_call = 300, 1e-3

    class Step:
        def __call__(self, ts, batch):
            until = time.perf_counter() + per_call  # a step of a millisecond
            while time.perf_counter() < until:
                pass
            return ts.replace(step=ts.step + 1), {"loss": np.float32(1.0)}

    class Loader:
        def __len__(self):
            return length

        def epoch(self, epoch):
            yield from [(np.ones(4, np.float32), np.ones(4, np.float32))] * length

    ts = fx.train.TrainState(np.int32(0), {}, {}, (), None)

    def bare():
        for batch in Loader().epoch(0):
            Step()(ts, batch)

    def fitted():
        fx.fit(Step(), ts, Loader(), epochs=1, progress=False)

    ratios = []
    for _ in range(5):
        times = []
        for run in (bare, fitted):
            start = time.process_time()
            run()
            times.append(time.process_time() - start)
        ratios.append(times[1] / times[0])
    assert min(ratios) < 1.15, ratios
