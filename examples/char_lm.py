"""A small GPT that learns to write like Python's language reference, one character at a time.

    python examples/char_lm.py                     # 6 minutes of CPU time: 3 on 2 free cores
    python examples/char_lm.py --resume            # go on after Ctrl-C, to the same weights
    python examples/char_lm.py --precision bf16 --dim 384 --layers 6 --heads 6 --context 256   # GPU

The text is the one behind `help("if")`, the module `pydoc_data.topics` that comes with every
Python, under the licence of Python itself (PSF License Agreement, https://docs.python.org/license).
Topics repeat each other, so a paragraph counts once: 373,000 characters in Python 3.11. The last
tenth is held back. The model is nanoGPT's in small, 0.8 million weights, trained on 2 million
characters.

On the text that was held back it comes to 1.343 nats, 1.938 bits a character (knowing nothing is
4.564 nats; lzma needs 2.00 bits for the whole text). It spells, and knows how a page looks:

    * If its an arithmetic names the traceback may be code block is set.

    The booleand statement of a function the literal is a called by the containing the function is
    and only of the loop instance of the number of of the class of the
       new instance assigned in a statement is a sequence is that the
"""

import argparse
import math
import sys
from collections import Counter
from pathlib import Path
from pydoc_data import topics

import fx

if __name__ == "__main__":
    fx.configure()  # before jax is imported, because XLA reads its flags and log level once

import jax
import jax.numpy as jnp
import numpy as np

from fx import functional as F
from fx import nn, optim, train

VOCABULARY = 96  # the most common characters; the others are quotation marks and the like


class Attention(nn.Module):
    """Each position looks at itself and at those before it."""

    def __init__(self, dim: int, heads: int):
        self.heads = heads
        self.qkv, self.out = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)

    def forward(self, x):
        """[N, T, dim] in, the same out."""
        batch, length, dim = x.shape
        x = self.qkv(x).reshape(batch, length, 3, self.heads, dim // self.heads)
        q, k, v = x.transpose(2, 0, 3, 1, 4)  # [N, heads, T, dim / heads] each
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.swapaxes(1, 2).reshape(batch, length, dim))


class Block(nn.Module):
    """Attention, then a network for each position by itself; what goes in is normalised."""

    def __init__(self, dim: int, heads: int, dropout: float):
        self.norm1, self.attention = nn.LayerNorm(dim), Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 4 * dim), nn.GELU(), nn.Linear(4 * dim, dim))
        self.drop = nn.Dropout(dropout)

    def forward(self, x):
        """[N, T, dim] in, the same out."""
        x = x + self.drop(self.attention(self.norm1(x)))
        return x + self.drop(self.mlp(self.norm2(x)))


