//! Money that comes for somebody who has moved follows them.
//!
//! It is put into suspense where it comes, and goes on from there by one database transaction: out of suspense here, and split by the
//! rules of the center where the detainee is now, however often they have moved. The balance cap there does not send it back: what was
//! accepted under the rules of the center that it was sent to is not refused. Its request is made of the payment, so that it goes once.
//! While the detainee is nobody's to be credited there, it waits, with a work item; after its time in suspense it goes back to its
//! payer like everything else.

use futures::future::{BoxFuture, FutureExt as _};
use time::{Duration, OffsetDateTime};

use super::{TransferRefusal as R, Transfers, execute::elsewhere, posting, store};
use crate::{
    custody::{self, Detainee, room::DetaineeRoom},
    db::Conn,
    distribution::{
        REMAINDER,
        room::{Split, collect, split},
    },
    ids::{DetaineeId, RemittanceId, RequestId, Seq},
    ledger::{
        Center, Declined, Draft, JournalTx, LedgerError, RareCommand, Request, State, center, chart, record,
        transaction,
    },
    money::Amount,
    proto::{
        ApprovalFacts, ElsewhereFacts, ForwardedFacts, LateMoneyWork, LayerFacts, TransactionKind, WorkFacts,
        journal_record::Facts, work_facts,
    },
    refund::layer_name,
    remittance::{
        self, DueReturn, Remittance, Remittances,
        suspense::{self, Movement, SuspendedPayment},
        want_split,
    },
    unmatched,
    work::{self, NewItem, WorkKind},
};

/// The method that both sides' requests name. No caller can call it.
pub(super) const METHOD: &str = "custody.v1.TransferService/ForwardMoney";
/// How soon it is tried again, in minutes; then every hour.
const AGAIN_AFTER_MIN: [i64; 3] = [1, 5, 30];

/// A payment in suspense follows a detainee who moved.
pub(super) struct ForwardPayment {
    pub request: Request,
    pub remittance: RemittanceId,
    pub payment: Seq,
    /// Where the detainee is now: the center that was found, and may be the same.
    pub to: Center,
    /// Who released it, of a payment that was held for review.
    pub release: Option<ApprovalFacts>,
}

/// A payment, and who gets it.
struct Source {
    remittance: Remittance,
    payment: SuspendedPayment,
    left: Amount,
    detainee: Detainee,
}

impl ForwardPayment {
    /// Of what follows by itself.
    fn by_itself(center: &Center, due: &DueReturn, attempt: &str, to: Center) -> ForwardPayment {
        let [center, payment] = [center.id.to_string(), due.payment.to_string()];
        ForwardPayment {
            request: Request {
                // Of each attempt: that the detainee could not have it does not stand in the way of the next.
                id: RequestId::derived(&["forward", &center, &payment, attempt]),
                method: METHOD,
                body: format!("{center} {payment} {attempt}").into_bytes(),
                actor: "job/late_money".to_owned(),
            },
            remittance: due.remittance.clone(),
            payment: due.payment,
            to,
            release: None,
        }
    }

    async fn source(&self, tx: &mut JournalTx) -> Result<Source, Declined> {
        let center = tx.center().clone();
        let remittance = remittance::remittance_in_tx(tx.conn(), &center, &self.remittance).await?;
        let remittance = remittance.ok_or(R::NotInSuspense)?;
        let payment = remittance.own_suspended().filter(|payment| payment.seq == self.payment);
        let payment = payment.ok_or(R::NotInSuspense)?.clone();
        let left = payment.left()?;
        let is_held = remittance.under_review().is_some();
        if !left.is_positive() || !payment.in_transit()?.is_zero() || is_held != self.release.is_some() {
            return Err(R::NotInSuspense.into());
        }
        let detainee = now_in_tx(tx.conn(), &center, &remittance.detainee, &self.to).await?;
        Ok(Source {
            remittance,
            payment,
            left,
            detainee,
        })
    }

