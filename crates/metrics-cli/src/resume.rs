//! `--resume`: a tally as a file, from which another run goes on.

use std::fs::{self, File};
use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde::{Deserialize, Serialize};
use xxhash_rust::xxh3::xxh3_64;

use crate::files::Place;
use crate::identity::Identity;
use crate::metrics::Scorer;
use crate::tally::{Counts, Tally};
use crate::targets;

const FORMAT: &str = "image-metrics resume 5";

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
        let (tally, kept) = loaded.map_or_else(|| (Tally::new(scorer), None), |(tally, kept)| (tally, Some(kept)));
        Ok(Self { resume: Some(resume), tally, kept })
    }

    /// Refuses a path that cannot be written to, before the work and not after it.
    pub(crate) fn check(&self) -> Result<()> {
        self.resume.as_ref().map_or(Ok(()), |resume| targets::check_file(&resume.path))
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
        let text = serde_json::to_string(&(&self.format, &self.identity, &self.counts, self.written, &self.states))?;
        Ok(xxh3_64(text.as_bytes()))
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
        let text = self.text(tally, written)?;
        let saved = Place::of(&self.path).and_then(|place| Ok(place.write_durably(&text)?));
        saved.with_context(|| format!("cannot save progress to {}", self.path.display()))?;
        self.saved = Instant::now();
        Ok(())
    }

    fn text(&self, tally: &Tally, written: u64) -> Result<Vec<u8>> {
        let states = tally.accumulated.to_bytes()?.iter().map(|state| BASE64_STANDARD.encode(state)).collect();
        let (identity, counts) = (self.identity.clone(), tally.counts.clone());
        let mut saved = Saved { format: FORMAT.into(), identity, counts, written, states, checksum: 0 };
        saved.checksum = saved.checksum()?;
        Ok(serde_json::to_vec(&saved)?)
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

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device, Tensor};
    use clap::Parser;
    use proptest::prelude::*;
    use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
    use serde_json::Value;

    use super::*;
    use crate::args::{Cli, Command};
    use crate::metrics::Scores;
    use crate::pairs::{Files, Pair};

    const PAIRS: usize = 5;

    fn scores(scorer: &Scorer, seed: f64) -> Result<Scores> {
        let image = Tensor::arange(0f32, 256.0, &Device::Cpu)?.reshape((1, 1, 16, 16))?;
        let [reference, test] = [0.0, seed].map(|by| ((&image * (1.0 / 256.0))? + by)?.to_dtype(DType::F32));
        scorer.score_images(&reference?, &test?)
    }

    /// A run of which three pairs are done: two scored, one failed.
    fn saved() -> Result<(Scorer, Resume, Vec<u8>)> {
        let Command::Compare(args) = Cli::try_parse_from(["image-metrics", "compare", "a", "b"])?.command else {
            bail!("another command")
        };
        let scorer = Scorer::new(&args.metrics, Device::Cpu)?;
        let files = Files { reference: "a".into(), test: "b".into() };
        let pairs: Vec<_> = (0..PAIRS).map(|i| Pair { name: i.to_string(), files: Ok(files.clone()) }).collect();
        let identity = Identity::new(&args, &scorer, &pairs).with_outputs(&args.output);
        let resume = Resume { path: "progress".into(), identity, saved: Instant::now() };
        let mut tally = Tally::new(&scorer);
        for (name, seed) in [("0", 0.1), ("1", 0.3)] {
            let scores = scores(&scorer, seed)?;
            tally.accumulated.merge(&scores.accumulated)?;
            tally.score(name, &scores.pair, scorer.columns());
        }
        tally.fail("2", "cannot read 2.png".into());
        let text = resume.text(&tally, 77)?;
        Ok((scorer, resume, text))
    }

    /// A number of mutations that takes seconds, or more if somebody asks for it.
    fn runner() -> TestRunner {
        let cases = std::env::var("MUTATIONS").ok().and_then(|cases| cases.parse().ok()).unwrap_or(500);
        let config = Config { cases, failure_persistence: None, ..Config::default() };
        TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]))
    }

    #[test]
    fn damaged_progress_is_refused() -> Result<()> {
        let (scorer, resume, text) = saved()?;
        let (tally, written) = resume.parse(&text, &scorer)?;
        assert_eq!((tally.counts.done, tally.counts.scored, written), (3, 2, 77));
        let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4);
        let strategy = (changes, any::<prop::sample::Index>(), 0u8..4);
        runner().run(&strategy, |(changes, place, how)| {
            let mut bytes = text.clone();
            for (index, byte) in changes {
                let index = index.index(bytes.len());
                bytes[index] = byte;
            }
            match how {
                0 => bytes.truncate(place.index(bytes.len())),
                1 => drop(bytes.remove(place.index(bytes.len()))),
                2 => bytes.insert(place.index(bytes.len()), b'0'),
                _ => {}
            }
            if let Ok((other, other_written)) = resume.parse(&bytes, &scorer) {
                prop_assert_eq!(&other.counts, &tally.counts);
                prop_assert_eq!(other_written, written);
                prop_assert_eq!(other.accumulated.to_bytes().unwrap(), tally.accumulated.to_bytes().unwrap());
            }
            Ok(())
        })?;
        Ok(())
    }

    /// Replaces the leaf of this number, or counts leaves up to it.
    fn replace(value: &mut Value, leaf: &mut usize, with: &Value) {
        match value {
            Value::Array(values) => values.iter_mut().for_each(|value| replace(value, leaf, with)),
            Value::Object(values) => values.values_mut().for_each(|value| replace(value, leaf, with)),
            value => {
                if *leaf == 0 {
                    *value = with.clone();
                }
                *leaf = leaf.wrapping_sub(1);
            }
        }
    }

    #[test]
    fn whoever_writes_the_checksum_too_makes_no_panic() -> Result<()> {
        let (scorer, resume, text) = saved()?;
        let number = prop_oneof![Just(0), Just(1), Just(u64::MAX), Just(u64::MAX / 2), any::<u64>()];
        let leaf =
            prop_oneof![number.prop_map(Value::from), Just(Value::Null), "[A-Za-z0-9+/=]{0,9}".prop_map(Value::from)];
        let leaves = prop::collection::vec((0usize..60, leaf), 1..4);
        runner().run(&leaves, |leaves| {
            let mut value: Value = serde_json::from_slice(&text).unwrap();
            leaves.iter().for_each(|(place, leaf)| replace(&mut value, &mut place.clone(), leaf));
            let Ok(mut saved) = serde_json::from_value::<Saved>(value) else { return Ok(()) };
            saved.checksum = saved.checksum().unwrap();
            let bytes = serde_json::to_vec(&saved).unwrap();
            let Ok((mut tally, written)) = resume.parse(&bytes, &scorer) else { return Ok(()) };
            prop_assert!(tally.counts.done <= PAIRS as u64);
            // And one can go on from it.
            tally.accumulated.merge(&scores(&scorer, 0.2).unwrap().accumulated).unwrap();
            tally.fail("3", String::new());
            tally.totals(scorer.columns()).unwrap();
            resume.text(&tally, written).unwrap();
            Ok(())
        })?;
        Ok(())
    }
}
