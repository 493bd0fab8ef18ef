"""The checksum of records is that of zlib, whoever computes it."""

import zlib

import pytest

from dask_pyramid.checksums import crc32


@pytest.mark.parametrize("data", [b"", b"abc", bytes(range(256)) * 4097])
def test_checksums_are_those_of_zlib_in_parts_too(data):
    assert crc32(data) == zlib.crc32(data)
    assert crc32(data[5:], crc32(data[:5])) == zlib.crc32(data)
    assert crc32(memoryview(data)) == zlib.crc32(data)