    async fn forward(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let center = tx.center().clone();
        let source = self.source(tx).await?;
        self.leave_suspense(tx, &source).await?;
        let (remittance, payment) = (&source.remittance, &source.payment);
        let layer = LayerFacts {
            remittance: layer_name(&center, remittance.id.as_str()),
            payer: payer_now_in_tx(tx.conn(), &center, remittance).await?,
            original: remittance.amount.to_string(),
            refunded: payment.refunded()?.to_string(),
            credited_at: Some(record::timestamp(payment.recorded_at)),
            ..LayerFacts::default()
        };
        let going = Going {
            request: &self.request,
            to: &self.to,
            there: &source.detainee.id,
            of: self.payment,
            amount: source.left,
            facts: ForwardedFacts {
                detainee: remittance.detainee.to_string(),
                remittance: remittance.id.to_string(),
                payer: remittance.payer.to_string(),
                channel: remittance.channel.clone(),
                gateway_transaction: payment.gateway_transaction.clone(),
                paid_at: Some(record::timestamp(payment.paid_at)),
                amount: source.left.to_string(),
                approval: self.release.clone(),
                ..ForwardedFacts::default()
            },
            layer: Some(layer),
        };
        going.send(tx).await
    }

    /// Writes down that the payment has left suspense, and what its payer is told of it.
    async fn leave_suspense(&self, tx: &mut JournalTx, source: &Source) -> Result<(), Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let told = suspense::Move {
            payment: self.payment,
            seq: moment.seq,
            at: moment.recorded_at,
            actor: &self.request.actor,
            movement: Movement::Credited,
            amount: source.left,
        };
        suspense::move_in_tx(tx.conn(), &center, &told).await?;
        suspense::all_taken_in_tx(tx.conn(), center.no, self.payment).await?;
        let (at, release) = ((moment.seq, moment.recorded_at), self.release.as_ref());
        let reason = release.map(|release| release.reason.as_str());
        remittance::forwarded_in_tx(tx.conn(), &center, &self.remittance, at, reason).await?;
        Ok(())
    }
}

/// Who a remittance's payer is where the detainee is now; nobody if their link did not move.
async fn payer_now_in_tx(conn: &mut Conn, center: &Center, remittance: &Remittance) -> Result<String, Declined> {
    let (mut center, mut detainee) = (center.clone(), remittance.detainee.clone());
    let mut payer = remittance.payer.to_string();
    while let Some(row) = store::left(conn, &center, &detainee).await? {
        let found = transaction::get(&mut *conn, center.no, row.seq).await?;
        let Some(Facts::Transfer(facts)) = found.and_then(|found| found.record.facts) else {
            return Err(Declined::Broken(format!("transfer {} is not in the journal", row.seq)));
        };
        let Some(moved) = facts.payers.into_iter().find(|moved| moved.from == payer) else {
            return Ok(String::new());
        };
        let next = custody::center_in_tx(conn, &row.other_center).await?;
        center = next.ok_or_else(|| Declined::Broken(format!("center {} is gone", row.other_center)))?;
        (payer, detainee) = (moved.to, row.other_detainee);
    }
    Ok(payer)
}

/// Money in suspense that goes after somebody.
struct Going<'a> {
    request: &'a Request,
    to: &'a Center,
    /// The detainee there.
    there: &'a DetaineeId,
    /// The transaction that put it into suspense.
    of: Seq,
    amount: Amount,
    /// As they are told here.
    facts: ForwardedFacts,
    /// Whose money it is, but for how much of it can be spent; nobody's that could be refunded.
    layer: Option<LayerFacts>,
}

