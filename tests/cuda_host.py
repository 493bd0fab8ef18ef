"""CUDA kernels on the host: the same text, built by g++, run thread after thread.

A small prelude gives the words of CUDA a meaning in C++. Threads of a block are
coroutines that stop at each barrier, so that a barrier that only some of them reach,
or a missing one, shows.
"""

import ctypes
import hashlib
import os
import shutil
import subprocess
import threading

_PRELUDE = r"""
#include <ucontext.h>
#include <string.h>
#define __global__
#define __device__
#define __shared__ static
#define __restrict__
#define __launch_bounds__(...)
struct Position { unsigned x, y, z; };
static Position threadIdx, blockIdx;

static inline float __fadd_rn(float a, float b) { return a + b; }
static inline float __fmul_rn(float a, float b) { return a * b; }
static inline double __dadd_rn(double a, double b) { return a + b; }
static inline double __dmul_rn(double a, double b) { return a * b; }
static inline double __ddiv_rn(double a, double b) { return a / b; }
static inline float __double2float_rn(double a) { return (float)a; }
static inline int __float2int_rn(float a) { return (int)__builtin_rintf(a); }
static inline long long __double2ll_rn(double a) {
    return (long long)__builtin_rint(a); }
static inline float __int_as_float(int a) {
    float b; memcpy(&b, &a, 4); return b; }
static inline double __longlong_as_double(long long a) {
    double b; memcpy(&b, &a, 8); return b; }

enum { MOST = 256, STACK = 1 << 16 };
static ucontext_t scheduler, fibers[MOST];
static bool ended[MOST];
static char stacks[MOST][STACK];
static void __syncthreads() { swapcontext(&fibers[threadIdx.x], &scheduler); }
"""

_RUNNER = r"""
template <class A, class B, class C>
static void call(void (*kernel)(A, B, C), void **a) {
    kernel(*(A *)a[0], *(B *)a[1], *(C *)a[2]); }
template <class A, class B, class C, class D, class E>
static void call(void (*kernel)(A, B, C, D, E), void **a) {
    kernel(*(A *)a[0], *(B *)a[1], *(C *)a[2], *(D *)a[3], *(E *)a[4]); }

static void **arguments;
static void body() { call(KERNEL, arguments); ended[threadIdx.x] = true; }

extern "C" int run(unsigned blocks, unsigned threads, void **given) {
    arguments = given;
    for (unsigned block = 0; block < blocks; ++block) {
        blockIdx.x = block;
        for (unsigned i = 0; i < threads; ++i) {
            ended[i] = false;
            getcontext(&fibers[i]);
            fibers[i].uc_stack.ss_sp = stacks[i];
            fibers[i].uc_stack.ss_size = STACK;
            fibers[i].uc_link = &scheduler;
            makecontext(&fibers[i], body, 0);
        }
        for (unsigned n_ended = 0; n_ended == 0;) {
            for (unsigned i = 0; i < threads; ++i) {
                threadIdx.x = i;
                swapcontext(&scheduler, &fibers[i]);
                n_ended += ended[i];
            }
            if (n_ended && n_ended < threads) return 1;
        }
    }
    return 0;
}
"""

compiler = shutil.which("g++")


class HostKernels:
    """Builds kernels in a folder; stands in for `device.compile_kernel`.

    What another process has built there is taken.
    """

    def __init__(self, folder):
        self.folder = folder
        self.built = {}
        self.lock = threading.Lock()  # what is static here, a GPU has for each launch

    def __call__(self, source, name):
        key = hashlib.sha256(f"{name}\n{source}".encode()).hexdigest()[:16]
        with self.lock:
            if key not in self.built:
                self.built[key] = self._build(source, name, self.folder / f"{key}.so")
        return self.built[key]

    def _build(self, source, name, library):
        if not library.exists():
            self._compile(source, name, library)
        run = ctypes.CDLL(str(library)).run

        def launch(grid, block, arguments):
            kept = [_address(argument) for argument in arguments]
            given = (ctypes.c_void_p * len(kept))(*(a for a, _ in kept))
            with self.lock:
                failed = run(grid[0], block[0], given)
            assert not failed, "not all threads met at a barrier"

        return launch

    def _compile(self, source, name, library):
        text = "\n".join((_PRELUDE, source, f"#define KERNEL {name}", _RUNNER))
        options = "-x c++ -std=c++17 -O0 -ffp-contract=off -shared -fPIC".split()
        # Pragmas of CUDA are unknown to g++, and b != b asks for a NaN, in vain of
        # integers; nothing else may be said against the text.
        quiet = ("unknown-pragmas", "unused-function", "tautological-compare")
        options += ["-Wall", "-Werror", *(f"-Wno-{name}" for name in quiet)]
        own = library.with_suffix(f".{os.getpid()}")
        subprocess.run(
            [compiler, *options, "-o", own, "-"], input=text, text=True, check=True
        )
        own.replace(library)


def _address(argument):
    """Return where the value of an argument lies, and what must outlive the call."""
    if argument.dtype.names:
        return argument.ctypes.data, argument
    pointer = ctypes.c_void_p(argument.ctypes.data)
    return ctypes.addressof(pointer), pointer
