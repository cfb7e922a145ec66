//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, value_parser};
use clap_complete::Shell;
use serde::Serialize;

use crate::device::DeviceChoice;
use crate::fail_under::Threshold;
use crate::metrics::{Kind, Preset};

/// A command line that clap accepts and that is wrong all the same: exit code 2.
#[derive(Debug)]
pub(crate) struct Usage(pub(crate) String);

impl std::fmt::Display for Usage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Usage {}

/// PSNR, SSIM, MS-SSIM, GMSD, VIFp, MAE and MSE of image files.
///
/// Numbers go to standard output, progress and warnings to standard error.
/// Exit codes: 0 when everything was compared, 1 when something could not be or a score is below --fail-under, 2 for a wrong
/// command line, 130 after Ctrl-C.
#[derive(Parser)]
#[command(name = "image-metrics", version)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Compare two images, two folders of images, or the pairs of a manifest.
    ///
    /// Pictures are PNG, JPEG, WebP, TIFF, BMP, PNM, OpenEXR or Radiance HDR files, told apart by their content. Of animations and of
    /// files with several pages the first picture is scored, and as it is stored: a rotation in EXIF data is ignored.
    ///
    /// Arrays are .npy files, or .safetensors files that hold one tensor or one called `image`: [H, W], [H, W, C] or [C, H, W] with
    /// at most 4 channels, or [N, C, H, W], which are N images.
    Compare(Box<CompareArgs>),
    /// List metrics and presets: ranges, formulas and sources.
    Metrics,
    /// Print a completion script for a shell.
    Completions {
        /// The shell.
        shell: Shell,
    },
    /// Print the manual page.
    Man,
}

// What this command does is said at `Command::Compare`: help does not show what is said here.
#[derive(Args)]
pub(crate) struct CompareArgs {
    #[command(flatten)]
    pub(crate) pairs: PairArgs,

    #[command(flatten)]
    pub(crate) metrics: MetricArgs,

    #[command(flatten)]
    pub(crate) reading: ReadArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,

    #[command(flatten)]
    pub(crate) run: RunArgs,
}

#[derive(Args)]
pub(crate) struct PairArgs {
    /// The image as it should be, or a folder of such images; alone: a manifest, or `-` for a manifest on standard input.
    ///
    /// A manifest is a CSV file of lines `reference,test` or `reference,test,name`, whose paths are relative to it, or on standard
    /// input to the current folder. A first line `reference,test` is a heading, and lines that start with # are comments.
    #[arg(value_name = "REF")]
    pub(crate) reference: PathBuf,

    /// The image to judge, or the folder of such images.
    ///
    /// Files in folders that have the extension of no format that is read are passed over; a note says how many look like images.
    #[arg(value_name = "TEST")]
    pub(crate) test: Option<PathBuf>,

    /// How files of two folders find each other: by path within the folder, as without this, or by path without the extension.
    #[arg(long = "match", value_enum, value_name = "BY")]
    pub(crate) by: Option<Match>,
}

impl PairArgs {
    /// Whether two files were named, not folders or a manifest.
    pub(crate) fn are_files(&self) -> bool {
        self.test.as_ref().is_some_and(|test| !test.is_dir())
    }
}

#[derive(Args, Clone)]
#[command(next_help_heading = "Metrics")]
pub(crate) struct MetricArgs {
    /// What to compute, separated by commas; psnr is averaged over images, psnr-pooled is of the mean error of all pixels.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "psnr,ssim,ms-ssim", hide_possible_values = true)]
    #[arg(value_name = "psnr,psnr-pooled,ssim,ms-ssim,gmsd,vif,mae,mse")]
    pub(crate) metrics: Vec<Kind>,

    /// Whose conventions; torchmetrics unless given, and if given it adds psnr-pooled to psnr. See `image-metrics metrics`.
    #[arg(long, value_enum)]
    pub(crate) preset: Option<Preset>,

    /// Score the channels together, BT.601 luma in studio range as super-resolution papers do, or each channel by itself.
    #[arg(long, value_enum, default_value = "rgb")]
    pub(crate) color: Color,

    /// Leave out this many pixels along every border.
    #[arg(long, value_name = "N", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) crop_border: usize,

    /// Largest minus smallest value of a pixel; pictures are scaled to 0..=R (R = 1 unless given); arrays, float pictures and TIFF files
    /// of 32-bit or signed integers are taken as they are and need it.
    #[arg(long, value_name = "R", value_parser = positive, allow_negative_numbers = true)]
    pub(crate) data_range: Option<f64>,
}

