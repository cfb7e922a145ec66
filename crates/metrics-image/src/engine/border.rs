//! Which lines of its input a filter reads along one axis, borders included.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// What the window sees beyond the border of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Padding {
    /// The image mirrored at its border pixels, which are not repeated (`c b | a b c`). The map has the size of the image.
    Reflect,
    /// The image mirrored at its border, whose pixels are repeated (`b a | a b c`). The map has the size of the image. The kernels of a
    /// GPU do not have it: there the score is composed of Candle operations.
    Symmetric,
    /// The pixel at the border, again and again (`a a | a b c`). The map has the size of the image. The images are extended by Candle
    /// operations before they are scored, which copies them. For SSIM alone: MS-SSIM and `L1SsimLoss` refuse it.
    Replicate,
    /// Zeros. The map has the size of the image.
    Zero,
    /// Nothing: only windows that lie inside the image count. The map is smaller by the window's side minus one.
    Valid,
}

/// One axis of a filter: output line `i` is made of the padded input lines `i..i + taps`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Border {
    /// Lines of the input.
    pub(super) input: usize,
    /// Lines of the output.
    pub(super) output: usize,
    /// Padding lines before the first line of the input.
    lead: usize,
    /// Where the border is a mirror, how many times it repeats the border line.
    mirror: Option<usize>,
    radius: usize,
}

impl Border {
    /// The filter that makes moments from pixels.
    pub(super) fn forward(len: usize, radius: usize, padding: Padding) -> Self {
        let (lead, output) = match padding {
            Padding::Valid => (0, (len + 1).saturating_sub(2 * radius + 1)),
            Padding::Reflect | Padding::Symmetric | Padding::Replicate | Padding::Zero => (radius, len),
        };
        let mirror = match padding {
            Padding::Reflect => Some(0),
            Padding::Symmetric => Some(1),
            Padding::Replicate | Padding::Zero | Padding::Valid => None,
        };
        Self { input: len, output, lead, mirror, radius }
    }

    /// Its adjoint, which takes derivatives with respect to the moments back to derivatives with respect to the pixels.
    ///
    /// With zeros or a symmetric mirror around it the filter is its own adjoint; without padding the adjoint widens the map again. With
    /// a mirror that does not repeat the border it is its own adjoint up to a factor on the lines there, see [`fold`](Self::fold).
    pub(super) fn adjoint(self) -> Self {
        Self { input: self.output, output: self.input, lead: 2 * self.radius - self.lead, ..self }
    }

    /// By how much the adjoint's input has to be multiplied, and its output divided, at line `line`.
    ///
    /// With [`Padding::Reflect`] a mirrored line is seen twice except the border line itself, so the mirrored filter `F` is symmetric
    /// under the weights `w` = ½ at both ends and 1 between (the trapezoidal rule): `Fᵀ = w F w⁻¹`.
    pub(super) fn fold(self, line: usize) -> f64 {
        let ends = line == 0 || line + 1 == self.input;
        if self.mirror == Some(0) && self.radius > 0 && ends { 2.0 } else { 1.0 }
    }

    /// The first and the last line.
    pub(super) fn ends(self) -> impl Iterator<Item = usize> {
        let last = self.input - 1;
        std::iter::once(0).chain((last > 0).then_some(last))
    }

    /// The input line that stands at padded position `padded`; `None` where there are zeros.
    ///
    /// Far beyond the end, where only surplus lines of a block lie, any line will do.
    pub(super) fn line(self, padded: usize) -> Option<usize> {
        let last = self.input - 1;
        if padded < self.lead {
            return self.mirror.map(|repeats| (self.lead - padded - repeats).min(last));
        }
        let line = padded - self.lead;
        if line <= last {
            return Some(line);
        }
        self.mirror.map(|repeats| (2 * last + repeats).saturating_sub(line))
    }

    /// Where input line `line` stands among the padded lines that a run of output lines is made of.
    pub(super) fn position(self, output: &Range<usize>, line: usize) -> usize {
        line + self.lead - output.start
    }

    /// The input lines that a run of output lines reads, the mirrored ones included.
    pub(super) fn reads(self, output: Range<usize>) -> Range<usize> {
        let end = (output.end + 2 * self.radius).saturating_sub(self.lead);
        output.start.saturating_sub(self.lead)..end.min(self.input)
    }

    pub(super) fn taps(self) -> usize {
        2 * self.radius + 1
    }
}

/// Where a run of input lies in a row with room for what the filter reads around it.
pub(super) struct Margins {
    /// Where the input starts.
    pub(super) start: usize,
    /// Positions outside the input, each with the position that it mirrors, if any.
    outside: Vec<(usize, Option<usize>)>,
}

impl Margins {
    /// For the output run `output`, with the input lines `input` at hand.
    pub(super) fn new(border: Border, output: &Range<usize>, input: &Range<usize>) -> Self {
        let start = border.position(output, input.start);
        let inside = start..start + input.len();
        let needed = output.len() + border.taps() - 1;
        let outside = (0..needed).filter(|at| !inside.contains(at));
        let outside = outside.map(|at| (at, border.line(output.start + at).map(|line| border.position(output, line))));
        Self { start, outside: outside.collect() }
    }

    /// Fills what lies outside: mirrored, or `zero`.
    #[inline(always)]
    pub(super) fn fill<T: Copy>(&self, row: &mut [T], zero: T) {
        for &(at, mirrored) in &self.outside {
            row[at] = mirrored.map_or(zero, |from| row[from]);
        }
    }
}

/// A whole axis as its only run.
pub(super) fn whole(len: usize) -> Vec<Range<usize>> {
    std::iter::once(0..len).collect()
}

/// `len` cut into even runs of about `target`, each but the last a multiple of `step`; a function of `len` alone, so that results
/// do not depend on who computes which run.
pub(super) fn runs(len: usize, target: usize, step: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let count = len.div_ceil(target).max(1);
    let run = len.div_ceil(count).next_multiple_of(step).max(1);
    (0..len).step_by(run).map(move |start| start..(start + run).min(len))
}
