//! The fused kernels as Candle operations with gradients.

mod early;
mod errors;
mod map;
mod pass;
mod planes;

use candle_core::Tensor;
use metrics_core::Result;

use self::errors::Errors;
use self::map::Map;
use self::pass::Pass;
use self::planes::ranges;
use super::rows::image_sums;
use super::{Kernel, Outcome, Plan, Score, Slopes, Wants};
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

    fn pass(&self, pair: &Pair, plan: &Plan, wants: Wants, slopes: Option<Slopes>) -> Result<Outcome> {
        let ranges = ranges(&pair.range, pair.pred.dims())?;
        let tracked = [pair.pred.track_op(), pair.target.track_op()];
        let (rows, pass) = Pass::new(plan, ranges, wants, slopes, tracked);
        rows.outcome(&pair.pred.apply_op2(&pair.target, pass)?, wants)
    }

    fn errors(&self, pair: &Pair, wants: Wants) -> Result<Outcome> {
        let sums = pair.pred.apply_op2(&pair.target, Errors)?;
        let row = |wanted: bool, row| wanted.then(|| image_sums(&sums, row)).transpose();
        Ok(Outcome { squared: row(wants.squared, 0)?, absolute: row(wants.absolute, 1)?, ..Outcome::default() })
    }
}
