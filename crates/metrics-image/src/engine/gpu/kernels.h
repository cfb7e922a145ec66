// Every kernel, by name. The dialect says what each kind of entry looks like, and expands the list for the types that it has.
//
// Names: what it computes, then the type of its pixels. `value` and `gradient` have 11 taps on both axes of a flat image, `wide` ones any
// number up to MAX_TAPS, and `deep` ones up to MAX_VOLUME_TAPS on three axes. In f64, which takes twice the
// registers, there are no kernels for 11 taps, and tiles of volumes are half as wide.

enum { LINE = 128, DEEP_ROWS = 16, DEEP_COLS = 32, WORKERS = 128 };

#define VALUES_OF(NAME, P, COLS)                            \
    PIVOT(pivot_##NAME, P)                                  \
    PASS(wide_value_##NAME, P, 0, 1, LINE, false)           \
    PASS(deep_value_##NAME, P, 0, DEEP_ROWS, COLS, false)   \
    HALVE(halve_##NAME, P)                                  \
    ERRORS(errors_##NAME, P)

#define GRADIENTS_OF(NAME, P, COLS)                         \
    PASS(wide_gradient_##NAME, P, 0, 1, LINE, true)         \
    PASS(deep_gradient_##NAME, P, 0, DEEP_ROWS, COLS, true) \
    ERROR_GRADIENT(error_gradient_##NAME, P)

#define ELEVEN_TAPS_OF(NAME, P)                             \
    PASS(value_##NAME, P, 11, 1, LINE, false)               \
    PASS(gradient_##NAME, P, 11, 1, LINE, true)

#define FLOATS_OF(NAME, P)                                  \
    VALUES_OF(NAME, P, DEEP_COLS)                           \
    GRADIENTS_OF(NAME, P, DEEP_COLS)                        \
    ELEVEN_TAPS_OF(NAME, P)

#define KERNELS_u8                                          \
    VALUES_OF(u8, u8, DEEP_COLS)                            \
    PASS(value_u8, u8, 11, 1, LINE, false)
#define KERNELS_f16 FLOATS_OF(f16, Half)
#define KERNELS_bf16 FLOATS_OF(bf16, Bfloat)
#define KERNELS_f32 FLOATS_OF(f32, float) FINISH(finish_f32, float)
#define KERNELS_f64                                         \
    VALUES_OF(f64, double, DEEP_COLS / 2)                   \
    GRADIENTS_OF(f64, double, DEEP_COLS / 2)                \
    FINISH(finish_f64, double)
