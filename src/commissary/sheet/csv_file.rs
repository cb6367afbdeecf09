//! CSV in UTF-8, with the mark at its beginning by which spreadsheets know it, or without.

use super::{Row, SheetError, Table, cell, quoted, require_room};

const MARK: &str = "\u{feff}";

fn unreadable(error: &dyn std::fmt::Display) -> SheetError {
    SheetError::Unreadable {
        format: "CSV in UTF-8",
        problem: error.to_string(),
    }
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Row>, SheetError> {
    let text = std::str::from_utf8(bytes).map_err(|error| unreadable(&error))?;
    let text = text.strip_prefix(MARK).unwrap_or(text);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(text.as_bytes());
    let mut rows = Vec::new();
    for (at, record) in reader.records().enumerate() {
        let record = record.map_err(|error| unreadable(&error))?;
        require_room(at, record.len().saturating_sub(1))?;
        rows.push(Row {
            // The reader passes over empty lines, which are not counted.
            number: at + 1,
            cells: record.iter().map(cell).collect::<Result<_, _>>()?,
        });
    }
    Ok(rows)
}

pub(super) fn write(table: &Table) -> Result<Vec<u8>, SheetError> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .flexible(true)
        .from_writer(MARK.as_bytes().to_vec());
    let rows = std::iter::once(&table.columns).chain(table.rows.iter().map(|row| &row.cells));
    for cells in rows {
        let cells = cells.iter().map(|text| quoted(text));
        writer.write_record(cells).map_err(|error| unreadable(&error))?;
    }
    writer.into_inner().map_err(|error| unreadable(&error))
}