#[derive(Args)]
#[command(next_help_heading = "Reading")]
pub(crate) struct ReadArgs {
    /// What to do with partly transparent pictures: refuse them, drop the transparency, or put them on white.
    #[arg(long, value_enum, default_value = "error")]
    pub(crate) alpha: Alpha,

    /// What to do with a pair of different sizes: fail, or leave it out.
    #[arg(long, value_enum, default_value = "error")]
    pub(crate) resize_mismatch: Mismatch,

    /// The most pixels an image may have, so that a small file cannot fill the memory.
    #[arg(long, value_name = "N", default_value_t = 1 << 26, value_parser = value_parser!(u64).range(1..))]
    pub(crate) max_pixels: u64,

    /// How much memory all pairs that are worked on at a time may take together, in MiB; three quarters of what is free unless given.
    /// Pairs wait for each other, and one that takes more alone fails.
    #[arg(long, value_name = "MIB", value_parser = value_parser!(u64).range(1..1 << 40))]
    pub(crate) max_memory: Option<u64>,
}

#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputArgs {
    /// Print the summary as JSON instead of as a table.
    #[arg(long, group = "format")]
    pub(crate) json: bool,

    /// Print one line for each pair, as CSV; no summary, but a last line without a pair if psnr-pooled is asked for. Text that
    /// spreadsheets would take for a formula has an apostrophe before it, and so has text that begins with one.
    #[arg(long, group = "format")]
    pub(crate) csv: bool,

    /// Print one line of JSON for each pair as soon as it is scored, and the summary as the last.
    #[arg(long, group = "format")]
    pub(crate) ndjson: bool,

    /// Write the numbers to a file instead of standard output, which is `-`.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,

    /// Write a map of each pair's SSIM into this folder: a.ssim.png for a.png, or a.png.ssim.png if there is a pair a.jpg too. It
    /// may be a folder of images: maps are not compared.
    #[arg(long, value_name = "DIR")]
    pub(crate) maps: Option<PathBuf>,

    /// Write a page of HTML that opens offline: summary, histograms, and the worst ten pairs with their pictures.
    #[arg(long, value_name = "FILE", conflicts_with = "resume")]
    pub(crate) report: Option<PathBuf>,

    /// Exit with 1 if a mean is lower, e.g. ssim=0.98,psnr=30.
    #[arg(long, value_delimiter = ',', value_name = "METRIC=VALUE")]
    pub(crate) fail_under: Vec<Threshold>,
}

#[derive(Args)]
#[command(next_help_heading = "Running")]
pub(crate) struct RunArgs {
    /// Go on after pairs that cannot be compared; the exit code is 1 all the same.
    #[arg(long)]
    pub(crate) keep_going: bool,

    /// Save progress to this file every second, and continue from it if it is there and the images, options and outputs are the
    /// same. After a crash, with --output each line is written exactly once; without, lines since the last save are printed again.
    #[arg(long, value_name = "FILE")]
    pub(crate) resume: Option<PathBuf>,

    /// Where pairs are scored: auto, cpu, cuda, cuda:N or metal, of which a build has those of its features; auto takes a GPU if there
    /// is one, and says what it took. Metal has no f64 arrays.
    #[arg(long, value_name = "DEVICE", default_value_t)]
    pub(crate) device: DeviceChoice,

    /// How many pairs to work on at a time; one for each processor unless given.
    #[arg(long, value_name = "N", value_parser = value_parser!(u16).range(1..=1024))]
    pub(crate) jobs: Option<u16>,

    /// No progress bar and no notes on standard error, only errors.
    #[arg(long, short, conflicts_with = "timing")]
    pub(crate) quiet: bool,

    /// Share the work with the other processes that mpirun has started. Rank 0 writes the results when all are done; with --resume
    /// each rank has a file of its own, FILE.rank-0 and so on.
    #[arg(long)]
    pub(crate) mpi: bool,

    /// Say on standard error how much time the threads spent on loading and on scoring.
    #[arg(long)]
    pub(crate) timing: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Match {
    Path,
    Stem,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Color {
    Rgb,
    Luma,
    PerChannel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Alpha {
    Error,
    Ignore,
    Composite,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Mismatch {
    Error,
    Skip,
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|_| "expected a number".to_owned())?;
    // Pictures of that range are f32, whose numbers it leaves their digits; beyond what formulas can do in f32 they are scored in f64.
    let usable = (1e-30..=1e30).contains(&number);
    if usable { Ok(number) } else { Err("expected a number between 1e-30 and 1e30".into()) }
}