impl Going<'_> {
    /// Splits it by the rules of the center where it goes, and makes both sides of its way; the draft of this journal's.
    async fn send(self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment, to) = (tx.center().clone(), tx.moment(), self.to);
        let is_here = center.no == to.no;
        let there = if is_here { moment } else { tx.next_moment(to.no)? };
        let from_account = if is_here { chart::SUSPENSE } else { chart::INTER_CENTER };
        let id = self.there;
        let want = |state: &mut State| {
            state.want_account(from_account);
            want_split(state, id);
        };
        let mut state = tx.known_of(to.no, want).await?;
        let standing = state.room::<DetaineeRoom>()?.get_active(id)?;
        let made = split(&state, id, &standing, from_account, self.amount, there.effective_date)?;
        collect(&mut state, tx.rows_of(to.no)?, id, &made.parts)?;
        let out = if is_here { Seq::ZERO } else { moment.seq };
        let arrived = self.arrived(&center, &made, out)?;
        let in_draft = Draft::new(TransactionKind::ForwardedIn, made.postings, Facts::Forwarded(arrived));
        if is_here {
            return Ok(in_draft.reversing(self.of));
        }
        let request = Request {
            id: RequestId::derived(&["forwarded", &self.request.id.to_string()]),
            ..self.request.clone()
        };
        tx.add(to.no, request, in_draft)?;
        let facts = ForwardedFacts {
            other: Some(elsewhere(to.id.as_str(), id, there.seq)),
            ..self.facts
        };
        let posting = posting::forwarded(self.amount);
        let draft = Draft::new(TransactionKind::ForwardedOut, vec![posting], Facts::Forwarded(facts));
        Ok(draft.reversing(self.of))
    }

    /// What the receiving side tells. `out` is the other side's transaction; 0 when both are one, which then tells who allowed it.
    fn arrived(&self, center: &Center, made: &Split, out: Seq) -> Result<ForwardedFacts, Declined> {
        let spendable = made.parts.iter().filter(|part| part.rule == REMAINDER);
        let amounts = spendable.map(|part| Amount::parse(&part.amount, center.currency));
        let amount = Amount::sum(amounts.collect::<Result<Vec<_>, _>>()?, center.currency)?;
        let layer = self.layer.clone().filter(|_| amount.is_positive());
        let from = ElsewhereFacts {
            center: center.id.to_string(),
            detainee: self.facts.detainee.clone(),
            seq: out.0,
        };
        Ok(ForwardedFacts {
            detainee: self.there.to_string(),
            other: Some(from),
            parts: made.parts.clone(),
            policy_version: made.policy_version,
            layer: layer.map(|layer| LayerFacts {
                amount: amount.to_string(),
                ..layer
            }),
            approval: self.facts.approval.clone().filter(|_| out == Seq::ZERO),
            ..self.facts.clone()
        })
    }
}

/// Money without an order, of which people have decided that it is somebody's who has moved.
pub(super) struct ForwardSum {
    pub request: Request,
    pub sum: Seq,
    /// Whose it is, by the number that they had here.
    pub detainee: DetaineeId,
    /// Where they are now.
    pub to: Center,
    pub approval: ApprovalFacts,
}

impl ForwardSum {
    async fn forward(&self, tx: &mut JournalTx) -> Result<Draft, Declined> {
        let (center, moment) = (tx.center().clone(), tx.moment());
        let amount = unmatched::waiting_in_tx(tx.conn(), &center, self.sum).await?;
        let there = now_in_tx(tx.conn(), &center, &self.detainee, &self.to).await?;
        let credited = unmatched::Credited {
            sum: self.sum,
            seq: moment.seq,
            at: moment.recorded_at,
            detainee: &self.detainee,
            approval: self.approval.approval,
            actor: &self.request.actor,
        };
        unmatched::credited_in_rows(tx.rows_of(center.no)?, &credited);
        let going = Going {
            request: &self.request,
            to: &self.to,
            there: &there.id,
            of: self.sum,
            amount,
            facts: ForwardedFacts {
                detainee: self.detainee.to_string(),
                amount: amount.to_string(),
                approval: Some(self.approval.clone()),
                ..ForwardedFacts::default()
            },
            layer: None,
        };
        going.send(tx).await
    }
}

/// Where somebody is now, which must be the center that was found before its journal was locked.
async fn now_in_tx(conn: &mut Conn, center: &Center, detainee: &DetaineeId, to: &Center) -> Result<Detainee, Declined> {
    let now = custody::where_now_in_tx(conn, center, detainee).await?;
    match now {
        Some((found, now)) if found.no == to.no => Ok(now),
        // They have moved on since, and the next attempt finds them.
        _ => Err(R::NotMoved {
            detainee: detainee.clone(),
        }
        .into()),
    }
}

impl RareCommand for ForwardSum {
    fn request(&self) -> &Request {
        &self.request
    }

    fn other(&self) -> Option<&Center> {
        Some(&self.to)
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.forward(tx).boxed()
    }
}

impl RareCommand for ForwardPayment {
    fn request(&self) -> &Request {
        &self.request
    }

    fn other(&self) -> Option<&Center> {
        Some(&self.to)
    }

