"""Files that want to do harm: all are refused, nothing in them runs, and no memory is taken."""

import io
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zipfile
import zlib

import numpy as np
import pytest
import torch

from fx.interop import read_torch, read_weights

P = pickle


def text(value: str) -> bytes:
    data = value.encode()
    return P.BINUNICODE + struct.pack("<I", len(data)) + data


def number(value: int) -> bytes:
    if -(2**31) <= value < 2**31:
        return P.BININT + struct.pack("<i", value)
    data = P.encode_long(value)
    return P.LONG1 + bytes([len(data)]) + data


def name(module: str, attribute: str) -> bytes:
    return P.GLOBAL + f"{module}\n{attribute}\n".encode()


def storage(key="0", kind="FloatStorage", count=4) -> bytes:
    parts = text("storage") + name("torch", kind) + text(key) + text("cpu") + number(count)
    return P.MARK + parts + P.TUPLE + P.BINPERSID


def tensor(offset=0, size=(4,), stride=(1,), **options) -> bytes:
    def numbers(values):
        return P.MARK + b"".join(map(number, values)) + P.TUPLE

    return (
        name("torch._utils", "_rebuild_tensor_v2")
        + P.MARK
        + storage(**options)
        + number(offset) + numbers(size) + numbers(stride)
        + P.NEWFALSE + P.EMPTY_DICT
        + P.TUPLE + P.REDUCE
    )  # fmt: skip


def weights(*values: bytes) -> bytes:
    items = b"".join(text(f"w{i}") + value for i, value in enumerate(values))
    return P.PROTO + b"\x02" + P.EMPTY_DICT + P.MARK + items + P.SETITEMS + P.STOP


def archive(path, data_pkl: bytes, compression=zipfile.ZIP_STORED, data=bytes(16), **more):
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("w/data.pkl", data_pkl)
        file.writestr("w/version", b"3\n")
        file.writestr("w/data/0", data)
        for record, contents in more.items():
            file.writestr(record, contents)
    return path


def refused(path, match: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match=match):
            read_torch(path)
        assert tracemalloc.get_traced_memory()[1] < 2**25
    finally:
        tracemalloc.stop()


def test_the_tools_of_these_tests_make_files_that_load(tmp_path):
    path = archive(tmp_path / "w", weights(tensor()), data=np.arange(4, dtype="<f4").tobytes())
    assert read_weights(path)["w0"].tolist() == [0, 1, 2, 3]
    assert torch.load(path)["w0"].tolist() == [0, 1, 2, 3]


CALLS = {
    "os.system": ("posix", "system"),
    "eval": ("builtins", "eval"),
    "getattr": ("builtins", "getattr"),
    "python2": ("__builtin__", "apply"),
    "import": ("importlib", "import_module"),
    "torch.load": ("torch.storage", "_load_from_bytes"),
    "torch.hub": ("torch.hub", "load"),
    "numpy": ("numpy", "load"),
    "dotted": ("collections", "OrderedDict.__init__.__globals__"),
    "our own": ("fx.interop.plain_pickle", "Reader"),
    "torch attribute": ("torch", "_utils"),
    "module of a dtype": ("torch", "manual_seed"),
}


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_calls_are_refused_by_name(tmp_path, call, zipped):
    mark = tmp_path / "ran"
    code = name(*call) + P.MARK + text(f"touch {mark}") + P.TUPLE + P.REDUCE
    if zipped:
        archive(tmp_path / "w", weights(code))
    else:
        head = io.BytesIO()
        torch.save({}, head, _use_new_zipfile_serialization=False)
        (tmp_path / "w").write_bytes(head.getvalue()[:137] + weights(code))
    refused(tmp_path / "w", f"it asks for {call[0]}.{call[1]}, which is code; if you trust")
    assert not mark.exists()


@pytest.mark.parametrize("protocol", [0, 1, 2, 4, 5])
def test_objects_that_reduce_to_calls(tmp_path, protocol):
    class Harm:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    archive(tmp_path / "w", pickle.dumps({"a": Harm()}, protocol))
    refused(tmp_path / "w", "which is code|is damaged, or more than data")
    (tmp_path / "bare").write_bytes(pickle.dumps(Harm(), max(protocol, 2)))
    refused(tmp_path / "bare", "which is code|is damaged, or more than data")
    assert not (tmp_path / "ran").exists()


