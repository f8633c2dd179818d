"""Weight files: our reader against coremltools' native writer, and against broken files."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness._coremltools import import_coremltools
from harness.errors import PackageError
from harness.mil.blob import BlobFile, decode_elements
from harness.mil.types import DataType

ROWS = {
    DataType.FLOAT16: ("write_fp16_data", np.float16),
    DataType.FLOAT32: ("write_float_data", np.float32),
    DataType.INT8: ("write_int8_data", np.int8),
    DataType.UINT8: ("write_uint8_data", np.uint8),
    DataType.INT16: ("write_int16_data", np.int16),
    DataType.UINT16: ("write_uint16_data", np.uint16),
    DataType.INT32: ("write_int32_data", np.int32),
    DataType.UINT32: ("write_uint32_data", np.uint32),
    DataType.INT4: ("write_int4_data", np.int8),
    DataType.UINT1: ("write_uint1_data", np.uint8),
    DataType.UINT2: ("write_uint2_data", np.uint8),
    DataType.UINT3: ("write_uint3_data", np.uint8),
    DataType.UINT4: ("write_uint4_data", np.uint8),
    DataType.UINT6: ("write_uint6_data", np.uint8),
}


def values(dtype: DataType, count: int) -> np.ndarray:
    rng = np.random.default_rng(count)
    if dtype.is_floating:
        return rng.standard_normal(count).astype(dtype.numpy)
    signed = dtype.value.startswith("int")
    low = -(1 << (dtype.bits - 1)) if signed else 0
    return rng.integers(low, low + (1 << dtype.bits), count).astype(dtype.numpy)


@pytest.mark.parametrize("count", [1, 7, 64, 1000])
@pytest.mark.parametrize("dtype", ROWS, ids=str)
def test_reads_what_coremltools_writes(tmp_path, dtype, count):
    import_coremltools()
    from coremltools.libmilstoragepython import _BlobStorageWriter

    method, _ = ROWS[dtype]
    written = values(dtype, count)
    writer = _BlobStorageWriter(str(tmp_path / "weight.bin"))
    first = writer.write_float_data(np.ones(3, np.float32))
    data = written.view(np.uint16) if dtype is DataType.FLOAT16 else written
    offset = getattr(writer, method)(np.ascontiguousarray(data))
    del writer
    file = BlobFile(tmp_path / "weight.bin")
    assert file.count == 2
    np.testing.assert_array_equal(file.read(offset, dtype, count), written, strict=True)
    np.testing.assert_array_equal(file.read(first, DataType.FLOAT32, 3), np.ones(3))


def blob_file(path, *, sentinel=0xDEADBEEF, code=2, size=12, start=128, version=2):
    data = struct.pack("<II56x", 1, version)
    data += struct.pack("<IIQQQ32x", sentinel, code, size, start, 0)
    path.write_bytes(data + np.arange(3, dtype=np.float32).tobytes())
    return path


def test_hand_made_file(tmp_path):
    file = BlobFile(blob_file(tmp_path / "w.bin"))
    np.testing.assert_array_equal(file.read(64, DataType.FLOAT32, 3), [0, 1, 2])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sentinel": 1}, "sentinel 0x1"),
        ({"code": 99}, "unknown element type 99"),
        ({"code": 1}, "holds fp16"),
        ({"size": 16}, "truncated"),
        ({"size": 2**64 - 1}, "truncated"),
        ({"start": 2**63}, "truncated"),
        ({"start": 0}, "truncated or broken"),
        ({"size": 8}, "3 elements of fp32 need 12"),
    ],
)
def test_broken_records(tmp_path, change, message):
    with pytest.raises(PackageError, match=message):
        BlobFile(blob_file(tmp_path / "w.bin", **change)).read(64, DataType.FLOAT32, 3)


def test_other_versions_are_refused(tmp_path):
    with pytest.raises(PackageError, match="says version 1"):
        BlobFile(blob_file(tmp_path / "w.bin", version=1))


def test_writing_to_an_array_leaves_the_file_alone(tmp_path):
    path = blob_file(tmp_path / "w.bin")
    before = path.read_bytes()
    BlobFile(path).read(64, DataType.FLOAT32, 3)[:] = 7
    assert path.read_bytes() == before


@given(st.lists(st.integers(0, 0xFFFF), min_size=1, max_size=50))
def test_bfloat16_is_the_upper_half_of_float32(patterns):
    data = np.array(patterns, "<u2")
    decoded = decode_elements(data.tobytes(), DataType.BFLOAT16, len(data))
    np.testing.assert_array_equal(decoded.view(np.uint32) >> 16, data)
    assert decoded.dtype == np.float32
