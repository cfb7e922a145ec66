//! `--fail-under`: scores that must be reached.

use std::str::FromStr;

use anyhow::Result;
use clap::ValueEnum;

use crate::args::Usage;
use crate::metrics::{Column, Kind};
use crate::tally::Total;

/// A metric whose mean must be at least `least`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Threshold {
    kind: Kind,
    least: f64,
}

impl FromStr for Threshold {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (metric, least) = text.split_once('=').ok_or("expected METRIC=VALUE, e.g. ssim=0.98")?;
        // As in the output, an underscore is as good as a hyphen.
        let kind = Kind::from_str(&metric.replace('_', "-"), false)?;
        if !kind.higher_is_better() {
            return Err(format!("of {metric}, lower is better"));
        }
        let number = least.parse().ok().filter(|least: &f64| !least.is_nan());
        let least = number.ok_or_else(|| format!("`{least}` is not a number"))?;
        Ok(Self { kind, least })
    }
}

/// Refuses thresholds for what is not computed.
pub(crate) fn check(thresholds: &[Threshold], columns: &[Column]) -> Result<()> {
    for Threshold { kind, .. } in thresholds {
        if !columns.iter().any(|column| column.kind == *kind) {
            return Err(Usage(format!("`--fail-under` names {}, which `--metrics` does not", kind.option())).into());
        }
    }
    Ok(())
}

/// A line for each score that is lower than its threshold, or is not there.
pub(crate) fn broken(thresholds: &[Threshold], columns: &[Column], totals: &[Option<Total>]) -> Vec<String> {
    let mut lines = Vec::new();
    for Threshold { kind, least } in thresholds {
        for (column, total) in columns.iter().zip(totals).filter(|(column, _)| column.kind == *kind) {
            match total.as_ref().map(Total::value) {
                // NaN is not at least anything.
                Some(value) if value >= *least => {}
                Some(value) => lines.push(format!("{} is {value}, below {least}", column.name)),
                None => lines.push(format!("{} has no value, and should be at least {least}", column.name)),
            }
        }
    }
    lines
}
