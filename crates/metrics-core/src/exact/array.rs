//! Stub.
use crate::exact::ExactSum;
use crate::{Error, Result};

/// Sums.
#[derive(Clone, Debug, PartialEq)]
pub struct ExactArray(Vec<ExactSum>);

impl ExactArray {
    /// New.
    pub fn new(len: usize) -> Self {
        Self(vec![ExactSum::new(); len])
    }
    /// Add.
    pub fn add_product(&mut self, index: usize, a: f64, b: f64) {
        let p = a * b;
        self.0[index].add(p);
        self.0[index].add(a.mul_add(b, -p));
    }
    /// Merge.
    pub fn merge(&mut self, other: &Self) -> Result<()> {
        if self.0.len() != other.0.len() {
            return Err(Error::argument("ExactArray", "length"));
        }
        self.0.iter_mut().zip(&other.0).for_each(|(a, b)| a.merge(b));
        Ok(())
    }
    /// Values.
    pub fn values(&self) -> Vec<f64> {
        self.0.iter().map(|x| x.value()).collect()
    }
    /// Bytes.
    pub fn bytes(&self) -> usize {
        size_of_val(&self.0[..])
    }

    pub(crate) fn save(&self, writer: &mut crate::checkpoint::Writer<'_>) {
        self.0.iter().enumerate().for_each(|(i, x)| x.save(writer, &i.to_string()));
    }

    pub(crate) fn load(reader: &mut crate::checkpoint::Reader<'_>, len: usize) -> Result<Self, crate::CheckpointError> {
        (0..len).map(|i| ExactSum::load(reader, &i.to_string())).collect::<Result<_, _>>().map(Self)
    }
}
