//! A storm: a dozen small payments over WeChat Pay and Alipay while notifications are lost, repeated, reordered, late or forged.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use anyhow::{Context as _, bail, ensure};

use super::{
    CHANNELS, Play, Remitted, balances, channel_called,
    remit::{expect_state, ours, read},
};
use crate::{
    demo::{
        books::{cny, money, zero},
        cast::{HOUSES, center_name, detainee_name, payer_name},
        check::{done, same},
        desk::request_id,
        tell,
    },
    gateway::simulator::{
        control::{Delivery, DeliveryState, PayOptions, SimulatorControl},
        faults::FaultRates,
    },
    proto::{CreateRemittanceRequest, ListStatementLinesRequest, RefreshRemittanceRequest, remittance::State},
};

/// Who pays in the storm, twice each, and what of each payment is saved: nothing where savings are at their cap.
const PAYERS: [(&str, &str); 6] = [
    ("F01", "0.00"),
    ("F03", "2.00"),
    ("F04", "0.00"),
    ("F05", "1.00"),
    ("F06", "1.00"),
    ("F07", "1.00"),
];
/// Each payment.
const AMOUNT: &str = "20.00";
/// How long all notifications may take, in seconds.
const CALM_MAX_S: u64 = 60;
/// The pause between two looks at them, in milliseconds.
const CALM_PAUSE_MS: u64 = 50;

/// The weather. The seed says where it strikes.
fn rates() -> FaultRates {
    FaultRates {
        seed: 20_261_123,
        lose_per_mille: 300,
        duplicate_per_mille: 300,
        reorder_per_mille: 200,
        delay_per_mille: 300,
        delay_max_ms: 300,
        corrupt_per_mille: 200,
        ..FaultRates::default()
    }
}

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(7, "A storm at the gateways", "渠道故障");
    let rates = rates();
    tell::say(format!(
        "Of a thousand notifications {} are now lost, {} repeated, {} overtaken, {} late, {} forged at first, by a seed. \
         A dozen payments of {AMOUNT}:",
        rates.lose_per_mille,
        rates.duplicate_per_mille,
        rates.reorder_per_mille,
        rates.delay_per_mille,
        rates.corrupt_per_mille
    ));
    let gateway = play.stage.gateway()?;
    let before = gateway.deliveries().await?.len();
    gateway.set_faults(&rates).await?;
    let first = play.remitted.len();
    for channel in ["wechat", "alipay"] {
        for (payer, savings) in PAYERS {
            let remitted = pay(play, channel, payer).await?;
            let rest = cny(AMOUNT)?.checked_sub(cny(savings)?)?;
            play.books.credit(remitted.detainee, zero()?, cny(savings)?, rest)?;
            play.remitted.push(remitted);
        }
    }
    let deliveries = calm(&gateway, before).await?;
    gateway.set_faults(&FaultRates::default()).await?;
    let mut asked = BTreeMap::new();
    for remitted in &play.remitted[first..] {
        let count = asked.entry(remitted.channel).or_insert(0_usize);
        *count += usize::from(settle_down(play, remitted, &deliveries).await?);
    }
    show(&play.remitted[first..], &deliveries, &asked)?;
    once_each(play, first).await
}

/// Waits until none of the notifications after the first `before` is on its way: those of earlier acts are their own.
async fn calm(gateway: &SimulatorControl, before: usize) -> anyhow::Result<Vec<Delivery>> {
    let end = Instant::now() + Duration::from_secs(CALM_MAX_S);
    loop {
        let own = gateway.deliveries().await?.split_off(before);
        if own.iter().all(|delivery| delivery.state != DeliveryState::Sending) {
            return Ok(own);
        }
        ensure!(
            Instant::now() < end,
            "notifications are on their way for {CALM_MAX_S} s"
        );
        tokio::time::sleep(Duration::from_millis(CALM_PAUSE_MS)).await;
    }
}

