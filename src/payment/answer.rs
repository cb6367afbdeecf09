//! Reading what the bank says.

use std::collections::HashMap;

use sha2::{Digest as _, Sha256};
use time::{Date, Duration, OffsetDateTime};

use super::{
    Paying, PaymentRefusal as R, Payments, SentPayment,
    entity::{Effect, Told, effects, number_in},
    failure::{self, Message},
    store,
};
use crate::{
    approval::{Person, unreadable},
    bank::{PaymentReport, PaymentStatus, StatementEntry, StatusReport},
    db::Conn,
    ids::RequestId,
    ledger::{Center, LedgerError, Reason, Request, center},
    money::Amount,
    proto::{ApprovalFacts, PaymentContradictionWork, WorkFacts, work_facts::Facts},
    refund,
    settlement::{End, payouts},
    work::{self, NewItem, WorkKind},
};

/// The method that the end of a payment names. No caller can call it.
const METHOD: &str = "custody.v1.PaymentService/EndPayment";
/// Who ends payments. Who brought the bank's file stands with the file.
const ACTOR: &str = "bank/answer";

/// What a status file did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusRead {
    /// Whether the same file was read before.
    pub repeated: bool,
    /// The number of the file it is about.
    pub file: i64,
    /// How many payments it says are paid, rejected and under way.
    pub counts: [usize; 3],
    /// Of which it says the opposite of what is known.
    pub contradictions: Vec<Paying>,
    /// The approval by which others allow that what was rejected is owed again, if anything is.
    pub approval: Option<i64>,
}

/// What a statement did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatementRead {
    /// Whether the same file was read before.
    pub repeated: bool,
    /// What the account had and has.
    pub balances: [Amount; 2],
    /// How many entries are booked, and how many of them are none of our payments.
    pub entries: usize,
    /// How many are none of our payments.
    pub others: usize,
    /// How many payments it books, and how many it gives back.
    pub counts: [usize; 2],
    /// Of which it says the opposite of what is known.
    pub contradictions: Vec<Paying>,
    /// The approval by which others allow that what came back is owed again, if anything is.
    pub approval: Option<i64>,
}

/// What reading a file has done.
struct Taken {
    repeated: bool,
    contradictions: Vec<Paying>,
    approval: Option<i64>,
}

impl Payments {
    /// Reads what the bank says of a file's payments. Nothing changes unless all of it is understood and ours.
    ///
    /// Errors: BANK_NOT_CONFIGURED, BANK_FILE_UNREADABLE, BANK_FILE_FOREIGN.
    pub async fn read_status(&self, center: &Center, content: &[u8], by: &str) -> Result<StatusRead, LedgerError> {
        let channel = &self.bank(center)?.channel;
        let report = channel.status(content, center.currency).map_err(R::Unreadable)?;
        let mut conn = self.lanes.database().read.acquire().await?;
        let file = file_of(&mut conn, center, &report).await?;
        let payments = store::payments(&mut conn, center, file).await?;
        let sent_at = store::files(&mut conn, center, file.saturating_add(1), 1).await?;
        drop(conn);
        if let (Some(date), Some(sent)) = (report.told_on, sent_at.first()) {
            self.require_between(center, date, sent.made_at)?;
        }
        let told = told_by_status(report, payments)?;
        let count = |status| told.iter().filter(|one| one.status == status).count();
        let counts = [PaymentStatus::Paid, PaymentStatus::Rejected, PaymentStatus::Pending].map(count);
        let taken = self.take(center, "STATUS", content, by, &told).await?;
        Ok(StatusRead {
            repeated: taken.repeated,
            file,
            counts,
            contradictions: taken.contradictions,
            approval: taken.approval,
        })
    }

    /// Reads a statement of the center's account. Nothing changes unless all of it is understood and adds up.
    ///
    /// Errors: BANK_NOT_CONFIGURED, BANK_FILE_UNREADABLE, BANK_FILE_FOREIGN.
    pub async fn read_statement(
        &self,
        center: &Center,
        content: &[u8],
        by: &str,
    ) -> Result<StatementRead, LedgerError> {
        let bank = self.bank(center)?;
        let statement = bank
            .channel
            .statement(content, center.currency)
            .map_err(R::Unreadable)?;
        if statement.account != bank.debtor.number {
            let what = "another account".to_owned();
            return Err(R::Foreign { what }.into());
        }
        let mut conn = self.lanes.database().read.acquire().await?;
        let (mut told, mut others) = (Vec::new(), 0);
        for entry in &statement.entries {
            match payment_of(&mut conn, center, entry).await? {
                Some((payment, sent_at)) => {
                    if let Some(date) = entry.booked_on {
                        self.require_between(center, date, sent_at)?;
                    }
                    told.push(booked(payment, entry)?);
                }
                None => others += 1,
            }
        }
        drop(conn);
        let count = |status| told.iter().filter(|one| one.status == status).count();
        let counts = [PaymentStatus::Paid, PaymentStatus::Rejected].map(count);
        let taken = self.take(center, "STATEMENT", content, by, &told).await?;
        Ok(StatementRead {
            repeated: taken.repeated,
            balances: [statement.opening, statement.closing],
            entries: statement.entries.len(),
            others,
            counts,
            contradictions: taken.contradictions,
            approval: taken.approval,
        })
    }

