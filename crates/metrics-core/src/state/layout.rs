//! What states declare, compared and shown.

use std::fmt;

use super::parts::Mode;
use super::{Reduce, State};
use crate::{Error, NonFinite, Result};

impl State {
    /// Whether the two declare the same.
    pub(super) fn check_layout(&self, other: &Self) -> Result<()> {
        if self.declares_same(other) {
            return Ok(());
        }
        Err(Error::Incompatible { ours: Layout(self).to_string(), theirs: Layout(other).to_string() })
    }

    /// What is declared, as text that is equal for equal declarations.
    pub(crate) fn layout(&self) -> String {
        Layout(self).to_string()
    }

    fn declares_same(&self, other: &Self) -> bool {
        let parts = match (&self.mode, &other.mode) {
            (Mode::Recent { one, window }, Mode::Recent { one: other, window: other_window }) => {
                window == other_window && one.declares_same(other)
            }
            (Mode::Each, Mode::Each) | (Mode::Extremes { .. }, Mode::Extremes { .. }) => self.parts_declare_same(other),
            (Mode::Resampled { seed, .. }, Mode::Resampled { seed: other_seed, .. }) => {
                seed == other_seed && self.parts_declare_same(other)
            }
            _ => false,
        };
        parts && self.non_finite == other.non_finite && self.declared().eq(other.declared())
    }

    fn parts_declare_same(&self, other: &Self) -> bool {
        let mut pairs = self.parts.iter().zip(&other.parts);
        self.parts.len() == other.parts.len() && pairs.all(|(ours, theirs)| ours.declares_same(theirs))
    }

    fn declared(&self) -> impl Iterator<Item = (&str, &Reduce)> {
        self.fields.iter().map(|field| (field.name.as_str(), &field.reduce))
    }
}

/// Fields, reductions and parts, for errors.
struct Layout<'a>(&'a State);

impl fmt::Display for Layout<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(state) = self;
        let mut items: Vec<_> = state.declared().map(|(name, reduce)| format!("{name}: {reduce}")).collect();
        match (&state.mode, state.parts.first()) {
            (Mode::Recent { one, window }, _) => items.push(format!("last {window} of {}", Layout(one))),
            (Mode::Resampled { seed, .. }, Some(one)) => {
                items.push(format!("{} of {} by seed {seed}", state.parts.len(), Layout(one)));
            }
            _ => items.extend(state.parts.iter().map(|part| Layout(part).to_string())),
        }
        let policy = match state.non_finite {
            NonFinite::Propagate => String::new(),
            policy => format!("; non-finite: {policy}"),
        };
        write!(f, "state[{}{policy}]", items.join(", "))
    }
}
