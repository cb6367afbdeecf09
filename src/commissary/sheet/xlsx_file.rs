//! XLSX. A small file may unpack to anything, and a sheet with two cells may say that it has a million rows: the parts are
//! unpacked for their length first, and cells are read one by one.

use std::{
    collections::BTreeMap,
    io::{Cursor, Read as _, copy, sink},
};

use calamine::{DataRef, Reader as _, Xlsx};
use rust_xlsxwriter::{DocProperties, ExcelDateTime, Workbook};
use zip::ZipArchive;

use super::{Row, SheetError, Table, cell, quoted, require_room};

/// Most parts of a file.
const PARTS_MAX: usize = 256;
/// Most bytes of all parts, unpacked.
const UNPACKED_BYTES_MAX: usize = 64 * 1024 * 1024;

fn unreadable(error: &dyn std::fmt::Display) -> SheetError {
    SheetError::Unreadable {
        format: "XLSX",
        problem: error.to_string(),
    }
}

/// Unpacks every part into nothing, whatever the file says of their lengths.
fn require_small(bytes: &[u8]) -> Result<(), SheetError> {
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| unreadable(&error))?;
    if archive.len() > PARTS_MAX {
        return Err(SheetError::TooLarge {
            what: "parts",
            most: PARTS_MAX,
        });
    }
    let too_large = || SheetError::TooLarge {
        what: "bytes unpacked",
        most: UNPACKED_BYTES_MAX,
    };
    let mut left = u64::try_from(UNPACKED_BYTES_MAX).map_err(|_| too_large())?;
    for at in 0..archive.len() {
        let part = archive.by_index(at).map_err(|error| unreadable(&error))?;
        let length = copy(&mut part.take(left + 1), &mut sink()).map_err(|error| unreadable(&error))?;
        left = left.checked_sub(length).ok_or_else(too_large)?;
    }
    Ok(())
}

pub(super) fn read(bytes: &[u8]) -> Result<Vec<Row>, SheetError> {
    require_small(bytes)?;
    let mut workbook: Xlsx<_> = Xlsx::new(Cursor::new(bytes)).map_err(|error| unreadable(&error))?;
    let sheet = workbook.sheet_names().first().cloned().ok_or(SheetError::Empty)?;
    let mut cells = workbook
        .worksheet_cells_reader(&sheet)
        .map_err(|error| unreadable(&error))?;
    let mut rows: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    while let Some(found) = cells.next_cell().map_err(|error| unreadable(&error))? {
        let text = match found.get_value() {
            DataRef::Empty => continue,
            DataRef::String(text) | DataRef::DateTimeIso(text) | DataRef::DurationIso(text) => cell(text)?,
            DataRef::SharedString(text) => cell(text)?,
            // The shortest number that is read as the same.
            DataRef::Float(number) => number.to_string(),
            DataRef::Int(number) => number.to_string(),
            DataRef::Bool(is) => if *is { "yes" } else { "no" }.to_owned(),
            DataRef::DateTime(time) => time.to_string(),
            DataRef::Error(error) => error.to_string(),
        };
        let (row, column) = found.get_position();
        let row = usize::try_from(row).unwrap_or(usize::MAX);
        let column = usize::try_from(column).unwrap_or(usize::MAX);
        require_room(row, column)?;
        let kept = rows.entry(row).or_default();
        if kept.len() <= column {
            kept.resize(column + 1, String::new());
        }
        if let Some(kept) = kept.get_mut(column) {
            *kept = text;
        }
    }
    let row = |(at, cells)| Row { number: at + 1, cells };
    Ok(rows.into_iter().map(row).collect())
}

pub(super) fn write(table: &Table) -> Result<Vec<u8>, SheetError> {
    let mut workbook = Workbook::new();
    // The same table is the same file: when it was written does not stand in it.
    let at = ExcelDateTime::from_ymd(2000, 1, 1).map_err(|error| unreadable(&error))?;
    workbook.set_properties(&DocProperties::new().set_creation_datetime(&at));
    let sheet = workbook.add_worksheet();
    let rows = std::iter::once(&table.columns).chain(table.rows.iter().map(|row| &row.cells));
    for (row, cells) in (0..).zip(rows) {
        for (column, text) in (0..).zip(cells) {
            // Prices and barcodes, too, are texts: numbers of a spreadsheet are not exact, and have no leading zeros.
            sheet
                .write_string(row, column, quoted(text))
                .map_err(|error| unreadable(&error))?;
        }
    }
    workbook.save_to_buffer().map_err(|error| unreadable(&error))
}
