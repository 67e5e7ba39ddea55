import doctest

import pytest

from fx.deploy import bundle, engine
from fx.interop import weights


@pytest.mark.parametrize("module", [bundle, engine, weights])
def test_the_examples_run_as_written(module):
    result = doctest.testmod(module)
    assert result.attempted and not result.failed
