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
    approval::{Approved, Done, Kind, NewApproval, Question, Runner, VALID, unreadable},
    custody,
    db::Conn,
    ids::{DetaineeId, Seq},
    ledger::{Center, Lanes, LedgerError, record},
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

/// May a sum leave suspense?
pub(super) struct Leave {
    pub sum: Seq,
    pub way: Way,
}

/// Where a sum goes.
pub(super) enum Way {
    /// To a detainee; with what matched, when the recording asks.
    Credit(DetaineeId, Vec<String>),
    /// Back to whoever sent it.
    Return,
}

impl Leave {
    async fn asked(&self, conn: &mut Conn, center: &Center) -> Result<NewApproval, LedgerError> {
        let found = store::get(conn, center, self.sum).await?;
        let sum = found.ok_or(UnmatchedRefusal::NotFound { sum: self.sum })?;
        require_waiting(self.sum, sum.end.as_ref())?;
        if let Way::Credit(detainee, _) = &self.way {
            // Whoever has moved gets it where they are.
            if custody::where_now_in_tx(conn, center, detainee).await?.is_none() {
                custody::active_detainee_in_tx(conn, center, detainee).await?;
            }
        }
        let what = format!("{} {} of unmatched sum {}", sum.amount, center.currency, self.sum);
        let (kind, summary) = match &self.way {
            Way::Credit(detainee, _) => (CREDIT, format!("Credit {what} to detainee {detainee}.")),
            Way::Return => (RETURN, format!("Return {what} to its payer.")),
        };
        Ok(NewApproval {
            kind: kind.name,
            subject: subject(self.sum),
            command: self.command(&sum),
            summary,
            amount: Some(sum.amount),
            valid: VALID,
        })
    }

    /// The command that runs of a sum.
    pub fn command(&self, sum: &Sum) -> Vec<u8> {
        let (seq, amount) = (sum.seq.0, sum.amount.to_string());
        match &self.way {
            Way::Credit(detainee, matched_by) => record::canonical(&CreditUnmatchedCommand {
                seq,
                detainee: detainee.to_string(),
                amount,
                matched_by: matched_by.clone(),
            }),
            Way::Return => record::canonical(&ReturnUnmatchedCommand { seq, amount }),
        }
    }
}

impl Question for Leave {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        _: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        async move { self.asked(conn, center).await.map(Some) }.boxed()
    }
}

/// Runs credits that were allowed.
pub(super) struct CreditRunner(pub Lanes);

impl Runner for CreditRunner {
    fn kind(&self) -> Kind {
        CREDIT
    }

    fn run<'a>(&'a self, center: &'a Center, approved: Approved) -> BoxFuture<'a, Result<Done, LedgerError>> {
        async move {
            let told: CreditUnmatchedCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
            let detainee = DetaineeId::parse(&told.detainee).map_err(unreadable)?;
            let amount = Amount::parse(&told.amount, center.currency).map_err(unreadable)?;
            let request = approved.request(credit::METHOD);
            let command = CreditUnmatched::new(
                request,
                (Seq(told.seq), amount),
                detainee,
                told.matched_by,
                approved.facts,
            );
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
            let told: ReturnUnmatchedCommand = record::read_canonical(&approved.command).map_err(unreadable)?;
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
