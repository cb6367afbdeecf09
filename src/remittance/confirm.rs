//! What the gateway says of an order, however it is learnt: by notification, by asking, or by closing.

use futures::stream::{self, StreamExt as _};
use time::{Duration, OffsetDateTime, UtcOffset};

use super::{
    CreditRemittance, Remittances,
    create::leg,
    credit::METHOD,
    delivery::{self, Delivery, Effect, Verdict},
    entity::{LegState, Order, PaymentFacts, Remittance, next_poll, order_number, parse_order_number},
    error::RemittanceRefusal as R,
    store,
    suspense::CreditSuspended,
};
use crate::{
    custody::DetaineeState,
    gateway::{ChannelSet, Gate, GatewayError, PaymentState},
    ids::{CenterNo, RemittanceId, Seq},
    ledger::{
        Center, LedgerError, Outcome, Reason, center,
        outcome::{self, Stored},
    },
    money::{Amount, MoneyError},
    proto::{ContradictionWork, WorkFacts, journal_record::Facts, work_facts},
    work::{self, NewItem, WorkKind},
};

/// How long a claimed poll is left alone by other processes.
const POLL_LEASE: Duration = Duration::minutes(2);
/// The most orders of one look asked about at once.
const POLLS_AT_ONCE: usize = 8;
/// How long asking about one order may take: a question, closing it, and what comes of that.
const POLL_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(15);
/// How long callers have to wait until the gateway is asked about a remittance again.
const QUESTION_PAUSE: Duration = Duration::seconds(10);
/// The same, if it did not answer.
const UNANSWERED_PAUSE: Duration = Duration::SECOND;
/// The most bytes kept of a rejected notification.
const REJECTED_BYTES_MAX: usize = 4096;
/// The center of what tells no center of ours.
pub(super) const NO_CENTER: CenterNo = CenterNo(0);

/// What the gateway says of a paid order.
#[derive(Debug, Clone, PartialEq)]
pub struct Paid {
    /// Our number of the order.
    pub order_number: String,
    /// The gateway's own number of the payment.
    pub gateway_transaction: String,
    /// What the gateway took.
    pub amount: Amount,
    /// When it was paid.
    pub paid_at: OffsetDateTime,
}

/// How something was learnt; told in the legs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learnt {
    /// The gateway said so by itself.
    ByNotification,
    /// We asked.
    ByQuery,
    /// It stands in the gateway's bill.
    ByBill,
}

impl Learnt {
    pub(super) const fn text(self) -> &'static str {
        match self {
            Learnt::ByNotification => "by notification",
            Learnt::ByQuery => "by query",
            Learnt::ByBill => "by the gateway's bill",
        }
    }
}

/// Why a payment is not taken for one of ours. It changes nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RejectedNotice {
    /// We have no such order.
    #[error("unknown_order")]
    UnknownOrder,
    /// The order is another channel's.
    #[error("other_channel")]
    OtherChannel,
    /// Another amount or currency than the order's.
    #[error("other_amount")]
    OtherAmount,
    /// The gateway's transaction has paid another order already.
    #[error("other_order")]
    OtherOrder,
}

impl Remittances {
    /// Takes a payment: brings it into the ledger, and tells its remittance then. A further payment of an order is put into
    /// suspense. Idempotent. What is not one of ours is told, and not acted on.
    pub async fn confirm(
        &self,
        channel: &str,
        paid: &Paid,
        learnt: Learnt,
    ) -> Result<Result<Remittance, RejectedNotice>, LedgerError> {
        match self.take(channel, paid, learnt, None).await? {
            Ok((center, id)) => Ok(Ok(self.remittance(&center, &id).await?)),
            Err(rejected) => Ok(Err(rejected)),
        }
    }

    /// The same, told by a notification, which is kept by the statement that brings the money in; or, when the money is there
    /// already, by itself. The remittance is not read again: a gateway only wants to hear that it was heard.
    pub async fn confirm_told(
        &self,
        channel: &str,
        paid: &Paid,
        delivery: &Delivery,
    ) -> Result<Result<(), RejectedNotice>, LedgerError> {
        let taken = self.take(channel, paid, Learnt::ByNotification, Some(delivery)).await?;
        Ok(taken.map(|_| ()))
    }

