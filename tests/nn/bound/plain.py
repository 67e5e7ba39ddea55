"""Draws of activations, linear maps, norms, tables, distances and losses."""

import numpy as np

from tests.nn.bound.draw import Draw
from tests.nn.bound.spatial import batch, pick, real, sizes, whole


def some(rng):
    """A shape without meaning: also none, of one, and empty."""
    return pick(rng, (3, 4), (2, 3, 5), (4,), (), (1,), (0, 3), (2, 2, 3, 2))


ACTIVATIONS = {
    "ELU": {"alpha": (1.0, 0.5, 2.0)}, "CELU": {"alpha": (1.0, 0.5, 2.0)}, "SELU": {},
    "GELU": {"approximate": ("none", "tanh")}, "SiLU": {}, "Mish": {}, "ReLU": {}, "ReLU6": {},
    "LeakyReLU": {"negative_slope": (0.01, 0.3, -0.5)}, "Sigmoid": {}, "LogSigmoid": {},
    "Hardsigmoid": {}, "Hardswish": {}, "Tanh": {}, "Softsign": {}, "Tanhshrink": {},
    "Hardtanh": {"min_val": (-1.0, -0.3), "max_val": (1.0, 0.4)},
    "Softplus": {"beta": (1.0, 2.0, 0.5), "threshold": (20.0, 1.0)},
    "Hardshrink": {"lambd": (0.5, 0.1, 1.0)}, "Softshrink": {"lambd": (0.5, 0.1, 1.0)},
    "Threshold": {"threshold": (0.1, -0.5), "value": (20.0, 0.0)},
}  # fmt: skip


def activation(rng):
    name = pick(rng, *ACTIVATIONS)
    kwargs = {k: pick(rng, *v) for k, v in ACTIVATIONS[name].items() if rng.random() < 0.8}
    if name == "Threshold":
        kwargs = {k: pick(rng, *v) for k, v in ACTIVATIONS[name].items()}
    scale = pick(rng, 1.0, 1.0, 4.0, 30.0)
    on = real(rng, *some(rng), scale=scale)
    if rng.random() < 0.15:
        on = whole(rng, *some(rng))
    return Draw(name, (), kwargs, (on,))


def soft(rng):
    name = pick(rng, "Softmax", "LogSoftmax", "Softmin", "Softmax2d", "GLU", "PReLU")
    shape = some(rng)
    if name == "PReLU":
        count = shape[1] if len(shape) > 1 and rng.random() < 0.7 else 1
        return Draw(name, (count,), {"init": 0.1}, (real(rng, *shape),))
    if name == "Softmax2d":
        return Draw(name, (), {}, (real(rng, *pick(rng, (2,), (), (0,)), 3, 2, 2),))
    dims = max(1, len(shape))
    dim = int(rng.integers(-dims, dims))
    kwargs = {"dim": dim}
    return Draw(name, (), kwargs, (real(rng, *shape, scale=pick(rng, 1, 10)),))


def linear(rng):
    lead = pick(rng, (2,), (), (0,), (2, 3), (1,))
    kind = pick(rng, "Linear", "Bilinear", "Flatten", "Unflatten", "Identity")
    a, b = int(rng.integers(1, 9)), int(rng.integers(1, 9))
    bias = {"bias": pick(rng, True, False)}
    if kind == "Linear":
        return Draw(kind, (a, b), bias, (real(rng, *lead, a),))
    if kind == "Bilinear":
        return Draw(kind, (a, b, 3), bias, (real(rng, *lead, a), real(rng, *lead, b)))
    if kind == "Flatten":
        shape = pick(rng, (2, 3, 4), (2, 3), (3,), (0, 2, 3), (2, 1, 3, 2))
        start = int(rng.integers(0, len(shape)))
        return Draw(kind, (start, pick(rng, -1, len(shape) - 1, -2)), {}, (real(rng, *shape),))
    if kind == "Unflatten":
        return Draw(kind, (pick(rng, 1, -1), pick(rng, (2, -1), (3, 2), (2, 3, 1))), {},
                    (real(rng, pick(rng, 2, 0), 6),))  # fmt: skip
    return Draw("Identity", (4,), {"unused": 3}, (real(rng, *lead, 2),))


def batch_norm(rng):
    dims = int(rng.integers(1, 4))
    c = pick(rng, 1, 3)
    space = () if dims == 1 and rng.random() < 0.4 else sizes(rng, dims, 1, 5)
    kwargs = {
        "eps": pick(rng, 1e-5, 1e-3, 0.1), "momentum": pick(rng, 0.1, None, 0.7, 0.0, 1.0),
        "affine": pick(rng, True, True, False), "bias": pick(rng, True, True, False),
        "track_running_stats": pick(rng, True, True, False),
    }  # fmt: skip
    name = pick(rng, f"BatchNorm{dims}d", f"BatchNorm{dims}d", "SyncBatchNorm")
    train = name != "SyncBatchNorm" and pick(rng, True, False)
    n = pick(rng, 4, 2, 1, 0)
    scale, shift = pick(rng, 1.0, 10.0, 0.01), pick(rng, 0.0, 0.0, 3.0)
    x = real(rng, n, c, *space, scale=scale) + np.float32(shift)
    return Draw(name, (c,), kwargs, (x,), train=train)


def instance_norm(rng):
    dims, c = int(rng.integers(1, 4)), pick(rng, 1, 3)
    kwargs = {
        "eps": pick(rng, 1e-5, 1e-3, 0.1), "momentum": pick(rng, 0.1, None, 0.7),
        "affine": pick(rng, True, False), "track_running_stats": pick(rng, True, False),
    }  # fmt: skip
    lead = batch(rng)
    if 0 in lead and kwargs["track_running_stats"]:
        lead = (1,)  # torch looks at the first of them
    x = real(rng, *lead, c, *sizes(rng, dims, 1, 5), scale=pick(rng, 1.0, 10.0))
    return Draw(f"InstanceNorm{dims}d", (c,), kwargs, (x,), train=pick(rng, True, False))


