// The lists of kernels (`KERNELS_f32` and the like) as rows of a table.
#undef VALUE
#undef GRADIENT
#undef WINDOW
#undef ADJOINT
#undef PYRAMID
#undef HALVE
#undef COMBINE
#undef ERRORS
#undef ERROR_GRADIENT
#undef FINISH
#undef DISTRIBUTE
#define ROW(NAME) {#NAME, emulation::Call<NAME>::with},
#define VALUE(NAME, P, TAPS, VEC, THREADS, BLOCKS, FULL) ROW(NAME)
#define GRADIENT(NAME, P, TAPS, VEC, THREADS, BLOCKS, FULL) ROW(NAME)
#define WINDOW(NAME, P, ROWS, COLUMNS) ROW(NAME)
#define ADJOINT(NAME, P, ROWS, COLUMNS) ROW(NAME)
#define PYRAMID(NAME, P) ROW(NAME)
#define HALVE(NAME, P) ROW(NAME)
#define COMBINE(NAME, P) ROW(NAME)
#define ERRORS(NAME, P) ROW(NAME)
#define ERROR_GRADIENT(NAME, P) ROW(NAME)
#define FINISH(NAME, T) ROW(NAME)
#define DISTRIBUTE(NAME, T) ROW(NAME)
