// The CUDA text of the kernels, and a table of them.

#include "launch.h"

#include "cuda.h"
#include "half.h"

namespace {

using emulation::from_half;
using emulation::to_half;

#include "../cuda/kernels.cu"

#include "table.h"

const emulation::Kernel KERNELS[] = {KERNELS_u8 KERNELS_f16 KERNELS_bf16 KERNELS_f32 KERNELS_f64};

} // namespace

extern "C" void ENTRY_OF(cuda)(emulation::Launch* launch) { emulation::launch(KERNELS, false, *launch); }

#ifndef WATCHED
template <class T>
static void sizes_to(size_t* sizes) {
    sizes[0] = sizeof(Params<T>);
    sizes[1] = sizeof(Pool);
}

extern "C" void params_sizes(bool doubled, size_t* sizes) {
    if (doubled) {
        sizes_to<double>(sizes);
    } else {
        sizes_to<float>(sizes);
    }
}
#endif
