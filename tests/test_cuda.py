"""The CUDA text: NVRTC, which needs no GPU, compiles every kernel."""

import ctypes
import importlib.util
import re
from pathlib import Path

import numpy as np
import pytest

from dask_pyramid.geometry import Span, ceil_div
from dask_pyramid.kernels import fused, launching
from dask_pyramid.methods import METHODS
from test_fused import FUSED

pytestmark = pytest.mark.once

# From Turing to Blackwell; each version of NVRTC knows some of them.
ARCHITECTURES = (75, 80, 86, 89, 90, 100, 120)
MAIN = [("gaussian", "uint16"), ("gaussian", "float32"), ("mean", "uint8")]


class Nvrtc:
    """The compiler, called as a C library."""

    def __init__(self, path):
        self.library = ctypes.CDLL(str(path))

    def architectures(self):
        number = ctypes.c_int()
        assert self.library.nvrtcGetNumSupportedArchs(ctypes.byref(number)) == 0
        known = (ctypes.c_int * number.value)()
        assert self.library.nvrtcGetSupportedArchs(known) == 0
        return set(known)

    def compiled(self, source, *options):
        """Compile, and return what the compiler says."""
        return self._compiled(source, options)[0]

    def assembly(self, source, *options):
        """Compile, and return the PTX."""
        return self._compiled(source, options)[1]

    def _compiled(self, source, options):
        program = ctypes.c_void_p()
        made = self.library.nvrtcCreateProgram(
            ctypes.byref(program), source.encode(), b"kernel.cu", 0, None, None
        )
        assert made == 0
        texts = (ctypes.c_char_p * len(options))(*(o.encode() for o in options))
        failed = self.library.nvrtcCompileProgram(program, len(options), texts)
        said = self._text(program, "ProgramLog")
        assert not failed, said
        assert "warning" not in said, said
        ptx = self._text(program, "PTX")
        self.library.nvrtcDestroyProgram(ctypes.byref(program))
        return said, ptx

    def _text(self, program, name):
        size = ctypes.c_size_t()
        assert (
            getattr(self.library, f"nvrtcGet{name}Size")(program, ctypes.byref(size))
            == 0
        )
        text = ctypes.create_string_buffer(size.value)
        assert getattr(self.library, f"nvrtcGet{name}")(program, text) == 0
        return text.value.decode()


@pytest.fixture(scope="module")
def nvrtc():
    found = importlib.util.find_spec("nvidia")
    folders = list(found.submodule_search_locations) if found else []
    libraries = [
        path
        for folder in folders
        for path in Path(folder).glob("cuda_nvrtc/lib/libnvrtc.so.*")
    ]
    if not libraries:
        pytest.skip("NVRTC compiles the kernels: install nvidia-cuda-nvrtc-cu12")
    return Nvrtc(libraries[0])


def sources(monkeypatch, method, dtype, *, factors=(2, 2, 2), sigma=None):
    """Return the texts that are launched for one reduction, with their names."""
    texts = []

    def compile_kernel(source, name):
        texts.append(source)
        return lambda grid, block, arguments: None

    monkeypatch.setattr(launching, "compile_kernel", compile_kernel)
    block = np.zeros((8, 16, 64), dtype)
    reduction = METHODS[method].reduction(factors, axes="zyx", sigma=sigma)
    spans = [
        Span(first=0, stop=ceil_div(n, f), size=n)
        for n, f in zip(block.shape, factors, strict=True)
    ]
    fused.reduce_block(block, reduction, spans)
    return texts


@pytest.mark.parametrize(("method", "dtype"), FUSED)
def test_every_kernel_compiles(method, dtype, nvrtc, monkeypatch):
    for source in sources(monkeypatch, method, dtype):
        nvrtc.compiled(source, "-arch=compute_75", "-std=c++17")


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_filters_of_single_axes_compile(dtype, nvrtc, monkeypatch):
    texts = sources(monkeypatch, "gaussian", dtype, sigma=5)
    assert len(texts) == 3
    for source in texts:
        nvrtc.compiled(source, "-arch=compute_75", "-std=c++17")


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("method", "dtype"), MAIN)
def test_kernels_stay_in_the_registers_of_each_architecture(
    method, dtype, architecture, nvrtc, monkeypatch
):
    if architecture not in nvrtc.architectures():
        pytest.skip(f"this NVRTC does not know sm_{architecture}")
    (source,) = sources(monkeypatch, method, dtype)
    said = nvrtc.compiled(
        source, f"-arch=sm_{architecture}", "-std=c++17", "--ptxas-options=-v"
    )
    (registers,) = re.findall(r"Used (\d+) registers", said)
    (spilled,) = re.findall(r"(\d+) bytes spill stores", said)
    shared = re.findall(r"(\d+) bytes smem", said)
    # As many blocks as are asked for share the 65536 registers of a processor; a few
    # numbers outside the loops may leave them. A block has 48 KiB without asking.
    assert int(registers) <= 168
    assert int(spilled) <= 32
    assert sum(map(int, shared)) <= 48 * 1024


@pytest.mark.parametrize("sigma", [None, 5])
@pytest.mark.parametrize("dtype", ["uint16", "float32"])
def test_no_product_and_sum_are_contracted(dtype, sigma, nvrtc, monkeypatch):
    for source in sources(monkeypatch, "gaussian", dtype, sigma=sigma):
        ptx = nvrtc.assembly(source, "-arch=compute_90", "-std=c++17")
        assert "mul.rn.f" in ptx
        assert "fma" not in ptx


def test_records_count_voxels_in_64_bits(monkeypatch):
    texts = [
        *sources(monkeypatch, "gaussian", "uint8"),
        *sources(monkeypatch, "gaussian", "uint8", sigma=5),
        *sources(monkeypatch, "mean", "uint8"),
    ]
    counted = 0
    for text in texts:
        assert "typedef long long Index;" in text
        for record in re.findall(r"^struct \w+ \{$(.*?)^\};$", text, re.S | re.M):
            fields = [line.split()[0] for line in record.strip().splitlines()]
            numbers = [
                f for f in fields if not f.startswith(("Border", "Axis", "Real"))
            ]
            assert set(numbers) <= {"Index"}
            counted += len(numbers)
    assert counted > 20
