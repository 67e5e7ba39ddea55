"""CIFAR-10 to 94 % in a few seconds on one GPU: the recipe of airbench94, written with fx.

    FX_DATA_DIR=... python examples/speedrun.py --runs 50         # on a GPU
    FX_DATA_DIR=... python examples/speedrun.py --epochs 2 --limit 10000 --test-limit 2000   # CPU

The recipe is that of Keller Jordan's cifar10-airbench (airbench94_muon.py,
https://github.com/KellerJordan/cifar10-airbench, MIT): a frozen whitening convolution, convolutions
that start as the identity, BatchNorm without scales, labels smoothed by 0.2, flips that alternate
from epoch to epoch, shifts by two pixels, Muon with weights of a fixed norm for the convolutions,
Nesterov for the rest, and the mean over six views at the test. The data set lies on the device,
augmentation is one compiled call an epoch, and an epoch of training another.

Without a GPU what can be compared is whether the recipe is right; docs/results.md has the accuracy
beside the original's own code on a CPU. Times on a GPU are not measured yet.
"""

import argparse
import time
from collections.abc import Iterator
from functools import partial

import fx

if __name__ == "__main__":
    fx.configure()

import jax
import jax.numpy as jnp
import numpy as np
import optax

from fx import data, nn, optim, train
from fx import functional as F

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
BIAS_LR, HEAD_LR, CONV_LR = 0.053, 0.67, 0.24
DECAY = 2e-6  # for each example of a batch
WHITEN_EPOCHS = 3  # for so long its biases are trained
SHIFT = 2


def conv_init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    """Torch's initial weights, with the identity in front: input i goes to output i."""
    weight = nn.init.kaiming_uniform(a=5**0.5)(key, shape, dtype)  # [out, in, 3, 3]
    same = min(shape[:2])
    return weight.at[:same].set(nn.init.dirac()(key, (same, *shape[1:]), dtype))


def head_init(key: jax.Array, shape: tuple[int, ...], dtype: jnp.dtype) -> jax.Array:
    """Torch's initial weights, scaled to a standard deviation of 1."""
    weight = nn.init.kaiming_uniform(a=5**0.5)(key, shape, dtype)
    return weight / jnp.std(weight, ddof=1)


class Conv(nn.Conv2d):
    """3x3, without a bias, with the recipe's initial weights."""

    def __init__(self, channels_in: int, channels: int):
        super().__init__(channels_in, channels, 3, padding="same", bias=False)
        self.weight = nn.Parameter(self.weight.shape, conv_init)


class Group(nn.Module):
    """Two convolutions of 3x3; the first with a max-pool of 2 after it."""

    def __init__(self, channels_in: int, channels: int):
        self.conv1 = Conv(channels_in, channels)
        self.pool = nn.MaxPool2d(2)
        self.norm1 = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
        self.conv2 = Conv(channels, channels)
        self.norm2 = nn.BatchNorm2d(channels, eps=1e-12, momentum=0.4)
        self.activ = nn.GELU()

    def forward(self, x):
        """[N, C, H, W] to [N, channels, H / 2, W / 2]."""
        x = self.activ(self.norm1(self.pool(self.conv1(x))))
        return self.activ(self.norm2(self.conv2(x)))


class Net(nn.Module):
    """[N, 3, 32, 32] to [N, 10]."""

    def __init__(self, widths: tuple[int, int, int] = (64, 256, 256)):
        one, two, three = widths
        self.whiten = nn.Conv2d(3, 24, 2)
        self.layers = nn.Sequential(
            nn.GELU(), Group(24, one), Group(one, two), Group(two, three), nn.MaxPool2d(3)
        )
        self.head = nn.init.by_type(nn.Linear(three, 10, bias=False), {nn.Linear: head_init})

    def forward(self, x):
        """Logits."""
        x = self.layers(self.whiten(x))
        x = x.reshape(x.shape[0], -1)  # [N, C]
        return self.head(x) / x.shape[1]


def whitening(images: jax.Array, eps: float = 5e-4) -> jax.Array:
    """Filters that make patches of 2x2 uncorrelated, and their negatives: [24, 3, 2, 2]."""
    patches = jnp.stack(
        [images[:, :, y : y + 31, x : x + 31] for y in range(2) for x in range(2)], -1
    )  # [N, 3, 31, 31, 4]
    flat = jnp.moveaxis(patches, 1, 3).reshape(-1, 12)  # [M, 3 * 2 * 2]
    with jax.default_matmul_precision("highest"):
        values, vectors = jnp.linalg.eigh(flat.T @ flat / flat.shape[0])
    filters = (vectors / jnp.sqrt(values + eps)).T.reshape(12, 3, 2, 2)
    return jnp.concatenate([filters, -filters])


