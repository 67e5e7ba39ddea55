"""Functions given to `torch.compile`: importing this loads its compiler."""

import torch
from torch import nn
from torch.nn.attention.flex_attention import create_block_mask, flex_attention


@torch.compile
def folded(x):
    return x.reshape(-1).sin() * x.size(0)


class Compiled(nn.Module):
    """What runs compiled in PyTorch, which is run line by line to be seen."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(3, 3)

    @torch.compile(dynamic=False)
    def middle(self, x):
        return self.fc(x).permute(1, 0)

    def forward(self, x):
        return folded(self.middle(x))


flex = torch.compile(flex_attention)


def causal(b, h, q, k):
    return q >= k


class Flexible(nn.Module):
    """Attention with masks and biases that are functions of places."""

    def __init__(self):
        super().__init__()
        self.slopes = nn.Parameter(torch.tensor([0.5, 0.3]))

    def forward(self, x):
        def bias(score, b, h, q, k):
            return torch.where(q - k < 4, score + self.slopes[h] * (k - q), -float("inf"))

        def later(b, h, q, k):
            return (k > q) & (q > b)

        mask = create_block_mask(causal, None, None, 8, KV_LEN=8, device=x.device)
        y = flex(x, x, x, score_mod=bias, block_mask=mask)
        y = y + flex_attention(x, x[:, :1], x[:, :1], scale=0.3, enable_gqa=True)
        mask = create_block_mask(later, B=2, H=2, Q_LEN=8, KV_LEN=8, device="cpu")
        return y + flex_attention(x, x, x, None, mask)
