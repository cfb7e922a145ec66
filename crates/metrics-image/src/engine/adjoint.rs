//! The last step of the adjoint: from derivatives with respect to the filtered features of a block of rows to derivatives with
//! respect to their pixels.

use std::marker::PhantomData;
use std::ops::Range;

use pulp::Simd;

use super::basis::PixelRows;
use super::border::{Border, Margins};
use super::buffer::RowWriter;
use super::errors::{ErrorSlopes, add_slope};
use super::filter::{self, BLOCK, Block, FieldRows, Sink};
use super::scan::Subject;
use super::schedule::Window;
use super::score::Inputs;
use super::scratch::Scratch;
use super::simd::{Array, Lanes, Real};
use crate::measure::Measure;

/// Takes `BLOCK` column-filtered rows of derivatives, with room at both ends for what is outside the map.
pub(super) struct PixelGradient<'a, M: Measure, T: Real, I> {
    window: &'a Window<T>,
    constants: M::Constants<T>,
    inputs: I,
    /// Columns of the gradient.
    columns: Range<usize>,
    margins: Margins,
    rows: &'a mut [T],
    stride: usize,
    /// A row of the gradient with respect to x and with respect to y.
    gradient: [&'a mut [T]; 2],
    errors: ErrorSlopes,
    /// Charbonnier's ε.
    epsilon: Option<T>,
}

impl<'a, M: Measure, T: Real, I: Inputs<M>> PixelGradient<'a, M, T, I> {
    const FIELDS: usize = I::Fields::<T>::LEN;

    fn stride(width: usize, horizontal: Border) -> usize {
        // The gradient may be wider than the map by all but one of the taps, and so much is read beyond it; then surplus lanes.
        Scratch::<T>::spread(width + 2 * horizontal.taps() + Scratch::<T>::padded(1))
    }

    /// Memory for rows of `width` (already padded).
    pub(super) fn len(width: usize, horizontal: Border) -> usize {
        (Self::FIELDS * BLOCK + 2) * Self::stride(width, horizontal)
    }

    /// For the gradient at `columns` from the derivatives at `map_columns`.
    pub(super) fn new(
        subject: &Subject<'a, M, T>,
        inputs: I,
        [columns, map_columns]: [&Range<usize>; 2],
        width: usize,
        memory: &'a mut [T],
        errors: ErrorSlopes,
    ) -> Self {
        let Subject { window, constants, epsilon, .. } = *subject;
        let stride = Self::stride(width, window.borders[2]);
        let (gradient, rows) = memory.split_at_mut(2 * stride);
        let margins = Margins::new(window.borders[2].adjoint(), columns, map_columns);
        let gradient = gradient.split_at_mut(stride).into();
        let columns = columns.clone();
        Self { window, constants, inputs, columns, margins, rows, stride, gradient, errors, epsilon }
    }

    /// Where the column-filtered derivatives go.
    pub(super) fn block(&mut self) -> Block<'_, T> {
        let field = Some(BLOCK * self.stride);
        Block { memory: &mut self.rows[self.margins.start..], row: self.stride, field }
    }

    /// Row-filters row `row` of the block, where the images have these pixels.
    pub(super) fn finish(&mut self, row: usize, pixels: PixelRows<T>) {
        for field in 0..Self::FIELDS {
            self.margins.fill(&mut self.rows[(field * BLOCK + row) * self.stride..][..self.stride], T::default());
        }
        let rows = FieldRows { memory: &self.rows[row * self.stride..], field: BLOCK * self.stride };
        let [dx, dy] = &mut self.gradient;
        let (constants, inputs) = (self.constants, self.inputs);
        let mut sink = Pixels { constants, inputs, pixels, dx, dy, measure: PhantomData::<M> };
        filter::row_filter(self.window.arch, &self.window.adjoint_taps[2], rows, self.columns.len(), &mut sink);
    }

    /// Writes what [`finish`](Self::finish) made, row `y` of slice `z` of the plane.
    pub(super) fn write(&mut self, [z, y]: [usize; 2], pixels: PixelRows<T>, outputs: &mut [Option<RowWriter<T>>; 2]) {
        for (side, output) in outputs.iter_mut().enumerate() {
            let Some(output) = output else { continue };
            let gradient = &mut self.gradient[side][..self.columns.len()];
            self.window.fold([z, y], &self.columns, gradient, |value, factor| value / factor);
            if self.errors != ErrorSlopes::default() {
                add_slope(self.window.arch, pixels, self.epsilon, self.errors, side, gradient);
            }
            output.write([z, y], self.columns.start, gradient);
            output.prefetch([z, y + BLOCK], self.columns.clone());
        }
    }
}

/// Takes filtered derivatives with respect to features, makes derivatives with respect to pixels.
struct Pixels<'a, M: Measure, T: Real, I> {
    constants: M::Constants<T>,
    inputs: I,
    pixels: PixelRows<'a, T>,
    dx: &'a mut [T],
    dy: &'a mut [T],
    measure: PhantomData<M>,
}

impl<M: Measure, T: Real, I: Inputs<M>> Sink<T> for Pixels<'_, M, T, I> {
    type Fields<V: Copy + Send + Sync> = I::Fields<V>;
    const TAPS: &'static [usize] = M::TAPS;

    #[inline(always)]
    fn put<S: Simd>(&mut self, simd: S, at: usize, fields: I::Fields<Lanes<T, S>>) {
        let PixelRows { images, weights } = self.pixels;
        let weight = match weights {
            Some(weights) if M::WEIGHTED => Lanes::load(simd, weights, at),
            _ => Lanes::zero(simd),
        };
        let basis = M::basis(&self.constants, images.map(|image| Lanes::load(simd, image, at)), weight);
        let [dx, dy] = self.inputs.pixels(basis, fields);
        if let Some(dx) = dx {
            dx.store(self.dx, at);
        }
        if let Some(dy) = dy {
            dy.store(self.dy, at);
        }
    }
}
