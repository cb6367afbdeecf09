//! Crediting money without an order to the detainee whose it is: suspense to the accounts that the distribution says.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    SumEnd, UnmatchedRefusal as R,
    store::{self, EndRows},
    subject,
};
use crate::{
    custody::room::DetaineeRoom,
    db::{self, Conn},
    distribution::room::{collect, split},
    ids::{DetaineeId, Seq},
    ledger::{Asked, Center, Command, Declined, Draft, Entry, Moment, Request, Room, Rows, State, chart},
    money::Amount,
    proto::{ApprovalFacts, TransactionKind, UnmatchedCreditFacts, journal_record::Facts},
    remittance::{recorded_at, want_split},
    work::{self, Closing, WorkKind},
};

/// The method that such a credit's request names. No caller can call it.
pub(super) const METHOD: &str = "custody.v1.UnmatchedService/CreditUnmatched";

/// What a decision needs to know of a sum.
#[derive(Debug, Clone)]
pub(super) struct Standing {
    /// How much it is.
    pub amount: Amount,
    /// What became of it, and by which transaction.
    pub end: Option<(SumEnd, Seq)>,
}

/// The sums that credits asked for; those that do not exist are remembered too.
#[derive(Default)]
pub(super) struct UnmatchedRoom(Asked<Seq, Option<Standing>>);

impl Room for UnmatchedRoom {
    fn is_wanting(&self) -> bool {
        self.0.is_wanting()
    }
    fn keys(&self) -> usize {
        self.0.count()
    }
    fn load<'a>(&'a mut self, conn: &'a mut Conn, center: &'a Center) -> BoxFuture<'a, db::Result<()>> {
        async move {
            for seq in self.0.take_wanted() {
                let standing = store::standing(conn, center, seq).await?;
                self.0.learn(seq, standing);
            }
            Ok(())
        }
        .boxed()
    }
}

/// A sum goes from suspense to a detainee, whole.
#[derive(Debug)]
pub(super) struct CreditUnmatched {
    request: Request,
    sum: Seq,
    detainee: DetaineeId,
    amount: Amount,
    approval: i64,
    facts: UnmatchedCreditFacts,
}

impl CreditUnmatched {
    /// People have decided whose it is.
    pub fn new(
        request: Request,
        (sum, amount): (Seq, Amount),
        detainee: DetaineeId,
        matched_by: Vec<String>,
        approval: ApprovalFacts,
    ) -> CreditUnmatched {
        let facts = UnmatchedCreditFacts {
            detainee: detainee.to_string(),
            amount: amount.to_string(),
            matched_by,
            approval: Some(approval.clone()),
            ..UnmatchedCreditFacts::default()
        };
        CreditUnmatched {
            request,
            sum,
            detainee,
            amount,
            approval: approval.approval,
            facts,
        }
    }
}

impl Command for CreditUnmatched {
    fn request(&self) -> &Request {
        &self.request
    }

    fn want(&self, state: &mut State) {
        state.want_account(chart::SUSPENSE);
        want_split(state, &self.detainee);
        if let Ok(sums) = state.room_mut::<UnmatchedRoom>() {
            sums.0.want(&self.sum);
        }
    }

    fn decide(&self, state: &State, moment: &Moment) -> Result<Draft, Declined> {
        let sum = self.sum;
        let known = state.room::<UnmatchedRoom>()?.0.get(&sum);
        let known = known.ok_or_else(|| Declined::Broken(format!("unmatched sum {sum} is not loaded")))?;
        let Standing { amount, end } = known.as_ref().ok_or(R::NotFound { sum })?;
        require_waiting(sum, end.as_ref())?;
        if *amount != self.amount {
            return Err(Declined::Broken(format!(
                "unmatched sum {sum} is {amount}, not {}",
                self.amount
            )));
        }
        // What was read on both sides of another process's commit: a refusal is guarded, so the lane reads again.
        let suspense = state.balance(chart::SUSPENSE)?;
        if self.amount.exceeds(suspense)? {
            return Err(R::Moved { sum, suspense }.into());
        }
        let standing = state.room::<DetaineeRoom>()?.get_active(&self.detainee)?;
        let date = moment.effective_date;
        let split = split(state, &self.detainee, &standing, chart::SUSPENSE, self.amount, date)?;
        let facts = UnmatchedCreditFacts {
            parts: split.parts,
            policy_version: split.policy_version,
            ..self.facts.clone()
        };
        let draft = Draft::new(
            TransactionKind::UnmatchedCredited,
            split.postings,
            Facts::UnmatchedCredit(facts),
        );
        Ok(draft.reversing(sum))
    }

    fn apply(&self, entry: &Entry, state: &mut State, rows: &mut Rows) -> Result<(), Declined> {
        let Some(Facts::UnmatchedCredit(facts)) = &entry.record.facts else {
            return Err(Declined::Broken("a credit without its facts".into()));
        };
        collect(state, rows, &self.detainee, &facts.parts)?;
        let credited = Credited {
            sum: self.sum,
            seq: entry.seq,
            at: recorded_at(entry)?,
            detainee: &self.detainee,
            approval: self.approval,
            actor: &self.request.actor,
        };
        credited_in_rows(rows, &credited);
        let known = state.room_mut::<UnmatchedRoom>()?.0.get_mut(&self.sum);
        if let Some(Some(standing)) = known {
            standing.end = Some((SumEnd::Credited(self.detainee.clone()), entry.seq));
        }
        Ok(())
    }
}

/// How much of a sum waits in suspense, inside the caller's transaction: all of it.
///
/// Errors: NOT_FOUND, NOT_IN_SUSPENSE.
pub async fn waiting_in_tx(conn: &mut Conn, center: &Center, sum: Seq) -> Result<Amount, Declined> {
    let found = store::standing(conn, center, sum).await?;
    let Standing { amount, end } = found.ok_or(R::NotFound { sum })?;
    require_waiting(sum, end.as_ref())?;
    Ok(amount)
}

/// That a transaction credits a sum to somebody, wherever they are.
#[derive(Debug, Clone, Copy)]
pub struct Credited<'a> {
    /// The sum.
    pub sum: Seq,
    /// The transaction.
    pub seq: Seq,
    /// When.
    pub at: OffsetDateTime,
    /// To whom, by the number that they have, or had, here.
    pub detainee: &'a DetaineeId,
    /// Who allowed it.
    pub approval: i64,
    /// Who asked for it.
    pub actor: &'a str,
}

/// Adds to a statement that a sum is credited, and that nobody has to look at it any more.
pub fn credited_in_rows(rows: &mut Rows, credited: &Credited<'_>) {
    if let Some(ends) = rows.of::<EndRows>() {
        ends.push(credited.sum, credited.seq, credited.detainee, credited.approval);
    }
    let closing = Closing {
        kind: WorkKind::UnmatchedSum,
        subject: &subject(credited.sum),
        at: credited.at,
        actor: credited.actor,
        reason: "credited",
        seq: Some(credited.seq),
    };
    work::close(rows, &closing);
}

/// Refuses what has left suspense.
pub(super) fn require_waiting(sum: Seq, end: Option<&(SumEnd, Seq)>) -> Result<(), R> {
    match end {
        None => Ok(()),
        Some((end, transaction)) => Err(R::NotInSuspense {
            sum,
            state: end.name(),
            transaction: *transaction,
        }),
    }
}
