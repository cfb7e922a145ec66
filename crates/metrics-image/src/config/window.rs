use metrics_core::{Error, Result};
use serde::{Deserialize, Serialize};

/// One number for every spatial axis, or one for each (outermost first: height, width or depth, height, width).
///
/// Made from a number, an array or a `Vec`; builders take `impl Into<PerAxis<_>>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PerAxis<T> {
    /// The same on every axis.
    All(T),
    /// One for each axis.
    Each(Vec<T>),
}

impl<T: Copy> PerAxis<T> {
    fn values(&self) -> &[T] {
        match self {
            Self::All(value) => std::slice::from_ref(value),
            Self::Each(values) => values,
        }
    }

    fn spread(&self, op: &str, what: &str, axes: usize) -> Result<Vec<T>> {
        match self {
            Self::All(value) => Ok(vec![*value; axes]),
            Self::Each(values) if values.len() == axes => Ok(values.clone()),
            Self::Each(values) => Err(Error::argument(
                op,
                format!("{what} has {} values but the images have {axes} spatial axes", values.len()),
            )),
        }
    }
}

impl<T> From<T> for PerAxis<T> {
    fn from(value: T) -> Self {
        Self::All(value)
    }
}

impl<T, const N: usize> From<[T; N]> for PerAxis<T> {
    fn from(values: [T; N]) -> Self {
        Self::Each(values.into())
    }
}

impl<T> From<Vec<T>> for PerAxis<T> {
    fn from(values: Vec<T>) -> Self {
        Self::Each(values)
    }
}

/// The longest side of a window: far beyond any use, yet its taps take no time to make.
const LONGEST: usize = 65535;

/// The weights with which SSIM looks at the neighbourhood of a pixel; separable, normalised to sum 1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Window {
    /// `exp(-(d / sigma)² / 2)` at integer offsets `d`; without a size, as wide as 3.5 sigma reaches.
    Gaussian { sigma: PerAxis<f64>, size: Option<PerAxis<usize>> },
    /// Equal weights.
    Uniform { size: PerAxis<usize> },
}

impl Window {
    /// What is wrong with this window, if anything.
    pub(crate) fn problem(&self) -> Option<String> {
        let (sigma, size) = match self {
            Self::Gaussian { sigma, size } => (Some(sigma), size.as_ref()),
            Self::Uniform { size } => (None, Some(size)),
        };
        let sigmas = sigma.map_or(&[][..], PerAxis::values);
        if let Some(sigma) = sigmas.iter().find(|sigma| !(**sigma > 0.0 && sigma.is_finite())) {
            return Some(format!("`sigma` must be positive and finite, got {sigma}"));
        }
        let Some(size) = size else {
            let wide = sigmas.iter().find(|sigma| gaussian_size(**sigma) > LONGEST);
            return wide.map(|sigma| {
                format!("`sigma` must make a window of at most {LONGEST} pixels (7 sigma and 1), got {sigma:e}")
            });
        };
        let even = size.values().iter().find(|size| **size % 2 == 0);
        let long = size.values().iter().find(|size| **size > LONGEST);
        even.map(|size| format!("`window` must be odd, so that it has a centre, got {size}"))
            .or_else(|| long.map(|size| format!("`window` must be at most {LONGEST} pixels a side, got {size}")))
    }

    /// The taps on each of `axes` axes.
    pub(crate) fn taps(&self, op: &str, axes: usize) -> Result<Vec<Vec<f64>>> {
        match self {
            Self::Uniform { size } => {
                let sizes = size.spread(op, "`window`", axes)?;
                Ok(sizes.into_iter().map(|size| vec![1.0 / size as f64; size]).collect())
            }
            Self::Gaussian { sigma, size } => {
                let sigmas = sigma.spread(op, "`sigma`", axes)?;
                let sizes = match size {
                    Some(size) => size.spread(op, "`window`", axes)?,
                    None => sigmas.iter().map(|&sigma| gaussian_size(sigma)).collect(),
                };
                Ok(sigmas.into_iter().zip(sizes).map(|(sigma, size)| gaussian(sigma, size)).collect())
            }
        }
    }
}

/// TorchMetrics' and scikit-image's rule: 3.5 sigma to each side, rounded half up.
fn gaussian_size(sigma: f64) -> usize {
    ((3.5 * sigma + 0.5) as usize).saturating_mul(2).saturating_add(1)
}

pub(crate) fn gaussian(sigma: f64, size: usize) -> Vec<f64> {
    let centre = (size / 2) as f64;
    let weights: Vec<f64> = (0..size).map(|i| (-((i as f64 - centre) / sigma).powi(2) / 2.0).exp()).collect();
    let sum: f64 = weights.iter().sum();
    weights.into_iter().map(|weight| weight / sum).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn window_side_follows_sigma() {
        let sides = [0.5, 1.0, 1.5, 2.0, 2.5, 3.0].map(gaussian_size);
        assert_eq!(sides, [5, 9, 11, 15, 19, 23]);
    }

    #[test]
    fn taps_are_those_of_torchmetrics() {
        // torch.exp(-torch.pow(torch.arange(-5, 6, dtype=torch.float64) / 1.5, 2) / 2), normalised
        let expected = [
            0.00102838008447911,
            0.00759875813523919,
            0.0360007721284308,
            0.10936068950970,
            0.213005537711254,
            0.266011724861794,
        ];
        let taps = gaussian(1.5, 11);
        for (i, want) in expected.iter().enumerate() {
            assert!((taps[i] - want).abs() < 1e-14, "tap {i}: {} instead of {want}", taps[i]);
            assert_eq!(taps[i], taps[10 - i]);
        }
    }
}
