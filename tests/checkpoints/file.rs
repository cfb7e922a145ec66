//! Files in the safetensors format, taken apart, changed, and put together.

use anyhow::{Context, Result};
use serde_json::{Map, Value, json};

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// 0 if `end` is.
    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % (end as u64).max(1)) as usize
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> Option<&'a T> {
        choices.get(self.below(choices.len()))
    }

    /// A number at which something may happen, or any.
    fn word(&mut self, old: u64) -> u64 {
        let shift = self.below(64);
        match self.below(10) {
            0 => 0,
            1 => 1 << shift,
            2 => (1 << shift) - 1,
            3 => u64::MAX - self.below(3) as u64,
            4 => (1 << 56) - 1 + self.below(4) as u64,
            5 => old.wrapping_add(1),
            6 => old.wrapping_sub(1),
            7 => [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, -0.0, f64::MAX, -1.0][self.below(6)].to_bits(),
            8 => self.below(70) as u64,
            _ => self.next(),
        }
    }
}

/// A file's metadata, and its entries in their order.
#[derive(Clone, Debug)]
pub(crate) struct File {
    metadata: Map<String, Value>,
    entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
struct Entry {
    name: String,
    dtype: &'static str,
    words: Vec<u64>,
}

impl File {
    pub(crate) fn of(bytes: &[u8]) -> Result<Self> {
        let (length, rest) = bytes.split_first_chunk().context("no length")?;
        let (header, data) = rest.split_at(u64::from_le_bytes(*length) as usize);
        let header: Map<String, Value> = serde_json::from_slice(header)?;
        let words: Vec<u64> = data.as_chunks().0.iter().map(|word| u64::from_le_bytes(*word)).collect();
        let metadata = header["__metadata__"].as_object().context("no metadata")?.clone();
        let mut entries = Vec::new();
        for (name, info) in header.iter().filter(|(name, _)| *name != "__metadata__") {
            let offset = |index: usize| info["data_offsets"][index].as_u64().map(|offset| offset as usize / 8);
            let (start, end) = (offset(0).context("a start")?, offset(1).context("an end")?);
            let dtype = if info["dtype"] == "F64" { "F64" } else { "U64" };
            entries.push(Entry { name: name.clone(), dtype, words: words[start..end].to_vec() });
        }
        Ok(Self { metadata, entries })
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut header = Map::from_iter([("__metadata__".to_string(), Value::Object(self.metadata.clone()))]);
        let mut data = Vec::new();
        for Entry { name, dtype, words } in &self.entries {
            let start = data.len();
            data.extend(words.iter().flat_map(|word| word.to_le_bytes()));
            let info = json!({"dtype": dtype, "shape": [words.len()], "data_offsets": [start, data.len()]});
            header.insert(name.clone(), info);
        }
        let mut header = Value::Object(header).to_string();
        header += &" ".repeat(header.len().next_multiple_of(8) - header.len());
        [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &data].concat()
    }

    /// Changes entries and metadata so that the file stays one of its format.
    fn change(&mut self, others: &[Self], random: &mut Random) {
        let at = random.below(self.entries.len());
        let Some(entry) = self.entries.get_mut(at) else { return };
        let word = random.below(entry.words.len());
        match random.below(16) {
            0 => drop(self.entries.remove(at)),
            1 => entry.name += "x",
            2 => {
                let other = random.below(self.entries.len());
                let name = self.entries[at].name.clone();
                self.entries[at].name = std::mem::replace(&mut self.entries[other].name, name);
            }
            3 => entry.dtype = if entry.dtype == "U64" { "F64" } else { "U64" },
            4 => entry.words.clear(),
            5 => entry.words.push(random.word(1)),
            6 => drop(entry.words.pop()),
            7 => entry.words.extend_from_within(..),
            8 => {
                let from = random.of(others).and_then(|other| random.of(&other.entries));
                entry.words = from.map_or(Vec::new(), |other| other.words.clone());
            }
            9 => self.set_updates(random),
            10 => {
                // Of the counters, the first is the number of updates; how many are kept is a number of its own.
                let counts = |entry: &&mut Entry| entry.name.ends_with("counters") || entry.name.ends_with("recent");
                let mut counts: Vec<_> = self.entries.iter_mut().filter(counts).collect();
                let at = random.below(counts.len());
                if let Some(word) = counts.get_mut(at).and_then(|entry| entry.words.last_mut()) {
                    *word = random.word(*word);
                }
            }
            _ => {
                if let Some(word) = entry.words.get_mut(word) {
                    *word = random.word(*word);
                }
            }
        }
    }

    /// The same impossible or unlikely number of updates in all places that tell it.
    fn set_updates(&mut self, random: &mut Random) {
        let updates = random.word(3);
        self.metadata.insert("updates".into(), updates.to_string().into());
        for entry in self.entries.iter_mut().filter(|entry| entry.name == "counters") {
            entry.words.first_mut().into_iter().for_each(|word| *word = updates);
        }
    }
}

/// The file of this index, changed a few times: as a file of its format, or in its bytes.
pub(crate) fn changed(files: &[File], index: usize, random: &mut Random) -> Vec<u8> {
    let mut file = files[index].clone();
    let changes = 1 + random.below(3);
    if random.below(3) > 0 {
        (0..changes).for_each(|_| file.change(files, random));
        return file.to_bytes();
    }
    let mut bytes = file.to_bytes();
    (0..changes).for_each(|_| change_bytes(&mut bytes, files, random));
    bytes
}

fn change_bytes(bytes: &mut Vec<u8>, files: &[File], random: &mut Random) {
    let header = bytes.first_chunk().map_or(0, |length| u64::from_le_bytes(*length)).min(bytes.len() as u64) as usize;
    let at = random.below(bytes.len());
    let end = (at + 1 + random.below(64)).min(bytes.len());
    match random.below(9) {
        0 => bytes.truncate(at),
        1 => drop(bytes.drain(at..end)),
        2 => bytes.extend_from_within(at..end),
        3 => {
            let inserted: Vec<u8> = (0..random.below(32)).map(|_| random.next() as u8).collect();
            bytes.splice(at..at, inserted);
        }
        4 => {
            let length = random.word(header as u64).to_le_bytes();
            bytes.splice(..8.min(bytes.len()), length);
        }
        5 => {
            // The end of another file.
            let other = random.of(files).map(File::to_bytes).unwrap_or_default();
            bytes.truncate(at);
            bytes.extend(other.get(at..).unwrap_or_default());
        }
        6 => {
            // A digit of the header.
            let digits: Vec<usize> = (8..header).filter(|&at| bytes.get(at).is_some_and(u8::is_ascii_digit)).collect();
            if let Some(&digit) = random.of(&digits) {
                bytes[digit] = b'0' + random.below(10) as u8;
            }
        }
        7 => {
            // A number of the header, of which there may be more digits then.
            let digit =
                (8..header).find(|&from| from >= at % header.max(1) && bytes.get(from).is_some_and(u8::is_ascii_digit));
            if let Some(digit) = digit {
                let number = random.word(0).to_string();
                let added = number.len() as u64 - 1;
                bytes.splice(digit..=digit, number.into_bytes());
                bytes[..8].copy_from_slice(&(header as u64 + added).to_le_bytes());
            }
        }
        _ => {
            if let Some(byte) = bytes.get_mut(at) {
                *byte = random.next() as u8;
            }
        }
    }
}
