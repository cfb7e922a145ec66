//! The report: one page of HTML.

use std::fmt::Write;

use metrics_core::{Report, Summary, Value};

use super::html::Text;
use super::worst::{Picture, Pictures, Worst};
use super::{Histogram, chart, legend};
use crate::tally::{Counts, Failure};

const STYLE: &str = include_str!("page.css");

/// A page shows this many of the worst pairs, so that it stays small whatever happened.
pub(crate) const MOST_PAIRS: usize = 10;

/// Below the summary, where there are some.
const APPROXIMATE: &str = "<p>A median after ≈ is an approximation: it is of more than 1024 different values.</p>\n";

/// Decimals of a value.
const DECIMALS: usize = 4;

/// Of the summary; a value that is one number is below the second.
const HEADINGS: [&str; 7] = ["metric", "mean", "std", "min", "median", "max", "count"];

/// Pictures whose longer side is shorter are shown with visible pixels.
const SMALL: u32 = 200;

/// A report on many pairs, as a page of one file that opens offline: no scripts, and nothing from outside. Equal pages are
/// equal bytes.
pub(crate) struct Page<'a> {
    pub(crate) title: String,
    /// What was typed to get it.
    pub(crate) command: String,
    pub(crate) summary: Report,
    /// The distribution of each metric's values.
    pub(crate) histograms: Vec<(String, Histogram)>,
    /// The metric that ranks the worst.
    pub(crate) worst_by: String,
    /// From the worst on; the page shows the first [`MOST_PAIRS`].
    pub(crate) worst: Vec<Worst>,
    /// How many pairs there are, and which could not be compared.
    pub(crate) counts: &'a Counts,
    /// What else is in the folders.
    pub(crate) passed_over: Option<String>,
}

impl Page<'_> {
    pub(crate) fn html(&self) -> String {
        let mut html = self.head();
        html += &self.summary();
        html += &self.charts();
        html += &self.worst();
        html += &self.failures();
        html += "</main>\n</body>\n</html>\n";
        html
    }

    fn head(&self) -> String {
        let (title, command) = (Text(&self.title), Text(&self.command));
        // The policy makes sure that no name or message can load or run anything.
        format!(
            "<!DOCTYPE html>\n\
             <html lang=\"en\">\n\
             <head>\n\
             <meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" \
             content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"generator\" content=\"image-metrics {version}\">\n\
             <title>{title}</title>\n\
             <style>\n{STYLE}</style>\n\
             </head>\n\
             <body>\n\
             <main>\n\
             <h1>{title}</h1>\n\
             <p class=\"command\"><code>{command}</code></p>\n",
            version = env!("CARGO_PKG_VERSION"),
        )
    }

    fn summary(&self) -> String {
        let mut rows = String::new();
        write_rows(&mut rows, "", &self.summary);
        let approximate = if rows.contains('≈') { APPROXIMATE } else { "" };
        let passed_over = self.passed_over.iter().map(|text| format!(" {}.", Text(text))).collect::<String>();
        let counts = format!("<p>{}{passed_over}</p>\n", self.counted());
        let headings = HEADINGS.map(|heading| format!("<th scope=\"col\">{heading}</th>")).concat();
        section(
            "Summary",
            &format!(
                "{counts}<div class=\"scroll\">\n<table class=\"summary\">\n<thead><tr>{headings}</tr></thead>\n\
                 <tbody>\n{rows}</tbody>\n</table>\n</div>\n{approximate}"
            ),
        )
    }

    /// What became of the pairs, as a sentence.
    fn counted(&self) -> String {
        let Counts { scored, skipped, failed, .. } = *self.counts;
        let pairs = scored + skipped + failed;
        let mut text = format!("{scored} of {pairs} {} scored", if pairs == 1 { "pair was" } else { "pairs were" });
        for (count, what) in [(skipped, "left out because of their sizes"), (failed, "not compared")] {
            if count > 0 {
                let _ = write!(text, ", {count} {what}");
            }
        }
        text + "."
    }

    fn charts(&self) -> String {
        if self.histograms.is_empty() {
            return String::new();
        }
        let figure = |(name, histogram): &(String, Histogram)| {
            format!(
                "<figure>\n<figcaption><b>{}</b> {}</figcaption>\n{}</figure>\n",
                Text(name),
                counts(histogram),
                chart::svg(name, histogram)
            )
        };
        let figures: String = self.histograms.iter().map(figure).collect();
        section("Distribution", &format!("<div class=\"charts\">\n{figures}</div>\n"))
    }

    fn worst(&self) -> String {
        if self.worst.is_empty() {
            return String::new();
        }
        let introduction = format!(
            "<p>The SSIM map gives every pixel the colour of its similarity: dark where the images agree, bright where \
             they differ. The difference is absolute, and amplified as it says. Large images are scaled down after \
             the map and the difference were computed at full size.</p>\n{}",
            legend::svg()
        );
        let pairs: String = self.worst.iter().take(MOST_PAIRS).map(pair).collect();
        section(&format!("Worst by {}", Text(&self.worst_by)), &format!("{introduction}{pairs}"))
    }

    fn failures(&self) -> String {
        if self.counts.failed == 0 {
            return String::new();
        }
        let row = |Failure { pair, error }: &Failure| {
            format!("<tr><th scope=\"row\"><bdi>{}</bdi></th><td>{}</td></tr>\n", Text(pair), Text(error))
        };
        let mut rows: String = self.counts.failures.iter().map(row).collect();
        if let more @ 1.. = self.counts.unlisted() {
            let _ = writeln!(rows, "<tr><td colspan=\"2\">and {more} more</td></tr>");
        }
        let table = format!(
            "<table class=\"failures\">\n\
             <thead><tr><th scope=\"col\">pair</th><th scope=\"col\">why</th></tr></thead>\n\
             <tbody>\n{rows}</tbody>\n</table>\n"
        );
        section(&format!("Not compared: {}", self.counts.failed), &table)
    }
}

