//! The banks that the configuration tells.

use std::sync::Arc;

use anyhow::Context as _;
use secrecy::ExposeSecret as _;

use crate::{
    bank::{BankChannel, Banks, CenterBank, CsvChannel, CsvLayout, Encoding, Field, Iso20022Channel, Pain001, Party},
    config::{Bank, BankCsv, BankFormat, Config, CsvEncoding, CsvField},
};

/// Each center's bank.
///
/// # Errors
/// A table's layout by which its files could not be read back.
pub fn open(config: &Config) -> anyhow::Result<Banks> {
    let mut banks = Vec::with_capacity(config.banks.len());
    for (center, bank) in &config.banks {
        let channel = channel(bank).with_context(|| format!("banks.{center}.csv"))?;
        let debtor = Party {
            holder: bank.account_name.clone(),
            number: bank.account_number.expose_secret().to_owned(),
            bank_code: bank.bank_code.clone(),
            bank_name: String::new(),
        };
        banks.push((center.clone(), CenterBank { debtor, channel }));
    }
    Ok(Banks::new(banks))
}

fn channel(bank: &Bank) -> anyhow::Result<Arc<dyn BankChannel>> {
    let iso = |version| Arc::new(Iso20022Channel::new(version, &bank.clearing_system));
    Ok(match (bank.format, &bank.csv) {
        (BankFormat::Pain00103, _) => iso(Pain001::V03),
        (BankFormat::Pain00109, _) => iso(Pain001::V09),
        (BankFormat::Csv, csv) => {
            let csv = csv.as_ref().context("is missing")?;
            Arc::new(CsvChannel::try_new(layout(csv))?)
        }
    })
}

fn layout(csv: &BankCsv) -> CsvLayout {
    let column = |(heading, field): &(String, CsvField)| (heading.clone(), field_of(*field));
    CsvLayout {
        encoding: match csv.encoding {
            CsvEncoding::Utf8 => Encoding::Utf8,
            CsvEncoding::Gbk => Encoding::Gbk,
        },
        columns: csv.columns.iter().map(column).collect(),
        status_columns: csv.status_columns.clone(),
        paid_word: csv.paid_word.clone(),
        rejected_word: csv.rejected_word.clone(),
    }
}

const fn field_of(field: CsvField) -> Field {
    match field {
        CsvField::Line => Field::Line,
        CsvField::EndToEndId => Field::EndToEndId,
        CsvField::Holder => Field::Holder,
        CsvField::Number => Field::Number,
        CsvField::BankCode => Field::BankCode,
        CsvField::BankName => Field::BankName,
        CsvField::Amount => Field::Amount,
        CsvField::Currency => Field::Currency,
        CsvField::Purpose => Field::Purpose,
        CsvField::ExecutionDate => Field::ExecutionDate,
        CsvField::DebtorNumber => Field::DebtorNumber,
    }
}
