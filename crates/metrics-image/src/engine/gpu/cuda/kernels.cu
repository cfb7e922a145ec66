// The kernels in CUDA C++: what is CUDA's own, around the text that it shares with Metal.
//
// Those for one type of pixels, if PIXELS says which: a driver compiles all of a module before it runs the first kernel.

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef int i32;
typedef long long i64;
// Results are kept in f64.
typedef double Number;

#define HAS_DOUBLE 1
#define DEVICE
#define LOCAL
#define CONSTANT const
#define PRIVATE
#define FUNCTION [[maybe_unused]] static __device__ __forceinline__
#define FUNCTION_MEMBER __device__ __forceinline__
#define UNROLL _Pragma("unroll")
#define BARRIER() __syncthreads()
#ifndef BLOCK_MEMORY // the emulation has its own
#define BLOCK_MEMORY(T, NAME, COUNT) __shared__ T NAME[COUNT]
#endif

FUNCTION float reciprocal(float x) { return __frcp_rn(x); }
FUNCTION double reciprocal(double x) { return __drcp_rn(x); }
FUNCTION float as_float(u32 bits) { return __uint_as_float(bits); }
FUNCTION u32 as_uint(float x) { return __float_as_uint(x); }

#ifdef __CUDACC__ // elsewhere half precision is the emulation's
// Without a header: every compiler of PTX has these.
FUNCTION float from_half(u16 bits) {
    float x;
    asm("cvt.f32.f16 %0, %1;" : "=f"(x) : "h"(bits));
    return x;
}
FUNCTION u16 to_half(float x) {
    u16 bits;
    asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x));
    return bits;
}
#endif

#include "../base.h"
#include "../plane.h"
#include "../pass.h"
#include "../kernels.h"

#define REAL(P) RealOf<P>::Type
// One block on a processor is enough: without saying so, registers are spilt for the sake of more.
#ifndef ENTRY // the emulation has its own
#define ENTRY(NAME, THREADS) extern "C" __global__ void __launch_bounds__(THREADS, 1) NAME
#endif
#define PARAMS(P) const __grid_constant__ Params<REAL(P)> p
#define PLACE i32(blockIdx.x), i32(threadIdx.x)

#define PIVOT(NAME, P)                                                                                                      \
    ENTRY(NAME, WORKERS)(const P* x, const P* y, REAL(P)* pivots, PARAMS(P)) {                                              \
        BLOCK_MEMORY(REAL(P), room, 2 * WORKERS);                                                                           \
        pivot(x, y, pivots, p, room, PLACE, WORKERS);                                                                       \
    }
#define PASS(NAME, P, TAPS, ROWS, COLS, GRADIENT)                                                                           \
    ENTRY(NAME, ROWS* COLS)                                                                                                 \
    (const P* x, const P* y, const REAL(P)* pivots, const REAL(P)* ranges, const Number* weights, const REAL(P)* upstream,  \
     const REAL(P)* coarser, REAL(P)* partials, REAL(P)* map, P* gradient, PARAMS(P)) {                                     \
        BLOCK_MEMORY(REAL(P), room, (Shape<TAPS, ROWS, COLS, GRADIENT>::ROOM));                                             \
        pass<P, REAL(P), TAPS, ROWS, COLS, GRADIENT>(x, y, pivots, ranges, weights, upstream, coarser, partials, map,       \
                                                     gradient, p, room, PLACE);                                             \
    }
#define HALVE(NAME, P)                                                                                                      \
    ENTRY(NAME, WORKERS)(const P* x, const P* y, REAL(P)* half_x, REAL(P)* half_y, PARAMS(P)) {                             \
        halve(x, y, half_x, half_y, p, i64(blockIdx.x) * WORKERS + threadIdx.x);                                            \
    }
#define ERRORS(NAME, P)                                                                                                     \
    ENTRY(NAME, WORKERS)(const P* x, const P* y, REAL(P)* partials, PARAMS(P)) {                                            \
        BLOCK_MEMORY(REAL(P), room, 2 * WORKERS);                                                                           \
        errors(x, y, partials, p, room, PLACE, WORKERS);                                                                    \
    }
#define ERROR_GRADIENT(NAME, P)                                                                                             \
    ENTRY(NAME, WORKERS)(const P* x, const P* y, const Number* weights, P* gradient, PARAMS(P)) {                           \
        error_gradient(x, y, weights, gradient, p, i64(blockIdx.x) * WORKERS + threadIdx.x);                                \
    }
#define FINISH(NAME, T)                                                                                                     \
    ENTRY(NAME, WORKERS)(const T* partials, Number* results, PARAMS(T)) {                                                   \
        BLOCK_MEMORY(T, room, 2 * WORKERS);                                                                                 \
        finish(partials, results, p, room, PLACE, WORKERS);                                                                 \
    }

#ifdef PIXELS
#define KERNELS_OF(PIXELS) KERNELS_##PIXELS
#define KERNELS(PIXELS) KERNELS_OF(PIXELS)
KERNELS(PIXELS)
#else
KERNELS_u8 KERNELS_f16 KERNELS_bf16 KERNELS_f32 KERNELS_f64
#endif
