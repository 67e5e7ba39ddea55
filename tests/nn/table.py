"""The table of layers: every row is built by fx.nn and by torch.nn from the same arguments."""

import types
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch

from fx import nn


@dataclass(frozen=True)
class Input:
    """How to draw one input; `moves` says whether derivatives are taken to it."""

    kind: str
    shape: tuple[int, ...]
    below: int = 0
    moves: bool = True

    def sample(self, rng: np.random.Generator) -> np.ndarray:
        if self.kind == "int":
            return rng.integers(self.below, size=self.shape, dtype=np.int32)
        if self.kind == "mask":  # True at the end, as padding is, and never everywhere
            return (
                np.arange(self.shape[-1])
                >= rng.integers(1, 1 + self.shape[-1], self.shape[:-1])[..., None]
            )
        if self.kind == "unit":
            return rng.uniform(0.05, 0.95, self.shape).astype(np.float32)
        scale = 0.5 if self.kind == "small" else 2
        return (scale * rng.normal(size=self.shape)).astype(np.float32)


def real(*shape: int) -> Input:
    return Input("real", shape)


def small(*shape: int) -> Input:
    """For what goes through an exponential, which would multiply the rounding of bfloat16."""
    return Input("small", shape)


def unit(*shape: int) -> Input:
    return Input("unit", shape)


def ints(*shape: int, below: int) -> Input:
    return Input("int", shape, below, moves=False)


def padding(*shape: int) -> Input:
    return Input("mask", shape, moves=False)


def fixed(input: Input) -> Input:
    return Input(input.kind, input.shape, input.below, moves=False)


@dataclass(frozen=True)
class Part:
    """A layer that is an argument of another: built by fx.nn or by torch.nn."""

    name: str
    args: tuple
    kwargs: dict[str, Any] = field(hash=False)

    def __repr__(self) -> str:
        return f"{self.name}(...)"

    def build(self, namespace: Any) -> Any:
        return getattr(namespace, self.name)(*self.args, **self.kwargs)


def part(name: str, *args: Any, **kwargs: Any) -> Part:
    return Part(name, args, kwargs)


def built(value: Any, namespace: Any) -> Any:
    return value.build(namespace) if isinstance(value, Part) else value


def _shown(value):
    """For names of tests, which must be the same in every process."""
    return value.__name__ if isinstance(value, types.FunctionType) else repr(value)


@dataclass(frozen=True)
class Case:
    """One layer in one configuration, and what it is called on."""

    name: str
    args: tuple
    kwargs: dict[str, Any] = field(hash=False)
    on: tuple[Input, ...]
    full: bool
    modal: bool  # training differs from evaluation
    second: bool  # torch has second derivatives
    batched: bool  # the first axis is a batch's

    def __str__(self) -> str:
        shown = [_shown(a) for a in self.args]
        shown += [
            f"{k}={'array' if hasattr(v, 'shape') else _shown(v)}" for k, v in self.kwargs.items()
        ]
        return f"{self.name}({', '.join(shown)})-{'x'.join(map(str, self.on[0].shape))}"

    def ours(self) -> nn.Module:
        args = [built(value, nn) for value in self.args]
        kwargs = {name: built(value, nn) for name, value in self.kwargs.items()}
        return getattr(nn, self.name)(*args, **kwargs)

    def theirs(self, train: bool = False) -> torch.nn.Module:
        """torch's layer with random weights and statistics, so that none is 0 or 1 by chance."""
        kwargs = {
            k: torch.from_numpy(v) if isinstance(v, np.ndarray) else built(v, torch.nn)
            for k, v in self.kwargs.items()
        }
        args = [built(value, torch.nn) for value in self.args]
        layer = getattr(torch.nn, self.name)(*args, **kwargs)
        rng = np.random.default_rng(zlib.crc32(str(self).encode()))
        with torch.no_grad():
            for p in layer.parameters():
                p.copy_(torch.from_numpy(rng.normal(size=p.shape)))
            for name, b in layer.named_buffers():
                if name.startswith("running"):
                    b.copy_(torch.from_numpy(rng.uniform(0.5, 1.5, size=b.shape)))
        return layer.train(train)

    def sample(self, seed: int = 0) -> list[np.ndarray]:
        rng = np.random.default_rng([seed, zlib.crc32(str(self).encode())])
        return [input.sample(rng) for input in self.on]


def case(
    name: str,
    *args: Any,
    on: Input | tuple[Input, ...],
    full: bool = False,
    modal: bool = False,
    second: bool = True,
    batched: bool = True,
    **kwargs: Any,
) -> Case:
    on = on if isinstance(on, tuple) else (on,)
    return Case(name, args, kwargs, on, full, modal, second, batched)


