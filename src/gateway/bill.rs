//! The webhook gateway's daily bill: CSV with the columns of [`COLUMNS`], UTF-8, one row a payment or refund.
//!
//! A bill is evidence: nothing in it is guessed. One unreadable row refuses the whole bill and names the row, because
//! a half-read bill shows breaks that are not there. Rows that repeat or contradict ours are for reconciliation.

use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::money::{Amount, Currency};

/// The header line.
pub const COLUMNS: [&str; 8] = [
    "kind",
    "order_number",
    "refund_number",
    "gateway_id",
    "amount",
    "fee",
    "currency",
    "time",
];

/// More rows than a gateway account has in a day; a longer bill is refused.
const ROWS_MAX: usize = 1_000_000;

/// What a row is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BillKind {
    /// Money from a payer.
    Payment,
    /// Money back to a payer.
    Refund,
}

/// One row of a bill.
#[derive(Debug, Clone, PartialEq)]
pub struct BillRow {
    /// Its place in the bill; 1 is the first row after the header.
    pub row: usize,
    pub kind: BillKind,
    /// Our order number, as the gateway has it.
    pub order_number: String,
    /// Our refund number; present for a refund only.
    pub refund_number: Option<String>,
    /// The gateway's number of the payment or refund.
    pub gateway_id: String,
    /// Gross, positive for both kinds.
    pub amount: Amount,
    /// What the gateway kept.
    pub fee: Amount,
    pub time: OffsetDateTime,
}

impl BillRow {
    /// Our number of what the row is about: the refund's of a refund, else the order's.
    pub fn number(&self) -> &str {
        self.refund_number.as_deref().unwrap_or(&self.order_number)
    }

    /// As it stands in the file.
    pub fn to_record(&self) -> BillRecord {
        BillRecord {
            kind: self.kind,
            order_number: self.order_number.clone(),
            refund_number: self.refund_number.clone().unwrap_or_default(),
            gateway_id: self.gateway_id.clone(),
            amount: self.amount.to_string(),
            fee: self.fee.to_string(),
            currency: self.amount.currency().code().to_owned(),
            time: self.time.format(&Rfc3339).unwrap_or_else(|_| self.time.to_string()),
        }
    }
}

/// Why a bill cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BillError {
    /// The first line is not the expected header.
    #[error("the bill's header is {found:?}, not {expected:?}")]
    Header { found: String, expected: String },
    /// A row cannot be read. `row` 1 is the first after the header.
    #[error("row {row} of the bill: {column}: {reason}")]
    Row {
        row: usize,
        column: &'static str,
        reason: String,
    },
    /// The file as a whole is not a bill, or contradicts itself.
    #[error("the bill: {reason}")]
    File { reason: String },
    /// There are more rows than a day can have.
    #[error("the bill has more than {rows_max} rows")]
    TooLong { rows_max: usize },
}

/// A row as text, as it stands in the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BillRecord {
    pub kind: BillKind,
    pub order_number: String,
    #[serde(default)]
    pub refund_number: String,
    pub gateway_id: String,
    pub amount: String,
    pub fee: String,
    pub currency: String,
    /// RFC 3339.
    pub time: String,
}

/// Reads a bill.
pub fn parse(bill: &[u8]) -> Result<Vec<BillRow>, BillError> {
    // Spreadsheets put a byte order mark in front when they save a file.
    let bill = bill.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bill);
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .from_reader(bill);
    let mut records = reader.byte_records();
    let header = match records.next() {
        Some(Ok(header)) => header,
        Some(Err(_)) | None => csv::ByteRecord::new(),
    };
    if !header.iter().eq(COLUMNS.iter().map(|column| column.as_bytes())) {
        let found: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
        return Err(BillError::Header {
            found: found.join(","),
            expected: COLUMNS.join(","),
        });
    }
    let mut rows = Vec::new();
    for (index, record) in records.enumerate() {
        if index == ROWS_MAX {
            return Err(BillError::TooLong { rows_max: ROWS_MAX });
        }
        let row = index + 1;
        let record = record.map_err(|error| refuse(row, "row", error))?;
        let record = csv::StringRecord::from_byte_record(record).map_err(|_| refuse(row, "row", "not UTF-8"))?;
        if record.len() != COLUMNS.len() {
            let reason = format!("{} columns instead of {}", record.len(), COLUMNS.len());
            return Err(refuse(row, "row", reason));
        }
        rows.push(read_row(row, &record)?);
    }
    Ok(rows)
}

