//! Scans of a batch of planes: cut into work items for the threads, and put together again.

use rayon::prelude::*;

use super::buffer::{Fresh, Region, RowWriter};
use super::downsample::{CoarserTile, Downsampling};
use super::errors::ErrorSlopes;
use super::mask::Masked;
use super::rows::RowReader;
use super::scan::{self, Objective, Outputs, Subject, TileSums, Upstream};
use super::schedule::{Cuts, Window};
use super::scratch::Scratch;
use super::simd::{Array, Real};
use super::sums::{ERROR_RUN, Errors};
use crate::measure::Measure;

/// With fewer pixels than these, waking another thread takes longer than the work: some 15 µs.
const TOO_FEW: usize = 1 << 13;

/// Pairs of planes of one size, and what a scan is to make of them.
pub(crate) struct Batch<'a, M: Measure, T: Real> {
    pub(crate) measure: &'a M,
    pub(crate) pairs: &'a [[&'a dyn RowReader<T>; 2]],
    /// The data range of each plane.
    pub(crate) ranges: &'a [f64],
    /// The maps to sum.
    pub(crate) wanted: M::Maps<bool>,
    /// The maps to keep.
    pub(crate) maps: M::Maps<bool>,
    /// Whether to downsample both images on the way, and how.
    pub(crate) downsampling: Option<Downsampling>,
    /// Whether to sum the errors of pixels on the way, and Charbonnier's ε if that is one of them.
    pub(crate) errors: bool,
    pub(crate) epsilon: Option<T>,
    /// How much the pixels of each plane count, of those where not all count alike. Windows of a measure that
    /// [`MASKS`](Measure::MASKS) look through the mask, of any other measure it weighs the places of the maps alone.
    pub(crate) masks: &'a [Option<&'a dyn RowReader<T>>],
}

/// The gradients to make: of what, and with respect to which images.
///
/// `D` are numbers of which there is one for each map.
pub(crate) struct Gradients<'a, D, T> {
    /// One for each plane.
    pub(crate) upstream: Vec<Upstream<'a, D, T>>,
    /// For each plane, the derivatives with respect to the sums of errors.
    pub(crate) errors: Vec<ErrorSlopes>,
    pub(crate) wanted: [bool; 2],
}

/// What a scan has made: dense planes one after another.
pub(crate) struct Scanned<M: Measure, T> {
    /// The sums of the maps of each plane; 0 of those that are not wanted.
    pub(crate) sums: Vec<M::Maps<f64>>,
    pub(crate) errors: Vec<Errors>,
    pub(crate) maps: Vec<Option<Vec<T>>>,
    pub(crate) coarser: Option<[Vec<T>; 2]>,
    pub(crate) gradients: [Option<Vec<T>>; 2],
}

