//! What becomes of a sample whose number is NaN or infinite.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// What becomes of a sample that has a number which is NaN or infinite. A sample of weight 0 is left out first.
///
/// An infinity may be legitimate: the PSNR of identical images is one. `Skip` and `Error` make no difference; a cap or a
/// floor of the mean squared error keeps such values finite.
///
/// ```
/// use metrics_core::{NonFinite, Reduction, State, Statistics};
///
/// let mut state = State::scores(Reduction::Mean).non_finite(NonFinite::Skip);
/// state.accumulate(Statistics::new(3).with_values("score", vec![0.5, f64::NAN, 1.0]))?;
/// assert_eq!((state.mean("score")?, state.samples(), state.skipped()), (0.75, 2, 1));
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NonFinite {
    /// It is accumulated by the rules of IEEE 754, so that a mean with a NaN is NaN.
    #[default]
    Propagate,
    /// It is left out of every field, and counted: [`State::skipped`](crate::State::skipped).
    Skip,
    /// The update fails with [`Error::NonFinite`] and changes nothing. Of values that wait on a device, this shows when they
    /// are read back: see [`State::accumulate`](crate::State::accumulate).
    Error,
}

impl fmt::Display for NonFinite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Propagate => "propagate",
            Self::Skip => "skip",
            Self::Error => "error",
        })
    }
}

impl FromStr for NonFinite {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "propagate" => Ok(Self::Propagate),
            "skip" => Ok(Self::Skip),
            "error" => Ok(Self::Error),
            _ => Err(Error::argument("non_finite", format!("`{text}` is not one of `propagate`, `skip`, `error`"))),
        }
    }
}
