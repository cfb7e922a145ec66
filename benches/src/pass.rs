//! Plain passes over the memory of two images, on the threads of the current rayon pool: the scale for everything else.

use rayon::prelude::*;

/// Elements in a task: small enough to share among threads, large enough that sharing costs nothing.
const TASK: usize = 1 << 15;
/// Independent sums, enough to hide the latency of an addition for any width of vector.
const LANES: usize = 32;

/// Sum of `(x - y)²`.
pub fn squared_difference(x: &[f32], y: &[f32]) -> f64 {
    pass(x, y, |x, y| (x - y) * (x - y))
}

/// Sum of both images: as little as can be done with every value read.
pub fn read(x: &[f32], y: &[f32]) -> f64 {
    pass(x, y, |x, y| x + y)
}

fn pass(x: &[f32], y: &[f32], term: impl Fn(f32, f32) -> f32 + Sync) -> f64 {
    let tasks = x.par_chunks(TASK).zip(y.par_chunks(TASK));
    tasks.map(|(x, y)| sum(x, y, &term)).sum()
}

fn sum(x: &[f32], y: &[f32], term: impl Fn(f32, f32) -> f32) -> f64 {
    let mut lanes = [0.0; LANES];
    let (x, y) = (x.chunks_exact(LANES), y.chunks_exact(LANES));
    let rest: f32 = x.remainder().iter().zip(y.remainder()).map(|(&x, &y)| term(x, y)).sum();
    for (x, y) in x.zip(y) {
        for lane in 0..LANES {
            lanes[lane] += term(x[lane], y[lane]);
        }
    }
    f64::from(lanes.iter().sum::<f32>() + rest)
}
