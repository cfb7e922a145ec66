// The entries of the kernels, after the text that is shared with CUDA.

#define REAL(P) RealOf<P>::Type
#define READS(T, NAME, AT) device const T* NAME [[buffer(AT)]]
#define WRITES(T, NAME, AT) device T* NAME [[buffer(AT)]]
#define PARAMS(P, AT) constant Params<REAL(P)>& p [[buffer(AT)]]
#define IMAGES(P)                                                                                                           \
    READS(P, x, 0), READS(P, y, 1), READS(REAL(P), coarse_x, 2), READS(REAL(P), coarse_y, 3), READS(REAL(P), ranges, 4)
#define PLACE uint block_at [[threadgroup_position_in_grid]], uint worker_at [[thread_position_in_threadgroup]]
#define BLOCK i32(block_at)
#define WORKER i32(worker_at)

#define VALUE(NAME, P, TAPS, VEC, THREADS, BLOCKS, FULL)                                                                          \
    kernel void NAME(IMAGES(P), WRITES(REAL(P), partials, 5), WRITES(REAL(P), map, 6), PARAMS(P, 7), PLACE) {               \
        BLOCK_MEMORY(Basis<REAL(P)>, room, (Strip<REAL(P), TAPS, VEC, THREADS>::ROOM));                                     \
        value<P, REAL(P), TAPS, VEC, THREADS, FULL>(x, y, coarse_x, coarse_y, ranges, partials, map, p, room, BLOCK, WORKER);     \
    }
#define GRADIENT(NAME, P, TAPS, VEC, THREADS, BLOCKS, FULL)                                                                       \
    kernel void NAME(IMAGES(P), READS(Number, table, 5), READS(REAL(P), map, 6), WRITES(REAL(P), partials, 7),              \
                     WRITES(REAL(P), fine, 8), WRITES(REAL(P), coarse, 9), PARAMS(P, 10), PLACE) {                          \
        BLOCK_MEMORY(Basis<REAL(P)>, room, (Strip<REAL(P), TAPS, VEC, THREADS>::ROOM_WITH_BACK));                           \
        gradient<P, REAL(P), TAPS, VEC, THREADS, FULL>(x, y, coarse_x, coarse_y, ranges, table, map, partials, fine, coarse, p,   \
                                                 room, BLOCK, WORKER);                                                      \
    }
#define WINDOW(NAME, P, M, ROWS, COLUMNS)                                                                                   \
    kernel void NAME(IMAGES(P), READS(Number, table, 5), READS(REAL(P), upstream, 6), WRITES(REAL(P), partials, 7),         \
                     WRITES(REAL(P), map, 8), WRITES(REAL(P), derivatives, 9), PARAMS(P, 10), PLACE) {                      \
        BLOCK_MEMORY(REAL(P), room, (Block<REAL(P), M<REAL(P)>, ROWS, COLUMNS>::ROOM));                                     \
        window_value<P, REAL(P), M<REAL(P)>, ROWS, COLUMNS>(x, y, coarse_x, coarse_y, ranges, table, upstream, partials,    \
                                                            map, derivatives, p, room, BLOCK + p.scale[0].first, WORKER);   \
    }
#define ADJOINT(NAME, P, M, ROWS, COLUMNS)                                                                                  \
    kernel void NAME(IMAGES(P), READS(Number, table, 5), READS(REAL(P), derivatives, 6), WRITES(REAL(P), fine, 7),          \
                     WRITES(REAL(P), coarse, 8), PARAMS(P, 9), PLACE) {                                                     \
        BLOCK_MEMORY(REAL(P), room, (Block<REAL(P), M<REAL(P)>, ROWS, COLUMNS>::BACK));                                     \
        adjoint<P, REAL(P), M<REAL(P)>, ROWS, COLUMNS>(x, y, coarse_x, coarse_y, ranges, table, derivatives, fine, coarse,  \
                                                       p, room, BLOCK, WORKER);                                             \
    }
#define BLUR(NAME, T)                                                                                                       \
    kernel void NAME(READS(T, x, 0), READS(T, y, 1), WRITES(T, coarser_x, 2), WRITES(T, coarser_y, 3), PARAMS(T, 4),        \
                     PLACE) {                                                                                               \
        blur(x, y, coarser_x, coarser_y, p, BLOCK, WORKER, WORKERS);                                                        \
    }
#define BLUR_ADJOINT(NAME, T)                                                                                               \
    kernel void NAME(READS(T, coarser_gradient, 0), WRITES(T, gradient, 1), PARAMS(T, 2), PLACE) {                          \
        blur_adjoint(coarser_gradient, gradient, p, BLOCK, WORKER, WORKERS);                                                \
    }
