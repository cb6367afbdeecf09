//! The whole way of a remittance's money, as its payer is told it: the remittance's own legs, and what went back, derived from the
//! refunds.

use std::collections::HashMap;

use time::{Duration, OffsetDateTime};

use super::{RefundState, Refunds, store, words};
use crate::{
    ids::{RemittanceId, Seq},
    ledger::{Center, LedgerError},
    money::{Amount, MoneyError},
    remittance::{
        Leg, LegState, Remittance,
        suspense::{self, SuspendedPayment},
    },
};

/// How long money in suspense stays there before it goes back.
const SUSPENSE_MAX: Duration = Duration::days(7);
/// How long a gateway is given to pay money back.
const RETURN_MAX: Duration = Duration::days(3);

/// Where a remittance, or one of its legs, stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// One of its own states.
    Of(LegState),
    /// Money that was not credited is on its way back.
    Returning,
    /// All of it went back.
    Returned,
    /// What was not credited went back.
    PartReturned,
    /// Credited money is on its way back.
    Refunding,
    /// Some of it went back.
    PartRefunded,
    /// All of it went back.
    Refunded,
    /// The gateway could not pay it back.
    ReturnFailed,
}

/// One step of the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Step {
    /// What was reached.
    pub stage: Stage,
    /// When.
    pub at: OffsetDateTime,
    /// How much it is about.
    pub amount: Amount,
    /// Until when the next step comes, if one does.
    pub deadline: Option<OffsetDateTime>,
    /// Why, as a word; may be empty.
    pub reason: String,
    /// More about it, for people.
    pub detail: String,
}

/// The whole way.
#[derive(Debug, Clone, PartialEq)]
pub struct Journey {
    /// Where it stands.
    pub stage: Stage,
    /// Oldest first.
    pub steps: Vec<Step>,
}

/// A refund, as far as the way of a remittance's money is concerned.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Back {
    /// The transaction that had credited it, or put it into suspense.
    pub source: Seq,
    pub from_suspense: bool,
    pub amount: Amount,
    pub requested_at: OffsetDateTime,
    pub end: Option<(RefundState, OffsetDateTime, String)>,
}

impl Refunds {
    /// The whole way of some remittances, in their order.
    pub async fn journeys(&self, center: &Center, remittances: &[Remittance]) -> Result<Vec<Journey>, LedgerError> {
        let ids: Vec<&RemittanceId> = remittances.iter().map(|remittance| &remittance.id).collect();
        let mut conn = self.lanes.database().read.acquire().await?;
        let mut back: HashMap<String, Vec<Back>> = store::back(&mut conn, center, &ids).await?;
        drop(conn);
        let told = remittances.iter().map(|remittance| {
            let back = back.remove(remittance.id.as_str()).unwrap_or_default();
            journey(remittance, &back).map_err(|error| {
                tracing::error!(remittance = %remittance.id, %error, "the way of a remittance's money cannot be told");
                LedgerError::Internal
            })
        });
        told.collect()
    }
}