class CharLM(nn.Module):
    """Characters [N, T] in, scores of each next character [N, T, vocabulary] out."""

    def __init__(self, vocabulary: int, context: int, dim=128, layers=4, heads=4, dropout=0.0):
        self.embed, self.position = nn.Embedding(vocabulary, dim), nn.Embedding(context, dim)
        self.drop = nn.Dropout(dropout)
        self.blocks = nn.Sequential(*(Block(dim, heads, dropout) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, vocabulary, bias=False)
        nn.tie(self, "head.weight", "embed.weight")

    def forward(self, x):
        """[N, T] in, [N, T, vocabulary] out."""
        x = self.embed(x) + self.position(jnp.arange(x.shape[1]))
        return self.head(self.norm(self.blocks(self.drop(x))))


def make_model(vocabulary: int, args: argparse.Namespace) -> nn.Module:
    """The model, with GPT-2's initial weights."""
    model = CharLM(vocabulary, args.context, args.dim, args.layers, args.heads, args.dropout)
    normal = nn.init.normal(std=0.02)
    rules = {nn.Linear: {"weight": normal, "bias": nn.init.zeros}, nn.Embedding: normal}
    return nn.init.by_type(model, rules)


def read_text() -> tuple[str, np.ndarray]:
    """The characters there are, and the text as numbers of them."""
    paragraphs = "\n\n".join(topics.topics[name] for name in sorted(topics.topics)).split("\n\n")
    text = "\n\n".join(dict.fromkeys(paragraphs))  # some stand in several topics
    common = Counter(text).most_common(VOCABULARY)
    characters = "".join(sorted(character for character, _ in common))
    number = {character: i for i, character in enumerate(characters)}
    return characters, np.array([number[c] for c in text if c in number], np.int32)


class Windows:
    """Batches of windows at random places, as a function of seed, epoch and step."""

    def __init__(self, text: np.ndarray, context: int, batch_size: int, steps: int, seed: int):
        self.text, self.context, self.batch_size = text, context, batch_size
        self.steps, self.seed = steps, seed

    def __len__(self) -> int:
        return self.steps

    def at(self, starts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Windows and what follows each of their characters, [N, T] each."""
        windows = self.text[starts[:, None] + np.arange(self.context + 1)]
        return windows[:, :-1], windows[:, 1:]

    def epoch(self, epoch: int, start: int = 0):
        """Yield the epoch's batches; what `fx.fit` asks of a loader."""
        for step in range(start, self.steps):
            rng = np.random.default_rng([self.seed, epoch, step])
            yield self.at(rng.integers(len(self.text) - self.context, size=self.batch_size))

    def padded(self):
        """Yield the whole text once, with masks; what `make_eval` asks of a loader."""
        starts = np.arange(0, len(self.text) - self.context, self.context)
        for i in range(0, len(starts), self.batch_size):
            some = starts[i : i + self.batch_size]
            mask = np.arange(self.batch_size) < len(some)
            yield self.at(np.resize(some, self.batch_size)), mask


def loss_fn(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Nats per character."""
    return F.cross_entropy(logits.reshape(-1, logits.shape[-1]), targets.reshape(-1))


def make_optimizer(args: argparse.Namespace):
    """AdamW with warm-up and cosine; biases and the scales of normalisations do not decay."""
    total = args.epochs * args.steps
    schedule = optim.warmup_cosine_lr(args.lr, max(1, total // 20), total, eta_min=args.lr / 10)

    def no_decay(name: str, array: jax.Array) -> bool:
        return array.ndim < 2

    def adamw(weight_decay: float):
        return optim.adamw(schedule, betas=(0.9, 0.99), weight_decay=weight_decay)

    return optim.groups({no_decay: adamw(0.0)}, default=adamw(0.1))


def make_sampler(model: nn.Module, length: int, temperature: float):
    """A compiled function that goes on with a window [T] of characters for `length` more."""

    @jax.jit
    def sample(params, state, window, key):
        def step(window, key):
            logits, _ = model.apply(params, state, window[None])
            new = jax.random.categorical(key, logits[0, -1] / temperature).astype(window.dtype)
            return jnp.append(window[1:], new), new

        return jax.lax.scan(step, window, jax.random.split(key, length))[1]

    return sample


def parse(argv: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    p = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    p.add_argument("--epochs", type=int, default=10)
    p.add_argument("--steps", type=int, default=200, help="steps an epoch")
    p.add_argument("--batch-size", type=int, default=16)
    p.add_argument("--context", type=int, default=64, help="characters a window")
    p.add_argument("--dim", type=int, default=128)
    p.add_argument("--layers", type=int, default=4)
    p.add_argument("--heads", type=int, default=4)
    p.add_argument("--dropout", type=float, default=0.0)
    p.add_argument("--lr", type=float, default=3e-3)
    p.add_argument("--precision", choices=("float32", "tf32", "bf16"), default="float32")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--sample", type=int, default=300, help="characters to write at the end")
    p.add_argument("--temperature", type=float, default=0.5)
    p.add_argument("--out", type=Path, default=Path("runs/char_lm"), help="the run's folder")
    p.add_argument("--resume", action="store_true", help="go on with the run in --out")
    args = p.parse_args(argv)
    for name in ("epochs", "steps", "batch_size", "context", "dim", "layers", "heads", "sample"):
        if getattr(args, name) < 1:
            p.error(f"--{name.replace('_', '-')}: expected 1 or more, got {getattr(args, name)}")
    if args.dim % args.heads:
        p.error(f"--dim: expected a multiple of --heads {args.heads}, got {args.dim}")
    if args.temperature <= 0:
        p.error(f"--temperature: expected more than 0, got {args.temperature}")
    return args


def main(argv: list[str] | None = None) -> int:
    """Train, report the loss on text that was held back, write a sample; the exit code."""
    args = parse(argv)
    characters, text = read_text()
    held_back = len(text) // 10
    if args.context >= held_back:
        said = f"--context: expected less than {held_back}, the characters held back for validation"
        print(said, file=sys.stderr)
        return 2
    shape = args.context, args.batch_size, args.steps, args.seed
    loader, valid = Windows(text[:-held_back], *shape), Windows(text[-held_back:], *shape)

    model, optimizer = make_model(len(characters), args), make_optimizer(args)
    ts = train.create(model, optimizer, jax.random.key(args.seed))
    step = train.make_step(model, loss_fn, optimizer, clip_norm=1.0, precision=args.precision)
    validate = train.make_eval(model, loss_fn, valid, precision=args.precision)
    result = fx.fit(
        step, ts, loader, validate=validate, epochs=args.epochs, out=args.out, resume=args.resume
    )
    if result.stopped == "interrupted":
        return 130  # what a shell expects after Ctrl-C

    best, _ = fx.checkpoint.restore(args.out, like=result.ts, which="best")
    loss = validate(best)["loss"]
    print(f"held-back text: {loss:.3f} nats, {loss / math.log(2):.3f} bits a character")
    sample = make_sampler(model, args.sample, args.temperature)
    end, key = text[-args.context :], jax.random.key(args.seed)  # it goes on where the text ends
    written = sample(best.params, best.state, end, key)
    print("".join(characters[i] for i in np.asarray(written)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
