"""Host and device memory; the only module that knows CuPy by name.

Units are read, stored and measured in host memory. What lies between, the reductions,
goes through a `Backend`: on the host it hands back the very same memory, on a GPU it
mirrors planes, a few units at a time. CuPy is imported when a GPU is asked for.
"""

from __future__ import annotations

import itertools
import math
import platform
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import lru_cache
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from contextlib import AbstractContextManager

__all__ = [
    "HOST",
    "Backend",
    "CupyBackend",
    "Gpu",
    "Host",
    "NoGpuError",
    "compile_kernel",
    "namespace",
    "on_gpu",
    "to_host",
]

Array = np.ndarray[Any, Any]

_INSTALL = "pip install 'dask-pyramid[gpu-cuda12]' or 'dask-pyramid[gpu-cuda13]'"


class NoGpuError(ValueError):
    """There is no GPU, or no CuPy to use it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A GPU that a process can use."""

    uuid: str
    """What tells it from others, of other machines too."""
    memory: int
    """Bytes that it has."""


class Backend(Protocol):
    """Where the planes of a unit are reduced; safe to use from threads."""

    @property
    def out_of_memory(self) -> tuple[type[BaseException], ...]:
        """What is raised if the device has no memory left."""
        ...

    def host_memory(
        self, shapes: Sequence[Sequence[int]], dtype: np.dtype[Any]
    ) -> list[Array]:
        """Return the host buffers of a unit, not filled, quick to copy from."""
        ...

    def turn(self) -> AbstractContextManager[object]:
        """Wait for a place on a device; at its end all that was begun there is done."""
        ...

    def mirror(self, values: Array) -> Any:
        """Return device memory for what has the shape of `values`, not filled."""
        ...

    def upload(self, values: Array, mirror: Any, *, axis: int) -> None:
        """Begin to fill device memory, contiguous from `axis` on."""
        ...

    def download(self, mirror: Any, values: Array, *, axis: int) -> None:
        """Begin to fill host memory, contiguous from `axis` on."""
        ...

    def free(self) -> None:
        """Give back what is held in reserve."""
        ...


class Host:
    """The host itself: a mirror is what it mirrors, and nothing is copied."""

    out_of_memory: tuple[type[BaseException], ...] = ()

    def host_memory(
        self, shapes: Sequence[Sequence[int]], dtype: np.dtype[Any]
    ) -> list[Array]:
        """Return new arrays."""
        return [np.empty(shape, dtype) for shape in shapes]

    def turn(self) -> AbstractContextManager[object]:
        """Return at once: threads share nothing here."""
        return nullcontext()

    def mirror(self, values: Array) -> Array:
        """Return the same memory."""
        return values

    def upload(self, values: Array, mirror: Any, *, axis: int) -> None:
        """Do nothing."""

    def download(self, mirror: Any, values: Array, *, axis: int) -> None:
        """Do nothing."""

    def free(self) -> None:
        """Do nothing."""


HOST = Host()
"""The backend of units that are not told otherwise."""


@dataclass(frozen=True, slots=True)
class _Place:
    """Room for one unit at a time on a GPU."""

    number: int
    stream: Any
    pool: Any


