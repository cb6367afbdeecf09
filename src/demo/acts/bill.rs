//! The gateways' bills of the day: one amount in it is wrong, and found; then that gateway sends a corrected bill.

use anyhow::Context as _;
use futures::stream;

use super::{CHANNELS, Play, Remitted, channel_called};
use crate::{
    demo::{
        TODAY,
        books::{Books, cny, text, zero},
        cast::{HOUSES, center_name},
        check::{done, same},
        tell,
    },
    gateway::{
        Channel as _,
        simulator::control::{BillChange, BillEntry},
        webhook::{WebhookChannel, WebhookConfig},
    },
    money::Amount,
    proto::{
        Break, FetchBillRequest, ImportBillHeader, ImportBillRequest, ListBreaksRequest, Reconciliation, r#break::Kind,
        import_bill_request::Content,
    },
};

/// The channel whose bill finance fetches itself once more.
const CORRECTED: &str = "webhook";
/// Whose payment the bill gets wrong, and how.
const WRONG: (&str, &str) = ("F03", "590.00");
/// How much of a bill is sent at once, in bytes.
const CHUNK_BYTES: usize = 512;

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(10, "The gateways' bills are reconciled", "渠道对账");
    let (payer, wrong_amount) = WRONG;
    let wrong = play
        .remitted
        .iter()
        .find(|remitted| remitted.payer == payer)
        .context("no remittance")?;
    let change = |amount: &str| BillChange {
        entry: BillEntry::payment(&wrong.order_number),
        amount: amount.to_owned(),
    };
    let gateway = play.stage.gateway()?;
    gateway.change_bill_amount(&change(wrong_amount)).await?;
    tell::say(format!(
        "One amount in the gateway's bill of {TODAY} is altered: {} reads {wrong_amount} instead of {}.",
        wrong.order_number, wrong.amount
    ));
    let (mut rows, mut both_sides) = (Vec::new(), Vec::new());
    for house in &HOUSES {
        for (channel, _) in CHANNELS {
            let breaks = u32::from((house.id, channel) == (wrong.center, wrong.channel));
            let reconciled = fetch(play, house.id, channel).await?;
            check(play, (house.id, channel), &reconciled, breaks)?;
            rows.push(row(&house.short(), channel, "fetched 拉取", &reconciled));
            let found = breaks_of(play, house.id, &reconciled.name).await?;
            same(format!("breaks of {}", reconciled.name), breaks, found.len())?;
            if let [found] = found.as_slice() {
                check_break(found, wrong, wrong_amount)?;
                both_sides.extend(evidence(found));
            }
        }
    }
    gateway.change_bill_amount(&change(wrong.amount)).await?;
    let corrected = import(play, wrong.center).await?;
    check(play, (wrong.center, CORRECTED), &corrected, 0)?;
    rows.push(row("湖滨 Lakeside", CORRECTED, "corrected 更正", &corrected));
    let head = [
        "center 监所",
        "channel 渠道",
        "bill 账单",
        "matched 相符",
        "breaks 差错",
        "paid: bill / ledger 支付",
        "refunded: bill / ledger 退款",
        "fees 手续费",
    ];
    tell::table(head, &[3, 4, 5, 6, 7], rows);
    tell::say(
        "The break, with the evidence of both sides; in the corrected bill it is gone. Each fee is recorded once:",
    );
    let head = [
        "break 差错",
        "side 方",
        "order 订单号",
        "gateway's number 渠道单号",
        "amount 金额",
        "where 出处",
    ];
    tell::table(head, &[4], both_sides);
    for house in &HOUSES {
        for (channel, _) in CHANNELS {
            let fees = fees(play, (house.id, channel))?;
            play.books.charge(house.id, fees)?;
        }
    }
    Ok(())
}

fn day() -> anyhow::Result<time::Date> {
    Ok(time::Date::parse(
        TODAY,
        time::macros::format_description!("[year]-[month]-[day]"),
    )?)
}

/// The service fetches the bill by itself.
async fn fetch(play: &Play, center: &str, channel: &str) -> anyhow::Result<Reconciliation> {
    let request = FetchBillRequest {
        parent: center_name(center),
        channel: channel.to_owned(),
        bill_date: TODAY.to_owned(),
    };
    let finance = play.stage.finance(center)?;
    done(
        format!("the bill of {channel} for {center}"),
        finance.reconciliation().fetch_bill(request).await,
    )
}

/// Finance fetches the bill from the gateway's own site and sends it in.
async fn import(play: &Play, center: &str) -> anyhow::Result<Reconciliation> {
    let config = WebhookConfig {
        id: CORRECTED.to_owned(),
        base_url: play.stage.gateway_url()?,
        secret: play.stage.secret(),
    };
    let bill = WebhookChannel::try_new(config, play.stage.clock())?
        .fetch_bill(day()?)
        .await?;
    let header = ImportBillHeader {
        parent: center_name(center),
        channel: CORRECTED.to_owned(),
        bill_date: TODAY.to_owned(),
    };
    let message = |content| ImportBillRequest { content: Some(content) };
    let mut messages = vec![message(Content::Header(header))];
    messages.extend(
        bill.chunks(CHUNK_BYTES)
            .map(|chunk| message(Content::Chunk(chunk.to_vec()))),
    );
    let finance = play.stage.finance(center)?;
    let imported = finance.reconciliation().import_bill(stream::iter(messages)).await;
    done(format!("the corrected bill of {center}"), imported)
}

