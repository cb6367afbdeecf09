//! Giving the parts of a credit back that should not have been made.
//!
//! What a court or a debt got of it is owed again; what is saved or unspent is taken; what is not there any more is claimed
//! from the detainee, as a debt that is collected before everything else.

use super::{
    entity::{CLAIM, COURT_ORDER, DEBT, Debt, DebtKind, REMAINDER, SAVINGS},
    posting, store,
};
use crate::{
    custody::Detainee,
    ids::{AccountNo, Seq},
    ledger::{Declined, JournalTx, Posting, chart},
    money::Amount,
    proto::{DistributionPart, ReversedPart},
};

/// What is taken back of one part of a credit.
#[derive(Debug)]
pub struct TakenBack {
    /// As the record tells it.
    pub part: ReversedPart,
    /// How much.
    pub amount: Amount,
    /// What moves; nothing if nothing is there.
    pub posting: Option<Posting>,
}

/// Takes back what is still there of a credit's parts; `unspent` is what is left of the part that could be spent. Writes down
/// what is owed again. The caller holds the journal's head, and posts what moves.
pub async fn take_back_in_tx(
    tx: &mut JournalTx,
    detainee: &Detainee,
    parts: &[DistributionPart],
    unspent: Amount,
) -> Result<Vec<TakenBack>, Declined> {
    let [available, _, savings, _] = detainee.accounts();
    // What several parts take of one account is taken only once.
    let mut court_left = tx.balance(chart::COURT_PAYABLE).await?;
    let mut taken = Vec::with_capacity(parts.len());
    for part in parts {
        let credited = Amount::parse(&part.amount, unspent.currency())?;
        let (from, amount) = match part.rule.as_str() {
            REMAINDER => (available, unspent.min(credited)?),
            SAVINGS => (savings, tx.balance(savings).await?.min(credited)?),
            COURT_ORDER => {
                let amount = court_left.min(credited)?;
                court_left = court_left.checked_sub(amount)?;
                (chart::COURT_PAYABLE, amount)
            }
            CLAIM | DEBT => (chart::ADVANCES, credited),
            other => return Err(Declined::Broken(format!("a part has the rule {other}"))),
        };
        if !credited.is_positive() {
            continue;
        }
        owe_again_in_tx(tx, detainee, part, amount).await?;
        taken.push(TakenBack {
            part: reversed(part, amount),
            amount,
            posting: taken_back(from, amount),
        });
    }
    Ok(taken)
}

fn reversed(part: &DistributionPart, amount: Amount) -> ReversedPart {
    ReversedPart {
        rule: part.rule.clone(),
        document: part.document.clone(),
        credited: part.amount.clone(),
        amount: amount.to_string(),
        debt: part.debt,
    }
}

fn taken_back(from: AccountNo, amount: Amount) -> Option<Posting> {
    amount.is_positive().then(|| posting::taken_back(from, amount))
}

/// What a court order or a debt got of a credit is owed again.
async fn owe_again_in_tx(
    tx: &mut JournalTx,
    detainee: &Detainee,
    part: &DistributionPart,
    amount: Amount,
) -> Result<(), Declined> {
    let center = tx.center().clone();
    let unknown = || Declined::Broken(format!("{} {} does not exist", part.rule, part.document));
    match part.rule.as_str() {
        COURT_ORDER => {
            let mut orders = store::court_orders(tx.conn(), &center, std::slice::from_ref(&detainee.id)).await?;
            let orders = orders.remove(detainee.id.as_str()).unwrap_or_default();
            let order = orders.into_iter().find(|order| order.document == part.document);
            let order = order.ok_or_else(unknown)?;
            let collected = order.collected.checked_sub(amount)?;
            store::set_collected(tx.conn(), center.no, &detainee.id, &order.id, collected).await?;
        }
        CLAIM | DEBT => {
            let debt = store::debt(tx.conn(), &center, Seq(part.debt))
                .await?
                .ok_or_else(unknown)?;
            let repaid = debt.repaid.checked_sub(amount)?;
            store::set_repaid(tx.conn(), center.no, debt.seq, repaid).await?;
        }
        _ => {}
    }
    Ok(())
}

/// Claims what is not there any more of a credit: a debt under the number of the transaction that is being made.
pub async fn claim_in_tx(
    tx: &mut JournalTx,
    detainee: &Detainee,
    credit: Seq,
    amount: Amount,
) -> Result<Posting, Declined> {
    let (center, moment) = (tx.center().clone(), tx.moment());
    let debt = Debt {
        seq: moment.seq,
        detainee: detainee.id.clone(),
        kind: DebtKind::Claim,
        document: claim_document(credit),
        amount,
        repaid: Amount::zero(center.currency),
        written_off: Amount::zero(center.currency),
        is_consented: false,
        recorded_at: moment.recorded_at,
        approval: None,
    };
    store::insert_debt(tx.conn(), &center, &debt, None).await?;
    Ok(posting::claimed(amount))
}

/// What stands for a document with a claim: the credit that was reversed.
pub(super) fn claim_document(credit: Seq) -> String {
    format!("transactions/{credit}")
}
