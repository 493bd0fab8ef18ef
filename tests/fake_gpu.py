"""A GPU that is none: strict arrays on a device of their own, counted and limited."""

import threading
import weakref
from contextlib import contextmanager

import array_api_strict as strict
import numpy as np

DEVICE = strict.Device("device1")


class OutOfFakeMemoryError(Exception):
    """What the fake device raises."""


class FakeBackend:
    """Mirrors in arrays that NumPy cannot read, and that count towards a limit.

    An array of `array_api_strict` on a second device refuses to become one of NumPy's,
    and to be computed with one of another device. Taking part in a calculation is how
    the kernels use memory; mirrors are what is counted here.
    """

    out_of_memory = (OutOfFakeMemoryError,)

    def __init__(self, *, limit=2**62, places=2, reserve=0, fail=()):
        self.limit, self.fail = limit, set(fail)
        self.held = self.peak = self.turns = self.most_turns = self.mirrors = 0
        self.uploaded = self.downloaded = self.freed = 0
        self.reserve = reserve
        self.room = threading.BoundedSemaphore(places)
        self.lock = threading.Lock()

    def host_memory(self, shapes, dtype):
        return [np.full(shape, 1, dtype) for shape in shapes]

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
