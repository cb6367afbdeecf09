//! Remittances and their last legs against the transactions that brought them into the ledger.

use std::collections::{BTreeMap, HashMap};

use futures::future::{BoxFuture, FutureExt as _};
use rust_decimal::Decimal;

use super::{
    LegState,
    screening::{BALANCE_CAP_EXCEEDED, BROUGHT_BACK, DETAINEE_TRANSFERRED, goes_back, is_screening},
    suspense::{CREDIT_REVERSED, DUPLICATE_PAYMENT, FORWARDED, Movement, OUT_OF_SUSPENSE},
};
use crate::{
    db::Conn,
    ids::AccountNo,
    ledger::{
        Code, record,
        verify::{Check, Owner, Page, VerifyError},
    },
    proto::{CreditFacts, JournalRecord, SuspenseFacts, TransactionKind, journal_record::Facts},
};

/// Every credit and suspense has its remittance, with the same facts and its leg; no other remittance has such a leg. What is
/// in suspense, and what became of it, is what the records say.
#[derive(Debug, Default)]
pub struct RemittancesCheck {
    /// Refunds in transit of money in suspense, and the transactions that had put it there.
    refunds: HashMap<i64, i64>,
    /// Payments that were put into suspense, or so much of them as was.
    suspended: HashMap<i64, Suspended>,
}

/// A payment in suspense, as far as its going back by itself is concerned.
#[derive(Debug)]
struct Suspended {
    remittance: String,
    left: Decimal,
    goes_back: bool,
    is_under_review: bool,
    /// Whether it follows a detainee who moved.
    follows: bool,
}

impl Check for RemittancesCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            let followed = self.follow(page)?;
            legs(conn, page, followed.rejected).await?;
            payments(conn, page).await?;
            notifications(conn, page).await?;
            movements(conn, page, &followed.movements).await
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            self.returns(conn, page).await?;
            self.late(conn, page).await?;
            clearing(conn, page).await?;
            approved(conn, page).await
        }
        .boxed()
    }
}

/// What a page of records did to money in suspense.
#[derive(Debug, Default)]
struct Followed {
    /// The legs of reviews that ended against their remittance.
    rejected: BTreeMap<String, LegRow>,
    movements: BTreeMap<i64, (String, i64, Decimal)>,
}

/// The state that a record brings its remittance to, its detail, until when it is held, and the facts that both kinds share.
fn told(record: &JournalRecord) -> Option<(LegState, String, Option<record::Timestamp>, CreditFacts)> {
    match record.facts.clone()? {
        Facts::Credit(facts) => {
            let detail = if record.reverses == 0 { "" } else { OUT_OF_SUSPENSE };
            Some((LegState::Credited, detail.to_owned(), None, facts))
        }
        Facts::Forwarded(facts) if forwards_payment(record) => {
            let shared = CreditFacts {
                remittance: facts.remittance,
                detainee: match facts.other {
                    Some(other) if other.seq == 0 => other.detainee,
                    _ => facts.detainee,
                },
                payer: facts.payer,
                channel: facts.channel,
                gateway_transaction: facts.gateway_transaction,
                paid_at: facts.paid_at,
                amount: facts.amount,
                release: facts.approval,
                ..CreditFacts::default()
            };
            Some((LegState::Credited, FORWARDED.to_owned(), None, shared))
        }
        // A further payment takes no leg.
        Facts::Suspense(facts) if facts.reason == DUPLICATE_PAYMENT => None,
        Facts::Suspense(facts) => {
            let shared = CreditFacts {
                remittance: facts.remittance,
                detainee: facts.detainee,
                payer: facts.payer,
                channel: facts.channel,
                gateway_transaction: facts.gateway_transaction,
                paid_at: facts.paid_at,
                amount: facts.amount,
                ..CreditFacts::default()
            };
            let state = if is_screening(&facts.reason) {
                LegState::Held
            } else {
                LegState::Suspended
            };
            Some((state, facts.reason, facts.review_deadline, shared))
        }
        _ => None,
    }
}

