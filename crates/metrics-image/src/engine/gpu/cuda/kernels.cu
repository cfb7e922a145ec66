// The kernels in CUDA C++: what is CUDA's own, around the text that it shares with Metal.
//
// Those of one module, if MODULE says which: a driver compiles all of a module before it runs the first kernel.

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
#define UNROLL_INSIDE_TWICE _Pragma("unroll (INSIDE ? 2 : 1)")
#define BARRIER() __syncthreads()
#define WARP_BARRIER() __syncwarp()
#define BARRIER_OF_DEVICE() __syncthreads()
#ifndef BLOCK_MEMORY // the emulation has its own
#define BLOCK_MEMORY(T, NAME, COUNT) __shared__ alignas(16) T NAME[COUNT]
#endif

#ifdef __CUDACC__
// To one unit in the last place, in one instruction: far below the error of a filter.
FUNCTION float reciprocal(float x) {
    float y;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
}
// NaN stays one.
FUNCTION float not_negative(float x) {
    float y;
    asm("max.NaN.f32 %0, %1, 0f00000000;" : "=f"(y) : "f"(x));
    return y;
}
#else
FUNCTION float reciprocal(float x) { return 1.0f / x; }
FUNCTION float not_negative(float x) { return x < 0.0f ? 0.0f : x; }
#endif
FUNCTION double reciprocal(double x) { return 1.0 / x; }
FUNCTION double not_negative(double x) { return x < 0.0 ? 0.0 : x; }
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
#include "../../../measure/ssim.h"
#include "../tile.h"
#include "../../../measure/gmsd.h"
#include "../../../measure/vif.h"
#include "../scan.h"
#include "../window.h"
#include "../blur.h"
#include "../pyramid.h"
#include "../pixel.h"
#include "../pool.h"
#include "../kernels.h"

#define REAL(P) RealOf<P>::Type
// Without a number of blocks that a multiprocessor is to hold, registers are spilt for the sake of more.
#ifndef ENTRY // the emulation has its own
#define ENTRY(NAME, THREADS, BLOCKS) extern "C" __global__ void __launch_bounds__(THREADS, BLOCKS) NAME
#endif
#define PARAMS(P) const __grid_constant__ Params<REAL(P)> p
#define IMAGES(P) const P *x, const P *y, const REAL(P) * coarse_x, const REAL(P) * coarse_y, const REAL(P) * ranges
#define BLOCK i32(blockIdx.x)
#define WORKER i32(threadIdx.x)

#define VALUE(NAME, P, TAPS, VEC, THREADS, BLOCKS, FULL)                                                                          \
    ENTRY(NAME, THREADS, BLOCKS)(IMAGES(P), REAL(P) * partials, REAL(P) * map, PARAMS(P)) {                                 \
        BLOCK_MEMORY(Basis<REAL(P)>, room, (Strip<REAL(P), TAPS, VEC, THREADS>::ROOM));                                     \
        value<P, REAL(P), TAPS, VEC, THREADS, FULL>(x, y, coarse_x, coarse_y, ranges, partials, map, p, room, BLOCK, WORKER);     \
    }
#define GRADIENT(NAME, P, TAPS, VEC, THREADS, BLOCKS, FULL)                                                                       \
    ENTRY(NAME, THREADS, BLOCKS)                                                                                            \
    (IMAGES(P), const Number* table, const REAL(P) * map, REAL(P) * partials, REAL(P) * fine, REAL(P) * coarse, PARAMS(P)) { \
        BLOCK_MEMORY(Basis<REAL(P)>, room, (Strip<REAL(P), TAPS, VEC, THREADS>::ROOM_WITH_BACK));                           \
        gradient<P, REAL(P), TAPS, VEC, THREADS, FULL>(x, y, coarse_x, coarse_y, ranges, table, map, partials, fine, coarse, p,   \
                                                 room, BLOCK, WORKER);                                                      \
    }
#define WINDOW(NAME, P, M, ROWS, COLUMNS)                                                                                   \
    ENTRY(NAME, ROWS* COLUMNS, 1)                                                                                           \
    (IMAGES(P), const Number* table, const REAL(P) * upstream, REAL(P) * partials, REAL(P) * map, REAL(P) * derivatives,    \
     PARAMS(P)) {                                                                                                           \
        BLOCK_MEMORY(REAL(P), room, (Block<REAL(P), M<REAL(P)>, ROWS, COLUMNS>::ROOM));                                     \
        window_value<P, REAL(P), M<REAL(P)>, ROWS, COLUMNS>(x, y, coarse_x, coarse_y, ranges, table, upstream, partials,    \
                                                            map, derivatives, p, room, BLOCK + p.scale[0].first, WORKER);   \
    }
#define ADJOINT(NAME, P, M, ROWS, COLUMNS)                                                                                  \
    ENTRY(NAME, ROWS* COLUMNS, 1)                                                                                           \
    (IMAGES(P), const Number* table, const REAL(P) * derivatives, REAL(P) * fine, REAL(P) * coarse, PARAMS(P)) {            \
        BLOCK_MEMORY(REAL(P), room, (Block<REAL(P), M<REAL(P)>, ROWS, COLUMNS>::BACK));                                     \
        adjoint<P, REAL(P), M<REAL(P)>, ROWS, COLUMNS>(x, y, coarse_x, coarse_y, ranges, table, derivatives, fine, coarse,  \
                                                       p, room, BLOCK, WORKER);                                             \
    }
