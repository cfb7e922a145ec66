//! Passes over a pair of images that several metrics of a collection share.

use std::cell::OnceCell;

use candle_core::Tensor;
use metrics_core::{self as core, PlannedPass, Result, Samples, SharedPasses};

use crate::config::{Channels, DataRange, Input};
use crate::measure::errors::{PixelError, error_sum};
use crate::measure::ms_ssim::check_scales;
use crate::measure::similarity::{Similarity, Term};
use crate::measure::ssim;
use crate::op::{self, Output, Prepared};
use crate::pair::Images;
use crate::{MsSsimConfig, SsimConfig};

/// What a metric needs of a pass.
#[derive(Clone, Copy)]
pub(crate) enum Need<'a> {
    Ssim(&'a SsimConfig),
    MsSsim(&'a MsSsimConfig),
    /// A sum of errors.
    Errors(&'a Input, PixelError),
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
    terms: Vec<Term>,
    members: Vec<String>,
    /// `None` inside if the pass cannot be made: its members then say why, each by itself.
    done: OnceCell<Option<Done>>,
}

/// The numbers of each image, `[N]` each, and what they are.
struct Done {
    terms: Vec<Term>,
    numbers: Vec<Tensor>,
}

impl Need<'_> {
    /// Asks for it.
    pub(crate) fn share(self, passes: &mut SharedPasses) {
        let member = passes.member().to_owned();
        passes.of::<Passes>().add(self, member);
    }

    /// What a shared pass computed of each image, `[N]` in the widest dtype, if it was asked for and could be made.
    pub(crate) fn shared(self, samples: &Samples) -> Option<Tensor> {
        let term = self.term();
        let pass = samples.shared::<Passes>()?.passes.iter().find(|pass| pass.makes(&term) && pass.takes(self))?;
        let images = Images::of(samples).ok()?;
        let done = pass.done.get_or_init(|| pass.run(images)).as_ref()?;
        // What the pass found no room for in these images is not there.
        let number = done.terms.iter().position(|made| *made == term)?;
        done.numbers.get(number).cloned()
    }

    fn term(self) -> Term {
        match self {
            Self::Ssim(_) => Term::Ssim,
            Self::MsSsim(config) => Term::MsSsim(config.measure()),
            Self::Errors(_, error) => error.term(),
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

impl core::Passes for Passes {
    fn plan(&self) -> Vec<PlannedPass> {
        let planned = |pass: &Pass| PlannedPass::new(pass.what(), pass.members.clone());
        self.passes.iter().map(planned).collect()
    }
}

impl Pass {
    fn new(need: Need) -> Self {
        let (input, config) = (need.input().clone(), need.config());
        Self { input, config, terms: Vec::new(), members: Vec::new(), done: OnceCell::new() }
    }

    fn ms_ssim(&self) -> impl Iterator<Item = &MsSsimConfig> {
        self.terms.iter().filter_map(|term| match term {
            Term::MsSsim(config) => Some(config),
            _ => None,
        })
    }

    /// Whether the pass can meet the need as well.
    fn takes(&self, need: Need) -> bool {
        let remakes = self.config.as_ref().is_some_and(SsimConfig::remakes_images);
        let Some(config) = need.config() else { return !remakes && same_pixels(&self.input, need.input()) };
        let same = match &self.config {
            Some(ours) => *ours == config,
            None => !config.remakes_images() && same_pixels(&self.input, &config.input),
        };
        let same_scales = match need {
            Need::MsSsim(config) => self.ms_ssim().all(|ours| ours.scales() == config.scales()),
            _ => true,
        };
        same && same_scales
    }

    fn add(&mut self, need: Need, member: String) {
        if let Some(config) = need.config() {
            (self.input, self.config) = (config.input.clone(), Some(config));
        }
        let term = need.term();
        if !self.terms.contains(&term) {
            self.terms.push(term);
        }
        // A member may have several equal needs, as a formula of two scores of one configuration does.
        if !self.members.contains(&member) {
            self.members.push(member);
        }
    }

    /// Whether the pass makes a term: where there are masks, errors come with the weights of their values.
    fn makes(&self, term: &Term) -> bool {
        self.terms.contains(term) || (*term == Term::Values && self.terms.iter().any(Term::is_error))
    }

    fn run(&self, images: Images) -> Option<Done> {
        let mut terms = self.terms.clone();
        if images.mask.is_some() && terms.iter().any(Term::is_error) {
            terms.push(Term::Values);
        }
        self.similarity(&terms, images.clone()).or_else(|| self.errors(&terms, images).ok())
    }

    fn similarity(&self, terms: &[Term], images: Images) -> Option<Done> {
        let prepared = ssim::prepare("pass", self.config.as_ref()?, images, Term::Ssim).ok()?;
        let (sides, plan) = (ssim::sides(&prepared), prepared.score.plan.clone());
        let fits = |term: &&Term| match term {
            Term::MsSsim(config) => check_scales("pass", &sides, &plan, config).is_ok(),
            _ => true,
        };
        let terms: Vec<Term> = terms.iter().filter(fits).cloned().collect();
        if !terms.iter().any(|term| matches!(term, Term::Ssim | Term::MsSsim(_))) {
            return None;
        }
        let prepared = Prepared { score: Similarity::new(plan, terms.clone()), ..prepared };
        let numbers = op::apply("pass", prepared.any(), Output::PerImage).ok()?;
        let numbers = if terms.len() == 1 { vec![numbers] } else { rows(&numbers).ok()? };
        Some(Done { terms, numbers })
    }

    fn errors(&self, terms: &[Term], images: Images) -> Result<Done> {
        let mut done = Done { terms: Vec::new(), numbers: Vec::new() };
        let sums = [PixelError::Squared, PixelError::Absolute, PixelError::Values];
        for (term, error) in [Term::Squared, Term::Absolute, Term::Values].into_iter().zip(sums) {
            if terms.contains(&term) {
                done.numbers.push(error_sum("pass", images.clone(), &self.input, error)?);
                done.terms.push(term);
            }
        }
        Ok(done)
    }

    fn what(&self) -> String {
        let part = |term: &Term| match term {
            Term::Ssim => "ssim".to_owned(),
            Term::Contrast => "contrast".to_owned(),
            Term::MsSsim(config) => format!("ms_ssim at {} scales", config.betas.len()),
            Term::Squared => "squared errors".to_owned(),
            Term::Absolute => "absolute errors".to_owned(),
            Term::Charbonnier(epsilon) => format!("charbonnier errors of epsilon {epsilon}"),
            Term::Values => "values".to_owned(),
        };
        let mut parts: Vec<(usize, String)> = self.terms.iter().map(|term| (term.order(), part(term))).collect();
        parts.sort();
        parts.dedup();
        parts.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join(" + ")
    }
}

fn rows(numbers: &Tensor) -> Result<Vec<Tensor>> {
    (0..numbers.dim(0)?).map(|row| Ok(numbers.get(row)?)).collect()
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
