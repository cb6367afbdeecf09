//! A payer gets money back, by the way it came: never more than is unspent of it.

use anyhow::Context as _;

use super::{Play, balances, channel_called, remit};
use crate::{
    demo::{
        books::{cny, money, text},
        cast::{called, center_name, detainee_name, payer_name},
        check::{done, refused, same},
        desk::{Desk, request_id},
        tell,
    },
    gateway::simulator::control::RefundAnswer,
    proto::{CreateRefundRequest, GetRefundRequest, GetUnspentRequest, Refund, refund::State},
};

/// Whose money goes back, and how much of it.
const PAYER: &str = "F04";
const AMOUNT: &str = "150.00";

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(5, "A payer gets money back", "原路退款");
    let remitted = play
        .remitted
        .iter()
        .find(|remitted| remitted.payer == PAYER)
        .context("no remittance")?;
    let (center, detainee, name) = (remitted.center, remitted.detainee, remitted.name.clone());
    let (original, channel) = (remitted.amount, remitted.channel);
    let payer = play.stage.payer(center, PAYER)?;
    let finance = play.stage.finance(center)?;

    let before = unspent(play, &payer, center, detainee).await?;

    let ask = |amount: &str, id: &str| CreateRefundRequest {
        by_bank: false,
        consent: Some(crate::proto::DetaineeConsent::scanned("2026-31")),
        parent: center_name(center),
        remittance: name.clone(),
        amount: money(amount),
        reason: "家属申请 asked for by the family".to_owned(),
        request_id: request_id(&["refund", PAYER, id]),
        suspense_transaction: String::new(),
    };
    let too_much = finance.refund().create_refund(ask("900.00", "too much")).await;
    let (_, why) = refused("a refund of more than is unspent", "REFUND_EXCEEDS_UNSPENT", too_much)?;
    tell::say(format!(
        "李娜 Li Na paid {original} by {}, and asks for 900.00 of it. Refused: {why}",
        channel_called(channel)
    ));

    let refund = done("refund", finance.refund().create_refund(ask(AMOUNT, "1")).await)?;
    let ended = go(play, &finance, &refund).await?;
    play.books.refund(detainee, cny(AMOUNT)?)?;
    balances(&play.books, &finance, center, detainee).await?;
    let after = unspent(play, &payer, center, detainee).await?;

    let head = [
        "payer 汇款人",
        "detainee 在押人员",
        "remitted 汇入",
        "unspent 未用",
        "refunded 退款",
        "unspent after 退后未用",
        "refund 退款单",
        "state 状态",
    ];
    let row = [
        "李娜 Li Na".to_owned(),
        called(detainee),
        original.to_owned(),
        before,
        AMOUNT.to_owned(),
        after,
        refund.refund_number,
        ended.state().as_str_name().replace("STATE_", ""),
    ];
    tell::table(head, &[2, 3, 4, 5], [row]);
    play.refunds.entry((center, channel)).or_default().push(cny(AMOUNT)?);
    Ok(())
}

/// What of the payer's money is unspent. It is one remittance, and there is nothing else in the account: what is available.
async fn unspent(play: &Play, payer: &Desk, center: &str, detainee: &str) -> anyhow::Result<String> {
    let request = GetUnspentRequest {
        detainee: detainee_name(center, detainee),
        payer: payer_name(center, PAYER),
    };
    let unspent = done("what is unspent", payer.refund().get_unspent(request).await)?;
    let unspent = text(unspent.unspent.as_ref());
    same("unspent", play.books.page(detainee)?.available, &unspent)?;
    Ok(unspent)
}

/// A refund's way: set aside here, known to the gateway, and later done there.
async fn go(play: &Play, finance: &Desk, refund: &Refund) -> anyhow::Result<Refund> {
    expect_state(refund, State::Requested)?;
    let request = GetRefundRequest {
        name: refund.name.clone(),
    };
    let submitted = done("refund", finance.refund().get_refund(request.clone()).await)?;
    expect_state(&submitted, State::Submitted)?;
    let gateway = play.stage.gateway()?;
    gateway
        .answer_refund(&refund.refund_number, &RefundAnswer::default())
        .await?;
    remit::accepted(play, &refund.refund_number, 1).await?;
    let ended = done("refund", finance.refund().get_refund(request).await)?;
    expect_state(&ended, State::Succeeded)?;
    Ok(ended)
}

fn expect_state(refund: &Refund, state: State) -> anyhow::Result<()> {
    same(&refund.name, state.as_str_name(), refund.state().as_str_name())
}
