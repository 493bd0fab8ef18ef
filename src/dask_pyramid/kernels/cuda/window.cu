// Window statistics in one pass: mean, least, greatest, median, mode.
//
// A thread makes SAMPLES neighbouring samples along x and reads their voxels, row by
// row, in words of READ bytes. Windows that the border cuts are made one by one.
//
// Folds run over all axes but the last, then over that, as on the CPU.
//
// Defined before this text, beside what numbers.cuh needs: WINDOW_MEAN, WINDOW_MIN,
// WINDOW_MAX, WINDOW_MEDIAN or WINDOW_MODE; STEP_Z, STEP_Y, STEP_X; SAMPLES; READ and
// WRITE, in bytes; ROWS, THREADS and the blocks of a processor, RESIDENT; NETWORK for median and mode, which sorts `values`
// by exchanges of two of them.

#define RUN (STEP_X * SAMPLES)
#define COUNT (STEP_Z * STEP_Y * STEP_X)

struct Windows {
    Index outer_in, z_in, y_in;  // strides in voxels
    Index outer_out, z_out, y_out;
    Index nz, ny, nx;            // voxels
    Index z_count, y_count, x_count;
    Index x_tiles, y_tiles;
};

template <int BYTES> struct Word;
template <> struct Word<1> { unsigned char bits; };
template <> struct Word<2> { unsigned short bits; };
template <> struct Word<4> { unsigned bits; };
template <> struct alignas(8) Word<8> { unsigned bits[2]; };
template <> struct alignas(16) Word<16> { unsigned bits[4]; };

template <int BYTES, int N>
__device__ inline void read(Value (&voxels)[N], const Value *source)
{
    Word<BYTES> words[N * sizeof(Value) / BYTES];
#pragma unroll
    for (int i = 0; i < (int)(N * sizeof(Value) / BYTES); ++i)
        words[i] = reinterpret_cast<const Word<BYTES> *>(source)[i];
    memcpy(voxels, words, sizeof(voxels));
}

template <int BYTES, int N>
__device__ inline void write(Value *target, const Value (&samples)[N])
{
    Word<BYTES> words[N * sizeof(Value) / BYTES];
    memcpy(words, samples, sizeof(words));
#pragma unroll
    for (int i = 0; i < (int)(N * sizeof(Value) / BYTES); ++i)
        reinterpret_cast<Word<BYTES> *>(target)[i] = words[i];
}

#if defined(WINDOW_MEAN)

#if defined(KIND_FLOAT)
typedef double Sum;
__device__ inline Sum fold(Sum a, Sum b) { return add(a, b); }
__device__ inline Value finished(Sum total, int count)
{
    return stored(__ddiv_rn(total, (double)count), Value());
}
#else
#ifdef NARROW
typedef int Sum;  // of fewer than 2**15 voxels
#else
typedef Index Sum;
#endif
__device__ inline Sum fold(Sum a, Sum b) { return a + b; }
__device__ inline Value finished(Sum total, int count)
{
    // Round half to even.
    Sum quotient = total / count;
    Sum rest = total - quotient * count;
    if (rest < 0) {
        rest += count;
        --quotient;
    }
    quotient += 2 * rest > count || (2 * rest == count && (quotient & 1));
    return (Value)quotient;
}
#endif

#elif defined(WINDOW_MIN) || defined(WINDOW_MAX)

typedef Value Sum;
__device__ inline Sum fold(Sum a, Sum b)
{
#ifdef WINDOW_MIN
    const bool takes = b < a;
#else
    const bool takes = b > a;
#endif
    return takes || b != b ? b : a;  // a NaN, once met, stays
}
__device__ inline Value finished(Sum best, int) { return best; }

#endif

#if defined(WINDOW_MEDIAN) || defined(WINDOW_MODE)

#define EXCHANGE(i, j)                                              \
    {                                                               \
        const Value low = values[i], high = values[j];              \
        values[i] = low < high ? low : high;                        \
        values[j] = low < high ? high : low;                        \
    }

// `count` values of the window are there; those that a border has cut are HIGHEST.
__device__ inline Value ranked(Value (&values)[COUNT], int count)
{
    NETWORK
    Value best = values[0];
#ifdef WINDOW_MEDIAN
    const int middle = (count - 1) / 2;
#pragma unroll
    for (int k = 1; k < COUNT; ++k)
        if (k == middle) best = values[k];
#else
    int run = 1, longest = 1;
#pragma unroll
    for (int k = 1; k < COUNT; ++k) {
        run = values[k] == values[k - 1] ? run + 1 : 1;
        if (run > longest && k < count) {
            longest = run;
            best = values[k];
        }
    }
#endif
    return best;
}

