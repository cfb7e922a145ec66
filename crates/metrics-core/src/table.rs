//! Tables of text for people.

use std::fmt;

/// Writes the first `columns` of the rows: names to the left, the other cells to the right. What would break a line, or do
/// something to a terminal, is written as an escape.
pub(crate) fn write<const N: usize>(f: &mut fmt::Formatter<'_>, rows: &[[String; N]], columns: usize) -> fmt::Result {
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(|cell| escaped(cell))).collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<_> = (0..columns.min(N)).map(width).collect();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            line += &if column == 0 { format!("{cell:<width$}") } else { format!("  {cell:>width$}") };
        }
        writeln!(f, "{}", line.trim_end())?;
    }
    Ok(())
}

fn escaped(cell: &str) -> String {
    let escape = |char: char| if char.is_control() { char.escape_debug().to_string() } else { char.into() };
    cell.chars().map(escape).collect()
}
