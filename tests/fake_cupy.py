"""CuPy without a GPU: NumPy arrays that offer no more than CuPy's, kernels by g++.

What CuPy 14 refuses is refused here: functions that are given NumPy's arrays, `device=`
of functions that make arrays, and the array's own `__array_namespace__`. What is held
is counted, as by CuPy's pools: whole arrays, until nobody has a view of them.
"""

import ctypes
import threading
import types
import weakref
from contextlib import nullcontext

import numpy as np


class Memory:
    """How much all arrays take; beyond a limit there is no more."""

    def __init__(self):
        self.held = self.peak = self.refused = 0
        self.limit = float("inf")
        self._known = set()
        self._lock = threading.Lock()

    def count(self, array):
        """Count the array that owns the memory of a new one, if it is new, too."""
        while isinstance(array.base, np.ndarray):
            array = array.base
        with self._lock:
            if id(array) in self._known:
                return
            if self.held + array.nbytes > self.limit:
                self.refused += 1
                raise MemoryError("out of fake memory")
            self._known.add(id(array))
            self.held += array.nbytes
            self.peak = max(self.peak, self.held)
            weakref.finalize(array, self._drop, id(array), array.nbytes)

    def _drop(self, name, n_bytes):
        with self._lock:
            self._known.discard(name)
            self.held -= n_bytes


memory = Memory()


def _counted(array):
    result = array.view(ndarray)
    memory.count(result)
    return result


class ndarray(np.ndarray):  # noqa: N801  # CuPy's name
    __module__ = "cupy"
    device = nullcontext("the only device")

    @property
    def __array_namespace__(self):
        raise AttributeError("__array_namespace__")

    def __array_ufunc__(self, ufunc, method, *inputs, out=None, **options):
        inputs = [_on_host(value) for value in inputs]
        if out is not None:
            options["out"] = tuple(_on_host(value) for value in out)
        return _on_device(getattr(ufunc, method)(*inputs, **options))

    def __array_function__(self, function, kinds, arguments, options):
        raise TypeError("NumPy's functions are not CuPy's")

    @property
    def data(self):
        return types.SimpleNamespace(ptr=self.ctypes.data)

    def set(self, values, stream=None):
        self.view(np.ndarray)[...] = values

    def get(self, stream=None, out=None, blocking=True):
        if out is None:
            return np.array(self.view(np.ndarray))
        out[...] = self.view(np.ndarray)
        return out


def _on_host(value):
    """Return NumPy's view of an argument, of which none may be NumPy's already."""
    if isinstance(value, ndarray):
        return value.view(np.ndarray)
    if isinstance(value, np.ndarray) and value.ndim:
        raise TypeError("Unsupported type <class 'numpy.ndarray'>")
    if isinstance(value, list | tuple):
        return type(value)(_on_host(entry) for entry in value)
    return value


def _on_device(value):
    return _counted(np.asarray(value))


def asarray(values, dtype=None, order=None):
    return _counted(np.array(values, dtype=dtype, copy=True, order=order or "C"))


def asnumpy(array):
    return array.get()


def _made_by(function):
    def make(shape, dtype=float, order="C"):
        return _counted(function(shape, dtype, order=order))

    return make


def _wrapped(function):
    def call(*arguments, **options):
        result = function(*map(_on_host, arguments), **options)
        return _counted(result) if isinstance(result, np.ndarray) else result

    return call


class _Pool:
    """Memory, of which there is as much as is asked for."""

    def set_limit(self, size):
        self.limit = size

    def malloc(self, n_bytes):
        return bytearray(n_bytes)

    def free_all_blocks(self):
        pass


class _Stream(nullcontext):
    """A stream whose work is done when it is given."""

    ptr = 0

    def __init__(self, *, non_blocking=False):
        super().__init__(self)

    def synchronize(self):
        pass


class _Event:
    """A point in time; what is between two of them took a moment."""

    def record(self):
        pass

    def synchronize(self):
        pass


class _Pinned(bytearray):
    """Memory of the host with an address."""

    @property
    def ptr(self):
        return ctypes.addressof(ctypes.c_char.from_buffer(self))


def _fake_cuda():
    """Return the part of CuPy that deals with devices: there is one."""
    properties = {"name": b"none", "uuid": bytes(16), "totalGlobalMem": 2**32}
    runtime = types.SimpleNamespace(
        CUDARuntimeError=RuntimeError,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda number: properties,
        deviceGetPCIBusId=lambda number: "0000:01:00.0",
        memGetInfo=lambda: (2**32 - memory.held, 2**32),
        memcpyAsync=lambda to, of, n_bytes, kind, stream: ctypes.memmove(
            to, of, n_bytes
        ),
        memcpyHostToDevice=1,
        memcpyDeviceToHost=2,
    )
    return types.SimpleNamespace(
        Device=lambda number: nullcontext(nullcontext()),
        Event=_Event,
        MemoryPool=_Pool,
        PinnedMemoryPool=_Pool,
        Stream=_Stream,
        alloc_pinned_memory=_Pinned,
        get_elapsed_time=lambda begin, end: 1e-3,
        get_current_stream=_Stream,
        memory=types.SimpleNamespace(OutOfMemoryError=MemoryError),
        runtime=runtime,
        using_allocator=lambda allocator: nullcontext(),
    )


def fake_cupy(compile_kernel):
    """Return the module; `compile_kernel(source, name)` makes its kernels."""
    global memory  # arrays of one module count together
    module = types.ModuleType("cupy")
    module.memory = memory = Memory()
    module.ndarray = ndarray
    module.asarray = module.array = asarray
    module.asnumpy = asnumpy
    module.__version__ = "0"
    module.copyto = lambda to, of: to.set(of.get())
    module.get_default_memory_pool = _Pool
    module.cuda = _fake_cuda()
    module.empty, module.ones = _made_by(np.empty), _made_by(np.ones)
    module.arange = lambda *bounds, dtype: _counted(np.arange(*bounds, dtype=dtype))
    module.RawKernel = lambda source, name, options: compile_kernel(source, name)
    for name in "any ascontiguousarray astype clip concat empty_like full_like".split():
        setattr(module, name, _wrapped(getattr(np, name)))
    for name in "ones_like repeat reshape round sort stack take where".split():
        setattr(module, name, _wrapped(getattr(np, name)))
    module.zeros_like = _wrapped(np.zeros_like)
    for name in "concatenate tensordot einsum".split():  # dask asks for them
        setattr(module, name, _wrapped(getattr(np, name)))
    for name in "isdtype iinfo finfo uint8 uint32 int32 int64 float32 float64".split():
        setattr(module, name, getattr(np, name))
    return module
