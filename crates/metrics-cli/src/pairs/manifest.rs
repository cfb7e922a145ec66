//! Manifests: CSV files of lines `reference,test`.

use std::io::Read;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use csv::{ReaderBuilder, StringRecord, Trim};

use super::{Files, Pair};

/// The pairs of a manifest whose relative paths start in `folder`. A first line `reference,test` is a heading; empty lines and lines
/// that start with `#` are not pairs. A third field is the pair's name.
pub(super) fn parse(manifest: impl Read, folder: &Path) -> Result<Vec<Pair>> {
    let mut reader = ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .comment(Some(b'#'))
        .trim(Trim::All)
        .from_reader(manifest);
    let (mut record, mut pairs) = (StringRecord::new(), Vec::new());
    let mut first = true;
    while reader.read_record(&mut record)? {
        let heading = first && is_heading(&record);
        first = false;
        if !heading {
            let number = pairs.len() + 1;
            let shown = || format!("entry {number}, `{}`", record.iter().collect::<Vec<_>>().join(","));
            pairs.push(pair(&record, folder).with_context(shown)?);
        }
    }
    ensure!(!pairs.is_empty(), "the manifest names no pairs; expected lines `reference,test`");
    Ok(pairs)
}

fn is_heading(record: &StringRecord) -> bool {
    let heading = ["reference", "test"];
    record.len() >= 2 && record.iter().zip(heading).all(|(field, word)| field.eq_ignore_ascii_case(word))
}

fn pair(record: &StringRecord, folder: &Path) -> Result<Pair> {
    let fields: Vec<_> = record.iter().collect();
    let (reference, test, name) = match fields[..] {
        [reference, test] => (reference, test, test),
        [reference, test, name] => (reference, test, name),
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
}
