"""A reader of pickles that makes plain data and dense tensors, and calls nothing else.

No class or function of anyone is ever looked up: what a pickle names becomes a `Name`, two strings,
and only the few names below mean something. Every other opcode or name is an error.
"""

import io
import pickle
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ml_dtypes  # noqa: F401  # the dtypes of torch that NumPy lacks
import numpy as np

from fx.interop.safetensors_file import dtype_of

LIMIT = 64 * 2**20  # bytes of pickle; a hundred thousand tensors take 15 MB
_ROOM = 16 * 2**20  # bytes by which views may be larger than the file they are views of

_STORAGES = {
    "DoubleStorage": "float64", "FloatStorage": "float32", "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16", "LongStorage": "int64", "IntStorage": "int32",
    "ShortStorage": "int16", "CharStorage": "int8", "ByteStorage": "uint8", "BoolStorage": "bool",
    "ComplexFloatStorage": "complex64", "ComplexDoubleStorage": "complex128",
    "UntypedStorage": "uint8",
}  # fmt: skip
_DTYPES = frozenset(
    "float64 float32 float16 bfloat16 float8_e4m3fn float8_e5m2 float8_e4m3fnuz float8_e5m2fnuz "
    "float8_e8m0fnu int64 int32 int16 int8 uint64 uint32 uint16 uint8 bool complex64 "
    "complex128".split()
)
_OPCODES = (
    "PROTO FRAME STOP MARK POP POP_MARK DUP NONE NEWTRUE NEWFALSE BININT BININT1 BININT2 LONG1 "
    "LONG4 BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 BINSTRING SHORT_BINSTRING BINBYTES "
    "SHORT_BINBYTES EMPTY_TUPLE TUPLE TUPLE1 TUPLE2 TUPLE3 EMPTY_LIST EMPTY_DICT APPEND APPENDS "
    "SETITEM SETITEMS GLOBAL STACK_GLOBAL REDUCE BUILD BINPERSID BINGET LONG_BINGET BINPUT "
    "LONG_BINPUT MEMOIZE"
).split()


class Refused(Exception):
    """The pickle holds what is not plain data; the text says what."""


@dataclass(frozen=True, slots=True)
class Name:
    """What a pickle calls by module and name; prints as that, and does nothing."""

    module: str
    name: str

    def __repr__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(frozen=True, slots=True)
class Storage:
    """The bytes that tensors are views of; None where only their place is asked for."""

    key: str
    dtype: np.dtype
    data: np.ndarray | None


