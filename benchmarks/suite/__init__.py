"""What is measured, as asv has it: classes with `time_`, `track_` and `peakmem_`.

`asv run` runs them, and so does ``python benchmarks/run.py``, which needs no asv. Two
variables of the environment choose what is run on: ``DASK_PYRAMID_BENCHMARK_SIZE``
(``full``, ``small``: an eighth, or ``toy``) and ``DASK_PYRAMID_BENCHMARK_FOLDER``,
where images are made and kept.
"""
