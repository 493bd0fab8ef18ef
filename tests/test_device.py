"""The backend of CuPy over a stand-in for CuPy that is as strict about copies."""

import sys
from contextlib import contextmanager, nullcontext
from types import SimpleNamespace

import numpy as np
import pytest

from dask_pyramid import device


class Card:
    """An array as CuPy's: copies go through `set` and `get`, contiguous ones only."""

    def __init__(self, values):
        self.values = values

    def __getitem__(self, index):
        return Card(self.values[index])

    def set(self, values, stream):
        assert self.values.flags.c_contiguous
        assert values.shape == self.values.shape
        stream.log.append("set")
        self.values[...] = values

    def get(self, stream, out, blocking):
        assert out.flags.c_contiguous
        assert self.values.flags.c_contiguous
        assert not blocking
        stream.log.append("get")
        out[...] = self.values


class Stream:
    current = None

    def __init__(self, non_blocking):
        assert non_blocking
        self.log = []

    def __enter__(self):
        Stream.current = self

    def __exit__(self, *_):
        Stream.current = None

    def synchronize(self):
        self.log.append("synchronize")


class Pool:
    def __init__(self):
        self.log = []

    def set_limit(self, size):
        self.limit = size

    def malloc(self, size):
        self.log.append(size)
        return bytearray(size)

    def free_all_blocks(self):
        self.log.append("free")


class CudaError(RuntimeError):
    pass


def cupy_with(count):
    """Return a module with so many GPUs; with -1 the driver fails."""

    @contextmanager
    def using_allocator(malloc):
        cuda.allocator = malloc
        yield
        cuda.allocator = None

    def devices():
        if count < 0:
            raise CudaError("cudaErrorInsufficientDriver")
        return count

    cuda = SimpleNamespace(
        memory=SimpleNamespace(OutOfMemoryError=MemoryError),
        runtime=SimpleNamespace(
            CUDARuntimeError=CudaError,
            getDeviceCount=devices,
            getDeviceProperties=lambda i: {"uuid": b"%d" % i, "totalGlobalMem": 2**30},
            deviceGetPCIBusId=lambda i: f"0000:0{i}",
        ),
        Device=lambda number: nullcontext(number),
        MemoryPool=Pool,
        PinnedMemoryPool=Pool,
        Stream=Stream,
        allocator=None,
        get_current_stream=lambda: Stream.current,
        using_allocator=using_allocator,
    )
    return SimpleNamespace(
        cuda=cuda, empty=lambda shape, dtype: Card(np.full(shape, 7, dtype))
    )


@pytest.fixture
def cupy(monkeypatch):
    module = cupy_with(2)
    monkeypatch.setitem(sys.modules, "cupy", module)
    return module


def backend_of(**given):
    options = {"limit": 2**20, "places": 2, "host_bytes": 4096, "devices": [0, 1]}
    return device.CupyBackend(**options | given)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_planes_go_up_and_come_down_in_the_order_of_the_stream_of_a_turn(cupy, axis):
    backend = backend_of()
    values = np.arange(4 * 5 * 6, dtype="uint16").reshape(4, 5, 6)
    part = (slice(None),) * axis + (slice(1, 3),)
    back = np.zeros_like(values)
    with backend.turn():
        stream = Stream.current
        assert cupy.cuda.allocator is not None
        mirror = backend.mirror(values)
        backend.upload(values[part], mirror[part], axis=axis)
        backend.download(mirror[part], back[part], axis=axis)
        n = int(np.prod(values.shape[:axis]))
        assert stream.log == ["set"] * n + ["get"] * n
    assert stream.log[-1] == "synchronize"
    np.testing.assert_array_equal(back[part], values[part])
    assert back.sum() == values[part].sum()


def test_copies_end_before_the_memory_that_they_copy_also_after_an_error(cupy):
    backend = backend_of(places=1, devices=[0])
    stream = backend._places[0].stream
    for n in (1, 2):  # the place is given back
        with pytest.raises(ZeroDivisionError), backend.turn():
            raise ZeroDivisionError
        assert stream.log == ["synchronize"] * n


def test_each_place_has_its_part_of_the_limit_and_gpus_take_turns(cupy):
    backend = backend_of()
    assert [place.number for place in backend._places] == [0, 1, 0, 1]
    assert {place.pool.limit for place in backend._places} == {2**19}
    backend.free()
    assert all(place.pool.log == ["free"] for place in backend._places)


def test_all_host_buffers_are_of_one_size_so_that_they_serve_again(cupy):
    backend = backend_of()
    for shapes in ([(3, 4), (2, 2)], [(5, 5), (0, 3)]):
        arrays = backend.host_memory(shapes, np.dtype("float32"))
        assert [array.shape for array in arrays] == shapes
        for i, array in enumerate(arrays):
            array[...] = i
        assert all((array == i).all() for i, array in enumerate(arrays))
    assert backend._pinned.log == [4096, 4096]


def test_gpus_are_told_apart_and_none_is_an_error(cupy, monkeypatch):
    one, other = device.CupyBackend.gpus()
    assert one.uuid != other.uuid
    assert one.memory == 2**30
    for count, message in ((0, "there is no GPU"), (-1, "InsufficientDriver.*pip")):
        monkeypatch.setitem(sys.modules, "cupy", cupy_with(count))
        with pytest.raises(device.NoGpuError, match=message):
            device.CupyBackend.gpus()
