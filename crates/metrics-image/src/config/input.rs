use serde::{Deserialize, Serialize};

use super::DataRange;

/// Which channels are scored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channels {
    /// Every channel by itself; an image's score is their mean.
    #[default]
    All,
    /// The luma of an RGB image by ITU-R BT.601 in studio range, as super-resolution papers score:
    /// `Y = low + (16 R' + 65.481 (r - low) + 128.553 (g - low) + 24.966 (b - low)) / 255` where `R'` is the data range and `low`
    /// its lower bound (0 unless it is [`DataRange::Clamp`]), so that 8-bit white is 235.
    Luma,
    /// The gray value of an RGB image, `.299 R + .587 G + .114 B`, as measures of structure are defined on it; images of any other
    /// number of channels are scored channel by channel.
    Gray,
}

/// How a pair of images is brought into the form that is scored; the part that every configuration shares.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Input {
    pub(crate) range: DataRange,
    pub(crate) channels: Channels,
    pub(crate) crop_border: usize,
}

impl Input {
    pub(crate) fn new(range: DataRange) -> Self {
        Self { range, channels: Channels::All, crop_border: 0 }
    }

    /// What is wrong with these settings, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let luma_without_range = self.channels == Channels::Luma && self.range.fixed().is_none();
        self.range.problem().or_else(|| {
            luma_without_range.then(|| {
                format!("`channels` Luma needs a `data_range` of Value or Clamp to place black, got {:?}", self.range)
            })
        })
    }
}