#define BLUR(NAME, T)                                                                                                       \
    ENTRY(NAME, WORKERS, 1)(const T* x, const T* y, T* coarser_x, T* coarser_y, PARAMS(T)) {                                \
        blur(x, y, coarser_x, coarser_y, p, BLOCK, WORKER, WORKERS);                                                        \
    }
#define BLUR_ADJOINT(NAME, T)                                                                                               \
    ENTRY(NAME, WORKERS, 1)(const T* coarser_gradient, T* gradient, PARAMS(T)) {                                            \
        blur_adjoint(coarser_gradient, gradient, p, BLOCK, WORKER, WORKERS);                                                \
    }
#define GMSD_VALUE(NAME, T)                                                                                                 \
    ENTRY(NAME, GMSD_WORKERS, 1)(const T* x, const T* y, const T* ranges, T* partials, PARAMS(T)) {                         \
        BLOCK_MEMORY(T, room, GmsdTile<1>::ROOM);                                                                           \
        gmsd_value(x, y, ranges, partials, p, room, BLOCK, WORKER);                                                         \
    }
#define GMSD_GRADIENT(NAME, T)                                                                                              \
    ENTRY(NAME, GMSD_WORKERS, 1)(const T* x, const T* y, const T* ranges, const Number* table, T* gradient, PARAMS(T)) {    \
        BLOCK_MEMORY(T, room, GmsdTile<2>::ROOM);                                                                           \
        gmsd_gradient(x, y, ranges, table, gradient, p, room, BLOCK, WORKER);                                               \
    }
#define PYRAMID(NAME, P, BLOCKS)                                                                                            \
    ENTRY(NAME, PYRAMID_WORKERS, BLOCKS)(const P* x, const P* y, REAL(P) * coarse_x, REAL(P) * coarse_y, PARAMS(P)) {       \
        BLOCK_MEMORY(REAL(P), room, 2 * PYRAMID_WORKERS);                                                                   \
        pyramid(x, y, coarse_x, coarse_y, p, room, BLOCK, WORKER);                                                          \
    }
#define HALVE(NAME, P)                                                                                                      \
    ENTRY(NAME, WORKERS, 1)(const P* x, const P* y, REAL(P) * coarse_x, REAL(P) * coarse_y, PARAMS(P)) {                    \
        halve(x, y, coarse_x, coarse_y, p, BLOCK, WORKER, WORKERS);                                                         \
    }
#define COMBINE(NAME, P)                                                                                                    \
    ENTRY(NAME, WORKERS, 1)                                                                                                 \
    (const REAL(P) * fine, const REAL(P) * coarse, const Number* table, const Number* upstream, P* gradient, PARAMS(P)) {   \
        combine(fine, coarse, table, upstream, gradient, p, BLOCK, WORKER, WORKERS);                                        \
    }
#define ERRORS(NAME, P)                                                                                                     \
    ENTRY(NAME, WORKERS, 1)(const P* x, const P* y, REAL(P) * partials, PARAMS(P)) {                                        \
        BLOCK_MEMORY(REAL(P), room, 2 * QUANTITIES * WORKERS);                                                              \
        errors(x, y, partials, p, room, BLOCK, WORKER, WORKERS);                                                            \
    }
#define ERROR_GRADIENT(NAME, P)                                                                                             \
    ENTRY(NAME, WORKERS, 1)                                                                                                 \
    (const P* x, const P* y, const REAL(P) * ranges, const Number* table, const Number* upstream, P* gradient, PARAMS(P)) { \
        error_gradient(x, y, ranges, table, upstream, gradient, p, BLOCK, WORKER, WORKERS);                                 \
    }
#define FINISH(NAME, T)                                                                                                     \
    ENTRY(NAME, POOL_WORKERS, 1)                                                                                            \
    (const T* partials, const T* ranges, Number* rows, Number* table, Number* numbers, PARAMS(T), const __grid_constant__ Pool pool) { \
        BLOCK_MEMORY(T, room, 2 * POOL_WORKERS);                                                                            \
        finish(partials, ranges, rows, table, numbers, p, pool, room, WORKER, POOL_WORKERS);                                \
    }
#define DISTRIBUTE(NAME, T)                                                                                                 \
    ENTRY(NAME, WORKERS, 1)                                                                                                 \
    (const Number* rows, const T* ranges, const Number* upstream, Number* table, PARAMS(T), const __grid_constant__ Pool pool) { \
        const i32 plane = BLOCK * WORKERS + WORKER;                                                                         \
        if (plane < p.planes) distribute(p, pool, rows, ranges, upstream, table, plane);                                    \
    }

#ifdef MODULE
#define KERNELS_pool POOLS_OF(f32, float) POOLS_OF(f64, double)
#define KERNELS_gmsd GMSD_OF(f32, float) GMSD_OF(f64, double)
#define KERNELS_vif VIF_OF(f64, double)
#define KERNELS_OF(MODULE) KERNELS_##MODULE
#define KERNELS(MODULE) KERNELS_OF(MODULE)
KERNELS(MODULE)
#else
KERNELS_u8 KERNELS_f16 KERNELS_bf16 KERNELS_f32 KERNELS_f64
#endif