ORDERED = name("collections", "OrderedDict")
MISUSE = {
    "call of a dtype": name("torch", "float32") + P.EMPTY_TUPLE + P.REDUCE,
    "call of a string": text("a") + P.EMPTY_TUPLE + P.REDUCE,
    "new object": ORDERED + P.EMPTY_TUPLE + P.NEWOBJ,
    "instance": P.MARK + P.INST + b"posix\nsystem\n",
    "object": P.MARK + ORDERED + P.OBJ,
    "extension": P.EXT1 + b"\x01",
    "attributes of a function": name("torch._utils", "_rebuild_tensor_v2") + P.EMPTY_DICT + P.BUILD,
    "slots": ORDERED + P.NONE + P.EMPTY_DICT + P.TUPLE2 + P.BUILD,
    "attributes of a tensor": tensor() + P.EMPTY_DICT + P.BUILD,
    "item of a tensor": tensor() + number(0) + number(1) + P.SETITEM,
    "append to a tensor": tensor() + number(0) + P.APPEND,
    "deep key": P.EMPTY_DICT + P.EMPTY_TUPLE + P.TUPLE1 * 100_000 + P.NONE + P.SETITEM,
    "colliding key": P.EMPTY_DICT + number(2**61 - 1) + P.NONE + P.SETITEM,
    "set": P.EMPTY_SET,
    "frozen set": P.MARK + P.FROZENSET,
    "bytearray of 2^60": P.BYTEARRAY8 + struct.pack("<Q", 2**60),
    "text of 2^31": P.BINUNICODE + struct.pack("<I", 2**31),
    "bytes of 2^31": P.BINBYTES + struct.pack("<I", 2**31),
    "frame of 2^60": P.FRAME + struct.pack("<Q", 2**60),
    "number of 2^31 bytes": P.LONG4 + struct.pack("<i", 2**31 - 1),
    "text persistent id": P.PERSID + b"storage\n",
    "persistent id": text("storage") + P.BINPERSID,
    "stack underflow": P.TUPLE3,
    "unmarked": P.APPENDS,
    "memo": P.LONG_BINGET + struct.pack("<I", 2**31),
    "odd items": P.EMPTY_DICT + P.MARK + text("a") + P.SETITEMS,
    "pairs": ORDERED + P.EMPTY_LIST + number(1) + P.APPEND + P.TUPLE1 + P.REDUCE,
    "size of a string": name("torch", "Size") + text("ab") + P.TUPLE1 + P.REDUCE,
    "device of a tensor": name("torch", "device") + tensor() + P.TUPLE1 + P.REDUCE,
    "surrogate": P.BINUNICODE + struct.pack("<I", 1) + b"\xff",
}


@pytest.mark.parametrize("code", MISUSE.values(), ids=MISUSE)
def test_what_plain_data_does_not_need_is_refused(tmp_path, code):
    archive(tmp_path / "w", weights(code))
    refused(tmp_path / "w", "w: ")


VIEWS = {
    "beyond": (tensor(size=(5,)), "reaches to number 4 of a storage of 4"),
    "offset": (tensor(offset=1), "reaches to number 4 of a storage of 4"),
    "stride": (tensor(size=(2,), stride=(4,)), "reaches to number 4 of a storage of 4"),
    "negative": (tensor(offset=-1), "is not a number from 0 on"),
    "negative stride": (tensor(stride=(-1,)), "is not a number from 0 on"),
    "huge": (tensor(size=(2**62,)), "is not a number from 0 on"),
    "overflow": (tensor(size=(2**33, 2**33), stride=(0, 0)), "are larger than the file"),
    "expanded": (tensor(size=(2**40,), stride=(0,)), "are larger than the file"),
    "axes": (tensor(size=(1,) * 65, stride=(1,) * 65), "has 65 axes"),
    "ragged": (tensor(size=(2, 2)), "zip"),
    "declared": (tensor(count=5), "storage '0' declares 20 bytes and has 16"),
    "declared huge": (tensor(count=2**59), "declares 2305843009213693952 bytes and has 16"),
    "wider": (tensor(kind="DoubleStorage"), "storage '0' declares 32 bytes and has 16"),
    "unknown": (tensor(key="1"), "the record 'w/data/1' is not in it"),
    "path": (tensor(key="../../../etc/passwd"), "the record 'w/data/../../../etc/passwd' is not"),
    "absolute": (tensor(key="/etc/passwd"), "the record 'w/data//etc/passwd' is not"),
    "kind": (tensor(kind="QInt8Storage"), "asks for torch.QInt8Storage"),
}


@pytest.mark.parametrize(("code", "match"), VIEWS.values(), ids=VIEWS)
def test_views_are_held_to_their_storage(tmp_path, code, match):
    archive(tmp_path / "w", weights(code))
    refused(tmp_path / "w", match)


