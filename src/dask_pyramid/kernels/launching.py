"""CUDA texts and how they are launched; what is launched is decided in `fused`.

A text is compiled when it is first needed, once for each set of constants; CuPy keeps
what it has compiled on disk. Numbers go to a kernel as one C struct, by value: nothing
waits for the device, and nothing is copied there but the weights of long filters.
"""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from dask_pyramid.device import compile_kernel, namespace
from dask_pyramid.kernels.generic import accumulator

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "TYPES",
    "alignment",
    "in_rows",
    "launch",
    "record",
    "source_of",
    "strides_of",
    "type_name",
    "working_dtype",
]

TYPES = {
    "b1": "unsigned char",
    "u1": "unsigned char",
    "u2": "unsigned short",
    "u4": "unsigned int",
    "u8": "unsigned long long",
    "i1": "signed char",
    "i2": "short",
    "i4": "int",
    "i8": "long long",
    "f4": "float",
    "f8": "double",
}
"""Names of data types in C, by their names in NumPy."""

# Words that a thread reads or writes at once are of 16 bytes at most.
_WORD = 16
_INT = 2**31


def type_name(dtype: np.dtype[Any]) -> str:
    """Return the name of a data type in `TYPES`."""
    return f"{dtype.kind}{dtype.itemsize}"


@lru_cache
def _text(name: str) -> str:
    folder = Path(__file__).parent / "cuda"
    parts = (folder / "numbers.cuh", folder / f"{name}.cu")
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)


def source_of(name: str, dtype: np.dtype[Any], constants: Mapping[str, object]) -> str:
    """Return the text of a kernel for one data type, with its constants."""
    defined: dict[str, object] = {"VALUE": TYPES[type_name(dtype)]}
    if dtype.kind == "b":
        defined |= {"KIND_BOOL": "", "HIGHEST": 1}
    elif dtype.kind == "f":
        defined |= {"KIND_FLOAT": ""}
    else:
        info = np.iinfo(dtype)
        # C knows no negative literals: the least of 64 bits is made of two.
        lowest = f"({info.min + 1}LL - 1)" if info.min else "0"
        highest = f"{info.max}{'U' if dtype.kind == 'u' else ''}LL"
        defined |= {"KIND_INTEGER": "", "LOWEST": lowest, "HIGHEST": highest}
    if working_dtype(dtype) == np.float32:
        defined |= {"NARROW": ""}
    defined |= constants
    lines = (f"#define {key} {value}" for key, value in defined.items())
    return "\n".join((*lines, _text(name)))


def working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the data type of the sums, as on the CPU."""
    real: type[np.floating[Any]] = accumulator(dtype, np)
    return np.dtype(real)


def launch(source: str, name: str, n_blocks: int, *, threads: int, args: Any) -> None:
    """Launch blocks of threads; returns before they have run."""
    if n_blocks >= _INT:
        raise ValueError(
            f"block must be cut into fewer than 2**31 pieces, got {n_blocks}; make it "
            "smaller"
        )
    compile_kernel(source, name)((n_blocks,), (threads,), args)


def record(*fields: tuple[str, Any]) -> np.ndarray[Any, Any]:
    """Return a C struct of int64, nested structs and arrays, to be passed by value."""
    described = []
    for name, value in fields:
        array = np.asarray(value, np.int64 if isinstance(value, int) else None)
        described.append((name, array.dtype, array.shape))
    struct = np.zeros(1, np.dtype(described, align=True))
    for name, value in fields:
        struct[name] = value
    return struct


def in_rows(block: Any, n_axes: int) -> Any:
    """Return a block as (outer, ...) with `n_axes` inner axes, its rows contiguous."""
    ahead = all(s >= 0 and s % block.itemsize == 0 for s in block.strides)
    if not ahead or block.strides[-1] != block.itemsize:
        block = namespace(block).ascontiguousarray(block)
    missing = n_axes - block.ndim
    if missing > 0:
        return block[(None,) * (missing + 1)]
    return block.reshape((-1, *block.shape[-n_axes:]))


def strides_of(block: Any) -> tuple[int, ...]:
    """Return the strides of all axes but the last, in voxels."""
    return tuple(stride // block.itemsize for stride in block.strides[:-1])


def alignment(block: Any) -> int:
    """Return the bytes of the largest word that begins with each row."""
    described = getattr(block, "__cuda_array_interface__", None)
    address = (described or block.__array_interface__)["data"][0]
    steps = [s for s, n in zip(block.strides, block.shape, strict=True) if n > 1]
    return math.gcd(_WORD, address, *steps[: len(steps) - (block.shape[-1] > 1)])
