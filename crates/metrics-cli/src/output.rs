//! The numbers: a table for people, JSON and CSV for programs.

use std::fs;
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::Path;

use anyhow::{Context, Result, ensure};
use metrics_core::{Named, Value};
use serde::Serialize;

use crate::args::OutputArgs;
use crate::files::Place;
use crate::line::escaped;
use crate::metrics::{Column, PairScores};
use crate::pairs::PassedOver;
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
    to: Sink,
    /// What `to` is called in errors.
    name: String,
    /// Whether somebody looks at it, on a terminal that obeys control characters.
    is_terminal: bool,
    written: u64,
    state: State,
}

enum Sink {
    /// A line for each pair.
    Stream(BufWriter<Box<dyn Write>>),
    /// What is written at the end.
    Whole(Place),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// Who reads a pipe has read enough.
    Closed,
    /// Something could not be written. What comes after it would only be in the wrong place.
    Broken,
}

/// One line for a pair.
#[derive(Clone, Copy)]
pub(crate) enum Line<'a> {
    Scores(&'a PairScores),
    /// Left out, as the user wants it.
    Skipped(&'a str),
    Failed(&'a str),
}

/// Where `--output` writes, and how much of an earlier run is kept there. Nothing is changed.
pub(crate) fn place(args: &OutputArgs, kept: Option<u64>) -> Result<Place> {
    let Some(path) = &args.output else { return Ok(Place::Stdout) };
    let place = Place::of(path)?;
    if let (Place::File(file, _), Some(kept)) = (&place, kept) {
        check_length(file, kept).with_context(|| format!("cannot write to {}", path.display()))?;
    }
    Ok(place)
}

fn check_length(file: &Path, kept: u64) -> Result<()> {
    let length = fs::metadata(file).map_or(0, |metadata| metadata.len());
    ensure!(length >= kept, "it has {length} bytes, but the run to resume has written {kept}");
    Ok(())
}

impl<'a> Output<'a> {
    /// To a file or standard output, of which the first `kept` bytes have been written by a run that is continued.
    pub(crate) fn open(args: &OutputArgs, columns: &'a [Column], kept: Option<u64>) -> Result<Self> {
        let (format, place) = (Format::of(args), place(args, kept)?);
        let name = match (&place, &args.output) {
            (Place::Stdout, _) | (_, None) => "standard output".into(),
            (_, Some(path)) => path.display().to_string(),
        };
        let is_whole = matches!(format, Format::Table | Format::Json);
        let mut output = Self::new(format, columns, place, is_whole, name, kept)?;
        // An earlier run has written the heading.
        if format == Format::Csv && kept.is_none_or(|kept| kept == 0) {
            let columns = columns.iter().map(|column| column.name.clone());
            let heading = ["pair".to_owned()].into_iter().chain(columns).chain(["error".to_owned()]);
            output.write(&csv_line(heading)?)?;
        }
        Ok(output)
    }

    /// To a file of rows, as [`open`](Self::open).
    pub(crate) fn rows(path: &Path, columns: &'a [Column], kept: Option<u64>) -> Result<Self> {
        let (name, place) = (path.display().to_string(), Place::of(path)?);
        check_length(path, kept.unwrap_or(0)).with_context(|| format!("cannot write to {name}"))?;
        Self::new(Format::Rows, columns, place, false, name, kept)
    }

    fn new(
        format: Format,
        columns: &'a [Column],
        place: Place,
        is_whole: bool,
        name: String,
        kept: Option<u64>,
    ) -> Result<Self> {
        let is_terminal = place.is_terminal();
        let to = if is_whole {
            Sink::Whole(place)
        } else {
            // What the earlier run wrote after its last checkpoint will be written again.
            let stream = if let Some(kept @ 1..) = kept { place.resume(kept) } else { place.begin() };
            Sink::Stream(BufWriter::new(stream.with_context(|| format!("cannot write to {name}"))?))
        };
        Ok(Self { format, columns, to, name, is_terminal, written: kept.unwrap_or(0), state: State::Open })
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
        let value = |(index, column): (usize, &Column)| match values.get(index) {
            Some(Some(value)) if column.is_per_pair() => value.to_string(),
            _ => String::new(),
        };
        let values = self.columns.iter().enumerate().map(value);
        csv_line([self.csv_text(name)].into_iter().chain(values).chain([self.csv_text(error)]))
    }

    /// A line without a pair for what is pooled over all, if something is.
    fn csv_pooled(&self, totals: &[Option<Total>]) -> Result<Vec<u8>> {
        if self.columns.iter().all(Column::is_per_pair) {
            return Ok(Vec::new());
        }
        let value = |(column, total): (&Column, &Option<Total>)| match total {
            Some(total) if !column.is_per_pair() => total.value().to_string(),
            _ => String::new(),
        };
        let values = self.columns.iter().zip(totals).map(value);
        csv_line([String::new()].into_iter().chain(values).chain([String::new()]))
    }

    fn csv_text(&self, text: &str) -> String {
        let text = no_formula(text);
        if self.is_terminal { escaped(&text) } else { text }
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
    pub(crate) fn summary(
        &mut self,
        tally: &Tally,
        totals: &[Option<Total>],
        (pairs, passed_over): (usize, Option<&PassedOver>),
    ) -> Result<()> {
        if self.state != State::Open {
            return Ok(());
        }
        let summary = || Summary::new(self.columns, totals, &tally.counts, passed_over);
        let text = match self.format {
            Format::Rows => Vec::new(),
            Format::Csv => self.csv_pooled(totals)?,
            // An error has been told; an empty table would only hide it.
            Format::Table if tally.counts.scored == 0 => Vec::new(),
            Format::Table => table(self.columns, totals, &tally.counts, pairs == 1).into_bytes(),
            Format::Json => json(serde_json::to_string_pretty(&summary()?)?),
            Format::Ndjson => json_line(&SummaryLine { summary: summary()? })?,
        };
        self.write(&text)?;
        self.flush()
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if self.state == State::Closed {
            return Ok(());
        }
        let written = match &mut self.to {
            Sink::Stream(stream) => stream.write_all(bytes),
            Sink::Whole(place) => place.write(bytes),
        };
        self.checked(written)?;
        self.written += bytes.len() as u64;
        Ok(())
    }

    pub(crate) fn flush(&mut self) -> Result<()> {
        let flushed = match &mut self.to {
            Sink::Stream(stream) if self.state != State::Closed => stream.flush(),
            _ => Ok(()),
        };
        self.checked(flushed)
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether lines are lost.
    pub(crate) fn is_broken(&self) -> bool {
        self.state != State::Open
    }

    fn checked(&mut self, result: io::Result<()>) -> Result<()> {
        match &result {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {
                self.state = State::Closed;
                return Ok(());
            }
            Err(_) => self.state = State::Broken,
        }
        result.with_context(|| format!("cannot write to {}", self.name))
    }
}

/// Text that spreadsheets do not take for a formula: an apostrophe stands before text that begins like one, or with an apostrophe. So
/// who takes away one apostrophe from the beginning has the text as it was.
fn no_formula(text: &str) -> String {
    let apostrophe = if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\'']) { "'" } else { "" };
    format!("{apostrophe}{text}")
}

fn csv_line(fields: impl Iterator<Item = String>) -> Result<Vec<u8>> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(fields.map(String::into_bytes))?;
    writer.into_inner().context("cannot write CSV")
}

fn json_line(value: &impl Serialize) -> Result<Vec<u8>> {
    Ok(json(serde_json::to_string(value)?))
}

/// JSON that a terminal obeys no part of: the control characters that may stand in it as they are become escapes.
fn json(text: String) -> Vec<u8> {
    let escape = |c: char| if c.is_control() && c > '\u{1f}' { format!("\\u{:04x}", u32::from(c)) } else { c.into() };
    let mut text =
        if text.contains(|c| ('\u{7f}'..='\u{9f}').contains(&c)) { text.chars().map(escape).collect() } else { text };
    text.push('\n');
    text.into_bytes()
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
    /// Of folders.
    #[serde(skip_serializing_if = "Option::is_none")]
    passed_over: Option<&'a PassedOver>,
    metrics: Named<ColumnSummary<'a>>,
    /// The first of those that failed.
    failures: &'a [Failure],
    /// How many more failed.
    failures_omitted: u64,
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
    fn new(
        columns: &[Column],
        totals: &'a [Option<Total>],
        counts: &'a Counts,
        passed_over: Option<&'a PassedOver>,
    ) -> Result<Self> {
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
        Ok(Self { scored, skipped, failed, passed_over, metrics, failures, failures_omitted: counts.unlisted() })
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