    /// A bank books nothing before it was sent, and nothing of a day that has not come. A day more on each side, for banks in other
    /// time zones.
    fn require_between(&self, center: &Center, date: Date, sent_at: OffsetDateTime) -> Result<(), R> {
        let day = |at: OffsetDateTime| center.zone.business_date(at);
        let (first, last) = (day(sent_at), day(self.lanes.clock().now()));
        let is_between = date - last <= Duration::DAY && first - date <= Duration::DAY;
        is_between.then_some(()).ok_or(R::OtherDate { date })
    }

    /// Keeps the file and raises what contradicts and what failed, together; then ends what was paid one by one, and asks others
    /// whether what failed is owed again. Cut off in between, the same file again does the rest: each end has a request id of its
    /// own, derived from the payment and its end.
    async fn take(
        &self,
        center: &Center,
        kind: &str,
        content: &[u8],
        by: &str,
        told: &[Told],
    ) -> Result<Taken, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        let head = center::head(&mut tx, center.no, true).await?;
        let now = self.lanes.clock().now().max(head.recorded_at);
        let told = known_now(&mut tx, center, told).await?;
        let effects = effects(&told);
        let sha256 = Sha256::digest(content).to_vec();
        let (no, is_new) = store::insert_message(&mut tx, center.no, kind, content, &sha256, now, by).await?;
        let failed: Vec<&Told> = told
            .iter()
            .zip(&effects)
            .filter_map(|(one, effect)| (*effect == Effect::Ends(End::Failed)).then_some(one))
            .collect();
        let total = Amount::sum(failed.iter().map(|one| one.payment.amount), center.currency);
        if is_new && !failed.is_empty() {
            let item = failure::item(no, &failed, total.map_err(unreadable)?, now);
            work::raise_in_tx(&mut tx, center.no, &item).await?;
        }
        let mut contradictions = Vec::new();
        for (one, effect) in told.iter().zip(&effects) {
            if let Effect::Contradicts(known) = effect {
                contradictions.push(one.payment.paying);
                if is_new {
                    work::raise_in_tx(&mut tx, center.no, &contradiction(one, *known, now)).await?;
                }
            }
        }
        tx.commit().await?;
        for (one, effect) in told.iter().zip(&effects) {
            if *effect == Effect::Ends(End::Paid) && !self.end(center, one, End::Paid, None).await? {
                contradictions.push(one.payment.paying);
            }
        }
        let message = Message { no, sha256 };
        let approval = match &failed[..] {
            [] => None,
            failed => Some(self.ask_to_fail(center, &message, failed, &Person::named(by)).await?),
        };
        Ok(Taken {
            repeated: !is_new,
            contradictions,
            approval,
        })
    }

    /// Ends a payment; whether it ended so, now or before. That it failed, others have allowed.
    pub(super) async fn end(
        &self,
        center: &Center,
        told: &Told,
        end: End,
        allowed: Option<ApprovalFacts>,
    ) -> Result<bool, LedgerError> {
        let payment = &told.payment;
        let request = Request {
            id: RequestId::derived(&["bank-payment", center.id.as_str(), &payment.end_to_end_id, end.name()]),
            method: METHOD,
            body: Vec::new(),
            actor: ACTOR.to_owned(),
        };
        let words = match end {
            End::Paid if told.reference.is_empty() => (payment.end_to_end_id.clone(), String::new()),
            End::Paid => (told.reference.clone(), String::new()),
            End::Failed if told.reason.is_empty() => (String::new(), "rejected by the bank".to_owned()),
            End::Failed => (String::new(), told.reason.clone()),
        };
        let ended = match payment.paying {
            Paying::Settlement(seq) => {
                let settlements = &self.settlements;
                settlements.end_by_bank(center, request, seq, end, words, allowed).await
            }
            Paying::Refund(seq) => {
                let is_paid = end == End::Paid;
                self.refunds
                    .end_by_bank(center, request, seq, is_paid, words, allowed)
                    .await
            }
        };
        match ended {
            Ok(_) => Ok(true),
            // Somebody else was faster.
            Err(LedgerError::Refused { refusal, .. }) if refusal.reason() == Reason::NotInTransit => {
                let mut tx = self.lanes.database().lane.begin().await?;
                let head = center::head(&mut tx, center.no, true).await?;
                let now = self.lanes.clock().now().max(head.recorded_at);
                let known = end_of(&mut tx, center, payment.paying).await?;
                let known = known.ok_or(LedgerError::Internal)?;
                if known == end {
                    return Ok(true);
                }
                work::raise_in_tx(&mut tx, center.no, &contradiction(told, known, now)).await?;
                tx.commit().await?;
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

/// The file that a report is about.
async fn file_of(conn: &mut Conn, center: &Center, report: &StatusReport) -> Result<i64, LedgerError> {
    let first = report.payments.first().map(|payment| payment.end_to_end_id.clone());
    let (what, number) = match (&report.message_id, first) {
        (Some(id), _) => (id.clone(), number_in(center.no.0, id)),
        (None, Some(id)) => {
            let payment = store::payment(conn, center, &id).await?;
            (id, payment.map(|payment| payment.file))
        }
        (None, None) => (String::new(), None),
    };
    let found = match number {
        Some(number) => store::files(conn, center, number.saturating_add(1), 1).await?,
        None => Vec::new(),
    };
    let found = found.first().filter(|file| Some(file.number) == number);
    match found {
        Some(file) => Ok(file.number),
        None => Err(R::Foreign { what }.into()),
    }
}

/// What a report says, payment by payment: its own words first, else those for the whole file.
fn told_by_status(report: StatusReport, payments: Vec<SentPayment>) -> Result<Vec<Told>, R> {
    let mut single: HashMap<String, PaymentReport> = HashMap::new();
    for one in report.payments {
        single.insert(one.end_to_end_id.clone(), one);
    }
    let mut told = Vec::with_capacity(payments.len());
    for payment in payments {
        match (single.remove(&payment.end_to_end_id), &report.group) {
            (Some(one), _) => {
                if one.amount.is_some_and(|amount| amount != payment.amount) {
                    let end_to_end_id = one.end_to_end_id;
                    return Err(R::OtherAmount { end_to_end_id });
                }
                told.push(Told {
                    payment,
                    status: one.status,
                    reference: one.reference,
                    reason: one.reason,
                });
            }
            (None, Some((status, reason))) => told.push(Told {
                payment,
                status: *status,
                reference: String::new(),
                reason: reason.clone(),
            }),
            (None, None) => {}
        }
    }
    match single.into_keys().min() {
        Some(what) => Err(R::Foreign { what }),
        None => Ok(told),
    }
}

async fn payment_of(
    conn: &mut Conn,
    center: &Center,
    entry: &StatementEntry,
) -> Result<Option<(SentPayment, OffsetDateTime)>, LedgerError> {
    let Some(id) = &entry.end_to_end_id else {
        return Ok(None);
    };
    let Some(payment) = store::payment(conn, center, id).await? else {
        return Ok(None);
    };
    let files = store::files(conn, center, payment.file.saturating_add(1), 1).await?;
    let file = files.into_iter().next().ok_or(LedgerError::Internal)?;
    Ok(Some((payment, file.made_at)))
}

/// What an entry says of a payment: it left the account, or came back.
fn booked(payment: SentPayment, entry: &StatementEntry) -> Result<Told, R> {
    if entry.amount != payment.amount {
        let end_to_end_id = payment.end_to_end_id;
        return Err(R::OtherAmount { end_to_end_id });
    }
    Ok(Told {
        payment,
        status: if entry.is_credit {
            PaymentStatus::Rejected
        } else {
            PaymentStatus::Paid
        },
        reference: entry.reference.clone(),
        reason: entry.details.clone(),
    })
}

/// The same with what is known while the journal's head is held.
async fn known_now(conn: &mut Conn, center: &Center, told: &[Told]) -> Result<Vec<Told>, LedgerError> {
    let mut known = Vec::with_capacity(told.len());
    for one in told {
        let mut one = one.clone();
        one.payment.end = end_of(conn, center, one.payment.paying).await?;
        known.push(one);
    }
    Ok(known)
}

/// How what a payment pays has ended, if it has.
async fn end_of(conn: &mut Conn, center: &Center, paying: Paying) -> Result<Option<End>, LedgerError> {
    Ok(match paying {
        Paying::Settlement(seq) => {
            let row = payouts::get(conn, center, seq).await?;
            row.and_then(|row| row.end).map(|(_, end)| end)
        }
        Paying::Refund(seq) => {
            let paid = refund::bank::payouts::end(conn, center, seq).await?;
            paid.map(|paid| if paid { End::Paid } else { End::Failed })
        }
    })
}

fn contradiction(told: &Told, known: End, at: OffsetDateTime) -> NewItem {
    let payment = &told.payment;
    let [settlement, refund] = match payment.paying {
        Paying::Settlement(seq) => [seq.0, 0],
        Paying::Refund(seq) => [0, seq.0],
    };
    let facts = PaymentContradictionWork {
        settlement,
        refund,
        payment_file: payment.file,
        end_to_end_id: payment.end_to_end_id.clone(),
        amount: payment.amount.to_string(),
        expected: known.name().to_owned(),
        told: match known {
            End::Paid => End::Failed.name().to_owned(),
            End::Failed => End::Paid.name().to_owned(),
        },
        reason: told.reason.clone(),
    };
    let facts = WorkFacts {
        facts: Some(Facts::PaymentContradiction(facts)),
    };
    NewItem::new(WorkKind::PaymentContradiction, payment.paying.subject(), facts, at)
}
