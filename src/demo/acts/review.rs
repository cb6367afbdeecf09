//! A payment is held for review and let through by two people; of another, what is over the cap goes back by itself.

use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

use super::{
    Play, Remitted, balances, channel_called,
    remit::{accepted, expect_state, read},
};
use crate::{
    demo::{
        books::{cny, money, text, zero},
        cast::{called, center_name, detainee_name, payer_name},
        check::{done, refused, same},
        desk::request_id,
        tell,
    },
    gateway::simulator::control::{PayOptions, RefundAnswer},
    proto::{
        ApproveRequest, CenterSettings, CreateRemittanceRequest, GetCenterRequest, ListRefundsRequest, Refund,
        Remittance, ReviewRemittanceRequest, UpdateCenterSettingsRequest, approval, refund, remittance::State,
    },
};

/// Where, for whom, and by which channel.
const CENTER: &str = "lakeside";
const DETAINEE: &str = "D1001";
const CHANNEL: &str = "webhook";
/// Who has paid three times this week, and pays once more.
const HELD: (&str, &str) = ("F01", "60.00");
/// Who pays more than there is room for when the payment comes: how much there is room for, and how much goes back.
const OVER: (&str, &str) = ("F02", "40.00");
const ROOM: &str = "25.00";
const EXCESS: &str = "15.00";
/// How long what goes back by itself may take to be on its way, in seconds.
const RETURN_MAX_S: u64 = 60;

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(8, "Checked by two, and capped", "双人审核与余额上限");
    let mut rows = vec![held(play).await?];
    rows.push(over_the_cap(play).await?);
    let head = [
        "payer 汇款人",
        "detainee 在押人员",
        "paid 支付",
        "why 原因",
        "decided by 决定人",
        "credited 入账",
        "went back 退回",
        "state 状态",
    ];
    tell::table(head, &[2, 5, 6], rows);
    Ok(())
}

/// The fourth payment of a week waits; one person asks, another allows.
async fn held(play: &mut Play) -> anyhow::Result<[String; 8]> {
    let (payer, amount) = HELD;
    let held = order(play, payer, amount).await?;
    pay(play, &held).await?;
    let family = play.stage.payer(CENTER, payer)?;
    let told = read(&family, &held.name).await?;
    expect_state(&told, State::Held)?;
    let leg = told.legs.last().context("no leg")?;
    same("why it is held", "SCREENING_PAYMENTS", &leg.reason)?;
    balances(&play.books, &family, CENTER, DETAINEE).await?;
    tell::say(format!(
        "孙丽 Sun Li pays for the fourth time in a week. She reads: {} {}",
        leg.text, leg.text_zh
    ));

    let (alice, bob) = (
        play.stage.finance_of("alice", CENTER)?,
        play.stage.finance_of("bob", CENTER)?,
    );
    let ask = ReviewRemittanceRequest {
        name: held.name.clone(),
        reason: "为家庭团聚汇款 for the new year".to_owned(),
        request_id: request_id(&["release", payer]),
    };
    let asked = done(
        "asking for the release",
        alice.remittance().release_remittance(ask).await,
    )?;
    let approve = ApproveRequest {
        name: asked.name.clone(),
        reason: String::new(),
    };
    let own = alice.approval().approve(approve.clone()).await;
    let (_, why) = refused("deciding on one's own question", "MAKER_IS_CHECKER", own)?;
    tell::say(format!(
        "Alice of the finance office asks for its release, and cannot allow it herself: {why}. Bob does."
    ));
    let allowed = done("allowing the release", bob.approval().approve(approve).await)?;
    same(
        &allowed.name,
        approval::State::Executed.as_str_name(),
        allowed.state().as_str_name(),
    )?;

    let told = read(&family, &held.name).await?;
    expect_state(&told, State::Credited)?;
    play.books.credit(DETAINEE, zero()?, zero()?, cny(amount)?)?;
    balances(&play.books, &family, CENTER, DETAINEE).await?;
    note(play, HELD, &held);
    Ok(row(
        payer_called(payer)?,
        HELD,
        "4th in a week",
        "alice, bob",
        [amount, "0.00"],
        &told,
    ))
}