/// A heading, which is HTML already, and what stands below it.
fn section(heading: &str, content: &str) -> String {
    format!("<section>\n<h2>{heading}</h2>\n{content}</section>\n")
}

/// A row for each value; those of a group are named `group/name`.
fn write_rows(rows: &mut String, prefix: &str, report: &Report) {
    for (name, value) in report.iter() {
        let name = format!("{prefix}{name}");
        let mut cells = match value {
            Value::Group(group) => {
                write_rows(rows, &format!("{name}/"), group);
                continue;
            }
            Value::Scalar(value) => vec![number(*value)],
            Value::PerImage(values) => vec![format!("({} values)", values.len())],
            Value::Summary(summary) => summary_cells(summary),
            other => vec![other.to_string()],
        };
        cells.resize(HEADINGS.len() - 1, String::new());
        let cells: String = cells.iter().map(|cell| format!("<td>{cell}</td>")).collect();
        let _ = writeln!(rows, "<tr><th scope=\"row\">{}</th>{cells}</tr>", Text(name));
    }
}

fn summary_cells(summary: &Summary) -> Vec<String> {
    let &Summary { mean, std, min, median, max, count, quantile_error, .. } = summary;
    let mark = if quantile_error > 0.0 { "≈ " } else { "" };
    let [mean, std, min, median, max] = [mean, std, min, median, max].map(number);
    vec![mean, std, min, format!("{mark}{median}"), max, count.to_string()]
}

fn number(value: f64) -> String {
    format!("{:.DECIMALS$}", Value::Scalar(value))
}

/// How many values a chart shows, and how many it cannot.
fn counts(histogram: &Histogram) -> String {
    let others = [
        (histogram.infinite, "infinite"),
        (histogram.negative_infinite, "negatively infinite"),
        (histogram.nan, "not a number"),
    ];
    let mut text = match histogram.finite() {
        1 => "1 value".to_string(),
        count => format!("{count} values"),
    };
    for (count, what) in others.into_iter().filter(|&(count, _)| count > 0) {
        let _ = write!(text, ", and {count} {what}");
    }
    text
}

fn pair(pair: &Worst) -> String {
    let name = Text(&pair.name);
    let value =
        |(name, value): &(String, f64)| format!("<div><dt>{}</dt><dd>{}</dd></div>", Text(name), number(*value));
    let values: String = pair.values.iter().map(value).collect();
    let (size, views) = match &pair.pictures {
        Ok(pictures) => {
            let (width, height) = pictures.size;
            let size = format!("<div><dt>size</dt><dd>{width} × {height}</dd></div>");
            (size, format!("<div class=\"views\">\n{}</div>", figures(pictures, &pair.name)))
        }
        Err(why) => (String::new(), format!("<p>No pictures: {}</p>", Text(why))),
    };
    format!(
        "<article class=\"pair\">\n<h3><bdi>{name}</bdi></h3>\n\
         <dl class=\"values\">{values}{size}</dl>\n{views}\n</article>\n"
    )
}

