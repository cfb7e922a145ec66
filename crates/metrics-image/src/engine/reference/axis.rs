//! Everything linear that SSIM does to an image, as one matrix along one axis.
//!
//! A filter with its border rule and the halving of MS-SSIM with its rule for odd sides are both of this kind. A
//! product with a banded matrix is exact on any device and dtype, its gradient is the transposed product, and none of Candle's
//! grouped convolutions (a loop over channels) or `avg_pool2d` (wrong gradient on odd sides) is needed.

use candle_core::{Device, Tensor};
use metrics_core::Result;

use crate::engine::{OddSides, Padding};

/// A linear map from an axis of `input` pixels to one of `output` pixels.
#[derive(Debug, PartialEq)]
pub(super) struct AxisMap {
    input: usize,
    output: usize,
    /// `weights[i * output + o]`: what pixel `i` of the input adds to pixel `o` of the output.
    weights: Vec<f64>,
}

impl AxisMap {
    /// `terms(o)` lists the input pixels under output pixel `o`, with their weights.
    fn new<I: Iterator<Item = (usize, f64)>>(input: usize, output: usize, terms: impl Fn(usize) -> I) -> Self {
        let mut weights = vec![0.0; input * output];
        for o in 0..output {
            for (i, weight) in terms(o) {
                weights[i * output + o] += weight;
            }
        }
        Self { input, output, weights }
    }

    /// Correlation with `taps`, whose number is odd.
    pub(super) fn filter(side: usize, taps: &[f64], padding: Padding) -> Self {
        let reach = if padding == Padding::Valid { 0 } else { taps.len() / 2 };
        let output = side + 2 * reach + 1 - taps.len();
        Self::new(side, output, |o| {
            let seen = move |(k, &tap)| seen(o + k, reach, side, padding).map(|i| (i, tap));
            taps.iter().enumerate().filter_map(seen)
        })
    }

    /// Means of pairs of pixels, after `lead` lines before the first.
    pub(super) fn downsample(side: usize, lead: usize, odd_sides: OddSides) -> Self {
        Self::new(side, (side + lead + odd_sides.trail(side)) / 2, |o| {
            [2 * o, 2 * o + 1].into_iter().filter_map(move |i| match i.checked_sub(lead) {
                Some(i) => Some((i.min(side - 1), 0.5)),
                None => (odd_sides == OddSides::Replicate).then_some((0, 0.5)),
            })
        })
    }

    /// Means of pairs of pixels, the last of an odd side with a zero.
    pub(super) fn pairs(side: usize) -> Self {
        Self::new(side, side.div_ceil(2), |o| {
            [2 * o, 2 * o + 1].into_iter().filter(move |&i| i < side).map(|i| (i, 0.5))
        })
    }

    /// The sum of the weights of each output pixel: below 1 where a window reaches into a border of zeros.
    pub(super) fn coverage(&self) -> Vec<f64> {
        (0..self.output).map(|o| self.weights.iter().skip(o).step_by(self.output).sum()).collect()
    }

    /// Applies the map along `axis` of `x`.
    pub(super) fn apply(&self, x: &Tensor, axis: usize) -> Result<Tensor> {
        let matrix = Tensor::from_slice(&self.weights, (self.input, self.output), &Device::Cpu)?;
        let matrix = matrix.to_dtype(x.dtype())?.to_device(x.device())?;
        let last = x.rank() - 1;
        let x = x.transpose(axis, last)?.contiguous()?;
        let mut dims = x.dims().to_vec();
        dims[last] = self.output;
        let rows = x.elem_count() / self.input;
        Ok(x.reshape((rows, self.input))?.matmul(&matrix)?.reshape(dims)?.transpose(axis, last)?)
    }
}

/// Applies one map to each spatial axis of `x`, `[N, C, …]`.
pub(super) fn apply_all(maps: &[AxisMap], x: &Tensor) -> Result<Tensor> {
    maps.iter().enumerate().rev().try_fold(x.clone(), |x, (axis, map)| map.apply(&x, axis + 2))
}

