//! A kit that was granted by mistake is taken back.

use futures::future::{BoxFuture, FutureExt as _};

use super::{KitRefusal as R, facts_of, store};
use crate::{
    commissary::{posting, stock, store as shelf},
    ids::{AccountNo, ProductId, Seq, VendorId},
    ledger::{Declined, Draft, JournalTx, RareCommand, Request, transaction},
    money::Amount,
    proto::{KitCancelFacts, PurchaseLineFacts, TransactionKind, journal_record::Facts},
};

/// A kit is taken back: the goods come back, and the vendors are owed nothing for them.
#[derive(Debug)]
pub(super) struct CancelKit {
    pub request: Request,
    pub grant: Seq,
    pub reason: String,
}

impl RareCommand for CancelKit {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.cancel(tx).boxed()
    }
}

impl CancelKit {
    async fn cancel(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment, grant) = (tx.center().clone(), tx.moment(), self.grant);
        let found = transaction::get(tx.conn(), center.no, grant).await?;
        let granted = found.and_then(|found| facts_of(found.record.facts));
        let granted = granted.ok_or(R::GrantNotFound { grant })?;
        if let Some(seq) = store::cancelled(tx.conn(), center.no, &[grant]).await?.get(&grant) {
            return Err(R::KitCancelled { grant, by: *seq }.into());
        }
        let mut vendors: Vec<(AccountNo, Amount)> = Vec::new();
        let mut lines = Vec::with_capacity(granted.lines.len());
        for line in granted.lines {
            let amount = Amount::parse(&line.amount, center.currency)?;
            let vendor = VendorId::parse(&line.vendor).map_err(|_| Declined::Broken("vendor".into()))?;
            let vendor = shelf::vendor(tx.conn(), center.no, &vendor).await?;
            let payable = vendor
                .ok_or_else(|| Declined::Broken("a kit of no vendor".into()))?
                .payable_no;
            match vendors.iter_mut().find(|(known, _)| *known == payable) {
                Some((_, sum)) => *sum = sum.checked_add(amount)?,
                None => vendors.push((payable, amount)),
            }
            lines.push(put_back(tx, line).await?);
        }
        store::insert_cancelled(tx.conn(), center.no, grant, moment.seq).await?;
        tx.touch_rules();
        let postings = vendors
            .into_iter()
            .map(|(payable, sum)| posting::grant_cancelled(payable, sum))
            .collect();
        let facts = KitCancelFacts {
            detainee: granted.detainee,
            lines,
            total: granted.total,
            reason: self.reason.clone(),
        };
        let draft = Draft::new(TransactionKind::KitCancelled, postings, Facts::KitCancel(facts));
        Ok(draft.reversing(grant))
    }
}

/// The line as it comes back.
async fn put_back(tx: &mut JournalTx, line: PurchaseLineFacts) -> Result<PurchaseLineFacts, Declined> {
    if line.stock_after.is_none() {
        return Ok(line);
    }
    let center = tx.center().clone();
    let product = ProductId::parse(&line.product).map_err(|_| Declined::Broken("product".into()))?;
    let moved = stock::move_in_tx(tx.conn(), center.no, &product, line.quantity.into()).await?;
    Ok(PurchaseLineFacts {
        stock_after: moved.ok(),
        ..line
    })
}