/// Whether a record sends a payment in suspense after a detainee who moved: the side in the journal that had it in suspense.
fn forwards_payment(record: &JournalRecord) -> bool {
    match &record.facts {
        Some(Facts::Forwarded(facts)) => record.reverses != 0 && !facts.remittance.is_empty(),
        _ => false,
    }
}

/// `rejected` are the legs that refunds of held money have added.
async fn legs(conn: &mut Conn, page: &Page<'_>, rejected: BTreeMap<String, LegRow>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        r#"select l.seq as "seq!", l.remittance_id, l.state, l.at, l.detail, l.deadline,
                  r.detainee_id as "detainee_id?", r.payer_id as "payer_id?", r.channel as "channel?",
                  r.amount as "amount?", paid.gateway_transaction as "gateway_transaction?", paid.paid_at as "paid_at?"
           from remittance_leg l
           left join remittance r on r.center_id = l.center_id and r.remittance_id = l.remittance_id
           left join remittance_leg paid on paid.center_id = l.center_id and paid.remittance_id = l.remittance_id
               and paid.state = 'PAID'
           where l.center_id = $1 and l.seq > $2 and l.seq <= $3"#,
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let (mut stored, mut stored_facts) = (BTreeMap::new(), BTreeMap::new());
    for row in rows {
        // Out of suspense comes what was left there.
        let amount = row
            .amount
            .filter(|_| ![OUT_OF_SUSPENSE, FORWARDED].contains(&row.detail.as_str()));
        let facts = (row.detainee_id, row.payer_id, row.channel, amount);
        let payment = (row.gateway_transaction, row.paid_at.map(record::timestamp));
        let key = format!("{} {}", row.remittance_id, row.state);
        // Their transaction tells more of the remittance by another leg.
        if ![LegState::Released.name(), LegState::Rejected.name()].contains(&row.state.as_str()) {
            stored_facts.insert(key.clone(), (facts, payment));
        }
        let deadline = row.deadline.map(record::timestamp);
        stored.insert(key, (row.seq, Some(record::timestamp(row.at)), row.detail, deadline));
    }
    let (mut explained, mut explained_facts) = (rejected, BTreeMap::new());
    for record in page.records {
        let Some((state, detail, deadline, facts)) = told(record) else {
            continue;
        };
        if !matches!(record.facts, Some(Facts::Forwarded(_))) {
            let parties = [Owner::detainee(&facts.detainee), Owner::channel(&facts.channel)];
            page.parties(record, &parties)?;
        }
        let key = format!("{} {}", facts.remittance, state.name());
        let amount = whole(page, record, &facts)?;
        let amount = Some(amount).filter(|_| record.reverses == 0);
        explained.insert(key.clone(), (record.seq, record.recorded_at, detail, deadline));
        if let Some(release) = facts.release {
            let key = format!("{} {}", facts.remittance, LegState::Released.name());
            let leg = (record.seq, record.recorded_at, release.reason, None);
            explained.insert(key, leg);
        }
        let payment = (Some(facts.gateway_transaction), facts.paid_at);
        let facts_of = (Some(facts.detainee), Some(facts.payer), Some(facts.channel), amount);
        explained_facts.insert(key, (facts_of, payment));
    }
    page.same_rows("remittance_leg", &explained, &stored)?;
    page.same_rows("remittance", &explained_facts, &stored_facts)
}

/// A leg: its transaction, when it was reached, its detail and until when it is held.
type LegRow = (i64, Option<record::Timestamp>, String, Option<record::Timestamp>);

/// All that was paid: what is credited, and what was over the cap.
fn whole(page: &Page<'_>, record: &JournalRecord, facts: &CreditFacts) -> Result<Decimal, VerifyError> {
    let credited = page.amount(record, &facts.amount)?;
    if facts.excess.is_empty() {
        return Ok(credited);
    }
    let sum = credited.checked_add(page.amount(record, &facts.excess)?);
    sum.ok_or_else(|| page.differs(record, "what was paid overflows"))
}

