"""CRC-32 of bytes, as `zlib` has it."""

try:  # ten times as fast; its wheels are for x86-64 and ARM alone
    from isal.isal_zlib import crc32
except ImportError:
    from zlib import crc32

__all__ = ["crc32"]
