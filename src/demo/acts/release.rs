//! Somebody leaves with everything they have.

use anyhow::Context as _;

use super::{Play, balances, buy::purchase_of};
use crate::{
    demo::{
        books::text,
        cast::{called, center_name, detainee_name},
        check::{done, refused, same},
        desk::request_id,
        goods, tell,
    },
    proto::{ConfirmReleaseRequest, CreateReleaseRequest, GetDetaineeRequest, detainee, release::State},
};

/// Who leaves.
const CENTER: &str = "greenhill";
const TERMINAL: &str = "G-T1";
const DETAINEE: &str = "D2003";

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(6, "A person is released", "出所结清");
    let finance = play.stage.finance(CENTER)?;
    let before = balances(&play.books, &finance, CENTER, DETAINEE).await?;
    let all = play.books.release(DETAINEE)?;
    let request = CreateReleaseRequest {
        parent: center_name(CENTER),
        detainee: detainee_name(CENTER, DETAINEE),
        destination: "工商银行 ICBC 6222 **** 7788".to_owned(),
        request_id: request_id(&["release", DETAINEE]),
    };
    let release = done("release", finance.refund().create_release(request).await)?;
    same("paid out", all, text(release.amount.as_ref()))?;
    same(
        &release.name,
        State::InTransit.as_str_name(),
        release.state().as_str_name(),
    )?;
    blocked(play).await?;
    let confirm = |id: &str| ConfirmReleaseRequest {
        name: release.name.clone(),
        bank_reference: "ICBC-20261123-0007".to_owned(),
        request_id: request_id(&[id, DETAINEE]),
    };
    let own = finance
        .refund()
        .confirm_release(confirm("release paid by its maker"))
        .await;
    let (_, why) = refused("a payout confirmed by who created it", "MAKER_IS_CHECKER", own)?;
    tell::say(format!(
        "Whoever created the payout says that it was paid. Refused: {why} 双人复核"
    ));
    let cashier = play.stage.cashier(CENTER)?;
    let paid = done(
        "confirming the release",
        cashier.refund().confirm_release(confirm("release paid")).await,
    )?;
    same(&paid.name, State::Paid.as_str_name(), paid.state().as_str_name())?;
    balances(&play.books, &finance, CENTER, DETAINEE).await?;
    let request = GetDetaineeRequest {
        name: detainee_name(CENTER, DETAINEE),
    };
    let person = done(DETAINEE, finance.custody().get_detainee(request).await)?;
    same(
        DETAINEE,
        detainee::State::Released.as_str_name(),
        person.state().as_str_name(),
    )?;
    let head = [
        "detainee 在押人员",
        "available 可用",
        "savings 储备",
        "paid out 结清",
        "to 收款账户",
        "bank reference 银行流水",
        "state 状态",
    ];
    let row = [
        called(DETAINEE),
        text(before.available.as_ref()),
        text(before.savings.as_ref()),
        text(paid.amount.as_ref()),
        paid.destination.clone(),
        paid.bank_reference.clone(),
        paid.state().as_str_name().replace("STATE_", ""),
    ];
    tell::table(head, &[1, 2, 3], [row]);
    Ok(())
}

/// While the money is on its way nothing can be bought.
async fn blocked(play: &Play) -> anyhow::Result<()> {
    let noodles = goods::product("G101").context("no noodles")?;
    let id = request_id(&["purchase while leaving", DETAINEE]);
    let terminal = play.stage.terminal(CENTER, TERMINAL)?;
    let order = purchase_of(CENTER, DETAINEE, &vec![(noodles, 1)], id);
    let answer = terminal.commissary().create_purchase(order).await;
    let (_, why) = refused("an order of somebody who leaves", "DETAINEE_NOT_ACTIVE", answer)?;
    tell::say(format!(
        "While the payout is on its way, {} tries to buy noodles. Refused: {why}",
        called(DETAINEE)
    ));
    Ok(())
}
