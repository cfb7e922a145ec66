//! What a checkpoint consists of, and what states are saved as: lists of 64-bit numbers under names that are paths.

mod error;

use std::collections::{BTreeMap, BTreeSet};

pub use error::CheckpointError;

/// Lists of numbers by name.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Entries(pub(crate) BTreeMap<String, Entry>);

#[derive(Clone, Debug)]
pub(crate) enum Entry {
    Integers(Vec<u64>),
    Floats(Vec<f64>),
}

/// Equal bits.
impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Integers(ours), Self::Integers(theirs)) => ours == theirs,
            (Self::Floats(ours), Self::Floats(theirs)) => {
                ours.iter().map(|x| x.to_bits()).eq(theirs.iter().map(|x| x.to_bits()))
            }
            _ => false,
        }
    }
}

impl Entries {
    pub(crate) fn writer(&mut self) -> Writer<'_> {
        Writer { entries: self, path: String::new() }
    }

    /// Notes in `read` which entries are read.
    pub(crate) fn reader<'a>(&'a self, read: &'a mut BTreeSet<String>) -> Reader<'a> {
        Reader { entries: self, read, path: String::new() }
    }

    /// Whether every entry was read.
    pub(crate) fn check_all_read(&self, read: &BTreeSet<String>) -> Result<(), CheckpointError> {
        match self.0.keys().find(|name| !read.contains(*name)) {
            Some(name) => Err(CheckpointError::Unexpected { entry: name.clone() }),
            None => Ok(()),
        }
    }
}

/// Adds entries below a path.
pub(crate) struct Writer<'a> {
    entries: &'a mut Entries,
    path: String,
}

impl Writer<'_> {
    /// Further down.
    pub(crate) fn scope(&mut self, name: &str) -> Writer<'_> {
        Writer { path: below(&self.path, name), entries: self.entries }
    }

    /// Further down, at a part of a state.
    pub(crate) fn part(&mut self, index: usize) -> Writer<'_> {
        Writer { path: part_below(&self.path, index), entries: self.entries }
    }

    pub(crate) fn integers(&mut self, name: &str, values: Vec<u64>) {
        self.entries.0.insert(below(&self.path, name), Entry::Integers(values));
    }

    pub(crate) fn floats(&mut self, name: &str, values: Vec<f64>) {
        self.entries.0.insert(below(&self.path, name), Entry::Floats(values));
    }
}

/// Takes entries from below a path.
pub(crate) struct Reader<'a> {
    entries: &'a Entries,
    read: &'a mut BTreeSet<String>,
    path: String,
}

impl<'a> Reader<'a> {
    /// Further down.
    pub(crate) fn scope(&mut self, name: &str) -> Reader<'_> {
        Reader { path: below(&self.path, name), entries: self.entries, read: self.read }
    }

    /// Further down, at a part of a state.
    pub(crate) fn part(&mut self, index: usize) -> Reader<'_> {
        Reader { path: part_below(&self.path, index), entries: self.entries, read: self.read }
    }

    pub(crate) fn integers(&mut self, name: &str) -> Result<&'a [u64], CheckpointError> {
        let (entry, found) = self.take(name)?;
        match found {
            Entry::Integers(values) => Ok(values),
            Entry::Floats(values) => Err(wrong(entry, format!("F64 [{}]", values.len()), "U64".into())),
        }
    }

    pub(crate) fn floats(&mut self, name: &str) -> Result<&'a [f64], CheckpointError> {
        let (entry, found) = self.take(name)?;
        match found {
            Entry::Floats(values) => Ok(values),
            Entry::Integers(values) => Err(wrong(entry, format!("U64 [{}]", values.len()), "F64".into())),
        }
    }

    pub(crate) fn integer_array<const N: usize>(&mut self, name: &str) -> Result<[u64; N], CheckpointError> {
        let values = self.integers(name)?;
        let length = values.len();
        let array = values.try_into();
        array.map_err(|_| wrong(below(&self.path, name), format!("U64 [{length}]"), format!("U64 [{N}]")))
    }

    pub(crate) fn float_array<const N: usize>(&mut self, name: &str) -> Result<[f64; N], CheckpointError> {
        let values = self.floats(name)?;
        let length = values.len();
        let array = values.try_into();
        array.map_err(|_| wrong(below(&self.path, name), format!("F64 [{length}]"), format!("F64 [{N}]")))
    }

    /// That the numbers of an entry cannot be.
    pub(crate) fn refuse(&self, name: &str, message: impl Into<String>) -> CheckpointError {
        CheckpointError::Value { entry: below(&self.path, name), message: message.into() }
    }

    fn take(&mut self, name: &str) -> Result<(String, &'a Entry), CheckpointError> {
        let name = below(&self.path, name);
        match self.entries.0.get(&name) {
            Some(entry) => {
                self.read.insert(name.clone());
                Ok((name, entry))
            }
            None => Err(CheckpointError::Missing { entry: name }),
        }
    }
}

fn wrong(entry: String, found: String, expected: String) -> CheckpointError {
    CheckpointError::Entry { entry, found, expected }
}

/// A path, one step further. Steps are escaped, so that different steps never give the same path.
fn below(path: &str, name: &str) -> String {
    let name = name.replace('%', "%25").replace('/', "%2F");
    if path.is_empty() { name } else { format!("{path}/{name}") }
}

/// As [`below`], for a part: no escaped name has such a sign.
fn part_below(path: &str, index: usize) -> String {
    let part = format!("%part{index:03}");
    if path.is_empty() { part } else { format!("{path}/{part}") }
}
