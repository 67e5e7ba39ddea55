"""Draws of losses."""

import numpy as np

from tests.nn.bound.draw import Draw
from tests.nn.bound.spatial import pick, real


def reduction(rng):
    return {"reduction": pick(rng, "mean", "mean", "sum", "none")}


def old(rng):
    """The deprecated way to say it."""
    return {"size_average": pick(rng, None, True, False), "reduce": pick(rng, None, True, False)}


def said(rng):
    return old(rng) if rng.random() < 0.1 else reduction(rng)


def lead(rng):
    return pick(rng, (4,), (1,), (0,), (3, 2), (2, 3, 2))


def share(rng, *shape):
    return rng.uniform(0.05, 0.95, shape).astype(np.float32)


def sign(rng, *shape):
    return rng.choice(np.array([-1, 1], np.float32), shape)


def regression(rng):
    name = pick(rng, "MSELoss", "L1Loss", "SmoothL1Loss", "HuberLoss", "KLDivLoss", "BCELoss",
                "BCEWithLogitsLoss", "SoftMarginLoss", "PoissonNLLLoss")  # fmt: skip
    shape = pick(rng, (4, 5), (5,), (), (0, 5), (1, 1), (2, 3, 2))
    x, y = real(rng, *shape, scale=pick(rng, 1, 5)), real(rng, *shape)
    kwargs = reduction(rng) if name == "HuberLoss" else said(rng)
    if name == "SmoothL1Loss":
        kwargs["beta"] = pick(rng, 1.0, 0.3, 0.0)
    elif name == "HuberLoss":
        kwargs["delta"] = pick(rng, 1.0, 0.3)
    elif name == "KLDivLoss":
        kwargs["log_target"] = pick(rng, True, False)
        if "reduction" in kwargs and rng.random() < 0.3:
            kwargs["reduction"] = "batchmean"
        y = y if kwargs["log_target"] else share(rng, *shape) * pick(rng, 1, 1, 0)
    elif name == "BCELoss":
        x, y = share(rng, *shape), share(rng, *shape)
    elif name == "BCEWithLogitsLoss":
        y = share(rng, *shape)
        if rng.random() < 0.4 and shape:
            kwargs["pos_weight"] = share(rng, shape[-1]) * 3
    elif name == "SoftMarginLoss":
        y = sign(rng, *shape)
    elif name == "PoissonNLLLoss":
        kwargs |= {"log_input": pick(rng, True, False), "full": pick(rng, True, False),
                   "eps": pick(rng, 1e-8, 0.1)}  # fmt: skip
        y = abs(y) * 4
        x = x if kwargs["log_input"] else abs(x)
    if name.startswith("BCE") and rng.random() < 0.4 and shape:
        kwargs["weight"] = share(rng, *pick(rng, shape, shape[-1:]))
    still = () if rng.random() < 0.7 and name != "SoftMarginLoss" else (1,)
    return Draw(name, (), kwargs, (x, np.asarray(y, np.float32)), still=still)


def gaussian(rng):
    shape = pick(rng, (4, 5), (5,), (0, 5), (1, 1), (2, 3, 2))
    kwargs = {"full": pick(rng, True, False), "eps": pick(rng, 1e-6, 0.3), **reduction(rng)}
    var = share(rng, *pick(rng, shape, (*shape[:-1], 1), shape[:-1]))
    return Draw("GaussianNLLLoss", (), kwargs, (real(rng, *shape), real(rng, *shape), var))


def classes(rng):
    n, c = pick(rng, 4, 1, 0), pick(rng, 5, 1, 3)
    space = pick(rng, (), (), (3,), (2, 3))
    name = pick(rng, "CrossEntropyLoss", "CrossEntropyLoss", "NLLLoss")
    unbatched = not space and rng.random() < 0.2
    shape = (c,) if unbatched else (n, c, *space)
    target = rng.integers(0, c, () if unbatched else (n, *space)).astype(np.int32)
    kwargs = said(rng)
    if rng.random() < 0.5:
        kwargs["weight"] = share(rng, c)
    if rng.random() < 0.4:
        kwargs["ignore_index"] = pick(rng, 0, 1, -1, -100)
        if rng.random() < 0.5:
            target = np.where(rng.random(target.shape) < 0.3, kwargs["ignore_index"], target)
    if name == "CrossEntropyLoss" and rng.random() < 0.4:
        kwargs["label_smoothing"] = pick(rng, 0.1, 1.0, 0.5)
    x = real(rng, *shape, scale=pick(rng, 1, 10))
    if name == "CrossEntropyLoss" and rng.random() < 0.3:
        target = share(rng, *shape)
    return Draw(
        name, (), kwargs, (x, np.asarray(target, np.asarray(target).dtype.name.replace("64", "32")))
    )


def linear_classes(rng):
    n, space = pick(rng, 4, 1, 7), pick(rng, (), (), (2,))
    kwargs = {"out_features": space, "bias": pick(rng, True, False), **reduction(rng)}
    if rng.random() < 0.4:
        kwargs["weight"] = share(rng, 5)
    if rng.random() < 0.3:
        kwargs["label_smoothing"] = 0.2
    target = rng.integers(0, 5, (n, *space)).astype(np.int32)
    if rng.random() < 0.3:
        target = share(rng, n, 5, *space)
    elif rng.random() < 0.5:
        kwargs["ignore_index"] = pick(rng, 0, 2)
    return Draw("LinearCrossEntropyLoss", (3, 5), kwargs, (real(rng, n, 3), target))


