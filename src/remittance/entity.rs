//! Remittances and where they stand, pure.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};
use time::{Duration, OffsetDateTime};

use super::suspense::SuspendedPayment;
use crate::{
    gateway::PaymentMethod,
    ids::{AccountNo, CenterId, CenterNo, DetaineeId, IdError, PayerId, RemittanceId, RequestId, Seq},
    money::Amount,
    proto::DistributionPart,
};

/// The gateway is asked about a remittance this long after it was created, in minutes; then every hour.
const POLL_AFTER_MIN: [i64; 3] = [1, 5, 30];
/// How long after its expiry the gateway is still asked about a remittance that was closed unpaid.
const POLL_GRACE: Duration = Duration::hours(6);
/// The shortest pause between two questions.
const POLL_PAUSE: Duration = Duration::MINUTE;

/// Where a remittance stands. Each state is reached at most once; the greatest of those reached is where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LegState {
    /// Accepted here, not yet known to the gateway.
    Created,
    /// Payable at the gateway.
    Pending,
    /// The gateway refused the order.
    Failed,
    /// Not paid in time. A late payment is still taken.
    Expired,
    /// Given up before it was paid, and closed at the gateway. A payment that comes all the same is still taken.
    Cancelled,
    /// Paid at the gateway. Written with the transaction that brings the money into the ledger.
    Paid,
    /// Paid, and put into suspense for review.
    Held,
    /// Paid, but put into suspense.
    Suspended,
    /// Two people let it through the review.
    Released,
    /// The review ended against it, or without a decision. The money goes back.
    Rejected,
    /// In the detainee's accounts.
    Credited,
}

impl LegState {
    /// All of them, in their order.
    pub const ALL: [LegState; 11] = [
        LegState::Created,
        LegState::Pending,
        LegState::Failed,
        LegState::Expired,
        LegState::Cancelled,
        LegState::Paid,
        LegState::Held,
        LegState::Suspended,
        LegState::Released,
        LegState::Rejected,
        LegState::Credited,
    ];

    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            LegState::Created => "CREATED",
            LegState::Pending => "PENDING",
            LegState::Failed => "FAILED",
            LegState::Expired => "EXPIRED",
            LegState::Cancelled => "CANCELLED",
            LegState::Paid => "PAID",
            LegState::Held => "HELD",
            LegState::Suspended => "SUSPENDED",
            LegState::Released => "RELEASED",
            LegState::Rejected => "REJECTED",
            LegState::Credited => "CREDITED",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<LegState> {
        LegState::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// One state of a remittance's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Leg {
    /// The state reached.
    pub state: LegState,
    /// When.
    pub at: OffsetDateTime,
    /// More about it, for people.
    pub detail: String,
    /// Where the payer pays; of `Pending`.
    pub payment_url: Option<String>,
    /// What a page inside the gateway's app hands to the app; of `Pending`, empty for a link.
    pub prepay: BTreeMap<String, String>,
    /// What the gateway says of the payment; of `Paid`.
    pub payment: Option<PaymentFacts>,
    /// The transaction; of `Held` and every state after it.
    pub seq: Option<Seq>,
    /// Until when it is held; of `Held`.
    pub deadline: Option<OffsetDateTime>,
}

/// What the gateway says of a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentFacts {
    /// The gateway's own number.
    pub gateway_transaction: String,
    /// When it was paid.
    pub paid_at: OffsetDateTime,
}

/// One payment by a payer for a detainee.
#[derive(Debug, Clone, PartialEq)]
pub struct Remittance {
    /// Its id, the tracking code that families are told.
    pub id: RemittanceId,
    /// Its place among the center's remittances, from 1.
    pub number: i64,
    /// The request that created it.
    pub request_id: RequestId,
    /// Who pays.
    pub payer: PayerId,
    /// For whom.
    pub detainee: DetaineeId,
    /// How much, gross.
    pub amount: Amount,
    /// The gateway channel.
    pub channel: String,
    /// How it is paid.
    pub method: PaymentMethod,
    /// The channel's clearing account.
    pub clearing: AccountNo,
    /// How it would be split, reckoned when it was created.
    pub preview: Vec<DistributionPart>,
    /// When it was created.
    pub created_at: OffsetDateTime,
    /// Until when it can be paid.
    pub expires_at: OffsetDateTime,
    /// Every state it went through, oldest first.
    pub legs: Vec<Leg>,
    /// Its payments that were put into suspense, oldest first.
    pub suspended: Vec<SuspendedPayment>,
}

