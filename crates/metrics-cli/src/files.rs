//! Files that the program writes: each as a whole or not at all, and never through a link or over a file that is somebody else's.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use file_id::FileId;
use tempfile::NamedTempFile;

/// Where something is written.
#[derive(Debug)]
pub(crate) enum Place {
    Stdout,
    /// A device, a pipe, or a file that the shell has opened for this process: it takes what comes, and nothing in it is lost.
    Stream(PathBuf),
    /// A file by its real path, with its permissions if it is there.
    File(PathBuf, Option<Permissions>),
}

impl Place {
    /// What writing to a path writes to; `-` is standard output.
    pub(crate) fn of(path: &Path) -> Result<Self> {
        if path == Path::new("-") {
            return Ok(Self::Stdout);
        }
        Self::of_file(path).with_context(|| format!("cannot write to {}", path.display()))
    }

    fn of_file(path: &Path) -> Result<Self> {
        let there = match fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == ErrorKind::NotFound => return Self::new_file(path),
            Err(error) => return Err(error.into()),
        };
        ensure!(!there.is_dir(), "it is a folder");
        let shell = [of_stdout(), of_stderr()].into_iter().flatten();
        if !there.is_file() || shell.into_iter().any(|file| of_path(path).as_ref() == Some(&file)) {
            return Ok(Self::Stream(path.into()));
        }
        // A file that may not be written could be replaced all the same.
        OpenOptions::new().write(true).open(path)?;
        Ok(Self::File(fs::canonicalize(path)?, Some(there.permissions())))
    }

    fn new_file(path: &Path) -> Result<Self> {
        ensure!(!path.is_symlink(), "it is a link to a file that is not there");
        let name = path.file_name().filter(|_| !path.to_string_lossy().ends_with(std::path::is_separator));
        let name = name.context("it does not name a file")?;
        Ok(Self::File(fs::canonicalize(folder(path))?.join(name), None))
    }

    /// Whether what is written shows on a terminal.
    pub(crate) fn is_terminal(&self) -> bool {
        match self {
            Self::Stdout => io::stdout().is_terminal(),
            Self::Stream(path) => is_terminal(path),
            Self::File(..) => false,
        }
    }

    /// Whether a file can be written here, tried without a change to any.
    pub(crate) fn check(&self) -> io::Result<()> {
        match self {
            Self::Stdout | Self::Stream(_) => Ok(()),
            Self::File(path, permissions) => draft(path, permissions.as_ref()).map(drop),
        }
    }

    /// Something new and empty, to be written bit by bit. What was there is left to whoever has another link to it.
    pub(crate) fn begin(&self) -> io::Result<Box<dyn Write>> {
        Ok(match self {
            Self::Stdout => Box::new(io::stdout()),
            Self::Stream(path) => Box::new(OpenOptions::new().append(true).open(path)?),
            Self::File(path, permissions) => Box::new(draft(path, permissions.as_ref())?.persist(path)?),
        })
    }

    /// What is there up to a length, to be written on.
    pub(crate) fn resume(&self, kept: u64) -> io::Result<Box<dyn Write>> {
        let Self::File(path, _) = self else { return self.begin() };
        let file = OpenOptions::new().append(true).open(path)?;
        file.set_len(kept)?;
        Ok(Box::new(file))
    }

    /// Puts a file there, or replaces it, as a whole or not at all.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes, |_| Ok(()))
    }

    /// As [`write`](Self::write), so that it is there after a power failure.
    pub(crate) fn write_durably(&self, bytes: &[u8]) -> io::Result<()> {
        self.put(bytes, File::sync_all)
    }

    fn put(&self, bytes: &[u8], finish: impl FnOnce(&File) -> io::Result<()>) -> io::Result<()> {
        let Self::File(path, permissions) = self else {
            let mut stream = self.begin()?;
            return stream.write_all(bytes).and_then(|()| stream.flush());
        };
        let mut file = draft(path, permissions.as_ref())?;
        file.write_all(bytes)?;
        finish(file.as_file())?;
        file.persist(path)?;
        Ok(())
    }
}

/// A file beside the one that it is to become, which has its permissions.
fn draft(path: &Path, permissions: Option<&Permissions>) -> io::Result<NamedTempFile> {
    let mut builder = tempfile::Builder::new();
    builder.prefix(".image-metrics-").suffix(".tmp");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666)); // less what the user masks
    // Its own name is nothing that anybody knows.
    let unmade =
        |error: io::Error| io::Error::new(error.kind(), format!("no file can be made beside it: {}", error.kind()));
    let file = builder.tempfile_in(folder(path)).map_err(unmade)?;
    if let Some(permissions) = permissions {
        file.as_file().set_permissions(permissions.clone())?;
    }
    Ok(file)
}

