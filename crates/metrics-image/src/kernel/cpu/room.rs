//! Where dense results go: memory that need not hold anything before.

use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::ahead::fetch_all;
use super::pixel::Pixel;
use super::plane::Target;

/// A vector to be filled: not cleared first, which would take as long as a good part of the filling.
pub(crate) struct Fresh<P> {
    memory: Vec<P>,
    len: usize,
    /// How many elements have been written.
    written: AtomicUsize,
}

impl<P: Copy> Fresh<P> {
    pub(crate) fn new(len: usize) -> Self {
        Self { memory: Vec::with_capacity(len), len, written: AtomicUsize::new(0) }
    }

    pub(crate) fn room(&mut self) -> Room<'_, P> {
        let slots = &mut self.memory.spare_capacity_mut()[..self.len];
        Room { slots, written: Some(&self.written), count: 0 }
    }

    /// The vector.
    ///
    /// # Panics
    /// If not all of it was written.
    pub(crate) fn filled(mut self) -> Vec<P> {
        assert_eq!(*self.written.get_mut(), self.len, "part of a result was not written");
        // SAFETY: the capacity is at least `len`. Rooms are disjoint, no walk writes a place of its room twice, and as many
        // elements as there are places have been written: each of them is.
        unsafe { self.memory.set_len(self.len) };
        self.memory
    }
}

/// Part of a dense result, in row-major order, to be written.
pub(crate) struct Room<'a, P> {
    slots: &'a mut [MaybeUninit<P>],
    written: Option<&'a AtomicUsize>,
    count: usize,
}

impl<'a, P: Copy> Room<'a, P> {
    /// Cuts off the first `len` elements.
    pub(super) fn cut(&mut self, len: usize) -> Self {
        let (slots, rest) = std::mem::take(&mut self.slots).split_at_mut(len);
        self.slots = rest;
        Self { slots, written: self.written, count: 0 }
    }

    /// `len` places from `at` on, every one of which the caller writes.
    pub(super) fn places(&mut self, at: usize, len: usize) -> &mut [MaybeUninit<P>] {
        self.count += len;
        &mut self.slots[at..][..len]
    }
}

impl<P> Room<'_, P> {
    /// Asks for the memory of `len` places from `at` on, as far as there are so many: they will be written soon.
    pub(super) fn fetch(&self, at: usize, len: usize) {
        let places = self.slots.get(at..).unwrap_or_default();
        fetch_all(&places[..len.min(places.len())]);
    }
}

impl<P> Drop for Room<'_, P> {
    fn drop(&mut self) {
        if let Some(written) = self.written {
            written.fetch_add(self.count, Ordering::Relaxed);
        }
    }
}

/// Over memory that holds something already.
#[cfg(test)]
impl<'a, P: Copy> From<&'a mut [P]> for Room<'a, P> {
    fn from(slice: &'a mut [P]) -> Self {
        // SAFETY: the layouts are the same, and only whole values of `P` are ever written.
        let slots = unsafe { &mut *(std::ptr::from_mut(slice) as *mut [MaybeUninit<P>]) };
        Room { slots, written: None, count: 0 }
    }
}

impl<P: Pixel> Target<P::Real> for Room<'_, P> {
    fn write(&mut self, at: usize, row: &[P::Real]) {
        let places = self.places(at, row.len());
        let mut chunk = [P::default(); 64];
        for (places, reals) in places.chunks_mut(chunk.len()).zip(row.chunks(64)) {
            P::narrow(reals, &mut chunk[..reals.len()]);
            for (place, &pixel) in places.iter_mut().zip(&chunk) {
                place.write(pixel);
            }
        }
    }

    fn fetch(&self, at: usize, len: usize) {
        self.fetch(at, len);
    }
}
