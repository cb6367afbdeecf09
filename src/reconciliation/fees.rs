//! Recording the fees of what matches: one transaction a bill, each fee once.

use futures::future::{BoxFuture, FutureExt as _};

use super::{BillOf, entity::BillEntry, error::ReconciliationRefusal as R, posting, store};
use crate::{
    ids::RequestId,
    ledger::{Center, Code, Declined, Draft, JournalTx, RareCommand, Request, account, record},
    money::Amount,
    proto::{GatewayFeeFacts, GatewayFeeLine, TransactionKind, journal_record::Facts},
};

/// The method that the request names. No caller can call it.
const METHOD: &str = "custody.v1.ReconciliationService/RecordFees";

/// Fees that a bill told, of payments and refunds whose fee is not recorded yet.
#[derive(Debug)]
pub(super) struct RecordFees {
    request: Request,
    of: BillOf,
    entries: Vec<BillEntry>,
}

impl RecordFees {
    /// The command; none if there is no fee. One below zero was given back, with a refund. Its request id is made of what it records, so that an import that is
    /// repeated after a lost answer records nothing twice.
    pub(super) fn of(center: &Center, of: &BillOf, entries: &[BillEntry], actor: &str) -> Option<RecordFees> {
        let entries: Vec<BillEntry> = entries.iter().filter(|entry| !entry.fee.is_zero()).cloned().collect();
        if entries.is_empty() {
            return None;
        }
        let body = record::canonical(&facts(of, &entries, None));
        let id = RequestId::derived(&["fees", center.id.as_str(), &hex::encode(record::leaf_hash(&body))]);
        Some(RecordFees {
            request: Request {
                id,
                method: METHOD,
                body,
                actor: actor.to_owned(),
            },
            of: of.clone(),
            entries,
        })
    }

    async fn record(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let owner = format!("channels/{}", self.of.channel);
        let clearing = account::find(tx.conn(), center.no, Code::GatewayClearing, &owner).await?;
        let clearing = clearing.ok_or_else(|| Declined::Broken(format!("{owner} has no clearing account")))?;
        let entries: Vec<&BillEntry> = self.entries.iter().collect();
        let inserted = store::insert_entries(tx.conn(), center.no, &self.of, &entries, Some(moment.seq)).await?;
        if u64::try_from(entries.len()) != Ok(inserted) {
            return Err(R::FeesRecorded.into());
        }
        let total = Amount::sum(self.entries.iter().map(|entry| entry.fee), center.currency)?;
        let of = |is_kept: bool| {
            self.entries
                .iter()
                .map(|entry| entry.fee)
                .filter(move |fee| fee.is_positive() == is_kept)
        };
        let kept = Amount::sum(of(true), center.currency)?;
        let given_back = Amount::sum(of(false), center.currency)?.negated();
        let kept = kept.is_positive().then(|| posting::fees(clearing, kept));
        let given_back = given_back
            .is_positive()
            .then(|| posting::fees_given_back(clearing, given_back));
        let postings = kept.into_iter().chain(given_back).collect();
        let facts = facts(&self.of, &self.entries, Some(total));
        Ok(Draft::new(
            TransactionKind::GatewayFees,
            postings,
            Facts::GatewayFees(facts),
        ))
    }
}

fn facts(of: &BillOf, entries: &[BillEntry], total: Option<Amount>) -> GatewayFeeFacts {
    let line = |entry: &BillEntry| GatewayFeeLine {
        gateway_transaction: entry.gateway_id.clone(),
        amount: entry.fee.to_string(),
    };
    GatewayFeeFacts {
        channel: of.channel.clone(),
        bill_date: of.date.to_string(),
        lines: entries.iter().map(line).collect(),
        total: total.map_or_else(String::new, |total| total.to_string()),
    }
}

impl RareCommand for RecordFees {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.record(tx).boxed()
    }
}
