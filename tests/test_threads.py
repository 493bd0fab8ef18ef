"""No hidden threads: those of a process are counted while it writes."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr

from dask_pyramid.limits import default_workers

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="counts threads as Linux has them"
)

# The main thread, the one that counts, zarr's loop, and what starts processes.
CONSTANT = 8

COUNTED = """
import json, sys, threading
import psutil
import dask_pyramid as dp
from dask_pyramid import cost

cost._UNIT_VOXELS = 2**13
source, target, options = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])

def look():
    while not over.wait(0.002):
        for process in (here, *here.children(recursive=True)):
            try:
                now = process.num_threads()
            except psutil.NoSuchProcess:
                continue
            found[process.pid] = max(found.get(process.pid, 0), now)

if __name__ == "__main__":
    here, found, over = psutil.Process(), {}, threading.Event()
    watch = threading.Thread(target=look)
    watch.start()
    dp.write_pyramid(source, target, chunks=16, shards=False, progress=False, **options)
    over.set()
    watch.join()
    print(json.dumps([found.pop(here.pid), list(found.values())]))
"""

LIMITED = """
import json, os, sys

os.sched_getaffinity = lambda _: set(range(32))
os.environ.pop("RAYON_NUM_THREADS", None)
from dask_pyramid.sources.zarr_arrays import ZarrReader, limit_threads

if sys.argv[2:]:
    limit_threads(int(sys.argv[2]))
ZarrReader(sys.argv[1])
from zarr.core.sync import _get_executor

rust = os.environ.get("RAYON_NUM_THREADS")
print(json.dumps([_get_executor()._max_workers, rust]))
"""


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "in.zarr"
    array = zarr.create_array(path, shape=(96, 96, 96), chunks=(16,) * 3, dtype="uint8")
    array[...] = np.random.default_rng(0).integers(0, 255, array.shape, "uint8")
    return path


def ran(script, *arguments):
    done = subprocess.run(
        [sys.executable, *map(str, (script, *arguments))],
        capture_output=True,
        text=True,
        # One thread of NumPy's own for each core is not what is counted.
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def counted(source, **options):
    """Return the most threads of a process that writes, and of each of its children."""
    script = source.with_name("counted.py")
    script.write_text(COUNTED)
    options["mode"] = "w"
    return ran(script, source, source.with_name("out.zarr"), json.dumps(options))


def test_a_process_has_a_thread_for_each_unit_two_for_each_core_and_few_more(source):
    mine, _ = counted(source, client="threads", workers=6)
    assert mine <= 6 + 2 * default_workers() + CONSTANT


def test_a_worker_process_has_a_few_threads(source):
    _, workers = counted(source, client="processes", workers=2)
    assert len(workers) >= 2
    assert max(workers) <= 3 + CONSTANT


def test_codecs_of_a_worker_process_have_as_many_threads_as_it_runs_units(source):
    script = source.with_name("limited.py")
    script.write_text(LIMITED)
    assert ran(script, source) == [32, None]
    assert ran(script, source, 1) == [1, "1"]
    assert ran(script, source, 99) == [32, "32"]
