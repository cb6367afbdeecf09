//! Detainees buy: two hundred orders from four terminals at once.

use std::collections::BTreeMap;

use anyhow::Context as _;
use tokio::task::JoinSet;

use super::{Bought, Play, balances};
use crate::{
    demo::{
        books::{Basket, Verdict, cny, text, zero},
        cast::{HOUSES, called, center_name, detainee_name, product_name},
        check::{done_once, refused, same},
        desk::Desk,
        shopping::{self, Order, Round},
        tell::{self, Progress},
    },
    money::Amount,
    proto::{CreatePurchaseLine, CreatePurchaseRequest, GetSpendingRequest},
};

/// What became of one terminal's orders.
struct Played {
    round: Round,
    bought: Vec<Bought>,
    refusals: BTreeMap<&'static str, String>,
}

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(3, "Detainees buy", "点购消费");
    let rounds = shopping::plan(&mut play.books)?;
    let all: usize = rounds.iter().map(|round| round.orders.len()).sum();
    tell::say(format!("{all} orders from {} terminals at once:", rounds.len()));
    let progress = Progress::of(u64::try_from(all)?, "orders");
    let mut terminals = JoinSet::new();
    for round in rounds {
        let desk = play.stage.terminal(round.center, round.terminal)?;
        terminals.spawn(serve(desk, round, progress.clone()));
    }
    let mut played = Vec::new();
    while let Some(terminal) = terminals.join_next().await {
        played.push(terminal??);
    }
    progress.end();
    played.sort_by_key(|played| (played.round.center != HOUSES[0].id, played.round.terminal));
    show_terminals(&played)?;
    for terminal in &played {
        play.bought.extend(terminal.bought.iter().cloned());
    }
    show_detainees(play).await?;
    let refusals: BTreeMap<_, _> = played.into_iter().flat_map(|played| played.refusals).collect();
    for (reason, why) in refusals {
        tell::say(format!("{reason}: {why}"));
    }
    Ok(())
}

/// One terminal: its orders one after the other, every answer compared with what it should be.
async fn serve(desk: Desk, round: Round, progress: Progress) -> anyhow::Result<Played> {
    let mut bought: Vec<Bought> = Vec::new();
    let mut refusals = BTreeMap::new();
    for order in &round.orders {
        let answer = desk.commissary().create_purchase(request(round.center, order)).await;
        let what = format!("order {} of {}", order.request_id, order.detainee);
        match &order.verdict {
            Verdict::Refused(reason) => {
                let (_, why) = refused(what, reason, answer)?;
                refusals
                    .entry(*reason)
                    .or_insert(format!("{} — {why}", called(order.detainee)));
            }
            Verdict::Sold {
                total,
                available_after,
                limit_remaining,
            } => {
                let (purchase, replayed) = done_once(&what, answer)?;
                same(format!("{what}: replayed"), order.is_repeated, replayed)?;
                same(format!("{what}: total"), total, text(purchase.total.as_ref()))?;
                same(
                    format!("{what}: balance"),
                    available_after,
                    text(purchase.available_after.as_ref()),
                )?;
                same(
                    format!("{what}: limit"),
                    limit_remaining,
                    text(purchase.limit_remaining.as_ref()),
                )?;
                match bought.iter().find(|bought| bought.request_id == order.request_id) {
                    Some(first) => same(format!("{what}: the repeated purchase"), &first.name, purchase.name)?,
                    None => bought.push(Bought {
                        center: round.center,
                        terminal: round.terminal,
                        detainee: order.detainee,
                        name: purchase.name,
                        request_id: order.request_id.clone(),
                        lines: order.basket.clone(),
                    }),
                }
            }
        }
        progress.step();
    }
    Ok(Played {
        round,
        bought,
        refusals,
    })
}

fn request(center: &str, order: &Order) -> CreatePurchaseRequest {
    purchase_of(center, order.detainee, &order.basket, order.request_id.clone())
}

/// A purchase as a terminal asks for it.
pub fn purchase_of(center: &str, detainee: &str, basket: &Basket, request_id: String) -> CreatePurchaseRequest {
    let line = |(product, quantity): &(&crate::demo::goods::Product, u32)| CreatePurchaseLine {
        product: product_name(center, product.id),
        quantity: i32::try_from(*quantity).unwrap_or(i32::MAX),
    };
    CreatePurchaseRequest {
        parent: center_name(center),
        detainee: detainee_name(center, detainee),
        lines: basket.iter().map(line).collect(),
        request_id,
    }
}

fn show_terminals(played: &[Played]) -> anyhow::Result<()> {
    let mut rows = Vec::new();
    for Played { round, bought, .. } in played {
        let refused = |reason| {
            let is = |order: &&Order| order.verdict == Verdict::Refused(reason);
            round.orders.iter().filter(is).count().to_string()
        };
        let sold = round.orders.iter().filter(|order| !order.is_repeated);
        let totals = sold.filter_map(|order| match &order.verdict {
            Verdict::Sold { total, .. } => Some(*total),
            Verdict::Refused(_) => None,
        });
        let total = Amount::sum(totals, zero()?.currency())?;
        rows.push([
            round.terminal.to_owned(),
            round.orders.len().to_string(),
            bought.len().to_string(),
            refused("INSUFFICIENT_FUNDS"),
            refused("MONTHLY_LIMIT_EXCEEDED"),
            refused("ORDER_LIMIT_EXCEEDED"),
            round
                .orders
                .iter()
                .filter(|order| order.is_repeated)
                .count()
                .to_string(),
            total.to_string(),
        ]);
    }
    let head = [
        "terminal 终端",
        "orders 订单",
        "sold 成交",
        "no funds 余额不足",
        "month's limit 超月限额",
        "order limit 超单笔",
        "sent twice 重复请求",
        "CNY 金额",
    ];
    tell::table(head, &[1, 2, 3, 4, 5, 6, 7], rows);
    Ok(())
}

async fn show_detainees(play: &Play) -> anyhow::Result<()> {
    let auditor = play.stage.auditor()?;
    let mut rows = Vec::new();
    for house in &HOUSES {
        for person in house.detainees {
            let balances = balances(&play.books, &auditor, house.id, person.id).await?;
            let request = GetSpendingRequest {
                detainee: detainee_name(house.id, person.id),
                month: String::new(),
            };
            let spending = auditor
                .commissary()
                .get_spending(request)
                .await
                .context("spending")?
                .into_inner();
            let headroom = play.books.headroom(person.id)?;
            same(
                format!("{}'s headroom", person.id),
                headroom,
                text(spending.remaining.as_ref()),
            )?;
            let bought: Vec<_> = play
                .bought
                .iter()
                .filter(|bought| bought.detainee == person.id)
                .collect();
            let mut last = String::new();
            for (product, quantity) in bought.last().map(|bought| bought.lines.as_slice()).unwrap_or_default() {
                let amount = cny(product.price)?.checked_mul(*quantity)?;
                last.push_str(&format!(
                    "{} {} × {quantity} = {amount}; ",
                    product.name_zh, product.name
                ));
            }
            rows.push([
                called(person.id),
                bought.len().to_string(),
                text(spending.spent.as_ref()),
                text(spending.remaining.as_ref()),
                text(balances.available.as_ref()),
                last.trim_end_matches("; ").to_owned(),
            ]);
        }
    }
    let head = [
        "detainee 在押人员",
        "bought 笔数",
        "of the limit 已用限额",
        "limit left 剩余限额",
        "available 可用",
        "last purchase 最近一笔",
    ];
    tell::table(head, &[1, 2, 3, 4], rows);
    Ok(())
}