/// Reads one row of text, for example one that is to be planted.
pub fn read_record(row: usize, record: &BillRecord) -> Result<BillRow, BillError> {
    let currency = Currency::parse(&record.currency).map_err(|error| refuse(row, "currency", error))?;
    let amount = |column, text: &str| Amount::parse(text, currency).map_err(|error| refuse(row, column, error));
    let refund_number = match (record.kind, record.refund_number.as_str()) {
        (BillKind::Payment, "") => None,
        (BillKind::Payment, _) => return Err(refuse(row, "refund_number", "a payment has none")),
        (BillKind::Refund, "") => return Err(refuse(row, "refund_number", "missing")),
        (BillKind::Refund, number) => Some(number.to_owned()),
    };
    for (column, value) in [
        ("order_number", &record.order_number),
        ("gateway_id", &record.gateway_id),
    ] {
        if value.is_empty() {
            return Err(refuse(row, column, "missing"));
        }
    }
    Ok(BillRow {
        row,
        kind: record.kind,
        order_number: record.order_number.clone(),
        refund_number,
        gateway_id: record.gateway_id.clone(),
        amount: amount("amount", &record.amount)?,
        fee: amount("fee", &record.fee)?,
        time: OffsetDateTime::parse(&record.time, &Rfc3339)
            .map_err(|_| refuse(row, "time", format!("{:?} is not RFC 3339", record.time)))?,
    })
}

fn read_row(row: usize, fields: &csv::StringRecord) -> Result<BillRow, BillError> {
    let field = |index: usize| fields.get(index).unwrap_or_default().to_owned();
    let kind = match fields.get(0) {
        Some("payment") => BillKind::Payment,
        Some("refund") => BillKind::Refund,
        other => {
            return Err(refuse(
                row,
                "kind",
                format!("{:?} is neither payment nor refund", other.unwrap_or("")),
            ));
        }
    };
    let record = BillRecord {
        kind,
        order_number: field(1),
        refund_number: field(2),
        gateway_id: field(3),
        amount: field(4),
        fee: field(5),
        currency: field(6),
        time: field(7),
    };
    read_record(row, &record)
}

/// Writes a bill, rows in the order given.
pub fn write(rows: &[BillRow]) -> Result<Vec<u8>, csv::Error> {
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(COLUMNS)?;
    for row in rows {
        let kind = match row.kind {
            BillKind::Payment => "payment",
            BillKind::Refund => "refund",
        };
        let record = row.to_record();
        writer.write_record([
            kind,
            &record.order_number,
            &record.refund_number,
            &record.gateway_id,
            &record.amount,
            &record.fee,
            &record.currency,
            &record.time,
        ])?;
    }
    writer
        .into_inner()
        .map_err(|error| csv::Error::from(std::io::Error::other(error.to_string())))
}

fn refuse(row: usize, column: &'static str, reason: impl ToString) -> BillError {
    BillError::Row {
        row,
        column,
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "kind,order_number,refund_number,gateway_id,amount,fee,currency,time\n";
    const PAID: &str = "payment,R1,,pay_1,100.00,0.60,CNY,2025-07-31T10:00:00+08:00\n";
    const BACK: &str = "refund,R1,F1,ref_1,40.00,0.00,CNY,2025-07-31T11:00:00+08:00\n";

    fn row_error(row: &str) -> (usize, &'static str) {
        match parse(format!("{HEAD}{PAID}{row}").as_bytes()) {
            Err(BillError::Row { row, column, .. }) => (row, column),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn reads_what_it_writes() {
        let text = format!("{HEAD}{PAID}{BACK}");
        let rows = parse(text.as_bytes()).unwrap();
        assert_eq!(
            (rows.len(), rows[1].row, rows[1].refund_number.as_deref()),
            (2, 2, Some("F1"))
        );
        assert_eq!(write(&rows).unwrap(), text.as_bytes());
        let windows = format!("\u{feff}{}", text.replace('\n', "\r\n"));
        assert_eq!(parse(windows.as_bytes()).unwrap(), rows);
        assert_eq!(parse(HEAD.as_bytes()).unwrap(), vec![]);
    }

    #[test]
    fn names_the_row_and_column_that_is_wrong() {
        assert_eq!(row_error(&PAID.replace("payment", "charge")), (2, "kind"));
        assert_eq!(row_error(&PAID.replace("100.00", "100.001")), (2, "amount"));
        assert_eq!(row_error(&PAID.replace("0.60", "x")), (2, "fee"));
        assert_eq!(row_error(&PAID.replace("CNY", "XXY")), (2, "currency"));
        assert_eq!(row_error(&PAID.replace("+08:00", "")), (2, "time"));
        assert_eq!(row_error(&PAID.replace("R1", "")), (2, "order_number"));
        assert_eq!(row_error(&BACK.replace("F1", "")), (2, "refund_number"));
        assert_eq!(row_error(&PAID.replace("R1,,", "R1,F1,")), (2, "refund_number"));
        assert_eq!(row_error("payment,R1\n"), (2, "row"));
    }

    #[test]
    fn refuses_another_header() {
        for bill in ["", "a,b\n", "<html>", &HEAD.replace("fee,", "")] {
            assert!(
                matches!(parse(bill.as_bytes()), Err(BillError::Header { .. })),
                "{bill:?}"
            );
        }
        assert!(matches!(
            parse(
                &[
                    HEAD.as_bytes(),
                    &PAID.replace("R1", "R\u{1}").into_bytes(),
                    b"\xff,,,,,,,\n"
                ]
                .concat()
            ),
            Err(BillError::Row {
                row: 2,
                column: "row",
                ..
            })
        ));
    }
}
