//! A table as payment file, for banks that take no ISO 20022: columns and encoding as the bank wants them.

use encoding_rs::GBK;

use super::{
    BankChannel, BankError, PaymentOrder, PaymentReport, PaymentStatus, StatusReport, iso20022::total_of,
    xml::BYTES_MAX,
};
use crate::money::{Amount, Currency};

/// In what bytes a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// UTF-8.
    Utf8,
    /// GBK, as most banks in China expect.
    Gbk,
}

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// The line's number, from 1.
    Line,
    /// By what the bank's answers name the payment.
    EndToEndId,
    /// Whose account.
    Holder,
    /// The account's number.
    Number,
    /// The bank's code.
    BankCode,
    /// The bank's name.
    BankName,
    /// How much.
    Amount,
    /// The currency's code.
    Currency,
    /// What for.
    Purpose,
    /// The day of payment.
    ExecutionDate,
    /// The payer's account.
    DebtorNumber,
}

/// How a bank's tables look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvLayout {
    /// In what bytes.
    pub encoding: Encoding,
    /// The columns of a payment file, each with its heading. There is one of `EndToEndId` and one of `Amount`.
    pub columns: Vec<(String, Field)>,
    /// The headings of end-to-end id, status and reason in the bank's answer.
    pub status_columns: [String; 3],
    /// The bank's word for a payment that was paid.
    pub paid_word: String,
    /// The bank's word for a payment that was rejected.
    pub rejected_word: String,
}

/// A bank that takes tables.
#[derive(Debug, Clone)]
pub struct CsvChannel {
    layout: CsvLayout,
}

impl CsvChannel {
    /// A bank whose tables have a layout.
    ///
    /// # Errors
    /// A column is missing by which a file could be read back.
    pub fn try_new(layout: CsvLayout) -> Result<CsvChannel, BankError> {
        for (field, name) in [
            (Field::EndToEndId, "end_to_end_id"),
            (Field::Amount, "amount"),
            (Field::Number, "number"),
        ] {
            if layout.columns.iter().filter(|(_, column)| *column == field).count() != 1 {
                return Err(BankError::invalid(name, "must be one of the columns, once"));
            }
        }
        Ok(CsvChannel { layout })
    }

    fn encoded(&self, text: String) -> Result<Vec<u8>, BankError> {
        match self.layout.encoding {
            Encoding::Utf8 => Ok(text.into_bytes()),
            Encoding::Gbk => {
                let (bytes, _, lost) = GBK.encode(&text);
                if lost {
                    return Err(BankError::Encoding { encoding: "GBK" });
                }
                Ok(bytes.into_owned())
            }
        }
    }

    fn decoded(&self, bytes: &[u8]) -> Result<String, BankError> {
        if bytes.len() > BYTES_MAX {
            return Err(BankError::TooLarge { max: BYTES_MAX });
        }
        match self.layout.encoding {
            Encoding::Utf8 => {
                let text = std::str::from_utf8(bytes).map_err(|_| BankError::Encoding { encoding: "UTF-8" })?;
                Ok(text.strip_prefix('\u{feff}').unwrap_or(text).to_owned())
            }
            Encoding::Gbk => {
                let text = GBK.decode_without_bom_handling_and_without_replacement(bytes);
                text.map(Into::into).ok_or(BankError::Encoding { encoding: "GBK" })
            }
        }
    }

    fn heading(&self, wanted: Field) -> &str {
        let found = self.layout.columns.iter().find(|(_, field)| *field == wanted);
        found.map_or("", |(heading, _)| heading)
    }

    /// Reads a table: the cells of some columns, row by row.
    fn table<const N: usize>(&self, bytes: &[u8], headings: [&str; N]) -> Result<Vec<[String; N]>, BankError> {
        let text = self.decoded(bytes)?;
        let mut reader = ::csv::ReaderBuilder::new().from_reader(text.as_bytes());
        let unreadable = |error: ::csv::Error| BankError::invalid("the table", error.to_string());
        let found = reader.headers().map_err(unreadable)?.clone();
        let mut places = [0_usize; N];
        for (place, heading) in places.iter_mut().zip(headings) {
            let column = found.iter().position(|cell| cell.trim() == heading);
            *place = column.ok_or_else(|| BankError::Missing {
                element: format!("column {heading}"),
            })?;
        }
        let mut rows = Vec::new();
        for record in reader.records() {
            let record = record.map_err(unreadable)?;
            rows.push(places.map(|place| record.get(place).unwrap_or_default().trim().to_owned()));
        }
        Ok(rows)
    }
}

