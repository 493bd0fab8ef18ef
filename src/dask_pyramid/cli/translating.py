"""What errors call by the names of Python arguments, in the words of the command."""

from __future__ import annotations

import re

__all__ = ["in_options"]

# In this order: what stands first is longer. What lies in a path, a URL or quotes is
# the user's own and stays.
_WORDS = (
    (r"write_labels\(region=\)", "labels --region"),
    (r"add_levels\(replace=True\)", "add-levels --replace"),
    (r"\w+ \((dask-pyramid [^)]+)\)", r"\1"),
    (r"write_pyramid with (?=mode)", ""),
    (r"run_units and then finish_pyramid \((dask-pyramid [^)]+)\)", r"\1,"),
    (r"give unit= to open_image", "give --unit um"),
    (r"mode[= ]'(w-|w|a)'", r"--mode \1"),
    (r"version='([\d.]+)'", r"--ome-zarr-version \1"),
    (r"(replace|skip_nan|break_lock|anti_aliasing)=True", r"--\1"),
    (r"client='(\w+)'", r"--scheduler \1"),
    (r"(nodata|axes|axis|unit|device|viewer|labels)=(?=[,; ]|$)", r"--\1"),
    (r"(nodata|axes|axis|unit|device|viewer|labels)=", r"--\1 "),
    (r"storage_options", "--endpoint and --anonymous"),
    (r"region must be a slice or \(start, stop\)", "--region must be START:STOP"),
    (r"scale_factors", "--factors"),
    (r"compressors", "--compressor"),
    (r"(gpu_memory_limit|memory_limit|anti_aliasing|skip_nan)", r"--\1"),
    (r"write_pyramid", "dask-pyramid write"),
    (r"write_labels", "dask-pyramid labels"),
    (r"add_levels", "dask-pyramid add-levels"),
    (r"update_pyramid", "dask-pyramid update"),
    (r"run_units", "dask-pyramid units"),
    (r"finish_pyramid", "dask-pyramid finish"),
    (r"prepare_pyramid", "dask-pyramid plan"),
)
_TABLE = tuple(
    (re.compile(rf"(?<![\w./'\"=-]){pattern}(?![\w./])"), words)
    for pattern, words in _WORDS
)
_OPTION = re.compile(r"--\w+")


def in_options(text: str) -> str:
    """Return what is told of a call, as the command line says it.

    Examples
    --------
    >>> in_options("target must not exist, got 'a'; mode='w' replaces a pyramid")
    "target must not exist, got 'a'; --mode w replaces a pyramid"
    >>> in_options("skip_nan must be False, got True")
    '--skip-nan must be False, got True'
    """
    for pattern, words in _TABLE:
        text = pattern.sub(words, text)
    return _OPTION.sub(lambda found: found[0].replace("_", "-"), text)
