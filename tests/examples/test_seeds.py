"""Seeds and significance as a user runs it."""

import re

import pytest

from examples import char_lm, cifar10, meta_learning, seeds, speedrun


def test_two_recipes_are_compared(capsys):
    small = ["--seeds", "3", "--epochs", "1", "--batch-size", "256", "--how", "vmap"]
    assert seeds.main(small) == 0
    said = capsys.readouterr().out
    assert "dropout 0: 3 runs in one program, best epoch (1)" in said
    assert "dropout 0.5: 3 runs in one program, best epoch (1)" in said
    accuracies = re.findall(r"test accuracy with\w* +(0\.\d{4}) ± 0\.\d{4} \(95 %, n = 3\)", said)
    assert len(accuracies) == 2
    (difference,) = re.findall(r"difference +([+-]0\.\d{4}), 95 % interval \[.*\], n = 3", said)
    without, with_dropout = map(float, accuracies)
    assert abs(float(difference) - (with_dropout - without)) < 2e-4
    assert re.search(r"p +\S+ \(t-test\), \S+ \(Wilcoxon\), \S+ \(permutation\)", said)


@pytest.mark.parametrize(
    ("main", "words", "said"),
    [
        (seeds.main, ["--seeds", "1"], "--seeds: expected 2 or more"),
        (seeds.main, ["--epochs", "0"], "expected 1 or more, got 0"),
        (char_lm.main, ["--steps", "0"], "--steps: expected 1 or more, got 0"),
        (char_lm.main, ["--dim", "30"], "--dim: expected a multiple of --heads 4, got 30"),
        (char_lm.main, ["--temperature", "-1"], "--temperature: expected more than 0"),
        (meta_learning.main, ["--steps", "0"], "expected --epochs and --steps of 1 or more"),
        (speedrun.main, ["--runs", "0"], "--runs: expected 1 or more, got 0"),
        (cifar10.main, ["--resume", "--overwrite"], "not allowed with argument"),
        (cifar10.main, ["--patience", "0"], "expected 1 or more, got 0"),
    ],
)
def test_arguments_that_make_no_sense_are_said(main, words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2 and said in capsys.readouterr().err
