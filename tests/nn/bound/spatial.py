"""Draws of convolutions, pooling, padding, windows, resizing and shuffling."""

import numpy as np
import torch

from tests.nn.bound.draw import Draw


def pick(rng, *options):
    return options[rng.integers(len(options))]


def real(rng, *shape, scale=1.0):
    return np.asarray(scale * rng.normal(size=shape), np.float32)


def whole(rng, *shape, below=20):
    return rng.integers(-below, below, shape).astype(np.int32)


def batch(rng):
    """The leading axis: most often 2, at times 1, none or empty."""
    return pick(rng, (2,), (2,), (3,), (1,), (), (0,))


def sizes(rng, dims, low=3, high=None):
    high = high or {1: 10, 2: 8, 3: 6}[dims]
    return tuple(int(rng.integers(low, high)) for _ in range(dims))


def each(rng, dims, low, high):
    """One number, or one for every axis."""
    values = tuple(int(rng.integers(low, high)) for _ in range(dims))
    return pick(rng, values[0], values)


def conv(rng):
    dims = int(rng.integers(1, 4))
    groups = pick(rng, 1, 1, 2, 3)
    c_in, c_out = groups * pick(rng, 1, 2), groups * pick(rng, 1, 2, 3)
    mode = pick(rng, "zeros", "zeros", "reflect", "replicate", "circular")
    padding = pick(rng, each(rng, dims, 0, 4), each(rng, dims, 0, 3), "same", "valid")
    stride = 1 if padding == "same" and rng.random() < 0.9 else each(rng, dims, 1, 4)
    kwargs = {
        "stride": stride, "padding": padding, "dilation": each(rng, dims, 1, 4),
        "groups": groups, "bias": pick(rng, True, False), "padding_mode": mode,
    }  # fmt: skip
    on = real(rng, *batch(rng), c_in, *sizes(rng, dims))
    return Draw(f"Conv{dims}d", (c_in, c_out, each(rng, dims, 1, 5)), kwargs, (on,))


def conv_transpose(rng):
    dims = int(rng.integers(1, 4))
    groups = pick(rng, 1, 1, 2, 3)
    c_in, c_out = groups * pick(rng, 1, 2), groups * pick(rng, 1, 2, 3)
    kwargs = {
        "stride": each(rng, dims, 1, 4), "padding": each(rng, dims, 0, 3),
        "output_padding": pick(rng, 0, each(rng, dims, 0, 3)), "dilation": each(rng, dims, 1, 4),
        "groups": groups, "bias": pick(rng, True, False),
    }  # fmt: skip
    size = sizes(rng, dims, 2, 5)
    call = {}
    if rng.random() < 0.2:
        call["output_size"] = [s * 2 + int(rng.integers(0, 3)) for s in size]
    on = real(rng, *batch(rng), c_in, *size)
    return Draw(f"ConvTranspose{dims}d", (c_in, c_out, each(rng, dims, 1, 5)), kwargs, (on,), call)