/// Orders and pays one.
async fn pay(play: &Play, channel: &'static str, payer: &'static str) -> anyhow::Result<Remitted> {
    let all = HOUSES
        .iter()
        .flat_map(|house| house.payers.iter().map(move |payer| (house, payer)));
    let (house, person) = all
        .into_iter()
        .find(|(_, person)| person.id == payer)
        .context("no such payer")?;
    let request = CreateRemittanceRequest {
        parent: center_name(house.id),
        payer: payer_name(house.id, payer),
        detainee: detainee_name(house.id, person.detainee),
        amount: money(AMOUNT),
        channel: channel.to_owned(),
        request_id: request_id(&["storm", channel, payer]),
        in_app_payer: String::new(),
    };
    let desk = play.stage.payer(house.id, payer)?;
    let remittance = done("remittance", desk.remittance().create_remittance(request).await)?;
    let gateway = play.stage.gateway()?;
    gateway.pay(&remittance.order_number, &PayOptions::default()).await?;
    Ok(Remitted {
        center: house.id,
        payer,
        detainee: person.detainee,
        channel,
        name: remittance.name,
        order_number: remittance.order_number,
        amount: AMOUNT,
    })
}

/// What was told is credited. What was not, finance asks the gateway about, as the service does by itself later; returns
/// whether that was needed.
async fn settle_down(play: &Play, remitted: &Remitted, deliveries: &[Delivery]) -> anyhow::Result<bool> {
    let finance = play.stage.finance(remitted.center)?;
    let found = read(&finance, &remitted.name).await?;
    let mut own = deliveries
        .iter()
        .filter(|delivery| ours(delivery) == remitted.order_number);
    if own.any(|delivery| delivery.state == DeliveryState::Accepted) {
        expect_state(&found, State::Credited)?;
        return Ok(false);
    }
    // The service may have asked before.
    let was_asked = found.state() == State::Pending;
    let request = RefreshRemittanceRequest {
        name: remitted.name.clone(),
    };
    let refreshed = finance.remittance().refresh_remittance(request).await;
    expect_state(&done("asking the gateway", refreshed)?, State::Credited)?;
    Ok(was_asked)
}

fn show(remitted: &[Remitted], deliveries: &[Delivery], asked: &BTreeMap<&str, usize>) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for (channel, _) in CHANNELS {
        let orders: Vec<&str> = remitted
            .iter()
            .filter(|remitted| remitted.channel == channel)
            .map(|remitted| remitted.order_number.as_str())
            .collect();
        if orders.is_empty() {
            continue;
        }
        let own = deliveries
            .iter()
            .filter(|delivery| orders.contains(&ours(delivery).as_str()));
        let count = |is: fn(&Delivery) -> bool| own.clone().filter(|delivery| is(delivery)).count();
        let lost = count(|delivery| delivery.state == DeliveryState::Lost);
        if lost == 0 {
            bail!("{channel} was to lose notifications, but it lost none");
        }
        rows.push([
            channel_called(channel).to_owned(),
            orders.len().to_string(),
            count(|_| true).to_string(),
            lost.to_string(),
            count(|delivery| delivery.corrupted).to_string(),
            count(|delivery| delivery.state == DeliveryState::Accepted).to_string(),
            asked.get(channel).copied().unwrap_or_default().to_string(),
        ]);
    }
    let head = [
        "channel 渠道",
        "payments 支付",
        "notifications 通知",
        "lost 丢失",
        "forged at first 伪造",
        "accepted 接受",
        "found by query 查询补单",
    ];
    tell::table(head, &[1, 2, 3, 4, 5, 6], rows);
    Ok(())
}

/// On each statement each payment of the storm stands once, and balances are what the books say.
async fn once_each(play: &Play, first: usize) -> anyhow::Result<()> {
    let storm = play.remitted.get(first..).context("no payments")?;
    let mut credited = 0;
    for remitted in storm {
        let auditor = play.stage.auditor()?;
        let remittance = read(&auditor, &remitted.name).await?;
        let request = ListStatementLinesRequest {
            parent: detainee_name(remitted.center, remitted.detainee),
            page_size: 100,
            ..ListStatementLinesRequest::default()
        };
        let lines = done("statement", auditor.custody().list_statement_lines(request).await)?.statement_lines;
        let is_its = |seq: i64| remittance.credit_transaction.ends_with(&format!("/transactions/{seq}"));
        let own = lines.iter().filter(|line| is_its(line.seq)).count();
        same(format!("credits of {}", remitted.name), 1, own)?;
        credited += own;
        balances(&play.books, &auditor, remitted.center, remitted.detainee).await?;
    }
    tell::say(format!("{credited} of {} credited exactly once.", storm.len()));
    Ok(())
}
