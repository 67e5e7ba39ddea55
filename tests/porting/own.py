"""Functions that parts hold, settings that somebody changes, and flags; written in plain torch."""

import torch
from torch import nn


class Config:
    """Its attributes come later: minGPT's."""

    def __init__(self, **given):
        self.__dict__.update(given)


def default_config():
    config = Config(width=3)
    config.depth = None
    config.block = Config()
    config.block.name = "mlp"
    return config


class Mlp(nn.Module):
    """A lambda over a part, and a count of weights that is printed."""

    def __init__(self, config):
        super().__init__()
        assert config.depth == 2 and config.block.name == "mlp"
        self.ln = nn.LayerNorm(config.width)
        self.mlp = nn.ModuleDict(
            {"up": nn.Linear(config.width, 5), "act": nn.Tanh(), "down": nn.Linear(5, config.width)}
        )
        m = self.mlp
        self.mlpf = lambda x: m.down(m.act(m.up(x)))
        count = sum(p.numel() for p in self.mlp.parameters())
        print(f"weights: {count}")

    def forward(self, x):
        return x + self.mlpf(self.ln(x))


def mlp():
    config = default_config()
    config.depth = 2
    return Mlp(config)


class Fused(nn.Module):
    """A method that is chosen when it is made, of one class in two ways."""

    def __init__(self, sums, scale=None):
        super().__init__()
        self.fc = nn.Linear(3, 3)
        self.fusion = self.add if sums else self.mix
        self.more = self.add if scale else None

    def add(self, x, y):
        return self.fc(x) + y

    def mix(self, x, y):
        return self.fc(x) * y

    def forward(self, x):
        x = self.fusion(x, x + 1)
        if self.more is not None:
            x = self.more(x, x)
        return x


class TwoFused(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = Fused(True), Fused(False, 2.0)

    def forward(self, x):
        return self.b(self.a(x))


class ActNorm(nn.Module):
    """Glow's: its first call gives the weights their values."""

    def __init__(self, width):
        super().__init__()
        self.loc, self.scale = nn.Parameter(torch.zeros(width)), nn.Parameter(torch.ones(width))
        self.register_buffer("initialized", torch.tensor(0, dtype=torch.uint8))

    def initialize(self, x):
        with torch.no_grad():
            self.loc.data.copy_(-x.mean(0))
            self.scale.data.copy_(1 / (x.std(0) + 1e-6))

    def forward(self, x):
        if self.initialized.item() == 0:
            self.initialize(x)
            self.initialized.fill_(1)
        return self.scale * (x + self.loc)


class Codebook(nn.Module):
    """EnCodec's: a method that returns where there is nothing to do."""

    def __init__(self):
        super().__init__()
        self.register_buffer("inited", torch.Tensor([False]))
        self.register_buffer("embed", torch.zeros(4, 3))

    def init_embed(self, x):
        if self.inited:
            return
        self.embed.data.copy_(x[:4])
        self.inited.data.copy_(torch.Tensor([True]))

    def forward(self, x):
        self.init_embed(x)
        if self.training and not self.inited:
            return x
        return x @ self.embed.T


class Prepared(nn.Module):
    def __init__(self):
        super().__init__()
        self.norm, self.book = ActNorm(3), Codebook()

    def forward(self, x):
        return self.book(self.norm(x))


class Counting(nn.Module):
    """A buffer that decides, and that each call changes."""

    def __init__(self):
        super().__init__()
        self.register_buffer("calls", torch.zeros(1))

    def forward(self, x):
        if self.calls[0] > 1000:
            x = x * 2
        self.calls += 1
        return x


class Padded(nn.Module):
    """DETR's batches: rows of a tensor that a loop writes into."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3, padding=1)

    def forward(self, images):
        sizes = [max(image.shape[n] for image in images) for n in (1, 2)]
        batch = torch.zeros((len(images), 3, *sizes))
        mask = torch.ones((len(images), *sizes), dtype=torch.bool)
        for image, padded, m in zip(images, batch, mask):
            padded[: image.shape[0], : image.shape[1], : image.shape[2]].copy_(image)
            m[: image.shape[1], : image.shape[2]] = False
        return self.conv(batch) * ~mask[:, None]


class Rows(nn.Module):
    """Rows that are read again, counted, and changed as a whole."""

    def forward(self, x):
        y, total = x * 2, 0
        for row in y:
            row += 1
            total = total + row.sum()
        for n, row in enumerate(y):
            row[0] = row[1] * n
        for row, z in zip(y, x):
            row *= z
        return y, total


class RowsOfRows(nn.Module):
    def forward(self, x):
        y = x * 2
        for row in y:
            for cell in row:
                cell.mul_(2)
        return y
