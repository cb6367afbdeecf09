//! What two people decide about a settlement, and what then is.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{SettlementRefusal as R, store, subject};
use crate::{
    approval::{Approved, Done, Kind, NewApproval, Question, Runner, VALID},
    db::Conn,
    ids::Seq,
    ledger::{Center, Lanes, LedgerError, center, record},
    proto::ApproveSettlementCommand,
};

/// A settlement is paid.
pub const PAYOUT: Kind = Kind {
    name: "settlement.payout",
    title: "pay a vendor's settlement",
    title_zh: "支付供应商结算款",
};

/// May a settlement be paid?
pub(super) struct PayoutQuestion {
    pub settlement: Seq,
}

impl PayoutQuestion {
    async fn asked(&self, conn: &mut Conn, center: &Center) -> Result<NewApproval, LedgerError> {
        let settlement = self.settlement;
        let row = store::get(&mut *conn, center, settlement).await?;
        let row = row.ok_or(R::NotFound { settlement })?;
        row.require_in_transit()?;
        if let Some(approval) = row.approval {
            return Err(R::Approved { approval }.into());
        }
        let command = ApproveSettlementCommand {
            seq: settlement.0,
            total: row.total.to_string(),
        };
        Ok(NewApproval {
            kind: PAYOUT.name,
            subject: subject(settlement),
            command: record::canonical(&command),
            summary: format!(
                "Pay {} {} of settlement {settlement} to vendor {}.",
                row.total, center.currency, row.vendor
            ),
            amount: Some(row.total),
            valid: VALID,
        })
    }
}

impl Question for PayoutQuestion {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        async move { self.asked(conn, center).await.map(Some) }.boxed()
    }
}

/// Lets settlements into payment files that were allowed.
pub(super) struct PayoutRunner(pub Lanes);

impl PayoutRunner {
    async fn allow(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let told: ApproveSettlementCommand = record::read_canonical(&approved.command)?;
        let settlement = Seq(told.seq);
        let mut tx = self.0.database().lane.begin().await?;
        center::head(&mut tx, center.no, true).await?;
        let row = store::get(&mut *tx, center, settlement).await?;
        let row = row.ok_or(R::NotFound { settlement })?;
        if row.approval.is_none() {
            // It may have been withdrawn while others decided.
            row.require_in_transit()?;
            store::insert_approval(&mut tx, center.no, settlement, approved.facts.approval).await?;
            tx.commit().await?;
        }
        Ok(Done::NoTransaction)
    }
}

impl Runner for PayoutRunner {
    fn kind(&self) -> Kind {
        PAYOUT
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        self.allow(center, approved).boxed()
    }
}
