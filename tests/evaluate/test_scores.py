import numpy as np
import pytest
from sklearn import metrics as sk

from fx import evaluate

NAN = float("nan")


def sample(classes, count=300, absent=(), unpredicted=(), ties=False, seed=0):
    rng = np.random.default_rng(seed)
    present = [k for k in range(classes) if k not in absent]
    labels = rng.choice(present, count)
    logits = rng.normal(size=(count, classes)) + np.eye(classes)[labels]
    logits[:, list(unpredicted)] -= 20
    probabilities = evaluate.softmax(logits)
    if ties:
        probabilities = np.round(probabilities * 8) + 1
        probabilities /= probabilities.sum(1, keepdims=True)
    return probabilities, labels


def counts(probabilities, labels):
    return sk.confusion_matrix(
        labels, probabilities.argmax(1), labels=range(probabilities.shape[1])
    )


SHAPES = [
    dict(classes=2),
    dict(classes=10),
    dict(classes=10, absent=(3,)),
    dict(classes=10, unpredicted=(4,)),
    dict(classes=10, absent=(0, 3), unpredicted=(3, 4)),  # 3 neither occurs nor is predicted
    dict(classes=2, absent=(1,)),
]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("average", [None, "macro", "micro", "weighted"])
@pytest.mark.parametrize("zero_division", [0.0, 1.0, NAN])
def test_precision_recall_f1_are_scikit_learns(shape, average, zero_division):
    probabilities, labels = sample(**shape)
    got = evaluate.precision_recall_f1(counts(probabilities, labels), average, zero_division)
    want = sk.precision_recall_fscore_support(
        labels,
        probabilities.argmax(1),
        labels=range(shape["classes"]),
        average=average,
        zero_division=zero_division,
    )
    for mine, theirs in zip(got[:3], want[:3]):
        np.testing.assert_allclose(mine, theirs, rtol=1e-12)
    np.testing.assert_array_equal(got.support, len(labels) if average else want[3])


def test_averages_are_plain_where_all_that_is_known_weighs_nothing():
    confusion = [[0, 4], [0, 0]]  # nothing predicted as 0, no example of 1
    got = evaluate.precision_recall_f1(confusion, "weighted", NAN)
    want = sk.precision_recall_fscore_support(
        [0] * 4, [1] * 4, labels=[0, 1], average="weighted", zero_division=NAN
    )
    np.testing.assert_allclose(got[:3], want[:3])


