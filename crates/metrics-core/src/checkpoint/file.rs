//! Replacing a file as a whole: the new one is written beside it and made durable, and then takes its place.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use super::CheckpointError;

/// So much is written at a time.
const CHUNK: usize = 1 << 16;

/// So many names are tried for a new file.
const NAMES: usize = 1000;

/// So many links are followed.
const LINKS: usize = 40;

/// The operations on files that replacing one takes, so that tests can let each of them fail.
pub(super) trait Disk {
    type File;
    /// What is to be the same of a file when another takes its place: who may read and write it.
    type Access;

    /// Where a link leads, however many there are on the way; a file itself.
    fn follow(&mut self, path: &Path) -> io::Result<PathBuf>;
    /// Of the file of this name, if there is one; an error if it is something else than a file.
    fn access(&mut self, path: &Path) -> io::Result<Option<Self::Access>>;
    /// A new file; an error if there is one of this name. Nobody else can read it if it is private.
    fn create(&mut self, path: &Path, private: bool) -> io::Result<Self::File>;
    fn write(&mut self, file: &mut Self::File, bytes: &[u8]) -> io::Result<()>;
    /// As far as the system allows.
    fn set_access(&mut self, file: &Self::File, access: &Self::Access);
    /// Makes a file's content durable.
    fn sync(&mut self, file: &Self::File) -> io::Result<()>;
    /// Gives a file the name of another, which is gone then.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()>;
    fn remove(&mut self, path: &Path) -> io::Result<()>;
    /// Makes the names in a folder durable.
    fn sync_folder(&mut self, folder: &Path) -> io::Result<()>;
}

/// Writes `bytes` to a file of this name, whose old content is there until the new one is there as a whole. Where the name is a link,
/// it stays one. The file that was there keeps its permissions; a new one has those that the system gives to any.
pub(super) fn replace<D: Disk>(disk: &mut D, path: &Path, bytes: &[u8]) -> Result<(), CheckpointError> {
    let failed = |action| move |error| CheckpointError::Io { action, error };
    let path = &disk.follow(path).map_err(failed("write"))?;
    let access = disk.access(path).map_err(failed("write"))?;
    let folder = folder_of(path);
    let (temporary, file) = create_beside(disk, folder, path, access.is_some()).map_err(failed("write"))?;
    let replaced = write_durably(disk, file, bytes, access.as_ref())
        .map_err(failed("write"))
        .and_then(|()| disk.rename(&temporary, path).map_err(failed("replace")));
    if replaced.is_err() {
        // The first error is the one that tells.
        let _ = disk.remove(&temporary);
    }
    replaced?;
    // The file is there now. Not every folder can be synced, nor does everyone who may write into it have the right to.
    let _ = disk.sync_folder(folder);
    Ok(())
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file in the same folder, because a file can only be renamed within its file system.
fn create_beside<D: Disk>(disk: &mut D, folder: &Path, path: &Path, private: bool) -> io::Result<(PathBuf, D::File)> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path names no file"));
    };
    let mut tried = 0;
    loop {
        let mut temporary = std::ffi::OsString::from(".");
        temporary.push(name);
        temporary.push(format!(".{}-{}.tmp", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed)));
        let temporary = folder.join(temporary);
        tried += 1;
        match disk.create(&temporary, private) {
            // Left behind by a process that was killed; it may have had the same number.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tried < NAMES => continue,
            file => return Ok((temporary, file?)),
        }
    }
}

fn write_durably<D: Disk>(disk: &mut D, mut file: D::File, bytes: &[u8], access: Option<&D::Access>) -> io::Result<()> {
    for chunk in bytes.chunks(CHUNK) {
        disk.write(&mut file, chunk)?;
    }
    if let Some(access) = access {
        disk.set_access(&file, access);
    }
    disk.sync(&file)
}

/// The disk of the computer.
pub(super) struct Real;

impl Disk for Real {
    type File = File;
    type Access = Metadata;

    fn follow(&mut self, path: &Path) -> io::Result<PathBuf> {
        let mut path = path.to_path_buf();
        for _ in 0..LINKS {
            let Ok(target) = fs::read_link(&path) else { return Ok(path) };
            path = folder_of(&path).join(target);
        }
        Err(io::Error::other("it is a link to a link, and so on without end"))
    }