#[cfg(unix)]
fn is_terminal(path: &Path) -> bool {
    use std::os::unix::fs::FileTypeExt;

    // To open a pipe would wait for who writes to it.
    let is_device = fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_char_device());
    is_device && File::open(path).is_ok_and(|device| device.is_terminal())
}

#[cfg(not(unix))]
fn is_terminal(_: &Path) -> bool {
    false
}

/// A path by which a file or folder, there or not, is the same wherever the program is started.
pub(crate) fn real(path: &Path) -> PathBuf {
    let of_new = || Some(fs::canonicalize(folder(path)).ok()?.join(path.file_name()?));
    let absolute = || std::path::absolute(path).unwrap_or_else(|_| path.into());
    fs::canonicalize(path).ok().or_else(of_new).unwrap_or_else(absolute)
}

/// The folder that a path lies in.
fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What tells a file or a folder from all others, whatever it is called; of what is not there, nothing.
pub(crate) fn of_path(path: &Path) -> Option<FileId> {
    file_id::get_file_id(path).ok()
}

/// The file that standard input is, if it is one.
pub(crate) fn of_stdin() -> Option<FileId> {
    of_stream(io::stdin())
}

/// The file that standard output goes to, if it is one.
pub(crate) fn of_stdout() -> Option<FileId> {
    of_stream(io::stdout())
}

fn of_stderr() -> Option<FileId> {
    of_stream(io::stderr())
}

#[cfg(unix)]
fn of_stream(stream: impl std::os::fd::AsFd) -> Option<FileId> {
    use std::os::unix::fs::MetadataExt;

    let file = File::from(stream.as_fd().try_clone_to_owned().ok()?);
    let metadata = file.metadata().ok().filter(fs::Metadata::is_file)?;
    Some(FileId::new_inode(metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn of_stream<T>(_: T) -> Option<FileId> {
    None
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    #[test]
    fn a_file_is_replaced_with_its_permissions_and_other_links_keep_theirs() -> Result<()> {
        let folder = TempDir::new()?;
        let [file, other] = ["file", "other"].map(|name| folder.path().join(name));
        fs::write(&file, "old")?;
        fs::hard_link(&file, &other)?;
        #[cfg(unix)]
        fs::set_permissions(&file, std::os::unix::fs::PermissionsExt::from_mode(0o640))?;
        let permissions = fs::metadata(&file)?.permissions();
        Place::of(&file)?.check()?;
        assert_eq!(fs::read_to_string(&file)?, "old");
        Place::of(&file)?.write(b"new")?;
        assert_eq!((fs::read_to_string(&file)?, fs::read_to_string(&other)?), ("new".into(), "old".into()));
        Place::of(&file)?.begin()?.write_all(b"begun")?;
        Place::of(&file)?.resume(3)?.write_all(b"inning")?;
        assert_eq!((fs::read_to_string(&file)?, fs::read_to_string(&other)?), ("beginning".into(), "old".into()));
        assert_eq!(fs::metadata(&file)?.permissions(), permissions);
        assert_eq!(fs::read_dir(folder.path())?.count(), 2, "nothing else is left behind");
        Ok(())
    }

    #[cfg(unix)]
    #[test]
    fn links_stay_and_those_to_nothing_are_refused() -> Result<()> {
        let folder = TempDir::new()?;
        let [file, link, dangling] = ["file", "link", "dangling"].map(|name| folder.path().join(name));
        fs::write(&file, "old")?;
        std::os::unix::fs::symlink("file", &link)?;
        std::os::unix::fs::symlink("nothing", &dangling)?;
        Place::of(&link)?.write(b"new")?;
        assert!(link.is_symlink() && fs::read_to_string(&file)? == "new");
        let error = format!("{:#}", Place::of(&dangling).unwrap_err());
        assert!(
            error.contains("cannot write to ") && error.ends_with("it is a link to a file that is not there"),
            "{error}"
        );
        assert!(dangling.is_symlink() && fs::read_dir(folder.path())?.count() == 3);
        Ok(())
    }

    #[test]
    fn what_does_not_name_a_file_is_refused() -> Result<()> {
        let folder = TempDir::new()?;
        let error = |path: &Path| format!("{:#}", Place::of(path).unwrap_err());
        assert!(error(folder.path()).ends_with("it is a folder"));
        assert!(error(&folder.path().join("new/")).ends_with("it does not name a file"));
        assert!(error(&folder.path().join("nowhere/new")).contains("nowhere/new: "));
        Ok(())
    }
}