/// What a payment of a remittance is booked by.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The remittance.
    pub id: RemittanceId,
    /// Who ordered it.
    pub payer: PayerId,
    /// Who gets the money.
    pub detainee: DetaineeId,
    /// How much.
    pub amount: Amount,
    /// The channel it is paid by.
    pub channel: String,
    /// The channel's clearing account.
    pub clearing: AccountNo,
    /// When it was ordered.
    pub created_at: OffsetDateTime,
    /// The gateway's number of its own payment, if that is in the ledger, and the last transaction that moved it.
    pub posted: Option<(String, Seq)>,
}

impl Remittance {
    /// Where it stands.
    pub fn state(&self) -> LegState {
        self.legs.iter().map(|leg| leg.state).max().unwrap_or(LegState::Created)
    }

    /// The leg of a state, if it was reached.
    pub fn leg(&self, state: LegState) -> Option<&Leg> {
        self.legs.iter().find(|leg| leg.state == state)
    }

    /// Whether its money is in the ledger.
    pub fn is_posted(&self) -> bool {
        self.state() >= LegState::Held
    }

    /// Whether it has ended without a payment, so that nobody should be able to pay it.
    pub fn is_given_up(&self) -> bool {
        matches!(self.state(), LegState::Failed | LegState::Expired | LegState::Cancelled)
    }

    /// What the gateway says of its payment.
    pub fn payment(&self) -> Option<&PaymentFacts> {
        self.leg(LegState::Paid).and_then(|leg| leg.payment.as_ref())
    }

    /// The transaction that credited or, unless it is credited, suspended it.
    pub fn seq(&self) -> Option<Seq> {
        self.leg(self.state()).and_then(|leg| leg.seq)
    }

    /// The leg that tells for how long it is held for review, while that is not decided.
    pub fn under_review(&self) -> Option<&Leg> {
        let is_decided = [LegState::Released, LegState::Rejected].map(|state| self.leg(state).is_some());
        self.leg(LegState::Held).filter(|_| is_decided == [false, false])
    }

    /// Its own payment, if that was put into suspense, or so much of it as was over the cap.
    pub fn own_suspended(&self) -> Option<&SuspendedPayment> {
        let mut suspended = self.suspended.iter();
        suspended.find(|payment| !payment.is_duplicate() && !payment.is_reversed() && !payment.is_brought_back())
    }
}

/// The id of the remittance that a request creates: `R` and 16 hexadecimal digits of a hash of center and request.
pub fn remittance_id(center: &CenterId, request: RequestId) -> Result<RemittanceId, IdError> {
    let digest = Sha256::new()
        .chain_update(center.as_str())
        .chain_update([0])
        .chain_update(request.0.as_bytes())
        .finalize();
    let digits: String = hex::encode_upper(digest).chars().take(16).collect();
    RemittanceId::parse(&format!("R{digits}"))
}

/// The order's number at the gateway: at most 32 of `[0-9A-Z-]`. It tells the center, so that a notification finds its row.
pub fn order_number(center: CenterNo, id: &RemittanceId) -> String {
    format!("{center}-{id}")
}

/// Reads an order number of ours.
pub fn parse_order_number(text: &str) -> Option<(CenterNo, RemittanceId)> {
    let (center, id) = text.split_once('-')?;
    let center = CenterNo(center.parse().ok()?);
    let id = RemittanceId::parse(id).ok()?;
    // Only the one form that is written: no sign, no leading zero.
    (order_number(center, &id) == text).then_some((center, id))
}

/// When the gateway is asked for the first time.
pub fn first_poll(created_at: OffsetDateTime) -> OffsetDateTime {
    created_at + Duration::minutes(POLL_AFTER_MIN[0])
}

