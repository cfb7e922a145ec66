//! The numbers the kernels compute in, and vectors of them for whichever instruction set the machine has.

use std::ops::{Add, AddAssign, Mul, Neg, Sub};

use pulp::Simd;

/// A type the kernels compute in: `f32` or `f64`.
pub(crate) trait Real:
    pulp::bytemuck::Pod + PartialOrd + Default + Send + Sync + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self>
{
    /// As many of them as one register of `S` holds.
    type Vector<S: Simd>: pulp::bytemuck::Pod + Send + Sync;

    fn of(value: f64) -> Self;
    fn wide(self) -> f64;

    fn vectors<S: Simd>(slice: &[Self]) -> &[Self::Vector<S>];
    fn vectors_mut<S: Simd>(slice: &mut [Self]) -> &mut [Self::Vector<S>];
    fn splat<S: Simd>(simd: S, value: Self) -> Self::Vector<S>;
    fn add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    fn sub<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    fn mul<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    fn div<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    fn mul_add<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>, c: Self::Vector<S>) -> Self::Vector<S>;
    fn neg<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    fn abs<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    fn sum<S: Simd>(simd: S, a: Self::Vector<S>) -> Self;
    fn sqrt<S: Simd>(simd: S, a: Self::Vector<S>) -> Self::Vector<S>;
    /// `then` where `a < b`, else `or`; `or` where either is NaN.
    fn if_less<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        then: Self::Vector<S>,
        or: Self::Vector<S>,
    ) -> Self::Vector<S>;
    /// The natural logarithm of 1 more, of a number that is not negative.
    fn ln_1p(self) -> Self;
}

/// The natural logarithm of `1 + x`, `x ≥ 0`, within 6e-16 of it relatively, without branches or calls: a loop over it becomes vectors.
///
/// As fdlibm: `1 + x = 2^k (1 + f)` with `√½ ≤ 1 + f < √2`, and `ln(1 + f) = f - f²/2 + s (f²/2 + R(s²))`, `s = f / (2 + f)`.
#[inline(always)]
fn ln_1p(x: f64) -> f64 {
    const SQRT_HALF: u64 = 0x3fe6_a09e_667f_3bcd;
    const ONE: u64 = 0x3ff0_0000_0000_0000;
    // `2^52 + n` has the bits of `n` at its end.
    const TWO_52: u64 = 0x4330_0000_0000_0000;
    const LN_2: [f64; 2] = [6.931_471_803_691_238e-1, 1.908_214_929_270_587_7e-10];
    const R: [f64; 7] = [
        6.666_666_666_666_735e-1,
        3.999_999_999_940_942e-1,
        2.857_142_874_366_239e-1,
        2.222_219_843_214_978_4e-1,
        1.818_357_216_161_805e-1,
        1.531_383_769_920_937_3e-1,
        1.479_819_860_511_658_6e-1,
    ];
    let y = 1.0 + x;
    // What was lost in the addition.
    let of_x = y - 1.0;
    let lost = (1.0 - (y - of_x)) + (x - of_x);
    let bits = y.to_bits().wrapping_add(ONE - SQRT_HALF);
    let k = f64::from_bits(TWO_52 | (bits >> 52)) - (f64::from_bits(TWO_52) + 1023.0);
    let f = f64::from_bits((bits & 0x000f_ffff_ffff_ffff) + SQRT_HALF) - 1.0;
    let s = f / (2.0 + f);
    let z = s * s;
    let r = R.iter().rev().fold(0.0, |sum, r| (sum + r) * z);
    let half = 0.5 * f * f;
    let ln = k * LN_2[0] - ((half - (s * (half + r) + (k * LN_2[1] + lost / y))) - f);
    // Infinity and NaN.
    if y < f64::INFINITY { ln } else { y }
}

