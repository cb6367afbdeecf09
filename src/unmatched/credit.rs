//! Crediting money without an order to the detainee whose it is: suspense to the accounts that the distribution says.

use futures::future::{BoxFuture, FutureExt as _};

use super::{
    Sum, SumEnd, UnmatchedRefusal as R,
    store::{self, EndRows},
    subject,
};
use crate::{
    custody::room::DetaineeRoom,
    db::{self, Conn},
    distribution::room::{collect, split},
    ids::{DetaineeId, RequestId, Seq},
    ledger::{
        Asked, Center, Command, Declined, Draft, Entry, Moment, Request, Room, Rows, State, center::Head, chart, record,
    },
    money::Amount,
    proto::{ApprovalFacts, CreditUnmatchedCommand, TransactionKind, UnmatchedCreditFacts, journal_record::Facts},
    remittance::{accepted_of, recorded_at, want_split},
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
    facts: UnmatchedCreditFacts,
}

impl CreditUnmatched {
    /// It was certain whose it is, at a moment of the journal. The moment is part of the request id: a refusal then (the person has
    /// left) does not stand in the way of a later attempt. That it happens once is decided by the lane.
    pub fn matched(sum: &Sum, detainee: &DetaineeId, matched_by: Vec<String>, head: &Head) -> CreditUnmatched {
        let [seq, at, rules] = [sum.seq.0, head.seq.0, head.rules_version].map(|number| number.to_string());
        let command = CreditUnmatchedCommand {
            seq: sum.seq.0,
            detainee: detainee.to_string(),
            amount: sum.amount.to_string(),
        };
        let request = Request {
            id: RequestId::derived(&["unmatched", &seq, &at, &rules]),
            method: METHOD,
            body: record::canonical(&command),
            actor: "service/matching".to_owned(),
        };
        let facts = UnmatchedCreditFacts {
            matched_by,
            ..UnmatchedCreditFacts::default()
        };
        CreditUnmatched::of(request, sum.seq, detainee.clone(), sum.amount, facts)
    }

    /// People have decided whose it is.
    pub fn decided(
        request: Request,
        sum: Seq,
        detainee: DetaineeId,
        amount: Amount,
        approval: ApprovalFacts,
    ) -> CreditUnmatched {
        let facts = UnmatchedCreditFacts {
            approval: Some(approval),
            ..UnmatchedCreditFacts::default()
        };
        CreditUnmatched::of(request, sum, detainee, amount, facts)
    }

    fn of(request: Request, sum: Seq, detainee: DetaineeId, amount: Amount, facts: UnmatchedCreditFacts) -> Self {
        let facts = UnmatchedCreditFacts {
            detainee: detainee.to_string(),
            amount: amount.to_string(),
            ..facts
        };
        CreditUnmatched {
            request,
            sum,
            detainee,
            amount,
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
        // Judged before, too; but others may have been credited since. People may decide to exceed the cap.
        let accepted = accepted_of(state, &self.detainee, &standing, self.amount, moment.recorded_at)?;
        if self.facts.approval.is_none() && self.amount.exceeds(accepted)? {
            let (detainee, amount) = (self.detainee.clone(), self.amount);
            return Err(R::OverCap {
                sum,
                detainee,
                amount,
                accepted,
            }
            .into());
        }
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
        if let Some(ends) = rows.of::<EndRows>() {
            ends.push(self.sum, entry.seq, &self.detainee);
        }
        let closing = Closing {
            kind: WorkKind::UnmatchedSum,
            subject: &subject(self.sum),
            at: recorded_at(entry)?,
            actor: &self.request.actor,
            reason: "credited",
            seq: Some(entry.seq),
        };
        work::close(rows, &closing);
        let known = state.room_mut::<UnmatchedRoom>()?.0.get_mut(&self.sum);
        if let Some(Some(standing)) = known {
            standing.end = Some((SumEnd::Credited(self.detainee.clone()), entry.seq));
        }
        Ok(())
    }
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
