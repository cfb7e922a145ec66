//! Where rows of pixels come from: planes of tensors, and what is done to their pixels on the way.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use super::pixel::Pixel;
use super::prefetch::PARTS;
use super::schedule::arch;
use super::simd::Real;

/// A plane of pixels, read row by row in the type that is computed in.
pub(crate) trait RowReader<T: Real>: Send + Sync {
    /// Depth (1 in two dimensions), height, width.
    fn dims(&self) -> [usize; 3];

    /// Part of row `y` of slice `z`, copied.
    fn copy_row(&self, at: [usize; 2], columns: Range<usize>, out: &mut [T]);

    /// Part of a row: the pixels themselves if they can be used as they are, else copied into `buffer`.
    fn row<'b>(&'b self, at: [usize; 2], columns: Range<usize>, buffer: &'b mut [T]) -> &'b [T] {
        let row = &mut buffer[..columns.len()];
        self.copy_row(at, columns, row);
        row
    }

    /// The memory of part of a row, to be prefetched: of each plane that the row is made of. Empty where there is none, or it lies
    /// scattered.
    fn bytes(&self, _at: [usize; 2], _columns: Range<usize>) -> [&[u8]; PARTS] {
        Default::default()
    }

    /// How far neighbors of a row are apart, if that is so little that other planes lie between them: read together, all of these come
    /// from memory once. Else 1.
    fn interleaved(&self) -> usize {
        1
    }
}

/// A number near the middle of a plane's values, the same whenever the values are: the mean of those among up to 8 lines of each axis
/// that are finite and count.
pub(super) fn pivot<T: Real>(reader: &dyn RowReader<T>, mask: Option<&dyn RowReader<T>>) -> f64 {
    let [depth, height, width] = reader.dims();
    let places = |side: usize| (0..side).step_by(side.div_ceil(8));
    let (mut sum, mut count) = (0.0, 0.0);
    let (mut buffer, mut weights) = ([T::default(); 256], [T::default(); 256]);
    // A short row is read as a whole: a call takes longer than a few pixels.
    let (reads, step) = if width <= buffer.len() { (width, width.div_ceil(8)) } else { (1, 1) };
    for at in places(depth).flat_map(|z| places(height).map(move |y| [z, y])) {
        let starts = if reads == width { 0..1 } else { 0..width };
        for x in starts.step_by(width.div_ceil(8)) {
            let values = reader.row(at, x..x + reads, &mut buffer).iter().step_by(step);
            let mask = mask.map(|mask| mask.row(at, x..x + reads, &mut weights));
            for (place, value) in values.enumerate() {
                let counts = mask.is_none_or(|mask| mask[place * step] > T::default());
                if counts && value.wide().is_finite() {
                    sum += value.wide();
                    count += 1.0;
                }
            }
        }
    }
    if count > 0.0 { sum / count } else { 0.0 }
}

/// The most channels that pixels of channel-last images have.
const CHANNELS: usize = 4;

/// A view of one channel of one image: any strides, 0 (broadcast) included.
#[derive(Clone, Copy)]
pub(crate) struct Plane<'a, P> {
    data: &'a [P],
    dims: [usize; 3],
    strides: [usize; 3],
}

impl<'a, P: Pixel> Plane<'a, P> {
    /// `None` if a side is 0 or the view reaches beyond `data`.
    pub(crate) fn new(data: &'a [P], dims: [usize; 3], strides: [usize; 3]) -> Option<Self> {
        let mut last = 0usize;
        for (dim, stride) in dims.into_iter().zip(strides) {
            last = last.checked_add(dim.checked_sub(1)?.checked_mul(stride)?)?;
        }
        (last < data.len()).then_some(Self { data, dims, strides })
    }

    /// A view of pixels that lie densely in row-major order.
    pub(crate) fn dense(data: &'a [P], dims: [usize; 3]) -> Option<Self> {
        Self::new(data, dims, [dims[1].checked_mul(dims[2])?, dims[2], 1])
    }

    fn start(&self, [z, y]: [usize; 2]) -> usize {
        z * self.strides[0] + y * self.strides[1]
    }
}

