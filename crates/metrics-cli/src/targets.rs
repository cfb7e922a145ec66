//! Which files a run writes: none of them may be one that it reads, and no two may be the same.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use file_id::FileId;

use crate::args::{CompareArgs, OutputArgs, Usage};
use crate::draw::Maps;
use crate::files::{self, Place};
use crate::output;
use crate::pairs::Pair;

/// Refuses a command line that would overwrite what it compares, before anything is written. `progress` is what `--resume` writes.
pub(crate) fn check(args: &CompareArgs, pairs: &[Pair], progress: &[PathBuf]) -> Result<()> {
    check_streams(args)?;
    let mut written = Written::default();
    if output_is_stdout(&args.output)
        && let Some(file) = files::of_stdout()
    {
        written.files.insert(file, "standard output");
    }
    for (option, path) in targets(args, pairs, progress)? {
        match written.add(option, &path) {
            None => {}
            Some(other) if other == option => {
                let message = format!("`{option}` would write to {} twice", path.display());
                return Err(Usage(message).into());
            }
            Some(other) => {
                let message = format!("`{other}` and `{option}` would both write to {}", path.display());
                return Err(Usage(message).into());
            }
        }
    }
    // What is not there yet is nothing that is read. Most runs end here, without a look at every file of the list.
    if written.files.is_empty() {
        return Ok(());
    }
    let from_stdin = (args.pairs.reference == Path::new("-")).then(files::of_stdin).flatten();
    let named = sources(args, pairs).filter_map(|path| Some((files::of_path(path)?, path.display().to_string())));
    for (file, name) in from_stdin.map(|file| (file, "standard input".to_owned())).into_iter().chain(named) {
        if let Some(option) = written.files.get(&file) {
            return Err(Usage(format!("`{option}` would overwrite {name}, which this run reads")).into());
        }
    }
    Ok(())
}

/// Refuses what could not be written, before the work and not after it; nothing is changed.
/// `kept` bytes of the output are those of a run that is continued.
pub(crate) fn check_writable(args: &OutputArgs, kept: Option<u64>) -> Result<()> {
    output::place(args, kept)?;
    [&args.output, &args.report].into_iter().flatten().try_for_each(|path| check_file(path))
}

pub(crate) fn check_file(path: &Path) -> Result<()> {
    Place::of(path)?.check().with_context(|| format!("cannot write to {}", path.display()))
}

/// Makes the folder of the maps, and refuses one that nothing can be written to.
pub(crate) fn make_folder(args: &OutputArgs) -> Result<()> {
    let Some(folder) = &args.maps else { return Ok(()) };
    fs::create_dir_all(folder).with_context(|| format!("cannot make the folder {}", folder.display()))?;
    let tried = Place::File(folder.join("map"), None).check();
    tried.with_context(|| format!("cannot write to the folder {}", folder.display()))
}

/// Whether the numbers go to standard output.
pub(crate) fn output_is_stdout(args: &OutputArgs) -> bool {
    args.output.as_ref().is_none_or(|path| path == Path::new("-"))
}

/// Of standard output there is one, and the other outputs are files.
fn check_streams(args: &CompareArgs) -> Result<()> {
    let is_dash = |path: &Option<PathBuf>| path.as_deref() == Some(Path::new("-"));
    let message = if is_dash(&args.run.resume) {
        "`--resume` needs a file, not standard output"
    } else if is_dash(&args.output.maps) {
        "`--maps` needs a folder, not standard output"
    } else if is_dash(&args.output.report) && output_is_stdout(&args.output) {
        "the numbers and `--report` would both go to standard output: give `--output FILE`"
    } else {
        return Ok(());
    };
    Err(Usage(message.into()).into())
}

/// What is written, and by which option.
#[derive(Default)]
struct Written {
    /// Files and folders that are there.
    files: HashMap<FileId, &'static str>,
    /// Those to come, by the nearest folder that is there and the rest of the path in lower case, with the rest as it is.
    new: HashMap<(FileId, String), (&'static str, PathBuf)>,
}

impl Written {
    /// The option that writes to the same place already, if one does. Devices and pipes lose nothing, and take several things.
    fn add(&mut self, option: &'static str, path: &Path) -> Option<&'static str> {
        if let Some(file) = files::of_path(path) {
            let keeps = path.is_file() || path.is_dir();
            return if keeps { self.files.insert(file, option) } else { None };
        }
        let folder = path.ancestors().skip(1).map(or_here).find(|folder| folder.exists())?;
        let rest = path.strip_prefix(folder).unwrap_or(path).to_owned();
        let key = (files::of_path(folder)?, rest.to_string_lossy().to_lowercase());
        let (other, name) = self.new.insert(key, (option, rest.clone()))?;
        (name == rest || ignores_case(folder)).then_some(other)
    }
}

fn or_here(folder: &Path) -> &Path {
    if folder.as_os_str().is_empty() { Path::new(".") } else { folder }
}

/// Whether names in a folder are the same if they differ only in the case of letters.
fn ignores_case(folder: &Path) -> bool {
    let Ok(file) = tempfile::Builder::new().prefix(".image-metrics-").tempfile_in(folder) else { return false };
    let name = file.path().file_name().map(|name| name.to_ascii_uppercase());
    name.is_some_and(|name| folder.join(name).exists())
}

/// All that is written, each with the option that says so.
fn targets(args: &CompareArgs, pairs: &[Pair], progress: &[PathBuf]) -> Result<Vec<(&'static str, PathBuf)>> {
    let output = &args.output;
    let is_file = |path: &&PathBuf| path.as_path() != Path::new("-");
    let mut targets: Vec<_> = progress.iter().map(|path| ("--resume", path.clone())).collect();
    targets.extend(output.output.iter().filter(is_file).map(|path| ("--output", path.clone())));
    targets.extend(output.report.iter().filter(is_file).map(|path| ("--report", path.clone())));
    if let Some(folder) = &output.maps {
        let maps = Maps::new(folder, args, pairs)?;
        targets.extend(pairs.iter().map(|pair| ("--maps", maps.path(&pair.name))));
        ensure!(folder.is_dir() || !folder.exists(), "cannot draw maps in {}: it is not a folder", folder.display());
        targets.push(("--maps", folder.clone()));
    }
    Ok(targets)
}

/// All that is read.
fn sources<'a>(args: &'a CompareArgs, pairs: &'a [Pair]) -> impl Iterator<Item = &'a Path> {
    let manifest = args.pairs.test.is_none().then_some(args.pairs.reference.as_path());
    let files = pairs.iter().filter_map(|pair| pair.files.as_ref().ok());
    manifest.into_iter().chain(files.flat_map(|files| [files.reference.as_path(), &files.test]))
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn names_that_differ_in_case_are_one_where_the_folder_says_so() -> Result<()> {
        let folder = TempDir::new()?;
        let mut written = Written::default();
        assert_eq!(written.add("--output", &folder.path().join("new/out")), None);
        let other = written.add("--report", &folder.path().join("NEW/Out"));
        assert_eq!(other, ignores_case(folder.path()).then_some("--output"));
        assert_eq!(written.add("--resume", &folder.path().join("NEW/Out")), Some("--report"));
        fs::write(folder.path().join("out"), "")?;
        assert_eq!(ignores_case(folder.path()), folder.path().join("OUT").exists());
        assert_eq!(fs::read_dir(folder.path())?.count(), 1, "nothing is left of the trial");
        Ok(())
    }
}
