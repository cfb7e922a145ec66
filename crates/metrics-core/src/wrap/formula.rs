//! Arithmetic of metrics.

use std::ops::{Add, Div, Mul, Neg, Sub};

use candle_core::Tensor;
use serde::{Serialize, Serializer};
use serde_json::json;

use super::{check_one_number, emptied, of_number_of_the_loop, part, scalar};
use crate::metric::shared_passes;
use crate::{
    Accumulator, Definition, Fingerprint, Metric, MetricInfo, Result, Samples, SharedPasses, State, Statistics, Value,
};

/// Arithmetic of metrics: `+`, `-`, `*`, `/` with each other and with numbers, negation and `abs`.
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
#[derive(Clone)]
pub struct Formula {
    metrics: Vec<Box<dyn Metric>>,
    node: Node,
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
    /// Creates the formula that is the metric itself.
    pub fn of(metric: impl Metric + 'static) -> Accumulator<Self> {
        Self { metrics: vec![Box::new(emptied(metric))], node: Node::Metric(0) }.accumulator()
    }

    fn accumulator(self) -> Accumulator<Self> {
        let fingerprint = Fingerprint::of_setting("formula", "value", self.node.json(&self.metrics));
        Accumulator::with_fingerprint(self, fingerprint)
    }
}

impl Accumulator<Formula> {
    /// The absolute value.
    pub fn abs(self) -> Self {
        self.map(|node| Node::Absolute(Box::new(node)))
    }

    fn map(self, node: impl FnOnce(Node) -> Node) -> Self {
        let Formula { metrics, node: of } = self.into_definition();
        Formula { metrics, node: node(of) }.accumulator()
    }

    fn with_number(self, operator: Operator, number: f64) -> Self {
        self.map(|node| Node::Binary(operator, Box::new(node), Box::new(Node::Number(number))))
    }

    fn with(self, operator: Operator, other: Self) -> Self {
        let [Formula { mut metrics, node }, other] = [self, other].map(Accumulator::into_definition);
        let node = Node::Binary(operator, Box::new(node), Box::new(other.node.shifted(metrics.len())));
        metrics.extend(other.metrics);
        Formula { metrics, node }.accumulator()
    }
}

impl Definition for Formula {
    fn name(&self) -> &'static str {
        "formula"
    }

    /// Nothing is known of which values are better and how far they go.
    fn info(&self) -> MetricInfo {
        MetricInfo {
            differentiable: self.metrics.iter().all(|metric| metric.info().differentiable),
            ..Default::default()
        }
    }

    fn states(&self) -> State {
        State::of_parts(self.metrics.iter().map(|metric| metric.state().clone()).collect())
    }

    fn statistics(&self, samples: &Samples) -> Result<Statistics> {
        let samples = if samples.is_sharing() {
            samples.clone()
        } else {
            let metrics = self.metrics.iter().map(|metric| (metric.name(), &**metric));
            samples.clone().sharing(shared_passes(metrics))
        };
        let (mut parts, mut values) = (Vec::new(), Vec::new());
        for metric in &self.metrics {
            check_one_number("Formula", &**metric)?;
            let mut statistics = metric.statistics(&samples)?;
            values.extend(statistics.take_known());
            parts.push(statistics);
        }
        if let Some(of_number) = parts.iter().position(Statistics::is_of_number)
            && !parts.iter().all(Statistics::is_of_number)
        {
            return Err(of_number_of_the_loop("Formula", &*self.metrics[of_number]));
        }
        let all = Statistics::new(parts.first().map_or(0, Statistics::samples));
        let all = if parts.iter().all(Statistics::is_of_number) { all.of_number() } else { all };
        let all = parts.into_iter().fold(all, Statistics::with_part);
        if samples.wants_value() { Ok(all.with_known_value(self.node.value(&values)?)) } else { Ok(all) }
    }

    fn compute(&self, state: &State) -> Result<Value> {
        let value = |index: usize| scalar("Formula", &*self.metrics[index], part("Formula", state, index)?);
        let values = (0..self.metrics.len()).map(value).collect::<Result<Vec<_>>>()?;
        self.node.value(&values).map(Value::Scalar)
    }

    fn share(&self, passes: &mut SharedPasses) {
        self.metrics.iter().for_each(|metric| metric.share(passes));
    }
}

impl Serialize for Formula {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.node.json(&self.metrics).serialize(serializer)
    }
}

impl Node {
    /// With the metrics' settings; numbers are text, which holds every bit and infinities.
    fn json(&self, metrics: &[Box<dyn Metric>]) -> serde_json::Value {
        let json = |node: &Self| node.json(metrics);
        match self {
            Self::Metric(index) => metrics[*index].fingerprint().json(),
            Self::Number(number) => json!(format!("{number:?}")),
            Self::Negative(node) => json!({"negative": json(node)}),
            Self::Absolute(node) => json!({"absolute": json(node)}),
            Self::Binary(operator, left, right) => {
                json!({format!("{operator:?}").to_lowercase(): [json(left), json(right)]})
            }
        }
    }

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

impl Neg for Accumulator<Formula> {
    type Output = Self;

    fn neg(self) -> Self {
        self.map(|node| Node::Negative(Box::new(node)))
    }
}

macro_rules! operators {
    ($($trait:ident $method:ident $operator:ident),+) => {$(
        impl $trait for Accumulator<Formula> {
            type Output = Accumulator<Formula>;

            fn $method(self, other: Self) -> Accumulator<Formula> {
                self.with(Operator::$operator, other)
            }
        }

        impl $trait<f64> for Accumulator<Formula> {
            type Output = Accumulator<Formula>;

            fn $method(self, number: f64) -> Accumulator<Formula> {
                self.with_number(Operator::$operator, number)
            }
        }

        impl $trait<Accumulator<Formula>> for f64 {
            type Output = Accumulator<Formula>;

            fn $method(self, formula: Accumulator<Formula>) -> Accumulator<Formula> {
                let number = Node::Number(self);
                formula.map(|node| Node::Binary(Operator::$operator, Box::new(number), Box::new(node)))
            }
        }
    )+};
}

operators!(Add add Plus, Sub sub Minus, Mul mul Times, Div div Over);
