//! The device that `--device` names.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::str::FromStr;

use candle_core::{Device, utils};
use metrics_core::{Error, Result};

/// A device as the user names it: `auto`, `cpu`, `cuda`, `cuda:1` or `metal`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum DeviceChoice {
    /// The first GPU that this build supports and that can be opened, else the CPU.
    Auto,
    /// The processor.
    #[default]
    Cpu,
    /// The NVIDIA GPU of this number, from 0; without a number, the first.
    Cuda(Option<usize>),
    /// The first Apple GPU.
    Metal,
}

impl DeviceChoice {
    /// Opens the device. `Auto` tells `say` in one line which one it took and why; the others say nothing.
    ///
    /// # Errors
    ///
    /// If this build does not support the device, which names the feature to build with, or if Candle cannot open it, which gives
    /// Candle's reason. `Auto` has no errors.
    pub(crate) fn open(self, say: impl FnOnce(&str)) -> Result<Device> {
        match self {
            Self::Auto => Ok(first_of(&[Self::Cuda(Some(0)), Self::Metal], say)),
            named => named.open_named(),
        }
    }

    fn open_named(self) -> Result<Device> {
        match self {
            Self::Auto | Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(number) => {
                self.supported(utils::cuda_is_available(), "cuda", || Device::new_cuda(number.unwrap_or(0)))
            }
            Self::Metal => self.supported(utils::metal_is_available(), "metal", || Device::new_metal(0)),
        }
    }

    /// Candle's `is_available` is of the build; whether there is a device shows when it is opened.
    fn supported(
        self,
        is_built: bool,
        feature: &str,
        open: impl FnOnce() -> candle_core::Result<Device>,
    ) -> Result<Device> {
        if !is_built {
            let message = format!(
                "`{self}` is not in this build; build with the feature `{feature}`, as in `cargo build --release --features {feature}`"
            );
            return Err(Error::argument("device", message));
        }
        // Candle 0.11 takes Metal's first device from a list that may be empty, and a missing driver may be a panic too.
        let opened = catch_unwind(AssertUnwindSafe(open));
        let reason = match opened {
            Ok(Ok(device)) => return Ok(device),
            Ok(Err(error)) => without_backtrace(&error),
            Err(panic) => reason(panic.as_ref()),
        };
        Err(Error::argument("device", format!("`{self}` cannot be opened: {reason}")))
    }

    fn is_built(self) -> bool {
        match self {
            Self::Auto | Self::Cpu => true,
            Self::Cuda(_) => utils::cuda_is_available(),
            Self::Metal => utils::metal_is_available(),
        }
    }
}

/// The first that can be opened, or the CPU.
fn first_of(choices: &[DeviceChoice], say: impl FnOnce(&str)) -> Device {
    let mut line = String::from("device: auto is the CPU");
    for choice in choices.iter().filter(|choice| choice.is_built()) {
        match choice.open_named() {
            Ok(device) => {
                say(&format!("device: auto is {choice}"));
                return device;
            }
            Err(error) => line += &format!("; {error}"),
        }
    }
    if !choices.iter().any(|choice| choice.is_built()) {
        line += ", the only one in this build";
    }
    say(&line);
    Device::Cpu
}

/// Candle writes the backtrace into the message where `RUST_BACKTRACE` is set; who mistyped a device has no use for it.
fn without_backtrace(error: &candle_core::Error) -> String {
    match error {
        candle_core::Error::WithBacktrace { inner, .. } => without_backtrace(inner),
        error => error.to_string(),
    }
}

fn reason(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("Candle panicked").to_owned()
}

