//! From what the command line names to pairs of files.

mod folders;
mod manifest;

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use xxhash_rust::xxh3::xxh3_64;

use crate::args::{Match, PairArgs, Usage};
use crate::load;
pub(crate) use folders::PassedOver;

/// Two files to compare, or why there are not two.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    /// What the pair is called in the output.
    pub(crate) name: String,
    pub(crate) files: Result<Files, String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Files {
    pub(crate) reference: PathBuf,
    pub(crate) test: PathBuf,
}

/// What there is to compare.
pub(crate) struct List {
    /// In the order of the output.
    pub(crate) pairs: Vec<Pair>,
    /// Of folders, what else is in them.
    pub(crate) passed_over: Option<PassedOver>,
}

impl From<Vec<Pair>> for List {
    fn from(pairs: Vec<Pair>) -> Self {
        Self { pairs, passed_over: None }
    }
}

pub(crate) fn list(args: &PairArgs) -> Result<List> {
    let PairArgs { reference, test, by } = args;
    let folders = test.as_ref().is_some_and(|test| reference.is_dir() || test.is_dir());
    if by.is_some() && !folders {
        return Err(Usage("`--match` is for two folders".into()).into());
    }
    let Some(test) = test else { return Ok(from_manifest(reference)?.into()) };
    match (reference.is_dir(), test.is_dir()) {
        (true, true) => folders::list(reference, test, by.unwrap_or(Match::Path)),
        (false, false) => {
            let files = Files { reference: reference.clone(), test: test.clone() };
            Ok(vec![Pair { name: test.display().to_string(), files: Ok(files) }].into())
        }
        (folder, _) => {
            let (folder, other) = if folder { (reference, test) } else { (test, reference) };
            let is = if other.exists() { "is not" } else { "does not exist" };
            let message = format!("{} is a folder, but {} {is}", folder.display(), other.display());
            Err(Usage(message).into())
        }
    }
}

fn from_manifest(path: &Path) -> Result<Vec<Pair>> {
    if path == Path::new("-") {
        return manifest::parse(io::stdin().lock(), Path::new("")).context("standard input");
    }
    if path.is_dir() {
        return Err(Usage(format!("{} is a folder; name the folder of test images too", path.display())).into());
    }
    if load::is_image_name(path) {
        return Err(Usage(format!("{} is an image; name the image to judge too", path.display())).into());
    }
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    // What a shell puts in the place of a command has its paths from the user, as standard input has.
    let regular = file.metadata().is_ok_and(|metadata| metadata.is_file());
    let folder = path.parent().filter(|_| regular).unwrap_or(Path::new(""));
    manifest::parse(io::BufReader::new(file), folder).with_context(|| path.display().to_string())
}

/// A number that tells lists of pairs apart: the same in every run.
pub(crate) fn fingerprint(pairs: &[Pair]) -> u64 {
    pairs
        .iter()
        .fold(pairs.len() as u64, |hash, Pair { name, files }| xxh3_64(format!("{hash} {name:?} {files:?}").as_bytes()))
}

/// Whatever the bytes are, they give pairs or an error.
pub fn fuzz(bytes: &[u8]) {
    if let Ok(pairs) = manifest::parse(bytes, Path::new("folder")) {
        fingerprint(&pairs);
    }
}
