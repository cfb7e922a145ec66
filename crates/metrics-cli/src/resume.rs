//! `--resume`: a tally as a file, from which another run goes on.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use metrics_core::Fingerprint;
use serde::{Deserialize, Serialize};

use crate::files::Place;
use crate::identity::Identity;
use crate::metrics::Scorer;
use crate::tally::{Counts, Tally};
use crate::targets;

const FORMAT: &str = "image-metrics resume 4";

/// More than what is saved ever takes.
const MOST_BYTES: u64 = 1 << 28;
const INTERVAL: Duration = Duration::from_secs(1);

/// The file, and what a run must agree with to go on from it.
pub(crate) struct Resume {
    path: PathBuf,
    identity: Identity,
    saved: Instant,
}

/// What a run begins with.
pub(crate) struct Begun {
    resume: Option<Resume>,
    tally: Tally,
    /// How many bytes an earlier run has written, if it is continued.
    pub(crate) kept: Option<u64>,
}

impl Begun {
    /// What there is to go on from, or nothing. No file is changed.
    pub(crate) fn load(path: Option<&Path>, scorer: &Scorer, identity: impl FnOnce() -> Identity) -> Result<Self> {
        let Some(path) = path else { return Ok(Self { resume: None, tally: Tally::new(scorer), kept: None }) };
        let resume = Resume { path: path.into(), identity: identity(), saved: Instant::now() };
        let loaded = resume.load(scorer)?;
        // A path that cannot be written to is better known before the work than after it.
        targets::check_file(path)?;
        let (tally, kept) = loaded.map_or_else(|| (Tally::new(scorer), None), |(tally, kept)| (tally, Some(kept)));
        Ok(Self { resume: Some(resume), tally, kept })
    }

    /// Saves that for the first time: a run of which nothing is done can be gone on from too.
    pub(crate) fn save(mut self) -> Result<(Option<Resume>, Tally)> {
        if let Some(resume) = &mut self.resume {
            resume.save(&self.tally, self.kept.unwrap_or(0))?;
        }
        Ok((self.resume, self.tally))
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    format: String,
    identity: Identity,
    counts: Counts,
    /// How many bytes of output belong to these pairs.
    written: u64,
    /// What has been accumulated, in base 64.
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
    /// What to go on from, and how many bytes an earlier run had written, if there was one.
    fn load(&self, scorer: &Scorer) -> Result<Option<(Tally, u64)>> {
        let Some(text) = read(&self.path).with_context(|| format!("cannot read {}", self.path.display()))? else {
            return Ok(None);
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
        ensure!(saved.counts.fit(scorer.columns().len(), ours.pairs), "its counts do not fit its list");
        let states = saved.states.iter().map(|state| BASE64_STANDARD.decode(state).context("a state is not base 64"));
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
        let states = tally.accumulated.to_bytes()?.iter().map(|state| BASE64_STANDARD.encode(state)).collect();
        let (identity, counts) = (self.identity.clone(), tally.counts.clone());
        let mut saved = Saved { format: FORMAT.into(), identity, counts, written, states, checksum: 0 };
        saved.checksum = saved.checksum()?;
        Place::of(&self.path)?.write_durably(&serde_json::to_vec(&saved)?)?;
        Ok(())
    }
}

/// The content of a file, unless there is none. To open a pipe would wait for who writes to it.
fn read(path: &Path) -> Result<Option<Vec<u8>>> {
    let metadata = match fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    ensure!(metadata.is_file(), "it is not a regular file");
    let mut text = Vec::new();
    File::open(path)?.take(MOST_BYTES + 1).read_to_end(&mut text)?;
    ensure!(text.len() as u64 <= MOST_BYTES, "it has more bytes than `--resume` writes");
    Ok(Some(text))
}

