// A decimating filter along one axis: any step, any number of taps.
//
// A thread makes one sample. The block is seen as (outer, axis, inner), C-contiguous.
//
// Defined before this text, beside what numbers.cuh needs: FROM_VALUE if the source
// holds voxels (else sums), TO_VALUE if the target does; THREADS.

#ifdef FROM_VALUE
typedef Value Source;
__device__ inline Real taken(Source value) { return lifted(value); }
#else
typedef Real Source;
__device__ inline Real taken(Source value) { return value; }
#endif

#ifdef TO_VALUE
typedef Value Target;
__device__ inline Target given(Real total) { return settled(total); }
#else
typedef Real Target;
__device__ inline Target given(Real total) { return total; }
#endif

struct Line {
    Border border;
    Index start;  // place of the first tap of the first sample; may be negative
    Index count;  // samples
    Index step, taps;
    Index cut;    // taps of the last sample if the border cuts its window, else 0
    Index inner;
    Index tiles;  // blocks side by side along `inner`, or along the axis if that is 1
};

extern "C" __global__ void __launch_bounds__(THREADS) filter_axis(
    const Source *__restrict__ source, Target *__restrict__ target,
    const Real *__restrict__ weights, const Real *__restrict__ last, const Line f)
{
    const unsigned rest = blockIdx.x / (unsigned)f.tiles;
    const Index lane = (Index)(blockIdx.x % (unsigned)f.tiles) * THREADS + threadIdx.x;
    const bool along = f.inner == 1;
    const Index inner = along ? 0 : lane;
    const Index sample = along ? lane : rest % (unsigned)f.count;
    const Index outer = along ? rest : rest / (unsigned)f.count;
    if (inner >= f.inner || sample >= f.count) return;

    const bool is_cut = f.cut && sample == f.count - 1;
    const Real *weight = is_cut ? last : weights;
    const Index taps = is_cut ? f.cut : f.taps;
    const Index place = f.start + f.step * sample;
    const Source *line = source + outer * f.border.extent * f.inner + inner;
    Real total;
    if (place >= 0 && place + taps <= f.border.size) {
        const Source *voxel = line + (place - f.border.origin) * f.inner;
        total = multiply(weight[0], taken(*voxel));
#pragma unroll 4
        for (Index t = 1; t < taps; ++t)
            total = add(total, multiply(weight[t], taken(voxel[t * f.inner])));
    } else {
        total = multiply(weight[0], taken(line[position(f.border, place) * f.inner]));
        for (Index t = 1; t < taps; ++t) {
            const Index voxel = position(f.border, place + t) * f.inner;
            total = add(total, multiply(weight[t], taken(line[voxel])));
        }
    }
    target[(outer * f.count + sample) * f.inner + inner] = given(total);
}
