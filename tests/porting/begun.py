"""Networks that give their weights first values in place, written in plain torch."""

import math

import torch
from torch import nn
from torch.nn import init


class Head(nn.Module):
    """Parameters filled by its own `reset_parameters`, and one that it declares so."""

    def __init__(self, size):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(size, 16))
        self.bias = nn.Parameter(torch.empty(16))
        self.scale = nn.Parameter(torch.ones(1))
        self.reset_parameters()

    def reset_parameters(self):
        init.kaiming_uniform_(self.weight, a=math.sqrt(5))
        bound = 1 / math.sqrt(self.weight.size(0))
        init.uniform_(self.bias, -bound, bound)

    def forward(self, x):
        return self.scale * (x @ self.weight + self.bias)


class Begun(nn.Module):
    """A loop over types, one over names, and layers that keep what torch gives them."""

    def __init__(self, depth=3, size=16):
        super().__init__()
        self.embedded = nn.Embedding(20, size)
        self.blocks = nn.ModuleList([nn.Linear(size, size) for _ in range(depth)])
        self.norm, self.kept = nn.LayerNorm(size), nn.Linear(size, size)
        self.conv, self.orthogonal = nn.Conv1d(size, size, 3), nn.Linear(size, size, bias=False)
        self.head = Head(size)
        self.apply(self._init_weights)
        for name, parameter in self.named_parameters():
            if name.endswith("2.weight"):
                nn.init.normal_(parameter, mean=0.0, std=0.02 / math.sqrt(2 * depth))
        init.orthogonal_(self.orthogonal.weight, gain=math.sqrt(2))
        self.kept.reset_parameters()

    def _init_weights(self, module):
        if isinstance(module, nn.Linear):
            init.trunc_normal_(module.weight, std=0.02)
            if module.bias is not None:
                module.bias.data.fill_(0.5)
        elif isinstance(module, nn.Embedding):
            module.weight.data.normal_(mean=0.0, std=0.5)
        elif isinstance(module, nn.Conv1d):
            init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            init.constant_(module.bias, 0)
        elif isinstance(module, nn.LayerNorm):
            module.weight.data.zero_()

    def forward(self, ids):
        x = self.embedded(ids)
        for block in self.blocks:
            x = x + torch.relu(block(x))
        x = self.conv(x.transpose(1, 2)).transpose(1, 2)
        return self.head(self.orthogonal(self.kept(self.norm(x) + x)))


class Halved(nn.Module):
    """What no initialiser tells: a weight that is computed with."""

    def __init__(self):
        super().__init__()
        self.fc, self.out = nn.Linear(16, 16), nn.Linear(16, 16)
        with torch.no_grad():
            self.fc.weight.mul_(0.1)
            self.out.weight[0].zero_()
        init.zeros_(self.out.bias)

    def forward(self, x):
        return self.out(self.fc(x))


class Remembers(nn.Module):
    """The gate that forgets begins open: a part of a weight is filled."""

    def __init__(self):
        super().__init__()
        self.rnn = nn.LSTM(16, 16)
        for name, parameter in self.rnn.named_parameters():
            if "bias" in name:
                parameter.data.fill_(0)
                n = parameter.size(0)
                parameter.data[n // 4 : n // 2].fill_(1)
            elif "weight_hh" in name:
                init.orthogonal_(parameter)

    def forward(self, x):
        return self.rnn(x)[0]


class LowRank(nn.Linear):
    """A layer that begins as torch's does, and has more: loralib's."""

    def __init__(self, size, out, rank=2):
        nn.Linear.__init__(self, size, out)
        self.lora_A = nn.Parameter(self.weight.new_zeros((rank, size)))
        self.lora_B = nn.Parameter(self.weight.new_zeros((out, rank)))
        self.reset_parameters()

    def reset_parameters(self):
        nn.Linear.reset_parameters(self)
        if hasattr(self, "lora_A"):
            init.kaiming_uniform_(self.lora_A, a=math.sqrt(5))
            init.zeros_(self.lora_B)

    def forward(self, x):
        return super().forward(x) + x @ self.lora_A.T @ self.lora_B.T