fn figures(Pictures { views, amplified, .. }: &Pictures, name: &str) -> String {
    [
        figure(&views.reference, "Reference", "reference", name),
        figure(&views.test, "Test", "test", name),
        figure(&views.difference, &format!("Difference × {amplified}"), "difference", name),
        figure(&views.map, "SSIM map", "SSIM map", name),
    ]
    .concat()
}

fn figure(picture: &Picture, caption: &str, what: &str, name: &str) -> String {
    let Picture { url, width, height } = picture;
    let class = if *width.max(height) < SMALL { " class=\"small\"" } else { "" };
    format!(
        "<figure><img{class} src=\"{url}\" width=\"{width}\" height=\"{height}\" alt=\"{what} of {}\">\
         <figcaption>{caption}</figcaption></figure>\n",
        Text(name)
    )
}

#[cfg(test)]
mod tests {
    use super::super::fixture;
    use super::super::worst::Views;
    use super::*;

    #[test]
    fn the_page_has_every_value_chart_picture_and_failure() {
        let page = fixture::page();
        let html = page.html();
        for (name, value) in page.summary.iter() {
            let start = format!("<tr><th scope=\"row\">{name}</th><td>{}</td>", number(value.scalar().unwrap()));
            let (_, row) = html.split_once(&start).unwrap();
            if let Value::Summary(summary) = value {
                assert!(row.split_once("</tr>").unwrap().0.contains(&number(summary.median)), "{name}");
            }
        }
        assert_eq!(html.matches("<svg class=\"chart\"").count(), page.histograms.len());
        assert_eq!(html.matches("<article class=\"pair\"").count(), page.worst.len());
        for pair in &page.worst {
            let Views { reference, test, difference, map } = &pair.pictures.as_ref().unwrap().views;
            assert!([reference, test, difference, map].iter().all(|picture| html.contains(&picture.url)));
        }
        assert!(page.counts.failures.iter().all(|failure| html.contains(&Text(&failure.error).to_string())));
        assert!(html.contains("<p>3 of 4 pairs were scored, 1 not compared. 2 files in the folders"));
    }

    #[test]
    fn names_and_messages_are_text() {
        let html = fixture::page().html();
        assert!(!html.contains("<script"));
        assert!(html.contains("&lt;script&gt;"));
    }

    #[test]
    fn nothing_is_loaded_from_outside() {
        let html = fixture::page().html();
        for source in html.split("src=\"").skip(1) {
            assert!(source.starts_with("data:image/"), "{}", &source[..source.len().min(60)]);
        }
        for address in html.split("url(").skip(1) {
            assert!(address.starts_with('#'), "{}", &address[..address.len().min(60)]);
        }
        assert!(!["<link", "@import", "href=", "http:", "https:"].iter().any(|part| html.contains(part)));
    }

    #[test]
    fn equal_pages_are_equal_bytes() {
        assert_eq!(fixture::page().html(), fixture::page().html());
    }

    #[test]
    fn a_page_without_pictures_and_failures_has_no_empty_sections() {
        let page = Page { histograms: vec![], worst: vec![], counts: &Counts::default(), ..fixture::page() };
        assert_eq!(page.html().matches("<h2>").count(), 1);
    }

    #[test]
    fn a_page_stays_small_whatever_happened() {
        let one = fixture::page();
        let page = Page { worst: vec![one.worst[0].clone(); 12], ..one };
        assert_eq!(page.html().matches("<article").count(), 10);
    }

    #[test]
    fn medians_that_are_approximations_are_marked() {
        let of = |values: u32| {
            let summary = (0..values).map(|i| f64::from(i).sqrt()).collect::<metrics_core::Distribution>().summary();
            let mut named = metrics_core::Named::new();
            named.insert("ssim", Value::Summary(summary)).unwrap();
            Page { summary: Report::from(named), ..fixture::page() }.html()
        };
        assert!(!of(1024).contains('≈'));
        assert!(of(1025).contains("<td>≈ 22.") && of(1025).contains("an approximation"));
    }

    #[test]
    fn what_a_chart_cannot_show_is_counted() {
        let mut histogram = Histogram::new();
        [30.0, f64::INFINITY, f64::INFINITY, f64::NAN].into_iter().for_each(|value| histogram.add(value));
        assert_eq!(counts(&histogram), "1 value, and 2 infinite, and 1 not a number");
    }
}
