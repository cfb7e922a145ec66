//! Arithmetic of metrics.

use std::fmt;
use std::ops::{Add, Div, Mul, Neg, Sub};

use candle_core::Tensor;

use super::{check_no_group, emptied, number, part, scalar};
use crate::{Agenda, Batch, Contribution, Fingerprint, Measurement, Metric, MetricInfo, Result, State, Value};

/// Arithmetic of metrics: `+`, `-`, `*`, `/` with each other and with numbers, negation and [`Formula::abs`].
///
/// The value is that of the formula applied to the metrics' values, in f64; for a batch, to the batch's values, with a
/// gradient where they have one. Each metric's value must be one number; of a summary, the mean is taken.
///
/// ```
#[doc = include_str!("../../doc/mae.md")]
/// use candle_core::{Device, Tensor};
/// use metrics_core::{Formula, Metric};
///
/// let mut accuracy = 1.0 - Formula::of(Mae::new()) / 255.0;
/// let pred = Tensor::new(&[[51f32]], &Device::Cpu)?;
/// accuracy.update(&pred, &pred.zeros_like()?)?;
/// assert_eq!(accuracy.compute()?, Value::Scalar(0.8));
/// # Ok::<(), metrics_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Formula {
    metrics: Vec<Box<dyn Metric>>,
    node: Node,
    state: State,
}

#[derive(Clone, Debug)]
enum Node {
    Metric(usize),
    Number(f64),
    Negative(Box<Node>),
    Absolute(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
}

#[derive(Clone, Copy, Debug)]
enum Operator {
    Plus,
    Minus,
    Times,
    Over,
}

/// What formulas are computed with: numbers, and tensors with their gradients.
trait Operand: Sized {
    fn number(&self, number: f64) -> Result<Self>;
    fn negative(self) -> Result<Self>;
    fn absolute(self) -> Result<Self>;
    fn binary(self, operator: Operator, other: Self) -> Result<Self>;
}

impl Formula {
    /// The formula that is the metric itself.
    pub fn of(metric: impl Metric + 'static) -> Self {
        let (metric, state) = emptied(metric);
        let metric: Box<dyn Metric> = Box::new(metric);
        Self { metrics: vec![metric], node: Node::Metric(0), state: State::of_parts(vec![state]) }
    }

    /// The absolute value.
    pub fn abs(self) -> Self {
        self.map(|node| Node::Absolute(Box::new(node)))
    }

    fn map(self, node: impl FnOnce(Node) -> Node) -> Self {
        Self { node: node(self.node), ..self }
    }

    fn with_number(self, operator: Operator, number: f64) -> Self {
        self.map(|node| Node::Binary(operator, Box::new(node), Box::new(Node::Number(number))))
    }

    fn with(mut self, operator: Operator, other: Self) -> Self {
        let node = Node::Binary(operator, Box::new(self.node), Box::new(other.node.shifted(self.metrics.len())));
        self.metrics.extend(other.metrics);
        let states = self.metrics.iter().map(|metric| metric.state().clone()).collect();
        Self { metrics: self.metrics, node, state: State::of_parts(states) }
    }
}

impl Metric for Formula {
    fn name(&self) -> &'static str {
        "formula"
    }

    /// Nothing is known of which values are better and how far they go.
    fn info(&self) -> MetricInfo {
        let differentiable = self.metrics.iter().all(|metric| metric.info().differentiable);
        let growth = self.state.growth();
        MetricInfo { differentiable, higher_is_better: None, lower: None, upper: None, growth }
    }

    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::new("formula", Shown { node: &self.node, metrics: &self.metrics }.to_string())
    }

    fn measure(&self, pred: &Tensor, target: &Tensor) -> Result<Measurement> {
        self.measure_shared(&Batch::of(self, pred, target))
    }

    fn announce(&self, agenda: &mut Agenda) {
        self.metrics.iter().for_each(|metric| metric.announce(agenda));
    }

    fn measure_shared(&self, batch: &Batch) -> Result<Measurement> {
        let measured = self.metrics.iter().map(|metric| {
            check_no_group("Formula", &**metric)?;
            let measurement = metric.measure_shared(batch)?;
            number("Formula", &**metric, &measurement.value)?;
            Ok(measurement)
        });
        let measured: Vec<_> = measured.collect::<Result<_>>()?;
        let images = measured.first().map_or(0, |measurement| measurement.contribution.images());
        let (values, parts): (Vec<_>, Vec<_>) = measured.into_iter().map(|m| (m.value, m.contribution)).unzip();
        let value = self.node.value(&values)?;
        Ok(Measurement {
            value,
            contribution: parts.into_iter().fold(Contribution::new(images), Contribution::with_part),
        })
    }

    fn by_weight(&self, contribution: Contribution, weights: &[f64]) -> Result<Contribution> {
        let whole = Contribution::new(contribution.images());
        let parts = self.metrics.iter().zip(contribution.parts());
        let weighted = parts.map(|(metric, part)| metric.by_weight(part.clone(), weights));
        let weighted: Vec<_> = weighted.collect::<Result<_>>()?;
        Ok(weighted.into_iter().fold(whole, Contribution::with_part).with_weights_of_parts(weights))
    }

    fn state(&self) -> &State {
        &self.state
    }

    fn state_mut(&mut self) -> &mut State {
        &mut self.state
    }

    fn finish(&self, state: &State) -> Result<Value> {
        let value = |index: usize| scalar("Formula", &*self.metrics[index], part("Formula", state, index)?);
        let values = (0..self.metrics.len()).map(value).collect::<Result<Vec<_>>>()?;
        self.node.value(&values).map(Value::Scalar)
    }
}