class Reader(pickle._Unpickler):
    """Reads one pickle.

    Args:
        file: where the pickle begins.
        find: given a storage's key, dtype and size in bytes, finds its bytes; None to skip them.
        file_bytes: the size of the whole file, against which what it declares is held.
        big_endian: whether numbers in storages are.
    """

    stack: list[Any]  # of the machine, as are these two
    append: Callable[[Any], None]
    pop_mark: Callable[[], list[Any]]

    def __init__(
        self,
        file: io.BytesIO,
        find: Callable[[str, np.dtype, int], np.ndarray | None],
        file_bytes: int,
        big_endian: bool = False,
    ):
        super().__init__(file, encoding="utf-8")
        self._find, self._big_endian = find, big_endian
        self._left = 2 * file_bytes + _ROOM
        self._made: dict[tuple, np.ndarray] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The two strings, if they are allowed to be there at all."""
        found = Name(module, name)
        known = (
            repr(found) in _CALLS
            or (module in ("torch", "torch.cuda", "torch.storage") and name in _STORAGES)
            or (module == "torch" and name in _DTYPES)
        )
        if not known:
            raise Refused(f"it asks for {module[:200]}.{name[:200]}, which is code")
        return found

    def persistent_load(self, pid: Any) -> Storage:
        """`("storage", kind, key, location, length)`, and in old files the part of it in use."""
        if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
            raise Refused("a persistent id in it is not that of a storage")
        kind, key, length = pid[1], pid[2], _number(pid[4])
        if type(kind) is not Name or kind.name not in _STORAGES or type(key) is not str:
            raise Refused("a storage in it has no type or no name")
        dtype = dtype_of(_STORAGES[kind.name])
        data = self._find(key, dtype, length * dtype.itemsize)
        if len(pid) == 6 and pid[5] is not None:
            part, start, length = pid[5]
            key = f"{key}/{part}" if type(part) is str else key
            first, size = _number(start) * dtype.itemsize, _number(length) * dtype.itemsize
            data = None if data is None else data[first : first + size]
        return Storage(key, dtype, data)

    def tensor(self, storage: Any, offset: Any, size: Any, stride: Any, *rest: Any) -> Any:
        """`_rebuild_tensor_v2` and `_v3`: a view of a storage, checked before it is made."""
        if type(storage) is not Storage or type(size) is not tuple or type(stride) is not tuple:
            raise Refused("a tensor in it is not a view of a storage")
        *_, metadata = rest[2:] or (None,)  # after requires_grad and hooks: dtype (v3), metadata
        if type(metadata) is dict and metadata:
            raise Refused("a tensor in it is lazily conjugated; save tensor.resolve_conj()")
        named = [item for item in rest if type(item) is Name]
        dtype = dtype_of(named[0].name) if named and named[0].name in _DTYPES else storage.dtype
        if storage.data is None:
            return None
        offset, size, stride = _number(offset), _numbers(size), _numbers(stride)
        view = (storage.key, dtype, offset, size, stride)
        if view not in self._made:
            self._made[view] = self._view(storage.data, dtype, offset, size, stride)
        return self._made[view]

    def _view(
        self, data: np.ndarray, dtype: np.dtype, offset: int, size: tuple, stride: tuple
    ) -> np.ndarray:
        if len(size) > 64:
            raise Refused(f"a tensor in it has {len(size)} axes")
        count, last = 1, offset
        for n, step in zip(size, stride, strict=True):
            count *= n
            last += (n - 1) * step
        has = len(data) // dtype.itemsize
        if count and last >= has:
            raise Refused(f"a tensor in it reaches to number {last} of a storage of {has}")
        self._left -= count * dtype.itemsize
        if self._left < 0:
            raise Refused("its tensors, which overlap or repeat numbers, are larger than the file")
        if not count:
            return np.zeros(size, dtype)
        kind = np.dtype(np.uint8) if dtype == np.bool_ else dtype
        steps = [step * dtype.itemsize for step in stride]
        array = np.ndarray(size, kind, data, offset * dtype.itemsize, steps)
        if dtype == np.bool_:  # a byte that is neither 0 nor 1 must not pass for a bool
            return array != 0
        swapped = self._big_endian != (sys.byteorder == "big")
        return np.require(_swap(array) if swapped else array, requirements="A")

    # What follows replaces opcodes of the machine that could touch more than plain data.

    def load_reduce(self) -> None:
        """Call one of the functions in the table."""
        args, name = self.stack.pop(), self.stack.pop()
        if type(name) is not Name or repr(name) not in _CALLS or type(args) is not tuple:
            raise Refused("it calls what is not a function")
        self.append(_CALLS[repr(name)](self, *args))

    def load_build(self) -> None:
        """Drop the attributes of a dict: torch keeps versions of layers there."""
        self.stack.pop()
        if type(self.stack[-1]) is not dict:
            raise Refused("it sets attributes")

    def load_setitem(self) -> None:
        """One item."""
        value, key = self.stack.pop(), self.stack.pop()
        self._fill([key, value])

    def load_setitems(self) -> None:
        """Items since the mark."""
        self._fill(self.pop_mark())

    def _fill(self, items: list) -> None:
        target = self.stack[-1]
        if type(target) is not dict:
            raise Refused("it sets items of what is not a dict")
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Hashing a deep tuple overflows the stack, and large numbers can be made to collide.
            if type(key) is not str and not (type(key) is int and abs(key) < 2**60):
                raise Refused(f"a dict in it has a key of type {type(key).__name__}")
            target[key] = value

    def load_append(self) -> None:
        """One element."""
        self._extend([self.stack.pop()])

    def load_appends(self) -> None:
        """Elements since the mark."""
        self._extend(self.pop_mark())

    def _extend(self, items: list) -> None:
        if type(self.stack[-1]) is not list:
            raise Refused("it appends to what is not a list")
        self.stack[-1].extend(items)

    dispatch: dict[int, Any] = {
        getattr(pickle, name)[0]: pickle._Unpickler.dispatch[getattr(pickle, name)[0]]
        for name in _OPCODES
    } | {
        pickle.REDUCE[0]: load_reduce,
        pickle.BUILD[0]: load_build,
        pickle.SETITEM[0]: load_setitem,
        pickle.SETITEMS[0]: load_setitems,
        pickle.APPEND[0]: load_append,
        pickle.APPENDS[0]: load_appends,
    }


def _dict(reader: Reader, items: Any = ()) -> dict:
    if type(items) is dict:
        return dict(items)
    if type(items) not in (list, tuple) or not all(type(i) in (list, tuple) for i in items):
        raise Refused("a dict in it is not made of pairs")
    reader.append({})
    for pair in items:
        reader._fill(list(pair))
    return reader.stack.pop()


def _size(reader: Reader, numbers: Any = ()) -> tuple:
    if type(numbers) not in (tuple, list):
        raise Refused("a size in it is not a tuple")
    return tuple(numbers)


def _device(reader: Reader, kind: Any, index: Any = None) -> str:
    if type(kind) is not str or type(index) not in (int, type(None)):
        raise Refused("a device in it is not a name")
    return kind if index is None else f"{kind}:{_number(index)}"


def _encode(reader: Reader, text: Any, encoding: Any = None) -> bytes:
    """How pickles before protocol 3 spell bytes."""
    if type(text) is not str or encoding != "latin1":
        raise Refused("bytes in it are not written as pickle writes them")
    return text.encode("latin1")


def _parameter(reader: Reader, data: Any, *_: Any) -> Any:
    return data


_CALLS: dict[str, Callable[..., Any]] = {
    "_codecs.encode": _encode,
    "collections.OrderedDict": _dict,
    "collections.Counter": _dict,
    "torch.Size": _size,
    "torch.device": _device,
    "torch._utils._rebuild_parameter": _parameter,
    "torch._utils._rebuild_parameter_with_state": _parameter,
    "torch._utils._rebuild_tensor": Reader.tensor,
    "torch._utils._rebuild_tensor_v2": Reader.tensor,
    "torch._utils._rebuild_tensor_v3": Reader.tensor,
}


def _swap(array: np.ndarray) -> np.ndarray:
    width = array.itemsize // (2 if array.dtype.kind == "c" else 1)
    bits = array.flatten().view(f"u{width}")  # ml_dtypes' own dtypes have no other byte order
    return bits.byteswap().view(array.dtype).reshape(array.shape)


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 2**60:
        raise Refused("a size, stride or offset in it is not a number from 0 on")
    return value


def _numbers(values: tuple) -> tuple[int, ...]:
    return tuple(_number(value) for value in values)
