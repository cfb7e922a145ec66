//! [`GraphStats`]: what a tensor keeps alive.

use std::collections::{HashMap, HashSet};
use std::fmt;

use candle_core::Tensor;

use crate::{deep, storage};

/// How much of a graph a tensor keeps alive.
///
/// ```
/// use candle_core::{DType, Device, Var};
/// use metrics_detach::{DetachExt, GraphStats};
///
/// let weight = Var::zeros(256, DType::F32, &Device::Cpu)?;
/// let loss = weight.sqr()?.sum_all()?; // sum_all reshapes its result to a scalar: three operations and the variable
/// let stats = GraphStats::of(&loss);
/// assert_eq!((stats.nodes, stats.variables), (4, 1));
/// assert_eq!(stats.bytes, 1024 + 1024 + 4);
///
/// let value = GraphStats::of(&loss.detached());
/// assert_eq!((value.nodes, value.bytes), (0, 4));
/// # Ok::<(), candle_core::Error>(())
/// ```
///
/// # A lower bound
///
/// Candle shows only the part of a graph through which a gradient can flow to a variable. What hangs on to it besides (a
/// constant such as the target image or a convolution's window, the operations behind a comparison, a rounding or a
/// multiplication by zero) is kept alive as well but cannot be seen, so the real figures may be higher. Nor can it be seen
/// what a custom operation holds: each value of an SSIM loss of `metrics-image`, alone or with an L1 term, has a gradient that
/// was made early, one image for each tracked input. Of 20 such values of one variable of 1×3×512×512, 3 MiB are seen, while
/// the process grows by 61 MiB. Whether there is a graph at all is exact: a tracked tensor has at least one node, itself,
/// even where no gradient flows, as in `prediction.ge(0.5)?`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct GraphStats {
    /// Nodes of the graph: every result of a tracked operation, and the variables. 0 for a tensor without a graph.
    pub nodes: usize,
    /// Those of the nodes that are variables.
    pub variables: usize,
    /// Bytes of the storages of all the nodes and of the tensor itself, each storage counted once and in full: on the CPU its
    /// true length, elsewhere as far as the views that were found reach into it.
    pub bytes: usize,
}

impl GraphStats {
    /// Measures one tensor. The graph may be of any depth: it is walked on a thread with a stack that is large enough.
    pub fn of(tensor: &Tensor) -> Self {
        Self::of_all([tensor])
    }

    /// Measures several tensors together; nodes and storages that they share count once.
    ///
    /// ```
    /// use candle_core::{Device, Var};
    /// use metrics_detach::GraphStats;
    ///
    /// let weight = Var::new(&[1f32, 2.], &Device::Cpu)?;
    /// let history = vec![weight.sqr()?, weight.exp()?];
    /// assert_eq!(GraphStats::of_all(&history).nodes, 3);
    /// # Ok::<(), candle_core::Error>(())
    /// ```
    pub fn of_all<'a, T: AsRef<Tensor> + 'a>(tensors: impl IntoIterator<Item = &'a T>) -> Self {
        let tensors: Vec<&Tensor> = tensors.into_iter().map(AsRef::as_ref).collect();
        if tensors.iter().any(|tensor| tensor.track_op()) {
            deep::with_large_stack(|| Walk::over(&tensors).stats)
        } else {
            Walk::over(&tensors).stats
        }
    }

    /// Whether there is no graph.
    pub fn is_free(&self) -> bool {
        self.nodes == 0
    }
}

/// `12 nodes (2 variables), 3.4 MiB`
impl fmt::Display for GraphStats {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = |count| if count == 1 { "" } else { "s" };
        let Self { nodes, variables, bytes } = *self;
        let bytes = show_bytes(bytes);
        write!(f, "{nodes} node{} ({variables} variable{}), {bytes}", plural(nodes), plural(variables))
    }
}

/// A number of bytes: exact below 1 KiB, then to one decimal in the unit that fits.
pub(crate) fn show_bytes(bytes: usize) -> String {
    let (mut size, mut unit) = (bytes as f64, "B");
    for larger in ["KiB", "MiB", "GiB", "TiB"] {
        if size < 1024. {
            break;
        }
        (size, unit) = (size / 1024., larger);
    }
    if unit == "B" { format!("{bytes} B") } else { format!("{size:.1} {unit}") }
}

/// A walk over graphs in progress: what has been counted, and what must not be counted again.
#[derive(Default)]
struct Walk {
    stats: GraphStats,
    nodes: HashSet<candle_core::TensorId>,
    storages: HashMap<usize, usize>,
}

impl Walk {
    fn over(tensors: &[&Tensor]) -> Self {
        let mut walk = Self::default();
        // Results of one loop tend to contain the earlier ones (a running sum does): from the last to the first, most of them
        // have been met already and need no walk of their own.
        for tensor in tensors.iter().rev() {
            walk.add_graph(tensor);
        }
        walk
    }

    fn add_graph(&mut self, root: &Tensor) {
        self.add_storage(root);
        if root.track_op() && !self.nodes.contains(&root.id()) {
            self.add_node(root);
            for node in root.sorted_nodes() {
                self.add_node(node);
            }
        }
    }

    fn add_node(&mut self, node: &Tensor) {
        if self.nodes.insert(node.id()) {
            self.stats.nodes += 1;
            self.stats.variables += usize::from(node.is_variable());
            self.add_storage(node);
        }
    }

    fn add_storage(&mut self, tensor: &Tensor) {
        let bytes = storage::known_bytes(tensor);
        let counted = self.storages.entry(storage::address(tensor)).or_default();
        self.stats.bytes += bytes.saturating_sub(*counted);
        *counted = bytes.max(*counted);
    }
}

#[cfg(test)]
mod tests {
    use super::GraphStats;

    #[test]
    fn display_scales_the_bytes() {
        let show = |nodes, variables, bytes| GraphStats { nodes, variables, bytes }.to_string();
        assert_eq!(show(0, 0, 0), "0 nodes (0 variables), 0 B");
        assert_eq!(show(1, 1, 1023), "1 node (1 variable), 1023 B");
        assert_eq!(show(12, 2, 1024), "12 nodes (2 variables), 1.0 KiB");
        assert_eq!(show(3, 1, 5 << 19), "3 nodes (1 variable), 2.5 MiB");
        assert_eq!(show(3, 1, usize::MAX), "3 nodes (1 variable), 16777216.0 TiB");
    }
}
