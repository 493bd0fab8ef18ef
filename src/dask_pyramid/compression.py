"""Names of compressors -> codecs of Zarr v2 and v3.

For v3 a checksum follows: without one a flipped bit gives wrong pixels and no error.
"""

from __future__ import annotations

from typing import Any

from dask_pyramid.configuration import configured

__all__ = ["find_codecs"]


def find_codecs(compressors: Any, version: str) -> Any:
    """Return codecs for `zarr.Group.create_array`.

    Parameters
    ----------
    compressors : object
        A name, None for the configured one, or codecs as in zarr-python, which are
        handed on.
    version : str
        Version of OME-Zarr: 0.4 takes codecs of Zarr v2, which has no checksums.

    Returns
    -------
    object
        What `create_array` takes.

    Raises
    ------
    ValueError
        If the name is unknown.

    Examples
    --------
    >>> find_codecs("zstd", "0.5")
    (ZstdCodec(level=3, checksum=True),)
    """
    compressors = configured("compressors", compressors)
    if not isinstance(compressors, str):
        return compressors
    named = _v2_codecs() if version == "0.4" else _v3_codecs()
    if compressors not in named:
        raise ValueError(
            f"compressors must be one of {', '.join(named)}, or codecs as in "
            f"zarr-python, got {compressors!r}"
        )
    return named[compressors]


def _v3_codecs() -> dict[str, Any]:
    from zarr.codecs import BloscCodec, Crc32cCodec, GzipCodec, ZstdCodec

    check = Crc32cCodec()
    return {
        "blosc": (BloscCodec(cname="zstd", clevel=3, shuffle="shuffle"), check),
        "zstd": (ZstdCodec(level=3, checksum=True),),
        "lz4": (BloscCodec(cname="lz4", clevel=5, shuffle="shuffle"), check),
        "gzip": (GzipCodec(level=5),),
        "none": (check,),
    }


def _v2_codecs() -> dict[str, Any]:
    from numcodecs import Blosc, GZip, Zstd

    return {
        "blosc": Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE),
        "zstd": Zstd(level=3),
        "lz4": Blosc(cname="lz4", clevel=5, shuffle=Blosc.SHUFFLE),
        "gzip": GZip(level=5),
        "none": None,
    }