fn journey(remittance: &Remittance, back: &[Back]) -> Result<Journey, MoneyError> {
    let own = remittance.leg(remittance.state()).map(|leg| leg.at);
    let mut steps: Vec<Step> = Vec::new();
    for leg in &remittance.legs {
        steps.push(of_leg(remittance, leg, own == Some(leg.at))?);
    }
    let zero = Amount::zero(remittance.amount.currency());
    let (mut gone, mut going, mut refunded) = (zero, zero, zero);
    for each in back {
        let mut suspended = remittance.suspended.iter();
        let payment = suspended.find(|payment| payment.seq == each.source && each.from_suspense);
        // What had moved with the detainee was credited.
        let from_suspense = each.from_suspense && !payment.is_some_and(SuspendedPayment::is_brought_back);
        let is_duplicate = payment.is_some_and(|payment| payment.is_duplicate());
        let reason = payment.map(|payment| payment.reason.clone()).unwrap_or_default();
        let stage = if from_suspense {
            Stage::Returning
        } else {
            Stage::Refunding
        };
        let is_open = each.end.is_none();
        let step = |stage, at, deadline, detail: &str| Step {
            stage,
            at,
            amount: each.amount,
            deadline,
            reason: reason.clone(),
            detail: detail.to_owned(),
        };
        let deadline = is_open.then(|| each.requested_at + RETURN_MAX);
        steps.push(step(stage, each.requested_at, deadline, ""));
        match &each.end {
            None if !is_duplicate && from_suspense => going = going.checked_add(each.amount)?,
            None => {}
            Some((RefundState::Succeeded, at, _)) => {
                if !is_duplicate {
                    gone = gone.checked_add(each.amount)?;
                }
                let is_whole = is_duplicate || gone == remittance.amount;
                let stage = match (from_suspense, is_whole) {
                    (true, true) => Stage::Returned,
                    (true, false) => Stage::PartReturned,
                    (false, true) => Stage::Refunded,
                    (false, false) => Stage::PartRefunded,
                };
                if !from_suspense {
                    refunded = refunded.checked_add(each.amount)?;
                }
                steps.push(step(stage, *at, None, ""));
            }
            Some((_, at, detail)) => steps.push(step(Stage::ReturnFailed, *at, Some(*at + SUSPENSE_MAX), detail)),
        }
    }
    steps.sort_by_key(|step| step.at);
    let is_credited = remittance.leg(LegState::Credited).is_some();
    let stage = if gone == remittance.amount && refunded.is_positive() {
        Stage::Refunded
    } else if gone == remittance.amount && !is_credited {
        Stage::Returned
    } else if refunded.is_positive() {
        Stage::PartRefunded
    } else if is_credited && gone.is_positive() {
        Stage::PartReturned
    } else if going.is_positive() && !is_credited {
        Stage::Returning
    } else {
        Stage::Of(remittance.state())
    };
    Ok(Journey { stage, steps })
}

fn of_leg(remittance: &Remittance, leg: &Leg, is_last: bool) -> Result<Step, MoneyError> {
    let own = remittance.own_suspended();
    let amount = match (leg.state, own) {
        (LegState::Credited, Some(payment)) if leg.seq == Some(payment.seq) => {
            remittance.amount.checked_sub(payment.amount)?
        }
        (LegState::Credited, Some(payment)) => payment.credited,
        _ => remittance.amount,
    };
    let deadline = match leg.state {
        LegState::Created | LegState::Pending => Some(remittance.expires_at),
        LegState::Held => leg.deadline,
        LegState::Suspended => Some(leg.at + SUSPENSE_MAX),
        _ => None,
    };
    let reason = match leg.state {
        LegState::Held | LegState::Suspended => leg.detail.clone(),
        LegState::Credited if leg.detail == suspense::FORWARDED => leg.detail.clone(),
        LegState::Rejected if leg.detail == super::REVIEW_TIMED_OUT => leg.detail.clone(),
        _ => String::new(),
    };
    Ok(Step {
        stage: Stage::Of(leg.state),
        at: leg.at,
        amount,
        // What was reached after it has ended it.
        deadline: deadline.filter(|_| is_last),
        reason,
        detail: leg.detail.clone(),
    })
}