macro_rules! real {
    ($real:ty, $vector:ident, $vectors:ident, $vectors_mut:ident, $splat:ident, $add:ident, $sub:ident, $mul:ident, $div:ident,
     $mul_add:ident, $neg:ident, $abs:ident, $sum:ident, $sqrt:ident, $less_than:ident, $select:ident) => {
        impl Real for $real {
            type Vector<S: Simd> = S::$vector;

            #[inline(always)]
            fn of(value: f64) -> Self {
                value as $real
            }
            #[inline(always)]
            fn wide(self) -> f64 {
                f64::from(self)
            }
            #[inline(always)]
            fn vectors<S: Simd>(slice: &[Self]) -> &[S::$vector] {
                S::$vectors(slice).0
            }
            #[inline(always)]
            fn vectors_mut<S: Simd>(slice: &mut [Self]) -> &mut [S::$vector] {
                S::$vectors_mut(slice).0
            }
            #[inline(always)]
            fn splat<S: Simd>(simd: S, value: Self) -> S::$vector {
                simd.$splat(value)
            }
            #[inline(always)]
            fn add<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$add(a, b)
            }
            #[inline(always)]
            fn sub<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$sub(a, b)
            }
            #[inline(always)]
            fn mul<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$mul(a, b)
            }
            #[inline(always)]
            fn div<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
                simd.$div(a, b)
            }
            #[inline(always)]
            fn mul_add<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
                simd.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn neg<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
                simd.$neg(a)
            }
            #[inline(always)]
            fn abs<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
                simd.$abs(a)
            }
            #[inline(always)]
            fn sum<S: Simd>(simd: S, a: S::$vector) -> Self {
                simd.$sum(a)
            }
            #[inline(always)]
            fn sqrt<S: Simd>(simd: S, a: S::$vector) -> S::$vector {
                simd.$sqrt(a)
            }
            #[inline(always)]
            fn if_less<S: Simd>(simd: S, a: S::$vector, b: S::$vector, then: S::$vector, or: S::$vector) -> S::$vector {
                simd.$select(simd.$less_than(a, b), then, or)
            }
            #[inline(always)]
            fn ln_1p(self) -> Self {
                ln_1p(self.wide()) as $real
            }
        }
    };
}

real!(
    f32,
    f32s,
    as_simd_f32s,
    as_mut_simd_f32s,
    splat_f32s,
    add_f32s,
    sub_f32s,
    mul_f32s,
    div_f32s,
    mul_add_e_f32s,
    neg_f32s,
    abs_f32s,
    reduce_sum_f32s,
    sqrt_f32s,
    less_than_f32s,
    select_f32s
);
real!(
    f64,
    f64s,
    as_simd_f64s,
    as_mut_simd_f64s,
    splat_f64s,
    add_f64s,
    sub_f64s,
    mul_f64s,
    div_f64s,
    mul_add_e_f64s,
    neg_f64s,
    abs_f64s,
    reduce_sum_f64s,
    sqrt_f64s,
    less_than_f64s,
    select_f64s
);

/// An array whose length is known from its type: what a measure has of something.
pub(crate) trait Array<V: Copy + Send + Sync>: Copy + Send + Sync {
    const LEN: usize;

    fn filled(value: V) -> Self;
    fn get(&self, at: usize) -> V;
    fn set(&mut self, at: usize, value: V);
}

impl<V: Copy + Send + Sync, const N: usize> Array<V> for [V; N] {
    const LEN: usize = N;

    #[inline(always)]
    fn filled(value: V) -> Self {
        [value; N]
    }
    #[inline(always)]
    fn get(&self, at: usize) -> V {
        self[at]
    }
    #[inline(always)]
    fn set(&mut self, at: usize, value: V) {
        self[at] = value;
    }
}

/// One register of numbers, with the operators one expects.
#[derive(Clone, Copy)]
pub(crate) struct Lanes<T: Real, S: Simd> {
    simd: S,
    vector: T::Vector<S>,
}

impl<T: Real, S: Simd> Lanes<T, S> {
    /// How many numbers one register holds.
    pub(crate) const COUNT: usize = size_of::<T::Vector<S>>() / size_of::<T>();

    #[inline(always)]
    pub(crate) fn splat(simd: S, value: T) -> Self {
        Self { simd, vector: T::splat(simd, value) }
    }

    #[inline(always)]
    pub(crate) fn zero(simd: S) -> Self {
        Self::splat(simd, T::default())
    }

    /// The numbers from `slice[at]` on.
    #[inline(always)]
    pub(crate) fn load(simd: S, slice: &[T], at: usize) -> Self {
        Self { simd, vector: T::vectors::<S>(&slice[at..at + Self::COUNT])[0] }
    }

    #[inline(always)]
    pub(crate) fn new(simd: S, vector: T::Vector<S>) -> Self {
        Self { simd, vector }
    }

