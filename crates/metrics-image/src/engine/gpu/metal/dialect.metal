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
#ifndef BLOCK_MEMORY
#define BLOCK_MEMORY(T, NAME, COUNT) threadgroup T NAME[COUNT]
#endif
#define BARRIER() threadgroup_barrier(mem_flags::mem_threadgroup)

FUNCTION float reciprocal(float x) { return 1.0f / x; }
FUNCTION float as_float(u32 bits) { return as_type<float>(bits); }
FUNCTION u32 as_uint(float x) { return as_type<u32>(x); }
FUNCTION float from_half(u16 bits) { return float(as_type<half>(bits)); }
FUNCTION u16 to_half(float x) { return as_type<u16>(half(x)); }
