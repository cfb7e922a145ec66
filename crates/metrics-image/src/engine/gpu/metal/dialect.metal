// What is Metal's own, before the text that it shares with CUDA.

#include <metal_stdlib>
using namespace metal;

typedef uchar u8;
typedef ushort u16;
typedef uint u32;
typedef int i32;
typedef long i64;
// There is no f64: results are kept in f32, summed in pairs of them.
typedef float Number;

#define HAS_DOUBLE 0
#define DEVICE device
#ifndef LOCAL // the emulation says it otherwise of pointers
#define LOCAL threadgroup
#endif
#define CONSTANT constant
#define PRIVATE thread
#define FUNCTION static inline
#define FUNCTION_MEMBER inline
#define UNROLL _Pragma("clang loop unroll(full)")
#define UNROLL_INSIDE_TWICE _Pragma("clang loop unroll_count(INSIDE ? 2 : 1)")
#ifndef BLOCK_MEMORY
#define BLOCK_MEMORY(T, NAME, COUNT) threadgroup T NAME[COUNT]
#endif
#define BARRIER() threadgroup_barrier(mem_flags::mem_threadgroup)
// Not every GPU of a Mac runs 32 threads in step.
#define WARP_BARRIER() BARRIER()
#define BARRIER_OF_DEVICE() threadgroup_barrier(mem_flags::mem_device)

// To one unit in the last place or two: far below the error of a filter.
FUNCTION float reciprocal(float x) { return fast::divide(1.0f, x); }
// NaN stays one.
FUNCTION float not_negative(float x) { return x < 0.0f ? 0.0f : x; }
FUNCTION float as_float(u32 bits) { return as_type<float>(bits); }
FUNCTION u32 as_uint(float x) { return as_type<u32>(x); }
FUNCTION float from_half(u16 bits) { return float(as_type<half>(bits)); }
FUNCTION u16 to_half(float x) { return as_type<u16>(half(x)); }