    /// Brings a payment into the ledger, if it is not there.
    async fn take(
        &self,
        channel: &str,
        paid: &Paid,
        learnt: Learnt,
        delivery: Option<&Delivery>,
    ) -> Result<Result<(Center, RemittanceId), RejectedNotice>, LedgerError> {
        let Some((center, order)) = self.order(&paid.order_number).await? else {
            return Ok(Err(RejectedNotice::UnknownOrder));
        };
        if order.channel != channel {
            return Ok(Err(RejectedNotice::OtherChannel));
        }
        if order.amount != paid.amount {
            return Ok(Err(RejectedNotice::OtherAmount));
        }
        if let Some((transaction, seq)) = &order.posted
            && *transaction == paid.gateway_transaction
        {
            self.keep_repeated(&center, delivery, &order.id, *seq).await?;
            return Ok(Ok((center, order.id)));
        }
        let payment = PaymentFacts {
            gateway_transaction: paid.gateway_transaction.clone(),
            paid_at: microseconds(paid.paid_at.to_offset(UtcOffset::UTC)),
        };
        let command = CreditRemittance::of(&order, &payment, learnt).told_by(delivery.cloned());
        let request = command.request_id();
        match self.lanes.submit(&center, command).await {
            Ok(posted) if posted.replayed => {
                self.keep_repeated(&center, delivery, &order.id, posted.seq()).await?;
            }
            Ok(_) => {}
            // The request id is made of the gateway's transaction. It was told in other words, or of another order.
            Err(LedgerError::RequestReused { .. }) => {
                let mut conn = self.lanes.database().lane.acquire().await?;
                let stored = outcome::own(&mut conn, &center, request, METHOD).await?;
                drop(conn);
                if remittance_of(&stored).as_deref() != Some(order.id.as_str()) {
                    return Ok(Err(RejectedNotice::OtherOrder));
                }
                if let Outcome::Posted(posted) = stored.outcome() {
                    self.keep_repeated(&center, delivery, &order.id, posted.seq()).await?;
                }
            }
            Err(error) => return Err(error),
        }
        Ok(Ok((center, order.id)))
    }

    /// Keeps a notification of a payment that was in the ledger before. One that was written with the payment is not written again.
    async fn keep_repeated(
        &self,
        center: &Center,
        delivery: Option<&Delivery>,
        remittance: &RemittanceId,
        seq: Seq,
    ) -> Result<(), LedgerError> {
        let Some(delivery) = delivery else {
            return Ok(());
        };
        let verdict = Verdict::believed(Effect::Repeated(seq), remittance.as_str());
        let mut conn = self.lanes.database().lane.acquire().await?;
        Ok(delivery::insert(&mut conn, center.no, delivery, &verdict).await?)
    }

    /// Keeps a notification that was believed and did not bring money in for an order of ours. `number` is the order's or refund's.
    pub async fn keep(&self, delivery: &Delivery, effect: Effect, number: &str) -> Result<(), LedgerError> {
        let center = self.center_told(Some(number)).await?;
        let mut conn = self.lanes.database().lane.acquire().await?;
        Ok(delivery::insert(&mut conn, center, delivery, &Verdict::believed(effect, number)).await?)
    }

    /// The center that an order's or refund's number tells, if it is ours.
    async fn center_told(&self, number: Option<&str>) -> Result<CenterNo, LedgerError> {
        match number.and_then(center_of_number) {
            Some(no) if self.custody.center_of_number(no).await?.is_some() => Ok(no),
            _ => Ok(NO_CENTER),
        }
    }

