//! The pairs of two folders.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::Serialize;
use walkdir::{DirEntry, WalkDir};

use super::{Files, List, Pair};
use crate::args::Match;
use crate::load;
use crate::pictures::is_heat_map;

/// Extensions of images, of formats that are not read.
const OTHER_FORMATS: &[&str] = &[
    "apng", "arw", "avif", "cr2", "cr3", "dcm", "dds", "dng", "ff", "fit", "fits", "gif", "heic", "heif", "icns",
    "ico", "j2c", "j2k", "jls", "jp2", "jpf", "jpx", "jxl", "jxr", "mat", "mng", "nef", "nii", "npz", "orf", "pcx",
    "pfm", "psd", "qoi", "ras", "raf", "raw", "rgb", "rw2", "sgi", "svg", "tga", "wbmp", "xbm", "xpm", "yuv",
];

/// The images of a folder by what they are matched by. An error is one of the folder, or of two files that are matched alike.
type Found = BTreeMap<PathBuf, Result<PathBuf, String>>;

/// Files of two folders that are not compared.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct PassedOver {
    /// All of them.
    files: u64,
    /// Those with the extension of an image, of a format that is not read.
    other_formats: BTreeMap<String, u64>,
    /// Those that `--maps` has drawn.
    maps: u64,
}

impl PassedOver {
    fn add(&mut self, path: &Path, is_map: bool) {
        self.files += 1;
        self.maps += u64::from(is_map);
        let extension = path.extension().map(|extension| extension.to_string_lossy().to_ascii_lowercase());
        if let Some(extension) = extension.filter(|extension| OTHER_FORMATS.contains(&extension.as_str())) {
            *self.other_formats.entry(extension).or_default() += 1;
        }
    }

    /// Whether somebody might think that they are compared.
    pub(crate) fn is_notable(&self) -> bool {
        self.maps > 0 || !self.other_formats.is_empty()
    }
}

/// As a sentence.
impl fmt::Display for PassedOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: Vec<_> = self.other_formats.iter().map(|(kind, count)| format!("{count} .{kind}")).collect();
        if self.maps > 0 {
            kinds.push(format!("{} drawn by `--maps`", self.maps));
        }
        let (files, are) = if self.files == 1 { ("file", "is") } else { ("files", "are") };
        write!(f, "{} {files} in the folders {are} not compared", self.files)?;
        if kinds.is_empty() { Ok(()) } else { write!(f, ", of which {}", kinds.join(", ")) }
    }
}

/// The pairs of two folders.
pub(super) fn list(reference: &Path, test: &Path, by: Match) -> Result<List> {
    let mut passed_over = PassedOver::default();
    let pairs = pairs(reference, test, by, &mut passed_over);
    let what = if passed_over.files == 0 { String::new() } else { format!(": {passed_over}") };
    ensure!(!pairs.is_empty(), "there are no images that can be read in {}{what}", reference.display());
    Ok(List { pairs, passed_over: Some(passed_over) })
}

/// Files of both folders, matched, sorted by path; those without partner are pairs too, with an error.
fn pairs(reference: &Path, test: &Path, by: Match, passed_over: &mut PassedOver) -> Vec<Pair> {
    let (references, mut tests) = (images(reference, by, passed_over), images(test, by, passed_over));
    let stems = [stems(&references, by), stems(&tests, by)];
    let mut pairs: Vec<_> = references
        .into_iter()
        .map(|(key, found)| {
            let partner = tests.remove(&key);
            pair(&key, Some(found), partner, [reference, test], &stems)
        })
        .collect();
    pairs.extend(tests.into_iter().map(|(key, found)| pair(&key, None, Some(found), [reference, test], &stems)));
    pairs.sort_by(|a, b| a.name.cmp(&b.name));
    pairs
}

