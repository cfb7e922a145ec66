//! The command line.

use std::path::PathBuf;
use std::str::FromStr;

use clap::Parser;
use metrics_image::{Loss, LossTerm, MsSsimConfig};
use serde::Serialize;

/// Train a small convolutional denoiser on a photograph, with an image-quality metric as the loss, and measure it on photographs
/// that it has not seen.
#[derive(Parser, Serialize)]
pub(crate) struct Options {
    /// What is minimized: terms with their weights, of l1, mse, charbonnier, ssim, ms_ssim, gmsd and vif. Here ms_ssim has three
    /// scales of equal weight, so that it works on crops of 44 pixels and more.
    #[arg(long, value_name = "TERM:WEIGHT,...", default_value = "l1:0.8,ssim:0.2")]
    pub(crate) loss: Mixture,

    /// Grayscale picture, resized to a crop, that says which pixels of a crop count in training: those under white do, those under
    /// black do not, as if they were unknown. Validation counts all.
    #[arg(long, value_name = "FILE")]
    pub(crate) mask: Option<PathBuf>,

    /// Optimiser steps.
    #[arg(long, default_value = "400", value_parser = positive)]
    pub(crate) steps: usize,

    /// Steps between validations [default: a tenth of the steps].
    #[arg(long, value_parser = positive)]
    pub(crate) validate_every: Option<usize>,

    /// Crops in a batch.
    #[arg(long, default_value = "4", value_parser = positive)]
    pub(crate) batch: usize,

    /// Side of a training crop in pixels, even.
    #[arg(long, default_value = "64", value_parser = even)]
    pub(crate) crop: usize,

    /// Standard deviation of the noise, in 8-bit units.
    #[arg(long, default_value = "25", value_parser = above_zero, allow_negative_numbers = true)]
    pub(crate) sigma: f64,

    /// Largest learning rate; it rises to it in a few steps and falls to zero along a cosine.
    #[arg(long, default_value = "0.005", value_parser = above_zero, allow_negative_numbers = true)]
    pub(crate) lr: f64,

    /// Seed of weights, crops and noise.
    #[arg(long, default_value = "0")]
    pub(crate) seed: u64,

    /// Where training runs: cpu, cuda, cuda:N or metal; a GPU needs a build with `--features cuda` or `--features metal`.
    #[arg(long, default_value = "cpu")]
    pub(crate) device: String,

    /// Folder of two or more photographs, PNG or JPEG; the last two by name are held out, of two the last [default: those that
    /// come with the example].
    #[arg(long, default_value = concat!(env!("CARGO_MANIFEST_DIR"), "/images"), hide_default_value = true)]
    pub(crate) images: PathBuf,

    /// Folder for the results.
    #[arg(long, default_value = "out")]
    pub(crate) out: PathBuf,
}

/// A loss with the text that it was made from.
#[derive(Clone, Serialize)]
#[serde(transparent)]
pub(crate) struct Mixture {
    pub(crate) text: String,
    #[serde(skip)]
    pub(crate) loss: Loss,
}

impl FromStr for Mixture {
    type Err = metrics_core::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let with_term = |loss: Loss, (weight, term): &(f64, LossTerm)| match term {
            // Crops of 44 pixels suffice for three scales. The usual weights, of five, give the finest 0.04, so that noise would
            // hardly count.
            LossTerm::MsSsim(_) => loss.with(*weight, MsSsimConfig::new(1.0).betas([1.0 / 3.0; 3])),
            _ => loss.with(*weight, term.clone()),
        };
        let loss = Loss::parse(1.0, text)?.terms().iter().fold(Loss::new(1.0), with_term).build()?;
        Ok(Self { text: text.to_string(), loss })
    }
}

fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("expected a whole number of at least 1".into()),
    }
}

fn even(text: &str) -> Result<usize, String> {
    match positive(text)? {
        number if number % 2 == 0 => Ok(number),
        _ => Err("expected an even number: the network halves the sides".into()),
    }
}

fn above_zero(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(number) if number > 0.0 && number.is_finite() => Ok(number),
        _ => Err("expected a number above 0".into()),
    }
}
