//! Files that have been damaged are errors or images: they end no run, and take neither much memory nor much time.
//!
//! `DAMAGED_FILES=100000 cargo test -p metrics-cli --test cli --release damage::` changes so many files of each format. With
//! `DAMAGE_KEPT=folder` those that would be scored are kept there, with their numbers, for `scripts/check_damage.py`.

use std::collections::BTreeMap;
use std::panic;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{env, fs};

use anyhow::{Context, Result, ensure};
use metrics_cli::fuzzing;

use crate::seeds;

const CHILD: &str = "DAMAGE_CHILD";
/// Of each format, unless `DAMAGED_FILES` says otherwise.
const FILES: usize = 500;
/// What a file may take: `fuzzing::numbers` allows 65,536 pixels.
const MEMORY: u64 = 512 << 20;
const TIME: Duration = Duration::from_secs(10);

/// Runs in a process of its own, whose memory is limited: one that wants more is aborted.
#[test]
fn damaged_files_are_errors_or_images() -> Result<()> {
    if env::var_os(CHILD).is_some() {
        return damage_all();
    }
    let name = "damage::damaged_files_are_errors_or_images";
    let output = Command::new(env::current_exe()?).args([name, "--exact", "--nocapture"]).env(CHILD, "1").output()?;
    let [stdout, stderr] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(output.status.success(), "{}\n{stdout}\n{stderr}", output.status);
    assert!(stdout.contains("1 passed"), "{stdout}");
    println!("{stdout}");
    Ok(())
}

/// What became of the files of a format.
#[derive(Default, Debug)]
struct Counts {
    refused: usize,
    scored: usize,
    slowest: Duration,
}

fn damage_all() -> Result<()> {
    let files = env::var("DAMAGED_FILES").map_or(Ok(FILES), |number| number.parse()).context("DAMAGED_FILES")?;
    let kept = env::var_os("DAMAGE_KEPT").map(PathBuf::from);
    let mut formats = BTreeMap::<String, Vec<(String, Vec<u8>)>>::new();
    for (name, bytes) in seeds::all()? {
        let extension = name.rsplit('.').next().unwrap_or_default();
        // Formats with several names.
        let format = if ["pbm", "pgm", "ppm", "pam"].contains(&extension) { "pnm" } else { extension };
        formats.entry(format.into()).or_default().push((name, bytes));
    }
    limit_memory()?;
    // Decoders' panics become errors.
    panic::set_hook(Box::new(|_| {}));
    for (format, seeds) in formats {
        let mut counts = Counts::default();
        for file in 0..files {
            let mut random = Random(file as u64);
            let (name, bytes) = &seeds[file % seeds.len()];
            let damaged = damage(bytes, &seeds[random.below(seeds.len())].1, &mut random);
            let start = Instant::now();
            let numbers = fuzzing::numbers(&damaged);
            counts.slowest = counts.slowest.max(start.elapsed());
            match numbers {
                Ok((shape, values)) => {
                    counts.scored += 1;
                    if let Some(folder) = &kept {
                        let name = format!("{file:06}-{name}");
                        fs::write(folder.join(&name), &damaged)?;
                        let numbers = serde_json::json!({ "shape": shape, "values": values });
                        fs::write(folder.join(name + ".json"), serde_json::to_vec(&numbers)?)?;
                    }
                }
                Err(_) => counts.refused += 1,
            }
        }
        println!("{format}: {counts:?}");
        ensure!(counts.slowest < TIME, "{format}: {counts:?}");
    }
    Ok(())
}

#[cfg(unix)]
fn limit_memory() -> Result<()> {
    use rustix::process::{Resource, Rlimit, setrlimit};

    let limit = Some(MEMORY);
    Ok(setrlimit(Resource::As, Rlimit { current: limit, maximum: limit })?)
}

#[cfg(not(unix))]
fn limit_memory() -> Result<()> {
    let _ = MEMORY;
    Ok(())
}

/// The numbers of a seed, the same everywhere: SplitMix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit.max(1) as u64) as usize
    }
}

/// One to three kinds of damage, and for a PNG file perhaps checksums that are right again, so that it gets further.
fn damage(bytes: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for _ in 0..1 + random.below(3) {
        damage_once(&mut bytes, other, random);
    }
    if bytes.starts_with(b"\x89PNG") && random.below(2) == 0 {
        repair_checksums(&mut bytes);
    }
    bytes
}

fn damage_once(bytes: &mut Vec<u8>, other: &[u8], random: &mut Random) {
    const EXTREMES: [u32; 10] = [0, 1, 0x7f, 0xff, 0x7fff, 0xffff, 0x1_0000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff];
    let length = bytes.len();
    if length < 8 {
        return;
    }
    // Headers are short and decide much.
    let at = if random.below(2) == 0 { random.below(length) } else { random.below(length.min(256)) };
    let some = |random: &mut Random| (1 + random.below(64)).min(length - at);
    match random.below(8) {
        0 => (0..1 + random.below(4)).for_each(|_| bytes[at] ^= 1 << random.below(8)),
        1 => bytes[at] = random.next() as u8,
        2 => bytes.truncate(at),
        3 => {
            let run = some(random);
            bytes[at..at + run].fill(if random.below(2) == 0 { 0 } else { 0xff });
        }
        4 => {
            let number = EXTREMES[random.below(EXTREMES.len())];
            let number = if random.below(2) == 0 { number.to_le_bytes() } else { number.to_be_bytes() };
            let (skipped, size) = if random.below(2) == 0 { (0, 4) } else { (random.below(3), 2) };
            let size = size.min(length - at);
            bytes[at..at + size].copy_from_slice(&number[skipped..skipped + size]);
        }
        5 => {
            bytes.drain(at..at + some(random));
        }
        6 => {
            let from = random.below(other.len());
            let run = (1 + random.below(64)).min(other.len() - from);
            bytes.splice(at..at, other[from..from + run].iter().copied());
        }
        _ => {
            // The data end, and what follows them comes at once.
            let tail = random.below(16).min(length - at);
            bytes.drain(at..length - tail);
        }
    }
}

/// Makes the checksums of all chunks right.
pub(crate) fn repair_checksums(png: &mut [u8]) {
    let mut at = 8;
    while let Some(header) = png.get(at..at + 8) {
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let Some(chunk) = png.get(at + 4..(at + 8).saturating_add(length)) else { return };
        let checksum = crate::faults::crc32(chunk).to_be_bytes();
        at += 8 + length;
        let Some(place) = png.get_mut(at..at + 4) else { return };
        place.copy_from_slice(&checksum);
        at += 4;
    }
}
