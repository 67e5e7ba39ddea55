"""Arguments at the edge of what torch takes, and just beyond: sizes of 0, infinite values."""

import numpy as np
import pytest
import torch

from tests.nn.bound.draw import ROUNDING, Draw, departures, rounded

ONES = np.linspace(0.5, 1.5, 6, dtype=np.float32).reshape(2, 3)
FAR = np.array([0.5, np.inf, -np.inf, -2.0], np.float32)
NAN = np.array([0.5, np.nan, -np.inf, np.nan], np.float32)
ZEROS = np.zeros(4, np.float32)
PLANE = np.linspace(-1, 1, 25, dtype=np.float32).reshape(1, 1, 5, 5)
SAMPLES = np.full((3, 1, 2), 0.3, np.float32)  # for more examples than there are


def empty(*shape):
    return np.zeros(shape, np.float32)


def rows(*shape):
    return np.zeros(shape, np.int32)


EDGES = [
    Draw("Bilinear", (2, 3, 0), {}, (ONES[:, :2], ONES)),
    Draw("Embedding", (3, 0), {}, (rows(2),)),
    Draw("Embedding", (0, 2), {}, (rows(0),)),
    Draw("BatchNorm1d", (0,), {"affine": False, "track_running_stats": False}, (empty(2, 0, 3),)),
    Draw("BatchNorm1d", (0,), {}, (empty(2, 0, 3),)),  # refused
    Draw("InstanceNorm1d", (0,), {}, (empty(2, 0, 3),)),
    Draw("InstanceNorm1d", (3,), {"affine": True}, (empty(0, 3, 4),), train=True),  # refused
    Draw("InstanceNorm1d", (3, 1e-5, 0.1, True, True), {}, (empty(0, 3, 4),)),  # refused
    Draw("InstanceNorm1d", (3, 1e-5, 0.1, False, True), {}, (empty(0, 3, 4),), train=True),
    Draw("InstanceNorm1d", (2, 0.0), {}, (np.full((1, 2, 4), 2, np.float32),)),
    Draw("GroupNorm", (3, 0), {}, (empty(2, 0),)),
    Draw("LayerNorm", ((3, 0),), {}, (empty(2, 3, 0),)),
    Draw("RMSNorm", (0,), {}, (empty(2, 0),)),
    Draw("LSTMCell", (3, 0), {}, (ONES,)),
    Draw("RNNCell", (0, 2), {}, (empty(2, 0),)),
    Draw("PReLU", (0,), {}, (empty(2, 0),)),
    Draw("PReLU", (0,), {}, (ONES,)),  # refused
    Draw("HuberLoss", (), {}, (FAR, ZEROS)),
    Draw("SmoothL1Loss", (), {"reduction": "none"}, (FAR, ZEROS)),
    Draw("L1Loss", (), {}, (FAR, ZEROS)),
    Draw("L1Loss", (), {"reduction": "none"}, (FAR, FAR)),
    Draw("L1Loss", (), {"reduction": "none"}, (NAN, ZEROS)),
    Draw("SmoothL1Loss", (), {"reduction": "none"}, (NAN, FAR)),
    Draw("HuberLoss", (), {"reduction": "none"}, (NAN, ZEROS)),
    Draw("embedding", (), {}, (rows(2), FAR[:, None]), {"scale_grad_by_freq": True}),
    Draw("embedding", (), {}, (rows(2) + 1, FAR[:, None]), {"scale_grad_by_freq": True}),
    Draw("CrossEntropyLoss", (), {}, (empty(0, 3), rows(0))),
    Draw("CrossEntropyLoss", (), {"label_smoothing": 0.1}, (empty(0, 3), empty(0, 3))),
    Draw("BCEWithLogitsLoss", (ONES[0],), {}, (empty(0, 3), empty(0, 3))),
    Draw("CTCLoss", (), {"reduction": "sum"}, (empty(5, 0, 3), rows(0, 2), rows(0), rows(0))),
    Draw("TripletMarginLoss", (), {"swap": True}, (empty(0, 3), empty(0, 3), empty(0, 3))),
    Draw("KLDivLoss", (), {"reduction": "none"}, (ONES, -ONES)),
    Draw("Dropout", (1.0,), {}, (FAR,), train=True),
    Draw("AlphaDropout", (1.0,), {}, (FAR,), train=True),
    Draw("KLDivLoss", (), {}, (ONES, rows(2, 3))),  # refused
    Draw("normalize", (), {}, (ONES, 0)),
    Draw("normalize", (), {}, (ONES, -1.0, 0)),
    Draw("normalize", (), {}, (ONES, float("-inf"), -1)),
    Draw("normalize", (), {}, (ONES.reshape(1, 2, 3), 3.0, (0, -1))),
    Draw("normalize", (), {}, (ONES[0, 0, None].reshape(()), 2.0, 0)),
    Draw("CircularPad2d", (0,), {}, (empty(1, 2, 0, 0),)),
    Draw("pad", (), {}, (ONES, [-1, -2], "circular")),
    Draw("pad", (), {}, (PLANE, [1, 0, -2, -3], "reflect")),
    Draw("pad", (), {}, (PLANE, [-5, 0, 0, 1], "replicate")),
    Draw("pad", (), {}, (PLANE, [-6, 3, 0, 0], "reflect")),
    Draw("pad", (), {}, (PLANE, [-7, 4, 1, 1], "replicate")),
    Draw("pad", (), {}, (PLANE, [-5, 0, -2, -3], "replicate")),  # refused
    Draw("pad", (), {}, (PLANE, [-6, 3, 0, 0])),  # refused
    Draw("scaled_dot_product_attention", (), {}, (ONES, ONES, ONES, ONES[0, :2]), still=(3,)),
    Draw("ConvTranspose1d", (2, 3, 3), {"output_padding": 2}, (empty(0, 2, 4),)),
    Draw("ConvTranspose2d", (2, 4, 3, 2), {"groups": 2}, (empty(0, 2, 0, 3),)),
    Draw("ConvTranspose2d", (2, 3, 3, 2, 5), {}, (empty(0, 2, 3, 3),)),  # refused
    Draw("PReLU", (2,), {}, (FAR.reshape(2, 2),)),
    Draw("LPPool1d", (float("inf"), 2), {}, (ZEROS[None],)),
    Draw("Unflatten", (1, (2, -1)), {}, (empty(0, 4),)),
    Draw("FractionalMaxPool2d", (2, 2), {"_random_samples": SAMPLES}, (PLANE,)),
    # What follows is refused.
    Draw("ReflectionPad1d", (1,), {}, (empty(0, 0, 3),)),
    Draw("ReplicationPad3d", (1,), {}, (empty(0, 1, 3, 3),)),
    Draw("Upsample", (2,), {}, (empty(2, 0, 3),)),
    Draw("Conv2d", (2, 3, 2), {"padding": 1}, (empty(2, 2, 0, 4),)),
    Draw("Unfold", (2,), {}, (empty(2, 0, 3, 3),)),
    Draw("Dropout1d", (), {}, (empty(2, 3, 2, 2),)),
    Draw("elu", (), {}, (rows(3),)),
    Draw("silu", (), {}, (rows(3),)),
    Draw("gelu", (), {}, (rows(3) > 0,)),
    Draw("relu", (), {}, (rows(3) > 0,)),
    Draw("glu", (), {}, (rows(4),)),
    Draw("prelu", (), {}, (rows(4), ONES[0, :1])),
]  # fmt: skip


@pytest.mark.filterwarnings("ignore")  # torch's, of what is drawn
@pytest.mark.parametrize("draw", EDGES, ids=str)
def test_edges_are_torchs(draw):
    assert departures(draw) == []


@pytest.mark.parametrize("name, args, shape", [
    ("Linear", (4, 3), (1000, 4)), ("Bilinear", (2, 2, 3), (600, 2)), ("PReLU", (), (500, 3)),
    ("ConvTranspose1d", (2, 3, 3), (20, 2, 60)),
])  # fmt: skip
def test_gradients_to_shared_parameters_of_bfloat16_are_summed_in_float32(name, args, shape):
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    draw = rounded(Draw(name, args, {}, (x,) * (1 + (name == "Bilinear"))))
    assert departures(draw, ROUNDING, torch.bfloat16) == []