/// When the gateway is asked again after `attempts` questions; none when there is no more to learn.
pub fn next_poll(remittance: &Remittance, attempts: i32, now: OffsetDateTime) -> Option<OffsetDateTime> {
    if remittance.is_posted() || remittance.state() == LegState::Failed {
        return None;
    }
    let asked = usize::try_from(attempts).unwrap_or_default();
    let minutes = match POLL_AFTER_MIN.get(asked) {
        Some(minutes) => *minutes,
        None => 30 + 60 * (i64::from(attempts) - 2),
    };
    let mut next = (remittance.created_at + Duration::minutes(minutes)).max(now + POLL_PAUSE);
    if now < remittance.expires_at {
        // At the expiry the order is closed, whatever the rhythm.
        next = next.min(remittance.expires_at.max(now + POLL_PAUSE));
    }
    let is_closed = matches!(remittance.state(), LegState::Expired | LegState::Cancelled);
    let is_over = is_closed && next > remittance.expires_at + POLL_GRACE;
    (!is_over).then_some(next)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;
    use crate::money::Currency;

    const CREATED: OffsetDateTime = datetime!(2031-05-06 07:00:00 UTC);

    fn remittance(states: &[LegState]) -> Remittance {
        let currency = Currency::parse("CNY").unwrap();
        let leg = |state: &LegState| Leg {
            state: *state,
            at: CREATED,
            detail: String::new(),
            payment_url: None,
            prepay: BTreeMap::new(),
            payment: None,
            seq: None,
            deadline: None,
        };
        Remittance {
            id: RemittanceId::parse("R1").unwrap(),
            number: 1,
            request_id: RequestId(Uuid::from_u128(1)),
            payer: PayerId::parse("P1").unwrap(),
            detainee: DetaineeId::parse("D1").unwrap(),
            amount: Amount::parse("100", currency).unwrap(),
            channel: "webhook".into(),
            method: PaymentMethod::Link,
            clearing: AccountNo(20),
            preview: Vec::new(),
            created_at: CREATED,
            expires_at: CREATED + Duration::hours(2),
            legs: states.iter().map(leg).collect(),
            suspended: Vec::new(),
        }
    }

    #[test]
    fn the_greatest_state_counts_in_whatever_order_it_was_learnt() {
        use LegState as S;
        let state = |states: &[S]| remittance(states).state();
        assert_eq!(state(&[S::Created]), S::Created);
        assert_eq!(state(&[S::Created, S::Paid, S::Pending]), S::Paid);
        assert_eq!(
            state(&[S::Created, S::Pending, S::Expired, S::Paid, S::Credited]),
            S::Credited
        );
        for each in S::ALL {
            assert_eq!(S::from_name(each.name()), Some(each));
        }
    }

    #[test]
    fn order_numbers_come_back_and_fit_every_gateway() {
        let center = CenterId::parse("north").unwrap();
        let id = remittance_id(&center, RequestId(Uuid::from_u128(7))).unwrap();
        assert_eq!(id, remittance_id(&center, RequestId(Uuid::from_u128(7))).unwrap());
        assert_ne!(id, remittance_id(&center, RequestId(Uuid::from_u128(8))).unwrap());
        let number = order_number(CenterNo(i32::MAX), &id);
        assert!((6..=32).contains(&number.len()), "{number}");
        assert_eq!(parse_order_number(&number), Some((CenterNo(i32::MAX), id)));
        for bad in ["", "R1", "1", "-", "01-R1", "+1-R1", "1-", "1-R 1", "99999999999-R1"] {
            assert_eq!(parse_order_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn the_gateway_is_asked_after_1_5_30_minutes_then_hourly_and_at_the_expiry() {
        let open = remittance(&[LegState::Created, LegState::Pending]);
        let minutes = |attempts, at: i64| {
            next_poll(&open, attempts, CREATED + Duration::minutes(at)).map(|next| (next - CREATED).whole_minutes())
        };
        assert_eq!(first_poll(CREATED) - CREATED, Duration::MINUTE);
        assert_eq!(minutes(1, 1), Some(5));
        assert_eq!(minutes(2, 5), Some(30));
        assert_eq!(minutes(3, 30), Some(90));
        assert_eq!(minutes(4, 90), Some(120), "the expiry");
        assert_eq!(minutes(5, 120), Some(210));
        assert_eq!(minutes(3, 1000), Some(1001), "never at once again");
        assert!(
            minutes(5000, 100_000).is_some(),
            "until the gateway has said that it is closed"
        );
    }

    #[test]
    fn there_is_an_end_to_asking() {
        use LegState as S;
        let late = CREATED + Duration::hours(9);
        for done in [S::Credited, S::Suspended, S::Held, S::Rejected, S::Failed] {
            assert_eq!(next_poll(&remittance(&[S::Created, done]), 3, CREATED), None);
        }
        assert_eq!(next_poll(&remittance(&[S::Created, S::Expired]), 9, late), None);
        assert_eq!(next_poll(&remittance(&[S::Created, S::Cancelled]), 9, late), None);
        assert!(next_poll(&remittance(&[S::Created, S::Cancelled]), 1, CREATED).is_some());
        assert!(next_poll(&remittance(&[S::Created, S::Expired, S::Paid]), 9, late).is_some());
    }
}
