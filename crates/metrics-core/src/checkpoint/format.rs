//! Checkpoints as bytes: the safetensors format, read with checked arithmetic.
//!
//! <https://github.com/huggingface/safetensors#format>: the length of the header as a `u64`, a header in JSON, the data.
//! The writer is not that of `safetensors`, which gives metadata in no order and so different bytes for equal states, and
//! neither is the reader, which does not say how long a file should be that is cut off; both use its types and their checks.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};

use safetensors::tensor::{Dtype, Metadata, TensorInfo};
use serde::Serialize;
use xxhash_rust::xxh3::Xxh3;

use super::Checkpoint;
use crate::Fingerprint;
use crate::entries::{CheckpointError, Entries, Entry};

const FORMAT: &str = "candle-metrics";
const VERSION: u64 = 2;

/// Bytes of the header's length, and of every number.
const WORD: usize = size_of::<u64>();

#[derive(Serialize)]
struct Header<'a> {
    #[serde(rename = "__metadata__")]
    metadata: BTreeMap<&'static str, String>,
    #[serde(flatten)]
    entries: BTreeMap<&'a str, TensorInfo>,
}

pub(super) fn encode(checkpoint: &Checkpoint) -> Result<Vec<u8>, CheckpointError> {
    let Checkpoint { fingerprint, updates, entries } = checkpoint;
    let mut metadata = BTreeMap::from([
        ("format", FORMAT.into()),
        ("version", VERSION.to_string()),
        ("fingerprint", json(fingerprint)?),
        ("updates", updates.to_string()),
    ]);
    let mut data = Vec::new();
    let mut infos = BTreeMap::new();
    for (name, entry) in &entries.0 {
        let start = data.len();
        data.extend(entry.bytes());
        let info = TensorInfo { dtype: entry.dtype(), shape: vec![entry.len()], data_offsets: (start, data.len()) };
        infos.insert(name.as_str(), info);
    }
    metadata.insert("checksum", checksum(&metadata, &infos, &data));
    let header = serde_json::to_vec(&Header { metadata, entries: infos });
    let mut header = header.map_err(|error| CheckpointError::Header { message: error.to_string() })?;
    // With spaces, so that the data is aligned.
    header.resize(header.len().next_multiple_of(WORD), b' ');
    Ok([&(header.len() as u64).to_le_bytes(), header.as_slice(), &data].concat())
}

pub(super) fn decode(bytes: &[u8]) -> Result<Checkpoint, CheckpointError> {
    let (header, data) = split(bytes)?;
    let metadata = header.metadata().as_ref();
    let get = |key: &str| metadata.and_then(|metadata| metadata.get(key)).map(String::as_str);
    let require = |key: &'static str, expected: &str| {
        get(key).ok_or_else(|| CheckpointError::Metadata { key, found: "nothing".into(), expected: expected.into() })
    };
    if get("format") != Some(FORMAT) {
        let found = get("format").map_or("not named".into(), |format| format!("`{format}`"));
        return Err(CheckpointError::Foreign { found, expected: FORMAT });
    }
    if get("version") != Some(&VERSION.to_string()) {
        return Err(CheckpointError::Version { found: get("version").unwrap_or("none").into(), expected: VERSION });
    }
    let infos = header.tensors();
    let entries = entries(&infos, data)?;
    let written = require("checksum", "the checksum of the content")?;
    let others = metadata.into_iter().flatten().filter(|(key, _)| *key != "checksum");
    let others = others.map(|(key, value)| (key.as_str(), value.clone())).collect();
    let found = checksum(&others, &infos.iter().map(|(name, info)| (name.as_str(), *info)).collect(), data);
    // A fuzzer cannot guess it, and is to get past it.
    if found != written && cfg!(not(fuzzing)) {
        return Err(CheckpointError::Checksum { found, expected: written.into() });
    }
    let updates = require("updates", "a count")?;
    let updates = updates.parse().map_err(|_| CheckpointError::Metadata {
        key: "updates",
        found: format!("`{updates}`"),
        expected: "a count".into(),
    })?;
    let expected = "kind and settings as JSON";
    let text = require("fingerprint", expected)?;
    let fingerprint = serde_json::from_str(text).map_err(|_| CheckpointError::Metadata {
        key: "fingerprint",
        found: format!("`{text}`"),
        expected: expected.into(),
    })?;
    Ok(Checkpoint { fingerprint, updates, entries })
}