#define GMSD_VALUE(NAME, T)                                                                                                 \
    kernel void NAME(READS(T, x, 0), READS(T, y, 1), READS(T, ranges, 2), WRITES(T, partials, 3), PARAMS(T, 4), PLACE) {    \
        BLOCK_MEMORY(T, room, GmsdTile<1>::ROOM);                                                                           \
        gmsd_value(x, y, ranges, partials, p, room, BLOCK, WORKER);                                                         \
    }
#define GMSD_GRADIENT(NAME, T)                                                                                              \
    kernel void NAME(READS(T, x, 0), READS(T, y, 1), READS(T, ranges, 2), READS(Number, table, 3), WRITES(T, gradient, 4),  \
                     PARAMS(T, 5), PLACE) {                                                                                 \
        BLOCK_MEMORY(T, room, GmsdTile<2>::ROOM);                                                                           \
        gmsd_gradient(x, y, ranges, table, gradient, p, room, BLOCK, WORKER);                                               \
    }
#define PYRAMID(NAME, P, BLOCKS)                                                                                            \
    kernel void NAME(READS(P, x, 0), READS(P, y, 1), WRITES(REAL(P), coarse_x, 2), WRITES(REAL(P), coarse_y, 3),            \
                     PARAMS(P, 4), PLACE) {                                                                                 \
        BLOCK_MEMORY(REAL(P), room, 2 * PYRAMID_WORKERS);                                                                   \
        pyramid(x, y, coarse_x, coarse_y, p, room, BLOCK, WORKER);                                                          \
    }
#define HALVE(NAME, P)                                                                                                      \
    kernel void NAME(READS(P, x, 0), READS(P, y, 1), WRITES(REAL(P), coarse_x, 2), WRITES(REAL(P), coarse_y, 3),            \
                     PARAMS(P, 4), PLACE) {                                                                                 \
        halve(x, y, coarse_x, coarse_y, p, BLOCK, WORKER, WORKERS);                                                         \
    }
#define COMBINE(NAME, P)                                                                                                    \
    kernel void NAME(READS(REAL(P), fine, 0), READS(REAL(P), coarse, 1), READS(Number, table, 2),                           \
                     READS(Number, upstream, 3), WRITES(P, gradient, 4), PARAMS(P, 5), PLACE) {                             \
        combine(fine, coarse, table, upstream, gradient, p, BLOCK, WORKER, WORKERS);                                        \
    }
#define ERRORS(NAME, P)                                                                                                     \
    kernel void NAME(READS(P, x, 0), READS(P, y, 1), WRITES(REAL(P), partials, 2), PARAMS(P, 3), PLACE) {                   \
        BLOCK_MEMORY(REAL(P), room, 2 * QUANTITIES * WORKERS);                                                              \
        errors(x, y, partials, p, room, BLOCK, WORKER, WORKERS);                                                            \
    }
#define ERROR_GRADIENT(NAME, P)                                                                                             \
    kernel void NAME(READS(P, x, 0), READS(P, y, 1), READS(REAL(P), ranges, 2), READS(Number, table, 3),                    \
                     READS(Number, upstream, 4), WRITES(P, gradient, 5), PARAMS(P, 6), PLACE) {                             \
        error_gradient(x, y, ranges, table, upstream, gradient, p, BLOCK, WORKER, WORKERS);                                 \
    }
#define FINISH(NAME, T)                                                                                                     \
    kernel void NAME(READS(T, partials, 0), READS(T, ranges, 1), WRITES(Number, rows, 2), WRITES(Number, table, 3),         \
                     WRITES(Number, numbers, 4), PARAMS(T, 5), constant Pool& pool [[buffer(6)]], PLACE) {                  \
        BLOCK_MEMORY(T, room, 2 * POOL_WORKERS);                                                                            \
        finish(partials, ranges, rows, table, numbers, p, pool, room, WORKER, POOL_WORKERS);                                \
    }
#define DISTRIBUTE(NAME, T)                                                                                                 \
    kernel void NAME(READS(Number, rows, 0), READS(T, ranges, 1), READS(Number, upstream, 2), WRITES(Number, table, 3),     \
                     PARAMS(T, 4), constant Pool& pool [[buffer(5)]], PLACE) {                                              \
        const i32 plane = BLOCK * WORKERS + WORKER;                                                                         \
        if (plane < p.planes) distribute(p, pool, rows, ranges, upstream, table, plane);                                    \
    }

KERNELS_u8 KERNELS_f16 KERNELS_bf16 KERNELS_f32 VIF_OF(f32, float)
