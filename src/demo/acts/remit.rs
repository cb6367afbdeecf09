//! Families remit: eight payments over three gateways, of which one is told four times, one is forged, and one is never told.

use std::time::Duration;

use anyhow::bail;

use super::{Play, Remitted, balances, channel_called};
use crate::{
    demo::{
        books::{cny, money, text},
        cast::{HOUSES, called, center_name, detainee_name, payer_name},
        check::{done, refused, same},
        desk::{Desk, request_id},
        tell,
    },
    gateway::simulator::control::{Delivery, DeliveryState, NotifyOptions, PayOptions},
    proto::{
        CreateRemittanceRequest, Distribution, GetDistributionRequest, GetRemittanceRequest, ListStatementLinesRequest,
        RefreshRemittanceRequest, Remittance, remittance::State,
    },
};

/// How long a notification may take, in milliseconds.
const NOTICE_MAX_MS: u64 = 20_000;
/// The pause between two looks, in milliseconds.
const LOOK_MS: u64 = 20;
/// Copies of the notification that is told too often, beside the first.
const COPIES: u32 = 3;

/// What becomes of a payment's notification.
#[derive(Clone, Copy, PartialEq)]
enum Notice {
    Once,
    Duplicated,
    Tampered,
    Lost,
}

struct Planned {
    payer: &'static str,
    channel: &'static str,
    amount: &'static str,
    court: &'static str,
    savings: &'static str,
    rest: &'static str,
    notice: Notice,
}

const fn planned(
    (payer, channel): (&'static str, &'static str),
    amount: &'static str,
    parts: [&'static str; 3],
    notice: Notice,
) -> Planned {
    let [court, savings, rest] = parts;
    Planned {
        payer,
        channel,
        amount,
        court,
        savings,
        rest,
        notice,
    }
}

/// Payments, and how each should be split: court, savings, available.
const PLAN: [Planned; 8] = [
    planned(("F01", "wechat"), "500.00", ["200.00", "50.00", "250.00"], Notice::Once),
    planned(
        ("F02", "wechat"),
        "300.00",
        ["0.00", "30.00", "270.00"],
        Notice::Duplicated,
    ),
    planned(
        ("F03", "webhook"),
        "600.00",
        ["0.00", "60.00", "540.00"],
        Notice::Tampered,
    ),
    // 10 % would be 100.00, but savings stop at 80.00.
    planned(("F04", "wechat"), "1000.00", ["0.00", "80.00", "920.00"], Notice::Once),
    planned(("F05", "alipay"), "200.00", ["0.00", "10.00", "190.00"], Notice::Lost),
    planned(("F06", "alipay"), "800.00", ["0.00", "40.00", "760.00"], Notice::Once),
    // 5 % would be 7.525; what is less than a fen is not saved.
    planned(("F07", "wechat"), "150.50", ["0.00", "7.52", "142.98"], Notice::Once),
    planned(("F08", "webhook"), "400.00", ["0.00", "20.00", "380.00"], Notice::Once),
];

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(2, "Families remit", "家属汇款");
    let mut rows = Vec::new();
    for house in &HOUSES {
        for payer in house.payers {
            for planned in PLAN.iter().filter(|planned| planned.payer == payer.id) {
                let (remitted, deliveries) = remit(play, house.id, payer.detainee, planned).await?;
                let distribution = distribution(play, &remitted).await?;
                check_parts(&distribution, planned)?;
                play.books.credit(
                    payer.detainee,
                    cny(planned.court)?,
                    cny(planned.savings)?,
                    cny(planned.rest)?,
                )?;
                let desk = play.stage.payer(house.id, payer.id)?;
                balances(&play.books, &desk, house.id, payer.detainee).await?;
                rows.push([
                    tracking_code(&remitted.name),
                    payer.name.to_owned(),
                    channel_called(planned.channel).to_owned(),
                    called(payer.detainee),
                    planned.amount.to_owned(),
                    planned.court.to_owned(),
                    planned.savings.to_owned(),
                    planned.rest.to_owned(),
                    deliveries,
                ]);
                play.remitted.push(remitted);
            }
        }
    }
    tell::say("Every credit and its distribution are one transaction, and every part is explained:");
    let head = [
        "tracking code 查询码",
        "payer 汇款人",
        "channel 渠道",
        "detainee 在押人员",
        "amount 金额",
        "court 法院",
        "savings 储备",
        "available 可用",
        "notifications 通知",
    ];
    tell::table(head, &[4, 5, 6, 7], rows);
    one_credit_each(play).await?;
    refusals(play).await
}

fn tracking_code(name: &str) -> String {
    name.rsplit('/').next().unwrap_or(name).to_owned()
}

