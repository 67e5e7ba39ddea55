"""Functions given to `torch.compile`: importing this loads its compiler."""

import torch
from torch import nn


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
