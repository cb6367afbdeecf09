//! How a refund gets its outcome: on command, or by itself as the standing faults say.

use std::sync::Arc;

use tokio::time::sleep;

use super::{
    Gateway,
    book::{Refund, Refusal},
    control::RefundAnswer,
    faults::RefundFate,
    letters,
};
use crate::gateway::webhook::wire::NewRefundBody;

/// Gives a refund its outcome and tells it. The same answer again tells it again.
pub(super) fn answer(gateway: &Gateway, refund_number: &str, answer: &RefundAnswer) -> Result<Refund, Refusal> {
    let (refund, order) = {
        let mut book = gateway.book();
        let refund = match answer.abnormal {
            true => book.strand_refund(refund_number)?,
            false => book.answer_refund(refund_number, answer.failed.clone(), gateway.clock.now())?,
        };
        let order = book.order(&refund.request.order_number)?.clone();
        (refund, order)
    };
    if let Some(letter) = letters::refund(gateway, &order, &refund)? {
        gateway.courier.send(&letter, &answer.notify)?;
    }
    Ok(refund)
}

/// Takes a refund. `None` instead of a fate: it was there before, or it waits for a command.
pub(super) fn take(gateway: &Gateway, asked: NewRefundBody) -> Result<(Refund, Option<RefundFate>), Refusal> {
    let mut book = gateway.book();
    let is_new = book.refund(&asked.refund_number).is_err();
    let refund = book.request_refund(asked, gateway.clock.now())?;
    let face = &book.order(&refund.request.order_number)?.face;
    let fate = match is_new {
        true => gateway.faults.of_refund(face, &refund.request.refund_number),
        false => None,
    };
    Ok((refund, fate))
}

/// Lets a refund come to its fate while its caller goes on.
pub(super) fn come(gateway: &Arc<Gateway>, refund_number: &str, fate: RefundFate) {
    let (shared, number) = (gateway.clone(), refund_number.to_owned());
    gateway.courier.spawn(async move {
        sleep(fate.after).await;
        // A command may have been faster.
        if let Err(refusal) = answer(&shared, &number, &fate.answer) {
            tracing::debug!(refund = number, %refusal, "a refund does not come to its fate");
        }
    });
}

/// Takes a refund that is answered later, for the gateways that never answer at once.
pub(super) fn take_for_later(gateway: &Arc<Gateway>, asked: NewRefundBody) -> Result<Refund, Refusal> {
    let (refund, fate) = take(gateway, asked)?;
    if let Some(fate) = fate {
        come(gateway, &refund.request.refund_number, fate);
    }
    Ok(refund)
}