WEIGHT = np.array([0.5, 2.0, 0.0, 1.5, 1.0], np.float32)

FLAT = real(3, 4)
ACTIVATIONS = [
    case("ReLU", inplace=True, on=FLAT),
    case("GELU", on=FLAT),
    case("SiLU", on=FLAT),
    case("Softmax", -1, on=FLAT),
    case("LogSoftmax", 0, on=FLAT),
    case("PReLU", 4, on=FLAT),
    case("Hardswish", inplace=True, on=FLAT),
    case("GLU", on=FLAT),
    case("ReLU6", on=FLAT, full=True),
    case("LeakyReLU", 0.2, inplace=True, on=FLAT, full=True),
    case("PReLU", on=real(4), full=True),
    case("PReLU", 3, on=real(2, 3, 2, 2), full=True),
    case("ELU", 0.5, True, on=FLAT, full=True),
    case("CELU", 0.5, on=FLAT, full=True),
    case("SELU", True, on=FLAT, full=True),
    case("GELU", "tanh", on=FLAT, full=True),
    case("SiLU", True, on=FLAT, full=True),
    case("Mish", True, on=FLAT, full=True),
    case("Sigmoid", on=FLAT, full=True),
    case("LogSigmoid", on=FLAT, full=True),
    case("Hardsigmoid", on=FLAT, full=True, second=False),
    case("Tanh", on=FLAT, full=True),
    case("Hardtanh", -0.5, 1.5, True, on=FLAT, full=True),
    case("Softplus", 2.0, 3.0, on=FLAT, full=True),
    case("Softsign", on=FLAT, full=True),
    case("Tanhshrink", on=FLAT, full=True),
    case("Hardshrink", 0.3, on=FLAT, full=True),
    case("Softshrink", 0.3, on=FLAT, full=True),
    case("Threshold", 0.1, 20.0, True, on=FLAT, full=True),
    case("GLU", 0, on=real(4, 3), full=True, batched=False),
    case("Softmin", 1, on=FLAT, full=True),
    case("Softmax2d", on=real(2, 3, 2, 2), full=True),
]

LINEAR = [
    case("Linear", 3, 5, on=real(2, 3)),
    case("Linear", 3, 5, bias=False, on=real(2, 4, 3)),
    case("Linear", 3, 1, on=real(3), full=True, batched=False),
    case("Bilinear", 2, 3, 4, on=(real(2, 2), real(2, 3))),
    case("Bilinear", 2, 3, 4, False, on=(real(2, 5, 2), real(2, 5, 3)), full=True),
    case("Identity", 3, unused=True, on=real(2, 3)),
    case("Flatten", on=real(2, 3, 2)),
    case("Flatten", 0, -2, on=real(2, 3, 2), full=True),
    case("Unflatten", 1, (2, 3), on=real(2, 6)),
    case("Unflatten", -2, (3, -1), on=real(2, 6, 2), full=True),
    case("Embedding", 7, 3, on=ints(2, 4, below=7)),
    case("Embedding", 7, 3, padding_idx=-2, on=ints(2, 4, below=7)),
    case("Embedding", 7, 3, 0, norm_type=1.0, on=ints(4, below=7), full=True),
]

CONV = [
    case("Conv1d", 2, 4, 3, padding=1, on=real(2, 2, 6)),
    case("Conv1d", 2, 4, 4, 2, 2, 2, 2, False, "circular", on=real(2, 2, 9)),
    case("Conv2d", 2, 3, 3, on=real(2, 2, 5, 6)),
    case("Conv2d", 2, 4, (3, 2), padding="same", groups=2, on=real(2, 2, 5, 6)),
    case("Conv2d", 2, 3, 3, padding=(1, 2), padding_mode="reflect", on=real(1, 2, 5, 6)),
    case("Conv3d", 1, 2, 2, padding=(1, 0, 1), on=real(1, 1, 3, 4, 3)),
]
CONV += [
    case(
        f"Conv{dims}d", 2, 4, kernel, padding=padding, padding_mode=mode, dilation=dilation,
        groups=groups, bias=bias, stride=stride, on=real(2, 2, *(7, 6, 5)[:dims]), full=True,
    )
    for dims in (1, 2, 3)
    for kernel, stride, padding, dilation, groups, bias in [
        (3, 1, "same", 1, 1, True), (2, 1, "same", 2, 2, False), (3, 2, 1, 1, 1, False),
        (3, 1, "valid", 1, 2, True), (2, 3, 2, 2, 1, True),
    ]
    for mode in ("zeros", "reflect", "replicate", "circular")
]  # fmt: skip