/// What a record puts into suspense, if it does: a payment that is not credited, so much of one as is over the cap, or one that was
/// credited and should not have been.
fn put_aside(record: &JournalRecord) -> Option<SuspenseFacts> {
    match record.facts.clone()? {
        Facts::Suspense(facts) => Some(facts),
        Facts::Credit(facts) if !facts.excess.is_empty() => Some(SuspenseFacts {
            remittance: facts.remittance,
            detainee: facts.detainee,
            payer: facts.payer,
            channel: facts.channel,
            gateway_transaction: facts.gateway_transaction,
            paid_at: facts.paid_at,
            amount: facts.excess,
            reason: BALANCE_CAP_EXCEEDED.to_owned(),
            review_deadline: None,
        }),
        Facts::CreditReversal(facts) => Some(SuspenseFacts {
            remittance: facts.remittance,
            detainee: facts.detainee,
            payer: facts.payer,
            channel: facts.channel,
            gateway_transaction: facts.gateway_transaction,
            paid_at: facts.paid_at,
            amount: facts.amount,
            reason: CREDIT_REVERSED.to_owned(),
            review_deadline: None,
        }),
        Facts::BroughtBack(facts) if is_brought_here(record) => Some(SuspenseFacts {
            remittance: facts.remittance.rsplit('/').next().unwrap_or_default().to_owned(),
            detainee: match facts.other {
                Some(other) if other.seq == 0 => other.detainee,
                _ => facts.detainee,
            },
            payer: facts.payer,
            channel: facts.channel,
            gateway_transaction: facts.gateway_transaction,
            paid_at: facts.paid_at,
            amount: facts.amount,
            reason: BROUGHT_BACK.to_owned(),
            review_deadline: None,
        }),
        _ => None,
    }
}

/// Whether a record puts money into suspense that was brought back: both sides are one when it was paid in the same center.
fn is_brought_here(record: &JournalRecord) -> bool {
    match &record.facts {
        Some(Facts::BroughtBack(facts)) => {
            let is_one = facts.other.as_ref().is_some_and(|other| other.seq == 0);
            record.kind() == TransactionKind::BroughtBackIn || is_one
        }
        _ => false,
    }
}

/// What was put into suspense, of whose remittances.
async fn payments(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        r#"select s.seq, s.remittance_id, s.gateway_transaction, s.paid_at, s.amount, s.reason, s.recorded_at,
                  r.detainee_id as "detainee_id?", r.payer_id as "payer_id?", r.channel as "channel?"
           from suspended_payment s
           left join remittance r on r.center_id = s.center_id and r.remittance_id = s.remittance_id
           where s.center_id = $1 and s.seq > $2 and s.seq <= $3"#,
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows.into_iter().map(|row| {
        let of = (row.remittance_id, row.detainee_id, row.payer_id, row.channel);
        let times = [row.paid_at, row.recorded_at].map(|at| Some(record::timestamp(at)));
        (row.seq, (of, row.gateway_transaction, row.amount, row.reason, times))
    });
    let mut explained = BTreeMap::new();
    for record in page.records {
        if let Some(facts) = put_aside(record) {
            // Whom it is about that is brought back is looked at with the other side of it.
            if !matches!(record.facts, Some(Facts::BroughtBack(_))) {
                let parties = [Owner::detainee(&facts.detainee), Owner::channel(&facts.channel)];
                page.parties(record, &parties)?;
            }
            let amount = page.amount(record, &facts.amount)?;
            let of = (
                facts.remittance,
                Some(facts.detainee),
                Some(facts.payer),
                Some(facts.channel),
            );
            let times = [facts.paid_at, record.recorded_at];
            explained.insert(record.seq, (of, facts.gateway_transaction, amount, facts.reason, times));
        }
    }
    page.same_rows("suspended_payment", &explained, &stored.collect())
}