/// A cell that no spreadsheet takes for a formula: what begins like one gets an apostrophe.
pub fn escape_cell(text: &str) -> String {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) {
        format!("'{text}")
    } else {
        text.to_owned()
    }
}

impl BankChannel for CsvChannel {
    fn format(&self) -> &'static str {
        "csv"
    }

    fn extension(&self) -> &'static str {
        "csv"
    }

    fn payment_file(&self, order: &PaymentOrder) -> Result<Vec<u8>, BankError> {
        let first = order
            .payments
            .first()
            .ok_or_else(|| BankError::invalid("the table", "has no payment"))?;
        let currency = first.amount.currency();
        // All of one currency, and no overflow: what follows writes them one by one.
        total_of(order.payments.iter().map(|payment| payment.amount), currency)?;
        let mut writer = ::csv::WriterBuilder::new()
            .terminator(::csv::Terminator::CRLF)
            .from_writer(Vec::new());
        let unwritable = |error: ::csv::Error| BankError::invalid("the table", error.to_string());
        let headings = self.layout.columns.iter().map(|(heading, _)| heading);
        writer.write_record(headings).map_err(unwritable)?;
        for (line, payment) in (1_usize..).zip(&order.payments) {
            let cell = |field: &Field| match field {
                Field::Line => line.to_string(),
                Field::EndToEndId => payment.end_to_end_id.clone(),
                Field::Holder => escape_cell(&payment.creditor.holder),
                Field::Number => payment.creditor.number.clone(),
                Field::BankCode => payment.creditor.bank_code.clone(),
                Field::BankName => escape_cell(&payment.creditor.bank_name),
                Field::Amount => payment.amount.to_string(),
                Field::Currency => currency.code().to_owned(),
                Field::Purpose => escape_cell(&payment.purpose),
                Field::ExecutionDate => order.execution_date.to_string(),
                Field::DebtorNumber => order.debtor.number.clone(),
            };
            let cells = self.layout.columns.iter().map(|(_, field)| cell(field));
            writer.write_record(cells).map_err(unwritable)?;
        }
        let bytes = writer
            .into_inner()
            .map_err(|error| BankError::invalid("the table", error.to_string()))?;
        let text = String::from_utf8(bytes).map_err(|_| BankError::Encoding { encoding: "UTF-8" })?;
        self.encoded(text)
    }

    fn read_back(&self, file: &[u8], currency: Currency) -> Result<Vec<(String, Amount)>, BankError> {
        let columns = [self.heading(Field::EndToEndId), self.heading(Field::Amount)];
        let rows = self.table(file, columns)?;
        let read = |[id, amount]: [String; 2]| {
            let amount = Amount::parse(&amount, currency);
            Ok((
                id,
                amount.map_err(|error| BankError::invalid("amount", error.to_string()))?,
            ))
        };
        rows.into_iter().map(read).collect()
    }

    fn status(&self, file: &[u8], _: Currency) -> Result<StatusReport, BankError> {
        let [id, status, reason] = &self.layout.status_columns;
        let mut payments: Vec<PaymentReport> = Vec::new();
        for [end_to_end_id, word, reason] in self.table(file, [id, status, reason])? {
            if end_to_end_id.is_empty() || payments.iter().any(|one| one.end_to_end_id == end_to_end_id) {
                return Err(BankError::invalid(id, "is empty or told twice"));
            }
            payments.push(PaymentReport {
                end_to_end_id,
                status: if word == self.layout.paid_word {
                    PaymentStatus::Paid
                } else if word == self.layout.rejected_word {
                    PaymentStatus::Rejected
                } else {
                    PaymentStatus::Pending
                },
                amount: None,
                reference: String::new(),
                reason: reason.chars().filter(|char| !char.is_control()).take(200).collect(),
            });
        }
        if payments.is_empty() {
            return Err(BankError::invalid("the table", "has no payment"));
        }
        Ok(StatusReport {
            message_id: None,
            told_on: None,
            group: None,
            payments,
        })
    }
}

