//! What a walk is about.

use super::formula::Constants;
use super::pixels::Pivot;
use super::plane::Sources;
use super::window::Window;

/// A pair of planes with all that is known before the walk.
pub(super) struct Subject<'a, T> {
    pub(super) sources: Sources<'a, T>,
    pub(super) window: &'a Window<T>,
    pub(super) pivot: Pivot<T>,
    pub(super) constants: Constants<T>,
}
