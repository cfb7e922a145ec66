//! Exact sums side by side, in no more bits than their numbers need.

use std::collections::BTreeMap;
use std::iter;
use std::ops::Range;

use super::round::Leading;
use super::weighted::PRODUCT_LIMBS;
use super::{ExactSum, Special, integer_and_shift, limbs};
use crate::{Error, Result};

#[cfg(test)]
mod tests;

/// Of the product of two integers of 53 bits.
const MAX_BITS: usize = 106;

/// The exact sums of many series of `f64` values: the elements of a vector, or of a matrix in one row.
///
/// Each element is an integer as in [`ExactSum`], over the range that products have in
/// [`WeightedSum`](super::WeightedSum), so that adding a value or a product never rounds, overflows or underflows. The
/// sums are rounded once, when they are read. They do not depend on the order of the additions, nor on how they were
/// split into partial sums and merged, and equal sums are saved as equal bytes.
///
/// # Memory
/// All elements share one window of 64-bit limbs, which is empty at first and grows to what the values need, plus one limb
/// for carries. Values of ordinary sizes take 24 to 40 bytes an element; a single value that is far from the others widens
/// the window for all, in the worst case to 544 bytes an element. Growing it copies the array. Each element that an
/// infinity or NaN went into takes an entry in a map.
///
/// # Limits
/// There is room for 2^62 additions to each element, merged ones included.
///
/// ```
/// use metrics_core::exact::ExactArray;
///
/// let mut sums = ExactArray::new(2);
/// sums.add_all(&[1e300, 0.5])?;
/// sums.add_all(&[-1e300, 0.25])?;
/// sums.add_product(0, 3.0, 0.5);
/// assert_eq!(sums.values(), [1.5, 0.75]);
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct ExactArray {
    len: usize,
    /// Which limbs of the whole range are kept. The topmost takes only carries: whatever was added is below it.
    window: Range<usize>,
    /// Two's complement, least significant limb first, element after element.
    limbs: Vec<u64>,
    special: BTreeMap<usize, Special>,
}

impl ExactArray {
    /// This many sums, all 0.
    pub fn new(len: usize) -> Self {
        Self { len, window: 0..0, limbs: Vec::new(), special: BTreeMap::new() }
    }

    /// How many sums there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no sum at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Adds one value to one sum: about 10 nanoseconds, unless the window has to grow. Infinities and NaN follow IEEE 754 in
    /// any order, as in [`ExactSum`].
    ///
    /// # Panics
    /// Where there is no such sum, as a slice does.
    #[inline]
    pub fn add(&mut self, index: usize, x: f64) {
        self.add_product(index, x, 1.0);
    }

    /// Adds `a · b` to one sum, exactly, even where a `f64` could not hold it. Where a factor is not finite, the product
    /// is that of IEEE 754.
    ///
    /// # Panics
    /// As [`ExactArray::add`].
    // In loops over many elements, inlining saves a third of the time.
    #[inline(always)]
    pub fn add_product(&mut self, index: usize, a: f64, b: f64) {
        self.check(index);
        if !(a.is_finite() && b.is_finite()) {
            return self.special.entry(index).or_default().note(a * b);
        }
        let [(ours, our_shift), (theirs, their_shift)] = [a, b].map(integer_and_shift);
        if ours == 0 || theirs == 0 {
            return;
        }
        // Zeros at the end, as after a f32, need no limb.
        let [our_zeros, their_zeros] = [ours, theirs].map(u64::trailing_zeros);
        let product = u128::from(ours >> our_zeros) * u128::from(theirs >> their_zeros);
        let negative = a.is_sign_negative() != b.is_sign_negative();
        let (untrimmed, zeros) = (our_shift + their_shift, our_zeros + their_zeros);
        let shift = untrimmed + zeros as usize;
        self.cover(shift / 64..(untrimmed + MAX_BITS - 1) / 64 + 2);
        self.add_integer(index, product, shift, negative);
    }