impl Node {
    /// With the metrics' numbers moved, as they are after those of another formula.
    fn shifted(self, by: usize) -> Self {
        let shifted = |node: Box<Self>| Box::new(node.shifted(by));
        match self {
            Self::Metric(index) => Self::Metric(index + by),
            Self::Number(number) => Self::Number(number),
            Self::Negative(node) => Self::Negative(shifted(node)),
            Self::Absolute(node) => Self::Absolute(shifted(node)),
            Self::Binary(operator, left, right) => Self::Binary(operator, shifted(left), shifted(right)),
        }
    }

    /// Of the metrics' values; there is at least one.
    fn value<T: Operand + Clone>(&self, values: &[T]) -> Result<T> {
        match self {
            Self::Metric(index) => Ok(values[*index].clone()),
            Self::Number(number) => values[0].number(*number),
            Self::Negative(node) => node.value(values)?.negative(),
            Self::Absolute(node) => node.value(values)?.absolute(),
            Self::Binary(operator, left, right) => left.value(values)?.binary(*operator, right.value(values)?),
        }
    }
}

impl Operand for f64 {
    fn number(&self, number: f64) -> Result<Self> {
        Ok(number)
    }

    fn negative(self) -> Result<Self> {
        Ok(-self)
    }

    fn absolute(self) -> Result<Self> {
        Ok(self.abs())
    }

    fn binary(self, operator: Operator, other: Self) -> Result<Self> {
        Ok(match operator {
            Operator::Plus => self + other,
            Operator::Minus => self - other,
            Operator::Times => self * other,
            Operator::Over => self / other,
        })
    }
}

impl Operand for Tensor {
    /// Of the dtype and on the device of this tensor, without its graph.
    fn number(&self, number: f64) -> Result<Self> {
        Ok(Tensor::full(number, (), self.device())?.to_dtype(self.dtype())?)
    }

    fn negative(self) -> Result<Self> {
        Ok(self.neg()?)
    }

    fn absolute(self) -> Result<Self> {
        Ok(self.abs()?)
    }

    fn binary(self, operator: Operator, other: Self) -> Result<Self> {
        Ok(match operator {
            Operator::Plus => (self + other)?,
            Operator::Minus => (self - other)?,
            Operator::Times => (self * other)?,
            Operator::Over => (self / other)?,
        })
    }
}

/// A formula with its metrics' configurations.
struct Shown<'a> {
    node: &'a Node,
    metrics: &'a [Box<dyn Metric>],
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |node| Shown { node, metrics: self.metrics };
        match self.node {
            Node::Metric(index) => f.write_str(&self.metrics[*index].fingerprint().text()),
            // To the last bit.
            Node::Number(number) => write!(f, "{number:?}"),
            Node::Negative(node) => write!(f, "-{}", show(node)),
            Node::Absolute(node) => write!(f, "|{}|", show(node)),
            Node::Binary(operator, left, right) => {
                let sign = match operator {
                    Operator::Plus => '+',
                    Operator::Minus => '-',
                    Operator::Times => '*',
                    Operator::Over => '/',
                };
                write!(f, "({} {sign} {})", show(left), show(right))
            }
        }
    }
}

impl Neg for Formula {
    type Output = Self;

    fn neg(self) -> Self {
        self.map(|node| Node::Negative(Box::new(node)))
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $operator:ident),+) => {$(
        impl $trait for Formula {
            type Output = Formula;

            fn $method(self, other: Formula) -> Formula {
                self.with(Operator::$operator, other)
            }
        }

        impl $trait<f64> for Formula {
            type Output = Formula;

            fn $method(self, number: f64) -> Formula {
                self.with_number(Operator::$operator, number)
            }
        }

        impl $trait<Formula> for f64 {
            type Output = Formula;

            fn $method(self, formula: Formula) -> Formula {
                let number = Node::Number(self);
                formula.map(|node| Node::Binary(Operator::$operator, Box::new(number), Box::new(node)))
            }
        }
    )+};
}

operators!(Add add Plus, Sub sub Minus, Mul mul Times, Div div Over);
