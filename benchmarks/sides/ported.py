"""The contenders of benchmarks.ported: one model of Hugging Face's, in PyTorch and as a port."""

import time
from typing import Any

import numpy as np

WORDS, RATE = 1000, 1e-3


def network(kind: str, width: int, depth: int) -> Any:
    """A model with a head for each 32 of its width, and random weights."""
    import torch
    import transformers

    sizes: dict[str, Any] = {
        "vocab_size": WORDS, "hidden_size": width, "intermediate_size": 4 * width,
        "num_hidden_layers": depth, "num_attention_heads": max(2, width // 32),
        "max_position_embeddings": 1024,
    }  # fmt: skip
    torch.manual_seed(0)
    if kind == "llama":
        return transformers.LlamaForCausalLM(transformers.LlamaConfig(**sizes))
    dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    return transformers.BertForMaskedLM(transformers.BertConfig(**sizes, **dropout))


def tokens(batch: int, length: int) -> np.ndarray:
    """Words, [batch, length]."""
    rng = np.random.default_rng(0)
    return rng.integers(3, WORDS, (batch, length)).astype(np.int32)


class Side:
    """A contender: `losses` for the check, `run` for the clock."""

    device, settings = "cpu", {"precision": "float32"}

    def step(self) -> Any:
        """One training step; what it returns becomes a loss by `float`."""
        raise NotImplementedError

    def losses(self, steps: int) -> list[float]:
        """Those of the first steps; the first of all compiles."""
        return [float(self.step()) for _ in range(steps)]

    def run(self, steps: int) -> dict[str, float]:
        """Seconds of so many steps, the last one's loss waited for."""
        start = time.perf_counter()
        for _ in range(steps):
            loss = self.step()
        float(loss)
        return {"count": steps, "seconds": time.perf_counter() - start}


class Torch(Side):
    """Hugging Face's model in PyTorch, eager or through torch.compile."""

    def __init__(self, kind: str, width: int, depth: int, batch: int, length: int, compiled: bool):
        import torch

        from benchmarks.sides.torch_train import device, device_name, set_precision

        self.settings = set_precision("float32")
        self.device, where = device_name(), device()
        self.model = network(kind, width, depth).train().to(where)
        self.call = torch.compile(self.model) if compiled else self.model
        self.tokens = torch.from_numpy(tokens(batch, length).astype(np.int64)).to(where)
        self.optimizer = torch.optim.AdamW(self.model.parameters(), RATE)
        self.more = {"use_cache": False} if kind == "llama" else {}

    def step(self) -> Any:
        """See `Side`."""
        import torch

        self.optimizer.zero_grad()
        logits = self.call(self.tokens, **self.more).logits
        loss = torch.nn.functional.cross_entropy(
            logits[:, :-1].reshape(-1, WORDS), self.tokens[:, 1:].reshape(-1)
        )
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class Fx(Side):
    """The same model by `fx.port`, in a step of `fx.train`."""

    def __init__(self, kind: str, width: int, depth: int, batch: int, length: int):
        import jax
        import torch

        import fx
        from fx import functional as F
        from fx import optim, train

        jax.config.update("jax_default_matmul_precision", "highest")
        self.device = jax.devices()[0].device_kind
        self.tokens = jax.numpy.asarray(tokens(batch, length))
        start = time.perf_counter()
        small = torch.from_numpy(tokens(2, 16).astype(np.int64))
        found = fx.port(network(kind, width, depth), small, layers=False)
        if not found.equal or found.training != "equal":
            raise ValueError(str(found))
        self.port_s = time.perf_counter() - start

        def loss_fn(outputs: Any, words: Any) -> Any:
            logits = outputs.logits[:, :-1].reshape(-1, WORDS)
            return F.cross_entropy(logits, words[:, 1:].reshape(-1))

        optimizer = optim.adamw(RATE)
        ts = train.create(found.model, optimizer, jax.random.key(0))
        self.ts = ts.replace(params=found.params, state=found.state)
        self.train = train.make_step(found.model, loss_fn, optimizer)

    def step(self) -> Any:
        """See `Side`."""
        self.ts, metrics = self.train(self.ts, (self.tokens, self.tokens))
        return metrics["loss"]
