import dataclasses
import json
import math

import numpy as np
import pytest
from sklearn import metrics as sk

from fx import evaluate

NAMES = ["airplane", "bird", "cat", "dog", "frog", "ship"]


def sample(count=500, classes=6, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, count)
    return rng.normal(size=(count, classes)) + 1.5 * np.eye(classes)[labels], labels


@pytest.fixture(scope="module")
def report():
    return evaluate.classification_report(*sample(), NAMES)


def test_every_figure_is_scikit_learns(report):
    logits, labels = sample()
    probabilities, predictions = evaluate.softmax(logits), logits.argmax(1)
    close = lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-10)
    close(report.loss, sk.log_loss(labels, probabilities))
    close(report.perplexity, math.exp(report.loss))
    close(report.accuracy, sk.accuracy_score(labels, predictions))
    close(report.top_5_accuracy, sk.top_k_accuracy_score(labels, logits, k=5))
    close(report.roc_auc, sk.roc_auc_score(labels, probabilities, multi_class="ovr"))
    close(report.brier, sk.brier_score_loss(labels, probabilities))
    close(report.calibration_error, evaluate.expected_calibration_error(probabilities, labels))
    np.testing.assert_array_equal(report.confusion, sk.confusion_matrix(labels, predictions))
    assert report.examples == 500
    want = sk.classification_report(labels, predictions, target_names=NAMES, output_dict=True)
    for row in (*report.classes, report.macro, report.weighted):
        theirs = want[row.name]
        got = row.precision, row.recall, row.f1, row.support
        close(got, [theirs[k] for k in ("precision", "recall", "f1-score", "support")])
    areas = sk.roc_auc_score(labels, probabilities, multi_class="ovr", average=None)
    close([row.roc_auc for row in report.classes], areas)
    close([row.accuracy for row in report.classes], [row.recall for row in report.classes])
    close(report.weighted.accuracy, report.accuracy)
    close(report.macro.roc_auc, report.roc_auc)


def test_text_is_aligned_and_has_the_figures(report):
    lines = report.text().splitlines()
    assert lines[0].split() == ["precision", "recall", "f1", "accuracy", "roc_auc", "support"]
    table = lines[: lines.index(next(line for line in lines if line.startswith("examples"))) - 1]
    assert len({len(line) for line in table if line}) == 1
    cat = next(line for line in lines if line.strip().startswith("cat"))
    row = report.classes[2]
    assert cat.split()[1:3] == [f"{row.precision:.4f}", f"{row.recall:.4f}"]
    assert cat.split()[-1] == str(row.support)
    totals = {line[:28].strip(): line[28:].strip() for line in lines}
    assert totals["accuracy"] == f"{report.accuracy:.4f}"
    assert totals["perplexity"] == f"{report.perplexity:.4f}"
    matrix = lines[lines.index("confusion matrix (rows: true class, columns: predicted)") + 2 :]
    assert [list(map(int, line.split()[1:])) for line in matrix] == [
        list(row) for row in report.confusion
    ]


def test_text_leaves_a_wide_matrix_out_and_cuts_long_names_in_its_head():
    wide = evaluate.classification_report(*sample(classes=21)).text()
    assert "confusion matrix" not in wide and "\n          20 " in wide
    names = ["a name of twenty-two.."] + NAMES[1:]
    text = evaluate.classification_report(*sample(), names).text()
    assert "a name of " in text.splitlines()[-7] and names[0] not in text.splitlines()[-7]


def test_absent_classes_are_na_in_text_and_null_in_json():
    logits = np.array([[2.0, 0.0, 1.0], [0.0, 3.0, 1.0]])
    report = evaluate.classification_report(logits, np.array([0, 1]), ["a", "b", "c"])
    assert "n/a        n/a          0\n" in report.text()
    loaded = json.loads(report.to_json(), parse_constant=pytest.fail)
    assert loaded["classes"][2]["roc_auc"] is None and loaded["classes"][2]["recall"] == 0.0
    assert loaded["macro"]["accuracy"] == 1.0 and loaded["top_5_accuracy"] is None


def test_json_has_the_fields_and_keeps_the_numbers(report):
    loaded = json.loads(report.to_json())
    assert set(loaded) == {field.name for field in dataclasses.fields(report)}
    assert loaded["loss"] == report.loss
    assert loaded["confusion"] == [list(row) for row in report.confusion]
    assert loaded["classes"][0] == dataclasses.asdict(report.classes[0])


def test_an_excluded_label_gives_an_infinite_loss_and_valid_json():
    logits = np.array([[-np.inf, 0.0], [1.0, 0.0]])
    report = evaluate.classification_report(logits, np.array([0, 0]))
    assert report.loss == report.perplexity == math.inf
    assert json.loads(report.to_json(), parse_constant=pytest.fail)["loss"] is None
    assert "inf" in report.text()


def test_perplexity_of_a_hopeless_model_is_infinite_without_overflow():
    report = evaluate.classification_report([[1e4, 0.0], [1.0, 0.0]], [1, 0])
    assert report.loss > 700 and report.perplexity == math.inf


def test_loss_is_exact_where_the_probability_rounds_to_nothing():
    report = evaluate.classification_report([[1000.0, 0.0]], [1])
    assert report.loss == 1000.0


def test_save_writes_both_files_and_replaces_them_whole(report, tmp_path):
    folder = tmp_path / "new" / "run"
    text, data = report.save(folder)
    report.save(str(folder))
    assert sorted(path.name for path in folder.iterdir()) == ["report.json", "report.txt"]
    assert text.read_text("utf-8") == report.text()
    assert data.read_text("utf-8") == report.to_json()


def test_a_failed_write_leaves_the_old_file_and_no_part(report, tmp_path, monkeypatch):
    text, data = report.save(tmp_path)
    before = data.read_bytes()
    monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        report.save(tmp_path)
    assert sorted(tmp_path.iterdir()) == [data, text] and data.read_bytes() == before


def test_a_report_is_a_value(report):
    assert report == evaluate.classification_report(*sample(), NAMES)
    assert hash(report) == hash(evaluate.classification_report(*sample(), NAMES))
    with pytest.raises(dataclasses.FrozenInstanceError):
        report.loss = 0.0


def test_bfloat16_logits_are_read_as_they_are():
    import jax.numpy as jnp

    logits, labels = sample()
    half = jnp.asarray(logits, jnp.bfloat16)
    want = evaluate.classification_report(np.asarray(half.astype(jnp.float32)), labels)
    assert evaluate.classification_report(half, jnp.asarray(labels)) == want


@pytest.mark.parametrize(
    ("logits", "labels", "names", "text"),
    [
        (np.zeros((2, 3)), [0, 1], ["a"], r"expected 3 class names for logits \[N, 3\], got 1"),
        (np.zeros((2, 3)), [0, 3], None, "expected labels from 0 to 2, got 3 at 1"),
        (np.zeros((0, 3)), [], None, "expected at least one example"),
        ([[0.0, np.nan]], [0], None, r"logits without nan .* got \[0.0, nan\] in row 0 \(1 such"),
        ([[0.0, 1.0], [0.0, np.inf]], [0, 1], None, "in row 1"),
        ([[-np.inf, -np.inf]], [0], None, "one or more finite in each row"),
    ],
)
def test_errors_say_what_was_expected(logits, labels, names, text):
    with pytest.raises(ValueError, match="classification_report: .*" + text):
        evaluate.classification_report(logits, np.array(labels, int), names)