    fn run<'a>(&'a self, tx: &'a mut JournalTx) -> BoxFuture<'a, Result<Draft, Declined>> {
        self.forward(tx).boxed()
    }
}

impl Transfers {
    /// Sends up to `limit` payments of a center after the detainees who moved; how many it looked at. What cannot follow has a work
    /// item, and is tried again later.
    pub async fn forward_late(
        &self,
        remittances: &Remittances,
        center: &Center,
        limit: i64,
    ) -> Result<usize, LedgerError> {
        let due = remittances.claim_late(center, limit).await?;
        for each in &due {
            if let Err(error) = self.forward(center, each).await {
                let payment = each.payment;
                tracing::warn!(center = %center.id, %payment, %error, "late money cannot follow yet");
                let now = self.lanes.clock().now();
                if let LedgerError::Refused { refusal, .. } = &error {
                    let reason = refusal.reason().as_str_name();
                    let reason = reason.strip_prefix("REASON_").unwrap_or(reason);
                    self.raise_late(center, each, (reason, now)).await?;
                }
                remittances
                    .late_again(center, payment, again_at(each.attempts, now))
                    .await?;
            }
        }
        Ok(due.len())
    }

    async fn forward(&self, center: &Center, due: &DueReturn) -> Result<(), LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let remittance = remittance::remittance_in_tx(&mut conn, center, &due.remittance).await?;
        let detainee = remittance.ok_or(LedgerError::Internal)?.detainee;
        let now = custody::where_now_in_tx(&mut conn, center, &detainee).await?;
        // A refusal is kept under its request: as long as nothing has happened there, asking again would be answered with it.
        let (to, _) = now.ok_or(R::NotMoved { detainee })?;
        let head = center::head(&mut conn, to.no, false).await?;
        drop(conn);
        let attempt = format!("{} {}", head.seq, head.rules_version);
        let command = ForwardPayment::by_itself(center, due, &attempt, to);
        self.lanes.submit_rare(center, command).await.map(drop)
    }

    async fn raise_late(
        &self,
        center: &Center,
        due: &DueReturn,
        (reason, at): (&str, OffsetDateTime),
    ) -> Result<(), LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        // Whoever sends it away meanwhile waits, and closes what is raised here.
        center::head(&mut tx, center.no, true).await?;
        let remittance = remittance::remittance_in_tx(&mut tx, center, &due.remittance).await?;
        let remittance = remittance.ok_or(LedgerError::Internal)?;
        let mut suspended = remittance.suspended.iter().filter(|payment| payment.seq == due.payment);
        let left = suspended
            .next()
            .map(SuspendedPayment::left)
            .transpose()
            .map_err(Declined::from)?;
        let Some(left) = left.filter(|left| left.is_positive()) else {
            return Ok(());
        };
        let now = custody::where_now_in_tx(&mut tx, center, &remittance.detainee).await?;
        let known = LateMoneyWork {
            remittance: remittance.id.to_string(),
            detainee: remittance.detainee.to_string(),
            amount: left.to_string(),
            destination: now.map_or_else(String::new, |(center, detainee)| place(&center, &detainee.id)),
            reason: reason.to_owned(),
        };
        let facts = WorkFacts {
            facts: Some(work_facts::Facts::LateMoney(known)),
        };
        let item = NewItem::new(WorkKind::LateMoney, suspense::subject(due.payment), facts, at);
        work::raise_in_tx(&mut tx, center.no, &item).await?;
        Ok(tx.commit().await?)
    }
}

fn place(center: &Center, detainee: &DetaineeId) -> String {
    format!("centers/{}/detainees/{detainee}", center.id)
}

fn again_at(attempts: i32, now: OffsetDateTime) -> OffsetDateTime {
    let tried = usize::try_from(attempts).unwrap_or_default().saturating_sub(1);
    now + Duration::minutes(AGAIN_AFTER_MIN.get(tried).copied().unwrap_or(60))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn what_cannot_follow_is_tried_again_after_1_5_30_minutes_then_hourly() {
        let now = datetime!(2031-05-06 07:00:00 UTC);
        let minutes = [1, 2, 3, 4, 50].map(|attempts| (again_at(attempts, now) - now).whole_minutes());
        assert_eq!(minutes, [1, 5, 30, 60, 60]);
    }
}
