//! Minimum and maximum that do not depend on the order of their arguments, NaN and signed zeros included.

/// The smaller of two values: NaN if either is NaN, and `-0.0` before `+0.0`.
pub(crate) fn smaller(a: f64, b: f64) -> f64 {
    choose(a, b, a.total_cmp(&b).is_le())
}

/// The larger of two values: NaN if either is NaN, and `+0.0` before `-0.0`.
pub(crate) fn larger(a: f64, b: f64) -> f64 {
    choose(a, b, a.total_cmp(&b).is_ge())
}

fn choose(a: f64, b: f64, first: bool) -> f64 {
    if a.is_nan() || b.is_nan() {
        f64::NAN
    } else if first {
        a
    } else {
        b
    }
}
