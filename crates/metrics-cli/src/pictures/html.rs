//! Text within HTML.

use std::fmt::{self, Display, Write};

/// Text that shows as it is, in content and in quoted attributes alike.
///
/// Control characters, which pages cannot hold and names of files can, show as escapes.
pub(super) struct Text<T>(pub(super) T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Escape(f), "{}", self.0)
    }
}

struct Escape<'a, 'b>(&'a mut fmt::Formatter<'b>);

impl Write for Escape<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        text.chars().try_for_each(|c| match c {
            '&' => self.0.write_str("&amp;"),
            '<' => self.0.write_str("&lt;"),
            '>' => self.0.write_str("&gt;"),
            '"' => self.0.write_str("&quot;"),
            '\'' => self.0.write_str("&#39;"),
            c if c.is_control() => write!(self.0, "{}", c.escape_default()),
            c => self.0.write_char(c),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_become_text() {
        let name = "<script>alert(\"a & 'b'\")</script>\u{0}\n.png";
        let escaped = "&lt;script&gt;alert(&quot;a &amp; &#39;b&#39;&quot;)&lt;/script&gt;\\u{0}\\n.png";
        assert_eq!(Text(name).to_string(), escaped);
        assert_eq!(Text("Ünï–代码").to_string(), "Ünï–代码");
    }
}
