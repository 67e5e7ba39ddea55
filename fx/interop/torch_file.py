"""What `torch.save` wrote, read without PyTorch; no code in the file is run."""

import io
import os
import zipfile
import zlib
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from fx.interop.plain_pickle import LIMIT, Reader, Refused
from fx.interop.safetensors_file import map_bytes

_MAGIC = 0x1950A86A20F9469CFC6C  # of files before the zip format, and of torch.save with it off
_LOOK = 16  # entries of a checkpoint that an error looks at
_TRUST = (
    "; if you trust the file, open it once where PyTorch is, torch.load(path, weights_only=False), "
    "and save model.state_dict() alone"
)


def read_torch(path: str | os.PathLike[str], *, mmap: bool = True) -> Any:
    """Reads all that a file of `torch.save` holds: dicts, lists, numbers, text and arrays.

    For the weights alone `fx.read_weights` does. This is for a checkpoint's other parts: an
    optimizer's state, an epoch.

    Args:
        path: the file, of the zip format or the one before PyTorch 1.6.
        mmap: whether arrays are read-only views of the file; False reads all of it now.

    Returns:
        The object that was saved, tensors as NumPy arrays, every kind of dict as `dict`. A dtype
        or another name that stands alone comes as an object that prints as that name.

    Raises:
        ValueError: the file is cut short, damaged, compressed, or of another format; or its
            pickle holds more than plain data (a class, a function: named, and not run) or
            declares more than the file has.

    Example:
        >>> import tempfile, torch
        >>> path = f"{tempfile.mkdtemp()}/checkpoint.pt"
        >>> torch.save({"epoch": 3, "model": {"bias": torch.zeros(2)}}, path)
        >>> read_torch(path)
        {'epoch': 3, 'model': {'bias': array([0., 0.], dtype=float32)}}

    Source: torch.load(weights_only=True), which knows a few more kinds: sparse and quantized
        tensors.
    """
    path = Path(path)
    whole = map_bytes(path, mmap)
    try:
        if whole[:2].tobytes() == b"PK":
            return _read_zip(path, whole)
        return _read_legacy(whole)
    except Exception as error:  # a damaged pickle can raise anything
        said = f"its pickle is damaged, or more than data ({type(error).__name__}: {error})"
        said = str(error) if isinstance(error, ValueError) else said
        said = f"{error}{_TRUST}" if isinstance(error, Refused) else said
        raise ValueError(f"read_weights: {path}: {said}") from error


