//! Text that stays on one line, whatever is in it.

use anyhow::Error;

/// Control characters, which names of files may have, as escapes: terminals obey them.
pub(crate) fn escaped(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() { line.extend(c.escape_default()) } else { line.push(c) }
    }
    line
}

/// An error and its causes, each said once: many say their own cause too.
pub(crate) fn of_error(error: &Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        let cause = without_backtrace(&cause).trim_end();
        if !line.ends_with(cause) {
            let colon = if line.is_empty() { "" } else { ": " };
            line.extend([colon, cause]);
        }
    }
    line
}

/// Candle prints a backtrace below the message, for those who set `RUST_BACKTRACE`.
fn without_backtrace(message: &str) -> &str {
    message.split_once("\n   0: ").map_or(message, |(message, _)| message)
}

#[cfg(test)]
mod tests {
    use std::backtrace::Backtrace;

    use anyhow::Context;
    use candle_core::Error as Candle;

    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(escaped("a\n\u{1b}[31mé\u{9b}.png"), "a\\n\\u{1b}[31mé\\u{9b}.png");
    }

    #[test]
    fn causes_are_told_once_and_without_backtraces() {
        let inner = Box::new(Candle::Msg("too small".into()));
        let error = Candle::WithBacktrace { inner, backtrace: Box::new(Backtrace::force_capture()) };
        assert!(error.to_string().lines().count() > 1);
        let error = Err::<(), _>(error).context("cannot score: too small").context("cannot compare a with b");
        assert_eq!(of_error(&error.unwrap_err()), "cannot compare a with b: cannot score: too small");
    }
}