#[cfg(test)]
mod tests {
    use time::macros::{date, datetime};

    use super::*;
    use crate::bank::{Party, Payment};

    fn channel(encoding: Encoding) -> CsvChannel {
        let column = |(heading, field): &(&str, Field)| ((*heading).to_owned(), *field);
        let columns = [
            ("序号", Field::Line),
            ("业务编号", Field::EndToEndId),
            ("收款户名", Field::Holder),
            ("收款账号", Field::Number),
            ("金额", Field::Amount),
        ];
        let layout = CsvLayout {
            encoding,
            columns: columns.iter().map(column).collect(),
            status_columns: ["业务编号", "状态", "原因"].map(ToOwned::to_owned),
            paid_word: "成功".into(),
            rejected_word: "失败".into(),
        };
        CsvChannel::try_new(layout).unwrap()
    }

    fn order(holder: &str) -> PaymentOrder {
        let party = |number: &str| Party {
            holder: holder.into(),
            number: number.into(),
            bank_code: String::new(),
            bank_name: String::new(),
        };
        PaymentOrder {
            message_id: "1-F1".into(),
            created_at: datetime!(2031-05-07 02:00 UTC),
            execution_date: date!(2031 - 05 - 07),
            debtor: party("1"),
            payments: vec![Payment {
                end_to_end_id: "1-S42".into(),
                amount: cny("12.50"),
                creditor: party("6222021001116245702"),
                purpose: String::new(),
            }],
        }
    }

    fn cny(text: &str) -> Amount {
        Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap()
    }

    #[test]
    fn a_table_is_written_as_the_bank_wants_it_and_read_back() {
        let currency = Currency::parse("CNY").unwrap();
        let expected = "序号,业务编号,收款户名,收款账号,金额\r\n1,1-S42,\"华丰, 食品\",6222021001116245702,12.50\r\n";
        for encoding in [Encoding::Utf8, Encoding::Gbk] {
            let channel = channel(encoding);
            let file = channel.payment_file(&order("华丰, 食品")).unwrap();
            assert_eq!(channel.decoded(&file).unwrap(), expected);
            assert_eq!(
                channel.read_back(&file, currency).unwrap(),
                [("1-S42".to_owned(), cny("12.50"))]
            );
        }
        let formula = channel(Encoding::Utf8).payment_file(&order("=cmd()")).unwrap();
        assert!(String::from_utf8(formula).unwrap().contains(",'=cmd(),"));
        // Nothing is written otherwise than it is.
        assert!(channel(Encoding::Gbk).payment_file(&order("🦀")).is_err());
    }

    #[test]
    fn the_answer_is_read_by_its_headings() {
        let channel = channel(Encoding::Utf8);
        let currency = Currency::parse("CNY").unwrap();
        let read = |text: &str| channel.status(text.as_bytes(), currency);
        let found = read("状态,原因,业务编号\n成功,,1-S1\n失败,账户已销户,1-S2\n处理中,,1-S3\n").unwrap();
        let statuses: Vec<_> = found.payments.iter().map(|one| one.status).collect();
        use PaymentStatus::{Paid, Pending, Rejected};
        assert_eq!(statuses, [Paid, Rejected, Pending]);
        for bad in [
            "",
            "状态,原因\n成功,\n",
            "状态,原因,业务编号\n",
            "状态,原因,业务编号\n成功,\n",
            "状态,原因,业务编号\n成功,,1\n失败,,1\n",
        ] {
            assert!(read(bad).is_err(), "{bad}");
        }
        assert!(channel.status(b"\xff", currency).is_err());
    }

    #[test]
    fn cells_are_no_formulas() {
        for (text, cell) in [
            ("=1", "'=1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@a", "'@a"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(escape_cell(text), cell);
        }
    }
}
