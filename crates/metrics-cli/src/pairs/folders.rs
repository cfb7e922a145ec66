//! The pairs of two folders.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use walkdir::{DirEntry, WalkDir};

use super::{Files, Pair};
use crate::args::Match;
use crate::load;

/// The images of a folder by what they are matched by. An error is one of the folder, or of two files that are matched alike.
type Found = BTreeMap<PathBuf, Result<PathBuf, String>>;

/// Files of both folders, matched, sorted by path; those without partner are pairs too, with an error.
pub(super) fn pairs(reference: &Path, test: &Path, by: Match) -> Vec<Pair> {
    let (references, mut tests) = (images(reference, by), images(test, by));
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
fn images(folder: &Path, by: Match) -> Found {
    let mut found = Found::new();
    for entry in WalkDir::new(folder).follow_links(true).sort_by_file_name() {
        match entry {
            Ok(entry) => add(&mut found, &entry, folder, by),
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

fn add(found: &mut Found, entry: &DirEntry, folder: &Path, by: Match) {
    let path = entry.path();
    if entry.file_type().is_dir() || !load::is_image_name(path) {
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
        let pairs = pairs(Path::new("no/such/folder"), Path::new("nor/this"), Match::Path);
        assert_eq!(pairs.iter().map(|pair| pair.name.as_str()).collect::<Vec<_>>(), ["no/such/folder", "nor/this"]);
        let error = pairs[0].files.as_ref().unwrap_err();
        assert!(error.starts_with("cannot read no/such/folder: "), "{error}");
    }
}
