//! A statement as CSV: UTF-8, one table with a column that says what each row is.

use super::{Statement, StatementKey, words};
use crate::{bank::escape_cell, ledger::LedgerError};

/// What stands over the columns.
const HEAD: [&str; 11] = [
    "row",
    "date",
    "recorded_at",
    "transaction",
    "kind",
    "kind_zh",
    "account",
    "in",
    "out",
    "balance",
    "note",
];

fn failed(error: &impl std::fmt::Display) -> LedgerError {
    tracing::error!(%error, "a statement cannot be written");
    LedgerError::Internal
}

/// Writes a statement.
pub(super) fn write(statement: &Statement, key: &StatementKey) -> Result<String, LedgerError> {
    let mut out = csv::Writer::from_writer(Vec::new());
    let mut row = |cells: [String; HEAD.len()]| out.write_record(cells).map_err(|error| failed(&error));
    row(HEAD.map(str::to_owned))?;
    let about = |name: &str, note: &str| {
        let mut cells: [String; HEAD.len()] = Default::default();
        name.clone_into(&mut cells[0]);
        cells[10] = escape_cell(note);
        cells
    };
    let person = &statement.detainee;
    row(about("center", statement.center.id.as_str()))?;
    row(about("detainee", person.id.as_str()))?;
    row(about("name", &person.name))?;
    row(about("name_zh", &person.name_zh))?;
    row(about("state", person.state.name()))?;
    row(about("currency", statement.center.currency.code()))?;
    row(about("admitted_at", &person.admitted_at.to_string()))?;
    row(about("written_at", &statement.written_at.to_string()))?;
    let mut opening = about("opening", "");
    opening[9] = statement.opening.to_string();
    row(opening)?;
    for line in &statement.movements {
        let (kind, kind_zh) = words::of(&line.kind);
        row([
            "movement".to_owned(),
            line.effective_date.to_string(),
            line.recorded_at.to_string(),
            line.seq.to_string(),
            kind.to_owned(),
            kind_zh.to_owned(),
            line.account.account_title().to_owned(),
            line.credited.to_string(),
            line.debited.to_string(),
            line.balance.to_string(),
            String::new(),
        ])?;
    }
    for (kind, total) in &statement.totals {
        let (kind, kind_zh) = words::of(kind);
        let mut cells = about("total", &total.count.to_string());
        kind.clone_into(&mut cells[4]);
        kind_zh.clone_into(&mut cells[5]);
        cells[7] = total.credited.to_string();
        cells[8] = total.debited.to_string();
        row(cells)?;
    }
    let mut closing = about("closing", "");
    closing[9] = statement.closing.to_string();
    row(closing)?;
    let (seq, leaf) = &statement.as_of;
    row(about("journal_through", &seq.to_string()))?;
    row(about("leaf_hash", leaf))?;
    row(about("public_key", &key.public()))?;
    let bytes = out.into_inner().map_err(|error| failed(&error))?;
    String::from_utf8(bytes).map_err(|error| failed(&error))
}
