//! Replacing a file as a whole: the new one is written beside it and made durable, and then takes its place.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// So many links are followed.
const LINKS: usize = 40;

/// Writes `bytes` to a file of this name, whose old content is there until the new one is there as a whole. Where the name is a link,
/// it stays one. The file that was there keeps its permissions; a new one has those that the system gives to any.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let path = &follow(path)?;
    let there = there(path)?;
    if path.file_name().is_none() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    }
    let mut file = beside(path, there.is_none())?;
    file.write_all(bytes)?;
    if let Some(there) = &there {
        give_access(file.as_file(), there);
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    // The file is there now. Not every folder can be synced, nor does everyone who may write into it have the right to.
    #[cfg(unix)]
    let _ = File::open(folder_of(path)).and_then(|folder| folder.sync_all());
    Ok(())
}

/// Where a link leads, however many there are on the way and whether or not there is a file; a file itself.
fn follow(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        let Ok(target) = fs::read_link(&path) else { return Ok(path) };
        path = folder_of(&path).join(target);
    }
    Err(io::Error::other("it is a link to a link, and so on without end"))
}

/// The file of this name, if there is one; an error if it is something else than a file.
fn there(path: &Path) -> io::Result<Option<Metadata>> {
    match fs::metadata(path) {
        Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
        Ok(metadata) if metadata.is_dir() => Err(io::Error::other("it is a folder")),
        // A device or a pipe is not replaced, even by those who could.
        Ok(_) => Err(io::Error::other("it is not a regular file")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// A file in the same folder, because a file can only be renamed within its file system. Unless it is `open`, only its owner may read it.
fn beside(path: &Path, open: bool) -> io::Result<tempfile::NamedTempFile<File>> {
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, if open { 0o666 } else { 0o600 }); // less what the user masks
    #[cfg(not(unix))]
    let _ = open;
    let file = tempfile::Builder::new()
        .prefix(".metrics-")
        .suffix(".tmp")
        .make_in(folder_of(path), |temporary| options.open(temporary));
    file.map_err(|error| io::Error::new(error.kind(), format!("no file can be made beside it: {error}")))
}

/// The owner and permissions of the file that was there, as far as the system allows.
fn give_access(file: &File, there: &Metadata) {
    // The owner first, since a change of owner may take permissions away. Only few may do it, and some file systems have neither.
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt, fchown};
        let _ = fchown(file, Some(there.uid()), Some(there.gid()));
    }
    let _ = file.set_permissions(there.permissions());
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_has_its_old_content_or_the_new_one() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("file");
        for content in ["old", "new and longer", ""] {
            replace(&path, content.as_bytes())?;
            assert_eq!(fs::read_to_string(&path)?, content);
        }
        assert_eq!(fs::read_dir(folder.path())?.count(), 1, "nothing else is left");
        Ok(())
    }

    #[test]
    fn a_failure_leaves_nothing_behind() -> io::Result<()> {
        let folder = tempfile::tempdir()?;
        let error = replace(&folder.path().join("nowhere/file"), b"new").unwrap_err();
        assert_eq!(error.to_string(), "no file can be made beside it: No such file or directory (os error 2)");
        // A file can be made beside it, but cannot have the name of a folder.
        #[cfg(unix)]
        assert!(replace(&folder.path().join("folder/"), b"new").is_err());
        assert_eq!(fs::read_dir(folder.path())?.count(), 0);
        Ok(())
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        for path in ["", "nowhere/.."] {
            assert_eq!(replace(Path::new(path), b"").unwrap_err().to_string(), "the path names no file");
        }
    }
}