    /// Credits what is left of a remittance's payment in suspense, if its detainee is active again and no refund of it is on
    /// its way.
    async fn credit_suspended(&self, center: &Center, id: &RemittanceId) -> Result<Remittance, LedgerError> {
        let broken = |error: MoneyError| {
            tracing::error!(%error, "money in suspense cannot be counted");
            LedgerError::Internal
        };
        // Read before everything that is decided by it: whatever moves meanwhile, the lane decides again.
        let mut conn = self.lanes.database().read.acquire().await?;
        let head = center::head(&mut conn, center.no, false).await?;
        drop(conn);
        let remittance = self.remittance(center, id).await?;
        let Some(payment) = remittance.own_suspended().filter(|payment| payment.may_be_credited()) else {
            return Ok(remittance);
        };
        let detainee = self.custody.detainee(center, &remittance.detainee).await?;
        let is_free = payment.in_transit().map_err(broken)?.is_zero() && payment.left().map_err(broken)?.is_positive();
        if detainee.state != DetaineeState::Active || !is_free {
            // Read again: it may have been credited between its legs and its payments were read.
            return self.remittance(center, id).await;
        }
        let command = CreditSuspended::of(&remittance, payment, &head).map_err(broken)?;
        let request = command.request_id();
        match self.lanes.submit(center, command).await {
            // Refused, something was faster; where it stands now is the answer.
            Ok(_) | Err(LedgerError::Refused { .. }) => {}
            // Two read different sums at the same moment of the journal: one of them was decided on.
            Err(LedgerError::RequestReused { .. }) => {
                let mut conn = self.lanes.database().lane.acquire().await?;
                outcome::own(&mut conn, center, request, CreditSuspended::METHOD).await?;
            }
            Err(error) => return Err(error),
        }
        self.remittance(center, id).await
    }

    /// The order that a number names.
    pub async fn order(&self, number: &str) -> Result<Option<(Center, Order)>, LedgerError> {
        let Some((no, id)) = parse_order_number(number) else {
            return Ok(None);
        };
        let Some(center) = self.custody.center_of_number(no).await? else {
            return Ok(None);
        };
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::order(&mut conn, &center, id).await?;
        Ok(found.map(|order| (center, order)))
    }

    /// Keeps a notification that changed nothing. `order_number` is as it says, if it was believed at all. What contradicts what
    /// is known of an order of ours is an item for finance, too, raised in the same transaction.
    pub async fn reject(
        &self,
        channel: &str,
        reason: &str,
        order_number: Option<&str>,
        body: &[u8],
        delivery: Option<&Delivery>,
    ) -> Result<(), LedgerError> {
        let told = order_number.and_then(parse_order_number);
        let no = self.center_told(order_number).await?;
        tracing::warn!(channel, reason, "a notification changed nothing");
        let body = body.get(..REJECTED_BYTES_MAX).unwrap_or(body);
        let now = self.lanes.clock().now();
        let center = self.custody.center_of_number(no).await?;
        let mut tx = self.lanes.database().lane.begin().await?;
        store::insert_rejected(&mut tx, no, channel, reason, now, body).await?;
        if let Some(delivery) = delivery {
            let verdict = Verdict::changed_nothing(reason, order_number);
            delivery::insert(&mut tx, no, delivery, &verdict).await?;
        }
        if let (Some(field), Some(center), Some((_, id))) = (reason.strip_prefix("other_"), center, told)
            && let Some(remittance) = store::remittance(&mut tx, &center, &id).await?
        {
            let item = contradiction(&remittance, channel, (field, "", reason), now);
            work::raise_in_tx(&mut tx, no, &item).await?;
        }
        Ok(tx.commit().await?)
    }

