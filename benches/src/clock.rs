//! How a call is timed. Programs outside this package include this file too, so that every side is timed alike.

use std::io::{BufRead, Write};
use std::time::Instant;

use anyhow::Result;

/// One turn: seconds of a call, the median of as many as fit in `budget` seconds after one to warm up, or that one if none fits.
pub fn turn(budget: f64, call: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    let first = seconds(call)?;
    let calls = (budget / first) as usize;
    if calls == 0 {
        return Ok(first);
    }
    Ok(median((0..calls).map(|_| seconds(call)).collect::<Result<_>>()?))
}

fn seconds(call: &mut dyn FnMut() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    call()?;
    Ok(start.elapsed().as_secs_f64())
}

/// The middle value, the upper one of two.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Answers each line of standard input with what `answer` returns for it: seconds and the score that was computed.
pub fn serve(mut answer: impl FnMut(&str) -> Result<(f64, f64)>) -> Result<()> {
    for line in std::io::stdin().lock().lines() {
        let (seconds, score) = answer(line?.trim())?;
        println!("{seconds} {score}");
        std::io::stdout().flush()?;
    }
    Ok(())
}

/// The numbers in a file of little-endian f32.
pub fn read_f32(path: &str) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path)?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}
