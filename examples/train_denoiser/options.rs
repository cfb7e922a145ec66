//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use serde::Serialize;

/// Train a small convolutional denoiser on a photograph, with an image-quality metric as the loss, and measure it on photographs
/// that it has not seen.
#[derive(Parser, Serialize)]
pub(crate) struct Options {
    /// What is minimised.
    #[arg(long, value_enum, default_value = "l1-ssim")]
    pub(crate) loss: LossKind,

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

/// The loss functions to choose from.
#[derive(Clone, Copy, Debug, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LossKind {
    /// 0.8 · L1 + 0.2 · (1 - SSIM)
    L1Ssim,
    /// 1 - SSIM
    Ssim,
    /// 1 - MS-SSIM over three scales
    MsSsim,
    /// -PSNR
    Psnr,
    /// Mean squared error
    Mse,
}

impl LossKind {
    pub(crate) fn formula(self) -> &'static str {
        match self {
            Self::L1Ssim => "0.8 · L1 + 0.2 · (1 - SSIM)",
            Self::Ssim => "1 - SSIM",
            Self::MsSsim => "1 - MS-SSIM",
            Self::Psnr => "-PSNR",
            Self::Mse => "mean squared error",
        }
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
