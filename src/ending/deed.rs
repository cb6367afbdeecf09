//! What always takes several people: keeping money that nobody collects, paying the treasury, merging two bookings.

use futures::future::{BoxFuture, FutureExt as _};
use time::OffsetDateTime;

use super::{
    ask,
    change::{detainee, holdings},
    entity::{SumState, year_after},
    error::EndingRefusal as R,
    item::{self, detainee_subject, sum_subject},
    payout::{free_holdings, require_nothing_held},
    posting, store,
};
use crate::{
    approval::{Kind, NewApproval, Question, VALID, relation},
    custody::{self, DetaineeState},
    db::Conn,
    distribution,
    ids::{DetaineeId, Seq},
    ledger::{Center, Declined, Draft, JournalTx, LedgerError, Posting, RareCommand, Request, record},
    money::Amount,
    payer,
    proto::{ApprovalFacts, MergeFacts, TransactionKind, TreasuryFacts, UnclaimedFacts, journal_record::Facts},
};

/// What is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    /// What a person has who left without collecting it is kept for them.
    Keep {
        /// Whose money.
        detainee: DetaineeId,
    },
    /// The treasury is paid after a year.
    Treasury {
        /// Whose money.
        detainee: DetaineeId,
        /// The transaction that made it unclaimed; none for what is in the accounts.
        sum: Option<Seq>,
        /// The number of the receipt.
        receipt: String,
    },
    /// Two bookings become one.
    Merge {
        /// The booking that ends.
        from: DetaineeId,
        /// The booking that stays.
        into: DetaineeId,
    },
}

impl Deed {
    /// The kind, as others decide on it.
    pub(super) const fn kind(&self) -> Kind {
        match self {
            Deed::Keep { .. } => ask::KEEP,
            Deed::Treasury { .. } => ask::TREASURY,
            Deed::Merge { .. } => ask::MERGE,
        }
    }

    fn detainee(&self) -> &DetaineeId {
        match self {
            Deed::Keep { detainee } | Deed::Treasury { detainee, .. } => detainee,
            Deed::Merge { from, .. } => from,
        }
    }

    fn subject(&self) -> String {
        match self {
            Deed::Treasury { sum: Some(sum), .. } => sum_subject(*sum),
            other => detainee_subject(other.detainee()),
        }
    }
}

/// A deed that is asked for, or allowed.
pub(super) struct DoDeed {
    pub request: Request,
    pub deed: Deed,
    /// The document's number; the treasury's receipt is its own.
    pub document: String,
    pub reason: String,
    pub approval: Option<ApprovalFacts>,
}

/// What a deed moves.
struct Moves {
    amount: Amount,
    postings: Vec<Posting>,
}

impl DoDeed {
    async fn moves(&self, conn: &mut Conn, center: &Center, now: OffsetDateTime) -> Result<Moves, Declined> {
        relation::require_unrelated(conn, center.no, &self.request.actor, self.deed.detainee()).await?;
        match &self.deed {
            Deed::Keep { detainee } => {
                let (from, amount) = free_holdings(conn, center, detainee, &[DetaineeState::Active]).await?;
                let postings = posting::kept(&from);
                Ok(Moves { amount, postings })
            }
            Deed::Treasury {
                detainee, sum: None, ..
            } => self.estate(conn, center, detainee, now).await,
            Deed::Treasury {
                detainee,
                sum: Some(sum),
                ..
            } => {
                let found = store::sum(conn, center, *sum).await?;
                let found = found.filter(|found| found.detainee == *detainee);
                let found = found.ok_or(R::SumNotFound { sum: *sum })?;
                if found.state != SumState::Waiting {
                    let state = found.state.name();
                    return Err(R::NotUnclaimed { sum: *sum, state }.into());
                }
                require_year(found.made_at, now)?;
                Ok(Moves {
                    amount: found.amount,
                    postings: vec![posting::to_treasury(found.amount)],
                })
            }
            Deed::Merge { from, into } => merge(conn, center, from, into).await,
        }
    }

    /// What is in the accounts of who died or escaped a year ago.
    async fn estate(
        &self,
        conn: &mut Conn,
        center: &Center,
        id: &DetaineeId,
        now: OffsetDateTime,
    ) -> Result<Moves, Declined> {
        let states = [DetaineeState::Deceased, DetaineeState::Escaped];
        let (from, amount) = free_holdings(conn, center, id, &states).await?;
        let since = store::last_change(conn, center.no, id).await?;
        let (since, _) = since.ok_or_else(|| Declined::Broken(format!("nothing tells when {id} died or escaped")))?;
        require_year(since, now)?;
        let mut postings = posting::kept(&from);
        postings.push(posting::to_treasury(amount));
        Ok(Moves { amount, postings })
    }

    fn facts(&self, amount: Amount) -> Facts {
        let (document, reason, approval) = (self.document.clone(), self.reason.clone(), self.approval.clone());
        let amount = amount.to_string();
        match &self.deed {
            Deed::Keep { detainee } => Facts::MadeUnclaimed(UnclaimedFacts {
                detainee: detainee.to_string(),
                amount,
                document,
                reason,
                approval,
            }),
            Deed::Treasury { detainee, sum, receipt } => Facts::Treasury(TreasuryFacts {
                detainee: detainee.to_string(),
                unclaimed: sum.map_or(0, |sum| sum.0),
                amount,
                receipt: receipt.clone(),
                reason,
                approval,
            }),
            Deed::Merge { from, into } => Facts::Merge(MergeFacts {
                detainee: from.to_string(),
                into: into.to_string(),
                amount,
                document,
                reason,
                approval,
            }),
        }
    }