fn pair(
    key: &Path,
    reference: Option<Result<PathBuf, String>>,
    test: Option<Result<PathBuf, String>>,
    folders: [&Path; 2],
    stems: &[BTreeSet<PathBuf>; 2],
) -> Pair {
    let lonely = |file: &Path, other: usize| {
        let hint = if stems[other].contains(&key.with_extension("")) { "; `--match stem` finds one" } else { "" };
        format!("{} has no partner in {}{hint}", file.display(), folders[other].display())
    };
    let files = match (reference, test) {
        (Some(Err(error)), _) | (_, Some(Err(error))) => Err(error),
        (Some(Ok(reference)), Some(Ok(test))) => Ok(Files { reference, test }),
        (Some(Ok(file)), None) => Err(lonely(&file, 1)),
        (None, Some(Ok(file))) => Err(lonely(&file, 0)),
        (None, None) => Err(format!("{} is in neither folder", key.display())),
    };
    let name = match &files {
        Ok(Files { reference, .. }) => reference.strip_prefix(folders[0]).unwrap_or(key),
        Err(_) => key,
    };
    Pair { name: name.display().to_string(), files }
}

/// What the images are called without their extensions, where that is not what they are matched by.
fn stems(found: &Found, by: Match) -> BTreeSet<PathBuf> {
    let keys = found.keys().filter(|_| by == Match::Path);
    keys.map(|key| key.with_extension("")).collect()
}

/// The images in a folder and those below it. Links are followed; one that leads back to a folder above it is an error.
fn images(folder: &Path, by: Match, passed_over: &mut PassedOver) -> Found {
    let mut found = Found::new();
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        match entry {
            Ok(entry) => add(&mut found, &entry, (folder, by), passed_over),
            // A link to nothing, of no image's name.
            Err(error)
                if error
                    .path()
                    .is_some_and(|path| path.is_symlink() && !path.exists() && !load::is_image_name(path)) => {}
            Err(error) => {
                let path = error.path().unwrap_or(folder).to_owned();
                let key = path.strip_prefix(folder).ok().filter(|key| !key.as_os_str().is_empty());
                let key = key.unwrap_or(&path).to_owned();
                found.insert(key, Err(fault(&error, &path)));
            }
        }
    }
    found
}

fn add(found: &mut Found, entry: &DirEntry, (folder, by): (&Path, Match), passed_over: &mut PassedOver) {
    let path = entry.path();
    if entry.file_type().is_dir() {
        return;
    }
    let is_map = entry.file_type().is_file() && is_heat_map(path);
    if is_map || !load::is_image_name(path) {
        passed_over.add(path, is_map);
        return;
    }
    let relative = path.strip_prefix(folder).unwrap_or(path);
    let key = match by {
        Match::Path => relative.to_owned(),
        Match::Stem => relative.with_extension(""),
    };
    match found.entry(key) {
        Entry::Vacant(place) => {
            place.insert(Ok(path.to_owned()));
        }
        Entry::Occupied(mut place) => {
            let message = match place.get() {
                Ok(other) => format!("{} and {} have the same stem", other.display(), path.display()),
                Err(other) => other.clone(),
            };
            *place.get_mut() = Err(message);
        }
    }
}

fn fault(error: &walkdir::Error, path: &Path) -> String {
    match (error.loop_ancestor(), error.io_error()) {
        (Some(ancestor), _) => {
            format!("{} is a link to {}, which it lies in: a loop", path.display(), ancestor.display())
        }
        (None, Some(source)) => format!("cannot read {}: {source}", path.display()),
        (None, None) => format!("cannot read {}: {error}", path.display()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_read_has_its_name() {
        let folders = [Path::new("no/such/folder"), Path::new("nor/this")];
        let pairs = pairs(folders[0], folders[1], Match::Path, &mut PassedOver::default());
        assert_eq!(pairs.iter().map(|pair| pair.name.as_str()).collect::<Vec<_>>(), ["no/such/folder", "nor/this"]);
        let error = pairs[0].files.as_ref().unwrap_err();
        assert!(error.starts_with("cannot read no/such/folder: "), "{error}");
    }
}
