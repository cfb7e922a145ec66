// The CUDA text of the kernels, and a table of them.

#include "launch.h"

#include "cuda.h"
#include "half.h"

namespace {

using emulation::from_half;
using emulation::to_half;

#include "../cuda/kernels.cu"

#undef PIVOT
#undef PASS
#undef HALVE
#undef ERRORS
#undef ERROR_GRADIENT
#undef FINISH
#define ROW(NAME) {#NAME, emulation::Call<NAME>::with, false},
#define PIVOT(NAME, P) ROW(NAME)
#define PASS(NAME, P, TAPS, ROWS, COLS, GRADIENT) ROW(NAME)
#define HALVE(NAME, P) ROW(NAME)
#define ERRORS(NAME, P) ROW(NAME)
#define ERROR_GRADIENT(NAME, P) ROW(NAME)
#define FINISH(NAME, T) ROW(NAME)

const emulation::Kernel KERNELS[] = {KERNELS_u8 KERNELS_f16 KERNELS_bf16 KERNELS_f32 KERNELS_f64};

} // namespace

extern "C" int emulate_cuda(const char* name, void* const* args, size_t count, unsigned blocks, unsigned workers) {
    return emulation::launch(KERNELS, false, name, args, count, blocks, workers);
}

extern "C" size_t params_size(bool doubled) {
    return doubled ? sizeof(Params<double>) : sizeof(Params<float>);
}