def test_many_views_of_one_storage_are_no_bomb(tmp_path):
    """Each fits into the file; all of them, copied, would be a hundred times as large."""
    data = bytes(2**20)
    views = [tensor(offset=i, size=(2**18 - 100,), count=2**18) for i in range(100)]
    archive(tmp_path / "w", weights(*views), data=data)
    refused(tmp_path / "w", "its tensors, which overlap or repeat numbers, are larger")
    alike = [tensor(size=(2**18,), count=2**18)] * 100
    found = read_weights(archive(tmp_path / "tied", weights(*alike), data=data))
    assert len(found) == 100 and len({id(array) for array in found.values()}) == 1


def test_zip_bombs(tmp_path):
    archive(tmp_path / "w", weights() + bytes(2**26), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "w").stat().st_size < 2**17
    refused(tmp_path / "w", "the record 'w/data.pkl' is compressed or encrypted")
    archive(tmp_path / "p", weights() + bytes(2**26 + 1))
    refused(tmp_path / "p", "its pickle has 67108871 bytes, more than 67108864")


@pytest.mark.parametrize(
    ("at", "field", "value"),
    [
        ("end", 12, 2**31),  # the directory's size
        ("end", 16, 2**31),  # its offset
        ("directory", 24, 2**31),  # a record's size
        ("directory", 42, 2**31),  # a record's offset
        ("directory", 42, 3),
    ],
)
def test_directories_that_lie(tmp_path, at, field, value):
    path = archive(tmp_path / "w", weights(tensor()))
    whole = bytearray(path.read_bytes())
    start = whole.rindex(b"PK\x05\x06" if at == "end" else b"PK\x01\x02")
    struct.pack_into("<I", whole, start + field, value)
    if field == 24:  # the size as stored, too, which must agree
        struct.pack_into("<I", whole, start + 20, value)
    path.write_bytes(whole)
    refused(path, "is cut short or damaged|does not lie in it whole")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_records_and_archives_of_another_kind(tmp_path):
    with zipfile.ZipFile(tmp_path / "w", "w") as file:
        file.writestr("w/data.pkl", weights())
        file.writestr("w/data.pkl", weights())
    refused(tmp_path / "w", "two records in it have one name")
    np.savez(tmp_path / "w.npz", a=np.ones(2))
    refused(tmp_path / "w.npz", "a zip archive of something else: there is no data.pkl")
    (tmp_path / "p").write_bytes(pickle.dumps({"a": 1}, 2))
    refused(tmp_path / "p", "it is a pickle, but not one of torch.save")


@pytest.mark.parametrize("zipped", [True, False], ids=["zip", "legacy"])
def test_cut_and_flipped_files_raise_value_errors_only(tmp_path, zipped):
    whole = io.BytesIO()
    torch.save(torch.nn.Linear(3, 2).state_dict(), whole, _use_new_zipfile_serialization=zipped)
    data, path = whole.getvalue(), tmp_path / "w"
    rng = np.random.default_rng(0)
    for cut in rng.integers(1, len(data), 40):
        path.write_bytes(data[:cut])
        with pytest.raises(ValueError, match="w: |is not a whole"):
            read_weights(path)
    for place in rng.integers(2, len(data), 150):
        path.write_bytes(data[:place] + bytes([data[place] ^ 0x41]) + data[place + 1 :])
        try:
            read_weights(path)
        except ValueError:
            pass


def test_legacy_storages_that_lie(tmp_path):
    file = io.BytesIO()
    torch.save({"a": torch.ones(2)}, file, _use_new_zipfile_serialization=False)
    data = file.getvalue()
    tail = data[:-16] + struct.pack("<q", 2**60) + data[-8:]
    (tmp_path / "w").write_bytes(tail)
    refused(tmp_path / "w", "declares 4611686018427387904 bytes, more than the file has")


def test_reading_needs_no_torch(tmp_path):
    torch.save({"a": torch.ones(2)}, tmp_path / "w")
    code = (
        "import sys; sys.modules['torch'] = None; import fx;"
        f"print(fx.read_weights({str(tmp_path / 'w')!r})['a'], 'jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "[1. 1.] False\n", done.stderr


def test_damage_in_the_pickle_is_found_by_its_checksum(tmp_path):
    path = archive(tmp_path / "w", weights(tensor()))
    whole = path.read_bytes()
    assert zlib.crc32(weights(tensor())).to_bytes(4, "little") in whole
    path.write_bytes(whole.replace(b"w0", b"w1"))
    refused(path, "the record 'w/data.pkl' is damaged")