impl Step {
    /// What the payer is told, in English and in Chinese.
    pub fn words(&self) -> [&'static str; 2] {
        words::of(self.stage, &self.reason)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;
    use crate::{
        gateway::PaymentMethod,
        ids::{AccountNo, DetaineeId, PayerId, RequestId},
        money::Currency,
        remittance::BALANCE_CAP_EXCEEDED,
    };

    const AT: OffsetDateTime = datetime!(2031-05-06 07:00:00 UTC);

    fn cny(text: &str) -> Amount {
        Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap()
    }

    fn remittance(states: &[(LegState, i64)], suspended: &[(i64, &str)]) -> Remittance {
        let leg = |(state, seq): &(LegState, i64)| Leg {
            state: *state,
            at: AT + Duration::minutes(*seq),
            detail: String::new(),
            payment_url: None,
            prepay: BTreeMap::new(),
            payment: None,
            seq: Some(Seq(*seq)),
            deadline: None,
        };
        let zero = cny("0");
        let payment = |(seq, amount): &(i64, &str)| SuspendedPayment {
            seq: Seq(*seq),
            remittance: RemittanceId::parse("R1").unwrap(),
            gateway_transaction: "pay_1".into(),
            paid_at: AT,
            amount: cny(amount),
            reason: BALANCE_CAP_EXCEEDED.into(),
            recorded_at: AT,
            taken: zero,
            put_back: zero,
            paid_back: zero,
            credited: zero,
        };
        Remittance {
            id: RemittanceId::parse("R1").unwrap(),
            number: 1,
            request_id: RequestId(Uuid::from_u128(1)),
            payer: PayerId::parse("P1").unwrap(),
            detainee: DetaineeId::parse("D1").unwrap(),
            amount: cny("100"),
            channel: "webhook".into(),
            method: PaymentMethod::Link,
            clearing: AccountNo(20),
            preview: Vec::new(),
            created_at: AT,
            expires_at: AT + Duration::hours(2),
            legs: states.iter().map(leg).collect(),
            suspended: suspended.iter().map(payment).collect(),
        }
    }

    fn back(source: i64, from_suspense: bool, amount: &str, end: Option<RefundState>) -> Back {
        let requested_at = AT + Duration::minutes(10);
        Back {
            source: Seq(source),
            from_suspense,
            amount: cny(amount),
            requested_at,
            end: end.map(|state| (state, requested_at + Duration::MINUTE, "account closed".into())),
        }
    }

    #[test]
    fn what_went_back_tells_where_it_stands() {
        use LegState as L;
        let ok = Some(RefundState::Succeeded);
        let stage = |remittance: &Remittance, back: &[Back]| journey(remittance, back).unwrap().stage;
        let whole = remittance(&[(L::Paid, 1), (L::Credited, 1)], &[]);
        assert_eq!(stage(&whole, &[]), Stage::Of(L::Credited));
        assert_eq!(stage(&whole, &[back(1, false, "40", None)]), Stage::Of(L::Credited));
        assert_eq!(stage(&whole, &[back(1, false, "40", ok)]), Stage::PartRefunded);
        assert_eq!(
            stage(&whole, &[back(1, false, "40", ok), back(1, false, "60", ok)]),
            Stage::Refunded
        );
        let part = remittance(&[(L::Paid, 1), (L::Credited, 1)], &[(1, "30")]);
        assert_eq!(stage(&part, &[back(1, true, "30", None)]), Stage::Of(L::Credited));
        assert_eq!(stage(&part, &[back(1, true, "30", ok)]), Stage::PartReturned);
        let told = journey(&part, &[back(1, true, "30", ok)]).unwrap();
        let amounts: Vec<String> = told.steps.iter().map(|step| step.amount.to_string()).collect();
        assert_eq!(amounts, ["100.00", "70.00", "30.00", "30.00"]);
        let none = remittance(&[(L::Paid, 1), (L::Suspended, 1)], &[(1, "100")]);
        assert_eq!(stage(&none, &[back(1, true, "100", None)]), Stage::Returning);
        assert_eq!(stage(&none, &[back(1, true, "100", ok)]), Stage::Returned);
        let failed = journey(&none, &[back(1, true, "100", Some(RefundState::Failed))]).unwrap();
        assert_eq!(failed.stage, Stage::Of(L::Suspended));
        assert_eq!(failed.steps.last().map(|step| step.stage), Some(Stage::ReturnFailed));
    }
}