NORM = [
    case("BatchNorm1d", 3, on=real(4, 3), modal=True),
    case("BatchNorm1d", 3, on=real(4, 3, 2), modal=True, full=True),
    case("BatchNorm2d", 3, on=real(2, 3, 4, 3), modal=True),
    case("BatchNorm2d", 3, 1e-3, None, on=real(2, 3, 2, 3), modal=True),
    case("BatchNorm2d", 3, momentum=0.4, affine=False, on=real(2, 3, 2, 3), modal=True, full=True),
    case("BatchNorm2d", 3, bias=False, on=real(2, 3, 2, 3), modal=True, full=True),
    case("BatchNorm2d", 3, track_running_stats=False, on=real(2, 3, 2, 3)),
    case("BatchNorm3d", 2, on=real(2, 2, 2, 3, 2), modal=True, full=True),
    case("InstanceNorm1d", 3, on=real(2, 3, 4), full=True),
    case("InstanceNorm1d", 3, affine=True, on=real(3, 4), full=True, batched=False),
    case("InstanceNorm2d", 3, affine=True, track_running_stats=True, on=real(2, 3, 2, 3),
         modal=True),
    case("InstanceNorm2d", 3, momentum=None, track_running_stats=True, on=real(2, 3, 2, 3),
         modal=True, full=True),
    case("InstanceNorm3d", 2, on=real(2, 2, 2, 3, 2), full=True),
    case("LayerNorm", 4, on=real(2, 3, 4)),
    case("LayerNorm", (3, 4), 1e-3, bias=False, on=real(2, 3, 4)),
    case("LayerNorm", [4], elementwise_affine=False, on=real(4), full=True, batched=False),
    case("RMSNorm", 4, on=real(2, 4)),
    case("RMSNorm", (3, 4), 1e-3, False, on=real(2, 3, 4), full=True),
    case("GroupNorm", 2, 4, on=real(2, 4, 3, 2)),
    case("GroupNorm", 4, 4, affine=False, on=real(2, 4, 3), full=True),
    case("GroupNorm", 1, 4, 1e-3, bias=False, on=real(2, 4, 3), full=True),
]  # fmt: skip

POOL = [
    case("MaxPool1d", 2, on=real(2, 2, 6), full=True),
    case("MaxPool2d", 2, on=real(2, 2, 4, 6)),
    case("MaxPool2d", (3, 2), 1, (1, 0), ceil_mode=True, on=real(1, 2, 5, 6)),
    case("MaxPool2d", 2, 2, 1, 2, on=real(2, 7, 6), full=True),
    case("MaxPool3d", 2, on=real(1, 2, 4, 4, 2), full=True),
    case("AvgPool1d", 3, 2, 1, on=real(2, 2, 7)),
    case("AvgPool2d", 2, on=real(2, 2, 4, 6)),
    case("AvgPool2d", (3, 2), 2, (1, 1), True, False, on=real(1, 2, 5, 6)),
    case("AvgPool2d", 2, divisor_override=3, on=real(2, 5, 6), full=True),
    case("AvgPool3d", 2, on=real(1, 2, 4, 4, 2), full=True),
    case("AdaptiveAvgPool1d", 3, on=real(2, 2, 7)),
    case("AdaptiveAvgPool2d", 1, on=real(2, 3, 4, 5)),
    case("AdaptiveAvgPool2d", (3, None), on=real(2, 3, 4, 5), full=True),
    case("AdaptiveAvgPool3d", (2, 1, 3), on=real(1, 2, 3, 4, 5), full=True),
    case("AdaptiveMaxPool1d", 3, on=real(2, 2, 7), full=True),
    case("AdaptiveMaxPool2d", (2, 3), on=real(2, 3, 4, 5)),
    case("AdaptiveMaxPool3d", 2, on=real(1, 2, 3, 4, 5), full=True),
]

DROPOUT = [
    case("Dropout", on=real(2, 3)),
    case("Dropout", 0.0, True, on=real(2, 3)),
    case("Dropout1d", 0.2, on=real(2, 3, 4), full=True),
    case("Dropout2d", 0.25, on=real(2, 3, 2, 2)),
    case("Dropout3d", on=real(1, 2, 2, 2, 2), full=True),
    case("AlphaDropout", 0.1, on=real(2, 3), full=True),
]