/// What was remitted in a center over a channel, by our own notes.
fn paid(play: &Play, place: (&'static str, &'static str)) -> anyhow::Result<Vec<Amount>> {
    let is_there = |remitted: &&Remitted| (remitted.center, remitted.channel) == place;
    let ours = play.remitted.iter().filter(is_there);
    ours.map(|remitted| cny(remitted.amount)).collect()
}

/// What went back to payers in a center over a channel.
fn paid_back<'a>(play: &'a Play, place: (&'static str, &'static str)) -> &'a [Amount] {
    play.refunds.get(&place).map(Vec::as_slice).unwrap_or_default()
}

/// The fees of the payments, less what WeChat Pay gives back of a fee with a refund; the others give back nothing.
fn fees(play: &Play, place: (&'static str, &'static str)) -> anyhow::Result<Amount> {
    let sum = |amounts: &[Amount]| -> anyhow::Result<Amount> {
        let fees: Vec<Amount> = amounts.iter().copied().map(Books::fee).collect::<anyhow::Result<_>>()?;
        Ok(Amount::sum(fees, zero()?.currency())?)
    };
    let kept = sum(&paid(play, place)?)?;
    match place.1 {
        "wechat" => Ok(kept.checked_sub(sum(paid_back(play, place))?)?),
        _ => Ok(kept),
    }
}

fn check(
    play: &Play,
    place: (&'static str, &'static str),
    reconciled: &Reconciliation,
    breaks: u32,
) -> anyhow::Result<()> {
    let what = |what: &str| format!("{what} of {}", reconciled.name);
    let payments = paid(play, place)?;
    let refunds = paid_back(play, place);
    let entries = u32::try_from(payments.len() + refunds.len())?;
    let currency = zero()?.currency();
    same(what("breaks"), breaks, reconciled.break_count)?;
    same(what("matched lines"), entries - breaks, reconciled.matched_count)?;
    let ledger_paid = Amount::sum(payments, currency)?;
    same(what("payments"), ledger_paid, text(reconciled.ledger_paid.as_ref()))?;
    let ledger_refunded = Amount::sum(refunds.iter().copied(), currency)?;
    same(
        what("refunds"),
        ledger_refunded,
        text(reconciled.ledger_refunded.as_ref()),
    )?;
    same(
        what("refunds in the bill"),
        ledger_refunded,
        text(reconciled.bill_refunded.as_ref()),
    )?;
    same(
        what("fees in the bill"),
        fees(play, place)?,
        text(reconciled.bill_fees.as_ref()),
    )?;
    if breaks == 0 {
        same(
            what("payments in the bill"),
            ledger_paid,
            text(reconciled.bill_paid.as_ref()),
        )?;
    }
    Ok(())
}

async fn breaks_of(play: &Play, center: &str, name: &str) -> anyhow::Result<Vec<Break>> {
    let request = ListBreaksRequest {
        parent: name.to_owned(),
        ..ListBreaksRequest::default()
    };
    let auditor = play.stage.finance(center)?;
    Ok(done(
        format!("breaks of {name}"),
        auditor.reconciliation().list_breaks(request).await,
    )?
    .breaks)
}

fn check_break(found: &Break, wrong: &Remitted, wrong_amount: &str) -> anyhow::Result<()> {
    same(
        "the break",
        Kind::AmountDiffers.as_str_name(),
        found.kind().as_str_name(),
    )?;
    let bill = found.bill.as_ref().context("the break has no evidence of the bill")?;
    let ledger = found
        .ledger
        .as_ref()
        .context("the break has no evidence of the ledger")?;
    same("the bill's order", &wrong.order_number, &bill.order_number)?;
    same("the ledger's order", &wrong.order_number, &ledger.order_number)?;
    same(
        "the gateway's number",
        &bill.gateway_transaction,
        &ledger.gateway_transaction,
    )?;
    same("the bill's amount", wrong_amount, text(bill.amount.as_ref()))?;
    same("the ledger's amount", wrong.amount, text(ledger.amount.as_ref()))?;
    same("the ledger's source", &wrong.name, &ledger.source)
}

fn row(center: &str, channel: &str, bill: &str, reconciled: &Reconciliation) -> [String; 8] {
    let two = |bill, ledger| format!("{} / {}", text(bill), text(ledger));
    [
        center.to_owned(),
        channel_called(channel).to_owned(),
        bill.to_owned(),
        reconciled.matched_count.to_string(),
        reconciled.break_count.to_string(),
        two(reconciled.bill_paid.as_ref(), reconciled.ledger_paid.as_ref()),
        two(reconciled.bill_refunded.as_ref(), reconciled.ledger_refunded.as_ref()),
        text(reconciled.bill_fees.as_ref()),
    ]
}

/// Both sides of a break, a row each.
fn evidence(found: &Break) -> [[String; 6]; 2] {
    let (bill, ledger) = (
        found.bill.clone().unwrap_or_default(),
        found.ledger.clone().unwrap_or_default(),
    );
    let seq = ledger.transaction.rsplit('/').next().unwrap_or_default();
    [
        [
            found.kind().as_str_name().replace("KIND_", ""),
            "bill 账单".to_owned(),
            bill.order_number,
            bill.gateway_transaction,
            text(bill.amount.as_ref()),
            format!("line {} 行", bill.line),
        ],
        [
            String::new(),
            "ledger 账本".to_owned(),
            ledger.order_number,
            ledger.gateway_transaction,
            text(ledger.amount.as_ref()),
            format!("transaction {seq} 笔"),
        ],
    ]
}