impl<P: Pixel> RowReader<P::Real> for Plane<'_, P> {
    fn dims(&self) -> [usize; 3] {
        self.dims
    }

    fn row<'b>(&'b self, at: [usize; 2], columns: Range<usize>, buffer: &'b mut [P::Real]) -> &'b [P::Real] {
        if self.strides[2] == 1 {
            let start = self.start(at);
            if let Some(reals) = P::as_reals(&self.data[start + columns.start..start + columns.end]) {
                return reals;
            }
        }
        let row = &mut buffer[..columns.len()];
        self.copy_row(at, columns, row);
        row
    }

    fn copy_row(&self, at: [usize; 2], columns: Range<usize>, out: &mut [P::Real]) {
        let (start, step) = (self.start(at), self.strides[2]);
        match step {
            1 => P::widen(&self.data[start + columns.start..start + columns.end], out),
            // Channel-last images: a loop with the step as a constant becomes whole loads and shuffles.
            3 => gather::<P, 3>(&self.data[start + 3 * columns.start..], out),
            4 => gather::<P, 4>(&self.data[start + 4 * columns.start..], out),
            _ => {
                for (real, x) in out.iter_mut().zip(columns) {
                    let pixel = self.data[start + x * step];
                    P::widen(std::slice::from_ref(&pixel), std::slice::from_mut(real));
                }
            }
        }
    }

    fn bytes(&self, [z, y]: [usize; 2], columns: Range<usize>) -> [&[u8]; PARTS] {
        let step = self.strides[2];
        if step > CHANNELS || columns.is_empty() || y >= self.dims[1] {
            return Default::default();
        }
        let start = self.start([z, y]);
        let row = &self.data[start + step * columns.start..=start + step * (columns.end - 1)];
        [pulp::bytemuck::cast_slice(row), &[], &[]]
    }

    fn interleaved(&self) -> usize {
        if (2..=CHANNELS).contains(&self.strides[2]) { self.strides[2] } else { 1 }
    }
}

/// Runs `f` on pairs of planes that lie densely, one after another.
pub(crate) fn with_dense_pairs<T: Real + Pixel<Real = T>, R>(
    [x, y]: &[Vec<T>; 2],
    dims: [usize; 3],
    f: impl FnOnce(&[[&dyn RowReader<T>; 2]]) -> R,
) -> R {
    let len: usize = dims.iter().product();
    let pairs = x.chunks_exact(len).zip(y.chunks_exact(len));
    let planes: Vec<_> = pairs.filter_map(|(x, y)| Some([Plane::dense(x, dims)?, Plane::dense(y, dims)?])).collect();
    let pairs: Vec<_> = planes.iter().map(|[x, y]| [x as &dyn RowReader<T>, y as _]).collect();
    f(&pairs)
}

/// Every `STEP`-th pixel.
fn gather<P: Pixel, const STEP: usize>(data: &[P], out: &mut [P::Real]) {
    let (mut chunk, arch) = ([P::default(); 64], arch());
    for (reals, data) in out.chunks_mut(64).zip(data.chunks(64 * STEP)) {
        let chunk = &mut chunk[..reals.len()];
        arch.dispatch(Pick::<P, STEP> { data, out: chunk });
        P::widen(chunk, reals);
    }
}

struct Pick<'a, P, const STEP: usize> {
    data: &'a [P],
    out: &'a mut [P],
}

impl<P: Pixel, const STEP: usize> WithSimd for Pick<'_, P, STEP> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { data, out } = self;
        let (whole, rest) = data.as_chunks::<STEP>();
        for (pixel, group) in out.iter_mut().zip(whole) {
            *pixel = group[0];
        }
        // The last group may end with the memory.
        if let (Some(last), Some(first)) = (out.get_mut(whole.len()), rest.first()) {
            *last = *first;
        }
    }
}

/// Pixels in f64, for measures that compute in nothing less.
pub(crate) struct Widened<'a, T>(pub(crate) &'a dyn RowReader<T>);

impl<T: Real> RowReader<f64> for Widened<'_, T> {
    fn dims(&self) -> [usize; 3] {
        self.0.dims()
    }

    fn copy_row(&self, at: [usize; 2], columns: Range<usize>, out: &mut [f64]) {
        let mut buffer = [T::default(); 256];
        for (start, out) in columns.step_by(buffer.len()).zip(out.chunks_mut(buffer.len())) {
            let row = self.0.row(at, start..start + out.len(), &mut buffer);
            out.iter_mut().zip(row).for_each(|(wide, value)| *wide = value.wide());
        }
    }

    fn bytes(&self, at: [usize; 2], columns: Range<usize>) -> [&[u8]; PARTS] {
        self.0.bytes(at, columns)
    }

    fn interleaved(&self) -> usize {
        self.0.interleaved()
    }
}

/// Pixels clamped to a range; NaN stays NaN.
pub(crate) struct Clamp<R, T> {
    pub(crate) pixels: R,
    pub(crate) low: T,
    pub(crate) high: T,
}

impl<T: Real, R: RowReader<T>> RowReader<T> for Clamp<R, T> {
    fn dims(&self) -> [usize; 3] {
        self.pixels.dims()
    }

    fn copy_row(&self, at: [usize; 2], columns: Range<usize>, out: &mut [T]) {
        self.pixels.copy_row(at, columns, out);
        for value in out {
            let raised = if *value < self.low { self.low } else { *value };
            *value = if raised > self.high { self.high } else { raised };
        }
    }

    fn bytes(&self, at: [usize; 2], columns: Range<usize>) -> [&[u8]; PARTS] {
        self.pixels.bytes(at, columns)
    }

    fn interleaved(&self) -> usize {
        self.pixels.interleaved()
    }
}

impl<T: Real, R: RowReader<T> + ?Sized> RowReader<T> for Box<R> {
    fn dims(&self) -> [usize; 3] {
        (**self).dims()
    }

