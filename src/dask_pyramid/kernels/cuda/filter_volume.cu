// A separable, decimating filter of all axes in one pass over the block.
//
// A thread owns one column of voxels along x. For STRIP neighbouring samples of the
// first axis it reads the rows of a plane that they share (each voxel once), sums them
// in registers, and marches along the second axis, where every row is added to the
// samples that it belongs to. What is filtered along both goes through shared memory,
// to be filtered along x by other threads. The next row is on its way while one is used.
//
// Sums run in the order of the taps, axis after axis, as on the CPU.
//
// Defined before this text, beside what numbers.cuh needs: STEP_A, TAPS_A, STEP_B,
// TAPS_B, STEP_X, TAPS_X; STRIP; THREADS and the blocks of a processor, RESIDENT; FAR if
// 32 bits do not count the voxels between the planes of a strip.

#define PLANES (STEP_A * (STRIP - 1) + TAPS_A)
#define AGES ((TAPS_B + STEP_B - 1) / STEP_B)
#define LANES (THREADS / STEP_X)

#ifdef FAR
typedef Index Offset;
#else
typedef int Offset;  // half the registers, and one instruction to address a voxel
#endif

template <int TAPS>
struct Axis {
    Border border;
    Index start;  // place of the first tap of the first sample; may be negative
    Index count;  // samples
    Index cut;    // taps of the last sample if the border cuts its window, else 0
    Real weights[TAPS];
    Real last[TAPS];  // of the last sample, if it is cut
};

struct Filter {
    Index outer_in, a_in, b_in;     // strides in voxels
    Index outer_out, a_out, b_out;
    Index x_tiles, a_tiles, b_tiles;
    Index chunk;  // samples of the second axis that a block makes
    Axis<TAPS_A> a;
    Axis<TAPS_B> b;
    Axis<TAPS_X> x;
};

__device__ constexpr int tile_width()
{
    constexpr int width = (THREADS - TAPS_X) / STEP_X + 1;
    return width < LANES ? width : LANES;
}

// Threads write x after x and read every STEP_X-th: samples of one phase lie side by
// side, and the phases that a warp writes at a time in different banks.
__device__ constexpr int pitch()
{
    constexpr int length = (THREADS + STEP_X - 1) / STEP_X;
    return length + ((32 / STEP_X - length) % 32 + 32) % 32;
}

// Mirrored or not, the planes of a strip lie among as many that follow one another.
__device__ inline Index lowest_plane(const Border &border, Index place)
{
    Index lowest = position(border, place);
    for (int k = 1; k < PLANES; ++k) lowest = least(lowest, position(border, place + k));
    return lowest;
}

__device__ inline void load(
    Value (&voxels)[PLANES], const Value *row, const Offset (&planes)[PLANES])
{
#pragma unroll
    for (int k = 0; k < PLANES; ++k) voxels[k] = row[planes[k]];
}

// Filters along the first axis; `last` is the sample with weights of its own, if any.
template <bool CUT>
__device__ inline void sum_planes(
    Real (&values)[STRIP], const Real (&planes)[PLANES], const Filter &f, Index last)
{
#pragma unroll
    for (int o = 0; o < STRIP; ++o) {
        const bool is_cut = CUT && o == last;
        Real total = multiply(is_cut ? f.a.last[0] : f.a.weights[0], planes[STEP_A * o]);
#pragma unroll
        for (int t = 1; t < TAPS_A; ++t) {
            if (is_cut && t >= f.a.cut) continue;
            const Real weight = is_cut ? f.a.last[t] : f.a.weights[t];
            total = add(total, multiply(weight, planes[STEP_A * o + t]));
        }
        values[o] = total;
    }
}

// Adds a row to the samples of the second axis that it belongs to, the youngest first.
template <bool CUT>
__device__ inline void add_row(
    Real (&sums)[AGES][STRIP], const Real (&values)[STRIP], const Filter &f, int row,
    Index last)
{
#pragma unroll
    for (int age = 0; age < AGES; ++age) {
        const int t = STEP_B * age + row;
        if (t >= TAPS_B) continue;
        const bool is_cut = CUT && age == last;
        if (is_cut && t >= f.b.cut) continue;
        const Real weight = is_cut ? f.b.last[t] : f.b.weights[t];
#pragma unroll
        for (int o = 0; o < STRIP; ++o) {
            const Real term = multiply(weight, values[o]);
            sums[age][o] = t == 0 ? term : add(sums[age][o], term);
        }
    }
}