/// A notification that has to do with a transaction names the one of its own channel and remittance. Transactions of before
/// notifications were kept, and those that were learnt by asking, have none.
async fn notifications(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        r#"select delivery_id, seq as "seq!", channel, subject, effect from notification
           where center_id = $1 and seq > $2 and seq <= $3 order by delivery_id"#,
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let mut told = BTreeMap::new();
    for record in page.records {
        // A credit may put what is over the cap into suspense besides.
        if let Some(Facts::Credit(facts)) = record.facts.clone() {
            told.insert(record.seq, ("CREDITED", facts.channel, facts.remittance));
        } else if let Some(facts) = put_aside(record) {
            told.insert(record.seq, ("SUSPENDED", facts.channel, facts.remittance));
        }
    }
    for row in rows {
        let is_told = told.get(&row.seq).is_some_and(|(effect, channel, remittance)| {
            (row.effect == "REPEATED" || row.effect == *effect) && row.channel == *channel && row.subject == *remittance
        });
        if !is_told {
            let what = format!(
                "{} {} by transaction {}, which says otherwise",
                row.effect, row.subject, row.seq
            );
            return Err(page.row_differs("notification", row.delivery_id, what));
        }
    }
    Ok(())
}

impl RemittancesCheck {
    /// Follows money in suspense: what moved it, and which reviews ended against their remittance.
    fn follow(&mut self, page: &Page<'_>) -> Result<Followed, VerifyError> {
        let mut followed = Followed::default();
        for record in page.records {
            if let Some(facts) = put_aside(record) {
                let suspended = Suspended {
                    left: page.amount(record, &facts.amount)?,
                    goes_back: goes_back(&facts.reason),
                    is_under_review: is_screening(&facts.reason),
                    follows: facts.reason == DETAINEE_TRANSFERRED,
                    remittance: facts.remittance,
                };
                self.suspended.insert(record.seq, suspended);
                continue;
            }
            let Some((movement, seq, amount)) = self.movement(page, record)? else {
                continue;
            };
            let row = (movement.name().to_owned(), seq, amount);
            followed.movements.insert(record.seq, row);
            let Some(payment) = self.suspended.get_mut(&seq) else {
                continue;
            };
            let left = match movement {
                Movement::Taken | Movement::Credited => payment.left.checked_sub(amount),
                Movement::PutBack => payment.left.checked_add(amount),
                Movement::PaidBack => Some(payment.left),
            };
            payment.left = left.ok_or_else(|| page.differs(record, "what is left in suspense overflows"))?;
            match movement {
                Movement::Taken => {
                    payment.goes_back &= !payment.left.is_zero();
                    payment.follows &= !payment.left.is_zero();
                }
                // What the cap did not let in.
                Movement::Credited => {
                    payment.goes_back = !payment.left.is_zero();
                    payment.follows &= !payment.left.is_zero();
                }
                Movement::PutBack | Movement::PaidBack => {}
            }
            let was_under_review = std::mem::take(&mut payment.is_under_review);
            if let (true, Some(Facts::Refund(facts))) = (was_under_review, &record.facts) {
                let key = format!("{} {}", facts.remittance, LegState::Rejected.name());
                let leg = (record.seq, record.recorded_at, facts.reason.clone(), None);
                followed.rejected.insert(key, leg);
            }
        }
        Ok(followed)
    }

