// The lists of kernels (`KERNELS_f32` and the like) as rows of a table: what a kernel is called, and whether Metal tells it the thread's place in
// the grid instead of the block and the place in it. To be included after `ROW` is defined.
#undef PIVOT
#undef PASS
#undef HALVE
#undef ERRORS
#undef ERROR_GRADIENT
#undef FINISH
#define PIVOT(NAME, P) ROW(NAME, false)
#define PASS(NAME, P, TAPS, ROWS, COLS, GRADIENT) ROW(NAME, false)
#define HALVE(NAME, P) ROW(NAME, true)
#define ERRORS(NAME, P) ROW(NAME, false)
#define ERROR_GRADIENT(NAME, P) ROW(NAME, true)
#define FINISH(NAME, T) ROW(NAME, false)