LOSS = [
    case("CrossEntropyLoss", on=(real(4, 5), ints(4, below=5))),
    case("CrossEntropyLoss", weight=WEIGHT, ignore_index=1, label_smoothing=0.1,
         on=(real(2, 5, 3), ints(2, 3, below=5))),
    case("CrossEntropyLoss", weight=WEIGHT, reduction="sum", on=(real(4, 5), fixed(unit(4, 5)))),
    case("CrossEntropyLoss", None, False, on=(real(4, 5), ints(4, below=5)), full=True),
    case("CrossEntropyLoss", reduce=False, on=(real(4, 5), ints(4, below=5)), full=True),
    case("NLLLoss", weight=WEIGHT, on=(real(4, 5), ints(4, below=5))),
    case("NLLLoss", ignore_index=2, reduction="none", on=(real(4, 5), ints(4, below=5)), full=True),
    case("MSELoss", on=(real(4, 5), real(4, 5))),
    case("L1Loss", reduction="sum", on=(real(4, 5), real(4, 5)), full=True),
    case("SmoothL1Loss", beta=0.5, on=(real(4, 5), real(4, 5)), full=True),
    case("HuberLoss", delta=0.5, on=(real(4, 5), real(4, 5)), full=True),
    case("KLDivLoss", reduction="batchmean", on=(real(4, 5), fixed(unit(4, 5))), full=True),
    case("KLDivLoss", log_target=True, on=(real(4, 5), fixed(real(4, 5))), full=True),
    case("BCELoss", weight=WEIGHT, on=(unit(4, 5), fixed(unit(4, 5))), full=True),
    case("BCEWithLogitsLoss", weight=WEIGHT, pos_weight=WEIGHT + 1,
         on=(real(4, 5), fixed(unit(4, 5)))),
    case("BCEWithLogitsLoss", size_average=False, on=(real(4, 5), fixed(unit(4, 5))), full=True),
]  # fmt: skip

SMALL = {"dropout": 0.0, "batch_first": True}
ENCODER_LAYER = part("TransformerEncoderLayer", 4, 2, 6, **SMALL)
DECODER_LAYER = part("TransformerDecoderLayer", 4, 2, 6, **SMALL)
ATTENTION = [
    case("MultiheadAttention", 4, 2, batch_first=True,
         on=(small(2, 3, 4), small(2, 5, 4), real(2, 5, 4), padding(2, 5))),
    case("MultiheadAttention", 4, 2, add_bias_kv=True, add_zero_attn=True, kdim=3, vdim=5,
         on=(real(3, 2, 4), real(5, 2, 3), real(5, 2, 5)), batched=False),
    case("MultiheadAttention", 6, 3, bias=False, on=(real(3, 6), real(5, 6), real(5, 6)),
         batched=False, full=True),
    case("TransformerEncoderLayer", 4, 2, 6, activation="gelu", norm_first=True, **SMALL,
         on=(real(2, 3, 4), real(3, 3), padding(2, 3)), batched=False),
    case("TransformerEncoderLayer", 4, 2, 6, dropout=0.0, bias=False, layer_norm_eps=1e-3,
         on=real(3, 2, 4), batched=False, full=True),
    case("TransformerDecoderLayer", 4, 2, 6, **SMALL, on=(real(2, 3, 4), real(2, 5, 4))),
    case("TransformerDecoderLayer", 4, 2, 6, dropout=0.0, norm_first=True,
         on=(real(3, 4), real(5, 4), real(3, 3), real(3, 5)), batched=False, full=True),
    case("TransformerEncoder", ENCODER_LAYER, 2, part("LayerNorm", 4), enable_nested_tensor=False,
         on=real(2, 3, 4)),
    case("TransformerDecoder", DECODER_LAYER, 2, on=(real(2, 3, 4), real(2, 5, 4)), full=True),
    case("TransformerDecoder", DECODER_LAYER, num_layers=1, norm=part("LayerNorm", 4),
         on=(real(2, 3, 4), real(2, 5, 4)), full=True),
    case("Transformer", 4, 2, 1, 1, 6, 0.0, batch_first=True, on=(real(2, 5, 4), real(2, 3, 4))),
]  # fmt: skip

# Their rows are in files of their own, made of what stands above.
from tests.nn.table_loss import LOSSES  # noqa: E402
from tests.nn.table_recurrent import BAG, DISTANCE, RECURRENT  # noqa: E402
from tests.nn.table_spatial import SPATIAL  # noqa: E402

WIDER = [*ATTENTION, *RECURRENT, *DISTANCE, *BAG, *SPATIAL, *LOSSES]
CASES = [*ACTIVATIONS, *LINEAR, *CONV, *NORM, *POOL, *DROPOUT, *LOSS, *WIDER]


def every(cases=None, one_in=1):
    """Parametrise over the table: one in so many rows of the sample, the rest marked `full`."""
    rows = CASES if cases is None else cases
    sample = {id(case) for case in [case for case in rows if not case.full][::one_in]}
    return pytest.mark.parametrize(
        "case",
        [
            pytest.param(c, id=str(c), marks=[] if id(c) in sample else [pytest.mark.full])
            for c in rows
        ],
    )
