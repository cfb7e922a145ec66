//! Passes over a pair of images that several metrics of a collection share.

use std::cell::OnceCell;

use candle_core::Tensor;
use metrics_core::{Agenda, Batch, PlannedPass, Result, Work};

use crate::config::{Channels, DataRange, Input};
use crate::functional::{check_scales, ssim_pair};
use crate::kernel::{self, Outcome, Wants};
use crate::pair::{Pair, Spread};
use crate::{MsSsimConfig, SsimConfig};

/// What a metric needs of a pass.
#[derive(Clone, Copy)]
pub(crate) enum Need<'a> {
    Ssim(&'a SsimConfig),
    MsSsim(&'a MsSsimConfig),
    /// Sums of errors; only that part of the wants is looked at.
    Errors(&'a Input, Wants),
}

/// The passes of a collection: members with equal needs share one, and sums of errors ride on any pass that sees the same pixels.
#[derive(Default)]
pub(crate) struct Passes {
    passes: Vec<Pass>,
}

struct Pass {
    input: Input,
    /// For similarity, its configuration, but for what is done with the scores.
    config: Option<SsimConfig>,
    scales: Option<MsSsimConfig>,
    wants: Wants,
    members: Vec<String>,
    /// `None` inside if the pass cannot be made: its members then say why, each by itself.
    done: OnceCell<Option<(Pair, Outcome)>>,
}

impl Need<'_> {
    pub(crate) fn announce(self, agenda: &mut Agenda) {
        let member = agenda.member().to_owned();
        agenda.work::<Passes>().add(self, member);
    }

    /// The pair and what a shared pass computed of it, if this need was announced and could be met.
    pub(crate) fn met<'b>(self, batch: &'b Batch) -> Option<(&'b Pair, &'b Outcome)> {
        let pass = batch.work::<Passes>()?.passes.iter().find(|pass| pass.meets(self))?;
        let (pair, outcome) = pass.done.get_or_init(|| pass.run(batch.pred(), batch.target())).as_ref()?;
        // What the pass found no room for in these images is not there.
        let met = Wants {
            ssim: outcome.ssim.is_some(),
            contrast: outcome.contrast.is_some(),
            scales: pass.wants.scales.filter(|_| outcome.scales.is_some()),
            squared: outcome.squared.is_some(),
            absolute: outcome.absolute.is_some(),
        };
        met.covers(self.wants()).then_some((pair, outcome))
    }

    fn wants(self) -> Wants {
        match self {
            Self::Ssim(_) => Wants { ssim: true, ..Wants::default() },
            Self::MsSsim(config) => Wants { scales: Some(config.scales()), ..Wants::default() },
            Self::Errors(_, wants) => Wants { squared: wants.squared, absolute: wants.absolute, ..Wants::default() },
        }
    }

    /// What similarity is computed by, if it is.
    fn config(self) -> Option<SsimConfig> {
        match self {
            Self::Ssim(config) => Some(config.measure()),
            Self::MsSsim(config) => Some(config.ssim.measure()),
            Self::Errors(..) => None,
        }
    }

    fn input(&self) -> &Input {
        match self {
            Self::Ssim(config) => &config.input,
            Self::MsSsim(config) => &config.ssim.input,
            Self::Errors(input, _) => input,
        }
    }
}

impl Passes {
    fn add(&mut self, need: Need, member: String) {
        let at = self.passes.iter().position(|pass| pass.takes(need)).unwrap_or_else(|| {
            self.passes.push(Pass::new(need));
            self.passes.len() - 1
        });
        self.passes[at].add(need, member);
    }
}

impl Work for Passes {
    fn plan(&self) -> Vec<PlannedPass> {
        let planned = |pass: &Pass| PlannedPass { pass: pass.what(), members: pass.members.clone() };
        self.passes.iter().map(planned).collect()
    }
}

impl Pass {
    fn new(need: Need) -> Self {
        Self {
            input: need.input().clone(),
            config: need.config(),
            scales: None,
            wants: Wants::default(),
            members: Vec::new(),
            done: OnceCell::new(),
        }
    }

    /// Whether the pass can meet the need as well.
    fn takes(&self, need: Need) -> bool {
        let pools = self.config.as_ref().is_some_and(|config| config.downsample);
        match need.config() {
            None => !pools && same_pixels(&self.input, need.input()),
            Some(config) => {
                let same = match &self.config {
                    Some(ours) => *ours == config,
                    None => !config.downsample && same_pixels(&self.input, &config.input),
                };
                same && need.wants().scales.is_none_or(|scales| self.wants.scales.is_none_or(|ours| ours == scales))
            }
        }
    }

    fn add(&mut self, need: Need, member: String) {
        if let Some(config) = need.config() {
            (self.input, self.config) = (config.input.clone(), Some(config));
        }
        if let Need::MsSsim(config) = need {
            self.scales = Some(config.clone());
        }
        let (ours, more) = (&mut self.wants, need.wants());
        ours.ssim |= more.ssim;
        ours.squared |= more.squared;
        ours.absolute |= more.absolute;
        ours.scales = ours.scales.or(more.scales);
        // A member may have several equal needs, as a formula of two scores of one configuration does.
        if !self.members.contains(&member) {
            self.members.push(member);
        }
    }

    /// Whether this is the pass that the need was added to.
    fn meets(&self, need: Need) -> bool {
        self.wants.covers(need.wants()) && self.takes(need)
    }

    fn run(&self, pred: &Tensor, target: &Tensor) -> Option<(Pair, Outcome)> {
        self.similarity(pred, target).or_else(|| self.errors(pred, target).ok())
    }

    fn similarity(&self, pred: &Tensor, target: &Tensor) -> Option<(Pair, Outcome)> {
        let (pair, plan) = ssim_pair("pass", pred, target, self.config.as_ref()?).ok()?;
        let fit = self.scales.as_ref().is_some_and(|config| check_scales("pass", &pair, &plan, config).is_ok());
        let wants = Wants { scales: self.wants.scales.filter(|_| fit), ..self.wants };
        if !wants.ssim && wants.scales.is_none() {
            return None;
        }
        let outcome = kernel::of(&pair).pass(&pair, &plan, wants, None).ok()?;
        Some((pair, outcome))
    }

    fn errors(&self, pred: &Tensor, target: &Tensor) -> Result<(Pair, Outcome)> {
        let pair = Pair::new("pass", &self.input, Spread::Unused, pred, target)?;
        let outcome = kernel::of(&pair).errors(&pair, self.wants)?;
        Ok((pair, outcome))
    }

    fn what(&self) -> String {
        let Wants { ssim, scales, squared, absolute, .. } = self.wants;
        let parts = [
            ssim.then(|| "ssim".to_owned()),
            scales.map(|scales| format!("ms_ssim at {} scales", scales.count)),
            squared.then(|| "squared errors".to_owned()),
            absolute.then(|| "absolute errors".to_owned()),
        ];
        parts.into_iter().flatten().collect::<Vec<_>>().join(" + ")
    }
}

/// Whether both inputs score the same pixels of a pair, whatever range they then refer to.
fn same_pixels(a: &Input, b: &Input) -> bool {
    let clamp = |input: &Input| match input.range {
        DataRange::Clamp(low, high) => Some((low, high)),
        _ => None,
    };
    a.crop_border == b.crop_border
        && a.channels == b.channels
        && clamp(a) == clamp(b)
        && (a.channels == Channels::All || a.range == b.range)
}
