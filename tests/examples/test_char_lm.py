"""The character-level language model at a small size."""

import json
import math
import re
import signal

import jax
import numpy as np
import pytest

import fx
from examples import char_lm

SMALL = "--context 16 --dim 32 --layers 1 --heads 2 --batch-size 16 --steps 30 --sample 60".split()


@pytest.fixture(autouse=True)
def little_to_validate(monkeypatch):
    whole = char_lm.read_text
    monkeypatch.setattr(char_lm, "read_text", lambda: (whole()[0], whole()[1][:20_000]))


def run(out, *more):
    assert char_lm.main([*SMALL, "--out", str(out), *more]) == 0


def test_it_learns_and_writes(tmp_path, capsys):
    run(tmp_path, "--epochs", "3")
    said = capsys.readouterr().out
    found = re.search(r"held-back text: (\d\.\d{3}) nats, (\d\.\d{3}) bits a character\n", said)
    nats, bits = map(float, found.groups())
    characters, _ = char_lm.read_text()
    assert nats < 0.8 * math.log(len(characters))  # what knows nothing has log(96) = 4.56
    assert abs(bits - nats / math.log(2)) < 2e-3
    written = said[found.end() : -1]
    assert len(written) == 60 and set(written) <= set(characters)
    history = json.loads((tmp_path / "history.json").read_text())["history"]
    assert [row["epoch"] for row in history] == [1, 2, 3]
    assert nats == pytest.approx(min(row["val_loss"] for row in history), abs=6e-4)


@pytest.fixture
def interruptible():
    """SIGINT as a terminal has it; what is started in the background may ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
@pytest.mark.usefixtures("interruptible")
def test_resume_gives_the_same_weights(tmp_path, monkeypatch, capsys):
    """Stopped in the middle of an epoch as Ctrl-C stops it, and started again."""
    run(tmp_path / "whole", "--epochs", "2")
    said = capsys.readouterr().out.partition("held-back")[2]

    class Interrupted(char_lm.Windows):
        def epoch(self, epoch, start=0):
            for step, batch in enumerate(super().epoch(epoch, start), start):
                if (epoch, step) == (1, 10):
                    signal.raise_signal(signal.SIGINT)
                yield batch

    with monkeypatch.context() as patch:
        patch.setattr(char_lm, "Windows", Interrupted)
        broken = [*SMALL, "--epochs", "2", "--out", str(tmp_path / "broken")]
        assert char_lm.main(broken) == 130
    run(tmp_path / "broken", "--epochs", "2", "--resume")
    assert capsys.readouterr().out.partition("held-back")[2] == said
    weights = [
        fx.checkpoint.restore(tmp_path / name, like=make_state())[0].params
        for name in ("whole", "broken")
    ]
    jax.tree.map(np.testing.assert_array_equal, *weights)


def make_state():
    args = char_lm.parse([*SMALL, "--epochs", "2"])
    characters, _ = char_lm.read_text()
    model, optimizer = char_lm.make_model(len(characters), args), char_lm.make_optimizer(args)
    return fx.train.create(model, optimizer, jax.random.key(0))


def test_batches_are_a_function_of_seed_epoch_and_step():
    characters, text = char_lm.read_text()
    loader = char_lm.Windows(text, 16, 4, 5, seed=1)
    batches = list(loader.epoch(3))
    assert len(batches) == len(loader) == 5
    for batch, again in zip(batches[2:], loader.epoch(3, 2), strict=True):
        np.testing.assert_array_equal(batch, again)
    inputs, targets = batches[0]
    np.testing.assert_array_equal(inputs[:, 1:], targets[:, :-1])
    assert (inputs != next(iter(loader.epoch(4)))[0]).any()
    seen = [targets[mask] for (_, targets), mask in loader.padded()]
    whole = np.concatenate(seen).ravel()
    np.testing.assert_array_equal(whole, text[1 : len(whole) + 1])
    assert len(characters) == char_lm.VOCABULARY and len(text) - len(whole) <= 16


def test_decay_leaves_biases_and_norms_alone():
    ts = make_state()
    optimizer = char_lm.make_optimizer(char_lm.parse(SMALL))
    still = jax.tree.map(np.zeros_like, ts.params)
    updates, _ = jax.jit(optimizer.update)(still, ts.opt_state, ts.params)
    for name, update in flat(updates):
        decays = not name.endswith("bias") and "norm" not in name
        assert bool((update != 0).any()) == decays, name


def flat(tree):
    pairs = jax.tree_util.tree_leaves_with_path(tree)
    return [(jax.tree_util.keystr(path, simple=True, separator="."), leaf) for path, leaf in pairs]
