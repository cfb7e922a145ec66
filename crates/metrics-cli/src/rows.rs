//! What became of each pair of a rank, as lines of a file, for rank 0 to put in the order of the list.

use anyhow::{Context, Result, ensure};
use serde::{Deserialize, Serialize};

use crate::metrics::PairScores;
use crate::output::Line;

/// A [`Line`] that keeps the bits of numbers, which JSON has no infinities for.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Row {
    Scores { values: Vec<Option<u64>>, worst: Vec<Option<u64>>, undrawn: Option<String> },
    Skipped(String),
    Failed(String),
}

impl From<Line<'_>> for Row {
    fn from(line: Line) -> Self {
        match line {
            Line::Scores(PairScores { values, worst, undrawn }) => {
                let bits = |values: &[Option<f64>]| values.iter().map(|value| value.map(f64::to_bits)).collect();
                Self::Scores { values: bits(values), worst: bits(worst), undrawn: undrawn.clone() }
            }
            Line::Skipped(reason) => Self::Skipped(reason.into()),
            Line::Failed(error) => Self::Failed(error.into()),
        }
    }
}

impl Row {
    /// Hands `each` the line that this row was made of.
    pub(crate) fn with_line<T>(&self, each: impl FnOnce(Line) -> T) -> T {
        match self {
            Self::Scores { values, worst, undrawn } => {
                let numbers = |bits: &[Option<u64>]| bits.iter().map(|bits| bits.map(f64::from_bits)).collect();
                let scores = PairScores { values: numbers(values), worst: numbers(worst), undrawn: undrawn.clone() };
                each(Line::Scores(&scores))
            }
            Self::Skipped(reason) => each(Line::Skipped(reason)),
            Self::Failed(error) => each(Line::Failed(error)),
        }
    }
}

/// The rows of all pairs of a list, of which rank `r` of `n` has worked on the pairs `r`, `r + n`, `r + 2n`, …
pub(crate) fn in_order(files: &[Vec<u8>], pairs: usize) -> Result<Vec<Row>> {
    let mut lines: Vec<_> = files.iter().map(|file| file.split(|&byte| byte == b'\n')).collect();
    let mut rows = Vec::with_capacity(pairs);
    for (pair, rank) in (0..pairs).zip((0..files.len()).cycle()) {
        let line = lines[rank].next().filter(|line| !line.is_empty());
        let line = line.with_context(|| format!("rank {rank} has nothing of pair {}", pair + 1))?;
        rows.push(serde_json::from_slice(line).with_context(|| format!("rank {rank} has a damaged row"))?);
    }
    for (rank, lines) in lines.iter_mut().enumerate() {
        ensure!(lines.all(<[u8]>::is_empty), "rank {rank} has more rows than pairs");
    }
    Ok(rows)
}
