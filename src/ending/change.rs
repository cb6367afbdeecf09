//! A person died, escaped, or was caught again: a transaction that moves nothing, and freezes or frees the accounts at once.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    entity::Purpose,
    error::EndingRefusal as R,
    item::{self, detainee_subject},
    store,
};
use crate::{
    approval::relation,
    custody::{self, CustodyRefusal, Detainee, DetaineeState},
    db::Conn,
    ids::DetaineeId,
    ledger::{Center, Declined, Draft, JournalTx, RareCommand, Refusal, Request, balance},
    money::Amount,
    proto::{CustodyChangeFacts, TransactionKind, journal_record::Facts},
    work::{self, WorkKind},
};

/// A detainee, in the caller's transaction.
pub(super) async fn detainee(conn: &mut Conn, center: &Center, id: &DetaineeId) -> Result<Detainee, Declined> {
    let found = custody::detainee_in_tx(conn, center, id).await?;
    let missing = || Refusal::from(CustodyRefusal::DetaineeNotFound { detainee: id.clone() });
    Ok(found.ok_or_else(missing)?)
}

/// What all accounts of a detainee hold.
pub(super) async fn holdings(
    conn: &mut Conn,
    center: &Center,
    detainee: &Detainee,
) -> Result<Vec<(crate::ids::AccountNo, Amount)>, Declined> {
    let accounts = detainee.accounts();
    let (balances, _) = balance::now(&mut *conn, center, &accounts).await?;
    Ok(accounts.into_iter().zip(balances).collect())
}

/// Where somebody is from now on.
pub(super) struct ChangeCustody {
    pub request: Request,
    pub detainee: DetaineeId,
    pub state: DetaineeState,
    pub document: String,
    pub reason: String,
}

impl ChangeCustody {
    async fn require_way(&self, conn: &mut Conn, center: &Center, from: DetaineeState) -> Result<(), Declined> {
        use DetaineeState::{Active, Deceased, Escaped};
        let is_way = match (from, self.state) {
            (Active | Escaped, Deceased) | (Active, Escaped) | (Escaped, Active) => true,
            // Recorded by mistake: as long as nobody was paid.
            (Deceased, Active) => store::payouts_for(conn, center.no, &self.detainee, Purpose::Heirs).await? == 0,
            _ => false,
        };
        if is_way {
            return Ok(());
        }
        let detainee = self.detainee.clone();
        let state = from.name();
        Err(R::CustodyState { detainee, state }.into())
    }

    async fn change(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        relation::require_unrelated(tx.conn(), center.no, &self.request.actor, &self.detainee).await?;
        let detainee = detainee(tx.conn(), &center, &self.detainee).await?;
        self.require_way(tx.conn(), &center, detainee.state).await?;
        let row = (self.state, self.document.as_str(), moment.recorded_at);
        store::insert_change(tx.conn(), center.no, moment.seq, &self.detainee, row).await?;
        custody::set_state_in_tx(tx.conn(), &center, &self.detainee, self.state).await?;
        tx.touch_rules();
        let subject = detainee_subject(&self.detainee);
        if self.state == DetaineeState::Active {
            item::close(tx, &subject, &self.request.actor, "the account works again").await?;
        } else {
            let held = holdings(tx.conn(), &center, &detainee).await?;
            let total = Amount::sum(held.into_iter().map(|(_, amount)| amount), center.currency)?;
            if total.is_positive() {
                let (id, at) = (self.detainee.as_str(), moment.recorded_at);
                let item = item::new(WorkKind::Estate, subject, id, Some(total), self.state.name(), at);
                work::raise_in_tx(tx.conn(), center.no, &item).await?;
            }
        }
        let facts = CustodyChangeFacts {
            detainee: self.detainee.to_string(),
            state: self.state.name().to_owned(),
            document: self.document.clone(),
            reason: self.reason.clone(),
        };
        let facts = Facts::CustodyChange(facts);
        Ok(Draft::new(TransactionKind::CustodyChanged, Vec::new(), facts))
    }
}

impl RareCommand for ChangeCustody {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.change(tx).boxed()
    }
}
