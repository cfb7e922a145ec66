//! What of a comparison becomes pictures.

use std::collections::HashSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result, ensure};
use candle_core::Tensor;
use metrics_core::{Named, Report};
use metrics_image::SsimConfig;

use crate::args::{CompareArgs, MetricArgs, Usage};
use crate::files::Place;
use crate::line;
use crate::load::{self, Loaded, Reading};
use crate::metrics::{Column, Kind, PairScores, check_map_side, map_config};
use crate::pairs::{Pair, PassedOver};
use crate::pictures::{Histogram, MOST_PAIRS, Page, Pictures, SUFFIX, Worst, draw_heat_map};
use crate::score;
use crate::tally::{Counts, Total, is_worse};

/// `--maps`: a picture for each pair.
pub(crate) struct Maps {
    folder: PathBuf,
    names: MapNames,
    config: SsimConfig,
    metrics: MetricArgs,
    range: f64,
}

impl Maps {
    pub(crate) fn new(folder: &Path, args: &CompareArgs, pairs: &[Pair]) -> Result<Self> {
        let names = MapNames::new(args.pairs.are_files(), pairs)?;
        let range = args.metrics.data_range.unwrap_or(1.0);
        let (config, metrics) = (map_config(&args.metrics), args.metrics.clone());
        Ok(Self { folder: folder.into(), names, config, metrics, range })
    }

    /// Where the map of a pair is written.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(self.names.of(name))
    }

    pub(crate) fn draw(&self, name: &str, images: &Loaded) -> Result<()> {
        self.write(&self.path(name), name, images).with_context(|| format!("there is no map of {name}"))
    }

    fn write(&self, path: &Path, name: &str, images: &Loaded) -> Result<()> {
        let draw = || -> Result<Vec<u8>> {
            check_map_side(&self.metrics, &images.reference)?;
            let [reference, test] = unit(images, self.range)?;
            draw_heat_map(name, &reference, &test, &self.config)
        };
        let file = draw().with_context(|| format!("cannot draw {}", path.display()))?;
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
        }
        Place::of(path)?.write(&file).with_context(|| format!("cannot write to {}", path.display()))
    }
}

/// How maps are called after their pairs: `deep/a.ssim.png` for `deep/a.png`, never as an image that is compared.
struct MapNames {
    /// Two files were named, whose folders say nothing.
    flat: bool,
    /// Two pairs differ only in their extension, so all keep theirs: `a.png.ssim.png` and `a.jpg.ssim.png`.
    extensions: bool,
}

impl MapNames {
    fn new(flat: bool, pairs: &[Pair]) -> Result<Self> {
        let twin = |names: &Self| {
            let mut paths = HashSet::new();
            pairs.iter().find(|pair| !paths.insert(names.of(&pair.name)))
        };
        let short = Self { flat, extensions: false };
        if twin(&short).is_none() {
            return Ok(short);
        }
        let long = Self { flat, extensions: true };
        match twin(&long) {
            None => Ok(long),
            Some(pair) => Err(Usage(format!("`--maps` needs names, but two pairs are called {}", pair.name)).into()),
        }
    }

    /// Below the folder of the maps.
    fn of(&self, name: &str) -> PathBuf {
        let mut path = within(name);
        if let (true, Some(file)) = (self.flat, path.file_name()) {
            path = file.into();
        }
        if !self.extensions && load::is_image_name(&path) {
            path.set_extension("");
        }
        let mut path = path.into_os_string();
        path.push(SUFFIX);
        path.into()
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
    let [images_of, channels] = [dims[0], dims[1]];
    let fine = images_of == 1 && [1, 3].contains(&channels);
    ensure!(fine, "one image of 1 or 3 channels can be drawn, but the file holds {images_of} of {channels}");
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
    pub(crate) fn add(&mut self, scores: Option<&PairScores>, columns: &[Column]) {
        let [values, worst] = scores.map(|scores| [&scores.values[..], &scores.worst]).unwrap_or_default();
        let named = columns.iter().zip(values).filter(|(column, _)| column.is_per_pair());
        let named: Vec<_> = named.filter_map(|(column, value)| Some((column.name.clone(), (*value)?))).collect();
        for (name, value) in &named {
            let histogram = self.histograms.iter_mut().find(|(other, _)| other == name);
            histogram.into_iter().for_each(|(_, histogram)| histogram.add(*value));
        }
        if let Some(value) = worst.get(self.ranking).copied().flatten() {
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
        (totals, counts, passed_over): (&[Option<Total>], &Counts, Option<&PassedOver>),
    ) -> Result<()> {
        let draw = |Candidate { index, values, .. }| {
            let pair = &pairs[index];
            let pictures = score::caught(&pair.name, || pictures(pair, args, reading));
            let pictures = pictures.map_err(|error| line::of_error(&error));
            Worst::new(pairs[index].name.clone(), values, pictures)
        };
        let mut summary = Named::new();
        for (column, total) in columns.iter().zip(totals) {
            if let Some(total) = total {
                summary.insert(&column.name, total.value.clone())?;
            }
        }
        let page = Page {
            title: title(args),
            command: command(),
            summary: Report::from(summary),
            histograms: self.histograms,
            worst_by: columns[self.ranking].name.clone(),
            worst: self.worst.into_iter().map(draw).collect(),
            counts,
            passed_over: passed_over.filter(|passed_over| passed_over.is_notable()).map(ToString::to_string),
        };
        let written = Place::of(path)?.write(page.html().as_bytes());
        written.with_context(|| format!("cannot write to {}", path.display()))
    }
}

/// A pair that was scored may still have no pictures: arrays may hold several images, and files may be gone by now.
fn pictures(pair: &Pair, args: &CompareArgs, reading: &Reading) -> Result<Pictures> {
    let files = pair.files.as_ref().map_err(|error| anyhow::anyhow!("{error}"))?;
    let images = load::pair(&files.reference, &files.test, reading)?;
    check_map_side(&args.metrics, &images.reference)?;
    let [reference, test] = unit(&images, args.metrics.data_range.unwrap_or(1.0))?;
    Pictures::new(&reference, &test, &map_config(&args.metrics))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn names(flat: bool, pairs: &[&str]) -> Result<Vec<String>> {
        let list: Vec<_> = pairs.iter().map(|&name| Pair { name: name.into(), files: Err(String::new()) }).collect();
        let names = MapNames::new(flat, &list)?;
        Ok(pairs.iter().map(|name| names.of(name).display().to_string().replace('\\', "/")).collect())
    }

    #[test]
    fn maps_are_called_after_pairs() -> Result<()> {
        assert_eq!(names(false, &["a.png", "deep/b.JPG"])?, ["a.ssim.png", "deep/b.ssim.png"]);
        assert_eq!(names(false, &["a.png", "a.jpg"])?, ["a.png.ssim.png", "a.jpg.ssim.png"]);
        assert_eq!(names(false, &["a.png", "a.jpg", "a.png.tif"])?[2], "a.png.tif.ssim.png");
        assert_eq!(names(false, &["model v1.2", "../a.png"])?, ["model v1.2.ssim.png", "a.ssim.png"]);
        assert_eq!(names(true, &["/some/where/a.png"])?, ["a.ssim.png"]);
        let error = names(false, &["a.png", "b.png", "a.png"]).unwrap_err();
        assert!(error.is::<Usage>() && error.to_string().contains("two pairs are called a.png"), "{error}");
        Ok(())
    }
}