    /// What is still to go back by itself.
    async fn returns(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            "select payment_seq, remittance_id from payment_return where center_id = $1",
            page.center.no.0,
        )
        .fetch_all(conn)
        .await?;
        let stored = rows
            .into_iter()
            .map(|row| (row.payment_seq, row.remittance_id))
            .collect();
        let due = self.suspended.iter().filter(|(_, payment)| payment.goes_back);
        let explained = due.map(|(seq, payment)| (*seq, payment.remittance.clone())).collect();
        page.same_rows("payment_return", &explained, &stored)
    }

    /// What is still to follow somebody who moved.
    async fn late(&self, conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
        let rows = sqlx::query!(
            "select payment_seq, remittance_id from late_money where center_id = $1",
            page.center.no.0,
        )
        .fetch_all(conn)
        .await?;
        let stored = rows
            .into_iter()
            .map(|row| (row.payment_seq, row.remittance_id))
            .collect();
        let due = self.suspended.iter().filter(|(_, payment)| payment.follows);
        let explained = due.map(|(seq, payment)| (*seq, payment.remittance.clone())).collect();
        page.same_rows("late_money", &explained, &stored)
    }

    /// What a record did to money in suspense, if it did: to which payment, and how much.
    fn movement(
        &mut self,
        page: &Page<'_>,
        record: &JournalRecord,
    ) -> Result<Option<(Movement, i64, Decimal)>, VerifyError> {
        let (movement, payment) = match record.kind() {
            TransactionKind::Credit if record.reverses != 0 => (Movement::Credited, record.reverses),
            _ if forwards_payment(record) => (Movement::Credited, record.reverses),
            TransactionKind::RefundRequested if record.reverses != 0 => {
                self.refunds.insert(record.seq, record.reverses);
                (Movement::Taken, record.reverses)
            }
            TransactionKind::RefundSucceeded | TransactionKind::RefundFailed => {
                let Some(payment) = self.refunds.remove(&record.reverses) else {
                    return Ok(None);
                };
                match record.kind() {
                    TransactionKind::RefundSucceeded => (Movement::PaidBack, payment),
                    _ => (Movement::PutBack, payment),
                }
            }
            _ => return Ok(None),
        };
        let mut sum = Decimal::ZERO;
        for posting in &record.postings {
            let more = sum.checked_add(page.amount(record, &posting.amount)?);
            sum = more.ok_or_else(|| page.differs(record, "its postings overflow"))?;
        }
        Ok(Some((movement, payment, sum)))
    }
}

/// What became of money in suspense.
async fn movements(
    conn: &mut Conn,
    page: &Page<'_>,
    explained: &BTreeMap<i64, (String, i64, Decimal)>,
) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select seq, payment_seq, kind, amount from suspense_movement
         where center_id = $1 and seq > $2 and seq <= $3",
        page.center.no.0,
        page.after.0,
        page.through.0,
    )
    .fetch_all(conn)
    .await?;
    let stored = rows
        .into_iter()
        .map(|row| (row.seq, (row.kind, row.payment_seq, row.amount)))
        .collect();
    page.same_rows("suspense_movement", explained, &stored)
}

/// Money comes in through the account of the remittance's own channel.
async fn clearing(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let rows = sqlx::query!(
        "select clearing_no, channel, min(remittance_id) as remittance_id from remittance
         where center_id = $1 group by clearing_no, channel",
        page.center.no.0,
    )
    .fetch_all(conn)
    .await?;
    for row in rows {
        let owner = Owner::channel(&row.channel);
        let found = page
            .accounts
            .require(AccountNo(row.clearing_no), Code::GatewayClearing, owner.as_str());
        found.map_err(|what| page.row_differs("remittance", row.remittance_id.unwrap_or_default(), what))?;
    }
    Ok(())
}

/// Nobody remits by a link that was never approved.
async fn approved(conn: &mut Conn, page: &Page<'_>) -> Result<(), VerifyError> {
    let wrong = sqlx::query_scalar!(
        "select r.remittance_id from remittance r
         where r.center_id = $1 and not exists (
             select from payer_link_leg l
             where l.center_id = r.center_id and l.payer_id = r.payer_id and l.detainee_id = r.detainee_id
               and l.state in ('APPROVED', 'GRANTED'))
         order by r.number limit 1",
        page.center.no.0,
    )
    .fetch_optional(conn)
    .await?;
    match wrong {
        Some(remittance) => Err(page.row_differs("remittance", remittance, "its payer's link was never approved")),
        None => Ok(()),
    }
}
