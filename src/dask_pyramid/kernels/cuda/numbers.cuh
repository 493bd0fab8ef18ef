// Numbers of one data type, and arithmetic that rounds as the CPU does.
//
// Defined before this text (see fused.py): VALUE, the type of the voxels; KIND_BOOL,
// KIND_INTEGER or KIND_FLOAT; LOWEST and HIGHEST of integers; NARROW for 8 and 16 bits.
//
// Every operation is an intrinsic that rounds to nearest and is never contracted to a
// fused multiply-add: the stored bytes must not depend on the device.

typedef long long Index;  // counts voxels: a block may hold more than 2**31
typedef VALUE Value;

#ifdef NARROW
typedef float Real;
#else
typedef double Real;
#endif

__device__ inline float add(float a, float b) { return __fadd_rn(a, b); }
__device__ inline float multiply(float a, float b) { return __fmul_rn(a, b); }
__device__ inline double add(double a, double b) { return __dadd_rn(a, b); }
__device__ inline double multiply(double a, double b) { return __dmul_rn(a, b); }

__device__ inline Real lifted(Value value)
{
#ifdef NARROW
    // 1.5 * 2**23 + n is exact, with n in its lowest bits: two instructions of full rate,
    // where converting is one of an eighth of it.
    return __fadd_rn(__int_as_float(0x4b400000 + (int)value), -12582912.0f);
#else
    return (Real)value;
#endif
}

// A NaN has the bits that NumPy's has, on every device.
__device__ inline float stored(double value, float)
{
    return value == value ? __double2float_rn(value) : __int_as_float(0x7fc00000);
}

__device__ inline double stored(double value, double)
{
    return value == value ? value : __longlong_as_double(0x7ff8000000000000LL);
}

// Rounds half to even. Weights sum to 1: only rounding can leave the range.
__device__ inline Value settled(Real total)
{
#if defined(KIND_BOOL)
    return __float2int_rn(total) > 0;
#elif defined(KIND_FLOAT)
    return stored(total, Value());
#else
#ifdef NARROW
    const Index rounded = __float2int_rn(total);
#else
    const Index rounded = __double2ll_rn(total);
#endif
    const Index low = LOWEST, high = (Index)HIGHEST;
    return (Value)(rounded < low ? low : rounded > high ? high : rounded);
#endif
}

__device__ inline Index least(Index a, Index b) { return a < b ? a : b; }

// Where a tap lies in the block: `place` counts from the first voxel of the axis and may
// lie outside, where the axis is mirrored with its edge voxel repeated. What no sample
// needs may lie outside the block: any voxel does.
struct Border {
    Index size;    // extent of the whole axis
    Index origin;  // voxel of the axis with which the block begins
    Index extent;  // voxels of the block
};

__device__ inline Index position(const Border &border, Index place)
{
    if (place < 0 || place >= border.size) {
        const Index period = 2 * border.size;
        place %= period;
        if (place < 0) place += period;
        if (place >= border.size) place = period - 1 - place;
    }
    place -= border.origin;
    return place < 0 ? 0 : least(place, border.extent - 1);
}
