//! The fused kernels as Candle operations with gradients.

mod errors;
mod map;
mod means;
mod planes;
mod scales;

use std::sync::OnceLock;

use candle_core::Tensor;
use metrics_core::Result;

use self::errors::Errors;
use self::map::Map;
use self::means::{Early, Means};
use self::planes::ranges;
use self::scales::Scales;
use super::{Kernel, OddSides, PixelError, Plan, Score};
use crate::pair::Pair;

/// The fused kernels.
pub(super) struct Fused;

impl Kernel for Fused {
    #[cfg(test)]
    fn name(&self) -> &'static str {
        "fused"
    }

    fn map(&self, pair: &Pair, plan: &Plan, score: Score) -> Result<Tensor> {
        // A map has the precision it is computed in, which half types and integers lack.
        let pair = pair.to_float()?;
        let ranges = ranges(&pair.range, pair.pred.dims())?;
        Ok(pair.pred.apply_op2(&pair.target, Map { plan: plan.clone(), ranges, score })?)
    }

    fn means(&self, pair: &Pair, plan: &Plan, score: Score, slope: f64) -> Result<Tensor> {
        let ranges = ranges(&pair.range, pair.pred.dims())?;
        let early = Early::new(slope, [pair.pred.track_op(), pair.target.track_op()]);
        Ok(pair.pred.apply_op2(&pair.target, Means { plan: plan.clone(), ranges, score, early })?)
    }

    fn scales(&self, pair: &Pair, plan: &Plan, scales: usize, odd_sides: OddSides) -> Result<Tensor> {
        let ranges = ranges(&pair.range, pair.pred.dims())?;
        let tracked = pair.pred.track_op() || pair.target.track_op();
        let op = Scales { plan: plan.clone(), ranges, scales, odd_sides, tracked, pyramid: OnceLock::new() };
        Ok(pair.pred.apply_op2(&pair.target, op)?)
    }

    fn errors(&self, pair: &Pair, error: PixelError) -> Result<Tensor> {
        Ok(pair.pred.apply_op2(&pair.target, Errors { error })?)
    }
}