    fn summary(&self, amount: Amount, center: &Center) -> String {
        let what = format!("{amount} {}", center.currency);
        match &self.deed {
            Deed::Keep { detainee } => {
                format!("Keep {what} of detainee {detainee}, who left without collecting it, until it is claimed.")
            }
            Deed::Treasury { detainee, receipt, .. } => {
                format!("Pay {what} of detainee {detainee} to the treasury under receipt {receipt}.")
            }
            Deed::Merge { from, into } => {
                format!("Merge booking {from} into {into}: both are one person. {what} becomes {into}'s.")
            }
        }
    }

    async fn asked(
        &self,
        conn: &mut Conn,
        center: &Center,
        now: OffsetDateTime,
    ) -> Result<Option<NewApproval>, LedgerError> {
        let amount = self.moves(conn, center, now).await?.amount;
        Ok(Some(NewApproval {
            kind: self.deed.kind().name,
            subject: self.deed.subject(),
            command: command(&self.facts(amount)),
            summary: self.summary(amount, center),
            amount: amount.is_positive().then_some(amount),
            valid: VALID,
        }))
    }

    async fn run(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let Some(approval) = self.approval.as_ref().map(|approval| approval.approval) else {
            return Err(R::NotAllowedAlone.into());
        };
        let Moves { amount, postings } = self.moves(tx.conn(), &center, moment.recorded_at).await?;
        let (seq, at, actor) = (moment.seq, moment.recorded_at, self.request.actor.as_str());
        let kind = match &self.deed {
            Deed::Keep { detainee } => {
                store::insert_sum(tx.conn(), center.no, seq, detainee, amount, at).await?;
                custody::set_state_in_tx(tx.conn(), &center, detainee, DetaineeState::Released).await?;
                item::close(tx, &detainee_subject(detainee), actor, "kept until it is claimed").await?;
                item::raise_sum(tx.conn(), &center, (seq, detainee, amount), None, at).await?;
                item::raise_owing(tx, detainee).await?;
                TransactionKind::MadeUnclaimed
            }
            Deed::Treasury { detainee, sum, .. } => {
                if sum.is_none() {
                    store::insert_sum(tx.conn(), center.no, seq, detainee, amount, at).await?;
                }
                store::insert_sum_end(tx.conn(), center.no, sum.unwrap_or(seq), "TREASURY", seq).await?;
                item::close(tx, &self.deed.subject(), actor, "paid to the treasury").await?;
                TransactionKind::PaidToTreasury
            }
            Deed::Merge { from, into } => {
                store::insert_merge(tx.conn(), center.no, (from, into), seq, approval).await?;
                custody::set_state_in_tx(tx.conn(), &center, from, DetaineeState::Merged).await?;
                payer::follow_in_tx(tx.conn(), center.no, (from, into), actor, at).await?;
                item::close(tx, &detainee_subject(from), actor, "merged").await?;
                TransactionKind::DetaineesMerged
            }
        };
        tx.touch_rules();
        Ok(Draft::new(kind, postings, self.facts(amount)))
    }
}

fn require_year(since: OffsetDateTime, now: OffsetDateTime) -> Result<(), R> {
    let due = year_after(since);
    if now < due { Err(R::YearNotOver { due }) } else { Ok(()) }
}

/// What the duplicate has becomes the other's, account by account. Nothing of it may be on its way, owed, or collected by a court.
async fn merge(conn: &mut Conn, center: &Center, from: &DetaineeId, into: &DetaineeId) -> Result<Moves, Declined> {
    if from == into {
        return Err(R::SameBooking.into());
    }
    let (duplicate, other) = (detainee(conn, center, from).await?, detainee(conn, center, into).await?);
    for person in [&duplicate, &other] {
        if person.state != DetaineeState::Active {
            let (detainee, state) = (person.id.clone(), person.state.name());
            return Err(R::CustodyState { detainee, state }.into());
        }
    }
    let refunds = store::open_refunds(conn, center.no, from).await?;
    if refunds > 0 {
        return Err(R::InFlight { refunds }.into());
    }
    if let Some(debt) = distribution::first_owed_in_tx(conn, center, from).await? {
        return Err(R::StillOwing { debt }.into());
    }
    if let Some(order) = distribution::first_collected_in_tx(conn, center, from).await? {
        let order = order.to_string();
        return Err(R::StillCollected { order }.into());
    }
    require_nothing_held(conn, center, from).await?;
    let holdings = holdings(conn, center, &duplicate).await?;
    // The order that withholds it is about the duplicate.
    if let Some((_, withheld)) = holdings.last().filter(|(_, withheld)| !withheld.is_zero()) {
        return Err(R::Withheld { withheld: *withheld }.into());
    }
    Ok(Moves {
        amount: Amount::sum(holdings.iter().map(|(_, amount)| *amount), center.currency)?,
        postings: posting::merged(&holdings, other.accounts()),
    })
}

/// The command that runs, encoded as its facts without the approval.
fn command(facts: &Facts) -> Vec<u8> {
    match facts {
        Facts::MadeUnclaimed(facts) => record::canonical(facts),
        Facts::Treasury(facts) => record::canonical(facts),
        Facts::Merge(facts) => record::canonical(facts),
        _ => Vec::new(),
    }
}

impl RareCommand for DoDeed {
    fn request(&self) -> &Request {
        &self.request
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        DoDeed::run(self, tx).boxed()
    }
}

impl Question for DoDeed {
    fn check<'a>(
        &'a self,
        conn: &'a mut Conn,
        center: &'a Center,
        now: OffsetDateTime,
    ) -> BoxFuture<'a, Result<Option<NewApproval>, LedgerError>> {
        self.asked(conn, center, now).boxed()
    }
}