    /// Asks the gateway now what became of a remittance, and acts on the answer. What is in suspense is credited, if it can be.
    /// Callers may have the gateway asked once in [`QUESTION_PAUSE`]; in between they are told what is known.
    pub async fn refresh(&self, center: &Center, id: &RemittanceId) -> Result<Remittance, LedgerError> {
        let remittance = self.remittance(center, id).await?;
        let asks_nobody = [LegState::Credited, LegState::Failed, LegState::Suspended];
        if asks_nobody.contains(&remittance.state()) {
            return self.look_again(center, remittance).await;
        }
        let now = self.lanes.clock().now();
        let mut conn = self.lanes.database().lane.acquire().await?;
        if !store::may_ask(&mut conn, center.no, id, (now, now + QUESTION_PAUSE)).await? {
            return Ok(remittance);
        }
        drop(conn);
        let answer = self.look_again(center, remittance).await;
        if let Err(LedgerError::Refused { refusal, .. }) = &answer
            && refusal.reason() == Reason::GatewayUnavailable
        {
            let mut conn = self.lanes.database().lane.acquire().await?;
            store::free_question(&mut conn, center.no, id, now + UNANSWERED_PAUSE).await?;
        }
        answer
    }

    /// The same, whoever asked before.
    async fn look_again(&self, center: &Center, remittance: Remittance) -> Result<Remittance, LedgerError> {
        let gate = self.gate(&remittance.channel)?;
        match remittance.state() {
            LegState::Credited | LegState::Failed => Ok(remittance),
            LegState::Suspended => self.credit_suspended(center, &remittance.id).await,
            LegState::Created if self.lanes.clock().now() < remittance.expires_at => {
                self.open(center, gate, remittance).await
            }
            _ => self.ask(center, gate, remittance).await,
        }
    }

    /// Asks about an order; closes it when it is past its expiry.
    pub(super) async fn ask(
        &self,
        center: &Center,
        gate: &Gate,
        remittance: Remittance,
    ) -> Result<Remittance, LedgerError> {
        let number = order_number(center.no, &remittance.id);
        let is_over = self.lanes.clock().now() >= remittance.expires_at;
        let is_cancelled = remittance.leg(LegState::Cancelled).is_some();
        // What is cancelled is closed again: an order that was on its way to the gateway then may have been opened after.
        let answer = if is_cancelled || is_over && remittance.leg(LegState::Expired).is_none() {
            gate.channel.close_payment(&number).await
        } else {
            gate.channel.query_payment(&number).await
        };
        match answer {
            Ok(PaymentState::Unpaid) => Ok(remittance),
            Ok(PaymentState::Closed | PaymentState::Unknown) if is_cancelled => Ok(remittance),
            Ok(PaymentState::Closed) => self.expire(center, &remittance, "closed unpaid").await,
            // What the gateway does not know nobody can pay.
            Ok(PaymentState::Unknown) if is_over => self.expire(center, &remittance, "not known to the gateway").await,
            Ok(PaymentState::Unknown) => Err(R::Gateway {
                remittance: remittance.id,
                problem: "the gateway does not know the order".to_owned(),
            }
            .into()),
            Ok(PaymentState::Paid {
                gateway_transaction,
                amount,
                paid_at,
            }) => {
                let paid = Paid {
                    order_number: number,
                    gateway_transaction,
                    amount,
                    paid_at,
                };
                self.confirm_asked(remittance, &paid).await
            }
            Err(error @ GatewayError::Refused { .. }) => Err(R::Gateway {
                remittance: remittance.id,
                problem: error.to_string(),
            }
            .into()),
            Err(error) => Err(R::GatewayUnavailable {
                remittance: remittance.id,
                problem: error.to_string(),
            }
            .into()),
        }
    }

    /// Takes a payment that the gateway tells when it is asked. One that contradicts what is known changes nothing, and is kept.
    pub(super) async fn confirm_asked(&self, remittance: Remittance, paid: &Paid) -> Result<Remittance, LedgerError> {
        let channel = &remittance.channel;
        let rejected = match self.confirm(channel, paid, Learnt::ByQuery).await? {
            Ok(remittance) => return Ok(remittance),
            Err(rejected) => rejected.to_string(),
        };
        let told = format!("{paid:?}");
        self.reject(channel, &rejected, Some(&paid.order_number), told.as_bytes(), None)
            .await?;
        Ok(remittance)
    }

    async fn expire(&self, center: &Center, remittance: &Remittance, detail: &str) -> Result<Remittance, LedgerError> {
        let expired = leg(LegState::Expired, self.lanes.clock().now(), detail);
        self.add_leg(center, &remittance.id, &expired).await
    }

