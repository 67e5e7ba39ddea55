"""ResNet and ViT in plain PyTorch with torchvision's names, to test against."""

import torch
from torch import nn


def _conv(c_in, c, size, stride=1):
    return nn.Conv2d(c_in, c, size, stride, size // 2, bias=False)


class Residual(nn.Module):
    """Both kinds of block: the sizes of its convolutions say which."""

    def __init__(self, c_in, planes, stride, deep):
        super().__init__()
        widths = [planes, planes, 4 * planes] if deep else [planes, planes]
        sizes, strides = ([1, 3, 1], [1, stride, 1]) if deep else ([3, 3], [stride, 1])
        self.n, c = len(widths), c_in
        for i, (width, size, step) in enumerate(zip(widths, sizes, strides), 1):
            setattr(self, f"conv{i}", _conv(c, width, size, step))
            setattr(self, f"bn{i}", nn.BatchNorm2d(width))
            c = width
        self.downsample = None
        if stride != 1 or c != c_in:
            self.downsample = nn.Sequential(_conv(c_in, c, 1, stride), nn.BatchNorm2d(c))

    def forward(self, x):
        around = x if self.downsample is None else self.downsample(x)
        for i in range(1, self.n + 1):
            x = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(x))
            x = torch.relu(x if i < self.n else x + around)
        return x


class ResNet(nn.Module):
    def __init__(self, deep, layers, classes, small):
        super().__init__()
        self.conv1 = _conv(3, 64, 3) if small else _conv(3, 64, 7, 2)
        self.bn1 = nn.BatchNorm2d(64)
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        c = 64
        for i, n in enumerate(layers):
            blocks = []
            for j in range(n):
                blocks.append(Residual(c, 64 * 2**i, 2 if i and not j else 1, deep))
                c = 64 * 2**i * (4 if deep else 1)
            setattr(self, f"layer{i + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(c, classes)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean((2, 3)))


class EncoderLayer(nn.Module):
    def __init__(self, dim, heads, hidden):
        super().__init__()
        self.ln_1 = nn.LayerNorm(dim, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.ln_2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(
            nn.Linear(dim, hidden), nn.GELU(), nn.Identity(), nn.Linear(hidden, dim)
        )

    def forward(self, x):
        y = self.ln_1(x)
        x = x + self.self_attention(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.ln_2(x))


class Encoder(nn.Module):
    def __init__(self, tokens, layers, dim, heads, hidden):
        super().__init__()
        self.pos_embedding = nn.Parameter(torch.randn(1, tokens, dim) * 0.02)
        self.layers = nn.Sequential()
        for i in range(layers):
            self.layers.add_module(f"encoder_layer_{i}", EncoderLayer(dim, heads, hidden))
        self.ln = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x):
        return self.ln(self.layers(x + self.pos_embedding))


class VisionTransformer(nn.Module):
    def __init__(self, image, patch, layers, heads, dim, hidden, classes):
        super().__init__()
        self.class_token = nn.Parameter(torch.randn(1, 1, dim))
        self.conv_proj = nn.Conv2d(3, dim, patch, patch)
        self.encoder = Encoder((image // patch) ** 2 + 1, layers, dim, heads, hidden)
        self.heads = nn.Sequential()
        self.heads.add_module("head", nn.Linear(dim, classes))

    def forward(self, x):
        x = self.conv_proj(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.class_token.expand(len(x), -1, -1), x], 1)
        return self.heads(self.encoder(x)[:, 0])