#endif

// The samples of a thread, all of whose windows are whole.
__device__ inline void reduce_whole(
    Value (&samples)[SAMPLES], const Value *corner, const Windows &w)
{
#ifdef NETWORK
    Value windows[SAMPLES][COUNT];
#pragma unroll
    for (int k = 0; k < STEP_Z * STEP_Y; ++k) {
        Value voxels[RUN];
        read<READ>(voxels, corner + k / STEP_Y * w.z_in + k % STEP_Y * w.y_in);
#pragma unroll
        for (int i = 0; i < RUN; ++i)
            windows[i / STEP_X][k * STEP_X + i % STEP_X] = voxels[i];
    }
#pragma unroll
    for (int s = 0; s < SAMPLES; ++s) samples[s] = ranked(windows[s], COUNT);
#else
    Sum line[RUN];
#pragma unroll (STEP_Z * STEP_Y <= 16 ? STEP_Z * STEP_Y : 4)
    for (int k = 0; k < STEP_Z * STEP_Y; ++k) {
        Value voxels[RUN];
        read<READ>(voxels, corner + k / STEP_Y * w.z_in + k % STEP_Y * w.y_in);
#pragma unroll
        for (int i = 0; i < RUN; ++i)
            line[i] = k == 0 ? (Sum)voxels[i] : fold(line[i], (Sum)voxels[i]);
    }
#pragma unroll
    for (int s = 0; s < SAMPLES; ++s) {
        Sum total = line[STEP_X * s];
#pragma unroll
        for (int i = 1; i < STEP_X; ++i) total = fold(total, line[STEP_X * s + i]);
        samples[s] = finished(total, COUNT);
    }
#endif
}

// One sample of a window of any extent.
__device__ inline Value reduce_cut(
    const Value *corner, const Windows &w, int depth, int height, int width)
{
#ifdef NETWORK
    Value values[COUNT];
#pragma unroll
    for (int k = 0; k < COUNT; ++k) {
        const int z = k / (STEP_Y * STEP_X), y = k / STEP_X % STEP_Y, x = k % STEP_X;
        const bool inside = z < depth && y < height && x < width;
        values[k] = inside ? corner[z * w.z_in + y * w.y_in + x] : (Value)HIGHEST;
    }
    return ranked(values, depth * height * width);
#else
    Sum total = Sum();
    for (int x = 0; x < width; ++x) {
        Sum column = Sum();
        for (int z = 0; z < depth; ++z)
            for (int y = 0; y < height; ++y) {
                const Sum value = (Sum)corner[z * w.z_in + y * w.y_in + x];
                column = z == 0 && y == 0 ? value : fold(column, value);
            }
        total = x == 0 ? column : fold(total, column);
    }
    return finished(total, depth * height * width);
#endif
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) reduce_windows(
    const Value *__restrict__ source, Value *__restrict__ target, const Windows w)
{
    // There are fewer than 2**31 blocks: 32 bits divide faster.
    unsigned tile = blockIdx.x;
    const int lane = threadIdx.x % (THREADS / ROWS), row = threadIdx.x / (THREADS / ROWS);
    const Index x = ((Index)(tile % (unsigned)w.x_tiles) * (THREADS / ROWS) + lane) * SAMPLES;
    tile /= (unsigned)w.x_tiles;
    const Index y = (Index)(tile % (unsigned)w.y_tiles) * ROWS + row;
    tile /= (unsigned)w.y_tiles;
    const Index z = tile % (unsigned)w.z_count;
    const Index outer = tile / (unsigned)w.z_count;
    if (x >= w.x_count || y >= w.y_count) return;

    const Value *corner = source + outer * w.outer_in + STEP_Z * z * w.z_in
        + STEP_Y * y * w.y_in + STEP_X * x;
    Value *first = target + outer * w.outer_out + z * w.z_out + y * w.y_out + x;
    const int depth = (int)least(STEP_Z, w.nz - STEP_Z * z);
    const int height = (int)least(STEP_Y, w.ny - STEP_Y * y);
    if (depth == STEP_Z && height == STEP_Y && STEP_X * x + RUN <= w.nx) {
        Value samples[SAMPLES];
        reduce_whole(samples, corner, w);
        write<WRITE>(first, samples);
        return;
    }
    for (int s = 0; s < SAMPLES && x + s < w.x_count; ++s) {
        const int width = (int)least(STEP_X, w.nx - STEP_X * (x + s));
        first[s] = reduce_cut(corner + STEP_X * s, w, depth, height, width);
    }
}
