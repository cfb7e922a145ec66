//! How the values of samples become one.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How a metric reduces the values of samples to its own.
///
/// All but [`Reduction::None`] need constant memory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reduction {
    /// The mean over samples, correctly rounded.
    #[default]
    Mean,
    /// The sum over samples, correctly rounded.
    Sum,
    /// Every sample's value, in the order of the updates: 8 bytes a sample.
    None,
    /// Count, mean, standard deviation, minimum, maximum, median, 5 % and 95 % quantiles over samples.
    Summary,
}

impl fmt::Display for Reduction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mean => "mean",
            Self::Sum => "sum",
            Self::None => "none",
            Self::Summary => "summary",
        })
    }
}

impl FromStr for Reduction {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        match text {
            "mean" => Ok(Self::Mean),
            "sum" => Ok(Self::Sum),
            "none" => Ok(Self::None),
            "summary" => Ok(Self::Summary),
            _ => Err(Error::argument("reduction", format!("`{text}` is not one of `mean`, `sum`, `none`, `summary`"))),
        }
    }
}
