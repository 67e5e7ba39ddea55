"""The layers of benchmarks.layers: the same constructor in torch.nn and in fx.nn."""

from typing import Any, NamedTuple


class Layer(NamedTuple):
    """A layer and its input.

    Attributes:
        kind: the class's name.
        arguments: its positional arguments.
        options: its keyword arguments.
        size: of the input, channels second.
        spatial: whether activations have orders to choose from.
    """

    kind: str
    arguments: tuple[Any, ...]
    options: dict[str, Any]
    size: tuple[int, ...]
    spatial: bool = True


def _flat(kind: str, *arguments: Any, size: tuple[int, ...], **options: Any) -> Layer:
    return Layer(kind, arguments, options, size, spatial=False)


_IMAGES, _WIDE = (8, 64, 56, 56), (8, 197, 3072)
_PAD = {"padding": 1}

LAYERS: dict[str, Layer] = {
    "Conv2d 3x3": Layer("Conv2d", (64, 64, 3), _PAD, _IMAGES),
    "Conv2d 3x3, stride 2": Layer("Conv2d", (64, 128, 3), _PAD | {"stride": 2}, _IMAGES),
    "Conv2d 1x1": Layer("Conv2d", (64, 256, 1), {}, _IMAGES),
    "Conv2d 3x3, 3 channels": Layer("Conv2d", (3, 32, 3), _PAD, (128, 3, 32, 32)),
    "Conv2d 3x3, 3 outputs": Layer("Conv2d", (64, 3, 3), _PAD, _IMAGES),
    "Conv2d 7x7, 3 channels": Layer(
        "Conv2d", (3, 64, 7), {"stride": 2, "padding": 3}, (8, 3, 224, 224)
    ),
    "Conv2d 16x16, stride 16": Layer("Conv2d", (3, 384, 16), {"stride": 16}, (8, 3, 224, 224)),
    "Conv2d 3x3, depthwise": Layer(
        "Conv2d", (128, 128, 3), _PAD | {"groups": 128}, (8, 128, 56, 56)
    ),
    "Conv2d 7x7, depthwise": Layer(
        "Conv2d", (96, 96, 7), {"padding": 3, "groups": 96}, (8, 96, 56, 56)
    ),
    "Conv2d 3x3, 32 groups": Layer(
        "Conv2d", (256, 256, 3), _PAD | {"groups": 32}, (8, 256, 28, 28)
    ),
    "Conv1d 3": Layer("Conv1d", (64, 64, 3), _PAD, (8, 64, 1000)),
    "Conv1d 4, depthwise": Layer(
        "Conv1d", (256, 256, 4), {"padding": 3, "groups": 256}, (8, 256, 1000)
    ),
    "Conv3d 3x3x3": Layer("Conv3d", (16, 32, 3), _PAD, (2, 16, 16, 16, 16)),
    "ConvTranspose2d 2x2, stride 2": Layer(
        "ConvTranspose2d", (64, 32, 2), {"stride": 2}, (8, 64, 28, 28)
    ),
    "ConvTranspose2d 4x4, stride 2": Layer(
        "ConvTranspose2d", (64, 32, 4), _PAD | {"stride": 2}, (8, 64, 28, 28)
    ),
    "BatchNorm2d": Layer("BatchNorm2d", (64,), {}, _IMAGES),
    "GroupNorm": Layer("GroupNorm", (32, 256), {}, (8, 256, 28, 28)),
    "InstanceNorm2d": Layer("InstanceNorm2d", (64,), {}, _IMAGES),
    "LayerNorm": _flat("LayerNorm", 768, size=(8, 197, 768)),
    "RMSNorm": _flat("RMSNorm", 768, size=(8, 197, 768)),
    "MaxPool2d 2x2": Layer("MaxPool2d", (2,), {}, _IMAGES),
    "MaxPool2d 3x3, stride 2": Layer("MaxPool2d", (3, 2, 1), {}, (8, 64, 112, 112)),
    "AvgPool2d 3x3, stride 2": Layer("AvgPool2d", (3, 2, 1), {}, _IMAGES),
    "AdaptiveAvgPool2d": Layer("AdaptiveAvgPool2d", (1,), {}, (8, 256, 14, 14)),
    "ReflectionPad2d": Layer("ReflectionPad2d", (1,), {}, _IMAGES),
    "Upsample, bilinear": Layer(
        "Upsample", (), {"scale_factor": 2, "mode": "bilinear"}, (8, 64, 28, 28)
    ),
    "Upsample, nearest": Layer("Upsample", (), {"scale_factor": 2}, (8, 64, 28, 28)),
    "PixelShuffle": Layer("PixelShuffle", (2,), {}, _IMAGES),
    "ReLU": _flat("ReLU", size=_WIDE),
    "GELU": _flat("GELU", size=_WIDE),
    "SiLU": _flat("SiLU", size=_WIDE),
    "Softmax": _flat("Softmax", -1, size=(512, 1000)),
    "LogSoftmax": _flat("LogSoftmax", -1, size=(64, 50257)),
    "Linear": _flat("Linear", 768, 3072, size=(8, 197, 768)),
    "TransformerEncoderLayer": _flat(
        "TransformerEncoderLayer", 384, 6, 1536, 0.0, size=(8, 197, 384), batch_first=True,
        activation="gelu", norm_first=True,
    ),
    "LSTM": _flat("LSTM", 128, 256, size=(8, 64, 128), batch_first=True),
    "GRU": _flat("GRU", 128, 256, size=(8, 64, 128), batch_first=True),
}  # fmt: skip


def small(layer: Layer) -> Layer:
    """The same with little to compute: two examples, and of images a few pixels."""
    if not layer.spatial:
        return layer._replace(size=(2, *layer.size[1:]))
    side = 16 if layer.kind == "Conv2d" else 4  # the largest kernel
    return layer._replace(size=(2, layer.size[1], *(side for _ in layer.size[2:])))
