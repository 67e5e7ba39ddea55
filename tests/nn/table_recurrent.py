"""The table's rows of recurrent layers, bags and distances; `tests.nn.table` imports them."""

from tests.nn.table import case, ints, real

RECURRENT = [
    case("RNN", 3, 4, bias=False, on=(real(5, 2, 3), real(1, 2, 4)), batched=False),
    case("RNN", 3, 4, 2, "relu", batch_first=True, bidirectional=True, on=real(2, 5, 3), full=True),
    case("LSTM", 3, 4, batch_first=True, on=real(2, 5, 3), full=True),
    case("LSTM", 3, 4, 2, bidirectional=True, proj_size=2, on=real(3, 2, 3), batched=False),
    case("LSTM", 3, 4, 2, False, True, 0.0, True, on=real(2, 1, 3), full=True),
    case("LSTM", 3, 4, on=real(5, 3), batched=False, full=True),
    case("GRU", 3, 4, batch_first=True, on=real(2, 5, 3)),
    case("GRU", 3, 4, 2, batch_first=True, bidirectional=True, on=real(2, 3, 3), full=True),
    case("GRU", 3, 4, bias=False, on=(real(5, 3), real(1, 4)), batched=False, full=True),
    case("RNNCell", 3, 4, nonlinearity="relu", on=(real(2, 3), real(2, 4))),
    case("RNNCell", 3, 4, False, on=real(2, 3), full=True),
    case("LSTMCell", 3, 4, on=real(2, 3)),
    case("LSTMCell", 3, 4, bias=False, on=real(3), batched=False, full=True),
    case("GRUCell", 3, 4, on=(real(2, 3), real(2, 4))),
    case("GRUCell", 3, 4, bias=False, on=(real(3), real(4)), batched=False, full=True),
]

DISTANCE = [
    case("CosineSimilarity", on=(real(2, 3), real(2, 3))),
    case("CosineSimilarity", 0, 1e-3, on=(real(2, 3), real(2, 3)), batched=False, full=True),
    case("PairwiseDistance", on=(real(2, 3), real(2, 3))),
    case("PairwiseDistance", 1.5, eps=0.1, keepdim=True, on=(real(2, 3), real(2, 3)), full=True),
]

BAG = [
    case("EmbeddingBag", 7, 3, padding_idx=-2, on=ints(3, 4, below=7)),
    case("EmbeddingBag", 7, 3, mode="max", on=ints(3, 4, below=7), second=False),
    case("EmbeddingBag", 7, 3, norm_type=1.0, mode="sum", sparse=False, on=ints(3, 4, below=7),
         full=True),
]  # fmt: skip
