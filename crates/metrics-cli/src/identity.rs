//! What a run must have in common with another to go on from it, or to be a part of the same: or its sums would be of other things.

use std::path::PathBuf;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::args::{CompareArgs, OutputArgs};
use crate::files;
use crate::metrics::Scorer;
use crate::output::Format;
use crate::pairs::{self, Pair};
use crate::targets;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Identity {
    pub(crate) pairs: u64,
    list: u64,
    /// In words, always in this order: the options that numbers depend on, and what else they depend on.
    conditions: Vec<String>,
}

impl Identity {
    pub(crate) fn new(args: &CompareArgs, scorer: &Scorer, pairs: &[Pair]) -> Self {
        let (metrics, reading) = (&args.metrics, &args.reading);
        let names = metrics.metrics.iter().map(word).collect::<Vec<_>>();
        let conditions = vec![
            option("metrics", Some(names.join(","))),
            option("preset", metrics.preset.as_ref().map(word)),
            option("color", Some(word(&metrics.color))),
            option("crop-border", Some(metrics.crop_border.to_string())),
            option("data-range", metrics.data_range.map(|range| range.to_string())),
            option("alpha", Some(word(&reading.alpha))),
            option("resize-mismatch", Some(word(&reading.resize_mismatch))),
            option("max-pixels", Some(reading.max_pixels.to_string())),
            format!("its output as {}", Format::of(&args.output).name()),
            format!("the device {}", scorer.device()),
            // Of metrics that compute something else under the same options, in another version.
            format!("metrics of the kind {:016x}", xxh3_64(scorer.fingerprint().as_bytes())),
        ];
        Self { pairs: pairs.len() as u64, list: pairs::fingerprint(pairs), conditions }
    }

    /// That of a run whose outputs go on as well: to go on with others would leave both with a part.
    pub(crate) fn with_outputs(mut self, args: &OutputArgs) -> Self {
        let place = |path: &PathBuf| match files::real(path) {
            real if real.to_str().is_some() => real.display().to_string(),
            real => format!("{real:?}"),
        };
        let output = args.output.as_ref().filter(|_| !targets::output_is_stdout(args));
        self.conditions.push(option("output", output.map(place)));
        self.conditions.push(option("maps", args.maps.as_ref().map(place)));
        self
    }

    /// That of the part that one rank does.
    pub(crate) fn of_rank(mut self, rank: usize, ranks: usize, pairs: usize) -> Self {
        self.pairs = pairs as u64;
        self.conditions.push(format!("the place of rank {rank} of {ranks}"));
        self
    }

    /// What `self` and `other` have, each, where they first differ.
    pub(crate) fn difference(&self, other: &Self) -> Option<[String; 2]> {
        let mut conditions = self.conditions.iter().zip(&other.conditions);
        if let Some((ours, theirs)) = conditions.find(|(ours, theirs)| ours != theirs) {
            return Some([ours.clone(), theirs.clone()]);
        }
        let list = |article, pairs| format!("{article} list of {pairs} {}", if pairs == 1 { "pair" } else { "pairs" });
        (self != other).then(|| [list("a", self.pairs), list("another", other.pairs)])
    }
}

fn option(name: &str, value: Option<String>) -> String {
    value.map_or_else(|| format!("no `--{name}`"), |value| format!("`--{name} {value}`"))
}

/// A value as it is given on the command line.
fn word(value: &impl ValueEnum) -> String {
    value.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
}