    fn row<'b>(&'b self, at: [usize; 2], columns: Range<usize>, buffer: &'b mut [T]) -> &'b [T] {
        (**self).row(at, columns, buffer)
    }

    fn copy_row(&self, at: [usize; 2], columns: Range<usize>, out: &mut [T]) {
        (**self).copy_row(at, columns, out);
    }

    fn bytes(&self, at: [usize; 2], columns: Range<usize>) -> [&[u8]; PARTS] {
        (**self).bytes(at, columns)
    }

    fn interleaved(&self) -> usize {
        (**self).interleaved()
    }
}

/// A color with alpha over a background.
pub(crate) struct Composite<'a, P: Pixel> {
    pub(crate) color: Plane<'a, P>,
    pub(crate) alpha: Plane<'a, P>,
    pub(crate) background: P::Real,
    /// Whether the color is multiplied by alpha already.
    pub(crate) premultiplied: bool,
    /// Alpha in 0..=1 is `[0] · value + [1]`.
    pub(crate) of_alpha: [P::Real; 2],
}

impl<P: Pixel> RowReader<P::Real> for Composite<'_, P> {
    fn dims(&self) -> [usize; 3] {
        self.color.dims()
    }

    fn copy_row(&self, at: [usize; 2], columns: Range<usize>, out: &mut [P::Real]) {
        let mut buffers = [[P::Real::default(); 256]; 2];
        let (len, arch) = (buffers[0].len(), arch());
        for (start, out) in columns.step_by(len).zip(out.chunks_mut(len)) {
            let [a, b] = &mut buffers;
            let part = start..start + out.len();
            let (color, alpha) = (self.color.row(at, part.clone(), a), self.alpha.row(at, part, b));
            let (background, of_alpha, premultiplied) = (self.background, self.of_alpha, self.premultiplied);
            arch.dispatch(PutOver { color, alpha, background, of_alpha, premultiplied, out });
        }
    }

    fn bytes(&self, at: [usize; 2], columns: Range<usize>) -> [&[u8]; PARTS] {
        let [color, alpha] = [&self.color, &self.alpha].map(|plane| plane.bytes(at, columns.clone())[0]);
        if self.color.interleaved() > 1 { [color, &[], &[]] } else { [color, alpha, &[]] }
    }

    fn interleaved(&self) -> usize {
        self.color.interleaved()
    }
}

struct PutOver<'a, T> {
    color: &'a [T],
    alpha: &'a [T],
    background: T,
    of_alpha: [T; 2],
    premultiplied: bool,
    out: &'a mut [T],
}

impl<T: Real> WithSimd for PutOver<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { color, alpha, background, of_alpha: [scale, offset], premultiplied, out } = self;
        let one = T::of(1.0);
        for ((out, &color), &alpha) in out.iter_mut().zip(color).zip(alpha) {
            let alpha = alpha * scale + offset;
            let color = if premultiplied { color } else { color * alpha };
            *out = color + (one - alpha) * background;
        }
    }
}

/// A weighted sum of three planes: luma.
pub(crate) struct WeightedSum<R, T> {
    pub(crate) planes: [R; 3],
    pub(crate) weights: [T; 3],
    pub(crate) offset: T,
}

impl<T: Real, R: RowReader<T>> RowReader<T> for WeightedSum<R, T> {
    fn dims(&self) -> [usize; 3] {
        self.planes[0].dims()
    }

    fn copy_row(&self, at: [usize; 2], columns: Range<usize>, out: &mut [T]) {
        let mut buffers = [[T::default(); 256]; 3];
        let (len, arch) = (buffers[0].len(), arch());
        for (start, out) in columns.step_by(len).zip(out.chunks_mut(len)) {
            let [a, b, c] = &mut buffers;
            let [red, green, blue] = &self.planes;
            let part = start..start + out.len();
            let rows = [red.row(at, part.clone(), a), green.row(at, part.clone(), b), blue.row(at, part, c)];
            arch.dispatch(Mix { rows, weights: self.weights, offset: self.offset, out });
        }
    }

    fn bytes(&self, at: [usize; 2], columns: Range<usize>) -> [&[u8]; PARTS] {
        // Interleaved planes lie in the same memory.
        let planes = self.planes.each_ref().map(|plane| plane.bytes(at, columns.clone())[0]);
        if self.planes[0].interleaved() > 1 { [planes[0], &[], &[]] } else { planes }
    }
}

struct Mix<'a, T> {
    rows: [&'a [T]; 3],
    weights: [T; 3],
    offset: T,
    out: &'a mut [T],
}

impl<T: Real> WithSimd for Mix<'_, T> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _: S) {
        let Self { rows: [red, green, blue], weights, offset, out } = self;
        for (((out, &red), &green), &blue) in out.iter_mut().zip(red).zip(green).zip(blue) {
            *out = offset + red * weights[0] + green * weights[1] + blue * weights[2];
        }
    }
}
