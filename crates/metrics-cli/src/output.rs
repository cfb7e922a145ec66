//! The numbers: a table for people, JSON and CSV for programs.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use metrics_core::{Named, Value};
use serde::Serialize;

use crate::args::OutputArgs;
use crate::line::escaped;
use crate::metrics::{Column, PairScores};
use crate::rows::Row;
use crate::table;
use crate::tally::{Counts, Failure, Tally, Total};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Format {
    Table,
    Json,
    Csv,
    Ndjson,
    /// What a rank of `--mpi` keeps for rank 0.
    Rows,
}

impl Format {
    pub(crate) fn of(args: &OutputArgs) -> Self {
        match (args.json, args.csv, args.ndjson) {
            (true, ..) => Self::Json,
            (_, true, _) => Self::Csv,
            (.., true) => Self::Ndjson,
            _ => Self::Table,
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Table => "a table",
            Self::Json => "JSON",
            Self::Csv => "CSV",
            Self::Ndjson => "NDJSON",
            Self::Rows => "rows",
        }
    }
}

/// Where numbers go.
pub(crate) struct Output<'a> {
    format: Format,
    columns: &'a [Column],
    to: BufWriter<Box<dyn Write>>,
    /// What `to` is called in errors.
    name: String,
    written: u64,
    /// Whether something could not be written. What comes after it would only be in the wrong place.
    broken: bool,
}

/// One line for a pair.
#[derive(Clone, Copy)]
pub(crate) enum Line<'a> {
    Scores(&'a PairScores),
    /// Left out, as the user wants it.
    Skipped(&'a str),
    Failed(&'a str),
}

impl<'a> Output<'a> {
    /// To a file or standard output, of which the first `kept` bytes have been written by a run that is continued.
    pub(crate) fn open(args: &OutputArgs, columns: &'a [Column], kept: Option<u64>) -> Result<Self> {
        let format = Format::of(args);
        let (to, name): (Box<dyn Write>, _) = match &args.output {
            Some(path) => {
                let name = path.display().to_string();
                (Box::new(open(path, kept.unwrap_or(0)).with_context(|| format!("cannot write to {name}"))?), name)
            }
            None => (Box::new(io::stdout()), "standard output".into()),
        };
        let mut output = Self::new(format, columns, to, name, kept);
        if format == Format::Csv && kept.is_none_or(|kept| kept == 0) {
            let columns = output.per_pair().map(|(_, column)| column.name.clone());
            let heading = ["pair".to_owned()].into_iter().chain(columns).chain(["error".to_owned()]);
            output.write(&csv_line(heading)?)?;
        }
        Ok(output)
    }

    /// To a file of rows, as [`open`](Self::open).
    pub(crate) fn rows(path: &Path, columns: &'a [Column], kept: Option<u64>) -> Result<Self> {
        let name = path.display().to_string();
        let file = open(path, kept.unwrap_or(0)).with_context(|| format!("cannot write to {name}"))?;
        Ok(Self::new(Format::Rows, columns, Box::new(file), name, kept))
    }

    fn new(format: Format, columns: &'a [Column], to: Box<dyn Write>, name: String, kept: Option<u64>) -> Self {
        Self { format, columns, to: BufWriter::new(to), name, written: kept.unwrap_or(0), broken: false }
    }

    /// How many bytes there are.
    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// Writes what has become of a pair, in formats that have a line for each.
    pub(crate) fn pair(&mut self, name: &str, line: Line) -> Result<()> {
        match self.format {
            Format::Table | Format::Json => Ok(()),
            Format::Csv => {
                let line = self.csv(name, line)?;
                self.write(&line)
            }
            Format::Ndjson => {
                let line = self.ndjson(name, line)?;
                self.write(&line)?;
                self.flush()
            }
            Format::Rows => self.write(&json_line(&Row::from(line))?),
        }
    }

    fn csv(&self, name: &str, line: Line) -> Result<Vec<u8>> {
        let (values, error) = match line {
            Line::Scores(scores) => (&scores.values[..], ""),
            Line::Skipped(error) | Line::Failed(error) => (&[][..], error),
        };
        let value = |(index, _): (usize, &Column)| match values.get(index) {
            Some(Some(value)) => value.to_string(),
            _ => String::new(),
        };
        let values = self.per_pair().map(value);
        csv_line([name.to_owned()].into_iter().chain(values).chain([error.to_owned()]))
    }

    fn ndjson(&self, name: &str, line: Line) -> Result<Vec<u8>> {
        let mut fields = Named::new();
        fields.insert("pair", serde_json::to_value(name)?)?;
        match line {
            Line::Skipped(error) | Line::Failed(error) => fields.insert("error", serde_json::to_value(error)?)?,
            Line::Scores(scores) => {
                for (index, column) in self.per_pair() {
                    let value = scores.values.get(index).copied().flatten().map(Value::Scalar);
                    fields.insert(&column.name, serde_json::to_value(value)?)?;
                }
            }
        }
        json_line(&fields)
    }

    fn per_pair(&self) -> impl Iterator<Item = (usize, &'a Column)> + use<'a> {
        self.columns.iter().enumerate().filter(|(_, column)| column.is_per_pair())
    }

    /// Writes what all pairs add up to, in formats that have that.
    pub(crate) fn summary(&mut self, tally: &Tally, totals: &[Option<Total>], list_len: usize) -> Result<()> {
        let text = match self.format {
            _ if self.broken => return Ok(()),
            Format::Csv | Format::Rows => Vec::new(),
            // An error has been told; an empty table would only hide it.
            Format::Table if tally.counts.scored == 0 => Vec::new(),
            Format::Table => table(self.columns, totals, &tally.counts, list_len == 1).into_bytes(),
            Format::Json => {
                let mut text = serde_json::to_vec_pretty(&Summary::new(self.columns, totals, &tally.counts)?)?;
                text.push(b'\n');
                text
            }
            Format::Ndjson => json_line(&SummaryLine { summary: Summary::new(self.columns, totals, &tally.counts)? })?,
        };
        self.write(&text)?;
        self.flush()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = self.to.write_all(bytes);
        self.checked(written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        let flushed = self.to.flush();
        self.checked(flushed)
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.broken
    }

    fn checked(&mut self, result: io::Result<()>) -> Result<()> {
        self.broken |= result.is_err();
        result.with_context(|| format!("cannot write to {}", self.name))
    }
}

fn open(path: &Path, kept: u64) -> Result<File> {
    if kept == 0 {
        return Ok(File::create(path)?);
    }
    // What the earlier run wrote after its last checkpoint will be written again.
    let length = fs::metadata(path)?.len();
    ensure!(length >= kept, "it has {length} bytes, but the run to resume has written {kept}");
    let mut file = OpenOptions::new().write(true).open(path)?;
    file.set_len(kept)?;
    file.seek(SeekFrom::End(0))?;
    Ok(file)
}

fn csv_line(fields: impl Iterator<Item = String>) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields.map(String::into_bytes))?;
    writer.into_inner().context("cannot write CSV")
}

fn json_line(value: &impl Serialize) -> Result<Vec<u8>> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    Ok(line)
}

#[derive(Serialize)]
struct SummaryLine<'a> {
    summary: Summary<'a>,
}

