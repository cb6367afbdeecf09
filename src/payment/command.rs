//! The command that makes a payment file.

use std::collections::BTreeMap;

use futures::future::{BoxFuture, FutureExt as _};
use sha2::{Digest as _, Sha256};
use time::{Date, Duration};

use super::{
    Paying, PaymentRefusal as R,
    entity::{end_to_end_id, message_id},
    store,
};
use crate::{
    approval,
    bank::{CenterBank, PAYMENTS_MAX, Party, Payment, PaymentOrder},
    beneficiary::Beneficiaries,
    commissary,
    contract::{self, VendorAccount},
    ids::VendorId,
    ledger::{Center, Declined, Draft, JournalTx, RareCommand, Request, chart},
    money::Amount,
    proto::{PaymentFacts, PaymentFileFacts, TransactionKind, journal_record::Facts},
    refund,
    settlement::{Row, payouts},
};

/// What was allowed goes into a file. It is written by the transaction that records it, which holds the journal's head: two
/// processes at once make one file, and what a power cut leaves is all of it or nothing.
pub(super) struct MakeFile {
    /// What identifies it.
    pub request: Request,
    /// The center's bank, if it is known.
    pub bank: Option<CenterBank>,
    /// Where payers are paid to.
    pub beneficiaries: Beneficiaries,
    /// When the bank is to pay, if not today.
    pub execution_date: Option<Date>,
}

/// How far ahead a file can be paid: what waits longer is put into a later file.
const AHEAD_MAX: Duration = Duration::days(30);

/// One payment, with what the ledger knows of it.
struct Payout {
    paying: Paying,
    /// Whom: `vendors/V1` or `payers/P1`.
    payee: String,
    account_version: i64,
    approval: Option<i64>,
    /// Of a settlement.
    row: Option<Row>,
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
        let (mut found, at) = (Vec::with_capacity(waiting.len()), tx.moment().recorded_at);
        for row in waiting {
            if let Some(account) = contract::account_in_tx(tx.conn(), center, &row.vendor, at).await? {
                found.push(of_settlement(center, row, account));
            }
        }
        let left = limit.saturating_sub(i64::try_from(found.len()).unwrap_or(limit));
        for refund in refund::bank::payouts::waiting(tx.conn(), center, left).await? {
            found.push(self.of_refund(tx, center, refund).await?);
        }
        match (first, found.is_empty()) {
            (_, false) => Ok(found),
            (Some((vendor, settlement)), true) => Err(R::NoVendorAccount { vendor, settlement }.into()),
            (None, true) => Err(R::NothingToPay.into()),
        }
    }

    async fn of_refund(
        &self,
        tx: &mut JournalTx,
        center: &Center,
        refund: refund::bank::payouts::Payout,
    ) -> Result<Payout, Declined> {
        let (paying, version) = (Paying::Refund(refund.refund), refund.account_version);
        let party = self
            .beneficiaries
            .party_in_tx(tx.conn(), center, &refund.owner, version)
            .await;
        let creditor = party.map_err(|error| Declined::Broken(format!("the account of {}: {error}", refund.owner)))?;
        Ok(Payout {
            payment: Payment {
                end_to_end_id: end_to_end_id(center.no.0, paying),
                amount: refund.amount,
                creditor,
                purpose: format!("Refund {} of {}", refund.refund, center.id),
            },
            paying,
            payee: refund.owner,
            account_version: version,
            approval: Some(refund.approval),
            row: None,
        })
    }
}

fn of_settlement(center: &Center, row: Row, account: VendorAccount) -> Payout {
    let paying = Paying::Settlement(row.seq);
    Payout {
        payment: Payment {
            end_to_end_id: end_to_end_id(center.no.0, paying),
            amount: row.total,
            creditor: Party {
                holder: account.account.holder,
                number: account.account.number,
                bank_code: account.account.bank_code,
                bank_name: account.account.bank_name,
            },
            purpose: format!("Settlement {} of {}", row.seq, center.id),
        },
        paying,
        payee: format!("vendors/{}", row.vendor),
        account_version: account.version,
        approval: row.approval,
        row: Some(row),
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

/// The sum of the payments, once it is sure that each settlement is what its lines come to, and that for every vendor, and for all
/// refunds together, the ledger has in transit what has not ended.
async fn require_in_transit(tx: &mut JournalTx, center: &Center, payouts: &[Payout]) -> Result<Amount, Declined> {
    let zero = Amount::zero(center.currency);
    let mut vendors: BTreeMap<&VendorId, Amount> = BTreeMap::new();
    let (mut total, mut refunds) = (zero, zero);
    for payout in payouts {
        total = total.checked_add(payout.payment.amount)?;
        let Some(row) = &payout.row else {
            refunds = refunds.checked_add(payout.payment.amount)?;
            continue;
        };
        let lines = payouts::of_lines(tx.conn(), center, row).await?;
        if lines != Some(row.total) {
            return Err(alarm(
                center,
                format!("settlement {} is {}, its lines come to {lines:?}", row.seq, row.total),
            ));
        }
        let sum = vendors.entry(&row.vendor).or_insert(zero);
        *sum = sum.checked_add(row.total)?;
    }
    for (vendor, paid) in vendors {
        let told = payouts::in_transit(tx.conn(), center, vendor).await?;
        let found = commissary::vendor_in_tx(tx.conn(), center, vendor).await?;
        let found = found.ok_or_else(|| Declined::Broken(format!("vendor {vendor} is gone")))?;
        let ledger = tx.balance(found.transit_no).await?;
        require_same_sums(center, &format!("vendor {vendor}"), [ledger, told, paid])?;
    }
    let told = refund::bank::payouts::in_transit(tx.conn(), center).await?;
    let ledger = tx.balance(chart::REFUNDS_IN_TRANSIT).await?;
    require_same_sums(center, "payers", [ledger, told, refunds])?;
    Ok(total)
}

fn require_same_sums(center: &Center, whom: &str, [ledger, told, paid]: [Amount; 3]) -> Result<(), Declined> {
    if ledger != told || paid.exceeds(ledger)? {
        let what =
            format!("{ledger} is in transit to {whom}, what has not ended comes to {told}, {paid} would be paid");
        return Err(alarm(center, what));
    }
    Ok(())
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
    let payment = &payout.payment;
    let broken = || Declined::Broken(format!("{:?} has no approval", payout.paying));
    let approval = approval::find_in_tx(tx.conn(), center, payout.approval.ok_or_else(broken)?).await?;
    let approval = approval.filter(approval::Approval::is_approved).ok_or_else(broken)?;
    let ([settlement, refund], owner) = match payout.paying {
        Paying::Settlement(seq) => ([seq.0, 0], String::new()),
        Paying::Refund(seq) => ([0, seq.0], payout.payee.clone()),
    };
    Ok(PaymentFacts {
        settlement,
        vendor: payout
            .row
            .as_ref()
            .map_or_else(String::new, |row| row.vendor.to_string()),
        amount: payment.amount.to_string(),
        end_to_end_id: payment.end_to_end_id.clone(),
        account_version: payout.account_version,
        approval: Some(approval.facts()),
        refund,
        owner,
    })
}