    /// Adds `±integer · 2^shift`, in units of 2^-1074 squared, where the window has room for it.
    #[inline]
    fn add_integer(&mut self, index: usize, integer: u128, shift: usize, negative: bool) {
        let (width, start, offset) = (self.window.len(), shift / 64 - self.window.start, shift % 64);
        let (low, high) = (integer << offset, (integer >> 1) >> (127 - offset));
        let words = [low as u64, (low >> 64) as u64, high as u64, 0];
        // Each limb of the narrow element in turn, so that no branch depends on the number.
        let words = (0..width).map(|limb| words[limb.wrapping_sub(start).min(3)]);
        limbs::add(&mut self.limbs[index * width..][..width], words, negative);
    }

    /// Adds one value to each sum.
    ///
    /// # Errors
    /// [`Error::Argument`] when there are more or fewer values than sums.
    pub fn add_all(&mut self, values: &[f64]) -> Result<()> {
        self.check_len(values.len())?;
        values.iter().enumerate().for_each(|(index, &x)| self.add(index, x));
        Ok(())
    }

    /// Adds the sums of another array to those here, as if its values had been added here.
    ///
    /// # Errors
    /// [`Error::Argument`] when it has another length.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        self.check_len(other.len)?;
        for (&index, &special) in &other.special {
            self.special.entry(index).or_default().merge(special);
        }
        if other.window.is_empty() {
            return Ok(());
        }
        self.cover(other.window.clone());
        let below = other.window.start - self.window.start;
        for (ours, theirs) in self.limbs.chunks_exact_mut(self.window.len()).zip(other.elements()) {
            let words = theirs.iter().copied().chain(iter::repeat(limbs::sign(theirs)));
            limbs::add(&mut ours[below..], words, false);
        }
        Ok(())
    }

    /// One sum, correctly rounded, as [`ExactSum::value`].
    ///
    /// # Panics
    /// As [`ExactArray::add`].
    pub fn value(&self, index: usize) -> f64 {
        self.check(index);
        self.rounded(index, &mut vec![0; self.window.len()])
    }

    /// All sums, correctly rounded.
    pub fn values(&self) -> Vec<f64> {
        let mut magnitude = vec![0; self.window.len()];
        (0..self.len).map(|index| self.rounded(index, &mut magnitude)).collect()
    }

    /// Memory outside of the struct itself.
    pub fn bytes(&self) -> usize {
        size_of_val(self.limbs.as_slice()) + self.special.len() * size_of::<(usize, Special)>()
    }

    fn check(&self, index: usize) {
        assert!(index < self.len, "there are {} sums, but none with index {index}", self.len);
    }

    fn check_len(&self, len: usize) -> Result<()> {
        if len == self.len {
            return Ok(());
        }
        Err(Error::argument("exact array", format!("{len} values cannot be added to {} sums", self.len)))
    }

    /// The limbs of each sum; of an empty window, none at all.
    fn elements(&self) -> impl Iterator<Item = &[u64]> {
        self.limbs.chunks_exact(self.window.len().max(1))
    }

    /// `magnitude` is as long as the window.
    fn rounded(&self, index: usize, magnitude: &mut [u64]) -> f64 {
        if let Some(special) = self.special.get(&index).and_then(|special| special.value()) {
            return special;
        }
        let width = self.window.len();
        let negative = limbs::magnitude(&self.limbs[index * width..][..width], magnitude);
        let exponent = 64 * self.window.start as i64 - 2 * ExactSum::FRACTION;
        let value = Leading::of(magnitude, exponent).map_or(0.0, Leading::round);
        if negative { -value } else { value }
    }

    /// Makes the window include these limbs.
    #[inline]
    fn cover(&mut self, limbs: Range<usize>) {
        if limbs.start < self.window.start || self.window.end < limbs.end {
            self.grow(limbs);
        }
    }

    #[cold]
    fn grow(&mut self, limbs: Range<usize>) {
        if self.window.is_empty() {
            self.limbs = vec![0; self.len * limbs.len()];
            self.window = limbs;
            return;
        }
        let window = self.window.start.min(limbs.start)..self.window.end.max(limbs.end);
        let (below, above) = (self.window.start - window.start, window.end - self.window.end);
        let mut wider = Vec::with_capacity(self.len * window.len());
        for element in self.elements() {
            wider.extend(iter::repeat_n(0, below));
            wider.extend_from_slice(element);
            wider.extend(iter::repeat_n(limbs::sign(element), above));
        }
        (self.limbs, self.window) = (wider, window);
    }

    /// Which limbs of the window the sums need: not those at the bottom that are 0, and at the top that repeat the sign.
    fn needed(&self) -> Range<usize> {
        let width = self.window.len();
        let is_zero = |&limb: &usize| self.elements().all(|element| element[limb] == 0);
        let low = (0..width).take_while(is_zero).count();
        let is_sign = |&limb: &usize| self.elements().all(|element| element[limb] == limbs::sign(&element[low..limb]));
        low..width - (low..width).rev().take_while(is_sign).count()
    }

    /// The number of the lowest limb that is needed, and the needed limbs of all sums: the same for equal sums.
    pub(super) fn limb_words(&self) -> impl Iterator<Item = u64> {
        let needed = self.needed();
        let lowest = if needed.is_empty() { 0 } else { self.window.start + needed.start };
        let limbs = self.elements().flat_map(move |element| element[needed.clone()].iter().copied());
        iter::once(lowest as u64).chain(limbs)
    }

    /// Index and flags of each sum that infinities or NaN went into.
    pub(super) fn special_words(&self) -> impl Iterator<Item = u64> {
        self.special.iter().flat_map(|(&index, special)| [index as u64, special.flags()])
    }

    /// Sums without infinities and NaN, of [`ExactArray::limb_words`], or what is wrong with them.
    pub(super) fn from_limb_words(len: usize, words: &[u64]) -> Result<Self, String> {
        let Some((&lowest, limbs)) = words.split_first() else {
            return Err("it is empty".into());
        };
        let width = limbs.len().checked_div(len).unwrap_or(0);
        if width * len != limbs.len() {
            return Err(format!("its {} limbs cannot be shared by {len} sums", limbs.len()));
        }
        let start = usize::try_from(lowest).ok().filter(|start| *start <= PRODUCT_LIMBS.saturating_sub(width));
        let Some(start) = start.filter(|_| width <= PRODUCT_LIMBS) else {
            return Err(format!("its sums have {width} limbs from {lowest}, but there are {PRODUCT_LIMBS} in all"));
        };
        let mut array = Self { len, window: start..start + width, limbs: limbs.to_vec(), special: BTreeMap::new() };
        if width > 0 {
            // Whatever the top limb has, there is room for carries again.
            array.cover(start..start + width + 1);
        }
        Ok(array)
    }

    /// Takes in [`ExactArray::special_words`], or says what is wrong with them.
    pub(super) fn set_special_words(&mut self, words: &[u64]) -> Result<(), String> {
        let (pairs, rest) = words.as_chunks();
        if !rest.is_empty() || !pairs.is_sorted_by(|[a, _], [b, _]| a < b) {
            return Err("its indices and flags are not pairs in order".into());
        }
        for &[index, flags] in pairs {
            let index = usize::try_from(index).ok().filter(|index| *index < self.len);
            let special = Special::from_flags(flags).filter(|special| *special != Special::default());
            let (Some(index), Some(special)) = (index, special) else {
                return Err(format!("it has flags {flags} of an index among {} sums", self.len));
            };
            self.special.insert(index, special);
        }
        Ok(())
    }
}

/// Equal sums, whatever their windows.
impl PartialEq for ExactArray {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.special == other.special && self.limb_words().eq(other.limb_words())
    }
}

impl Eq for ExactArray {}