fn json(fingerprint: &Fingerprint) -> Result<String, CheckpointError> {
    serde_json::to_string(fingerprint).map_err(|error| CheckpointError::Header { message: error.to_string() })
}

/// Header and data, which is as long as the header says.
fn split(bytes: &[u8]) -> Result<(Metadata, &[u8]), CheckpointError> {
    let size = |expected: u64| CheckpointError::Size { found: bytes.len() as u64, expected };
    let (length, rest) = bytes.split_first_chunk().ok_or(size(WORD as u64))?;
    let length = u64::from_le_bytes(*length);
    let after_header = length.saturating_add(WORD as u64);
    let header = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length));
    let (header, data) = header.ok_or(size(after_header))?;
    let header: Metadata =
        serde_json::from_slice(header).map_err(|error| CheckpointError::Header { message: error.to_string() })?;
    if header.data_len() != data.len() {
        return Err(size(after_header.saturating_add(header.data_len() as u64)));
    }
    Ok((header, data))
}

fn entries(infos: &HashMap<String, &TensorInfo>, data: &[u8]) -> Result<Entries, CheckpointError> {
    let mut entries = Entries::default();
    for (name, info) in infos {
        let (start, end) = info.data_offsets;
        let words = data.get(start..end).map(|bytes| bytes.chunks_exact(WORD).filter_map(|word| word.try_into().ok()));
        let entry = match (info.dtype, info.shape.as_slice(), words) {
            (Dtype::U64, [_], Some(words)) => Entry::Integers(words.map(u64::from_le_bytes).collect()),
            (Dtype::F64, [_], Some(words)) => Entry::Floats(words.map(f64::from_le_bytes).collect()),
            (dtype, shape, _) => {
                let (found, expected) = (format!("{dtype} {shape:?}"), "a list of U64 or F64".into());
                return Err(CheckpointError::Entry { entry: name.clone(), found, expected });
            }
        };
        entries.0.insert(name.clone(), entry);
    }
    Ok(entries)
}

/// Over metadata, the names, types, lengths and places of the entries, and the data.
fn checksum<I: Borrow<TensorInfo>>(
    metadata: &BTreeMap<&str, String>,
    infos: &BTreeMap<&str, I>,
    data: &[u8],
) -> String {
    let mut hash = Xxh3::new();
    let text = |hash: &mut Xxh3, text: &str| {
        hash.update(&(text.len() as u64).to_le_bytes());
        hash.update(text.as_bytes());
    };
    for (key, value) in metadata {
        text(&mut hash, key);
        text(&mut hash, value);
    }
    for (name, info) in infos {
        let TensorInfo { dtype, data_offsets: (start, end), .. } = info.borrow();
        text(&mut hash, name);
        text(&mut hash, &dtype.to_string());
        hash.update(&(*start as u64).to_le_bytes());
        hash.update(&(*end as u64).to_le_bytes());
    }
    hash.update(data);
    format!("{:016x}", hash.digest())
}

impl Entry {
    fn dtype(&self) -> Dtype {
        match self {
            Self::Integers(_) => Dtype::U64,
            Self::Floats(_) => Dtype::F64,
        }
    }

    fn len(&self) -> usize {
        match self {
            Self::Integers(values) => values.len(),
            Self::Floats(values) => values.len(),
        }
    }

    fn bytes(&self) -> Vec<u8> {
        match self {
            Self::Integers(values) => values.iter().map(|x| x.to_le_bytes()).collect::<Vec<_>>().into_flattened(),
            Self::Floats(values) => values.iter().map(|x| x.to_le_bytes()).collect::<Vec<_>>().into_flattened(),
        }
    }
}
