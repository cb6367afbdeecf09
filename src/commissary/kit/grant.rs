//! A kit is granted.

use futures::future::{BoxFuture, FutureExt as _};
use time::Duration;

use super::{Kit, KitRefusal, entity, store};
use crate::{
    commissary::{CommissaryRefusal as R, buyer, entity::Offer, posting, stock, store as shelf},
    custody::{self, Detainee, SpendingRules},
    ids::{AccountNo, DetaineeId},
    ledger::{Declined, Draft, JournalTx, RareCommand, Request, balance},
    money::Amount,
    proto::{KitGrantFacts, PurchaseLineFacts, TransactionKind, journal_record::Facts},
};

/// A detainee who has nothing is granted a kit.
#[derive(Debug)]
pub(super) struct GrantKit {
    pub request: Request,
    pub detainee: DetaineeId,
}

impl RareCommand for GrantKit {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.grant(tx).boxed()
    }
}

impl GrantKit {
    async fn grant(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let detainee = custody::active_detainee_in_tx(tx.conn(), &center, &self.detainee).await?;
        let kit = store::kit(tx.conn(), center.no).await?.ok_or(KitRefusal::NoKit)?;
        let rules = custody::settings_in_tx(tx.conn(), &center).await?.spending;
        if let Some((grant, granted_on)) = store::last_grant(tx.conn(), center.no, &self.detainee).await? {
            let next_date = entity::next_date(granted_on, &rules);
            if moment.effective_date < next_date {
                return Err(KitRefusal::KitGranted { grant, next_date }.into());
            }
        }
        let balance = require_indigent(tx, &detainee, &rules).await?;
        let lines = self.lines(tx, &kit).await?;
        let total = Amount::sum(lines.iter().map(|(_, _, amount)| *amount), center.currency)?;
        let mut vendors: Vec<(AccountNo, Amount)> = Vec::new();
        for (_, payable, amount) in &lines {
            match vendors.iter_mut().find(|(known, _)| known == payable) {
                Some((_, sum)) => *sum = sum.checked_add(*amount)?,
                None => vendors.push((*payable, *amount)),
            }
        }
        store::insert_grant(tx.conn(), center.no, moment.seq, &self.detainee, moment.effective_date).await?;
        // The stock that lanes have read may be another now.
        tx.touch_rules();
        let postings = vendors
            .into_iter()
            .map(|(payable, sum)| posting::granted(payable, sum))
            .collect();
        let facts = KitGrantFacts {
            detainee: self.detainee.to_string(),
            kit_version: kit.version,
            lines: lines.into_iter().map(|(facts, _, _)| facts).collect(),
            total: total.to_string(),
            balance: balance.to_string(),
            below: rules.grant_below.to_string(),
            days: rules.grant_days.into(),
        };
        Ok(Draft::new(
            TransactionKind::KitGranted,
            postings,
            Facts::KitGrant(facts),
        ))
    }

    /// The goods, priced and taken off the stock, with whom they are owed to.
    async fn lines(
        &self,
        tx: &mut JournalTx,
        kit: &Kit,
    ) -> Result<Vec<(PurchaseLineFacts, AccountNo, Amount)>, Declined> {
        let center = tx.center().clone();
        let ids: Vec<_> = kit.lines.iter().map(|line| line.product.clone()).collect();
        let offers = shelf::offers(tx.conn(), &center, &ids).await?;
        let buyer = buyer::buyer_in_tx(tx.conn(), &center, &self.detainee).await?;
        let mut lines = Vec::with_capacity(kit.lines.len());
        for line in &kit.lines {
            let product = line.product.clone();
            let Some(offer) = offers.get(product.as_str()) else {
                return Err(R::ProductNotFound { product }.into());
            };
            if !offer.available {
                return Err(R::ProductNotAvailable { product }.into());
            }
            if let Some(limits) = &offer.limits {
                limits.check(&product, &buyer)?;
            }
            let stock_after = take(tx, offer, line).await?;
            let amount = offer.price.checked_mul(line.quantity)?;
            let facts = PurchaseLineFacts {
                product: product.to_string(),
                product_version: offer.version,
                vendor: offer.vendor.to_string(),
                quantity: i32::try_from(line.quantity).map_err(|_| Declined::Broken("quantity".into()))?,
                unit_price: offer.price.to_string(),
                amount: amount.to_string(),
                counted: false,
                stock_after,
            };
            lines.push((facts, offer.payable_no, amount));
        }
        Ok(lines)
    }
}

async fn take(tx: &mut JournalTx, offer: &Offer, line: &super::KitLine) -> Result<Option<i64>, Declined> {
    if !offer.keeps_stock {
        return Ok(None);
    }
    let center = tx.center().clone();
    let asked = i64::from(line.quantity);
    let moved = stock::move_in_tx(tx.conn(), center.no, &line.product, -asked).await?;
    Ok(Some(moved.map_err(|stock| R::OutOfStock {
        product: line.product.clone(),
        stock,
        asked,
    })?))
}

/// What a detainee has now, if it is little enough.
async fn require_indigent(tx: &mut JournalTx, detainee: &Detainee, rules: &SpendingRules) -> Result<Amount, Declined> {
    let (center, at) = (tx.center().clone(), tx.moment().recorded_at);
    let [available, held, savings, _] = detainee.accounts();
    let accounts = [available, held, savings];
    let since = at - Duration::days(rules.grant_days.into());
    let since = balance::last_recorded_at(tx.conn(), &center, since).await?;
    let then = balance::at(tx.conn(), &center, &accounts, since).await?;
    let mut now = Vec::with_capacity(accounts.len());
    for account in accounts {
        now.push(tx.balance(account).await?);
    }
    let (peak, credit) = store::came_in(tx.conn(), &center, accounts, since).await?;
    let means = entity::Means {
        now: Amount::sum(now, center.currency)?,
        then: Amount::sum(then, center.currency)?,
        peak,
        credit,
    };
    entity::require_indigent(&detainee.id, &means, rules)??;
    Ok(means.now)
}
