// Every kernel, by name. The dialect says what each kind of entry looks like, and expands the list for the types that it has.
//
// Names: what it computes, then the type of its pixels. `value_11` and `gradient_11` have 11 taps on both axes of a flat image, and
// so on; `wide` ones any number up to MAX_TAPS, and `deep` ones up to MAX_VOLUME_TAPS on three axes. In f64, which takes twice the
// registers, a thread has one column of a strip, and tiles of volumes are half as wide.

enum { LINE = 128, DEEP_ROWS = 16, DEEP_COLUMNS = 32, WORKERS = 128, POOL_WORKERS = 256, PYRAMID_WORKERS = 256 };

#define VALUES_OF(NAME, P, VEC, WIDTH, BLOCKS, COLUMNS)     \
    VALUE(value_7_##NAME, P, 7, VEC, 2 * WIDTH, BLOCKS, false)\
    VALUE(pass_7_##NAME, P, 7, VEC, 2 * WIDTH, 1, true)     \
    VALUE(value_9_##NAME, P, 9, VEC, 2 * WIDTH, BLOCKS, false)\
    VALUE(pass_9_##NAME, P, 9, VEC, 2 * WIDTH, 1, true)     \
    VALUE(value_11_##NAME, P, 11, VEC, 2 * WIDTH, BLOCKS, false)\
    VALUE(pass_11_##NAME, P, 11, VEC, 2 * WIDTH, 1, true)   \
    WINDOW(wide_value_##NAME, P, 1, LINE)                   \
    WINDOW(deep_value_##NAME, P, DEEP_ROWS, COLUMNS)        \
    PYRAMID(pyramid_##NAME, P)                              \
    HALVE(halve_##NAME, P)                                  \
    ERRORS(errors_##NAME, P)

#define GRADIENTS_OF(NAME, P, VEC, WIDTH, BLOCKS, COLUMNS)  \
    GRADIENT(gradient_7_##NAME, P, 7, VEC, WIDTH, BLOCKS, false)\
    GRADIENT(pass_gradient_7_##NAME, P, 7, VEC, WIDTH, BLOCKS, true)\
    GRADIENT(gradient_9_##NAME, P, 9, VEC, WIDTH, BLOCKS, false)\
    GRADIENT(pass_gradient_9_##NAME, P, 9, VEC, WIDTH, BLOCKS, true)\
    GRADIENT(gradient_11_##NAME, P, 11, VEC, WIDTH, BLOCKS, false)\
    GRADIENT(pass_gradient_11_##NAME, P, 11, VEC, WIDTH, BLOCKS, true)\
    ADJOINT(wide_adjoint_##NAME, P, 1, LINE)                \
    ADJOINT(deep_adjoint_##NAME, P, DEEP_ROWS, COLUMNS)     \
    COMBINE(combine_##NAME, P)                              \
    ERROR_GRADIENT(error_gradient_##NAME, P)

#define FLOATS_OF(NAME, P, BLOCKS)                          \
    VALUES_OF(NAME, P, 2, 32, BLOCKS, DEEP_COLUMNS)              \
    GRADIENTS_OF(NAME, P, 2, 32, 8, DEEP_COLUMNS)

#define POOLS_OF(NAME, T)                                   \
    FINISH(finish_##NAME, T)                                \
    DISTRIBUTE(distribute_##NAME, T)

#define KERNELS_u8 VALUES_OF(u8, u8, 2, 32, 6, DEEP_COLUMNS)
#define KERNELS_f16 FLOATS_OF(f16, Half, 6)
#define KERNELS_bf16 FLOATS_OF(bf16, Bfloat, 6)
#define KERNELS_f32 FLOATS_OF(f32, float, 8) POOLS_OF(f32, float)
#define KERNELS_f64                                         \
    VALUES_OF(f64, double, 1, 64, 1, DEEP_COLUMNS / 2)      \
    GRADIENTS_OF(f64, double, 1, 64, 1, DEEP_COLUMNS / 2)   \
    POOLS_OF(f64, double)
