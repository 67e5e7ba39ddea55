"""The written file as a module."""

import itertools
import linecache
import sys
import types

from fx.porting.proof import alike
from fx.porting.text.write import Written

_numbers = itertools.count()


def executed(written: Written, same_numbers: bool = False) -> types.ModuleType:
    """The written file as a module, with its text where tracebacks look for it.

    Args:
        written: The file.
        same_numbers: Whether it draws the numbers of `alike.py`, and no random ones.
    """
    name = f"fx_ported_{next(_numbers)}"
    module = types.ModuleType(name)
    file = module.__file__ = f"<{name}>"
    sys.modules[name] = module
    source = alike.without_keys(written.source) if same_numbers else written.source
    linecache.cache[file] = (len(source), None, source.splitlines(True), file)
    exec(compile(source, file, "exec"), vars(module))
    if same_numbers:
        vars(module).update(jax=alike.Jax(), F=alike.Functional())
    return module