def pool(rng):
    dims = int(rng.integers(1, 4))
    kernel = each(rng, dims, 1, 5)
    kwargs = {"stride": pick(rng, None, each(rng, dims, 1, 4)), "ceil_mode": pick(rng, True, False)}
    on = real(rng, *batch(rng), 2, *sizes(rng, dims))
    half = max(1, min(np.atleast_1d(kernel)) // 2 + 1)
    kwargs["padding"] = pick(rng, 0, each(rng, dims, 0, half))
    if rng.random() < 0.5:
        kwargs |= {"dilation": each(rng, dims, 1, 3), "return_indices": pick(rng, True, False)}
        if rng.random() < 0.15:
            on = whole(rng, *on.shape)
        return Draw(f"MaxPool{dims}d", (kernel,), kwargs, (on,))
    kwargs["count_include_pad"] = pick(rng, True, False)
    if dims > 1:
        kwargs["divisor_override"] = pick(rng, None, 3, 1)
    if rng.random() < 0.1:
        on = whole(rng, *on.shape)
    return Draw(f"AvgPool{dims}d", (kernel,), kwargs, (on,))


def adaptive_pool(rng):
    dims = int(rng.integers(1, 4))
    kind = pick(rng, "Avg", "Max")
    size = each(rng, dims, 1, 8)
    if dims > 1 and rng.random() < 0.4:
        size = tuple(pick(rng, None, int(rng.integers(1, 6))) for _ in range(dims))
    kwargs = {"return_indices": True} if kind == "Max" and rng.random() < 0.5 else {}
    on = real(rng, *batch(rng), pick(rng, 1, 3), *sizes(rng, dims, 1))
    return Draw(f"Adaptive{kind}Pool{dims}d", (size,), kwargs, (on,))


def fractional_pool(rng):
    dims = int(rng.integers(2, 4))
    lead = pick(rng, (2,), (1,), (), (0,))
    n = lead[0] if lead else 1
    size = sizes(rng, dims, 5, 9)
    kwargs = {
        "_random_samples": rng.random((n, 2, dims)).astype(np.float32),
        "return_indices": pick(rng, True, False),
    }
    if rng.random() < 0.5:
        kwargs["output_size"] = each(rng, dims, 1, 4)
    else:
        kwargs["output_ratio"] = pick(rng, 0.5, 0.7, (0.5, 0.6, 0.4)[:dims])
    on = real(rng, *lead, 2, *size)
    # The gradient of 27 cells on three axes takes XLA's compiler for CPUs minutes.
    kernel = each(rng, dims, 1, 4 if dims == 2 else 3)
    return Draw(f"FractionalMaxPool{dims}d", (kernel,), kwargs, (on,))


def lp_pool(rng):
    dims = int(rng.integers(1, 4))
    kwargs = {"stride": pick(rng, None, each(rng, dims, 1, 3)), "ceil_mode": pick(rng, True, False)}
    on = real(rng, *batch(rng), 2, *sizes(rng, dims))
    power = pick(rng, 1, 2, 3, 4, 1.5, 2.5, 3.0)
    if rng.random() < 0.5:
        on = abs(on)
    size = pick(rng, 1, 2, 3) if dims == 1 else each(rng, dims, 1, 4)
    return Draw(f"LPPool{dims}d", (power, size), kwargs, (on,))


def unpool(rng):
    dims = int(rng.integers(1, 4))
    lead, size = pick(rng, (2,), (1,), ()), sizes(rng, dims, 4)
    kernel, stride = each(rng, dims, 2, 4), pick(rng, None, each(rng, dims, 1, 3))
    padding = pick(rng, 0, 1)
    x = torch.from_numpy(real(rng, *lead, 2, *size))
    pooled, places = getattr(torch.nn, f"MaxPool{dims}d")(
        kernel, stride, padding, return_indices=True
    )(x)
    call = {"output_size": pick(rng, list(size), [*lead, 2, *size])} if rng.random() < 0.7 else {}
    on = (pooled.numpy(), places.numpy().astype(np.int32))
    return Draw(f"MaxUnpool{dims}d", (kernel,), {"stride": stride, "padding": padding}, on, call)


def pad(rng):
    dims = int(rng.integers(1, 4))
    kind = pick(rng, "Constant", "Zero", "Reflection", "Replication", "Circular")
    low = -2 if kind in ("Constant", "Zero", "Replication", "Reflection", "Circular") else 0
    sides = tuple(int(rng.integers(low, 4)) for _ in range(2 * dims))
    sides = pick(rng, sides, abs(sides[0]))
    if kind == "Replication" and min(np.atleast_1d(sides)) < 0:
        sides = 1  # torch lets it crop all of one axis
    args = (sides, pick(rng, 0.0, 1.5, -2)) if kind == "Constant" else (sides,)
    on = real(rng, *batch(rng), 2, *sizes(rng, dims))
    if rng.random() < 0.2:
        on = whole(rng, *on.shape)
    return Draw(f"{kind}Pad{dims}d", args, {}, (on,))


def pad_function(rng):
    axes = int(rng.integers(1, 4))
    mode = pick(rng, "constant", "constant", "reflect", "replicate", "circular")
    low = 0 if mode == "replicate" else -1
    sides = [int(rng.integers(low, 3)) for _ in range(2 * axes)]
    call = {"mode": mode}
    if mode == "constant":
        call["value"] = pick(rng, None, 1.5, 2)
    ndim = axes + pick(rng, 0, 1, 2)
    shape = [int(rng.integers(2, 6)) for _ in range(ndim)]
    on = real(rng, *shape) if rng.random() < 0.8 else whole(rng, *shape)
    return Draw("pad", (), {}, (on, sides), call)


def fold(rng):
    kernel, dilation = each(rng, 2, 1, 4), each(rng, 2, 1, 3)
    padding, stride = each(rng, 2, 0, 3), each(rng, 2, 1, 4)
    rest = {"dilation": dilation, "padding": padding, "stride": stride}
    size = sizes(rng, 2, 4, 9)
    lead = pick(rng, (2,), (1,), (), (0,))
    x = real(rng, *lead, 2, *size)
    if rng.random() < 0.5:
        return Draw("Unfold", (kernel,), rest, (x,))
    try:
        columns = torch.nn.Unfold(kernel, **rest)(torch.zeros(1, 2, *size)).shape[1:]
    except RuntimeError:
        columns = (4, 5)
    if rng.random() < 0.05:
        columns = (columns[0], columns[1] + 1)
    return Draw("Fold", (size, kernel), rest, (real(rng, *lead, *columns),))


def shuffle(rng):
    kind, r = pick(rng, "PixelShuffle", "PixelUnshuffle", "ChannelShuffle"), pick(rng, 1, 2, 3)
    lead = pick(rng, (2,), (1,), (), (2, 3))  # of none, torch's gradient raises
    if kind == "PixelShuffle":
        shape = (*lead, pick(rng, 1, 2) * r * r, 2, 3)
    elif kind == "PixelUnshuffle":
        shape = (*lead, pick(rng, 1, 2), 2 * r, r)
    else:
        shape = (*(lead[:1] or (2,)), 2 * r, *pick(rng, (), (3,), (2, 3)))
    on = real(rng, *shape) if rng.random() < 0.8 else whole(rng, *shape)
    return Draw(kind, (r,), {}, (on,))


MODES = {1: ("nearest", "linear", "area", "nearest-exact"),
         2: ("nearest", "bilinear", "bicubic", "area", "nearest-exact"),
         3: ("nearest", "trilinear", "area", "nearest-exact")}  # fmt: skip


def interpolate(rng):
    dims = pick(rng, 1, 2, 2, 3)
    mode = pick(rng, *MODES[dims])
    on = real(rng, *pick(rng, (2,), (1,), (0,), (2,)), 2, *sizes(rng, dims, 1))
    call = {"mode": mode}
    if rng.random() < 0.5:
        call["size"] = each(rng, dims, 1, 12)
    else:
        factor = tuple(pick(rng, 0.4, 0.7, 1.0, 1.3, 2.0, 2.5, 3) for _ in range(dims))
        call["scale_factor"] = pick(rng, factor[0], factor)
        call["recompute_scale_factor"] = pick(rng, None, True, False)
    if "linear" in mode or mode == "bicubic":
        call["align_corners"] = pick(rng, None, True, False)
    if mode in ("bilinear", "bicubic") and rng.random() < 0.3:
        call["antialias"] = True
    return Draw("interpolate", (), {}, (on,), call)


def upsample(rng):
    dims = pick(rng, 1, 2, 2, 3)
    mode = pick(rng, *MODES[dims][:3])
    on = real(rng, *pick(rng, (2,), (1,), (3,)), 2, *sizes(rng, dims, 2))
    kwargs = {"scale_factor": pick(rng, 2, 1.5, 0.6)}
    if rng.random() < 0.5:
        kwargs = {"size": each(rng, dims, 1, 9)}
    elif rng.random() < 0.4:
        kwargs["recompute_scale_factor"] = True
    kind = "Upsample"
    if dims == 2 and rng.random() < 0.3:
        kwargs.pop("recompute_scale_factor", None)
        kind = pick(rng, "UpsamplingNearest2d", "UpsamplingBilinear2d")
    else:
        kwargs["mode"] = mode
        if "linear" in mode or mode == "bicubic":
            kwargs["align_corners"] = pick(rng, None, True, False)
    return Draw(kind, (), kwargs, (on,))


def grid_sample(rng):
    dims = pick(rng, 2, 2, 3)
    mode = pick(rng, "bilinear", "nearest", *(["bicubic"] if dims == 2 else []))
    n = pick(rng, 1, 2, 0)
    x = real(rng, n, 2, *sizes(rng, dims, 1))
    grid = real(rng, n, *sizes(rng, dims, 1), dims, scale=0.8)
    call = {"mode": mode, "padding_mode": pick(rng, "zeros", "border", "reflection"),
            "align_corners": pick(rng, True, False, None)}  # fmt: skip
    return Draw("grid_sample", (), {}, (x, grid), call)


def affine_grid(rng):
    dims = pick(rng, 2, 3)
    theta = real(rng, 2, dims, dims + 1)
    size = [2, 3, *sizes(rng, dims, 1)]
    return Draw("affine_grid", (), {}, (theta, size), {"align_corners": pick(rng, True, False)})


SPATIAL = {f.__name__: f for f in (
    conv, conv_transpose, pool, adaptive_pool, fractional_pool, lp_pool, unpool, pad, pad_function,
    fold, shuffle, interpolate, upsample, grid_sample, affine_grid,
)}  # fmt: skip
