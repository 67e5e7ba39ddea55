"""Rows of the table: transposed convolutions, windows as columns, padding, resizing, unpooling."""

import numpy as np

from tests.nn.table import case, fixed, ints, real, unit

SAMPLES = np.random.default_rng(0).random((2, 2, 2)).astype(np.float32)
SAMPLES_3D = np.random.default_rng(0).random((1, 2, 3)).astype(np.float32)

TRANSPOSED = [
    case("ConvTranspose1d", 2, 3, 3, 2, 1, 1, on=real(2, 2, 5), full=True),
    case("ConvTranspose2d", 2, 4, 4, 2, 1, on=real(2, 2, 3, 4)),
    case("ConvTranspose2d", 4, 6, (3, 2), (2, 3), (1, 0), (1, 2), 2, False, 2,
         on=real(1, 4, 3, 2)),
    case("ConvTranspose3d", 1, 2, 2, (2, 1, 2), on=real(1, 1, 2, 3, 2), full=True),
    case("ConvTranspose2d", 2, 3, 3, padding=1, on=real(2, 4, 3), batched=False, full=True),
    case("ConvTranspose2d", 4, 4, 3, 2, groups=4, on=real(1, 4, 3, 3), full=True),
    case("ConvTranspose1d", 2, 4, 3, 3, 0, (1,), groups=2, dilation=2, on=real(2, 2, 4),
         full=True),
    case("ConvTranspose3d", 2, 2, 3, 2, 1, 1, 2, dilation=(1, 2, 1), on=real(1, 2, 2, 3, 2),
         full=True),
]  # fmt: skip

WINDOWS = [
    case("Unfold", (2, 3), on=real(2, 3, 4, 5)),
    case("Unfold", 2, 2, 1, (2, 1), on=real(3, 5, 4), full=True, batched=False),
    case("Fold", (4, 5), (2, 3), on=real(2, 6, 9)),
    case("Fold", (5, 4), 2, 2, 1, (2, 1), on=real(2, 4, 12), full=True),
    case("MaxUnpool2d", 2, on=(real(2, 2, 2, 3), ints(2, 2, 2, 3, below=24))),
    case("MaxUnpool1d", 3, 2, 1, on=(real(2, 2, 4), ints(2, 2, 4, below=7)), full=True),
    case("MaxUnpool3d", 2, on=(real(1, 2, 2, 1, 2), ints(1, 2, 2, 1, 2, below=32)), full=True),
    case("LPPool1d", 3.0, 2, on=unit(2, 2, 7), full=True),
    case("LPPool2d", 2, (3, 2), 2, True, on=real(2, 2, 5, 6)),
    case("LPPool3d", 1.5, 2, on=unit(1, 2, 2, 3, 4), full=True),
    case("FractionalMaxPool2d", 2, (3, 2), _random_samples=SAMPLES, on=real(2, 2, 5, 6),
         batched=False, full=True),
    case("FractionalMaxPool3d", (2, 1, 2), output_ratio=0.6, _random_samples=SAMPLES_3D,
         on=real(1, 2, 4, 5, 4), full=True, batched=False),
]  # fmt: skip

PADDING = [
    case("ConstantPad1d", (1, -2), 3.5, on=real(2, 3, 5)),
    case("ConstantPad2d", 1, 0, on=real(3, 5), full=True, batched=False),
    case("ConstantPad3d", (1, 0, 2, -1, 0, 1), -1.5, on=real(1, 2, 2, 3, 4), full=True),
    case("ZeroPad1d", 2, on=real(2, 3, 4), full=True),
    case("ZeroPad2d", (1, 2, 0, -1), on=real(2, 3, 4, 5)),
    case("ZeroPad3d", 1, on=real(1, 2, 2, 3, 4), full=True),
    case("ReflectionPad1d", (2, 1), on=real(2, 3, 4), full=True),
    case("ReflectionPad2d", (1, 2, 3, 0), on=real(2, 3, 4, 5)),
    case("ReflectionPad3d", 1, on=real(1, 2, 2, 3, 4), full=True),
    case("ReplicationPad1d", (2, 5), on=real(3, 4), full=True, batched=False),
    case("ReplicationPad2d", 2, on=real(1, 3, 3, 2), full=True),
    case("ReplicationPad3d", (1, 0, 2, 0, 0, 3), on=real(1, 2, 2, 3, 4), full=True),
    case("CircularPad1d", (2, 1), on=real(2, 3, 4), full=True),
    case("CircularPad2d", (1, 2, 3, 0), on=real(2, 3, 4, 5), full=True),
    case("CircularPad3d", 1, on=real(1, 2, 2, 3, 4), full=True),
]

RESIZING = [
    case("PixelShuffle", 2, on=real(2, 8, 2, 3)),
    case("PixelUnshuffle", 2, on=real(2, 2, 4, 6)),
    case("ChannelShuffle", 2, on=real(2, 6, 2, 3)),
    case("Upsample", scale_factor=2, on=real(2, 3, 3, 4)),
    case("Upsample", None, (2, 1.5), "bilinear", on=real(2, 3, 3, 4)),
    case("Upsample", (5, 3), mode="bicubic", align_corners=True, on=real(2, 3, 3, 4)),
    case("Upsample", 7, mode="linear", on=real(2, 3, 4), full=True),
    case("Upsample", None, 1.7, "nearest", recompute_scale_factor=True, on=real(2, 3, 4),
         full=True),
    case("Upsample", (3, 4, 2), mode="trilinear", on=real(1, 2, 2, 3, 4), full=True),
    case("Upsample", scale_factor=0.5, mode="area", on=real(1, 2, 4, 5), full=True),
    case("UpsamplingNearest2d", scale_factor=(2, 3), on=real(2, 3, 3, 2), full=True),
    case("UpsamplingBilinear2d", 5, on=real(2, 3, 3, 4), full=True),
    case("LocalResponseNorm", 3, 0.3, 0.5, 1.2, on=real(2, 4, 3)),
    case("LocalResponseNorm", 4, alpha=0.2, on=real(2, 5, 2, 3), full=True),
    # Its gradient in torch is not that of its output.
    case("CrossMapLRN2d", 4, 0.3, on=fixed(real(2, 5, 2, 3))),
    case("CrossMapLRN2d", 3, 0.3, 0.5, 2.0, on=fixed(real(2, 7, 2, 1)), full=True),
]  # fmt: skip

SPATIAL = [*TRANSPOSED, *WINDOWS, *PADDING, *RESIZING]
