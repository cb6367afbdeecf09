//! The command that makes a payment file.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt as _};
use sha2::{Digest as _, Sha256};
use time::{Date, Duration};

use super::{
    PaymentRefusal as R,
    entity::{end_to_end_id, message_id},
    store,
};
use crate::{
    approval,
    bank::{CenterBank, PAYMENTS_MAX, Party, Payment, PaymentOrder},
    commissary,
    contract::{self, VendorAccount},
    ids::VendorId,
    ledger::{Center, Declined, Draft, JournalTx, RareCommand, Request},
    money::Amount,
    proto::{PaymentFacts, PaymentFileFacts, TransactionKind, journal_record::Facts},
    settlement::{Row, payouts},
};

/// What was allowed goes into a file. It is written by the transaction that records it, which holds the journal's head: two
/// processes at once make one file, and what a power cut leaves is all of it or nothing.
#[derive(Debug)]
pub(super) struct MakeFile {
    /// What identifies it.
    pub request: Request,
    /// The center's bank, if it is known.
    pub bank: Option<CenterBank>,
    /// When the bank is to pay, if not today.
    pub execution_date: Option<Date>,
}

/// How far ahead a file can be paid: what waits longer is put into a later file.
const AHEAD_MAX: Duration = Duration::days(30);

/// One payment, with what the ledger knows of it.
struct Payout {
    row: Row,
    account: VendorAccount,
    payment: Payment,
}

impl MakeFile {
    async fn make(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let bank = self.bank.as_ref().ok_or(R::NotConfigured)?;
        let date = self.execution_date.unwrap_or(moment.effective_date);
        if date < moment.effective_date {
            return Err(R::DateOver { date }.into());
        }
        if date - moment.effective_date > AHEAD_MAX {
            return Err(R::DateTooFar { date }.into());
        }
        let payouts = self.payouts(tx, &center).await?;
        let total = require_in_transit(tx, &center, &payouts).await?;
        let number = store::next_number(tx.conn(), center.no).await?;
        let order = PaymentOrder {
            message_id: message_id(center.no.0, number),
            created_at: moment.recorded_at,
            execution_date: date,
            debtor: bank.debtor.clone(),
            payments: payouts.iter().map(|payout| payout.payment.clone()).collect(),
        };
        let channel = &bank.channel;
        let content = channel.payment_file(&order).map_err(R::Unwritable)?;
        require_same(&content, &order, bank, &center)?;
        let sha256 = Sha256::digest(&content);
        let name = format!("{}-{number:06}.{}", center.id, channel.extension());
        let mut payments = Vec::with_capacity(payouts.len());
        for payout in &payouts {
            payments.push(facts_of(tx, &center, payout).await?);
        }
        let facts = PaymentFileFacts {
            number,
            format: channel.format().to_owned(),
            file_name: name,
            sha256: hex::encode(sha256),
            total: total.to_string(),
            payments,
        };
        store::insert_file(tx.conn(), center.no, moment, &facts, &sha256, &content, total).await?;
        for (line, payment) in (1_i32..).zip(&facts.payments) {
            store::insert_sent(tx.conn(), center.no, number, line, payment).await?;
        }
        Ok(Draft::new(
            TransactionKind::PaymentFileMade,
            Vec::new(),
            Facts::PaymentFile(facts),
        ))
    }