__device__ inline Real sum_line(const Real *line, const Axis<TAPS_X> &x, bool is_cut)
{
    const Real first = is_cut ? x.last[0] : x.weights[0];
    Real total = multiply(first, line[0]);
    if (is_cut) {
        for (int t = 1; t < x.cut; ++t)
            total = add(total, multiply(x.last[t], line[t % STEP_X * pitch() + t / STEP_X]));
        return total;
    }
#pragma unroll
    for (int t = 1; t < TAPS_X; ++t)
        total = add(total, multiply(x.weights[t], line[t % STEP_X * pitch() + t / STEP_X]));
    return total;
}

extern "C" __global__ void __launch_bounds__(THREADS, RESIDENT) filter_volume(
    const Value *__restrict__ source, Value *__restrict__ target, const Filter f)
{
    __shared__ Real lines[2][STRIP][STEP_X * pitch()];

    // There are fewer than 2**31 blocks: 32 bits divide faster.
    unsigned tile = blockIdx.x;
    const Index x0 = (Index)(tile % (unsigned)f.x_tiles) * tile_width();
    tile /= (unsigned)f.x_tiles;
    const Index a0 = (Index)(tile % (unsigned)f.a_tiles) * STRIP;
    tile /= (unsigned)f.a_tiles;
    const Index b0 = (Index)(tile % (unsigned)f.b_tiles) * f.chunk;
    const Index outer = tile / (unsigned)f.b_tiles;

    const Index column = position(f.x.border, f.x.start + STEP_X * x0 + threadIdx.x);
    const Index lowest = lowest_plane(f.a.border, f.a.start + STEP_A * a0);
    const Value *voxels = source + outer * f.outer_in + lowest * f.a_in + column;
    Offset planes[PLANES];
#pragma unroll
    for (int k = 0; k < PLANES; ++k) {
        const Index plane = position(f.a.border, f.a.start + STEP_A * a0 + k);
        planes[k] = (Offset)((plane - lowest) * f.a_in);
    }

    const int slot = threadIdx.x % STEP_X * pitch() + threadIdx.x / STEP_X;
    const int lane = threadIdx.x % LANES, group = threadIdx.x / LANES;
    const Index x = x0 + lane;
    const bool writes = lane < tile_width() && x < f.x.count && group < STEP_X;
    const bool cut_x = f.x.cut && x == f.x.count - 1;
    Value *sample = target + outer * f.outer_out + x;

    // Neither is ever reached if no window is cut.
    const Index last_a = f.a.cut ? f.a.count - 1 - a0 : -1;
    const Index last_b = f.b.cut ? f.b.count - 1 - b0 : -1;
    const bool cut_a = last_a >= 0 && last_a < STRIP;

    const Index place = f.b.start + STEP_B * b0;
    const Index groups = least(f.chunk, f.b.count - b0) + AGES - 1;
    Real sums[AGES][STRIP];
    Value next[PLANES];
    load(next, voxels + position(f.b.border, place) * f.b_in, planes);
    for (Index g = 0; g < groups; ++g) {
#pragma unroll
        for (int age = AGES - 1; age > 0; --age)
#pragma unroll
            for (int o = 0; o < STRIP; ++o) sums[age][o] = sums[age - 1][o];
#pragma unroll
        for (int row = 0; row < STEP_B; ++row) {
            Real now[PLANES];
#pragma unroll
            for (int k = 0; k < PLANES; ++k) now[k] = lifted(next[k]);
            const Index following = position(f.b.border, place + STEP_B * g + row + 1);
            load(next, voxels + following * f.b_in, planes);
            Real values[STRIP];
            if (cut_a)
                sum_planes<true>(values, now, f, last_a);
            else
                sum_planes<false>(values, now, f, -1);
            if (last_b >= 0 && g >= last_b)
                add_row<true>(sums, values, f, row, g - last_b);
            else
                add_row<false>(sums, values, f, row, -1);
        }
        if (g < AGES - 1) continue;
        // Two buffers: who is here again has met, in between, all who read this one.
        Real(&line)[STRIP][STEP_X * pitch()] = lines[g & 1];
#pragma unroll
        for (int o = 0; o < STRIP; ++o) line[o][slot] = sums[AGES - 1][o];
        __syncthreads();
        if (!writes) continue;
        const Index b = b0 + g - (AGES - 1);
        for (int o = group; o < STRIP && a0 + o < f.a.count; o += STEP_X)
            sample[(a0 + o) * f.a_out + b * f.b_out] =
                settled(sum_line(line[o] + lane, f.x, cut_x));
    }
}
