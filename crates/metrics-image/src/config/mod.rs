//! Configurations: immutable, built by chaining, checked as a whole by `build`.

mod error;
mod input;
mod ms_ssim;
mod psnr;
mod range;
mod ssim;
mod window;

pub use error::ErrorConfig;
pub use input::Channels;
pub use ms_ssim::{ChannelPower, MsSsimConfig, Normalize, OddSides};
pub use psnr::{MseFloor, Pooling, PsnrConfig};
pub use range::DataRange;
pub use ssim::{Covariance, SsimConfig};
pub use window::PerAxis;

pub(crate) use input::Input;
pub(crate) use window::{Window, gaussian};

/// The builders that every configuration has, written once.
macro_rules! input_builders {
    ($($path:ident).+) => {
        /// Sets the data range.
        pub fn range(mut self, range: impl Into<$crate::DataRange>) -> Self {
            self.$($path).+.range = range.into();
            self
        }

        /// Sets which channels are scored.
        pub fn channels(mut self, channels: $crate::Channels) -> Self {
            self.$($path).+.channels = channels;
            self
        }

        /// Leaves out this many pixels along every border, before anything else is done.
        pub fn crop_border(mut self, pixels: usize) -> Self {
            self.$($path).+.crop_border = pixels;
            self
        }
    };
}
pub(crate) use input_builders;

/// A configuration error in the voice of `config`.
pub(crate) fn check(config: &str, problem: Option<String>) -> metrics_core::Result<()> {
    match problem {
        Some(problem) => Err(metrics_core::Error::argument(config, problem)),
        None => Ok(()),
    }
}
