"""The IDX reader: every type and shape comes back, and no damaged file is taken for a good one."""

import gzip

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tinybn.data.idx import gunzip, parse_idx, read_idx
from tinybn.errors import DataError

CODES = {"u1": 0x08, "i1": 0x09, ">i2": 0x0B, ">i4": 0x0C, ">f4": 0x0D, ">f8": 0x0E}
LABELS = bytes([0, 0, 0x08, 1, 0, 0, 0, 3, 7, 2, 1])


def write_idx(array, stored):
    sizes = np.array(array.shape, ">u4").tobytes()
    return bytes([0, 0, CODES[stored], array.ndim]) + sizes + array.astype(stored).tobytes()


@given(st.data(), st.sampled_from(list(CODES)), st.booleans())
def test_round_trip(data, stored, zipped):
    dtype = np.dtype(stored).newbyteorder("=")
    array = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=0, max_dims=5, min_side=0, max_side=5)))
    content = write_idx(array, stored)
    back = parse_idx(gunzip(gzip.compress(content) if zipped else content, "file"), "file")
    assert back.dtype == dtype and back.dtype.isnative and back.flags.writeable and back.flags.c_contiguous
    np.testing.assert_array_equal(back, array)


@given(st.binary(max_size=64))
def test_any_bytes_are_read_or_refused(content):
    try:
        parse_idx(gunzip(content, "file"), "file")
    except DataError as error:
        assert "file" in str(error)


@given(st.integers(0, 10))
def test_every_cut_is_noticed(length):
    with pytest.raises(DataError, match="truncated"):
        parse_idx(LABELS[:length], "file")


@pytest.mark.parametrize("name", ["labels", "labels.gz"])
@pytest.mark.parametrize("zipped", [False, True])
def test_bytes_tell_about_gzip_not_the_name(tmp_path, name, zipped):
    path = tmp_path / name
    path.write_bytes(gzip.compress(LABELS) if zipped else LABELS)
    np.testing.assert_array_equal(read_idx(path), [7, 2, 1])
    np.testing.assert_array_equal(read_idx(str(path)), [7, 2, 1])


def test_gzip_of_several_streams(tmp_path):
    path = tmp_path / "labels"
    path.write_bytes(gzip.compress(LABELS[:5]) + gzip.compress(LABELS[5:]))
    np.testing.assert_array_equal(read_idx(path), [7, 2, 1])


ZIPPED = gzip.compress(LABELS)
DAMAGED = {
    "empty": (b"", "takes 4 bytes, the file has 0"),
    "magic": (b"\x01" + LABELS[1:], "expected 00 00, a type .* offset 0, found 01 00 08 01"),
    "type": (LABELS[:2] + b"\x0a" + LABELS[3:], "found 00 00 0a 01"),
    "header": (LABELS[:6], "axes end at offset 8, found 6 bytes"),
    "short": (LABELS[:-1], r"truncated: the header promises uint8 \(3,\), 11 bytes with its own 8, found 10"),
    "long": (LABELS + b"\0\0", "bytes too many from offset 11: .* 11 bytes .* found 13"),
    "absurd": (bytes([0, 0, 8, 3]) + b"\xff" * 8 + b"\0" * 4, "NumPy refuses"),
    "axes": (bytes([0, 0, 8, 200]) + b"\0\0\0\1" * 200 + b"x", "NumPy refuses"),
    "gzip cut": (ZIPPED[:-9], f"the gzip stream from offset 0 goes on .* at {len(ZIPPED) - 9} bytes"),
    "gzip head": (ZIPPED[:2], "goes on where the file ends, at 2 bytes"),
    "gzip sum": (ZIPPED[:-8] + b"\0" * 8, f"corrupt gzip stream: .* between offset 0 and {len(ZIPPED)}"),
    "gzip tail": (ZIPPED + b"tail", f"corrupt gzip stream: .* between offset {len(ZIPPED)} and {len(ZIPPED) + 4}"),
    "gzip tail of 1": (ZIPPED + b"\x1f", f"the gzip stream from offset {len(ZIPPED)} goes on"),
    "gzip of short": (gzip.compress(LABELS[:-1]), "found 10"),
}


@pytest.mark.parametrize("content, message", DAMAGED.values(), ids=DAMAGED)
def test_damaged_files_are_named(tmp_path, content, message):
    path = tmp_path / "some-labels"
    path.write_bytes(content)
    with pytest.raises(DataError, match=f"some-labels: .*{message}"):
        read_idx(path)


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="nothing-here"):
        read_idx(tmp_path / "nothing-here")


def test_corruption_is_located():
    content = bytearray(gzip.compress(np.random.default_rng(0).bytes(300_000)))
    content[150_000:200_000] = bytes(50_000)
    with pytest.raises(DataError, match=r"between offset \d+ and \d+ of") as raised:
        gunzip(bytes(content), "file")
    assert "offset 0 " not in str(raised.value)