/// One payment, from the order to the credit; also what the gateway saw of its notifications.
async fn remit(
    play: &Play,
    center: &'static str,
    detainee: &'static str,
    planned: &Planned,
) -> anyhow::Result<(Remitted, String)> {
    let desk = play.stage.payer(center, planned.payer)?;
    let request = CreateRemittanceRequest {
        parent: center_name(center),
        payer: payer_name(center, planned.payer),
        detainee: detainee_name(center, detainee),
        amount: money(planned.amount),
        channel: planned.channel.to_owned(),
        request_id: request_id(&["remittance", planned.payer]),
        in_app_payer: String::new(),
    };
    let remittance = done("remittance", desk.remittance().create_remittance(request).await)?;
    expect_state(&remittance, State::Pending)?;
    way_to_pay(play, &remittance)?;
    let order = remittance.order_number.clone();
    let gateway = play.stage.gateway()?;
    let options = PayOptions {
        duplicate: if planned.notice == Notice::Duplicated {
            COPIES
        } else {
            0
        },
        tamper: planned.notice == Notice::Tampered,
        lose: planned.notice == Notice::Lost,
        ..PayOptions::default()
    };
    gateway.pay(&order, &options).await?;
    let seen = match planned.notice {
        Notice::Once | Notice::Duplicated => {
            let copies = if planned.notice == Notice::Once { 1 } else { 1 + COPIES };
            accepted(play, &order, copies).await?;
            if copies == 1 {
                "once".to_owned()
            } else {
                format!("{copies} times 重复")
            }
        }
        Notice::Tampered => {
            let code = tampered(play, &desk, &remittance, planned).await?;
            format!("forged 伪造, {code}")
        }
        Notice::Lost => {
            lost(&desk, &remittance).await?;
            "lost 掉单, found".to_owned()
        }
    };
    expect_state(&read(&desk, &remittance.name).await?, State::Credited)?;
    let remitted = Remitted {
        center,
        payer: planned.payer,
        detainee,
        channel: planned.channel,
        name: remittance.name,
        order_number: order,
        amount: planned.amount,
    };
    Ok((remitted, seen))
}

/// The gateway's notification tells another amount than was signed: it is refused and nothing changes. Then the genuine
/// one comes.
async fn tampered(play: &Play, desk: &Desk, remittance: &Remittance, planned: &Planned) -> anyhow::Result<u16> {
    let order = &remittance.order_number;
    let tried = |deliveries: &[Delivery]| deliveries.iter().any(|delivery| !delivery.attempts.is_empty());
    let deliveries = wait(play, order, tried).await?;
    let Some(code) = deliveries
        .iter()
        .flat_map(|delivery| &delivery.attempts)
        .find_map(|attempt| attempt.code)
    else {
        bail!("the forged notification of {order}: expected an answer of the 400s, but there was none");
    };
    if !(400..500).contains(&code) {
        bail!("the forged notification of {order}: expected an answer of the 400s, but it is {code}");
    }
    expect_state(&read(desk, &remittance.name).await?, State::Pending)?;
    let detainee = remittance.detainee.rsplit('/').next().unwrap_or_default();
    balances(&play.books, desk, center_of(&remittance.name), detainee).await?;
    tell::say(format!(
        "A notification for {order} says 9{} instead of {}, and its signature does not fit: the service answers {code}, \
         the remittance stays PENDING, no balance moves. The genuine notification credits it.",
        planned.amount, planned.amount
    ));
    play.stage.gateway()?.notify(order, &NotifyOptions::default()).await?;
    accepted(play, order, 1).await?;
    Ok(code)
}

/// No notification comes. The family asks, the service asks the gateway.
async fn lost(desk: &Desk, remittance: &Remittance) -> anyhow::Result<()> {
    expect_state(&read(desk, &remittance.name).await?, State::Pending)?;
    let request = RefreshRemittanceRequest {
        name: remittance.name.clone(),
    };
    let found = done(
        "asking the gateway",
        desk.remittance().refresh_remittance(request).await,
    )?;
    expect_state(&found, State::Credited)?;
    tell::say(format!(
        "The notification for {} never comes. The family asks, and the service asks the gateway: it was paid.",
        remittance.order_number
    ));
    Ok(())
}

/// What the first payer of each channel is shown to pay by.
fn way_to_pay(play: &Play, remittance: &Remittance) -> anyhow::Result<()> {
    let channel = remittance.channel.as_str();
    // The real Alipay's begins with https://qr.alipay.com/; the simulated one has no such name.
    let begins = if channel == "wechat" { "weixin://" } else { "http://" };
    let way = &remittance.payment_url;
    same(format!("{channel}'s way to pay, {way}"), true, way.starts_with(begins))?;
    if !play.remitted.iter().any(|remitted| remitted.channel == channel) {
        tell::say(format!("{} is paid by {way}", channel_called(channel)));
    }
    Ok(())
}

fn center_of(name: &str) -> &str {
    name.split('/').nth(1).unwrap_or_default()
}

