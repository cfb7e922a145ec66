//! The colours of SSIM.

use image::Rgb;

/// The values beside a legend, from its top down.
pub(super) const TICKS: [f32; 6] = [1.0, 0.8, 0.6, 0.4, 0.2, 0.0];

/// What is no number: no colour of the scale is grey.
const NOT_A_NUMBER: Rgb<u8> = Rgb([128; 3]);

/// Nearly black for 1, where the images agree, up to a pale yellow for 0 and below: what is lost glows. Equal steps look equal.
///
/// The scale is the same for every map, so that maps can be compared by eye.
pub(super) fn of_similarity(similarity: f32) -> Rgb<u8> {
    if similarity.is_nan() {
        return NOT_A_NUMBER;
    }
    let colorous::Color { r, g, b } = colorous::INFERNO.eval_continuous(1.0 - f64::from(similarity.clamp(0.0, 1.0)));
    Rgb([r, g, b])
}

/// What stands beside a tick: the colour of 0 is also that of everything below.
pub(super) fn tick_label(tick: f32) -> String {
    if tick > 0.0 { format!("{tick:.1}") } else { "≤ 0".to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brightness(similarity: f32) -> u32 {
        of_similarity(similarity).0.into_iter().map(u32::from).sum()
    }

    #[test]
    fn what_is_lost_is_brighter() {
        let brightness: Vec<_> = TICKS.into_iter().map(brightness).collect();
        assert!(brightness.is_sorted_by(|better, worse| better < worse), "{brightness:?}");
    }

    #[test]
    fn values_off_the_scale_have_the_colours_of_its_ends() {
        assert_eq!(of_similarity(-1.0), of_similarity(0.0));
        assert_eq!(of_similarity(1.0 + f32::EPSILON), of_similarity(1.0));
    }

    #[test]
    fn no_number_has_a_colour_of_its_own() {
        assert!((0..=1000).all(|i| of_similarity(i as f32 / 1000.0) != of_similarity(f32::NAN)));
    }
}
