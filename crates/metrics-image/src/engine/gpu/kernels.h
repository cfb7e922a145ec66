// Every kernel, by name. The dialect says what each kind of entry looks like, and expands the list for the types that it has.
//
// Names: what it computes, then the type of its pixels. `value_11` and `gradient_11` have 11 taps on both axes of a flat image, and
// so on: means of SSIM and contrast, and the gradient of those; `pass_11` and `pass_gradient_11` also take errors of pixels and maps.
// `wide` ones have any number of taps up to MAX_TAPS, and `deep` ones up to MAX_VOLUME_TAPS on three axes. In f64, which takes twice the
// registers, a thread has one column of a strip, and tiles of volumes are half as wide. VIFp is computed in f64 where there is f64.

enum { LINE = 128, DEEP_ROWS = 16, DEEP_COLUMNS = 32, WORKERS = 128, POOL_WORKERS = 256 };

// Of a number of taps. `WIDTH` is the number of threads of a gradient, `BLOCKS` that of blocks of values that a multiprocessor holds.
#define VALUES_OF(NAME, P, TAPS, VEC, WIDTH, BLOCKS)                          \
    VALUE(value_##TAPS##_##NAME, P, TAPS, VEC, 2 * WIDTH, BLOCKS, false)      \
    VALUE(pass_##TAPS##_##NAME, P, TAPS, VEC, 2 * WIDTH, 1, true)

#define SCANS_OF(NAME, P, TAPS, VEC, WIDTH, BLOCKS, GRADIENT_BLOCKS)          \
    VALUES_OF(NAME, P, TAPS, VEC, WIDTH, BLOCKS)                              \
    GRADIENT(gradient_##TAPS##_##NAME, P, TAPS, VEC, WIDTH, GRADIENT_BLOCKS, false) \
    GRADIENT(pass_gradient_##TAPS##_##NAME, P, TAPS, VEC, WIDTH, GRADIENT_BLOCKS, true)

// Of any number. `BLOCKS` is the number of blocks of pyramids that a multiprocessor holds.
#define ANY_VALUES_OF(NAME, P, COLUMNS, BLOCKS)                               \
    WINDOW(wide_value_##NAME, P, Ssim, 1, LINE)                               \
    WINDOW(deep_value_##NAME, P, Ssim, DEEP_ROWS, COLUMNS)                    \
    PYRAMID(pyramid_##NAME, P, BLOCKS)                                        \
    HALVE(halve_##NAME, P)                                                    \
    ERRORS(errors_##NAME, P)

#define ANY_OF(NAME, P, COLUMNS, BLOCKS)                                      \
    ANY_VALUES_OF(NAME, P, COLUMNS, BLOCKS)                                   \
    ADJOINT(wide_adjoint_##NAME, P, Ssim, 1, LINE)                            \
    ADJOINT(deep_adjoint_##NAME, P, Ssim, DEEP_ROWS, COLUMNS)                 \
    COMBINE(combine_##NAME, P)                                                \
    ERROR_GRADIENT(error_gradient_##NAME, P)

#define POOLS_OF(NAME, T)                                                     \
    FINISH(finish_##NAME, T)                                                  \
    DISTRIBUTE(distribute_##NAME, T)

// Of planes of f32 or f64; those of VIFp lie dense.
#define GMSD_OF(NAME, T)                                                      \
    GMSD_VALUE(gmsd_value_##NAME, T)                                          \
    GMSD_GRADIENT(gmsd_gradient_##NAME, T)

#define VIF_OF(NAME, T)                                                       \
    WINDOW(vif_value_##NAME, T, Information, 1, LINE)                         \
    ADJOINT(vif_adjoint_##NAME, T, Information, 1, LINE)                      \
    BLUR(vif_blur_##NAME, T)                                                  \
    BLUR_ADJOINT(vif_blur_adjoint_##NAME, T)

#define KERNELS_u8_7 VALUES_OF(u8, u8, 7, 2, 32, 6)
#define KERNELS_u8_9 VALUES_OF(u8, u8, 9, 2, 32, 6)
#define KERNELS_u8_11 VALUES_OF(u8, u8, 11, 2, 32, 6)
#define KERNELS_u8_any ANY_VALUES_OF(u8, u8, DEEP_COLUMNS, 4)

#define KERNELS_f16_7 SCANS_OF(f16, Half, 7, 2, 32, 6, 8)
#define KERNELS_f16_9 SCANS_OF(f16, Half, 9, 2, 32, 6, 8)
#define KERNELS_f16_11 SCANS_OF(f16, Half, 11, 2, 32, 6, 8)
#define KERNELS_f16_any ANY_OF(f16, Half, DEEP_COLUMNS, 4)

#define KERNELS_bf16_7 SCANS_OF(bf16, Bfloat, 7, 2, 32, 6, 8)
#define KERNELS_bf16_9 SCANS_OF(bf16, Bfloat, 9, 2, 32, 6, 8)
#define KERNELS_bf16_11 SCANS_OF(bf16, Bfloat, 11, 2, 32, 6, 8)
#define KERNELS_bf16_any ANY_OF(bf16, Bfloat, DEEP_COLUMNS, 4)

#define KERNELS_f32_7 SCANS_OF(f32, float, 7, 2, 32, 8, 8)
#define KERNELS_f32_9 SCANS_OF(f32, float, 9, 2, 32, 8, 8)
#define KERNELS_f32_11 SCANS_OF(f32, float, 11, 2, 32, 8, 8)
#define KERNELS_f32_any ANY_OF(f32, float, DEEP_COLUMNS, 5)

#define KERNELS_f64_7 SCANS_OF(f64, double, 7, 1, 64, 1, 1)
#define KERNELS_f64_9 SCANS_OF(f64, double, 9, 1, 64, 1, 1)
#define KERNELS_f64_11 SCANS_OF(f64, double, 11, 1, 64, 1, 1)
#define KERNELS_f64_any ANY_OF(f64, double, DEEP_COLUMNS / 2, 4)

#define KERNELS_u8 KERNELS_u8_7 KERNELS_u8_9 KERNELS_u8_11 KERNELS_u8_any
#define KERNELS_f16 KERNELS_f16_7 KERNELS_f16_9 KERNELS_f16_11 KERNELS_f16_any
#define KERNELS_bf16 KERNELS_bf16_7 KERNELS_bf16_9 KERNELS_bf16_11 KERNELS_bf16_any
#define KERNELS_f32 KERNELS_f32_7 KERNELS_f32_9 KERNELS_f32_11 KERNELS_f32_any POOLS_OF(f32, float) GMSD_OF(f32, float)
#define KERNELS_f64 KERNELS_f64_7 KERNELS_f64_9 KERNELS_f64_11 KERNELS_f64_any POOLS_OF(f64, double) GMSD_OF(f64, double) VIF_OF(f64, double)