def _read_zip(path: Path, whole: np.ndarray) -> Any:
    try:
        archive = zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise ValueError(f"it is cut short or damaged ({error})") from error
    with archive:
        entries = archive.infolist()
    records = {entry.filename: entry for entry in entries}
    if len(records) != len(entries):
        raise ValueError("two records in it have one name")
    roots = [name for name in records if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(roots) != 1:
        raise ValueError("it is a zip archive of something else: there is no data.pkl in it")
    root = roots[0].removesuffix("data.pkl")
    if root + "constants.pkl" in records:
        raise ValueError("it is a program of TorchScript, which is code")

    def find(key: str, dtype: np.dtype, size: int) -> np.ndarray:
        data = _record(whole, records, f"{root}data/{key}")
        if size > len(data):
            raise ValueError(f"storage {key[:80]!r} declares {size} bytes and has {len(data)}")
        return data[:size]

    text = _record(whole, records, roots[0]).data
    if len(text) > LIMIT:
        raise ValueError(
            f"its pickle has {len(text)} bytes, more than {LIMIT}: it holds no tensors"
        )
    if zlib.crc32(text) != records[roots[0]].CRC:
        raise ValueError(f"the record {roots[0]!r} is damaged")
    order = root + "byteorder"
    big = order in records and _record(whole, records, order)[:8].tobytes() == b"big"
    return Reader(io.BytesIO(text), find, len(whole), big).load()


def _record(whole: np.ndarray, records: dict[str, zipfile.ZipInfo], name: str) -> np.ndarray:
    """The bytes of a record, where they lie in the file."""
    if name not in records:
        raise ValueError(f"the record {name[:200]!r} is not in it")
    entry = records[name]
    if entry.compress_type != zipfile.ZIP_STORED or entry.flag_bits & 1:
        raise ValueError(
            f"the record {name!r} is compressed or encrypted, as torch.save never does"
        )
    head = whole[entry.header_offset : entry.header_offset + 30].tobytes()
    first = entry.header_offset + 30 + sum(head[26:30:2]) + 256 * sum(head[27:30:2])
    if entry.header_offset < 0 or head[:4] != b"PK\x03\x04" or first + entry.file_size > len(whole):
        raise ValueError(
            f"the record {name!r} does not lie in it whole: it is cut short or damaged"
        )
    return whole[first : first + entry.file_size]


def _read_legacy(whole: np.ndarray) -> Any:
    """Pickles one after the other, then the storages, each with its length in front."""
    file = io.BytesIO(whole[:LIMIT].tobytes())

    def load(find: Any = None, big: bool = False) -> Any:
        return Reader(file, find or (lambda *_: None), len(whole), big).load()

    if load() != _MAGIC or load() != 1001:
        raise ValueError("it is a pickle, but not one of torch.save")
    about = load()
    big = isinstance(about, dict) and about.get("little_endian") is False
    start = file.tell()
    widths: dict[str, int] = {}

    def note(key: str, dtype: np.dtype, size: int) -> None:
        widths[key] = dtype.itemsize

    load(note)  # tensors come before their storages: read once for these, once more with them
    keys = load()
    places = _storages(whole, file.tell(), keys, widths, "big" if big else "little")

    def find(key: str, dtype: np.dtype, size: int) -> np.ndarray:
        if key not in places or size > len(places[key]):
            raise ValueError(f"storage {key[:80]!r} is not in it whole")
        return places[key]

    file.seek(start)
    return load(find, big)


def _storages(
    whole: np.ndarray, at: int, keys: Any, widths: dict[str, int], order: Any
) -> dict[str, np.ndarray]:
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise ValueError("the list of its storages is damaged")
    places = {}
    for key in keys:
        count = int.from_bytes(whole[at : at + 8].tobytes(), order)
        size = count * widths.get(key, 1)
        if at + 8 + size > len(whole):
            raise ValueError(f"storage {key[:80]!r} declares {size} bytes, more than the file has")
        places[key] = whole[at + 8 : at + 8 + size]
        at += 8 + size
    return places


def select(contents: Any, key: str | tuple[str, ...], path: Path) -> dict[str, np.ndarray]:
    """The flat dict of arrays under a key of a checkpoint.

    Raises:
        ValueError: there is none; what there is instead is listed.
    """
    for step in (key,) if isinstance(key, str) else key:
        if not isinstance(contents, dict) or step not in contents:
            raise ValueError(f"read_weights: {path} has no {step!r} in it; {_listing(contents)}")
        contents = contents[step]
    if _is_flat(contents) or contents == {}:
        return contents
    keys = _candidates(contents)
    choose = f"choose with key={' or '.join(map(repr, keys[:4]))}" if keys else "no dict is flat"
    raise ValueError(
        f"read_weights: {path} is not a flat dict of arrays; {_listing(contents)}; {choose}. "
        "fx.interop.read_torch(path) gives all that is in it"
    )


def _is_flat(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and bool(value)
        and all(isinstance(k, str) and isinstance(v, np.ndarray) for k, v in value.items())
    )


def _candidates(contents: Any) -> list[Any]:
    """Keys, and pairs of keys, under which there are arrays and nothing else."""
    if not isinstance(contents, dict):
        return []
    dicts = {k: v for k, v in islice(contents.items(), _LOOK) if isinstance(v, dict) and v}
    pairs = [(k, n) for k, v in dicts.items() for n, w in islice(v.items(), _LOOK) if _is_flat(w)]
    return [k for k, v in dicts.items() if _is_flat(v)] + pairs


def _listing(contents: Any) -> str:
    if not isinstance(contents, dict):
        return f"it holds a {type(contents).__name__}"
    kinds = [
        f"{name!r} ({f'{len(v)} arrays' if _is_flat(v) else type(v).__name__})"
        for name, v in islice(contents.items(), _LOOK)
    ]
    return f"it holds {', '.join(kinds)}" + ", ..." * (len(contents) > _LOOK)
