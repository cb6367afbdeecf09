//! Somebody moves to the other center, with everything: also with what an authority withholds.

use prost_types::Timestamp;

use super::{Play, balances};
use crate::{
    demo::{
        books::{cny, money, text},
        cast::{called, center_name, detainee_name},
        check::{done, refused, same},
        desk::{Desk, request_id},
        tell,
    },
    proto::{
        ApproveRequest, GetBalancesRequest, GetDetaineeRequest, GetUnspentRequest, ListWithholdingsRequest,
        ProposeTransferRequest, Transfer, WithholdSumRequest, Withholding, detainee, transfer::State, withholding,
    },
};

/// Who moves, from where and to where.
const FROM: &str = "lakeside";
const DETAINEE: &str = "D1002";
const TO: &str = "greenhill";
const NUMBER: &str = "D2101";
/// What is withheld, by which order and for how many days.
const WITHHELD: &str = "15.00";
const ORDER: &str = "(2026)浙0102执扣9号";
const ORDER_DAYS: i64 = 30;
/// The order of the transfer.
const TRANSFER_ORDER: &str = "(2026)浙转31号";

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(15, "A person is transferred, with a hold", "转所");
    let maker = play.stage.finance_of("transfer-desk", FROM)?;
    withhold(play, &maker).await?;
    let ask = proposal();
    let proposed = done("transfer", maker.transfer().propose_transfer(ask.clone()).await)?;
    same(
        "the transfer",
        State::Proposed.as_str_name(),
        proposed.state().as_str_name(),
    )?;
    let sender = play.stage.finance_of("lakeside-duty", FROM)?;
    let receiver = play.stage.finance_of("greenhill-duty", TO)?;
    approve(&sender, &proposed.approval).await?;
    let offered = done("transfer", maker.transfer().propose_transfer(ask.clone()).await)?;
    let by_sender = approve_request(&offered.receiving_approval);
    let answer = sender.approval().approve(by_sender).await;
    refused("a decision of the other center's", "NOT_ALLOWED", answer)?;
    tell::say(
        "Lakeside lets go, and may not decide for Green Hill; somebody there receives. Then everything moves at once, by one \
         transaction of both journals. 双方各一人复核，一次转清",
    );
    approve(&receiver, &offered.receiving_approval).await?;
    let moved = done("transfer", maker.transfer().propose_transfer(ask).await)?;
    same("the transfer", State::Done.as_str_name(), moved.state().as_str_name())?;
    let total = play.books.transfer(DETAINEE, FROM, TO, cny(WITHHELD)?)?;
    same("what has moved", total, text(moved.amount.as_ref()))?;
    compare(play, &receiver, &moved).await
}

fn proposal() -> ProposeTransferRequest {
    ProposeTransferRequest {
        detainee: detainee_name(FROM, DETAINEE),
        to_center: center_name(TO),
        to_detainee_id: NUMBER.to_owned(),
        document: TRANSFER_ORDER.to_owned(),
        reason: "nearer to the court".to_owned(),
        tier: 0,
        request_id: request_id(&["transfer", DETAINEE]),
    }
}

fn approve_request(approval: &str) -> ApproveRequest {
    ApproveRequest {
        name: approval.to_owned(),
        reason: "seen 已核".to_owned(),
    }
}

async fn approve(desk: &Desk, approval: &str) -> anyhow::Result<()> {
    let answer = desk.approval().approve(approve_request(approval)).await;
    done(approval, answer).map(drop)
}

/// An authority's order sets a sum apart, by two people.
async fn withhold(play: &mut Play, maker: &Desk) -> anyhow::Result<()> {
    let until = play.stage.clock().now() + time::Duration::days(ORDER_DAYS);
    let request = WithholdSumRequest {
        detainee: detainee_name(FROM, DETAINEE),
        document: ORDER.to_owned(),
        amount: money(WITHHELD),
        until_time: Some(Timestamp {
            seconds: until.unix_timestamp(),
            nanos: 0,
        }),
        reason: "ordered 依令".to_owned(),
        request_id: request_id(&["withhold", DETAINEE]),
    };
    let asked = done("withholding", maker.transfer().withhold_sum(request.clone()).await)?;
    approve(&play.stage.finance_of("lakeside-duty", FROM)?, &asked.approval).await?;
    let held = done("withholding", maker.transfer().withhold_sum(request).await)?;
    same(
        "the withholding",
        withholding::State::Withheld.as_str_name(),
        held.state().as_str_name(),
    )?;
    play.books.withhold(DETAINEE, cny(WITHHELD)?)?;
    balances(&play.books, maker, FROM, DETAINEE).await.map(drop)
}

/// Everything is there, nothing is left here, and it is still known whose money it is.
async fn compare(play: &Play, receiver: &Desk, moved: &Transfer) -> anyhow::Result<()> {
    let auditor = play.stage.auditor()?;
    let find = |name: &str| GetBalancesRequest {
        detainee: name.to_owned(),
    };
    let before = done("balances", auditor.custody().get_balances(find(&moved.from)).await)?;
    same("what is left in lakeside", "0.00", text(before.total.as_ref()))?;
    let after = done("balances", auditor.custody().get_balances(find(&moved.to)).await)?;
    let page = play.books.page(DETAINEE)?;
    same("available in greenhill", page.available, text(after.available.as_ref()))?;
    same("savings in greenhill", page.savings, text(after.savings.as_ref()))?;
    same("withheld in greenhill", WITHHELD, text(after.withheld.as_ref()))?;
    let get = GetDetaineeRequest {
        name: moved.from.clone(),
    };
    let person = done(DETAINEE, auditor.custody().get_detainee(get).await)?;
    same(
        DETAINEE,
        detainee::State::Transferred.as_str_name(),
        person.state().as_str_name(),
    )?;
    same("where to", &moved.to, &person.went_to)?;
    let held = the_withholding(receiver, &moved.to).await?;
    let unspent = GetUnspentRequest {
        detainee: moved.to.clone(),
        ..GetUnspentRequest::default()
    };
    let unspent = done("unspent", auditor.refund().get_unspent(unspent).await)?;
    let head = [
        "detainee 在押人员",
        "from 转出",
        "to 转入",
        "available 可用",
        "savings 储备",
        "withheld 扣留",
        "order 令状",
        "of payers 可退",
    ];
    let row = [
        called(DETAINEE),
        moved.out_transaction.clone(),
        moved.in_transaction.clone(),
        text(after.available.as_ref()),
        text(after.savings.as_ref()),
        text(after.withheld.as_ref()),
        held.document,
        text(unspent.unspent.as_ref()),
    ];
    tell::table(head, &[3, 4, 5, 7], [row]);
    Ok(())
}

/// The order withholds there what it withheld here.
async fn the_withholding(receiver: &Desk, detainee: &str) -> anyhow::Result<Withholding> {
    let list = ListWithholdingsRequest {
        parent: center_name(TO),
        detainee: detainee.to_owned(),
        ..ListWithholdingsRequest::default()
    };
    let listed = done("withholdings", receiver.transfer().list_withholdings(list).await)?;
    let held = listed.withholdings.into_iter().next().unwrap_or_default();
    same("the order", ORDER, &held.document)?;
    same("what it withholds", WITHHELD, text(held.amount.as_ref()))?;
    Ok(held)
}