    #[inline(always)]
    pub(crate) fn vector(self) -> T::Vector<S> {
        self.vector
    }

    #[inline(always)]
    pub(crate) fn store(self, slice: &mut [T], at: usize) {
        T::vectors_mut::<S>(&mut slice[at..at + Self::COUNT])[0] = self.vector;
    }

    /// `self * factor + term`.
    #[inline(always)]
    pub(crate) fn mul_add(self, factor: Self, term: Self) -> Self {
        self.with(T::mul_add(self.simd, self.vector, factor.vector, term.vector))
    }

    /// `1 / self`.
    #[inline(always)]
    pub(crate) fn recip(self) -> Self {
        self.with(T::div(self.simd, T::splat(self.simd, T::of(1.0)), self.vector))
    }

    #[inline(always)]
    pub(crate) fn abs(self) -> Self {
        self.with(T::abs(self.simd, self.vector))
    }

    /// The sum of the lanes.
    #[inline(always)]
    pub(crate) fn sum(self) -> T {
        T::sum(self.simd, self.vector)
    }

    #[inline(always)]
    pub(crate) fn sqrt(self) -> Self {
        self.with(T::sqrt(self.simd, self.vector))
    }

    /// `then` where this is less than `bound`, else `or`; `or` where either is NaN.
    #[inline(always)]
    pub(crate) fn if_less(self, bound: Self, then: Self, or: Self) -> Self {
        self.with(T::if_less(self.simd, self.vector, bound.vector, then.vector, or.vector))
    }

    /// Negative numbers become 0; NaN stays NaN, which `max` does on some instruction sets only.
    #[inline(always)]
    pub(crate) fn at_least_zero(self) -> Self {
        let zero = self.like(0.0);
        self.if_less(zero, zero, self)
    }

    /// The natural logarithm of 1 more, of numbers that are not negative.
    #[inline(always)]
    pub(crate) fn ln_1p(self) -> Self {
        let mut vector = [self.vector];
        for value in pulp::bytemuck::cast_slice_mut::<_, T>(&mut vector) {
            *value = value.ln_1p();
        }
        self.with(vector[0])
    }

    /// The same number in every lane.
    #[inline(always)]
    pub(crate) fn with_all(self, value: T) -> Self {
        Self::splat(self.simd, value)
    }

    /// The same number in every lane.
    #[inline(always)]
    pub(crate) fn like(self, value: f64) -> Self {
        Self::splat(self.simd, T::of(value))
    }

    #[inline(always)]
    fn with(self, vector: T::Vector<S>) -> Self {
        Self { vector, ..self }
    }
}

impl<T: Real, S: Simd> Add for Lanes<T, S> {
    type Output = Self;
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        self.with(<T as Real>::add(self.simd, self.vector, other.vector))
    }
}

impl<T: Real, S: Simd> AddAssign for Lanes<T, S> {
    #[inline(always)]
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl<T: Real, S: Simd> Sub for Lanes<T, S> {
    type Output = Self;
    #[inline(always)]
    fn sub(self, other: Self) -> Self {
        self.with(<T as Real>::sub(self.simd, self.vector, other.vector))
    }
}

impl<T: Real, S: Simd> Mul for Lanes<T, S> {
    type Output = Self;
    #[inline(always)]
    fn mul(self, other: Self) -> Self {
        self.with(<T as Real>::mul(self.simd, self.vector, other.vector))
    }
}

impl<T: Real, S: Simd> Neg for Lanes<T, S> {
    type Output = Self;
    #[inline(always)]
    fn neg(self) -> Self {
        self.with(T::neg(self.simd, self.vector))
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn logarithms_are_those_of_the_standard_library() {
        let numbers = (-200..200)
            .flat_map(|power| [1.0, 1.37, 2.9, 7.1].map(|digits| digits * 2.0f64.powf(f64::from(power) / 4.0)));
        for x in numbers.chain([0.0, 1e-300, 0.414_213_562_373_095_1, 1.0, f64::MAX]) {
            let (ours, theirs) = (super::ln_1p(x), x.ln_1p());
            assert!((ours - theirs).abs() <= 6e-16 * theirs, "{x:e}: {ours:e} instead of {theirs:e}");
        }
        assert_eq!(super::ln_1p(f64::INFINITY), f64::INFINITY);
        assert!(super::ln_1p(f64::NAN).is_nan());
    }
}