def margin(rng):
    name = pick(rng, "HingeEmbeddingLoss", "MarginRankingLoss", "CosineEmbeddingLoss",
                "MultiMarginLoss", "MultiLabelMarginLoss", "MultiLabelSoftMarginLoss",
                "TripletMarginLoss", "TripletMarginWithDistanceLoss")  # fmt: skip
    n, c = pick(rng, 4, 1, 0), pick(rng, 5, 1, 3)
    if name in ("MultiMarginLoss", "MultiLabelMarginLoss"):
        n = max(n, 1)  # the mean of none is what happens to lie in torch's memory
    shape, kwargs = (n, c), said(rng)
    x, y = real(rng, *shape), real(rng, *shape)
    lone = rng.random() < 0.15
    if name in ("HingeEmbeddingLoss", "MarginRankingLoss", "CosineEmbeddingLoss"):
        kwargs["margin"] = pick(rng, 0.0, 0.5, 2.0) if name[0] != "C" else pick(rng, 0.0, 0.3, -0.5)
        if name == "HingeEmbeddingLoss":
            return Draw(name, (), kwargs, (x, sign(rng, *shape)), still=(1,))
        if name == "MarginRankingLoss":
            return Draw(name, (), kwargs, (x, y, sign(rng, *shape)), still=(2,))
        if lone:
            return Draw(name, (), kwargs, (x.sum(0), y.sum(0), sign(rng)), still=(2,))
        return Draw(name, (), kwargs, (x, y, sign(rng, n)), still=(2,))
    if name == "MultiMarginLoss":
        kwargs |= {"p": pick(rng, 1, 2), "margin": pick(rng, 1.0, 0.3)}
        if rng.random() < 0.4:
            kwargs["weight"] = share(rng, c)
        target = rng.integers(0, c, () if lone else n).astype(np.int32)
        return Draw(name, (), kwargs, (x.sum(0) if lone else x, target))
    if name == "MultiLabelMarginLoss":
        target = rng.integers(-1, c, c if lone else shape).astype(np.int32)
        return Draw(name, (), kwargs, (x.sum(0) if lone else x, target))
    if name == "MultiLabelSoftMarginLoss":
        if rng.random() < 0.4:
            kwargs["weight"] = share(rng, c)
        shape = pick(rng, shape, (c,), (2, 3, c))
        return Draw(name, (), kwargs, (real(rng, *shape), share(rng, *shape)))
    z = real(rng, *shape)
    on = tuple(a.sum(0) for a in (x, y, z)) if lone else (x, y, z)
    kwargs |= {"margin": pick(rng, 1.0, 0.3, 3.0), "swap": pick(rng, True, False)}
    if name == "TripletMarginLoss":
        kwargs |= {"p": pick(rng, 2.0, 1.0, 3.0), "eps": pick(rng, 1e-6, 0.1)}
    else:
        kwargs = {"reduction": pick(rng, "mean", "sum", "none"), "margin": kwargs["margin"],
                  "swap": kwargs["swap"]}  # fmt: skip
    return Draw(name, (), kwargs, on)


def ctc(rng):
    steps, n, c = pick(rng, 6, 8, 4), pick(rng, 2, 1, 3), pick(rng, 4, 3)
    blank = int(rng.integers(0, c))
    kwargs = {"blank": blank, "zero_infinity": pick(rng, True, False), **reduction(rng)}
    longest = pick(rng, 3, 1, 2)
    others = np.array([i for i in range(c) if i != blank], np.int32)
    targets = rng.choice(others, (n, longest)).astype(np.int32)
    lengths = rng.integers(pick(rng, 0, 1), longest + 1, n).astype(np.int32)
    times = rng.integers(min(steps, longest) if rng.random() < 0.7 else 1, steps + 1, n)
    if rng.random() < 0.3:
        targets = np.concatenate([t[:k] for t, k in zip(targets, lengths)])
    x = real(rng, steps, n, c, scale=pick(rng, 1, 3))
    x = np.asarray(x - np.log(np.exp(x).sum(-1, keepdims=True)), np.float32)
    if n == 1 and rng.random() < 0.3 and targets.ndim == 2:
        return Draw("CTCLoss", (), kwargs, (x[:, 0], targets[0], times.astype(np.int32)[0],
                                            lengths[0]))  # fmt: skip
    return Draw("CTCLoss", (), kwargs, (x, targets, times.astype(np.int32), lengths))


def adaptive_softmax(rng):
    cutoffs = pick(rng, [4, 8], [5], [2, 3, 9])
    kwargs = {"div_value": pick(rng, 4.0, 2.0), "head_bias": pick(rng, True, False)}
    n = pick(rng, 3, 1)
    x, target = real(rng, n, 8), rng.integers(0, 12, n).astype(np.int32)
    if rng.random() < 0.2:
        x, target = x[0], target[0]
    return Draw("AdaptiveLogSoftmaxWithLoss", (8, 12, cutoffs), kwargs, (x, np.asarray(target)))


LOSSES = {f.__name__: f for f in (
    regression, gaussian, classes, linear_classes, margin, ctc, adaptive_softmax,
)}  # fmt: skip
