//! `--resume`: a tally as a file, from which another run goes on.

use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use metrics_core::Fingerprint;
use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;

use crate::identity::Identity;
use crate::metrics::Scorer;
use crate::tally::{Counts, Tally};

const FORMAT: &str = "image-metrics resume 3";
const INTERVAL: Duration = Duration::from_secs(1);

/// The file, and what a run must agree with to go on from it.
pub(crate) struct Resume {
    path: PathBuf,
    identity: Identity,
    saved: Instant,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    format: String,
    identity: Identity,
    counts: Counts,
    /// How many bytes of output belong to these pairs.
    written: u64,
    /// What has been accumulated, in hexadecimal.
    states: Vec<String>,
    /// Over all of the above.
    checksum: u64,
}

impl Saved {
    fn checksum(&self) -> Result<u64> {
        let text = serde_json::to_string(&(&self.identity, &self.counts, self.written, &self.states))?;
        Ok(Fingerprint::new(self.format.as_str(), text).hash())
    }
}

impl Resume {
    pub(crate) fn new(path: &Path, identity: Identity) -> Self {
        Self { path: path.into(), identity, saved: Instant::now() }
    }

    /// What to go on from, and how many bytes an earlier run had written, if there was one. It is saved at once, because a path that
    /// cannot be written to is better known before the work than after it.
    pub(crate) fn begin(&mut self, scorer: &Scorer) -> Result<(Tally, Option<u64>)> {
        let (tally, kept) = match self.load(scorer)? {
            Some((tally, written)) => (tally, Some(written)),
            None => (Tally::new(scorer), None),
        };
        self.save(&tally, kept.unwrap_or(0))?;
        Ok((tally, kept))
    }

    /// What an earlier run saved, and how many bytes it had written; nothing if there was none.
    fn load(&self, scorer: &Scorer) -> Result<Option<(Tally, u64)>> {
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", self.path.display())),
        };
        let loaded =
            self.parse(&text, scorer).with_context(|| format!("cannot resume from {}", self.path.display()))?;
        Ok(Some(loaded))
    }

    fn parse(&self, text: &[u8], scorer: &Scorer) -> Result<(Tally, u64)> {
        let saved: Saved = serde_json::from_slice(text).context("it is not what `--resume` writes")?;
        ensure!(saved.format == FORMAT, "its format is `{}`, expected `{FORMAT}`", saved.format);
        ensure!(saved.checksum()? == saved.checksum, "it is damaged: its checksum does not match");
        let (ours, theirs) = (&self.identity, &saved.identity);
        if let Some([theirs, ours]) = theirs.difference(ours) {
            bail!("its run had {theirs}, this one has {ours}");
        }
        let mut tally = Tally::new(scorer);
        let fits = saved.counts.worst.len() == tally.counts.worst.len()
            && saved.counts.nan.len() == tally.counts.nan.len()
            && saved.counts.done <= ours.pairs;
        ensure!(fits, "its counts do not fit its list");
        let states = saved.states.iter().map(|state| from_hex(state).context("a state is not hexadecimal"));
        tally.accumulated.load(&states.collect::<Result<Vec<_>>>()?)?;
        tally.counts = saved.counts;
        Ok((tally, saved.written))
    }

    /// Whether it is time to save again.
    pub(crate) fn is_due(&self) -> bool {
        self.saved.elapsed() >= INTERVAL
    }

    /// Replaces the file as a whole, or not at all.
    pub(crate) fn save(&mut self, tally: &Tally, written: u64) -> Result<()> {
        self.replace(tally, written).with_context(|| format!("cannot save progress to {}", self.path.display()))?;
        self.saved = Instant::now();
        Ok(())
    }

    fn replace(&self, tally: &Tally, written: u64) -> Result<()> {
        let states = tally.accumulated.to_bytes()?.iter().map(|state| to_hex(state)).collect();
        let (identity, counts) = (self.identity.clone(), tally.counts.clone());
        let mut saved = Saved { format: FORMAT.into(), identity, counts, written, states, checksum: 0 };
        saved.checksum = saved.checksum()?;
        let folder = self.path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(&serde_json::to_vec(&saved)?)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}

fn to_hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    pairs.iter().map(|&[high, low]| u8::try_from(digit(high)? * 16 + digit(low)?).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hexadecimal_comes_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(from_hex(&to_hex(&bytes)), Some(bytes));
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("é"), None);
    }
}
