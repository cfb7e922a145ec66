//! What configurations have in common. They are immutable, built by chaining, checked as a whole by `build`.

mod input;
mod range;
mod window;

pub use input::Channels;
pub use range::DataRange;
pub use window::PerAxis;

pub(crate) use input::Input;
pub(crate) use window::{Window, gaussian};

use metrics_core::{NonFinite, Reduction};

/// What every configuration says, whatever it is of.
pub(crate) trait Settings {
    fn validate(&self) -> metrics_core::Result<()>;
    fn reduction(&self) -> Reduction;
    fn non_finite(&self) -> NonFinite;
}

/// The builders that every configuration has, and its [`Settings`]. A configuration made on another one names the field of that.
macro_rules! settings {
    ($config:ident $(, $part:ident)?) => {
        impl $config {
            /// Sets the data range.
            pub fn range(mut self, range: impl Into<$crate::DataRange>) -> Self {
                self.$($part.)?input.range = range.into();
                self
            }

            /// Sets which channels are scored.
            pub fn channels(mut self, channels: $crate::Channels) -> Self {
                self.$($part.)?input.channels = channels;
                self
            }

            /// Leaves out this many pixels along every border, before anything else is done.
            pub fn crop_border(mut self, pixels: usize) -> Self {
                self.$($part.)?input.crop_border = pixels;
                self
            }

            /// Sets how the values of images become one.
            pub fn reduction(mut self, reduction: metrics_core::Reduction) -> Self {
                self.$($part.)?reduction = reduction;
                self
            }

            /// Sets what the metric does with images whose value is NaN or infinite.
            pub fn non_finite(mut self, policy: metrics_core::NonFinite) -> Self {
                self.$($part.)?non_finite = policy;
                self
            }

            /// The data range.
            pub fn get_range(&self) -> $crate::DataRange {
                self.$($part.)?input.range
            }

            /// Which channels are scored.
            pub fn get_channels(&self) -> $crate::Channels {
                self.$($part.)?input.channels
            }

            /// How many pixels are left out along every border.
            pub fn get_crop_border(&self) -> usize {
                self.$($part.)?input.crop_border
            }

            /// How the values of images become one.
            pub fn get_reduction(&self) -> metrics_core::Reduction {
                self.$($part.)?reduction
            }

            /// What the metric does with images whose value is NaN or infinite.
            pub fn get_non_finite(&self) -> metrics_core::NonFinite {
                self.$($part.)?non_finite
            }
        }

        impl $crate::config::Settings for $config {
            fn validate(&self) -> metrics_core::Result<()> {
                self.validate()
            }
            fn reduction(&self) -> metrics_core::Reduction {
                self.$($part.)?reduction
            }
            fn non_finite(&self) -> metrics_core::NonFinite {
                self.$($part.)?non_finite
            }
        }
    };
}
pub(crate) use settings;

/// A configuration error in the voice of `config`.
pub(crate) fn check(config: &str, problem: Option<String>) -> metrics_core::Result<()> {
    match problem {
        Some(problem) => Err(metrics_core::Error::argument(config, problem)),
        None => Ok(()),
    }
}