#[derive(Serialize)]
struct Summary<'a> {
    scored: u64,
    skipped: u64,
    failed: u64,
    metrics: Named<ColumnSummary<'a>>,
    failures: &'a [Failure],
}

#[derive(Serialize)]
struct ColumnSummary<'a> {
    #[serde(flatten)]
    value: Flat<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    worst: Option<WorstPair<'a>>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Flat<'a> {
    Summary(&'a metrics_core::Summary),
    Number { value: Value },
    Nothing { count: u64 },
}

#[derive(Serialize)]
struct WorstPair<'a> {
    pair: &'a str,
    value: Value,
}

impl<'a> Summary<'a> {
    fn new(columns: &[Column], totals: &'a [Option<Total>], counts: &'a Counts) -> Result<Self> {
        let mut metrics = Named::new();
        for (column, total) in columns.iter().zip(totals) {
            let value = match total.as_ref().map(|total| &total.value) {
                None => Flat::Nothing { count: 0 },
                Some(Value::Summary(summary)) => Flat::Summary(summary),
                Some(value) => Flat::Number { value: value.clone() },
            };
            let worst = total.as_ref().and_then(|total| total.worst.as_ref());
            let worst = worst.map(|worst| WorstPair { pair: &worst.pair, value: Value::Scalar(worst.value()) });
            metrics.insert(&column.name, ColumnSummary { value, worst })?;
        }
        let Counts { scored, skipped, failed, ref failures, .. } = *counts;
        Ok(Self { scored, skipped, failed, metrics, failures })
    }
}

/// One pair has values; more have a mean, a spread, and one that is the worst.
fn table(columns: &[Column], totals: &[Option<Total>], counts: &Counts, one_pair: bool) -> String {
    let show = |number: f64| Value::Scalar(number).to_string();
    let totals = || columns.iter().zip(totals).filter_map(|(column, total)| Some((&column.name, total.as_ref()?)));
    if one_pair {
        let mut rows = vec![["metric", "value"].map(String::from)];
        rows.extend(totals().map(|(name, total)| [name.clone(), show(total.value())]));
        return table::text(&rows, &[0]);
    }
    // Arrays may hold several images, and all numbers but the pair that is the worst are of images.
    let of_images = totals().any(|(_, total)| matches!(&total.value, Value::Summary(all) if all.count > counts.scored));
    let counted = if of_images { "images" } else { "pairs" };
    let mut rows = vec![["metric", "mean", "std", "min", "max", counted, "worst"].map(String::from)];
    rows.extend(totals().map(|(name, total)| {
        let [mut std, mut min, mut max, mut count] = [const { String::new() }; 4];
        if let Value::Summary(summary) = &total.value {
            [std, min, max] = [summary.std, summary.min, summary.max].map(show);
            count = summary.count.to_string();
        }
        let worst = total.worst.as_ref().map_or(String::new(), |worst| escaped(&worst.pair));
        [name.clone(), show(total.value()), std, min, max, count, worst]
    }));
    table::text(&rows, &[0, 6])
}
