//! Things by name, in the order in which they were added.

use std::collections::HashSet;
use std::fmt;
use std::marker::PhantomData;

use candle_core::Tensor;
use metrics_detach::Detached;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::{Serialize, Serializer};

use crate::{Error, Result};

/// What [`MetricCollection::forward`](crate::MetricCollection::forward) gives: the batch's value of each member.
pub type Outputs = Named<Tensor>;

/// Things by name, in the order in which they were added. Names are unique and not empty. With serde, a map that keeps the
/// order.
///
/// ```
/// use metrics_core::Named;
///
/// let mut sides = Named::new();
/// sides.insert("width", 640)?;
/// sides.insert("height", 480)?;
/// assert_eq!(sides.get("height"), Some(&480));
/// assert_eq!(sides.names().collect::<Vec<_>>(), ["width", "height"]);
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Named<T> {
    // A list, because a collection has a handful of members: looking one up is a few string comparisons, and results that are kept, one
    // for each step, take half the memory of a hash table.
    entries: Vec<(String, T)>,
}

impl<T> Named<T> {
    /// Creates an empty list.
    pub fn new() -> Self {
        Self { entries: Vec::new() }
    }

    /// Adds an entry at the end.
    ///
    /// # Errors
    /// When the name is empty or taken.
    pub fn insert(&mut self, name: impl Into<String>, item: T) -> Result<()> {
        let name = name.into();
        check_name(&name, self.get(&name).is_some())?;
        self.entries.push((name, item));
        Ok(())
    }

    /// The entry of this name.
    pub fn get(&self, name: &str) -> Option<&T> {
        self.iter().find(|(other, _)| *other == name).map(|(_, item)| item)
    }

    /// The entry of this name, or an error that tells the names there are.
    pub(crate) fn require(&self, name: &str) -> Result<&T> {
        let unknown = || Error::UnknownName { name: name.into(), known: self.names().map(String::from).collect() };
        self.get(name).ok_or_else(unknown)
    }

    /// Names and entries, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&str, &T)> + Clone {
        self.entries.iter().map(|(name, item)| (name.as_str(), item))
    }

    pub(crate) fn iter_mut(&mut self) -> impl ExactSizeIterator<Item = (&str, &mut T)> {
        self.entries.iter_mut().map(|(name, item)| (name.as_str(), item))
    }

    /// Names, in order.
    pub fn names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.iter().map(|(name, _)| name)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Every entry transformed, under the same names.
    pub fn map<U>(self, mut transform: impl FnMut(T) -> U) -> Named<U> {
        Named { entries: self.entries.into_iter().map(|(name, item)| (name, transform(item))).collect() }
    }

    /// Something made from every entry, under the same names; an error says which entry it comes from.
    pub(crate) fn try_map<U>(&self, mut transform: impl FnMut(&T) -> Result<U>) -> Result<Named<U>> {
        self.try_map_named(|_, item| transform(item))
    }

    /// As [`try_map`](Self::try_map), by name too.
    pub(crate) fn try_map_named<U>(&self, mut transform: impl FnMut(&str, &T) -> Result<U>) -> Result<Named<U>> {
        let mut entries = Vec::with_capacity(self.len()); // results may be kept, one for each step
        for (name, item) in self.iter() {
            entries.push((name.into(), transform(name, item).map_err(|error| error.in_member(name))?));
        }
        Ok(Named { entries })
    }

    pub(crate) fn rename(&mut self, rename: impl Fn(&str) -> String) {
        self.entries.iter_mut().for_each(|(name, _)| *name = rename(name));
    }
}

impl Named<Detached> {
    /// Every value as a plain number: see [`Detached::to_f64`].
    ///
    /// ```
    /// use candle_core::{Device, Tensor};
    /// use metrics_core::Named;
    /// use metrics_detach::DetachExt;
    ///
    /// let mut values = Named::new();
    /// values.insert("psnr", Tensor::new(31.25f32, &Device::Cpu)?.detached())?;
    /// assert_eq!(values.to_f64()?.get("psnr"), Some(&31.25));
    /// # Ok::<(), metrics_core::Error>(())
    /// ```
    ///
    /// # Errors
    /// When a value does not have exactly one element; the error names it.
    pub fn to_f64(&self) -> Result<Named<f64>> {
        self.try_map(|value| Ok(value.to_f64()?))
    }
}

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> IntoIterator for Named<T> {
    type Item = (String, T);
    type IntoIter = std::vec::IntoIter<(String, T)>;

    fn into_iter(self) -> Self::IntoIter {
        self.entries.into_iter()
    }
}

impl<T: Serialize> Serialize for Named<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Named<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(NamedVisitor(PhantomData))
    }
}

struct NamedVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for NamedVisitor<T> {
    type Value = Named<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map from the names of metrics to their values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Named<T>, A::Error> {
        // A set of the names, because a file may have many.
        let (mut entries, mut names) = (Vec::new(), HashSet::new());
        while let Some((name, item)) = map.next_entry::<String, T>()? {
            check_name(&name, !names.insert(name.clone())).map_err(de::Error::custom)?;
            entries.push((name, item));
        }
        Ok(Named { entries })
    }
}

fn check_name(name: &str, is_taken: bool) -> Result<()> {
    if name.is_empty() {
        return Err(Error::argument("insert", "`name` is empty, but must tell the entries apart"));
    }
    if is_taken { Err(Error::DuplicateName { name: name.into() }) } else { Ok(()) }
}
