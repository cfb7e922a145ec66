//! Manifests: CSV files of lines `reference,test`.

use std::io::BufRead;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use csv_core::{ReadFieldResult, Reader};

use super::{Files, Pair};

/// The most bytes of the fields of a record: more than paths may have, and little enough that no file fills the memory.
const LONGEST: usize = 1 << 16;

/// So much of a record is shown in errors.
const SHOWN: usize = 100;

/// The pairs of a manifest whose relative paths start in `folder`. A first line `reference,test` is a heading; empty lines and lines
/// that start with `#` are not pairs. A third field is the pair's name.
pub(super) fn parse(manifest: impl BufRead, folder: &Path) -> Result<Vec<Pair>> {
    let mut records = Records { reader: Reader::new(), input: manifest };
    let (mut pairs, mut first) = (Vec::new(), true);
    loop {
        let number = pairs.len() + 1;
        let Some(fields) = records.next().with_context(|| format!("entry {number}"))? else { break };
        let heading = first && is_heading(&fields);
        first = false;
        if !heading {
            pairs.push(pair(&fields, folder).with_context(|| format!("entry {number}, `{}`", shown(&fields)))?);
        }
    }
    ensure!(!pairs.is_empty(), "the manifest names no pairs; expected lines `reference,test`");
    Ok(pairs)
}

/// The records of a CSV file. The crate `csv` keeps records of any length, and does not tell which fields are quoted.
struct Records<R> {
    reader: Reader,
    input: R,
}

impl<R: BufRead> Records<R> {
    /// The next record that is not empty.
    fn next(&mut self) -> Result<Option<Vec<String>>> {
        loop {
            match self.input.fill_buf()?.first() {
                None => return Ok(None),
                Some(b'#') => drop(self.input.skip_until(b'\n')?),
                Some(b' ' | b'\t' | b'\r' | b'\n') => self.input.consume(1),
                Some(_) => return self.record().map(Some),
            }
        }
    }

    fn record(&mut self) -> Result<Vec<String>> {
        let (mut fields, mut left, mut last) = (Vec::new(), LONGEST, false);
        while !last {
            let field;
            (field, last) = self.field(left)?;
            // An empty field counts too, because it takes memory.
            left = left.saturating_sub(field.len() + 1);
            fields.push(field);
        }
        Ok(fields)
    }

    /// The next field, of at most `left` bytes, and whether it is the last of its record.
    fn field(&mut self, left: usize) -> Result<(String, bool)> {
        while let Some(b' ' | b'\t') = self.input.fill_buf()?.first() {
            self.input.consume(1);
        }
        let quoted = self.input.fill_buf()?.first() == Some(&b'"');
        let (mut text, mut part) = (Vec::new(), [0; 1 << 10]);
        let last = loop {
            let (result, read, written) = self.reader.read_field(self.input.fill_buf()?, &mut part);
            self.input.consume(read);
            text.extend(&part[..written]);
            ensure!(text.len() < left, "it has more than {LONGEST} bytes");
            match result {
                ReadFieldResult::InputEmpty | ReadFieldResult::OutputFull => {}
                ReadFieldResult::Field { record_end } => break record_end,
                ReadFieldResult::End => break true,
            }
        };
        let text = String::from_utf8(text).context("it is not UTF-8")?;
        Ok((if quoted { text } else { text.trim_end().to_owned() }, last))
    }
}

