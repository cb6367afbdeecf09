//! A remittance as its payer sees it: what was asked for, where the money is, and every step of its way.

use tonic::Status;

use super::{
    convert::{detainee_name, money, payer_name, remittance_name, timestamp, transaction_name},
    remittance_watch::Seats,
};
use crate::{
    api::status::internal,
    clock::Clock,
    ledger::{Center, Lanes},
    money::{Amount, MoneyError},
    proto::{self, PrepayParameter, Remittance, RemittanceLeg, remittance::State},
    refund::{Journey, Refunds, Stage, Step},
    remittance::{self, LegState, Remittances, order_number, suspense::SuspendedPayment},
};

/// Writes remittances for the wire.
#[derive(Clone)]
pub struct Views {
    pub(super) lanes: Lanes,
    pub(super) remittances: Remittances,
    refunds: Refunds,
    pub(super) seats: Seats,
}

impl Views {
    /// Over the domains that know the money's way.
    pub fn new(lanes: Lanes, remittances: Remittances, refunds: Refunds) -> Views {
        Views {
            lanes,
            remittances,
            refunds,
            seats: Seats::default(),
        }
    }

    /// The clock that deadlines go by.
    pub fn clock(&self) -> Clock {
        self.lanes.clock().clone()
    }

    /// One remittance.
    pub async fn one(&self, center: &Center, remittance: remittance::Remittance) -> Result<Remittance, Status> {
        let mut told = self.all(center, vec![remittance]).await?;
        told.pop().ok_or_else(internal)
    }

    /// Some remittances, in their order.
    pub async fn all(
        &self,
        center: &Center,
        remittances: Vec<remittance::Remittance>,
    ) -> Result<Vec<Remittance>, Status> {
        let journeys = self.refunds.journeys(center, &remittances).await?;
        let told = remittances.into_iter().zip(journeys);
        told.map(|(remittance, journey)| remittance_out(remittance, &journey, center))
            .collect()
    }
}

fn stage_out(stage: Stage) -> State {
    match stage {
        Stage::Returning => State::Returning,
        Stage::Returned => State::Returned,
        Stage::PartReturned => State::PartReturned,
        Stage::Refunding => State::Refunding,
        Stage::PartRefunded => State::PartRefunded,
        Stage::Refunded => State::Refunded,
        Stage::ReturnFailed => State::ReturnFailed,
        Stage::Of(LegState::Created) => State::Created,
        Stage::Of(LegState::Pending) => State::Pending,
        Stage::Of(LegState::Failed) => State::Failed,
        Stage::Of(LegState::Expired) => State::Expired,
        Stage::Of(LegState::Cancelled) => State::Cancelled,
        Stage::Of(LegState::Paid) => State::Paid,
        Stage::Of(LegState::Held) => State::Held,
        Stage::Of(LegState::Suspended) => State::Suspended,
        Stage::Of(LegState::Released) => State::Released,
        Stage::Of(LegState::Rejected) => State::Rejected,
        Stage::Of(LegState::Credited) => State::Credited,
    }
}

fn suspended_out(payment: &SuspendedPayment, center: &Center) -> Result<proto::SuspendedPayment, Status> {
    // What does not add up is a broken invariant, never the caller's doing.
    let counted = |amount: Result<Amount, MoneyError>| amount.map(money).map_err(|_| internal());
    Ok(proto::SuspendedPayment {
        transaction: transaction_name(center, payment.seq.0),
        gateway_transaction: payment.gateway_transaction.clone(),
        paid_time: timestamp(payment.paid_at),
        amount: money(payment.amount),
        reason: payment.reason.clone(),
        refunded: counted(payment.refunded())?,
        left: counted(payment.left())?,
    })
}

fn leg_out(step: &Step) -> RemittanceLeg {
    let [text, text_zh] = step.words().map(ToOwned::to_owned);
    RemittanceLeg {
        state: stage_out(step.stage).into(),
        time: timestamp(step.at),
        detail: step.detail.clone(),
        deadline_time: step.deadline.and_then(timestamp),
        amount: money(step.amount),
        reason: step.reason.clone(),
        text,
        text_zh,
    }
}

fn remittance_out(
    remittance: remittance::Remittance,
    journey: &Journey,
    center: &Center,
) -> Result<Remittance, Status> {
    let state = remittance.state();
    let pending = remittance.leg(LegState::Pending).filter(|leg| leg.state == state);
    let prepay = pending.iter().flat_map(|leg| &leg.prepay);
    let prepay_parameters = prepay.map(|(name, value)| PrepayParameter {
        name: name.clone(),
        value: value.clone(),
    });
    let payment = remittance.payment().cloned();
    let transaction = remittance.seq().map(|seq| transaction_name(center, seq.0));
    let suspended = remittance
        .suspended
        .iter()
        .map(|payment| suspended_out(payment, center));
    Ok(Remittance {
        suspended_payments: suspended.collect::<Result<_, _>>()?,
        name: remittance_name(center, remittance.id.as_str()),
        payer: payer_name(center, remittance.payer.as_str()),
        detainee: detainee_name(center, remittance.detainee.as_str()),
        amount: money(remittance.amount),
        order_number: order_number(center.no, &remittance.id),
        payment_url: pending.and_then(|leg| leg.payment_url.clone()).unwrap_or_default(),
        prepay_parameters: prepay_parameters.collect(),
        state: stage_out(journey.stage).into(),
        create_time: timestamp(remittance.created_at),
        expire_time: timestamp(remittance.expires_at),
        legs: journey.steps.iter().map(leg_out).collect(),
        credit_transaction: transaction.unwrap_or_default(),
        gateway_transaction: payment
            .as_ref()
            .map(|payment| payment.gateway_transaction.clone())
            .unwrap_or_default(),
        paid_time: payment.and_then(|payment| timestamp(payment.paid_at)),
        request_id: remittance.request_id.to_string(),
        channel: remittance.channel,
        preview: remittance.preview,
    })
}