def other_norm(rng):
    kind = pick(rng, "LayerNorm", "RMSNorm", "GroupNorm", "LocalResponseNorm")
    if kind == "LocalResponseNorm":
        args = (
            pick(rng, 1, 2, 3, 5),
            pick(rng, 1e-4, 0.3),
            pick(rng, 0.75, 0.5),
            pick(rng, 1.0, 2),
        )
        return Draw(
            kind, args, {}, (real(rng, pick(rng, 2, 0, 1), 4, *sizes(rng, pick(rng, 1, 2, 3), 1)),)
        )
    eps, affine = pick(rng, 1e-5, 1e-3, 0.1), pick(rng, True, True, False)
    if kind == "GroupNorm":
        groups = pick(rng, 1, 2, 3)
        c = groups * pick(rng, 1, 2)
        x = real(rng, pick(rng, 2, 1, 0), c, *sizes(rng, pick(rng, 0, 1, 2, 3), 1, 5))
        kwargs = {"eps": eps, "affine": affine, "bias": pick(rng, True, False)}
        return Draw(kind, (groups, c), kwargs, (x,))
    shape = pick(rng, (4,), (3, 4), (1,), (2, 3, 2), (37,))
    kwargs = {"eps": eps, "elementwise_affine": affine}
    if kind == "LayerNorm":
        kwargs["bias"] = pick(rng, True, False)
    elif rng.random() < 0.5:
        kwargs["eps"] = None
    x = real(rng, *pick(rng, (2,), (), (0,), (2, 3)), *shape, scale=pick(rng, 1, 10))
    return Draw(kind, (pick(rng, shape, shape[0] if len(shape) == 1 else shape),), kwargs, (x,))


def embedding(rng):
    kwargs = {"padding_idx": pick(rng, None, 0, -1, 3)}
    if rng.random() < 0.2:
        kwargs["scale_grad_by_freq"] = True
    on = rng.integers(0, 7, pick(rng, (3,), (2, 4), (), (0,), (2, 3, 2))).astype(np.int32)
    return Draw("Embedding", (7, 3), kwargs, (on,))


def embedding_bag(rng):
    mode = pick(rng, "sum", "mean", "max")
    kwargs = {"mode": mode, "padding_idx": pick(rng, None, None, 0, -2)}
    if rng.random() < 0.4:
        on = [rng.integers(0, 7, (pick(rng, 3, 1, 0), pick(rng, 4, 1))).astype(np.int32), None]
    else:
        on = [rng.integers(0, 7, 9).astype(np.int32),
              np.array(pick(rng, [0, 4, 7], [0, 0, 5], [0], [0, 3, 3, 9]), np.int32)]  # fmt: skip
        if rng.random() < 0.3:
            kwargs["include_last_offset"] = True
            on[1] = np.array(pick(rng, [0, 4, 9], [0, 0, 9], [0, 9], [0, 3, 9, 9]), np.int32)
    if mode == "sum" and rng.random() < 0.5:
        on.append(real(rng, *on[0].shape))
    return Draw("EmbeddingBag", (7, 3), kwargs, tuple(on))


def distance(rng):
    kind = pick(rng, "CosineSimilarity", "PairwiseDistance", "pdist", "normalize")
    shape = pick(rng, (2, 3), (3,), (2, 3, 4), (0, 3), (1, 5))
    if kind == "pdist":
        n = int(rng.integers(0, 5))
        return Draw(
            kind, (), {}, (real(rng, n, 3), pick(rng, 2.0, 1.0, 3.0, 0.5, float("inf"), 0.0))
        )
    if kind == "normalize":
        call = {"p": pick(rng, 2.0, 1.0, 3.0, 0.5, float("inf")), "eps": pick(rng, 1e-12, 1.0)}
        call["dim"] = pick(rng, 0, -1)
        return Draw(kind, (), {}, (real(rng, *shape),), call)
    if kind == "CosineSimilarity":
        return Draw(kind, (pick(rng, 0, -1),), {"eps": pick(rng, 1e-8, 1.0)},
                    (real(rng, *shape), real(rng, *shape)))  # fmt: skip
    p = pick(rng, 2.0, 1.0, 3.0, 0.5, float("inf"), 0.0)
    kwargs = {"p": p, "eps": pick(rng, 1e-6, 0.1), "keepdim": pick(rng, True, False)}
    other = shape if rng.random() < 0.8 else shape[-1:]
    return Draw(kind, (), kwargs, (real(rng, *shape), real(rng, *other)))


def dropout(rng):
    name = pick(rng, "Dropout", "Dropout1d", "Dropout2d", "Dropout3d", "AlphaDropout",
                "FeatureAlphaDropout", "RReLU")  # fmt: skip
    axes = {"Dropout1d": 3, "Dropout2d": 4, "Dropout3d": 5}.get(name, 3)
    shape = [2, 3, 2, 2, 2][:axes] if rng.random() < 0.7 else [3, 2, 2, 2][: axes - 1]
    x = real(rng, *shape)
    if name == "RReLU":
        return Draw(name, (0.3, 0.3), {}, (x,), train=pick(rng, True, False))
    p = pick(rng, 0.0, 0.3, 1.0)
    train = p == 0.0 and pick(rng, True, False)
    return Draw(name, (p,), {}, (x,), train=train)


PLAIN = {f.__name__: f for f in (
    activation, soft, linear, batch_norm, instance_norm, other_norm, embedding, embedding_bag,
    distance, dropout,
)}  # fmt: skip