impl FromStr for DeviceChoice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let choice = match text {
            "auto" => Some(Self::Auto),
            "cpu" => Some(Self::Cpu),
            "cuda" => Some(Self::Cuda(None)),
            "metal" => Some(Self::Metal),
            // A sign is a number to `parse`, but not to a reader.
            _ => text
                .strip_prefix("cuda:")
                .filter(|number| number.bytes().all(|digit| digit.is_ascii_digit()))
                .and_then(|number| number.parse().ok().map(|number| Self::Cuda(Some(number)))),
        };
        choice.ok_or_else(|| {
            let expected = "expected `auto`, `cpu`, `cuda`, `cuda:N` or `metal`";
            Error::argument("device", format!("it is `{text}`, {expected}"))
        })
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.pad("auto"),
            Self::Cpu => f.pad("cpu"),
            Self::Cuda(None) => f.pad("cuda"),
            Self::Cuda(Some(number)) => f.pad(&format!("cuda:{number}")),
            Self::Metal => f.pad("metal"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(choice: DeviceChoice) -> (Result<Device>, Option<String>) {
        let mut said = None;
        let device = choice.open(|line| said = Some(line.to_owned()));
        (device, said)
    }

    #[test]
    fn text_comes_back() -> Result<()> {
        for text in ["auto", "cpu", "cuda", "cuda:0", "cuda:12", "metal"] {
            assert_eq!(text.parse::<DeviceChoice>()?.to_string(), text);
        }
        assert_eq!("cuda:0".parse::<DeviceChoice>()?, DeviceChoice::Cuda(Some(0)));
        Ok(())
    }

    #[test]
    fn other_text_is_refused() {
        for text in ["", "gpu", "CPU", "cuda:", "cuda:+1", "cuda:-1", "cuda:x", "cuda:99999999999999999999", "metal:0"]
        {
            let message = text.parse::<DeviceChoice>().unwrap_err().to_string();
            assert!(message.contains(&format!("it is `{text}`, expected `auto`")), "{message}");
        }
    }

    #[test]
    fn a_device_that_is_not_in_the_build_names_its_feature() {
        let choices = [(DeviceChoice::Cuda(Some(7)), "cuda"), (DeviceChoice::Metal, "metal")];
        for (choice, feature) in choices.into_iter().filter(|(choice, _)| !choice.is_built()) {
            let (device, said) = open(choice);
            let message = device.unwrap_err().to_string();
            assert!(message.starts_with(&format!("device: `{choice}` is not in this build")), "{message}");
            assert!(message.ends_with(&format!("`cargo build --release --features {feature}`")), "{message}");
            assert_eq!(said, None);
        }
    }

    #[test]
    fn what_cannot_be_opened_gives_the_reason() {
        let failing = || candle_core::bail!("there are 2 devices");
        let error = DeviceChoice::Cuda(Some(7)).supported(true, "cuda", failing).unwrap_err().to_string();
        assert_eq!(error, "device: `cuda:7` cannot be opened: there are 2 devices");
        let panicking = || panic!("index {} of an empty list", 0);
        let error = DeviceChoice::Metal.supported(true, "metal", panicking).unwrap_err().to_string();
        assert_eq!(error, "device: `metal` cannot be opened: index 0 of an empty list");
    }

    #[test]
    fn a_device_that_is_not_there_is_an_error() {
        // In a build with CUDA it is Candle that says so, with or without GPUs in the machine.
        let message = open(DeviceChoice::Cuda(Some(9999))).0.unwrap_err().to_string();
        assert!(message.starts_with("device: `cuda:9999` "), "{message}");
    }

    #[test]
    fn auto_says_what_it_took() {
        let (device, said) = open(DeviceChoice::Auto);
        let (device, said) = (device.unwrap(), said.unwrap());
        let name = match device {
            Device::Cpu => "the CPU",
            Device::Cuda(_) => "cuda:0",
            Device::Metal(_) => "metal",
        };
        assert!(said.starts_with(&format!("device: auto is {name}")), "{said}");
        let (device, said) = open(DeviceChoice::Cpu);
        assert!(device.unwrap().is_cpu() && said.is_none());
    }

    #[test]
    fn auto_without_gpus_is_the_cpu() {
        let mut said = String::new();
        assert!(first_of(&[], |line| said = line.to_owned()).is_cpu());
        assert_eq!(said, "device: auto is the CPU, the only one in this build");
    }
}
