//! What a metric computes.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{Report, number};

/// The value of a metric, in plain numbers.
///
/// With serde, a number, a list or an object. JSON has no infinities and no NaN, so they become `"inf"`, `"-inf"` and
/// `"NaN"` there, and are understood when read. (`serde_json` reads numbers to the last bit with its feature
/// `float_roundtrip` only.)
///
/// ```
/// use metrics_core::Value;
///
/// let value: Value = serde_json::from_str("\"inf\"")?;
/// assert_eq!(value, Value::Scalar(f64::INFINITY));
/// assert_eq!(value.scalar(), Some(f64::INFINITY));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum Value {
    /// One number for all samples.
    Scalar(#[serde(with = "number::serde_scalar")] f64),
    /// One number per sample, in the order of the updates.
    PerImage(#[serde(with = "number::serde_list")] Vec<f64>),
    /// How the numbers of the samples are distributed.
    Summary(Summary),
    /// An array of numbers in row-major order, e.g. one for each class, or a covariance.
    Array {
        /// Lengths of its axes.
        shape: Vec<usize>,
        /// Its numbers.
        #[serde(with = "number::serde_list")]
        values: Vec<f64>,
    },
    /// Several values by name, e.g. one for each label. (With serde, one whose names are those of a summary is read back as
    /// a summary.)
    Group(Report),
}

impl Value {
    /// The value as one number: a summary gives its mean, a list, an array or a group nothing.
    pub fn scalar(&self) -> Option<f64> {
        match self {
            Self::Scalar(value) => Some(*value),
            Self::Summary(summary) => Some(summary.mean),
            Self::PerImage(_) | Self::Array { .. } | Self::Group(_) => None,
        }
    }
}

/// To six decimals, or as many as the format's precision says.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |x: f64| number::show(x, f.precision());
        match self {
            Self::Scalar(value) => f.write_str(&show(*value)),
            Self::PerImage(values) | Self::Array { values, .. } => {
                let values: Vec<_> = values.iter().map(|&value| show(value)).collect();
                write!(f, "[{}]", values.join(", "))
            }
            Self::Summary(summary) => summary.fmt(f),
            Self::Group(report) => {
                let mut separator = "";
                f.write_str("{")?;
                for (name, value) in report.iter() {
                    write!(f, "{separator}{name}: ")?;
                    value.fmt(f)?;
                    separator = ", ";
                }
                f.write_str("}")
            }
        }
    }
}

/// The distribution of one number per sample.
///
/// A NaN among the numbers makes everything but the count NaN. An infinity shows in mean, extremes and quantiles, and makes
/// the standard deviation NaN.
///
/// Weights of samples count in mean and standard deviation; the others are of the samples that have a weight above 0.
/// Quantiles are exact up to 1024 different numbers, and then approximations, which [`quantile_error`](Self::quantile_error) says
/// and text marks with `≈`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Summary {
    /// How many samples.
    pub count: u64,
    /// Arithmetic mean, correctly rounded.
    #[serde(with = "number::serde_scalar")]
    pub mean: f64,
    /// Population standard deviation: the mean square is divided by `count`, or the sum of the weights, and not by
    /// `count - 1`. Of one sample it is 0. Correctly rounded.
    #[serde(with = "number::serde_scalar")]
    pub std: f64,
    /// The smallest.
    #[serde(with = "number::serde_scalar")]
    pub min: f64,
    /// The largest.
    #[serde(with = "number::serde_scalar")]
    pub max: f64,
    /// Half of the samples are below. Quantiles are linear between neighbours, as in NumPy and PyTorch.
    #[serde(with = "number::serde_scalar")]
    pub median: f64,
    /// 5 % of the samples are below.
    #[serde(with = "number::serde_scalar")]
    pub p5: f64,
    /// 95 % of the samples are below.
    #[serde(with = "number::serde_scalar")]
    pub p95: f64,
    /// The bound on the error of median, `p5` and `p95`, as of
    /// [`QuantileSketch::relative_error`](crate::QuantileSketch::relative_error): 0 while they are exact.
    #[serde(default, with = "number::serde_scalar")]
    pub quantile_error: f64,
}

impl Summary {
    /// A quantile as text, marked where it is an approximation.
    pub(crate) fn show_quantile(&self, quantile: f64, precision: Option<usize>) -> String {
        let mark = if self.quantile_error > 0.0 { "≈" } else { "" };
        format!("{mark}{}", number::show(quantile, precision))
    }
}

/// `mean ± std (min .. max, median m, 5 % a, 95 % b, n = count)`.
impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let precision = f.precision();
        let show = |x| number::show(x, precision);
        write!(f, "{} ± {} ({} .. {}, ", show(self.mean), show(self.std), show(self.min), show(self.max))?;
        let [median, p5, p95] = [self.median, self.p5, self.p95].map(|x| self.show_quantile(x, precision));
        write!(f, "median {median}, 5 % {p5}, 95 % {p95}, n = {})", self.count)
    }
}