impl<'a, M: Measure, T: Real> Batch<'a, M, T> {
    /// A scan for sums alone.
    pub(crate) fn new(measure: &'a M, pairs: &'a [[&'a dyn RowReader<T>; 2]], ranges: &'a [f64]) -> Self {
        let (wanted, maps) = (M::Maps::filled(true), M::Maps::filled(false));
        let (downsampling, errors, epsilon) = (None, false, None);
        Self { measure, pairs, ranges, wanted, maps, downsampling, errors, epsilon, masks: &[] }
    }

    /// `None` if the planes are too small for the filter.
    pub(crate) fn scan(&self, gradients: Option<&Gradients<'_, M::Maps<f64>, T>>) -> Option<Scanned<M, T>> {
        let dims = self.pairs.first()?[0].dims();
        let window = Window::new(&self.measure.filters(), dims)?;
        let cuts = window.cuts(self.pairs.len(), self.threads(dims), gradients.is_some());
        let mut made = Buffers::new(self, &window, gradients);
        let item_cuts = ItemCuts::new(self, &window, &cuts);
        let outputs = made.outputs(self, &window, &item_cuts);
        let subjects: Vec<_> = (0..self.pairs.len()).map(|plane| self.subject(plane, &window)).collect();
        let items = subjects
            .iter()
            .enumerate()
            .flat_map(|(plane, subject)| regions(&cuts).map(move |region| (plane, subject, region)));
        let items = self.order(items.zip(outputs).collect());
        let run = |((plane, subject, region), outputs): (Item<M, T>, Outputs<T>), scratch: &mut Scratch<T>| {
            let objective = gradients.map(|Gradients { upstream, errors, .. }| Objective {
                upstream: upstream[plane].clone(),
                errors: errors[plane],
            });
            match subject {
                AnySubject::Plain(subject) => scan::scan(subject, objective.as_ref(), &region, outputs, scratch),
                AnySubject::Masked(subject) if const { M::MASKS } => {
                    scan::scan(subject, objective.as_ref(), &region, outputs, scratch)
                }
                AnySubject::Masked(_) => unreachable!("only measures that mask have masked subjects"),
            }
        };
        let run = |(number, item), scratch: &mut Scratch<T>| (number, run(item, scratch));
        let mut sums: Vec<(usize, TileSums<M>)> = if self.threads(dims) == 1 {
            let mut scratch = Scratch::default();
            items.into_iter().map(|item| run(item, &mut scratch)).collect()
        } else {
            in_parallel(items, run)
        };
        sums.sort_by_key(|(number, _)| *number);
        let sums: Vec<_> = sums.into_iter().map(|(_, sums)| sums).collect();
        let per_plane = sums.len() / self.pairs.len();
        let sums = sums.chunks(per_plane).map(|tiles| in_order::<M, T>(&window, tiles)).collect();
        Some(made.scanned(&window, sums))
    }

    fn subject<'w>(&self, plane: usize, window: &'w Window<T>) -> AnySubject<'w, M, T>
    where
        'a: 'w,
    {
        let mask = self.masks.get(plane).copied().flatten();
        let (pixels, range) = ((self.pairs[plane], mask), self.ranges[plane]);
        match mask {
            Some(_) if const { M::MASKS } => {
                let measure = Masked(self.measure);
                AnySubject::Masked(Subject::new(&measure, pixels, window, range, self.wanted, self.epsilon))
            }
            _ => AnySubject::Plain(Subject::new(self.measure, pixels, window, range, self.wanted, self.epsilon)),
        }
    }

    /// The items in the order in which they are best begun, with their numbers: planes that lie in the same memory come together.
    fn order<I>(&self, items: Vec<I>) -> Vec<(usize, I)> {
        let (planes, per_plane) = (self.pairs[0][0].interleaved(), items.len() / self.pairs.len());
        let mut numbered: Vec<_> = items.into_iter().enumerate().collect();
        numbered.sort_by_key(|(number, _)| {
            let (plane, region) = (number / per_plane, number % per_plane);
            (plane / planes, region, plane % planes)
        });
        numbered
    }

    /// How many threads the work is worth.
    fn threads(&self, dims: [usize; 3]) -> usize {
        let pixels = self.pairs.len() * dims.iter().product::<usize>();
        if pixels < TOO_FEW { 1 } else { rayon::current_num_threads() }
    }
}

/// A pair of planes: all pixels count alike, or windows look through a mask.
enum AnySubject<'a, M: Measure, T: Real> {
    Plain(Subject<'a, M, T>),
    Masked(Subject<'a, Masked<'a, M>, T>),
}

/// A region of a plane, and the number of the plane.
type Item<'a, 'p, M, T> = (usize, &'a AnySubject<'p, M, T>, Region);

/// The regions of a plane, in the order of the runs of their axes.
fn regions(cuts: &Cuts) -> impl Iterator<Item = Region> {
    let [slices, rows, columns] = cuts;
    slices.iter().flat_map(move |slices| {
        rows.iter().flat_map(move |rows| columns.iter().map(|columns| [slices.clone(), rows.clone(), columns.clone()]))
    })
}

/// Runs the items one by one, so that a thread that is done takes over any that is left, and in order, so that neighbors share what
/// is in the caches.
fn in_parallel<I: Send, R: Send, T: Real>(items: Vec<I>, run: impl Fn(I, &mut Scratch<T>) -> R + Sync) -> Vec<R> {
    items.into_par_iter().with_max_len(1).map_init(Scratch::default, |scratch, item| run(item, scratch)).collect()
}

/// The sums of a plane: of each sum block over the tiles, then of the blocks.
fn in_order<M: Measure, T: Real>(window: &Window<T>, tiles: &[TileSums<M>]) -> M::Maps<f64> {
    let mut blocks = vec![M::Maps::filled(0.0); window.sum_blocks().count()];
    let add = |sum: &mut M::Maps<f64>, more: &M::Maps<f64>| {
        for map in 0..M::Maps::<f64>::LEN {
            sum.set(map, sum.get(map) + more.get(map));
        }
    };
    for (first, sums) in tiles {
        blocks[*first..].iter_mut().zip(sums).for_each(|(block, sums)| add(block, sums));
    }
    let mut sum = M::Maps::filled(0.0);
    blocks.iter().for_each(|block| add(&mut sum, block));
    sum
}

/// The parts of every result that fall to the work items.
struct ItemCuts {
    map: Cuts,
    image: Cuts,
    coarser: Cuts,
    errors: Cuts,
}

impl ItemCuts {
    fn new<M: Measure, T: Real>(batch: &Batch<M, T>, window: &Window<T>, cuts: &Cuts) -> Self {
        let image = [0, 1, 2].map(|axis| window.owned(axis, &cuts[axis]));
        let in_runs = |run: &std::ops::Range<usize>| run.start / ERROR_RUN..run.end.div_ceil(ERROR_RUN);
        let errors = [image[0].clone(), image[1].clone(), image[2].iter().map(in_runs).collect()];
        let coarser = batch.downsampling.map_or_else(Cuts::default, |downsampling| downsampling.cuts(cuts));
        Self { map: cuts.clone(), image, coarser, errors }
    }
}

/// Memory for all that a scan makes.
struct Buffers<T> {
    maps: Vec<Option<Fresh<T>>>,
    coarser: Option<[Fresh<T>; 2]>,
    errors: Option<Fresh<Errors>>,
    gradients: [Option<Fresh<T>>; 2],
}

impl<T: Real> Buffers<T> {
    fn new<M: Measure>(
        batch: &Batch<M, T>,
        window: &Window<T>,
        gradients: Option<&Gradients<M::Maps<f64>, T>>,
    ) -> Self {
        let planes = batch.pairs.len();
        let fresh = |dims: [usize; 3]| Fresh::new(planes * dims.iter().product::<usize>());
        let (map_dims, dims) = (window.map_dims(), window.dims());
        Self {
            maps: (0..M::Maps::<T>::LEN).map(|map| batch.maps.get(map).then(|| fresh(map_dims))).collect(),
            coarser: batch.downsampling.map(|downsampling| [fresh(downsampling.dims()), fresh(downsampling.dims())]),
            errors: batch.errors.then(|| Fresh::new(planes * error_dims(dims).iter().product::<usize>())),
            gradients: gradients
                .map_or([false; 2], |gradients| gradients.wanted)
                .map(|wanted| wanted.then(|| fresh(dims))),
        }
    }