fn shown(fields: &[String]) -> String {
    let text = fields.join(",");
    match text.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

fn is_heading(fields: &[String]) -> bool {
    let heading = ["reference", "test"];
    fields.len() >= 2 && fields.iter().zip(heading).all(|(field, word)| field.eq_ignore_ascii_case(word))
}

fn pair(fields: &[String], folder: &Path) -> Result<Pair> {
    let (reference, test, name) = match fields {
        [reference, test] => (reference, test, test),
        [reference, test, name] => (reference, test, if name.is_empty() { test } else { name }),
        _ => bail!("{} fields, expected `reference,test` or `reference,test,name`", fields.len()),
    };
    ensure!(!reference.is_empty() && !test.is_empty(), "a path is empty");
    let files = Files { reference: folder.join(reference), test: folder.join(test) };
    Ok(Pair { name: name.to_owned(), files: Ok(files) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Vec<(String, Files)>> {
        let pairs = parse(text.as_bytes(), Path::new("/data"))?;
        Ok(pairs.into_iter().filter_map(|pair| Some((pair.name, pair.files.ok()?))).collect())
    }

    fn files(reference: &str, test: &str) -> Files {
        Files { reference: reference.into(), test: test.into() }
    }

    #[test]
    fn lines_are_pairs() -> Result<()> {
        let text = "Reference,TEST\n# a comment\na.png, b.png\n\n\"x,y.png\",/else/z.png,named\r\n";
        let expected = [
            ("b.png".into(), files("/data/a.png", "/data/b.png")),
            ("named".into(), files("/data/x,y.png", "/else/z.png")),
        ];
        assert_eq!(parsed(text)?, expected);
        Ok(())
    }

    #[test]
    fn what_is_no_pair_is_named() {
        let error = |text| format!("{:#}", parsed(text).unwrap_err());
        assert_eq!(error("a,b\nc\n"), "entry 2, `c`: 1 fields, expected `reference,test` or `reference,test,name`");
        assert_eq!(error("a,b\n\nc,\n"), "entry 2, `c,`: a path is empty");
        assert!(error("reference,test\n").contains("names no pairs"));
        assert!(error("").contains("names no pairs"));
    }

    #[test]
    fn text_must_be_utf8() {
        let error = parse(&b"a,\xff\n"[..], Path::new("")).unwrap_err();
        assert!(format!("{error:#}").contains("UTF-8"), "{error:#}");
    }

    #[test]
    fn blanks_are_trimmed_where_they_are_not_quoted() -> Result<()> {
        let text = "  \t\n # no pair\n a.png ,\" b.png \", \"say \"\"c\"\"\"\n\t\r\na.png,b.png,\na.png,b.png, \n";
        let expected = [
            ("say \"c\"".into(), files("/data/a.png", "/data/ b.png ")),
            ("b.png".into(), files("/data/a.png", "/data/b.png")),
            ("b.png".into(), files("/data/a.png", "/data/b.png")),
        ];
        assert_eq!(parsed(text)?, expected);
        Ok(())
    }

    #[test]
    fn records_are_limited_and_errors_short() {
        for long in ["x".repeat(1 << 26), ",".repeat(1 << 26), format!("\"{}", "\n".repeat(1 << 26))] {
            let error = format!("{:#}", parsed(&format!("a,b\n{long}\n")).unwrap_err());
            assert_eq!(error, "entry 2: it has more than 65536 bytes");
        }
        let error = format!("{:#}", parsed(&"é,".repeat(1000)).unwrap_err());
        assert!(error.contains("é,…`: 1001 fields") && error.len() < 300, "{error}");
        // What is not a pair may have any length.
        let comment = format!("#{}\na,b\n", "x".repeat(1 << 20));
        assert!(parsed(&comment).is_ok_and(|pairs| pairs.len() == 1));
    }

    /// `csv` agrees about everything but blanks.
    #[test]
    fn fields_are_those_of_csv() -> Result<()> {
        let text = "a,b\r\n\"x\ny\",z\n\n\"q\"\"q\",r,s\rm,n";
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let expected = reader.records().map(|record| Ok(record?.iter().map(String::from).collect()));
        let mut records = Records { reader: Reader::new(), input: text.as_bytes() };
        let found: Vec<Vec<String>> = std::iter::from_fn(|| records.next().transpose()).collect::<Result<_>>()?;
        assert_eq!(found, expected.collect::<Result<Vec<Vec<String>>>>()?);
        Ok(())
    }
}
