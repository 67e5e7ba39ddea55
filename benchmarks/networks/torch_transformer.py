"""GPT-2 and ViT in PyTorch: the norm first, attention through torch's fused function."""

import torch
from torch import nn
from torch.nn import functional as F


class Attention(nn.Module):
    """Self-attention with one product for query, key and value."""

    def __init__(self, dim: int, heads: int, causal: bool):
        super().__init__()
        self.heads, self.causal = heads, causal
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, L, dim] to [N, L, dim]."""
        n, length, dim = x.shape
        split = self.qkv(x).view(n, length, 3, self.heads, dim // self.heads)
        q, k, v = split.permute(2, 0, 3, 1, 4)  # [N, heads, L, dim / heads] each
        y = F.scaled_dot_product_attention(q, k, v, is_causal=self.causal)
        return self.proj(y.transpose(1, 2).reshape(n, length, dim))


class Block(nn.Module):
    """Attention and a feed-forward part four times as wide."""

    def __init__(self, dim: int, heads: int, *, causal: bool, eps: float, gelu: str):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=eps), nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, heads, causal)
        self.fc1, self.fc2 = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        self.gelu = gelu

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[N, L, dim] to [N, L, dim]."""
        x = x + self.attn(self.norm1(x))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x)), approximate=self.gelu))


class GPT2(nn.Module):
    """GPT-2; the head shares the embedding's weights."""

    def __init__(
        self, vocabulary: int = 50257, length: int = 1024, dim: int = 768, depth: int = 12,
        heads: int = 12,
    ):  # fmt: skip
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocabulary, dim), nn.Embedding(length, dim)
        options = {"causal": True, "eps": 1e-5, "gelu": "tanh"}
        self.blocks = nn.Sequential(*[Block(dim, heads, **options) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        for layer in self.modules():
            if isinstance(layer, (nn.Linear, nn.Embedding)):
                nn.init.normal_(layer.weight, std=0.02)
                if isinstance(layer, nn.Linear):
                    nn.init.zeros_(layer.bias)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Returns logits [N, L, vocabulary] of tokens [N, L]."""
        places = torch.arange(tokens.shape[1], device=tokens.device)
        x = self.norm(self.blocks(self.wte(tokens) + self.wpe(places)))
        return F.linear(x, self.wte.weight)


class ViT(nn.Module):
    """ViT-S/16 with a class token."""

    def __init__(
        self, num_classes: int = 1000, side: int = 224, patch: int = 16, dim: int = 384,
        depth: int = 12, heads: int = 6,
    ):  # fmt: skip
        super().__init__()
        self.patch = nn.Conv2d(3, dim, patch, patch)
        self.token = nn.Parameter(torch.zeros(1, 1, dim))
        self.places = nn.Parameter(torch.empty(1, (side // patch) ** 2 + 1, dim).normal_(std=0.02))
        options = {"causal": False, "eps": 1e-6, "gelu": "none"}
        self.blocks = nn.Sequential(*[Block(dim, heads, **options) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns logits [N, num_classes] of images [N, 3, side, side]."""
        patches = self.patch(x).flatten(2).transpose(1, 2)  # [N, patches, dim]
        x = torch.cat([self.token.expand(len(x), -1, -1), patches], 1) + self.places
        return self.head(self.norm(self.blocks(x))[:, 0])