/// The cap is lowered between quote and payment, so that less is let in than was quoted. Nobody has to do anything.
async fn over_the_cap(play: &mut Play) -> anyhow::Result<[String; 8]> {
    let (payer, amount) = OVER;
    let quoted = order(play, payer, amount).await?;
    let page = play.books.page(DETAINEE)?;
    let cap = page.available.checked_add(page.savings)?.checked_add(cny(ROOM)?)?;
    let before = settings(play).await?;
    let lowered = CenterSettings {
        balance_cap: money(&cap.to_string()),
        ..before.clone()
    };
    change(play, lowered).await?;
    pay(play, &quoted).await?;
    let family = play.stage.payer(CENTER, payer)?;
    play.books.credit(DETAINEE, zero()?, zero()?, cny(ROOM)?)?;
    balances(&play.books, &family, CENTER, DETAINEE).await?;
    tell::say(format!(
        "张军 Zhang Jun has a quote for {amount}. Before he pays, the cap becomes {cap}: there is room for {ROOM}."
    ));

    let back = on_its_way(play, &quoted).await?;
    same("what goes back", EXCESS, text(back.amount.as_ref()))?;
    let gateway = play.stage.gateway()?;
    gateway
        .answer_refund(&back.refund_number, &RefundAnswer::default())
        .await?;
    accepted(play, &back.refund_number, 1).await?;
    let told = read(&family, &quoted.name).await?;
    expect_state(&told, State::PartReturned)?;
    let leg = told.legs.last().context("no leg")?;
    tell::say(format!(
        "The rest goes back by itself. He reads: {} {}",
        leg.text, leg.text_zh
    ));
    let raised = CenterSettings {
        etag: settings(play).await?.etag,
        ..before
    };
    change(play, raised).await?;
    note(play, OVER, &quoted);
    play.refunds.entry((CENTER, CHANNEL)).or_default().push(cny(EXCESS)?);
    Ok(row(
        payer_called(payer)?,
        OVER,
        "over the cap",
        "the service",
        [ROOM, EXCESS],
        &told,
    ))
}

/// The one refund that the service makes by itself, once the gateway has it.
async fn on_its_way(play: &Play, remittance: &Remittance) -> anyhow::Result<Refund> {
    let finance = play.stage.finance(CENTER)?;
    let list = ListRefundsRequest {
        parent: center_name(CENTER),
        remittance: remittance.name.clone(),
        ..ListRefundsRequest::default()
    };
    let end = Instant::now() + Duration::from_secs(RETURN_MAX_S);
    loop {
        let mut refunds = done("refunds", finance.refund().list_refunds(list.clone()).await)?.refunds;
        if refunds
            .first()
            .is_some_and(|refund| refund.state() == refund::State::Submitted)
        {
            same("refunds of it", 1, refunds.len())?;
            return Ok(refunds.remove(0));
        }
        ensure!(
            Instant::now() < end,
            "what is over the cap is not on its way after {RETURN_MAX_S} s"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

async fn order(play: &Play, payer: &str, amount: &str) -> anyhow::Result<Remittance> {
    let request = CreateRemittanceRequest {
        parent: center_name(CENTER),
        payer: payer_name(CENTER, payer),
        detainee: detainee_name(CENTER, DETAINEE),
        amount: money(amount),
        channel: CHANNEL.to_owned(),
        request_id: request_id(&["reviewed", payer]),
        in_app_payer: String::new(),
    };
    let family = play.stage.payer(CENTER, payer)?;
    done("remittance", family.remittance().create_remittance(request).await)
}

async fn pay(play: &Play, remittance: &Remittance) -> anyhow::Result<()> {
    let gateway = play.stage.gateway()?;
    gateway.pay(&remittance.order_number, &PayOptions::default()).await?;
    accepted(play, &remittance.order_number, 1).await
}

/// What the gateway's bill should tell.
fn note(play: &mut Play, (payer, amount): (&'static str, &'static str), remittance: &Remittance) {
    play.remitted.push(Remitted {
        center: CENTER,
        payer,
        detainee: DETAINEE,
        channel: CHANNEL,
        name: remittance.name.clone(),
        order_number: remittance.order_number.clone(),
        amount,
    });
}

async fn settings(play: &Play) -> anyhow::Result<CenterSettings> {
    let request = GetCenterRequest {
        name: center_name(CENTER),
    };
    let center = done("the center", play.stage.admin()?.custody().get_center(request).await)?;
    center.settings.context("a center without settings")
}

async fn change(play: &Play, settings: CenterSettings) -> anyhow::Result<()> {
    let request = UpdateCenterSettingsRequest {
        settings: Some(settings),
    };
    let admin = play.stage.admin()?;
    done("settings", admin.custody().update_center_settings(request).await).map(drop)
}

fn payer_called(payer: &str) -> anyhow::Result<&'static str> {
    let mut all = crate::demo::cast::LAKESIDE.payers.iter();
    Ok(all.find(|person| person.id == payer).context("no such payer")?.name)
}

fn row(
    payer: &str,
    (_, paid): (&str, &str),
    why: &str,
    decided_by: &str,
    [credited, back]: [&str; 2],
    told: &Remittance,
) -> [String; 8] {
    [
        format!("{payer} {}", channel_called(CHANNEL)),
        called(DETAINEE),
        paid.to_owned(),
        why.to_owned(),
        decided_by.to_owned(),
        credited.to_owned(),
        back.to_owned(),
        told.state().as_str_name().replace("STATE_", ""),
    ]
}
