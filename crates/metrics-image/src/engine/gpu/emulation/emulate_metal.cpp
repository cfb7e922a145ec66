// The Metal text of the kernels, and a table of them.

#include "launch.h"

#include "half.h"

#include <metal_stdlib>

#define LOCAL

namespace {

#include "../metal/dialect.metal"
#include "../base.h"
#include "../../../measure/ssim.h"
#include "../tile.h"
#include "../../../measure/gmsd.h"
#include "../../../measure/vif.h"
#include "../scan.h"
#include "../window.h"
#include "../blur.h"
#include "../pyramid.h"
#include "../pixel.h"
#include "../pool.h"
#include "../kernels.h"
#include "../metal/kernels.metal"

#include "table.h"

const emulation::Kernel KERNELS[] = {KERNELS_u8 KERNELS_f16 KERNELS_bf16 KERNELS_f32 VIF_OF(f32, float)};

} // namespace

extern "C" void ENTRY_OF(metal)(emulation::Launch* launch) { emulation::launch(KERNELS, true, *launch); }
