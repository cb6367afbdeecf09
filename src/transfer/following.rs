//! What people allow somebody who has moved since: a payment released from review, or money without an order. The same decision, and
//! the money goes after them.

use std::sync::Arc;

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    Transfers,
    forward::{ForwardPayment, ForwardSum, METHOD},
};
use crate::{
    approval::{Approved, Done, Kind, Runner, unreadable},
    custody,
    ids::{DetaineeId, RemittanceId, Seq},
    ledger::{Center, LedgerError, record},
    proto::CreditUnmatchedCommand,
    refund::Review,
    remittance,
    unmatched::CREDIT,
};

/// Runs what another runner runs, unless it is for somebody who has moved.
struct Following {
    inner: Arc<dyn Runner>,
    transfers: Transfers,
}

impl Transfers {
    /// A runner of releases from review, or of credits of money without an order, whose money follows who has moved.
    pub fn following(&self, inner: Arc<dyn Runner>) -> Arc<dyn Runner> {
        Arc::new(Following {
            inner,
            transfers: self.clone(),
        })
    }

    /// Where somebody is now, if they have moved.
    async fn now(&self, center: &Center, detainee: &DetaineeId) -> Result<Option<Center>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let now = custody::where_now_in_tx(&mut conn, center, detainee).await?;
        Ok(now.map(|(to, _)| to))
    }
}

impl Following {
    /// A stay that has ended by a transfer does not go on, so what is read before the journals are locked still holds then.
    async fn run(&self, center: &Center, approved: Approved) -> Result<Done, LedgerError> {
        let kind = self.inner.kind();
        let moved = if kind == CREDIT {
            self.sum(center, &approved).await?
        } else if kind == Review::Release.kind() {
            self.payment(center, &approved).await?
        } else {
            None
        };
        match moved {
            Some(done) => Ok(done),
            None => self.inner.run(center, approved).await,
        }
    }

    async fn sum(&self, center: &Center, approved: &Approved) -> Result<Option<Done>, LedgerError> {
        let told: CreditUnmatchedCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
        let detainee = DetaineeId::parse(&told.detainee).map_err(unreadable)?;
        let Some(to) = self.transfers.now(center, &detainee).await? else {
            return Ok(None);
        };
        let command = ForwardSum {
            request: approved.request(METHOD),
            sum: Seq(told.seq),
            detainee,
            to,
            approval: approved.facts.clone(),
        };
        let posted = self.transfers.lanes.submit_rare(center, command).await?;
        Ok(Some(Done::Transaction(posted.seq())))
    }

    async fn payment(&self, center: &Center, approved: &Approved) -> Result<Option<Done>, LedgerError> {
        let id = std::str::from_utf8(&approved.command).map_err(unreadable)?;
        let id = RemittanceId::parse(id).map_err(unreadable)?;
        let mut conn = self.transfers.lanes.database().read.acquire().await?;
        let found = remittance::remittance_in_tx(&mut conn, center, &id).await?;
        drop(conn);
        let Some(remittance) = found else { return Ok(None) };
        let held = remittance.own_suspended().map(|payment| payment.seq);
        let (Some(payment), Some(to)) = (held, self.transfers.now(center, &remittance.detainee).await?) else {
            return Ok(None);
        };
        let command = ForwardPayment {
            request: approved.request(METHOD),
            remittance: id,
            payment,
            to,
            release: Some(approved.facts.clone()),
        };
        let posted = self.transfers.lanes.submit_rare(center, command).await?;
        Ok(Some(Done::Transaction(posted.seq())))
    }
}

impl Runner for Following {
    fn kind(&self) -> Kind {
        self.inner.kind()
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        Following::run(self, center, approved).boxed()
    }
}