def normed_muon(lr: optim.Schedule, momentum: float = 0.6) -> optax.GradientTransformation:
    """Muon with Nesterov's momentum on weights [out, ...] whose norm is set to sqrt(out)."""

    def update(grads, state, params):
        traces, scale = state
        traces = jax.tree.map(lambda g, t: momentum * t + g, grads, traces)
        rate = lr(scale.count)

        def one(g, trace, p):
            unit = p * (p.shape[0] ** 0.5 / jnp.linalg.norm(p))
            direction = orthogonal((g + momentum * trace).reshape(p.shape[0], -1))
            return unit - rate * direction.reshape(p.shape) - p

        updates = jax.tree.map(one, grads, traces, params)
        return updates, (traces, optim.ScaleByLearningRateState(scale.count + 1, rate))

    def init(params):
        rates = optim.scale_by_learning_rate(lr).init(params)
        return jax.tree.map(jnp.zeros_like, params), rates

    return optax.GradientTransformation(init, update)


def orthogonal(matrix: jax.Array, steps: int = 3) -> jax.Array:
    """Three steps of Newton and Schulz towards the nearest orthogonal matrix, in bfloat16."""
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    x = (x / (jnp.linalg.norm(x) + 1e-7)).astype(jnp.bfloat16)
    for _ in range(steps):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if tall else x).astype(matrix.dtype)


def make_optimizer(batch_size: int, steps: int, whiten_steps: int) -> optax.GradientTransformation:
    """Nesterov for biases and head, Muon for convolutions; what whitens stays as it is."""
    decay = DECAY * batch_size

    def nesterov(lr: float, length: int, weight_decay: float):
        falling = optim.polynomial_lr(lr, total_iters=length)
        return optim.sgd(falling, momentum=0.85, weight_decay=weight_decay, nesterov=True)

    return optim.groups({
        "layers.*.conv*.weight": normed_muon(optim.polynomial_lr(CONV_LR, total_iters=steps)),
        "whiten.bias": nesterov(BIAS_LR, whiten_steps, decay / BIAS_LR),
        "layers.*.norm*.bias": nesterov(BIAS_LR, steps, decay / BIAS_LR),
        "head.weight": nesterov(HEAD_LR, steps, decay / HEAD_LR),
        ("whiten.weight", "layers.*.norm*.weight"): optim.frozen(),
    })  # fmt: skip


def smoothed(outputs: jax.Array, labels: jax.Array) -> jax.Array:
    """The recipe's loss: summed over the batch."""
    return F.cross_entropy(outputs, labels, label_smoothing=0.2, reduction="sum")


@jax.jit
def prepare(images: jax.Array) -> jax.Array:
    """uint8 [N, H, W, C] to normalised [N, C, H, W]."""
    x = (images.astype(jnp.float32) / 255 - jnp.asarray(MEAN)) / jnp.asarray(STD)
    return jnp.moveaxis(x, -1, 1)


@partial(jax.jit, static_argnames=("batch_size",))
def augment(
    images: jax.Array, labels: jax.Array, key: jax.Array, epoch: jax.Array, *, batch_size: int
) -> tuple[jax.Array, jax.Array]:
    """An epoch's batches, [steps, B, 3, 32, 32] and [steps, B], from prepared images.

    Whether an image is flipped is drawn once, and turned around in every other epoch.
    """
    flip_key, epoch_key = jax.random.split(key)
    shift_key, order_key = jax.random.split(jax.random.fold_in(epoch_key, epoch))
    n = images.shape[0]
    flipped = jax.random.bernoulli(flip_key, 0.5, (n,)) ^ (epoch % 2 == 1)
    shifts = jax.random.randint(shift_key, (n, 2), 0, 2 * SHIFT + 1)
    rows = jax.random.permutation(order_key, n)[: n // batch_size * batch_size]

    def window(image, shift, flip):
        image = jnp.pad(image, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT)), "reflect")
        image = jax.lax.dynamic_slice(image, (0, shift[0], shift[1]), (3, 32, 32))
        return jnp.where(flip, image[:, :, ::-1], image)

    batches = jax.vmap(window)(images[rows], shifts[rows], flipped[rows])
    return batches.reshape(-1, batch_size, 3, 32, 32), labels[rows].reshape(-1, batch_size)


