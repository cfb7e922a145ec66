//! SSIM by its definition, in f64: what the kernels are held to.

use crate::engine::Padding;
use crate::measure::ssim::Plan;

/// A volume (or a plane of depth 1) in row-major order.
#[derive(Clone)]
pub(super) struct Naive {
    pub(super) dims: [usize; 3],
    pub(super) data: Vec<f64>,
}

/// Taps along depth, height and width.
fn taps(plan: &Plan) -> [Vec<f64>; 3] {
    let mut taps = [vec![1.0], vec![1.0], vec![1.0]];
    let first = 3 - plan.taps.len();
    taps[first..].clone_from_slice(&plan.taps);
    taps
}

impl Naive {
    pub(super) fn get(&self, [z, y, x]: [usize; 3]) -> f64 {
        self.data[(z * self.dims[1] + y) * self.dims[2] + x]
    }

    pub(super) fn build(dims: [usize; 3], mut f: impl FnMut([usize; 3]) -> f64) -> Self {
        let mut data = Vec::new();
        for z in 0..dims[0] {
            for y in 0..dims[1] {
                for x in 0..dims[2] {
                    data.push(f([z, y, x]));
                }
            }
        }
        Self { dims, data }
    }

    /// With `radius` lines more at both ends of each axis.
    fn padded(&self, radius: [usize; 3], padding: Padding) -> Self {
        if padding == Padding::Valid {
            return self.clone();
        }
        let dims = std::array::from_fn(|axis| self.dims[axis] + 2 * radius[axis]);
        Self::build(dims, |at| {
            let source: [isize; 3] = std::array::from_fn(|axis| at[axis] as isize - radius[axis] as isize);
            let inside = (0..3).all(|axis| (0..self.dims[axis] as isize).contains(&source[axis]));
            if padding == Padding::Zero && !inside {
                return 0.0;
            }
            self.get(std::array::from_fn(|axis| {
                let (line, last) = (source[axis], self.dims[axis] as isize - 1);
                // Where the mirrors are: on the lines at the border, or half a line outside them.
                let (first, end) = if padding == Padding::Symmetric { (-1, 2 * last + 1) } else { (0, 2 * last) };
                (match padding {
                    Padding::Replicate => line.clamp(0, last),
                    _ if line < 0 => first - line,
                    _ if line > last => end - line,
                    _ => line,
                }) as usize
            }))
        })
    }

    /// The sum under the window around each pixel.
    fn filtered(&self, plan: &Plan) -> Self {
        let taps = taps(plan);
        let padded = self.padded([0, 1, 2].map(|axis| taps[axis].len() / 2), plan.padding);
        let dims = std::array::from_fn(|axis| padded.dims[axis] + 1 - taps[axis].len());
        Self::build(dims, |[z, y, x]| {
            let mut sum = 0.0;
            for (k, a) in taps[0].iter().enumerate() {
                for (i, b) in taps[1].iter().enumerate() {
                    for (j, c) in taps[2].iter().enumerate() {
                        sum += a * b * c * padded.get([z + k, y + i, x + j]);
                    }
                }
            }
            sum
        })
    }

    pub(super) fn zip(&self, other: &Self, f: impl Fn(f64, f64) -> f64) -> Self {
        let data = self.data.iter().zip(&other.data).map(|(&a, &b)| f(a, b)).collect();
        Self { dims: self.dims, data }
    }
}

/// The maps of SSIM and of contrast.
pub(super) fn maps(x: &Naive, y: &Naive, plan: &Plan, range: f64) -> [Naive; 2] {
    let (c1, c2) = ((plan.k1 * range).powi(2), (plan.k2 * range).powi(2));
    let [mx, my] = [x.filtered(plan), y.filtered(plan)];
    let square = |a: f64, b: f64| a * b;
    let [xx, yy, xy] = [x.zip(x, square), y.zip(y, square), x.zip(y, square)].map(|product| product.filtered(plan));
    let variance = |square: f64, mean: f64| plan.covariance * (square - mean * mean).max(0.0);
    let [sx, sy] = [xx.zip(&mx, variance), yy.zip(&my, variance)];
    let sxy = xy.zip(&mx.zip(&my, square), |product, means| plan.covariance * (product - means));
    let contrast = sxy.zip(&sx.zip(&sy, |a, b| a + b), |sxy, ss| (2.0 * sxy + c2) / (ss + c2));
    let luminance = mx.zip(&my, |a, b| (2.0 * a * b + c1) / (a * a + b * b + c1));
    [luminance.zip(&contrast, |a, b| a * b), contrast]
}

/// Mean of the SSIM map, and of the contrast map without the border that saw padding.
pub(super) fn means(x: &Naive, y: &Naive, plan: &Plan, range: f64) -> [f64; 2] {
    let [ssim, contrast] = maps(x, y, plan, range);
    let crop = match plan.padding {
        Padding::Valid => [0; 3],
        _ => taps(plan).map(|taps| taps.len() / 2),
    };
    let (mut sum, mut count) = (0.0, 0.0);
    Naive::build(contrast.dims, |at| {
        if (0..3).all(|axis| at[axis] >= crop[axis] && at[axis] + crop[axis] < contrast.dims[axis]) {
            sum += contrast.get(at);
            count += 1.0;
        }
        0.0
    });
    [ssim.data.iter().sum::<f64>() / ssim.data.len() as f64, sum / count]
}
