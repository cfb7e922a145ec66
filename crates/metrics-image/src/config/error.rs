use metrics_core::{NonFinite, Reduction, Result};
use serde::{Deserialize, Serialize};

use super::{DataRange, Input, check, settings};

/// How the mean absolute and the mean squared error of an image are computed: `Σ |x - y| / n` and `Σ (x - y)² / n` over its `n`
/// values, in the units of the pixels.
///
/// The data range is only asked for where it changes pixels: to clamp them, or to place black in luma.
///
/// ```
/// use metrics_image::{Channels, ErrorConfig};
/// let plain = ErrorConfig::new().build()?;
/// let luma = ErrorConfig::new().range(255.0).channels(Channels::Luma).crop_border(4).build()?;
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ErrorConfig {
    pub(crate) input: Input,
    pub(crate) reduction: Reduction,
    #[serde(default)]
    pub(crate) non_finite: NonFinite,
}

impl Default for ErrorConfig {
    fn default() -> Self {
        let input = Input::new(DataRange::Value(1.0));
        Self { input, reduction: Reduction::Mean, non_finite: NonFinite::Propagate }
    }
}

settings!(ErrorConfig);

impl ErrorConfig {
    /// Of the pixels as they are, averaged over images.
    pub fn new() -> Self {
        Self::default()
    }

    /// Checks every setting.
    ///
    /// # Errors
    /// A data range that is not positive.
    pub fn build(self) -> Result<Self> {
        self.validate()?;
        Ok(self)
    }

    pub(crate) fn validate(&self) -> Result<()> {
        check("ErrorConfig", self.input.problem())
    }
}