    /// The part of each item, in order.
    fn outputs<'a, M: Measure>(
        &'a mut self,
        batch: &Batch<M, T>,
        window: &Window<T>,
        cuts: &'a ItemCuts,
    ) -> impl Iterator<Item = Outputs<'a, T>> {
        let (dims, map_dims, downsampling) = (window.dims(), window.map_dims(), batch.downsampling);
        let writers = |fresh: &'a mut Fresh<T>, dims, cuts| Box::new(fresh.writers(dims, cuts)) as Writers<'a, T>;
        let mut maps: Vec<Option<Writers<T>>> =
            self.maps.iter_mut().map(|map| Some(writers(map.as_mut()?, map_dims, &cuts.map))).collect();
        let mut gradients =
            self.gradients.each_mut().map(|gradient| Some(writers(gradient.as_mut()?, dims, &cuts.image)));
        let mut coarser = self.coarser.as_mut().zip(downsampling).map(|(coarser, downsampling)| {
            coarser.each_mut().map(|image| writers(image, downsampling.dims(), &cuts.coarser))
        });
        let mut errors = self.errors.as_mut().map(|errors| errors.writers(error_dims(dims), &cuts.errors));
        std::iter::repeat_with(move || Outputs {
            maps: maps.iter_mut().map(|map| map.as_mut()?.next()).collect(),
            coarser: coarser
                .as_mut()
                .zip(downsampling)
                .and_then(|([x, y], downsampling)| Some(CoarserTile::new(downsampling, [x.next()?, y.next()?]))),
            errors: errors.as_mut().and_then(Iterator::next),
            gradients: gradients.each_mut().map(|gradient| gradient.as_mut()?.next()),
        })
    }

    fn scanned<M: Measure>(self, window: &Window<T>, sums: Vec<M::Maps<f64>>) -> Scanned<M, T> {
        let [depth, height, runs] = error_dims(window.dims());
        let errors = self.errors.map_or_else(Vec::new, Fresh::filled);
        Scanned {
            sums,
            errors: errors.chunks(depth * height * runs).map(|plane| Errors::of_plane(plane, runs)).collect(),
            maps: self.maps.into_iter().map(|map| map.map(Fresh::filled)).collect(),
            coarser: self.coarser.map(|coarser| coarser.map(Fresh::filled)),
            gradients: self.gradients.map(|gradient| gradient.map(Fresh::filled)),
        }
    }
}

type Writers<'a, T> = Box<dyn Iterator<Item = RowWriter<'a, T>> + 'a>;

/// A number for each run of columns.
fn error_dims([depth, height, width]: [usize; 3]) -> [usize; 3] {
    [depth, height, width.div_ceil(ERROR_RUN)]
}