class Batches:
    """What `fx.fit` needs of a loader, with augmentation by the epoch on the device."""

    def __init__(self, images: jax.Array, labels: jax.Array, batch_size: int, key: jax.Array):
        self.images, self.labels, self.batch_size, self.key = images, labels, batch_size, key

    def __len__(self) -> int:
        return self.images.shape[0] // self.batch_size

    def epoch(self, epoch: int, start: int = 0, steps_per_call: int = 1) -> Iterator:
        """Yield the epoch's batches from step `start` on."""
        batches = augment(
            self.images, self.labels, self.key, jnp.int32(epoch), batch_size=self.batch_size
        )
        for step in range(start, len(self), steps_per_call):
            at = step if steps_per_call == 1 else slice(step, step + steps_per_call)
            yield batches[0][at], batches[1][at]


@partial(jax.jit, static_argnames=("model", "precision"))
def views(model, params, state, images: jax.Array, precision: str) -> jax.Array:
    """Logits, averaged over the image, two shifts by a pixel, and the mirror images of all."""
    dtype = jnp.bfloat16 if precision == "bf16" else jnp.float32
    params, images = jax.tree.map(lambda leaf: leaf.astype(dtype), (params, images))
    padded = jnp.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)), "reflect")
    seen = [images, padded[:, :, :32, :32], padded[:, :, 2:, 2:]]
    logits = [
        model.apply(params, state, x)[0].astype(jnp.float32)
        for view in seen for x in (view, view[:, :, :, ::-1])
    ]  # fmt: skip
    weights = jnp.asarray([0.25, 0.25, 0.125, 0.125, 0.125, 0.125])
    return jnp.tensordot(weights, jnp.stack(logits), 1)


def accuracy(model, ts, images: jax.Array, labels: np.ndarray, precision: str) -> float:
    """Share of prepared test images that are right, with all views."""
    parts = [images[at : at + 2000] for at in range(0, images.shape[0], 2000)]
    found = [views(model, ts.params, ts.state, part, precision).argmax(-1) for part in parts]
    return float(np.mean(np.concatenate(jax.device_get(found)) == labels))


def one_run(model, step, options, train_set, test_set, seed: int) -> float:
    """Train from the start; return the test accuracy."""
    data_key, key = jax.random.split(jax.random.key(seed))
    images, labels = train_set
    ts = train.create(model, step.optimizer, key)
    ts.params["whiten"]["weight"] = whitening(images[:5000])
    batches = Batches(images, labels, options.batch_size, data_key)
    ts = fx.fit(step, ts, batches, epochs=options.epochs, progress=options.progress).ts
    return accuracy(model, ts, *test_set, options.precision)


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    p.add_argument("--runs", type=int, default=1)
    p.add_argument("--epochs", type=int, default=8)
    p.add_argument("--batch-size", type=int, default=2000)
    p.add_argument("--precision", choices=("float32", "bf16"), help="bf16 on a GPU unless told")
    p.add_argument("--limit", type=int, help="train on the first N images only")
    p.add_argument("--test-limit", type=int, help="test on the first N images only")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--progress", action="store_true")
    return p.parse_args(arguments)


def load(split: str, limit: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Images, uint8 [N, 32, 32, 3], and labels."""
    found = data.cifar10(split)
    return np.asarray(found.inputs[:limit]), np.asarray(found.targets[:limit])


def main(arguments: list[str] | None = None) -> list[float]:
    """Do the runs; the first one compiles, and its time is given by itself."""
    options = parse(arguments)
    on_cpu = jax.default_backend() == "cpu"
    options.precision = options.precision or ("float32" if on_cpu else "bf16")
    images, labels = load("train", options.limit)
    test_images, test_labels = load("test", options.test_limit)
    train_set = prepare(images), jnp.asarray(labels)
    test_set = prepare(test_images), test_labels
    steps = len(labels) // options.batch_size
    model = Net()
    step = train.make_step(
        model,
        smoothed,
        make_optimizer(options.batch_size, options.epochs * steps, WHITEN_EPOCHS * steps),
        precision=options.precision,
        steps_per_call=1 if on_cpu else steps,  # XLA runs convolutions in loops slowly on CPUs
    )
    found = []
    for run in range(options.runs):
        start = time.perf_counter()
        found.append(one_run(model, step, options, train_set, test_set, options.seed + run))
        seconds = time.perf_counter() - start
        note = ", compilation included" if run == 0 else ""
        print(f"run {run}: test accuracy {found[-1]:.4f} in {seconds:.2f} s{note}", flush=True)
    if len(found) > 1:
        print(f"mean {fx.evaluate.summarize(found)}")
    return found


if __name__ == "__main__":
    main()