    /// What can be paid now. What has no account yet waits for another file.
    async fn payouts(&self, tx: &mut JournalTx, center: &Center) -> Result<Vec<Payout>, Declined> {
        let limit = i64::try_from(PAYMENTS_MAX).unwrap_or(i64::MAX);
        let waiting = payouts::waiting(tx.conn(), center, limit).await?;
        let first = waiting.first().map(|row| (row.vendor.clone(), row.seq));
        let (vendor, settlement) = first.ok_or(R::NothingToPay)?;
        let (mut found, at) = (Vec::with_capacity(waiting.len()), tx.moment().recorded_at);
        for row in waiting {
            let Some(account) = contract::account_in_tx(tx.conn(), center, &row.vendor, at).await? else {
                continue;
            };
            let payment = Payment {
                end_to_end_id: end_to_end_id(center.no.0, row.seq),
                amount: row.total,
                creditor: Party {
                    holder: account.account.holder.clone(),
                    number: account.account.number.clone(),
                    bank_code: account.account.bank_code.clone(),
                    bank_name: account.account.bank_name.clone(),
                },
                purpose: format!("Settlement {} of {}", row.seq, center.id),
            };
            found.push(Payout { row, account, payment });
        }
        if found.is_empty() {
            return Err(R::NoVendorAccount { vendor, settlement }.into());
        }
        Ok(found)
    }
}

impl RareCommand for MakeFile {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.make(tx).boxed()
    }
}

/// The sum of the payments, once it is sure that each is what its lines come to, and that for every vendor the ledger has in
/// transit what its open settlements say.
async fn require_in_transit(tx: &mut JournalTx, center: &Center, payouts: &[Payout]) -> Result<Amount, Declined> {
    let mut vendors: BTreeMap<&VendorId, Amount> = BTreeMap::new();
    let mut total = Amount::zero(center.currency);
    for payout in payouts {
        let row = &payout.row;
        let lines = payouts::of_lines(tx.conn(), center, row).await?;
        if lines != Some(row.total) {
            return Err(alarm(
                center,
                format!("settlement {} is {}, its lines come to {lines:?}", row.seq, row.total),
            ));
        }
        total = total.checked_add(row.total)?;
        let sum = vendors.entry(&row.vendor).or_insert(Amount::zero(center.currency));
        *sum = sum.checked_add(row.total)?;
    }
    for (vendor, paid) in vendors {
        let told = payouts::in_transit(tx.conn(), center, vendor).await?;
        let found = commissary::vendor_in_tx(tx.conn(), center, vendor).await?;
        let found = found.ok_or_else(|| Declined::Broken(format!("vendor {vendor} is gone")))?;
        let ledger = tx.balance(found.transit_no).await?;
        if ledger != told || paid.exceeds(ledger)? {
            let what =
                format!("{ledger} is in transit to {vendor}, its settlements come to {told}, {paid} would be paid");
            return Err(alarm(center, what));
        }
    }
    Ok(total)
}

/// The file, read back, says what was to be written.
fn require_same(content: &[u8], order: &PaymentOrder, bank: &CenterBank, center: &Center) -> Result<(), Declined> {
    let read = bank.channel.read_back(content, center.currency);
    let told = order
        .payments
        .iter()
        .map(|payment| (payment.end_to_end_id.clone(), payment.amount));
    match read {
        Ok(read) if read.iter().cloned().eq(told) => Ok(()),
        Ok(_) => Err(alarm(center, "the file reads otherwise than it was written".to_owned())),
        Err(error) => Err(alarm(center, format!("the file cannot be read back: {error}"))),
    }
}

fn alarm(center: &Center, what: String) -> Declined {
    tracing::error!(center = %center.id, what, "ALARM: no payment file is made, the sums differ");
    Declined::Broken(what)
}

async fn facts_of(tx: &mut JournalTx, center: &Center, payout: &Payout) -> Result<PaymentFacts, Declined> {
    let (row, payment) = (&payout.row, &payout.payment);
    let broken = || Declined::Broken(format!("settlement {} has no approval", row.seq));
    let approval = approval::find_in_tx(tx.conn(), center, row.approval.ok_or_else(broken)?).await?;
    let approval = approval.filter(approval::Approval::is_approved).ok_or_else(broken)?;
    Ok(PaymentFacts {
        settlement: row.seq.0,
        vendor: row.vendor.to_string(),
        amount: row.total.to_string(),
        end_to_end_id: payment.end_to_end_id.clone(),
        account_version: payout.account.version,
        approval: Some(approval.facts()),
    })
}
