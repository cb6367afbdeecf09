//! `custody bank-simulator`: a bank that takes one payment file and answers it.

use std::{fs, io::Write as _, path::PathBuf};

use anyhow::Context as _;
use custody_ledger::{
    bank::simulator::{Rules, take},
    money::{Amount, Currency},
};

use super::ClockFlags;

/// What the bank is told.
#[derive(clap::Args)]
pub struct BankSimulatorFlags {
    /// The payment file, pain.001 of version 03 or 09.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where `status.xml` (pain.002) and `statement.xml` (camt.053) are written.
    #[arg(long, value_name = "DIR", default_value = ".")]
    out: PathBuf,
    /// Reject payments to accounts whose number ends so.
    #[arg(long, value_name = "DIGITS", default_value = "")]
    reject_ending: String,
    /// The currency of its accounts.
    #[arg(long, value_name = "CODE", default_value = "CNY")]
    currency: String,
    /// What the paying account has before.
    #[arg(long, value_name = "AMOUNT", default_value = "1000000.00")]
    opening: String,
    #[command(flatten)]
    clock: ClockFlags,
}

/// Takes the file and answers.
///
/// # Errors
/// The file cannot be read, does not add up, or costs more than the account has; an answer cannot be written.
pub fn run(flags: &BankSimulatorFlags) -> anyhow::Result<()> {
    let file = fs::read(&flags.file).with_context(|| flags.file.display().to_string())?;
    let currency = Currency::parse(&flags.currency)?;
    let rules = Rules {
        currency,
        reject_ending: flags.reject_ending.clone(),
        opening: Amount::parse(&flags.opening, currency).context("--opening")?,
        now: flags.clock.clock().now(),
    };
    let answers = take(&file, &rules).with_context(|| flags.file.display().to_string())?;
    for (name, content) in [("status.xml", &answers.status), ("statement.xml", &answers.statement)] {
        let path = flags.out.join(name);
        fs::write(&path, content).with_context(|| path.display().to_string())?;
    }
    writeln!(
        std::io::stdout().lock(),
        "{} paid, {} rejected",
        answers.paid,
        answers.rejected
    )?;
    Ok(())
}
