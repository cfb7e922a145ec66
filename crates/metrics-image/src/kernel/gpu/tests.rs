//! What the shared suite does not see.

use candle_core::{Device, Result, Tensor};
use kernel_emulation::{Dialect, launch, size_of_params};

use super::Gpu;
use super::params::Params;
use crate::config::Input;
use crate::kernel::reference::Reference;
use crate::kernel::{Kernel, Wants};
use crate::pair::{Pair, Spread};
use crate::{Padding, SsimConfig};

#[test]
fn parameters_lie_in_memory_as_kernels_see_them() {
    assert_eq!(size_of::<Params<f32>>(), size_of_params(false));
    assert_eq!(size_of::<Params<f64>>(), size_of_params(true));
}

#[test]
fn windows_without_kernels_are_left_to_the_reference() -> Result<()> {
    let wants = Wants { ssim: true, ..Wants::default() };
    for (shape, window) in [(&[1, 1, 40, 41][..], 35), (&[1, 1, 14, 15, 16], 13)] {
        let image = |low| Tensor::rand(low, 1f32, shape, &Device::Cpu);
        let pair = Pair::new("test", &Input::new(1.0.into()), Spread::Larger, &image(0.0)?, &image(0.3)?)?;
        let config = SsimConfig::new(1.0).window(window).padding(Padding::Valid);
        let plan = config.plan("test", shape.len() - 2)?;
        let score = |kernel: &dyn Kernel| -> Result<Vec<f64>> {
            kernel.pass(&pair, &plan, wants, None)?.ssim()?.flatten_all()?.to_vec1()
        };
        assert_eq!(score(&Gpu::EMULATED_METAL)?, score(&Reference)?);
    }
    Ok(())
}

#[test]
fn unknown_kernels_are_errors() {
    for dialect in [Dialect::Cuda, Dialect::Metal] {
        // SAFETY: there is no such kernel, so nothing gets the arguments.
        let error = unsafe { launch(dialect, "value_f8", 1, 1, &mut []) }.unwrap_err();
        assert_eq!(error, "value_f8: there is no such kernel");
    }
}