    /// Asks about up to `limit` remittances of a center that are due; see [`Remittances::poll_due_of`].
    pub async fn poll_due(&self, center: &Center, limit: i64) -> Result<usize, LedgerError> {
        self.poll_due_of(center, &ChannelSet::all(), limit).await
    }

    /// Asks about up to `limit` remittances of a center that go through some channels and are due, a few at a time and each for a
    /// limited time, and returns how many. A gateway that is down or hangs only makes them due again later, and so does
    /// whatever else goes wrong with one of them.
    pub async fn poll_due_of(&self, center: &Center, channels: &ChannelSet, limit: i64) -> Result<usize, LedgerError> {
        let now = self.lanes.clock().now();
        let mut conn = self.lanes.database().lane.acquire().await?;
        let due = store::claim_polls(&mut conn, center.no, channels, (now, now + POLL_LEASE), limit).await?;
        drop(conn);
        let asked = due.len();
        let each = |(id, attempts)| async move {
            if let Err(error) = self.poll(center, &id, attempts).await {
                tracing::warn!(center = %center.id, remittance = %id, %error, "when to ask again is not known; after the lease");
            }
        };
        stream::iter(due).for_each_concurrent(POLLS_AT_ONCE, each).await;
        Ok(asked)
    }

    async fn poll(&self, center: &Center, id: &RemittanceId, attempts: i32) -> Result<(), LedgerError> {
        let remittance = self.remittance(center, id).await?;
        match tokio::time::timeout(POLL_TIME_MAX, self.look_again(center, remittance)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::warn!(center = %center.id, remittance = %id, %error, "the gateway's answer is still open");
            }
            Err(_) => tracing::warn!(center = %center.id, remittance = %id, "asking takes too long; later again"),
        }
        let remittance = self.remittance(center, id).await?;
        let next = next_poll(&remittance, attempts, self.lanes.clock().now());
        let mut conn = self.lanes.database().lane.acquire().await?;
        Ok(store::set_poll(&mut conn, center.no, id, next).await?)
    }
}

/// The item of what a gateway says against what is known of a remittance: which fact, what is known, and what it says.
pub fn contradiction(
    remittance: &Remittance,
    channel: &str,
    (field, expected, told): (&str, &str, &str),
    at: OffsetDateTime,
) -> NewItem {
    let known = match field {
        "amount" => remittance.amount.to_string(),
        "channel" => remittance.channel.clone(),
        _ => expected.to_owned(),
    };
    let facts = ContradictionWork {
        remittance: remittance.id.to_string(),
        channel: channel.to_owned(),
        field: field.to_owned(),
        expected: known,
        told: told.to_owned(),
        gateway_transaction: remittance
            .payment()
            .map(|payment| payment.gateway_transaction.clone())
            .unwrap_or_default(),
    };
    let facts = WorkFacts {
        facts: Some(work_facts::Facts::Contradiction(facts)),
    };
    NewItem::new(
        WorkKind::Contradiction,
        format!("remittances/{}", remittance.id),
        facts,
        at,
    )
}

/// The center's number, with which numbers of ours at gateways begin (after an `F` those of refunds).
fn center_of_number(number: &str) -> Option<CenterNo> {
    let digits = number.strip_prefix('F').unwrap_or(number).split('-').next()?;
    let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten().map(CenterNo)
}

/// As precise as it is kept, so that records and rows tell the same instant.
fn microseconds(at: OffsetDateTime) -> OffsetDateTime {
    at.replace_microsecond(at.microsecond()).unwrap_or(at)
}

/// The remittance that a stored credit, or a payment put into suspense, was of.
fn remittance_of(stored: &Stored) -> Option<String> {
    let Outcome::Posted(posted) = stored.outcome() else {
        return None;
    };
    match &posted.record.facts {
        Some(Facts::Credit(facts)) => Some(facts.remittance.clone()),
        Some(Facts::Suspense(facts)) => Some(facts.remittance.clone()),
        _ => None,
    }
}
