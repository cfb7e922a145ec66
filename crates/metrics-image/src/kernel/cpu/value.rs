//! SSIM of a flat plane, and its map, in one walk over the pixels.

use std::ops::Range;

use super::filter::{self, BLOCK};
use super::lanes::Real;
use super::pixels::Rows;
use super::plane::Targets;
use super::pool::Halves;
use super::ring::Moments;
use super::score::Scores;
use super::scratch::Scratch;
use super::subject::Subject;
use super::total::{ErrorRows, Total};
use super::window::owned;

/// Sums over part of a plane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// Of `1 - ssim` over the map.
    pub(super) ssim: f64,
    /// Of `1 - cs` over the map without its border.
    pub(super) contrast: f64,
}

impl Sums {
    pub(super) fn new([ssim, contrast]: [Total; 2]) -> Self {
        Self { ssim: ssim.value(), contrast: contrast.value() }
    }
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.ssim += other.ssim;
        self.contrast += other.contrast;
    }
}

/// What a walk makes besides sums: the task's part of it.
pub(super) struct Made<'a, T> {
    pub(super) maps: Targets<'a, T>,
    pub(super) halves: Option<Halves<'a, T>>,
    pub(super) errors: Option<ErrorRows<'a>>,
}

/// Walks a stretch of the map; adds to the sums of each of its bands.
pub(super) fn walk<T: Real>(
    subject: &Subject<T>,
    lines: &Range<usize>,
    made: &mut Made<T>,
    sums: &mut [Sums],
    scratch: &mut Scratch<T>,
) {
    for columns in subject.window.tiles(false) {
        tile(subject, lines, columns, made, sums, scratch);
    }
}

fn tile<T: Real>(
    subject: &Subject<T>,
    lines: &Range<usize>,
    columns: Range<usize>,
    made: &mut Made<T>,
    sums: &mut [Sums],
    scratch: &mut Scratch<T>,
) {
    let window = subject.window;
    let [_, down, along] = window.borders;
    let width = Scratch::<T>::padded(columns.len());
    let [pixels, ring, scores] =
        scratch.cut([Rows::<T>::len(width, along), Moments::<T>::len(width, down), Scores::<T>::len(width)]);
    let rows = Rows::new(subject, &columns, owned(&columns, along), width, pixels);
    let errors = made.errors.as_mut().map(ErrorRows::reborrow);
    let mut moments = Moments::new(rows, window, width, ring, owned(lines, down), errors);
    let counted = [0..1, lines.clone(), columns.clone()];
    let mut scores = Scores::new(subject, columns, width, counted, scores);
    let mut halves = made.halves.as_mut().map(|halves| halves.of_tile(lines, &scores.columns, [down, along]));
    moments.start(lines.start);
    for start in lines.clone().step_by(BLOCK) {
        let block = start..(start + BLOCK).min(lines.end);
        filter::across(window.arch, &window.taps[1], moments.block(0, start), scores.lines());
        scores.score(block.len());
        if let Some(halves) = &mut halves {
            halves.up_to(window.arch, subject.sources, moments.read());
        }
        for line in block {
            scores.count([0, line], line - start);
            scores.write(line - start, line - lines.start, &mut made.maps);
        }
    }
    if let Some(mut halves) = halves {
        halves.finish(window.arch, subject.sources);
    }
    scores.add_to(sums);
}
