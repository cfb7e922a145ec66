// The entries of the kernels, after the text that is shared with CUDA.

#define REAL(P) RealOf<P>::Type
#define PLACE uint block [[threadgroup_position_in_grid]], uint worker [[thread_position_in_threadgroup]]
#define EACH uint at [[thread_position_in_grid]]

#define PIVOT(NAME, P)                                                                                                      \
    kernel void NAME(device const P* x [[buffer(0)]], device const P* y [[buffer(1)]], device REAL(P)* pivots [[buffer(2)]], \
                     constant Params<REAL(P)>& p [[buffer(3)]], PLACE) {                                                    \
        BLOCK_MEMORY(REAL(P), room, 2 * WORKERS);                                                                           \
        pivot(x, y, pivots, p, room, i32(block), i32(worker), WORKERS);                                                     \
    }
#define PASS(NAME, P, TAPS, ROWS, COLS, GRADIENT)                                                                           \
    kernel void NAME(device const P* x [[buffer(0)]], device const P* y [[buffer(1)]],                                      \
                     device const REAL(P)* pivots [[buffer(2)]], device const REAL(P)* ranges [[buffer(3)]],                \
                     device const Number* weights [[buffer(4)]], device const REAL(P)* upstream [[buffer(5)]],              \
                     device const REAL(P)* coarser [[buffer(6)]], device REAL(P)* partials [[buffer(7)]],                   \
                     device REAL(P)* map [[buffer(8)]], device P* gradient [[buffer(9)]],                                   \
                     constant Params<REAL(P)>& p [[buffer(10)]], PLACE) {                                                   \
        BLOCK_MEMORY(REAL(P), room, (Shape<TAPS, ROWS, COLS, GRADIENT>::ROOM));                                             \
        pass<P, REAL(P), TAPS, ROWS, COLS, GRADIENT>(x, y, pivots, ranges, weights, upstream, coarser, partials, map,       \
                                                     gradient, p, room, i32(block), i32(worker));                           \
    }
#define HALVE(NAME, P)                                                                                                      \
    kernel void NAME(device const P* x [[buffer(0)]], device const P* y [[buffer(1)]], device REAL(P)* half_x [[buffer(2)]], \
                     device REAL(P)* half_y [[buffer(3)]], constant Params<REAL(P)>& p [[buffer(4)]], EACH) {               \
        halve(x, y, half_x, half_y, p, i64(at));                                                                            \
    }
#define ERRORS(NAME, P)                                                                                                     \
    kernel void NAME(device const P* x [[buffer(0)]], device const P* y [[buffer(1)]],                                      \
                     device REAL(P)* partials [[buffer(2)]], constant Params<REAL(P)>& p [[buffer(3)]], PLACE) {            \
        BLOCK_MEMORY(REAL(P), room, 2 * WORKERS);                                                                           \
        errors(x, y, partials, p, room, i32(block), i32(worker), WORKERS);                                                  \
    }
#define ERROR_GRADIENT(NAME, P)                                                                                             \
    kernel void NAME(device const P* x [[buffer(0)]], device const P* y [[buffer(1)]],                                      \
                     device const Number* weights [[buffer(2)]], device P* gradient [[buffer(3)]],                          \
                     constant Params<REAL(P)>& p [[buffer(4)]], EACH) {                                                     \
        error_gradient(x, y, weights, gradient, p, i64(at));                                                                \
    }
#define FINISH(NAME, T)                                                                                                     \
    kernel void NAME(device const T* partials [[buffer(0)]], device Number* results [[buffer(1)]],                          \
                     constant Params<T>& p [[buffer(2)]], PLACE) {                                                          \
        BLOCK_MEMORY(T, room, 2 * WORKERS);                                                                                 \
        finish(partials, results, p, room, i32(block), i32(worker), WORKERS);                                               \
    }

KERNELS_u8 KERNELS_f16 KERNELS_bf16 KERNELS_f32
