//! What two people decide about money without an order, and what then runs.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    Sum, UnmatchedRefusal,
    credit::{self, CreditUnmatched, require_waiting},
    returning::{self, ReturnUnmatched},
    store, subject,
};
use crate::{
    approval::{Approved, Done, Kind, NewApproval, Person, Question, Runner, VALID},
    custody::{self, CustodyRefusal, DetaineeState},
    db::Conn,
    ids::{DetaineeId, Seq},
    ledger::{Center, Lanes, LedgerError, Request, record},
    money::Amount,
    proto::{CreditUnmatchedCommand, ReturnUnmatchedCommand},
};

/// A sum is credited to a detainee.
pub const CREDIT: Kind = Kind {
    name: "unmatched.credit",
    title: "credit money without an order",
    title_zh: "无主款入账",
};

/// A sum goes back to whoever sent it.
pub const RETURN: Kind = Kind {
    name: "unmatched.return",
    title: "return money without an order",
    title_zh: "无主款退回",
};

/// The sum, which must wait.
async fn waiting(conn: &mut Conn, center: &Center, seq: Seq) -> Result<Sum, LedgerError> {
    let found = store::get(conn, center, seq).await?;
    let sum = found.ok_or(UnmatchedRefusal::NotFound { sum: seq })?;
    require_waiting(seq, sum.end.as_ref())?;
    Ok(sum)
}

/// May a sum be credited to a detainee?
pub(super) struct CreditQuestion {
    pub request: Request,
    pub maker: Person,
    pub sum: Seq,
    pub detainee: DetaineeId,
    pub reason: String,
}

impl CreditQuestion {
    async fn asked(&self, conn: &mut Conn, center: &Center) -> Result<NewApproval, LedgerError> {
        let sum = waiting(conn, center, self.sum).await?;
        let id = &self.detainee;
        let detainee = custody::detainee_in_tx(conn, center, id).await?;
        let detainee = detainee.ok_or_else(|| CustodyRefusal::DetaineeNotFound { detainee: id.clone() })?;
        if detainee.state != DetaineeState::Active {
            let (detainee, state) = (id.clone(), detainee.state.name());
            return Err(CustodyRefusal::DetaineeNotActive { detainee, state }.into());
        }
        let command = CreditUnmatchedCommand {
            seq: self.sum.0,
            detainee: id.to_string(),
            amount: sum.amount.to_string(),
        };
        Ok(NewApproval {
            kind: CREDIT.name,
            subject: subject(self.sum),
            command: record::canonical(&command),
            summary: format!(
                "Credit {} {} of unmatched sum {} to detainee {id}.",
                sum.amount, center.currency, self.sum
            ),
            amount: Some(sum.amount),
            reason: self.reason.clone(),
            valid: VALID,
        })
    }
}

impl Question for CreditQuestion {
    fn request(&self) -> &Request {
        &self.request
    }
    fn maker(&self) -> &Person {
        &self.maker
    }
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<NewApproval, LedgerError>> {
        self.asked(conn, center).boxed()
    }
}

/// May a sum go back to whoever sent it?
pub(super) struct ReturnQuestion {
    pub request: Request,
    pub maker: Person,
    pub sum: Seq,
    pub reason: String,
}

impl ReturnQuestion {
    async fn asked(&self, conn: &mut Conn, center: &Center) -> Result<NewApproval, LedgerError> {
        let sum = waiting(conn, center, self.sum).await?;
        let command = ReturnUnmatchedCommand {
            seq: self.sum.0,
            amount: sum.amount.to_string(),
        };
        Ok(NewApproval {
            kind: RETURN.name,
            subject: subject(self.sum),
            command: record::canonical(&command),
            summary: format!(
                "Return {} {} of unmatched sum {} to its payer.",
                sum.amount, center.currency, self.sum
            ),
            amount: Some(sum.amount),
            reason: self.reason.clone(),
            valid: VALID,
        })
    }
}

impl Question for ReturnQuestion {
    fn request(&self) -> &Request {
        &self.request
    }
    fn maker(&self) -> &Person {
        &self.maker
    }
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<NewApproval, LedgerError>> {
        self.asked(conn, center).boxed()
    }
}

/// A command that was stored and cannot be read is a broken invariant.
fn unreadable(error: &dyn std::fmt::Display) -> LedgerError {
    tracing::error!(%error, "what was allowed cannot be read");
    LedgerError::Internal
}

/// Runs credits that were allowed.
pub(super) struct CreditRunner(pub Lanes);

impl Runner for CreditRunner {
    fn kind(&self) -> Kind {
        CREDIT
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        async move {
            let told: CreditUnmatchedCommand =
                record::read_canonical(&approved.command).map_err(|error| unreadable(&error))?;
            let detainee = DetaineeId::parse(&told.detainee).map_err(|error| unreadable(&error))?;
            let amount = Amount::parse(&told.amount, center.currency).map_err(|error| unreadable(&error))?;
            let request = approved.request(credit::METHOD);
            let command = CreditUnmatched::decided(request, Seq(told.seq), detainee, amount, approved.facts);
            let posted = self.0.submit(center, command).await?;
            Ok(Done::Transaction(posted.seq()))
        }
        .boxed()
    }
}

/// Runs returns that were allowed.
pub(super) struct ReturnRunner(pub Lanes);

impl Runner for ReturnRunner {
    fn kind(&self) -> Kind {
        RETURN
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        async move {
            let told: ReturnUnmatchedCommand =
                record::read_canonical(&approved.command).map_err(|error| unreadable(&error))?;
            let command = ReturnUnmatched {
                request: approved.request(returning::METHOD),
                sum: Seq(told.seq),
                approval: approved.facts,
            };
            let posted = self.0.submit_rare(center, command).await?;
            Ok(Done::Transaction(posted.seq()))
        }
        .boxed()
    }
}
