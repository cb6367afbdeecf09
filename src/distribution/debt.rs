//! Recording what a detainee owes the center.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    DistributionRefusal as R,
    entity::{Debt, DebtKind},
    posting, store,
};
use crate::{
    custody::{self, CustodyRefusal, DetaineeState},
    ids::DetaineeId,
    ledger::{Declined, Draft, JournalTx, RareCommand, Refusal, Request},
    money::Amount,
    proto::{DebtFacts, TransactionKind, journal_record::Facts},
};

/// What is told of a debt.
#[derive(Debug, Clone)]
pub struct NewDebt {
    /// Who owes it.
    pub detainee: DetaineeId,
    /// Whether it is money that the detainee is given; otherwise it is a damage.
    pub is_advance: bool,
    /// The document's number.
    pub document: String,
    /// The whole debt, above zero.
    pub amount: Amount,
    /// Whether the detainee consents to deductions.
    pub is_consented: bool,
}

/// A debt is recorded, and an advance paid to the available account.
pub(super) struct CreateDebt {
    pub request: Request,
    pub new: NewDebt,
}

impl CreateDebt {
    async fn create(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment, new) = (tx.center().clone(), tx.moment(), &self.new);
        let detainee = custody::detainee_in_tx(tx.conn(), &center, &new.detainee).await?;
        let detainee = detainee.ok_or_else(|| {
            Refusal::from(CustodyRefusal::DetaineeNotFound {
                detainee: new.detainee.clone(),
            })
        })?;
        if detainee.state != DetaineeState::Active {
            let refusal = CustodyRefusal::DetaineeNotActive {
                detainee: new.detainee.clone(),
                state: detainee.state.name(),
            };
            return Err(Refusal::from(refusal).into());
        }
        let debts = store::debts(tx.conn(), &center, std::slice::from_ref(&new.detainee)).await?;
        let mut known = debts.values().flatten();
        if known.any(|debt| debt.kind != DebtKind::Claim && debt.document == new.document) {
            return Err(R::AlreadyExists.into());
        }
        let (kind, posting) = if new.is_advance {
            (DebtKind::Advance, posting::advanced(detainee.available(), new.amount))
        } else {
            (DebtKind::Damage, posting::damaged(new.amount))
        };
        let debt = Debt {
            seq: moment.seq,
            detainee: new.detainee.clone(),
            kind,
            document: new.document.clone(),
            amount: new.amount,
            repaid: Amount::zero(center.currency),
            is_consented: new.is_consented,
            recorded_at: moment.recorded_at,
        };
        store::insert_debt(tx.conn(), &center, &debt).await?;
        tx.touch_rules();
        let facts = DebtFacts {
            detainee: new.detainee.to_string(),
            kind: kind.name().to_owned(),
            document: new.document.clone(),
            amount: new.amount.to_string(),
            consented: new.is_consented,
        };
        let facts = Facts::Debt(facts);
        Ok(Draft::new(TransactionKind::DebtRecorded, vec![posting], facts))
    }
}

impl RareCommand for CreateDebt {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.create(tx).boxed()
    }
}
