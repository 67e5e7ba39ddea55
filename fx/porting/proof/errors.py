"""What the written code raised, as an obstacle: the line it came from, and what to do."""

import re
import traceback

import jax

from fx.porting.proof import alike
from fx.porting.text.write import Written


def located(error: Exception, written: Written) -> str:
    """An error of the written code as an obstacle: where its line came from."""
    place = ""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno or 0 for frame in frames if frame.filename.startswith("<fx_ported")]
    if not lines:  # jax says where a value was made that is read elsewhere
        lines = [int(line) for line in re.findall(r"<fx_ported_\d+>:(\d+)", str(error))]
    for line in lines:
        if line <= len(written.origins):
            origin = written.origins[line - 1]
            place = f"{origin[0]}:{origin[1]}: " if origin else place
    return f"{place}{type(error).__name__}: {_said(error, written)}"


def _said(error: Exception, written: Written) -> str:
    if isinstance(error, jax.errors.NonConcreteBooleanIndexError):
        return (
            "a mask chooses how many values there are, which has to be known when a program is "
            "compiled; keep all of them, and weight or replace them: jnp.where(mask, x, 0)"
        )
    if isinstance(error, jax.errors.TracerArrayConversionError):
        return (
            "NumPy's functions want values, which are not known when a program is compiled; write "
            "it in PyTorch, or make the array that it is given a tuple or a list of numbers"
        )
    if isinstance(error, jax.errors.UnexpectedTracerError):
        return (
            "what one call computed is read by another one, as of a dict or a list outside of the "
            "model (a cache): compute it each time, or keep it in an attribute, where fx.port "
            "writes it so"
        )
    if isinstance(error, jax.errors.ConcretizationTypeError):
        return (
            "values of arrays decide what is done, and they are not known when a program is "
            "compiled; write it with jnp.where or jax.lax.cond, or leave it out (an expert of a "
            "mixture: on all rows, out + jnp.where(mask[:, None], expert(x) * weight[:, None], 0))"
        )
    if "expected a key for its random numbers" in str(error):
        return (
            f"{alike.SAID}, and PyTorch's are others, so that outputs cannot be compared; draw "
            "them where self.training holds, or take them as an argument"
        )
    if returned := re.search(r"type <class '[^']*?(\w+)'>.*not a valid JAX type", str(error)):
        return (
            f"forward returns a {returned[1]}, which is no array, list, tuple, dict or dataclass "
            "of arrays; have it return its arrays"
        )
    missing = re.search(r"has no attribute '(\w+)'", str(error))
    for note in written.notes if missing else ():
        name, _, why = note.partition(" is not carried over: ")
        if missing and why and name.rpartition(".")[2] == missing[1]:
            return f"self.{missing[1]} was not carried over: {why}"
    return str(error)[:600]
