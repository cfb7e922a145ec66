// Every kernel, by name. The dialect says what each kind of entry looks like, and expands the list for the types that it has.
//
// Names: what it computes, then the type of its pixels. `value` and `gradient` have 11 taps on each axis that has more than one, `wide`
// ones any number up to MAX_TAPS, and `deep` ones up to MAX_VOLUME_TAPS on three axes.

enum { LINE = 128, DEEP_ROWS = 16, DEEP_COLS = 32, WORKERS = 128 };

#define KERNELS_OF(NAME, P)                                                \
    PIVOT(pivot_##NAME, P)                                                 \
    PASS(value_##NAME, P, 11, 1, LINE, false)                              \
    PASS(wide_value_##NAME, P, 0, 1, LINE, false)                          \
    PASS(deep_value_##NAME, P, 0, DEEP_ROWS, DEEP_COLS, false)             \
    HALVE(halve_##NAME, P)                                                 \
    ERRORS(errors_##NAME, P)

#define GRADIENTS_OF(NAME, P)                                              \
    PASS(gradient_##NAME, P, 11, 1, LINE, true)                            \
    PASS(wide_gradient_##NAME, P, 0, 1, LINE, true)                        \
    PASS(deep_gradient_##NAME, P, 0, DEEP_ROWS, DEEP_COLS, true)           \
    ERROR_GRADIENT(error_gradient_##NAME, P)

#define SINGLE_KERNELS      \
    KERNELS_OF(f32, float)  \
    KERNELS_OF(f16, Half)   \
    KERNELS_OF(bf16, Bfloat)\
    KERNELS_OF(u8, u8)      \
    GRADIENTS_OF(f32, float)\
    GRADIENTS_OF(f16, Half) \
    GRADIENTS_OF(bf16, Bfloat) \
    FINISH(finish_f32, float)

#define DOUBLE_KERNELS       \
    KERNELS_OF(f64, double)  \
    GRADIENTS_OF(f64, double)\
    FINISH(finish_f64, double)
