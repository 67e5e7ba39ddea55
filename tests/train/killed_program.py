"""A program that is killed: it trains with everything that draws random numbers, and resumes.

    python killed_program.py OUT EPOCHS CACHE [PAUSE COUNT]

With PAUSE it stands still at the COUNT-th time that it comes to this place, and says so by the file
OUT/paused, so that whoever kills it can be sure of where.
"""

import os
import shutil
import sys
import time
from pathlib import Path

import jax

import fx
from tests.train.tiny_run import Batches, Net, accuracy, data, jitter, loss_fn


def train(epochs, out=None, callbacks=()):
    """Shuffled batches, dropout, a transform with a key, running statistics, a schedule, Adam."""
    inputs, targets = data(50)
    loader = fx.data.Loader(fx.data.Dataset(inputs, targets), 8, seed=3, drop_last=True)
    optimizer = fx.optim.adam(fx.optim.cosine_annealing_lr(0.05, T_max=400), weight_decay=1e-3)
    step = fx.train.make_step(Net(), loss_fn, optimizer, metrics=accuracy, transform=jitter)
    validate = fx.train.make_eval(
        Net(), loss_fn, Batches(24, 8, seed=1), metrics=accuracy, transform=jitter
    )
    ts = fx.train.create(Net(), optimizer, jax.random.key(5))
    options = {"validate": validate, "progress": False, "log_every": 2, "callbacks": callbacks}
    if out is not None:
        options |= {"out": out, "resume": True, "checkpoint_every": 2}
    return fx.fit(step, ts, loader, epochs=epochs, **options)


class Pause:
    """Stand still at the count-th call."""

    def __init__(self, out, count):
        self.marker, self.left = Path(out) / "paused", count

    def __call__(self):
        self.left -= 1
        if self.left == 0:
            self.marker.write_text("")
            time.sleep(120)


def before(function, pause):
    def paused(*args, **kwargs):
        pause()
        return function(*args, **kwargs)

    return paused


def half_removed(pause, rmtree=shutil.rmtree):
    def remove(path, *args, **kwargs):
        if Path(path).exists() and Path(path).suffix == ".deleted":
            next(p for p in sorted(Path(path).rglob("*")) if p.is_file()).unlink()
            pause()
        return rmtree(path, *args, **kwargs)

    return remove


def half_a_manifest(pause, write=Path.write_text):
    def written(path, text):
        if path.name == "manifest.json":
            write(path, text[: len(text) // 2])
            pause()
        return write(path, text)

    return written


def patch(place, pause):
    """Put the pause where it belongs; returns callbacks for `fit`."""
    from fx.checkpoint import folder, writing

    if place == "step":
        return [lambda event: pause() if event.kind == "log" else None]
    if place == "arrays":  # orbax is through, the manifest is not begun
        writing.write_manifest = before(writing.write_manifest, pause)
    elif place == "manifest":
        Path.write_text = half_a_manifest(pause)
    elif place == "rename":  # complete, and not called by its number yet
        writing.replace = before(writing.replace, pause)
    elif place == "prune":  # the new one is there, and no old one is gone yet
        writing.prune = before(writing.prune, pause)
    elif place == "deletion":
        folder.shutil.rmtree = half_removed(pause)
    else:
        raise ValueError(place)
    return []


def main(out, epochs, cache, place=None, count="1"):
    jax.config.update("jax_numpy_dtype_promotion", "strict")
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    callbacks = [] if place is None else patch(place, Pause(out, int(count)))
    print(train(int(epochs), out, callbacks).stopped, flush=True)


if __name__ == "__main__":
    os.environ.setdefault("JAX_PLATFORMS", "cpu")
    main(*sys.argv[1:])