class CupyBackend:
    """GPUs of this process, through CuPy.

    A unit waits for a place while it has something to do on the device only.

    Every place has a stream and a memory pool of its own, so that units do not wait for
    each other's kernels, and none takes the memory of another. CuPy's own pool is left
    to whoever uses CuPy beside.

    Parameters
    ----------
    limit : int
        Bytes of each GPU that may be used.
    places : int
        Units at a time on each GPU.
    host_bytes : int
        What the host buffers of any unit take at most. As much is pinned for each, so
        that the memory of one unit serves the next.
    devices : sequence of int
        Numbers of the GPUs, in the order in which they are taken.
    """

    def __init__(
        self, *, limit: int, places: int, host_bytes: int, devices: Sequence[int]
    ) -> None:
        import cupy

        self._cupy = cupy
        self.out_of_memory: tuple[type[BaseException], ...] = (
            cupy.cuda.memory.OutOfMemoryError,
        )
        self._host_bytes = host_bytes
        self._pinned = cupy.cuda.PinnedMemoryPool()
        self._places = [
            self._place(number, limit // places)
            for _, number in itertools.product(range(places), devices)
        ]
        self._free: SimpleQueue[_Place] = SimpleQueue()
        for place in self._places:
            self._free.put(place)

    def _place(self, number: int, limit: int) -> _Place:
        cuda = self._cupy.cuda
        with cuda.Device(number):
            pool = cuda.MemoryPool()
            pool.set_limit(size=limit)
            return _Place(number, cuda.Stream(non_blocking=True), pool)

    @staticmethod
    def gpus() -> tuple[Gpu, ...]:
        """Return the GPUs that this process can use.

        Raises
        ------
        NoGpuError
            If there is none; the message says why, and what to install.
        """
        try:
            import cupy
        except ImportError as error:
            raise NoGpuError(f"there is no CuPy ({error}); {_INSTALL}") from error
        runtime = cupy.cuda.runtime
        try:
            found = [
                runtime.getDeviceProperties(i) for i in range(runtime.getDeviceCount())
            ]
        except runtime.CUDARuntimeError as error:
            raise NoGpuError(
                f"there is no GPU ({error}); with one and another CUDA, {_INSTALL}"
            ) from error
        if not found:
            raise NoGpuError("there is no GPU")
        return tuple(
            Gpu(
                # Parts of a card share its place on the bus, but not its UUID.
                uuid=f"{platform.node()} {runtime.deviceGetPCIBusId(i)} "
                f"{one.get('uuid', b'')!r}",
                memory=int(one["totalGlobalMem"]),
            )
            for i, one in enumerate(found)
        )

    def host_memory(
        self, shapes: Sequence[Sequence[int]], dtype: np.dtype[Any]
    ) -> list[Array]:
        """Return parts of one pinned block."""
        sizes = [math.prod(shape) for shape in shapes]
        n_bytes = max(self._host_bytes, sum(sizes) * dtype.itemsize)
        flat = np.frombuffer(self._pinned.malloc(n_bytes), dtype, sum(sizes))
        cuts = np.split(flat, list(itertools.accumulate(sizes))[:-1])
        return [part.reshape(shape) for part, shape in zip(cuts, shapes, strict=True)]

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for a place, make its GPU, stream and pool this thread's."""
        place = self._free.get()
        cuda = self._cupy.cuda
        allocator = cuda.using_allocator(place.pool.malloc)
        try:
            with cuda.Device(place.number), allocator, place.stream:
                try:
                    yield
                finally:  # copies end before the memory that they copy
                    place.stream.synchronize()
        finally:
            self._free.put(place)

    def free(self) -> None:
        """Give all that is unused back to the GPUs and to the host."""
        for place in self._places:
            with self._cupy.cuda.Device(place.number):
                place.pool.free_all_blocks()
        self._pinned.free_all_blocks()

    def mirror(self, values: Array) -> Any:
        """Return memory of the pool of this turn."""
        return self._cupy.empty(values.shape, values.dtype)

    def upload(self, values: Array, mirror: Any, *, axis: int) -> None:
        """Copy in the order of the stream."""
        stream = self._cupy.cuda.get_current_stream()
        for index in np.ndindex(*values.shape[:axis]):
            mirror[index].set(values[index], stream=stream)

    def download(self, mirror: Any, values: Array, *, axis: int) -> None:
        """Copy in the order of the stream."""
        stream = self._cupy.cuda.get_current_stream()
        for index in np.ndindex(*values.shape[:axis]):
            mirror[index].get(stream=stream, out=values[index], blocking=False)


def to_host(block: Any) -> Array:
    """Return a block in host memory.

    Parameters
    ----------
    block : array
        NumPy or CuPy array, or anything that `numpy.asarray` takes.

    Returns
    -------
    numpy.ndarray
        The block itself if it is on the host already.
    """
    if on_gpu(block):
        host: Array = block.get()
        return host
    return np.asarray(block)


def on_gpu(block: Any) -> bool:
    """Return whether a block is in the memory of a GPU; CuPy is not imported."""
    return type(block).__module__.partition(".")[0] == "cupy"


class _CupyFunctions:
    """CuPy's functions; those that make arrays take `device=`, as CuPy's do not."""

    def __init__(self) -> None:
        import cupy

        self._cupy = cupy

    def __getattr__(self, name: str) -> Any:
        return getattr(self._cupy, name)

    def asarray(
        self, values: Any, *, dtype: Any = None, device: Any = None, copy: bool = False
    ) -> Any:
        make = self._cupy.array if copy else self._cupy.asarray
        with device or nullcontext():
            return make(values, dtype=dtype)

    def empty(self, shape: Any, *, dtype: Any, device: Any) -> Any:
        with device:
            return self._cupy.empty(shape, dtype)

    def ones(self, shape: Any, *, dtype: Any, device: Any) -> Any:
        with device:
            return self._cupy.ones(shape, dtype)


def namespace(block: Any) -> Any:
    """Return the functions of the array API for a block.

    Arrays of CuPy do not name theirs, up to version 14.
    """
    return _CupyFunctions() if on_gpu(block) else block.__array_namespace__()


@lru_cache(maxsize=256)
def compile_kernel(source: str, name: str) -> Callable[..., None]:
    """Return a CUDA kernel, compiled when it is first launched on a device.

    Parameters
    ----------
    source : str
        CUDA text; the kernel has C linkage.
    name : str
        Name of the kernel.

    Returns
    -------
    callable
        ``kernel(grid, block, arguments)``; arrays on the device are passed by address,
        NumPy records by value. Binaries are kept on disk by CuPy.
    """
    import cupy

    kernel: Callable[..., None] = cupy.RawKernel(source, name, options=("-std=c++17",))
    return kernel
