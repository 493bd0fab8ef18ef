"""A GPU that is none: strict arrays on a device of their own, counted and limited."""

import threading
import weakref
from contextlib import contextmanager

import array_api_strict as strict
import numpy as np
import pytest

from dask_pyramid import device

DEVICE = strict.Device("device1")


class OutOfFakeMemoryError(Exception):
    """What the fake device raises."""


class FakeBackend:
    """Mirrors in arrays that NumPy cannot read, and that count towards a limit.

    An array of `array_api_strict` on a second device refuses to become one of NumPy's,
    and to be computed with one of another device. What kernels use beside is not
    counted.
    """

    out_of_memory = (OutOfFakeMemoryError,)

    def __init__(self, *, limit, places, host_bytes, devices, reserve=0, fail=()):
        self.places, self.host_bytes, self.devices = places, host_bytes, list(devices)
        self.limit, self.reserve, self.fail = limit, reserve, set(fail)
        self.held = self.peak = self.turns = self.most_turns = self.mirrors = 0
        self.uploaded = self.downloaded = self.freed = 0
        self.room = threading.BoundedSemaphore(places * len(self.devices))
        self.lock = threading.Lock()

    def host_memory(self, shapes, dtype):
        memory = [np.full(shape, 1, dtype) for shape in shapes]
        assert sum(array.nbytes for array in memory) <= self.host_bytes
        return memory

    @contextmanager
    def turn(self):
        with self.room:
            with self.lock:
                self.turns += 1
                self.most_turns = max(self.most_turns, self.turns)
            try:
                yield
            finally:
                with self.lock:
                    self.turns -= 1

    def mirror(self, values):
        assert self.turns, "device memory is taken in a turn only"
        with self.lock:
            self.mirrors += 1
            if self.mirrors in self.fail:
                raise OutOfFakeMemoryError
            if self.held + self.reserve + values.nbytes > self.limit:
                raise OutOfFakeMemoryError
            self.held += values.nbytes
            self.peak = max(self.peak, self.held)
        mirror = strict.asarray(np.full(values.shape, 3, values.dtype), device=DEVICE)
        weakref.finalize(mirror, self._drop, values.nbytes)
        return mirror

    def _drop(self, n_bytes):
        self.held -= n_bytes

    def upload(self, values, mirror, *, axis):
        for index in np.ndindex(*values.shape[:axis]):
            assert values[index].flags.c_contiguous
        self.uploaded += values.nbytes
        mirror[...] = strict.asarray(values, device=DEVICE)

    def download(self, mirror, values, *, axis):
        for index in np.ndindex(*values.shape[:axis]):
            assert values[index].flags.c_contiguous
        self.downloaded += values.nbytes
        values[...] = np.asarray(mirror.to_device(strict.Device("CPU_DEVICE")))

    def free(self):
        self.freed += 1
        self.reserve = 0


class FakeGpus(list):
    """What stands for `device.CupyBackend`: makes backends, and keeps them.

    Parameters
    ----------
    gpus : sequence of Gpu or str
        GPUs of this process, or why there is none.
    **fault
        `limit`, `reserve`, `fail` of the backends.
    """

    def __init__(self, gpus, **fault):
        super().__init__()
        self._gpus, self._fault = gpus, fault

    def gpus(self):
        if isinstance(self._gpus, str):
            raise device.NoGpuError(self._gpus)
        return tuple(self._gpus)

    def __call__(self, **given):
        self.append(FakeBackend(**given | self._fault))
        return self[-1]


GPU = device.Gpu(uuid="0", memory=2**32)


@contextmanager
def fake_gpus(gpus=(GPU,), **fault):
    """Let this process have other GPUs than it has."""
    with pytest.MonkeyPatch.context() as patch:
        made = FakeGpus(gpus, **fault)
        patch.setattr(device, "CupyBackend", made)
        yield made