    fn access(&mut self, path: &Path) -> io::Result<Option<Metadata>> {
        match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => Ok(Some(metadata)),
            Ok(metadata) if metadata.is_dir() => Err(io::Error::other("it is a folder")),
            // A device or a pipe is not replaced, even by those who could.
            Ok(_) => Err(io::Error::other("it is not a regular file")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn create(&mut self, path: &Path, private: bool) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        if private {
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        }
        #[cfg(not(unix))]
        let _ = private;
        options.open(path)
    }

    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    fn set_access(&mut self, file: &File, access: &Metadata) {
        // The owner first, since a change of owner may take permissions away. Only few may do it, and some file systems have neither.
        #[cfg(unix)]
        {
            use std::os::unix::fs::{MetadataExt, fchown};
            let _ = fchown(file, Some(access.uid()), Some(access.gid()));
        }
        let _ = file.set_permissions(access.permissions());
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
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// A disk that stops working at a given step, and forgets then what was not made durable.
    #[derive(Clone, Default)]
    struct Faulty {
        /// Content, and how much of it is durable, by number.
        files: Vec<(Vec<u8>, usize)>,
        /// Those that only their owner may read, by number.
        private: BTreeSet<usize>,
        /// How many of the names tried next are those of files that another process has left behind.
        taken: usize,
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

        fn content(&self) -> &[u8] {
            &self.files[self.names[Path::new("folder/file")]].0
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
        type Access = bool;

        fn follow(&mut self, path: &Path) -> io::Result<PathBuf> {
            Ok(if path == Path::new("folder/link") { "folder/file".into() } else { path.into() })
        }

        fn access(&mut self, path: &Path) -> io::Result<Option<bool>> {
            Ok(self.names.get(path).map(|file| self.private.contains(file)))
        }

        fn create(&mut self, path: &Path, private: bool) -> io::Result<usize> {
            if self.taken > 0 && !self.names.contains_key(path) {
                self.taken -= 1;
                self.files.push((b"left behind".into(), 0));
                self.names.insert(path.into(), self.files.len() - 1);
            }
            if self.names.contains_key(path) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            self.step()?;
            let file = self.files.len();
            self.files.push((Vec::new(), 0));
            self.names.insert(path.into(), file);
            if private {
                self.private.insert(file);
            }
            Ok(file)
        }

        fn set_access(&mut self, file: &usize, private: &bool) {
            if *private {
                self.private.insert(*file)
            } else {
                self.private.remove(file)
            };
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
                // The last step is to sync the folder, without which the file is there all the same.
                assert_eq!(result.is_ok(), steps + 1 >= steps_needed, "{steps} steps");
                assert!(disk.outcomes().iter().all(|&content| content == old || content == new), "{steps} steps");
                if result.is_ok() {
                    assert_eq!(disk.content(), new);
                }
                if steps == steps_needed {
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
    fn files_that_were_left_behind_are_not_touched() {
        for taken in [1, 2, NAMES - 1] {
            let mut disk = Faulty { steps: usize::MAX, taken, ..Faulty::holding(b"old") };
            replace(&mut disk, Path::new("folder/file"), b"new").expect("there are more names");
            assert_eq!(disk.content(), b"new");
            let left = disk.names.values().filter(|file| disk.files[**file].0 == b"left behind").count();
            assert_eq!((left, disk.names.len()), (taken, taken + 1));
        }
        let mut disk = Faulty { steps: usize::MAX, taken: usize::MAX, ..Faulty::holding(b"old") };
        let error = replace(&mut disk, Path::new("folder/file"), b"new").expect_err("all names are taken");
        assert_eq!(error.to_string(), "cannot write it: entity already exists");
        assert_eq!(disk.content(), b"old");
    }

    #[test]
    fn who_may_read_a_file_stays_the_same() {
        for private in [false, true] {
            let mut disk = Faulty { steps: usize::MAX, ..Faulty::holding(b"old") };
            disk.private.extend(private.then_some(0));
            replace(&mut disk, Path::new("folder/link"), b"new").expect("nothing fails");
            assert_eq!(disk.content(), b"new");
            assert_eq!(disk.private.contains(&disk.names[Path::new("folder/file")]), private);
        }
        let mut disk = Faulty { steps: usize::MAX, ..Faulty::default() };
        replace(&mut disk, Path::new("folder/file"), b"new").expect("nothing fails");
        assert!(disk.private.is_empty());
    }

    #[test]
    fn a_path_without_a_name_is_refused() {
        let error = replace(&mut Faulty::default(), Path::new("folder/.."), b"").unwrap_err();
        assert_eq!(error.to_string(), "cannot write it: the path names no file");
    }
}
