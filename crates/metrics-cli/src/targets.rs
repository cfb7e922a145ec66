//! The files that a run writes: none of them may be one that it reads, and no two may be the same.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::args::{CompareArgs, OutputArgs, Usage};
use crate::draw::Maps;
use crate::pairs::Pair;

/// Refuses a command line that would overwrite what it compares, before anything is opened. `progress` is what `--resume` writes.
pub(crate) fn check(args: &CompareArgs, pairs: &[Pair], progress: &[PathBuf]) -> Result<()> {
    let mut written = HashMap::new();
    for (option, path) in targets(args, pairs, progress)? {
        let Some(place) = place(&path) else { continue };
        if let Some(other) = written.insert(place, option) {
            let message = format!("`{other}` and `{option}` would both write to {}", path.display());
            return Err(Usage(message).into());
        }
    }
    // What is not there yet is nothing that is read. Most runs end here, without a look at every file of the list.
    if !written.keys().any(|place| place.exists()) {
        return Ok(());
    }
    for path in sources(args, pairs) {
        if let Some(option) = fs::canonicalize(path).ok().and_then(|place| written.get(&place)) {
            let message = format!("`{option}` would overwrite {}, which this run reads", path.display());
            return Err(Usage(message).into());
        }
    }
    Ok(())
}

/// Refuses what could not be written, before the work and not after it. `Output` opens its file at the start anyway.
pub(crate) fn check_writable(args: &OutputArgs) -> Result<()> {
    if let Some(folder) = &args.maps {
        fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    }
    let Some(path) = &args.report else { return Ok(()) };
    let there = fs::metadata(path);
    // To open a pipe might wait for who reads it.
    if there.as_ref().is_ok_and(|there| !there.is_file() && !there.is_dir()) {
        return Ok(());
    }
    let opened = OpenOptions::new().write(true).create(true).truncate(false).open(path);
    opened.with_context(|| format!("cannot write {}", path.display()))?;
    // A run that is stopped leaves no empty page.
    if there.is_err() {
        let _ = fs::remove_file(path);
    }
    Ok(())
}

/// All that is written, each with the option that says so.
fn targets(args: &CompareArgs, pairs: &[Pair], progress: &[PathBuf]) -> Result<Vec<(&'static str, PathBuf)>> {
    let output = &args.output;
    let mut targets: Vec<_> = progress.iter().map(|path| ("--resume", path.clone())).collect();
    targets.extend(output.output.iter().map(|path| ("--output", path.clone())));
    targets.extend(output.report.iter().map(|path| ("--report", path.clone())));
    if let Some(folder) = &output.maps {
        let maps = Maps::new(folder, args, pairs)?;
        targets.extend(pairs.iter().map(|pair| ("--maps", maps.path(&pair.name))));
    }
    Ok(targets)
}

/// All that is read.
fn sources<'a>(args: &'a CompareArgs, pairs: &'a [Pair]) -> impl Iterator<Item = &'a Path> {
    let manifest = args.pairs.test.is_none().then_some(args.pairs.reference.as_path());
    let files = pairs.iter().filter_map(|pair| pair.files.as_ref().ok());
    manifest.into_iter().chain(files.flat_map(|files| [files.reference.as_path(), &files.test]))
}

/// The file that writing to a path writes to. Devices and pipes lose nothing, and take several things.
fn place(path: &Path) -> Option<PathBuf> {
    if let Ok(place) = fs::canonicalize(path) {
        return place.is_file().then_some(place);
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    Some(fs::canonicalize(folder).ok()?.join(path.file_name()?))
}
