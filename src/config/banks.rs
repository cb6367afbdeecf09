//! The tables `[banks.CENTER]`: from which account a center pays, and how its bank exchanges files.

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::ConfigError;

/// The most characters of an account's number and of a bank's code.
const NUMBER_LEN_MAX: usize = 34;
/// The most characters of a clearing system's code.
const SYSTEM_LEN_MAX: usize = 5;

/// A table `[banks.CENTER]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bank {
    /// In which form it takes payments.
    pub format: BankFormat,
    /// Whose the center's account is, as the bank writes it.
    pub account_name: String,
    /// The account's number.
    pub account_number: SecretString,
    /// The bank's code in the clearing system.
    pub bank_code: String,
    /// The clearing system's code.
    #[serde(default = "cnaps")]
    pub clearing_system: String,
    /// How its tables look; with `format = "csv"`, and only then.
    pub csv: Option<BankCsv>,
}

fn cnaps() -> String {
    "CNAPS".to_owned()
}

/// The values of the key `format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum BankFormat {
    /// ISO 20022, version 3.
    #[serde(rename = "pain.001.001.03")]
    Pain00103,
    /// ISO 20022, version 9.
    #[serde(rename = "pain.001.001.09")]
    Pain00109,
    /// A table.
    #[serde(rename = "csv")]
    Csv,
}

/// A table `[banks.CENTER.csv]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BankCsv {
    /// In what bytes.
    #[serde(default)]
    pub encoding: CsvEncoding,
    /// The columns in order: heading and what stands in it.
    pub columns: Vec<(String, CsvField)>,
    /// The headings of end-to-end id, status and reason in the bank's answers.
    pub status_columns: [String; 3],
    /// The bank's word for a payment that was paid.
    pub paid_word: String,
    /// The bank's word for a payment that was rejected.
    pub rejected_word: String,
}

/// The values of the key `encoding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum CsvEncoding {
    /// UTF-8.
    #[default]
    #[serde(rename = "UTF-8")]
    Utf8,
    /// GBK.
    #[serde(rename = "GBK")]
    Gbk,
}

/// What stands in a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CsvField {
    /// The line's number.
    Line,
    /// By what answers name the payment.
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

/// What can be told of a bank without a center.
pub(super) fn check(center: &str, bank: &Bank) -> Result<(), ConfigError> {
    let invalid = |key: &str, problem: &str| {
        Err(ConfigError::Invalid {
            key: format!("banks.{center}.{key}"),
            problem: problem.to_owned(),
        })
    };
    let is_plain = |text: &str, max: usize| {
        !text.is_empty() && text.len() <= max && text.bytes().all(|byte| byte.is_ascii_alphanumeric())
    };
    if bank.account_name.trim().is_empty() || bank.account_name.chars().any(char::is_control) {
        return invalid("account_name", "must be one line of text");
    }
    // The value is not repeated.
    if !is_plain(bank.account_number.expose_secret(), NUMBER_LEN_MAX) {
        return invalid("account_number", "must be at most 34 letters and digits");
    }
    if !is_plain(&bank.bank_code, NUMBER_LEN_MAX) {
        return invalid("bank_code", "must be at most 34 letters and digits");
    }
    if !is_plain(&bank.clearing_system, SYSTEM_LEN_MAX) {
        return invalid("clearing_system", "must be at most 5 letters and digits");
    }
    if bank.csv.is_some() != (bank.format == BankFormat::Csv) {
        return invalid("csv", "belongs to format = \"csv\": give both or neither");
    }
    Ok(())
}
