"""Is a recipe better than another, or was it luck? Two recipes over many seeds, with a test.

    python examples/seeds.py                     # with dropout against without, 16 seeds each
    python examples/seeds.py --seeds 32 --epochs 20 --how vmap

It trains a small network on scikit-learn's digits with every seed, all of them in one program
where that is faster, and compares what comes out seed by seed: a seed determines the initial
weights, the dropout masks and the order of the batches. Test accuracy is that of each run's best
epoch on the validation set, which the test set has no part in.

On two busy cores it takes two minutes. Test accuracy is 0.9636 ± 0.0021 without dropout and
0.9593 ± 0.0028 with it: a difference of -0.0044, 95 % interval [-0.0074, -0.0013], p = 0.008 by
the t-test and 0.013 by the permutation test. So a dropout of 0.5 hurts a network this small.
"""

import argparse
import sys

import fx

if __name__ == "__main__":
    fx.configure()  # before jax is imported, because XLA reads its flags and log level once

import jax

from fx import data, evaluate, nn, optim, train
from fx.data import transforms
from fx.functional import cross_entropy


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    p.add_argument("--seeds", type=count, default=16)
    p.add_argument("--epochs", type=count, default=20)
    p.add_argument("--batch-size", type=count, default=64)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--dropout", type=float, default=0.5, help="of the second recipe")
    p.add_argument("--how", choices=("auto", "vmap", "loop"), default="auto")
    args = p.parse_args(argv)
    if args.seeds < 2:
        p.error("--seeds: expected 2 or more, since one has no interval")
    return args


def count(text: str) -> int:
    """A number of 1 or more, for argparse."""
    if int(text) < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, got {text}")
    return int(text)


def network(dropout: float) -> nn.Module:
    """Two hidden layers, for images [N, 3, 8, 8]."""
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(3 * 8 * 8, 128),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(128, 128),
        nn.ReLU(),
        nn.Dropout(dropout),
        nn.Linear(128, 10),
    )


def run(args: argparse.Namespace, dropout: float) -> list[float]:
    """Train one recipe with every seed; print its table, and return the test accuracies."""
    whole, test_set = data.digits("train", size=8), data.digits("test", size=8)
    train_set, valid_set = data.random_split(whole, (0.8, 0.2))
    steps = transforms.ToTensor(), transforms.Normalize(*train_set.statistics())
    common = {
        "metrics": evaluate.classification_metrics,
        "transform": transforms.Compose(steps),
    }
    model, optimizer = network(dropout), optim.adam(args.lr)
    step = train.make_step(model, cross_entropy, optimizer, **common)
    validate, test = (
        train.make_eval(model, cross_entropy, data.Loader(each, 500), **common)
        for each in (valid_set, test_set)
    )
    seeds = range(args.seeds)
    runs = train.fit_many(
        step,
        [train.create(model, optimizer, jax.random.key(seed)) for seed in seeds],
        [data.Loader(train_set, args.batch_size, seed=seed, drop_last=True) for seed in seeds],
        validate=validate,
        epochs=args.epochs,
        how=args.how,
        progress=False,
    )
    print(f"\ndropout {dropout:g}: {runs.table('best')}\n{runs.why}")
    assert runs.weights is not None  # the best by what validate gives
    best = [
        result.ts.replace(params=params, state=state)
        for result, (params, state) in zip(runs.results, runs.weights)
    ]
    return [test(ts)["accuracy"] for ts in best]


def main(argv: list[str] | None = None) -> int:
    """Run both recipes and compare them; returns the exit code."""
    args = parse(argv)
    without, with_dropout = run(args, 0.0), run(args, args.dropout)
    print()
    for name, values in {"without": without, "with": with_dropout}.items():
        print(f"test accuracy {name:<7}  {evaluate.summarize(values).text()}")
    print(f"\nwith dropout less without:\n{evaluate.compare(without, with_dropout).text()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