pub async fn read(desk: &Desk, name: &str) -> anyhow::Result<Remittance> {
    let request = GetRemittanceRequest { name: name.to_owned() };
    done("remittance", desk.remittance().get_remittance(request).await)
}

pub fn expect_state(remittance: &Remittance, state: State) -> anyhow::Result<()> {
    same(&remittance.name, state.as_str_name(), remittance.state().as_str_name())
}

/// Waits until so many notifications of an order or refund were accepted.
pub async fn accepted(play: &Play, subject: &str, count: u32) -> anyhow::Result<()> {
    let enough = |deliveries: &[Delivery]| {
        let accepted = deliveries
            .iter()
            .filter(|delivery| delivery.state == DeliveryState::Accepted)
            .count();
        u32::try_from(accepted).is_ok_and(|accepted| accepted >= count)
    };
    wait(play, subject, enough).await.map(|_| ())
}

/// Waits until the notifications of an order or refund are as wanted.
async fn wait(play: &Play, subject: &str, enough: impl Fn(&[Delivery]) -> bool) -> anyhow::Result<Vec<Delivery>> {
    let gateway = play.stage.gateway()?;
    for _ in 0..NOTICE_MAX_MS / LOOK_MS {
        let mut deliveries = gateway.deliveries().await?;
        deliveries.retain(|delivery| ours(delivery) == subject);
        if enough(&deliveries) {
            return Ok(deliveries);
        }
        tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
    }
    let deliveries = gateway.deliveries().await?;
    let last = deliveries.iter().rfind(|delivery| ours(delivery) == subject);
    bail!("the notifications of {subject} did not arrive in {NOTICE_MAX_MS} ms; the last: {last:?}")
}

/// Our number of what a notification tells: Alipay's numbers have a `_` where ours have a `-`.
pub fn ours(delivery: &Delivery) -> String {
    delivery.subject.replace('_', "-")
}

async fn distribution(play: &Play, remitted: &Remitted) -> anyhow::Result<Distribution> {
    let desk = play.stage.payer(remitted.center, remitted.payer)?;
    let request = GetDistributionRequest {
        name: format!("{}/distribution", remitted.name),
    };
    done("distribution", desk.distribution().get_distribution(request).await)
}

fn check_parts(distribution: &Distribution, planned: &Planned) -> anyhow::Result<()> {
    same("distributed", planned.amount, text(distribution.amount.as_ref()))?;
    for (rule, expected) in [
        ("court_order", planned.court),
        ("savings", planned.savings),
        ("remainder", planned.rest),
    ] {
        let part = distribution.parts.iter().find(|part| part.rule == rule);
        let got = part.map_or("0.00", |part| part.amount.as_str());
        same(format!("{rule} of {}", distribution.remittance), expected, got)?;
    }
    Ok(())
}

/// Told once, four times, or found: on each statement each remittance stands once.
async fn one_credit_each(play: &Play) -> anyhow::Result<()> {
    for house in &HOUSES {
        for person in house.detainees {
            let request = ListStatementLinesRequest {
                parent: detainee_name(house.id, person.id),
                ..ListStatementLinesRequest::default()
            };
            let auditor = play.stage.auditor()?;
            let lines = done("statement", auditor.custody().list_statement_lines(request).await)?.statement_lines;
            let remitted = play
                .remitted
                .iter()
                .filter(|remitted| remitted.detainee == person.id)
                .count();
            same(format!("credits on {}'s statement", person.id), remitted, lines.len())?;
        }
    }
    Ok(())
}

/// What a payer cannot do.
async fn refusals(play: &Play) -> anyhow::Result<()> {
    let request = |payer: &str, detainee: &str, amount: &str| CreateRemittanceRequest {
        parent: center_name("greenhill"),
        payer: payer_name("greenhill", payer),
        detainee: detainee_name("greenhill", detainee),
        amount: money(amount),
        channel: "webhook".to_owned(),
        request_id: request_id(&["refused", payer, detainee]),
        in_app_payer: String::new(),
    };
    let desk = play.stage.payer("greenhill", "F05")?;
    let too_much = desk
        .remittance()
        .create_remittance(request("F05", "D2001", "1500.00"))
        .await;
    let (_, why) = refused("1,500.00 at once", "REMITTANCE_LIMIT_EXCEEDED", too_much)?;
    tell::say(format!("刘波 Liu Bo tries 1,500.00 at once. Refused: {why}"));
    let stranger = desk
        .remittance()
        .create_remittance(request("F05", "D2002", "10.00"))
        .await;
    let (_, why) = refused("a remittance to somebody else's relative", "NOT_ALLOWED", stranger)?;
    tell::say(format!(
        "刘波 Liu Bo tries to remit to {}. Refused: {why}",
        called("D2002")
    ));
    Ok(())
}
