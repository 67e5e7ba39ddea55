"""The table's rows of further losses; `tests.nn.table` imports them at its end."""

from dataclasses import dataclass

import numpy as np

from tests.nn.table import Input, case, fixed, ints, real, unit

WEIGHT = np.array([0.5, 2.0, 0.0, 1.5, 1.0], np.float32)


@dataclass(frozen=True)
class Given(Input):
    """The same numbers each time."""

    values: tuple = ()

    def sample(self, rng):
        return np.array(self.values, np.int32)


@dataclass(frozen=True)
class Signs(Input):
    """1 and -1."""

    def sample(self, rng):
        return rng.choice(np.array([-1, 1], np.float32), self.shape)


def signs(*shape):
    return Signs("sign", shape, moves=False)


def given(*values):
    return Given("given", np.shape(values), moves=False, values=values)


def manhattan(a, b):
    """Takes arrays of either library."""
    return abs(a - b).sum(-1)


PAIR, TRIPLE = (real(4, 5), real(4, 5)), (real(4, 5), real(4, 5), real(4, 5))
SPREAD = (real(6, 2, 4), ints(2, 3, below=3), given(6, 5), given(3, 1))
LOSSES = [
    case("HingeEmbeddingLoss", 2.0, on=(real(4, 5), signs(4, 5))),
    case("HingeEmbeddingLoss", reduction="none", on=(real(4, 5), signs(4, 5)), full=True),
    case("MarginRankingLoss", 0.5, on=(*PAIR, signs(4, 5)), full=True),
    case("MarginRankingLoss", reduction="sum", on=(real(4), real(4), signs(4))),
    case("CosineEmbeddingLoss", 0.3, on=(*PAIR, signs(4))),
    case("CosineEmbeddingLoss", reduction="none", on=(*PAIR, signs(4)), full=True),
    case("CosineEmbeddingLoss", on=(real(5), real(5), signs()), batched=False, full=True),
    case("SoftMarginLoss", on=(real(4, 5), signs(4, 5))),
    case("SoftMarginLoss", None, False, on=(real(4, 5), signs(4, 5)), full=True),
    case("MultiLabelMarginLoss", on=(real(2, 4), given((3, 0, -1, 1), (-1, 2, 3, 0))),
         second=False, batched=False),
    case("MultiLabelMarginLoss", reduction="none", on=(real(4), given(2, 1, -1, -1)),
         second=False, batched=False, full=True),
    case("MultiLabelSoftMarginLoss", weight=WEIGHT, on=(real(4, 5), fixed(unit(4, 5)))),
    case("MultiLabelSoftMarginLoss", reduction="none", on=(real(4, 5), fixed(unit(4, 5))),
         full=True),
    case("MultiMarginLoss", 2, 0.5, weight=WEIGHT, on=(real(4, 5), ints(4, below=5)), second=False),
    case("MultiMarginLoss", reduction="none", on=(real(4, 5), ints(4, below=5)), second=False,
         full=True),
    case("MultiMarginLoss", on=(real(5), ints(below=5)), second=False, batched=False, full=True),
    case("TripletMarginLoss", on=TRIPLE),
    case("TripletMarginLoss", 0.5, 1.0, 0.1, True, reduction="none", on=TRIPLE, full=True),
    case("TripletMarginWithDistanceLoss", distance_function=manhattan, margin=2.0, swap=True,
         on=TRIPLE),
    case("TripletMarginWithDistanceLoss", on=TRIPLE),
    case("PoissonNLLLoss", on=(real(4, 5), fixed(unit(4, 5)))),
    case("PoissonNLLLoss", False, True, eps=0.1, on=(unit(4, 5), given(*[(0, 1, 2, 3, 9)] * 4)),
         full=True, batched=False),
    case("GaussianNLLLoss", on=(real(4, 5), real(4, 5), unit(4, 5))),
    case("GaussianNLLLoss", eps=0.4, reduction="sum", on=(real(4, 5), real(4, 5), unit(4, 1))),
    case("CTCLoss", 3, on=SPREAD, second=False, batched=False),
    case("CTCLoss", 3, "none", True, on=SPREAD, second=False, batched=False, full=True),
    case("AdaptiveLogSoftmaxWithLoss", 8, 12, [4, 8], div_value=2.0,
         on=(real(3, 8), ints(3, below=12))),
    case("AdaptiveLogSoftmaxWithLoss", 8, 12, (5,), head_bias=True,
         on=(real(8), ints(below=12)), batched=False, full=True),
    case("LinearCrossEntropyLoss", 3, 5, bias=True, weight=WEIGHT, ignore_index=1,
         on=(real(4, 3), ints(4, below=5))),
    case("LinearCrossEntropyLoss", 3, 5, out_features=(2,), label_smoothing=0.1, reduction="none",
         on=(real(4, 3), ints(4, 2, below=5)), full=True),
    case("RReLU", 0.2, 0.2, on=real(3, 4)),
    case("FeatureAlphaDropout", 0.1, on=real(2, 3, 2)),
    case("SyncBatchNorm", 3, on=real(4, 3, 2), modal=True),
    case("SyncBatchNorm", 3, 1e-3, None, False, on=real(4, 3), modal=True, full=True),
]  # fmt: skip
