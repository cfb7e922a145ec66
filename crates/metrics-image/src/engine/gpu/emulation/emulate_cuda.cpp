// The CUDA text of the kernels, and a table of them.

#include "launch.h"

#include "cuda.h"
#include "half.h"

namespace {

using emulation::from_half;
using emulation::to_half;

#include "../cuda/kernels.cu"

#define ROW(NAME, EACH) {#NAME, emulation::Call<NAME>::with, false},
#include "table.h"

const emulation::Kernel KERNELS[] = {KERNELS_u8 KERNELS_f16 KERNELS_bf16 KERNELS_f32 KERNELS_f64};

} // namespace

extern "C" void ENTRY_OF(cuda)(emulation::Launch* launch) { emulation::launch(KERNELS, false, *launch); }

#ifndef WATCHED
extern "C" size_t params_size(bool doubled) {
    return doubled ? sizeof(Params<double>) : sizeof(Params<float>);
}
#endif
