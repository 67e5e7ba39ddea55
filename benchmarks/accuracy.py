"""Test accuracy per epoch on CIFAR-10: fx beside the same program in PyTorch.

    python -m benchmarks.accuracy --epochs 5 --seeds 0 1 --augment flip
    python -m benchmarks.accuracy --epochs 100 --seeds 0 1 2 --precision bf16     # on a GPU

Same network, initialisation, split, optimizer, schedule and batch size; each framework draws its
own weights, order, flips and dropout masks, so curves agree over seeds and not step by step. The
full augmentation is fx's alone here. Prints a line an epoch and writes JSON; runs that are in the
file already are not repeated.
"""

import argparse
import json
import time
from pathlib import Path

import fx

if __name__ == "__main__":
    fx.configure()

import jax
import numpy as np

from benchmarks.shared.machine import machine, versions
from examples import cifar10 as example
from fx import data, optim, train
from fx.evaluate import classification_metrics
from fx.functional import cross_entropy

VALID_BATCH = 500


def train_fx(args: argparse.Namespace, seed: int, note) -> None:
    """Train with fx, as examples/cifar10.py does, testing after each epoch."""
    options = argparse.Namespace(**{**vars(args), "data": "cifar10", "seed": seed, "limit": None})
    train_set, _, test = example.load(options)
    augment, normalize = example.make_transforms(options, train_set)
    on_gpu = jax.default_backend() != "cpu"
    loader = data.Loader(train_set, 128, seed=seed, on_device=on_gpu)
    model = fx.models.ConvNet()
    schedule = optim.cosine_annealing_lr(1e-3, T_max=args.schedule * len(loader), eta_min=1e-6)
    optimizer = optim.adam(schedule, weight_decay=1e-4)
    step = train.make_step(
        model,
        cross_entropy,
        optimizer,
        metrics=classification_metrics,
        transform=augment,
        precision=args.precision,
        steps_per_call=len(loader) if on_gpu else 1,
    )
    test_loader = data.Loader(test, VALID_BATCH, on_device=on_gpu)
    evaluate = train.make_eval(
        model, cross_entropy, test_loader, metrics=classification_metrics, transform=normalize
    )
    ts = train.create(model, optimizer, jax.random.key(seed))

    def after_epoch(event) -> None:
        if event.kind == "epoch":
            timing = {"seconds": event.seconds, "images_per_s": event.images_per_s}
            note(event.values["val_accuracy"], event.values["train_loss"], timing)

    fx.fit(
        step, ts, loader, validate=evaluate, epochs=args.epochs, progress=False,
        callbacks=[after_epoch],
    )  # fmt: skip


def train_torch(args: argparse.Namespace, seed: int, note) -> None:
    """Train with PyTorch, eager and channels-last, as most people write it."""
    import torch
    from torch.nn.functional import cross_entropy as torch_loss

    from benchmarks.networks.torch_convnet import ConvNet
    from benchmarks.sides.torch_train import set_precision

    torch.manual_seed(seed)
    set_precision(args.precision)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    options = argparse.Namespace(data="cifar10", seed=seed, limit=None)
    train_set, _, test = example.load(options)
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in train_set.statistics())

    def images(dataset):
        x = torch.from_numpy(dataset.inputs).permute(0, 3, 1, 2).float() / 255
        return ((x - mean) / std).to(device, memory_format=torch.channels_last)

    x, y = images(train_set), torch.from_numpy(train_set.targets).long().to(device)
    x_test, y_test = images(test), torch.from_numpy(test.targets).long().to(device)
    model = ConvNet().to(device, memory_format=torch.channels_last)
    optimizer = torch.optim.Adam(model.parameters(), 1e-3, weight_decay=1e-4)
    steps = -(-len(x) // 128)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, args.schedule * steps, 1e-6)
    for _ in range(args.epochs):
        start, losses = time.perf_counter(), []
        model.train()
        for rows in torch.randperm(len(x), device=device).split(128):
            batch = x[rows]
            if args.augment == "flip":
                flip = torch.rand(len(rows), 1, 1, 1, device=device) < 0.5
                batch = torch.where(flip, batch.flip(3), batch)
            with torch.autocast(device, torch.bfloat16, enabled=args.precision == "bf16"):
                loss = torch_loss(model(batch), y[rows])
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            losses.append(loss.detach())
        mean_loss = torch.stack(losses).mean().item()
        seconds = time.perf_counter() - start
        model.eval()
        with torch.no_grad():
            parts = zip(x_test.split(VALID_BATCH), y_test.split(VALID_BATCH))
            right = [(model(a).argmax(1) == b).float().sum() for a, b in parts]
        accuracy = torch.stack(right).sum().item() / len(x_test)
        note(accuracy, mean_loss, {"seconds": seconds, "images_per_s": len(x) / seconds})


def main() -> None:
    """Run each framework with each seed, and keep the results."""
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    p.add_argument("--epochs", type=int, default=5)
    p.add_argument("--schedule", type=int, default=100, help="epochs of the cosine schedule")
    p.add_argument("--seeds", type=int, nargs="+", default=[0])
    p.add_argument("--augment", choices=("full", "flip", "none"), default="flip")
    p.add_argument("--precision", choices=("float32", "tf32", "bf16"), default="float32")
    p.add_argument("--frameworks", nargs="+", choices=("fx", "torch"), default=["fx", "torch"])
    p.add_argument("--out", type=Path, default=Path("benchmarks/results/accuracy.json"))
    args = p.parse_args()
    results = json.loads(args.out.read_text()) if args.out.exists() else {}
    for seed in args.seeds:
        for framework in args.frameworks:
            if framework == "torch" and args.augment == "full":
                continue
            settings = f"{args.augment} {args.precision} {args.epochs}/{args.schedule} epochs"
            name = f"{framework} {settings} seed {seed}"
            if name in results:
                continue
            curve: list[dict] = []

            def note(accuracy, loss, timing, curve=curve, name=name):
                row = {"test_accuracy": accuracy, "train_loss": loss, **timing}
                curve.append(row)
                print(
                    f"{name}: epoch {len(curve)}  test {accuracy:.4f}  loss {loss:.4f}", flush=True
                )

            {"fx": train_fx, "torch": train_torch}[framework](args, seed, note)
            results[name] = {"epochs": curve, "machine": machine(), "versions": versions()}
            args.out.parent.mkdir(parents=True, exist_ok=True)
            args.out.write_text(json.dumps(results, indent=1) + "\n")
    for name, result in results.items():
        curve = [round(100 * row["test_accuracy"], 2) for row in result["epochs"]]
        print(f"{name}: {', '.join(map(str, np.array(curve)[-5:]))}")


if __name__ == "__main__":
    main()
