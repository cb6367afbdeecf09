//! The vendor's statement: every line of a settlement and its sums, as CSV or as a workbook.
//!
//! Lines are read page by page; a CSV of a million lines never stands in memory, and a workbook keeps its rows in a file.

use futures::{Stream, stream};
use rust_xlsxwriter::{Workbook, XlsxError};
use tokio::sync::mpsc;

use super::{Settlement, SettlementLine, SettlementRefusal, Settlements};
use crate::{
    bank::escape_cell,
    ids::Seq,
    ledger::{Center, LedgerError, record, statement::Position},
    proto::{SettlementFacts, journal_record::Facts},
};

/// How many lines are read at once.
const PAGE: i64 = 2000;
/// The most lines of a workbook, which has at most 1,048,576 rows.
const XLSX_LINES_MAX: i32 = 1_048_000;
/// Pages that wait for the workbook's writer.
const PAGES_WAITING_MAX: usize = 2;
/// What stands over the columns.
const HEAD: [&str; 6] = ["date", "kind", "transaction", "leg", "sold", "taken back"];

/// A row of cells.
type Row = [String; 6];

fn line_row(line: &SettlementLine) -> Row {
    let (sold, back) = if line.amount.is_negative() {
        (String::new(), line.amount.abs().to_string())
    } else {
        (line.amount.to_string(), String::new())
    };
    let kind = record::kind_name(line.kind).to_owned();
    let (seq, leg) = (line.position.seq.to_string(), line.position.leg.to_string());
    [line.effective_date.to_string(), kind, seq, leg, sold, back].map(|cell| escape_cell(&cell))
}

/// The sums under the lines.
fn sum_rows(facts: &SettlementFacts) -> Vec<Row> {
    let row = |what: &str, sold: &str, back: &str| {
        let cells = ["", what, "", "", sold, back];
        cells.map(escape_cell)
    };
    let kept = match (facts.commission.strip_prefix('-'), facts.commission.as_str()) {
        (Some(given_back), _) => row("COMMISSION", given_back, ""),
        (None, "") => row("COMMISSION", "", "0"),
        (None, kept) => row("COMMISSION", "", kept),
    };
    vec![
        row("SUM", &facts.credited, &facts.returned),
        kept,
        row("PAID", &facts.total, ""),
    ]
}

fn facts_of(settlement: &Settlement) -> Result<&SettlementFacts, LedgerError> {
    match &settlement.closed.facts {
        Some(Facts::Settlement(facts)) => Ok(facts),
        _ => Err(LedgerError::Internal),
    }
}

/// Where a stream of rows is.
enum Place {
    Head,
    After(Option<Position>),
    End,
}

impl Settlements {
    /// The statement as CSV in UTF-8 with a byte order mark, in parts.
    ///
    /// Errors: NOT_FOUND.
    pub async fn export_csv(
        &self,
        center: &Center,
        settlement: Seq,
    ) -> Result<impl Stream<Item = Result<Vec<u8>, LedgerError>> + Send + 'static, LedgerError> {
        let found = self.get(center, settlement).await?;
        let facts = facts_of(&found)?.clone();
        let (all, center) = (self.clone(), center.clone());
        Ok(stream::try_unfold(Place::Head, move |place| {
            let (all, center, facts) = (all.clone(), center.clone(), facts.clone());
            async move {
                match place {
                    Place::Head => {
                        let mut bytes = "\u{feff}".as_bytes().to_vec();
                        bytes.extend(csv_of([HEAD.map(ToOwned::to_owned)])?);
                        Ok(Some((bytes, Place::After(None))))
                    }
                    Place::After(after) => {
                        let lines = all.lines(&center, settlement, after, PAGE).await?;
                        match lines.last() {
                            Some(last) => {
                                let next = Place::After(Some(last.position));
                                Ok(Some((csv_of(lines.iter().map(line_row))?, next)))
                            }
                            None => Ok(Some((csv_of(sum_rows(&facts))?, Place::End))),
                        }
                    }
                    Place::End => Ok(None),
                }
            }
        }))
    }

    /// The statement as a workbook.
    ///
    /// Errors: NOT_FOUND, INVALID_FIELD when it has more lines than a workbook has rows.
    pub async fn export_xlsx(&self, center: &Center, settlement: Seq) -> Result<Vec<u8>, LedgerError> {
        let found = self.get(center, settlement).await?;
        let facts = facts_of(&found)?;
        if facts.line_count > XLSX_LINES_MAX {
            return Err(SettlementRefusal::TooManyRows {
                lines: facts.line_count,
            }
            .into());
        }
        let (rows, read) = mpsc::channel(PAGES_WAITING_MAX);
        let name = format!("{} {}", facts.vendor, facts.through_date);
        let written = tokio::task::spawn_blocking(move || write(&name, read));
        let mut after = None;
        loop {
            let lines = self.lines(center, settlement, after, PAGE).await?;
            let page: Vec<Row> = match lines.last() {
                Some(last) => {
                    after = Some(last.position);
                    lines.iter().map(line_row).collect()
                }
                None => sum_rows(facts),
            };
            // Whoever writes has failed, and tells why below.
            if rows.send(page).await.is_err() || lines.is_empty() {
                break;
            }
        }
        drop(rows);
        let failed = |error: &dyn std::fmt::Display| {
            tracing::error!(%error, "a statement cannot be written");
            LedgerError::Internal
        };
        let written = written.await.map_err(|error| failed(&error))?;
        written.map_err(|error| failed(&error))
    }
}

fn csv_of(rows: impl IntoIterator<Item = Row>) -> Result<Vec<u8>, LedgerError> {
    let mut writer = csv::WriterBuilder::new()
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for row in rows {
        writer.write_record(row).map_err(|_| LedgerError::Internal)?;
    }
    writer.into_inner().map_err(|_| LedgerError::Internal)
}

/// Writes a workbook of one sheet. Every cell is a text: what a spreadsheet reckons with it must not round it.
fn write(name: &str, mut pages: mpsc::Receiver<Vec<Row>>) -> Result<Vec<u8>, XlsxError> {
    /// The most characters of a sheet's name.
    const NAME_CHARS_MAX: usize = 31;
    let mut book = Workbook::new();
    let sheet = book.add_worksheet_with_constant_memory()?;
    sheet.set_name(name.chars().take(NAME_CHARS_MAX).collect::<String>())?;
    for (column, title) in (0_u16..).zip(HEAD) {
        sheet.write_string(0, column, title)?;
    }
    let mut next = 1_u32;
    while let Some(rows) = pages.blocking_recv() {
        for row in rows {
            for (column, cell) in (0_u16..).zip(row) {
                sheet.write_string(next, column, cell)?;
            }
            next += 1;
        }
    }
    book.save_to_buffer()
}
