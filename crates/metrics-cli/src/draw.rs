//! What of a comparison becomes pictures.

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use candle_core::Tensor;
use metrics_core::{Named, Report};
use metrics_image::SsimConfig;

use crate::args::{CompareArgs, Usage};
use crate::load::{self, Loaded, Reading};
use crate::metrics::{Column, Kind, map_config};
use crate::pairs::Pair;
use crate::pictures::{Failure, Histogram, MOST_PAIRS, Page, Worst, write_heat_map};
use crate::tally::{Counts, Total, is_worse};

/// `--maps`: a picture for each pair.
pub(crate) struct Maps {
    folder: PathBuf,
    config: SsimConfig,
    range: f64,
}

impl Maps {
    pub(crate) fn new(folder: &Path, args: &CompareArgs, pairs: &[Pair]) -> Result<Self> {
        let mut names = HashSet::new();
        if let Some(pair) = pairs.iter().find(|pair| !names.insert(within(&pair.name))) {
            return Err(Usage(format!("`--maps` needs names, but two pairs are called {}", pair.name)).into());
        }
        let range = args.metrics.data_range.unwrap_or(1.0);
        Ok(Self { folder: folder.into(), config: map_config(&args.metrics), range })
    }

    pub(crate) fn draw(&self, name: &str, images: &Loaded) -> Result<()> {
        let mut path = self.folder.join(within(name)).into_os_string();
        path.push(".png");
        let path = PathBuf::from(path);
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        let [reference, test] = unit(images, self.range)?;
        write_heat_map(&path, name, &reference, &test, &self.config)
    }
}

/// The path below a folder that a pair's name stands for, whatever the name is.
fn within(name: &str) -> PathBuf {
    let normal = |part: &Component| matches!(part, Component::Normal(_));
    Path::new(name).components().filter(normal).collect()
}

/// Both images in 0..=1, as pictures show them.
fn unit(images: &Loaded, range: f64) -> Result<[Tensor; 2]> {
    let dims = images.reference.dims();
    ensure!(dims[0] == 1 && [1, 3].contains(&dims[1]), "images of {dims:?} (N, C, H, W) cannot be drawn");
    if range == 1.0 {
        return Ok([images.reference.clone(), images.test.clone()]);
    }
    Ok([(&images.reference / range)?, (&images.test / range)?])
}

/// `--report`: what the page needs of all pairs.
pub(crate) struct Gathered {
    /// Of each column that pairs have.
    histograms: Vec<(String, Histogram)>,
    /// Which column ranks the worst.
    ranking: usize,
    /// The worst first.
    worst: Vec<Candidate>,
    seen: usize,
}

/// A pair that is among the worst so far.
struct Candidate {
    /// Its place in the list of pairs.
    index: usize,
    value: f64,
    /// Of all columns.
    values: Vec<(String, f64)>,
}

impl Gathered {
    pub(crate) fn new(columns: &[Column]) -> Self {
        let per_pair = columns.iter().filter(|column| column.is_per_pair());
        let histograms = per_pair.map(|column| (column.name.clone(), Histogram::new())).collect();
        let similarity = columns.iter().position(|column| column.kind == Kind::Ssim);
        let ranking = similarity.or_else(|| columns.iter().position(Column::is_per_pair)).unwrap_or(0);
        Self { histograms, ranking, worst: Vec::new(), seen: 0 }
    }

    /// Takes notice of the next pair, which has no values if it was not scored.
    pub(crate) fn add(&mut self, values: &[Option<f64>], columns: &[Column]) {
        let named = columns.iter().zip(values).filter(|(column, _)| column.is_per_pair());
        let named: Vec<_> = named.filter_map(|(column, value)| Some((column.name.clone(), (*value)?))).collect();
        for (name, value) in &named {
            let histogram = self.histograms.iter_mut().find(|(other, _)| other == name);
            histogram.into_iter().for_each(|(_, histogram)| histogram.add(*value));
        }
        if let Some(value) = values.get(self.ranking).copied().flatten() {
            let higher = columns[self.ranking].kind.higher_is_better();
            // Behind those that are as bad: the order is that of the pairs then.
            let place = self.worst.iter().position(|other| is_worse(value, other.value, higher));
            let candidate = Candidate { index: self.seen, value, values: named };
            self.worst.insert(place.unwrap_or(self.worst.len()), candidate);
            self.worst.truncate(MOST_PAIRS);
        }
        self.seen += 1;
    }

    /// Writes the page. The worst pairs are read again: that takes less than keeping the pictures of all that were the worst once.
    pub(crate) fn write(
        self,
        path: &Path,
        args: &CompareArgs,
        pairs: &[Pair],
        reading: &Reading,
        columns: &[Column],
        (totals, counts): (&[Option<Total>], &Counts),
    ) -> Result<()> {
        let (config, range) = (map_config(&args.metrics), args.metrics.data_range.unwrap_or(1.0));
        let draw = |Candidate { index, values, .. }| {
            let Pair { name, files } = &pairs[index];
            let files = files.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
            let [reference, test] = unit(&load::pair(&files.reference, &files.test, reading)?, range)?;
            Worst::new(name.clone(), values, &reference, &test, &config)
        };
        let mut summary = Named::new();
        for (column, total) in columns.iter().zip(totals) {
            if let Some(total) = total {
                summary.insert(&column.name, total.value.clone())?;
            }
        }
        let failures = counts.failures.iter();
        let page = Page {
            title: title(args),
            command: command(),
            summary: Report::from(summary),
            histograms: self.histograms,
            worst_by: columns[self.ranking].name.clone(),
            worst: self.worst.into_iter().map(draw).collect::<Result<_>>()?,
            failures: failures
                .map(|failure| Failure { name: failure.pair.clone(), message: failure.error.clone() })
                .collect(),
        };
        page.write(path)
    }
}

fn title(args: &CompareArgs) -> String {
    let reference = args.pairs.reference.display();
    match &args.pairs.test {
        Some(test) => format!("{} against {reference}", test.display()),
        None => format!("The pairs of {reference}"),
    }
}

/// What was typed, as a shell takes it.
fn command() -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,+:@%".contains(c);
    let quoted = |word: String| match !word.is_empty() && word.chars().all(plain) {
        true => word,
        false => format!("'{}'", word.replace('\'', r"'\''")),
    };
    let words = std::env::args_os().skip(1).map(|word| quoted(word.to_string_lossy().into_owned()));
    ["image-metrics".to_owned()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
}