/// `x` with so many lines more before and after those of `axis`, by the rule of a border that is made of lines.
pub(super) fn extended(x: &Tensor, axis: usize, [before, after]: [usize; 2], padding: Padding) -> Result<Tensor> {
    let side = x.dim(axis)?;
    let lines = (0..before + side + after).filter_map(|at| seen(at, before, side, padding));
    let lines: Vec<u32> = lines.map(|line| line as u32).collect();
    Ok(x.contiguous()?.index_select(&Tensor::new(lines, x.device())?, axis)?)
}

/// Which pixel of an axis is seen at position `at`, the axis itself being at `reach` and after.
fn seen(at: usize, reach: usize, side: usize, padding: Padding) -> Option<usize> {
    let (last, inside) = (side - 1, at.checked_sub(reach).filter(|&i| i < side));
    let mirrored = |repeats: usize| match at.checked_sub(reach) {
        None => reach - at - repeats,
        Some(i) => 2 * last + repeats - i,
    };
    inside.or_else(|| match padding {
        Padding::Reflect => Some(mirrored(0)),
        Padding::Symmetric => Some(mirrored(1)),
        Padding::Replicate => Some(if at < reach { 0 } else { last }),
        Padding::Zero | Padding::Valid => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(map: &AxisMap, o: usize) -> Vec<f64> {
        map.weights.iter().skip(o).step_by(map.output).copied().collect()
    }

    #[test]
    fn borders() {
        let taps = [0.1, 0.2, 0.4, 0.2, 0.1];
        let reflect = AxisMap::filter(4, &taps, Padding::Reflect);
        assert_eq!(row(&reflect, 0), [0.4, 0.4, 0.2, 0.0]); // c b | a b c d
        let symmetric = AxisMap::filter(4, &taps, Padding::Symmetric);
        assert_eq!(row(&symmetric, 0), [0.2 + 0.4, 0.1 + 0.2, 0.1, 0.0]); // b a | a b c d
        assert_eq!(row(&symmetric, 3), [0.0, 0.1, 0.2 + 0.1, 0.4 + 0.2]);
        let replicate = AxisMap::filter(4, &taps, Padding::Replicate);
        assert_eq!(row(&replicate, 0), [0.1 + 0.2 + 0.4, 0.2, 0.1, 0.0]); // a a | a b c d
        assert_eq!(row(&replicate, 2), [0.1, 0.2, 0.4, 0.2 + 0.1]);
        let zero = AxisMap::filter(4, &taps, Padding::Zero);
        assert_eq!(row(&zero, 3), [0.0, 0.1, 0.2, 0.4]);
        assert!((zero.coverage()[3] - 0.7).abs() < 1e-15);
        let valid = AxisMap::filter(6, &taps, Padding::Valid);
        assert_eq!((valid.output, row(&valid, 1)), (2, vec![0.0, 0.1, 0.2, 0.4, 0.2, 0.1]));
    }

    #[test]
    fn halving_odd_sides() {
        let first = |lead, odd| row(&AxisMap::downsample(5, lead, odd), 0);
        assert_eq!(first(0, OddSides::Drop), [0.5, 0.5, 0.0, 0.0, 0.0]);
        assert_eq!(first(1, OddSides::Zero), [0.5, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(first(1, OddSides::Replicate), [1.0, 0.0, 0.0, 0.0, 0.0]);
        let last = AxisMap::downsample(5, 0, OddSides::ReplicateLast);
        assert_eq!((last.output, row(&last, 2)), (3, vec![0.0, 0.0, 0.0, 0.0, 1.0]));
        assert_eq!(AxisMap::downsample(5, 0, OddSides::Drop).output, 2);
        assert_eq!(AxisMap::downsample(5, 1, OddSides::Zero).output, 3);
    }
}
