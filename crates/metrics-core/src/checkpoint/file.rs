//! Replacing a file as a whole: the new one is written beside it and made durable, and then takes its place.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::CheckpointError;

/// So much is written at a time.
const CHUNK: usize = 1 << 16;

/// The operations on files that replacing one takes, so that tests can let each of them fail.
pub(super) trait Disk {
    type File;

    /// A new file; an error if there is one of this name.
    fn create(&mut self, path: &Path) -> io::Result<Self::File>;
    fn write(&mut self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;
    /// Makes a file's content durable.
    fn sync(&mut self, file: &Self::File) -> io::Result<()>;
    /// Gives a file the name of another, which is gone then.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&mut self, folder: &Path) -> io::Result<()>;
}

/// Writes `bytes` to a file of this name, whose old content is there until the new one is there as a whole.
pub(super) fn replace<D: Disk>(disk: &mut D, path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let failed = |action| move |error| CheckpointError::Io { action, error };
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let (temporary, file) = create_beside(disk, folder, path).map_err(failed("write"))?;
    let replaced = write_durably(disk, file, bytes)
        .map_err(failed("write"))
        .and_then(|()| disk.rename(&temporary, path).map_err(failed("replace")));
    if replaced.is_err() {
        // The first error is the one that tells.
        let _ = disk.remove(&temporary);
    }
    replaced?;
    disk.sync_folder(folder).map_err(failed("make durable the name of"))
}

/// A new file in the same folder, because a file can only be renamed within its file system.
fn create_beside<D: Disk>(disk: &mut D, folder: &Path, path: &Path) -> io::Result<(PathBuf, D::File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    loop {
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let temporary = folder.join(temporary);
        match disk.create(&temporary) {
            // Left behind by a process that was killed; it may have had the same number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
            file => return Ok((temporary, file?)),
        }
    }
}

fn write_durably<D: Disk>(disk: &mut D, mut file: D::File, bytes: &[u8]) -> io::Result<()> {
    for chunk in bytes.chunks(CHUNK) {
        disk.write(&mut file, chunk)?;
    }
    disk.sync(&file)
}

/// The disk of the computer.
pub(super) struct Real;

impl Disk for Real {
    type File = File;

    fn create(&mut self, path: &Path) -> io::Result<File> {
        File::create_new(path)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        // Elsewhere a folder cannot be opened.
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    /// A disk that stops working at a given step, and forgets then what was not made durable.
    #[derive(Clone, Default)]
    struct Faulty {
        /// Content, and how much of it is durable, by number.
        files: Vec<(Vec<u8>, usize)>,
        names: BTreeMap<PathBuf, usize>,
        durable_names: BTreeMap<PathBuf, usize>,
        /// How many operations, or bytes of a write, still succeed.
        steps: usize,
        /// Whether everything after the first failure fails too.
        dies: bool,
        failed: bool,
    }

    impl Faulty {
        fn holding(old: &[u8]) -> Self {
            let names = BTreeMap::from([(PathBuf::from("folder/file"), 0)]);
            Self { files: vec![(old.into(), old.len())], durable_names: names.clone(), names, ..Self::default() }
        }

        /// How many of so many steps succeed.
        fn take(&mut self, steps: usize) -> usize {
            if self.failed && self.dies {
                return 0;
            }
            let taken = if self.failed { steps } else { steps.min(self.steps) };
            self.failed |= taken < steps;
            self.steps = self.steps.saturating_sub(taken);
            taken
        }

        fn step(&mut self) -> io::Result<()> {
            if self.take(1) == 1 { Ok(()) } else { Err(io::Error::other("no more steps")) }
        }

        /// What the file may hold once the power is back: names and contents may have reached the disk or not.
        fn outcomes(&self) -> Vec<&[u8]> {
            let file = |names: &BTreeMap<PathBuf, usize>| &self.files[names[Path::new("folder/file")]];
            let contents = |(content, durable): &'_ (Vec<u8>, usize)| [content.len(), *durable];
            [&self.names, &self.durable_names]
                .into_iter()
                .flat_map(|names| contents(file(names)).map(|length| &file(names).0[..length]))
                .collect()
        }
    }

    impl Disk for Faulty {
        type File = usize;

        fn create(&mut self, path: &Path) -> io::Result<usize> {
            self.step()?;
            self.files.push((Vec::new(), 0));
            self.names.insert(path.into(), self.files.len() - 1);
            Ok(self.files.len() - 1)
        }

        fn write(&mut self, file: &mut usize, bytes: &[u8]) -> io::Result<()> {
            let written = self.take(bytes.len());
            self.files[*file].0.extend(&bytes[..written]);
            if written == bytes.len() { Ok(()) } else { Err(io::Error::other("no more bytes")) }
        }

        fn sync(&mut self, file: &usize) -> io::Result<()> {
            self.step()?;
            self.files[*file].1 = self.files[*file].0.len();
            Ok(())
        }

        fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
            self.step()?;
            let file = self.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
            self.names.insert(to.into(), file);
            Ok(())
        }

        fn remove(&mut self, path: &Path) -> io::Result<()> {
            self.step()?;
            self.names.remove(path).map(drop).ok_or(io::ErrorKind::NotFound.into())
        }

        fn sync_folder(&mut self, _: &Path) -> io::Result<()> {
            self.step()?;
            self.durable_names = self.names.clone();
            Ok(())
        }
    }

    #[test]
    fn whenever_it_fails_there_is_the_old_or_the_new_file() {
        let (old, new) = (b"the old content".as_slice(), b"and what it is to become".as_slice());
        let steps_needed = new.len() + 4;
        for dies in [false, true] {
            for steps in 0..=steps_needed {
                let mut disk = Faulty { steps, dies, ..Faulty::holding(old) };
                let result = replace(&mut disk, Path::new("folder/file"), new);
                assert_eq!(result.is_ok(), steps == steps_needed, "{steps} steps");
                assert!(disk.outcomes().iter().all(|&content| content == old || content == new), "{steps} steps");
                if result.is_ok() {
                    assert!(disk.outcomes().iter().all(|&content| content == new));
                }
                if !dies {
                    let names: Vec<_> = disk.names.keys().collect();
                    assert_eq!(names, [Path::new("folder/file")], "a temporary file is left after {steps} steps");
                }
            }
        }
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        let error = replace(&mut Faulty::default(), Path::new("folder/.."), b"").unwrap_err();
        assert_eq!(error.to_string(), "cannot write it: the path names no file");
    }
}
