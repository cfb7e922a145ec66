//! SSIM of a flat plane, and its map, in one walk over the pixels.

use std::ops::Range;

use pulp::Simd;

use super::filter::{self, BLOCK};
use super::formula::Constants;
use super::pixels::{Pair, Pivot, Rows};
use super::plane::Pixel;
use super::pool::Halves;
use super::ring::Moments;
use super::score::{Maps, Scores};
use super::scratch::Scratch;
use super::total::{Errors, Total};
use super::window::{Window, owned, tiles};

/// Sums over part of a plane.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Sums {
    /// Of `1 - ssim` over the map.
    pub(super) ssim: f64,
    /// Of `1 - cs` over the map without its border.
    pub(super) contrast: f64,
    pub(super) errors: Errors,
}

impl Sums {
    pub(super) fn new([ssim, contrast]: [Total; 2], errors: Errors) -> Self {
        Self { ssim: ssim.value(), contrast: contrast.value(), errors }
    }
}

impl std::ops::AddAssign for Sums {
    fn add_assign(&mut self, other: Self) {
        self.ssim += other.ssim;
        self.contrast += other.contrast;
        self.errors += other.errors;
    }
}

/// A pair of planes with all that is known before the walk.
pub(super) struct Subject<'a, P: Pixel> {
    pub(super) pair: Pair<'a, P>,
    pub(super) window: &'a Window<P::Real>,
    pub(super) pivot: Pivot<P::Real>,
    pub(super) constants: Constants<P::Real>,
}

/// What a walk makes besides sums: the task's part of it.
pub(super) struct Made<'a, P: Pixel> {
    pub(super) maps: Maps<'a, P>,
    pub(super) halves: Option<Halves<'a, P::Real>>,
}

/// The sums over a band of the map.
#[inline(always)]
pub(super) fn band<P: Pixel, S: Simd>(
    simd: S,
    subject: &Subject<P>,
    lines: &Range<usize>,
    made: &mut Made<P>,
    scratch: &mut Scratch<P::Real>,
) -> Sums {
    let mut sums = Sums::default();
    let [_, down, along] = subject.window.borders;
    for columns in tiles(along.output) {
        sums += tile(simd, subject, lines, columns.clone(), &mut made.maps, scratch);
        if let Some(halves) = &mut made.halves {
            let lines = halves.halving.share(1, lines, lines.end == down.output);
            let columns = halves.halving.share(2, &columns, columns.end == along.output);
            halves.tile([&subject.pair.x, &subject.pair.y], [0..1, lines, columns]);
        }
    }
    sums
}

#[inline(always)]
fn tile<P: Pixel, S: Simd>(
    simd: S,
    subject: &Subject<P>,
    lines: &Range<usize>,
    columns: Range<usize>,
    maps: &mut Maps<P>,
    scratch: &mut Scratch<P::Real>,
) -> Sums {
    let Subject { pair, window, pivot, constants } = subject;
    let [_, down, along] = window.borders;
    let width = Scratch::<P::Real>::padded(columns.len());
    let (pixels, block) = (Rows::<P>::len(width, along), Scores::<P::Real, S>::len(width));
    let [a, b, u, v, ring, ssim, contrast] =
        scratch.cut([pixels, pixels, pixels, pixels, Moments::<P>::len(width, down), block, block]);
    let rows = Rows::new(*pair, *pivot, along, &columns, owned(&columns, along), [a, b, u, v]);
    let mut moments = Moments::new(rows, &window.taps[2], down, width, ring, owned(lines, down));
    let counted = [0..1, lines.clone(), columns.clone()];
    let (losses, totals) = ([ssim, contrast], [Total::default(); 2]);
    let mut scores = Scores { simd, window, constants, columns, width, counted, losses, totals };
    moments.start(simd, lines.start);
    for start in lines.clone().step_by(BLOCK) {
        filter::across(simd, &window.taps[1], moments.block(simd, 0, start), &mut scores);
        for line in start..(start + BLOCK).min(lines.end) {
            scores.count([0, line], line - start);
            scores.write(line - start, line - lines.start, maps);
        }
    }
    Sums::new(scores.totals, moments.errors.value())
}
