import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fx.data import Examples, Loader, PadCollate, stack


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 20), min_size=1, max_size=6), st.integers(1, 8))
def test_padding_keeps_what_is_real_and_masks_the_rest(lengths, multiple):
    examples = [(np.arange(1, n + 1), i) for i, n in enumerate(lengths)]
    (tokens, mask), targets = PadCollate(multiple, value=-7)(examples)
    length = tokens.shape[1]
    assert length % multiple == 0 and 0 <= length - max(1, *lengths) < multiple
    assert mask.dtype == bool and mask.sum(1).tolist() == lengths
    for (sequence, _), row, real in zip(examples, tokens, mask):
        np.testing.assert_array_equal(row[real], sequence)
        assert (row[~real] == -7).all()
    assert targets.tolist() == list(range(len(lengths)))


def test_it_is_torchs_padding():
    torch = pytest.importorskip("torch")
    sequences = [np.random.default_rng(n).normal(size=(n, 3)).astype(np.float32) for n in (4, 2, 5)]
    (ours, _), _ = PadCollate()([(x, 0) for x in sequences])
    theirs = torch.nn.utils.rnn.pad_sequence([torch.tensor(x) for x in sequences], batch_first=True)
    np.testing.assert_array_equal(ours, theirs.numpy())
    assert ours.dtype == np.float32


def test_targets_may_be_sequences():
    inputs, targets = PadCollate(targets=-100)(
        [(np.ones(2), np.ones(2, int)), (np.ones(1), np.array([5]))]
    )
    assert targets.tolist() == [[1, 1], [5, -100]] and inputs[1].sum() == 3


def test_the_mask_joins_tuples_and_dicts():
    tokens, kinds = np.arange(3), np.ones(3, np.int8)
    a, b, mask = PadCollate(4)([((tokens, kinds), 0)])[0]
    assert a.shape == b.shape == mask.shape == (1, 4) and b.dtype == np.int8
    inputs, _ = PadCollate(4)([({"tokens": tokens}, 0)])
    assert sorted(inputs) == ["mask", "tokens"]


def test_buckets_keep_the_shapes_few():
    rng = np.random.default_rng(0)
    sequences = [(rng.integers(1, 9, rng.integers(1, 33)), i) for i in range(200)]
    loader = Loader(Examples(sequences), 8, collate=PadCollate(buckets=(8, 16, 32)), workers=2)
    seen = {}
    for (tokens, mask), targets in loader.epoch(0):
        seen.setdefault(tokens.shape[1], 0)
        for row, real, i in zip(np.asarray(tokens), np.asarray(mask), np.asarray(targets)):
            np.testing.assert_array_equal(row[real], sequences[i][0])
    assert set(seen) <= {8, 16, 32}
    with pytest.raises(ValueError, match="sequences of at most 8, the last bucket, got one of 9"):
        PadCollate(buckets=(4, 8))([(np.ones(9), 0)])


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"multiple": 0}, "expected multiple of 1 or more, got 0"),
        ({"buckets": (8, 4)}, r"expected buckets to be lengths, ascending, got \(8, 4\)"),
        ({"buckets": ()}, r"expected buckets to be lengths, ascending, got \(\)"),
    ],
)
def test_wrong_options(options, text):
    with pytest.raises(ValueError, match="PadCollate: " + text):
        PadCollate(**options)


def test_arrays_of_one_example_have_one_length():
    text = r"of one length in example 1 of the batch, got shapes \[\[2\], \[3\]\]"
    with pytest.raises(ValueError, match=text):
        PadCollate()([((np.ones(2), np.ones(2)), 0), ((np.ones(2), np.ones(3)), 0)])
    with pytest.raises(ValueError, match=r"in example 0 of the batch, got shapes \[\[\]\]"):
        PadCollate()([(np.float32(1), 0)])


def test_stack_is_leaf_by_leaf():
    batch = stack([({"a": np.zeros(2)}, 1), ({"a": np.ones(2)}, 2)])
    assert batch[0]["a"].tolist() == [[0, 0], [1, 1]] and batch[1].tolist() == [1, 2]
    with pytest.raises(ValueError, match=r"at \[1\] of examples, got int64\[\] .*; cast them"):
        stack([(np.zeros(2), 1), (np.zeros(2), 1.0)])


def test_a_value_that_the_dtype_has_not_is_an_error():
    examples = [(np.ones(n, np.uint8), 0) for n in (1, 3)]
    with pytest.raises(ValueError, match="cannot fill arrays of uint8 with -1"):
        PadCollate(value=-1)(examples)
