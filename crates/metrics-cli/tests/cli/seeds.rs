//! A small file of each kind, from other encoders, and what other decoders read in it (`scripts/make_seeds.py`).

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use metrics_cli::fuzzing;
use serde::Deserialize;

pub(crate) const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/seeds");

/// Names and bytes, in the order of the names.
pub(crate) fn all() -> Result<Vec<(String, Vec<u8>)>> {
    let mut paths: Vec<PathBuf> = fs::read_dir(FOLDER)?.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension != "json"));
    paths.sort();
    let name = |path: &Path| Some(path.file_name()?.to_str()?.to_owned());
    paths.iter().map(|path| Ok((name(path).context("a name")?, fs::read(path)?))).collect()
}

#[derive(Deserialize)]
struct Expected {
    /// `[H, W, C]`.
    shape: [usize; 3],
    values: Vec<f64>,
}

#[test]
fn pixels_are_those_of_the_reference_decoders() -> Result<()> {
    let expected = fs::read_to_string(Path::new(FOLDER).join("expected.json"))?;
    let expected: BTreeMap<String, Expected> = serde_json::from_str(&expected)?;
    let files = all()?;
    assert_eq!(files.len(), expected.len());
    for (name, bytes) in files {
        let (shape, values) = fuzzing::numbers(&bytes).with_context(|| name.clone())?;
        let expected = &expected[&name];
        assert_eq!(shape[1..], expected.shape, "{name}");
        let differ = values.iter().zip(&expected.values).filter(|(a, b)| a != b).count();
        assert_eq!(differ, 0, "{name}: {differ} of {} numbers differ", values.len());
    }
    Ok(())
}
