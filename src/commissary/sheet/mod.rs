//! Tables as files: rows of texts under a heading, as CSV in UTF-8 or as XLSX.
//!
//! What is read is bounded before it is kept: bytes, unpacked bytes, rows, columns and characters. What is written has no cell
//! that a spreadsheet takes for a formula, and reads back as it was.

mod csv_file;
mod xlsx_file;

/// Longest file, in bytes.
pub const FILE_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Most rows below the heading.
pub const ROWS_MAX: usize = 20_000;
/// Most columns.
const COLUMNS_MAX: usize = 64;
/// Most characters of a cell.
const CELL_CHARS_MAX: usize = 4_000;
/// With which a cell would be taken for a formula, and the character that says it is none.
const FORMULA: [char; 4] = ['=', '+', '-', '@'];
const QUOTE: char = '\'';

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// Comma-separated values (RFC 4180) in UTF-8.
    Csv,
    /// Office Open XML, of which the first sheet counts.
    Xlsx,
}

/// Why a file is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SheetError {
    /// It cannot be read at all.
    #[error("the file cannot be read as {format}: {problem}")]
    Unreadable {
        /// As what.
        format: &'static str,
        /// Why not.
        problem: String,
    },
    /// More than is read.
    #[error("the file has more than {most} {what}")]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// The most that is read.
        most: usize,
    },
    /// No heading.
    #[error("the file is empty; its first row names the columns")]
    Empty,
    /// The heading names a column twice.
    #[error("the column {column} is there twice")]
    ColumnTwice {
        /// Which.
        column: String,
    },
}

/// A row, with its number in the file: the heading's is 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Its number.
    pub number: usize,
    /// Its cells; those at the end may be missing.
    pub cells: Vec<String>,
}

/// A table: a heading and what is below it, without rows in which there is nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// The columns' names, in lower case.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

impl Table {
    /// Reads a file.
    ///
    /// # Errors
    /// That it is none, or is larger than is read.
    pub fn read(format: Format, bytes: &[u8]) -> Result<Table, SheetError> {
        if bytes.len() > FILE_BYTES_MAX {
            return Err(SheetError::TooLarge {
                what: "bytes",
                most: FILE_BYTES_MAX,
            });
        }
        let rows = match format {
            Format::Csv => csv_file::read(bytes)?,
            Format::Xlsx => xlsx_file::read(bytes)?,
        };
        let is_told = |row: &Row| row.cells.iter().any(|cell| !cell.is_empty());
        let mut rows = rows.into_iter().filter(is_told);
        let heading = rows.next().ok_or(SheetError::Empty)?;
        let columns: Vec<String> = heading.cells.iter().map(|name| name.to_lowercase()).collect();
        for (at, column) in columns.iter().enumerate() {
            if columns.iter().take(at).any(|earlier| earlier == column) {
                let column = column.clone();
                return Err(SheetError::ColumnTwice { column });
            }
        }
        Ok(Table {
            columns,
            rows: rows.collect(),
        })
    }

    /// Writes the file. The same table is the same file.
    ///
    /// # Errors
    /// That it is larger than the format has room for.
    pub fn write(&self, format: Format) -> Result<Vec<u8>, SheetError> {
        match format {
            Format::Csv => csv_file::write(self),
            Format::Xlsx => xlsx_file::write(self),
        }
    }
}

/// Keeps a cell of a file, if it is not too long: without space around it, and without the sign that it is no formula.
fn cell(text: &str) -> Result<String, SheetError> {
    if text.chars().nth(CELL_CHARS_MAX).is_some() {
        return Err(SheetError::TooLarge {
            what: "characters in a cell",
            most: CELL_CHARS_MAX,
        });
    }
    let text = text.trim();
    let told = text.strip_prefix(QUOTE).filter(|rest| is_quoted(rest));
    Ok(told.unwrap_or(text).to_owned())
}

/// What is written of a cell: quoted when a spreadsheet would reckon with it.
fn quoted(text: &str) -> String {
    if is_quoted(text) {
        format!("{QUOTE}{text}")
    } else {
        text.to_owned()
    }
}

fn is_quoted(text: &str) -> bool {
    text.starts_with(FORMULA) || text.starts_with(QUOTE)
}

/// Refuses one row or column too many.
fn require_room(row: usize, column: usize) -> Result<(), SheetError> {
    let too_large = |what, most| Err(SheetError::TooLarge { what, most });
    // The heading is a row of its own.
    if row > ROWS_MAX {
        too_large("rows", ROWS_MAX)
    } else if column >= COLUMNS_MAX {
        too_large("columns", COLUMNS_MAX)
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests;
