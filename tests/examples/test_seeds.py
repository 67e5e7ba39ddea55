"""Seeds and significance as a user runs it."""

import re

from examples import seeds


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
