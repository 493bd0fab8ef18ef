"""CuPy without a GPU: NumPy arrays that offer no more than CuPy's, kernels by g++.

What CuPy 14 refuses is refused here: functions that are given NumPy's arrays, `device=`
of functions that make arrays, and the array's own `__array_namespace__`.
"""

import types
from contextlib import nullcontext

import numpy as np


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
    return value.view(ndarray) if isinstance(value, np.ndarray) else np.asarray(value)


def asarray(values, dtype=None, order=None):
    return np.array(values, dtype=dtype, copy=True, order=order or "C").view(ndarray)


def asnumpy(array):
    return array.get()


def _made_by(function):
    def make(shape, dtype=float, order="C"):
        return function(shape, dtype, order=order).view(ndarray)

    return make


def _wrapped(function):
    def call(*arguments, **options):
        result = function(*map(_on_host, arguments), **options)
        return result.view(ndarray) if isinstance(result, np.ndarray) else result

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

    def __init__(self, *, non_blocking=False):
        super().__init__(self)

    def synchronize(self):
        pass


def _fake_cuda():
    """Return the part of CuPy that deals with devices: there is one."""
    properties = {"uuid": bytes(16), "totalGlobalMem": 2**32}
    runtime = types.SimpleNamespace(
        CUDARuntimeError=RuntimeError,
        getDeviceCount=lambda: 1,
        getDeviceProperties=lambda number: properties,
        deviceGetPCIBusId=lambda number: "0000:01:00.0",
        memGetInfo=lambda: (2**31, 2**32),
    )
    return types.SimpleNamespace(
        Device=lambda number: nullcontext(nullcontext()),
        MemoryPool=_Pool,
        PinnedMemoryPool=_Pool,
        Stream=_Stream,
        get_current_stream=_Stream,
        memory=types.SimpleNamespace(OutOfMemoryError=MemoryError),
        runtime=runtime,
        using_allocator=lambda allocator: nullcontext(),
    )


def fake_cupy(compile_kernel):
    """Return the module; `compile_kernel(source, name)` makes its kernels."""
    module = types.ModuleType("cupy")
    module.ndarray = ndarray
    module.asarray = module.array = asarray
    module.asnumpy = asnumpy
    module.cuda = _fake_cuda()
    module.empty, module.ones = _made_by(np.empty), _made_by(np.ones)
    module.arange = lambda *bounds, dtype: np.arange(*bounds, dtype=dtype).view(ndarray)
    module.RawKernel = lambda source, name, options: compile_kernel(source, name)
    for name in "any ascontiguousarray astype clip concat full_like ones_like".split():
        setattr(module, name, _wrapped(getattr(np, name)))
    for name in "repeat reshape round sort stack take where zeros_like".split():
        setattr(module, name, _wrapped(getattr(np, name)))
    for name in "isdtype iinfo finfo uint8 uint32 int32 int64 float32 float64".split():
        setattr(module, name, getattr(np, name))
    return module