def test_per_class_accuracy_is_the_normalised_diagonal_and_nan_where_absent():
    probabilities, labels = sample(10, absent=(3,))
    got = evaluate.per_class_accuracy(counts(probabilities, labels))
    want = sk.confusion_matrix(
        labels, probabilities.argmax(1), labels=range(10), normalize="true"
    ).diagonal()
    assert np.isnan(got[3])
    np.testing.assert_allclose(np.delete(got, 3), np.delete(want, 3), rtol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("average", [None, "macro", "weighted"])
def test_roc_auc_is_scikit_learns(average, ties):
    probabilities, labels = sample(10, ties=ties)
    got = evaluate.roc_auc(probabilities, labels, average)
    want = sk.roc_auc_score(labels, probabilities, multi_class="ovr", average=average)
    np.testing.assert_allclose(got, want, rtol=1e-12)


@pytest.mark.parametrize("ties", [False, True])
def test_roc_auc_of_two_classes_is_scikit_learns(ties):
    probabilities, labels = sample(2, ties=ties)
    want = sk.roc_auc_score(labels, probabilities[:, 1])
    np.testing.assert_allclose(evaluate.roc_auc(probabilities, labels), want, rtol=1e-12)
    np.testing.assert_allclose(evaluate.roc_auc(probabilities, labels, None), want, rtol=1e-12)


def test_roc_auc_leaves_absent_classes_out():
    probabilities, labels = sample(10, absent=(3, 7), ties=True)
    each = evaluate.roc_auc(probabilities, labels, None)
    present = [k for k in range(10) if k not in (3, 7)]
    want = [sk.roc_auc_score(labels == k, probabilities[:, k]) for k in present]
    assert np.isnan(each[[3, 7]]).all()
    np.testing.assert_allclose(each[present], want, rtol=1e-12)
    np.testing.assert_allclose(evaluate.roc_auc(probabilities, labels), np.mean(want), rtol=1e-12)
    support = np.bincount(labels, minlength=10)[present]
    weighted = evaluate.roc_auc(probabilities, labels, "weighted")
    np.testing.assert_allclose(weighted, np.average(want, weights=support), rtol=1e-12)


def test_roc_auc_of_one_class_only_is_nan():
    probabilities, labels = sample(2, absent=(1,))
    assert np.isnan(evaluate.roc_auc(probabilities, labels))
    assert np.isnan(evaluate.roc_auc(probabilities, labels, None)).all()


@pytest.mark.parametrize("ties", [False, True])
def test_roc_curve_encloses_the_area_and_is_scikit_learns(ties):
    from fx.evaluate.scores import roc_curve

    probabilities, labels = sample(2, ties=ties)
    got = roc_curve(probabilities[:, 1], labels == 1)
    want = sk.roc_curve(labels, probabilities[:, 1], drop_intermediate=False)
    np.testing.assert_allclose(got[0], want[0])
    np.testing.assert_allclose(got[1], want[1])


@pytest.mark.parametrize("shape", [dict(classes=2), dict(classes=10), dict(classes=4, absent=(2,))])
def test_brier_score_is_scikit_learns(shape):
    probabilities, labels = sample(**shape)
    want = sk.brier_score_loss(labels, probabilities, labels=range(shape["classes"]))
    np.testing.assert_allclose(evaluate.brier_score(probabilities, labels), want, rtol=1e-12)


@pytest.mark.parametrize("bins", [1, 5, 15])
def test_calibration_is_a_loop_over_bins(bins):
    probabilities, labels = sample(10)
    confidence, right = probabilities.max(1), probabilities.argmax(1) == labels
    got = evaluate.calibration(probabilities, labels, bins)
    error = 0.0
    for b in range(bins):
        inside = (confidence > b / bins) & (confidence <= (b + 1) / bins)
        assert got.count[b] == inside.sum()
        if inside.any():
            np.testing.assert_allclose(got.confidence[b], confidence[inside].mean())
            np.testing.assert_allclose(got.accuracy[b], right[inside].mean())
            error += inside.mean() * abs(confidence[inside].mean() - right[inside].mean())
        else:
            assert np.isnan(got.confidence[b]) and np.isnan(got.accuracy[b])
    np.testing.assert_allclose(
        evaluate.expected_calibration_error(probabilities, labels, bins), error
    )


def test_calibration_is_scikit_learns_for_two_classes():
    from sklearn.calibration import calibration_curve

    probabilities, labels = sample(2)
    right = probabilities.argmax(1) == labels
    want = calibration_curve(right, probabilities.max(1), n_bins=10)
    got = evaluate.calibration(probabilities, labels, 10)
    np.testing.assert_allclose(got.accuracy[got.count > 0], want[0])
    np.testing.assert_allclose(got.confidence[got.count > 0], want[1])


def test_a_sure_model_falls_into_the_last_bin():
    got = evaluate.calibration([[1.0, 0.0], [0.0, 1.0]], [0, 0])
    assert got.count[-1] == 2 and got.accuracy[-1] == 0.5 and got.confidence[-1] == 1.0


def test_bfloat16_probabilities_are_accepted():
    import jax.numpy as jnp

    probabilities, labels = sample(10)
    half = jnp.asarray(probabilities, jnp.bfloat16)
    np.testing.assert_allclose(
        evaluate.roc_auc(half, labels), evaluate.roc_auc(probabilities, labels), atol=5e-3
    )


P, Y = np.full((4, 2), 0.5), np.array([0, 1, 0, 1])


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: evaluate.roc_auc(P, Y[:3]),
            ValueError,
            r"roc_auc: expected labels \[4\] for scores \[4, 2\], got \[3\]",
        ),
        (
            lambda: evaluate.roc_auc(P, Y + 1),
            ValueError,
            r"roc_auc: expected labels from 0 to 1, got 2 at 1 \(2 in all\)",
        ),
        (
            lambda: evaluate.brier_score(P, Y - 1),
            ValueError,
            r"brier_score: expected labels from 0 to 1, got -1 at 0 \(2 in all\)",
        ),
        (
            lambda: evaluate.roc_auc(P, Y * 1.0),
            TypeError,
            "roc_auc: expected integer labels, got float64",
        ),
        (
            lambda: evaluate.roc_auc(P > 0, Y),
            TypeError,
            "roc_auc: expected real numbers per class, got bool",
        ),
        (
            lambda: evaluate.roc_auc(P[:0], Y[:0]),
            ValueError,
            r"roc_auc: expected at least one example, got scores \[0, 2\]",
        ),
        (
            lambda: evaluate.roc_auc(P[:, 0], Y),
            ValueError,
            r"roc_auc: expected scores \[N, K\] of K >= 2 classes, got \[4\]; of one score p",
        ),
        (
            lambda: evaluate.expected_calibration_error(P * 3, Y),
            ValueError,
            r"calibration: expected probabilities, rows of numbers >= 0 that sum to 1, got row 0 "
            r"with minimum 1.5 and sum 3; pass fx.evaluate.softmax\(logits\)",
        ),
        (
            lambda: evaluate.roc_auc(P * NAN, Y),
            ValueError,
            "roc_auc: expected probabilities, .* sum nan",
        ),
        (
            lambda: evaluate.roc_auc(P, Y, "micro"),
            ValueError,
            "roc_auc: expected average None, 'macro' or 'weighted', got 'micro'",
        ),
        (
            lambda: evaluate.calibration(P, Y, 0),
            ValueError,
            "calibration: expected bins of 1 or more, got 0",
        ),
        (
            lambda: evaluate.precision_recall_f1(np.zeros((2, 3), int)),
            ValueError,
            r"precision_recall_f1: expected a confusion matrix \[K, K\], got \[2, 3\]",
        ),
        (
            lambda: evaluate.precision_recall_f1([[0.5, 0.5], [0.0, 1.0]]),
            ValueError,
            "precision_recall_f1: expected counts, integers of 0 or more, got float64 from 0.0 to",
        ),
        (
            lambda: evaluate.precision_recall_f1([[1]], "binary"),
            ValueError,
            "expected average None, 'macro', 'micro' or 'weighted', got 'binary'",
        ),
        (
            lambda: evaluate.precision_recall_f1([[1]], None, 0.5),
            ValueError,
            "expected zero_division 0.0, 1.0 or nan, got 0.5",
        ),
    ],
)
def test_errors_say_what_was_expected(call, error, text):
    with pytest.raises(error, match=text):
        call()
