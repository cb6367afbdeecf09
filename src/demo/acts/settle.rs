//! The next morning: each vendor is paid what it sold, less what came back.

use super::{Play, pay_vendors};
use crate::{
    demo::{
        TODAY, TOMORROW,
        books::text,
        cast::{HOUSES, House, Vendor, center_name, vendor_name},
        check::{done, refused, same},
        desk::{Desk, request_id},
        tell,
    },
    proto::{CloseSettlementRequest, ListSettlementLinesRequest, Settlement, settlement::State},
};

/// The most lines of a settlement that are read at once.
const PAGE: i32 = 500;

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(9, "Vendors are paid", "供应商结算");
    let mut rows = Vec::new();
    for house in &HOUSES {
        let finance = play.stage.finance(house.id)?;
        let mut closed = Vec::new();
        for vendor in house.vendors {
            pay_vendors::agree(play, house, vendor).await?;
            let settlement = settle(play, &finance, house, vendor).await?;
            pay_vendors::allow(play, house, &settlement).await?;
            closed.push((vendor, settlement));
        }
        rows.extend(pay_vendors::pay(play, house, &closed).await?);
    }
    let head = [
        "center 监所",
        "vendor 供应商",
        "lines 笔数",
        "sold 销售",
        "returned 退货",
        "commission 佣金",
        "paid 应付",
        "bank reference 银行流水",
        "state 状态",
    ];
    tell::table(head, &[2, 3, 4, 5, 6], rows);
    Ok(())
}

fn close(house: &House, vendor: &Vendor, date: &str) -> CloseSettlementRequest {
    CloseSettlementRequest {
        parent: center_name(house.id),
        vendor: vendor_name(house.id, vendor.id),
        through_date: date.to_owned(),
        request_id: request_id(&["settlement", vendor.id, date]),
    }
}

async fn settle(play: &mut Play, finance: &Desk, house: &House, vendor: &Vendor) -> anyhow::Result<Settlement> {
    let too_early = finance
        .settlement()
        .close_settlement(close(house, vendor, TOMORROW))
        .await;
    refused("a day that is not over", "DATE_NOT_OVER", too_early)?;
    let closed = finance.settlement().close_settlement(close(house, vendor, TODAY)).await;
    let closed = done(format!("settlement of {}", vendor.id), closed)?;
    let sales = play.books.sales(vendor.id)?.clone();
    same(
        format!("{} sold", vendor.id),
        sales.credited,
        text(closed.credited.as_ref()),
    )?;
    same(
        format!("{} took back", vendor.id),
        sales.returned,
        text(closed.returned.as_ref()),
    )?;
    same(format!("{}'s lines", vendor.id), sales.postings, closed.line_count)?;
    expect_state(&closed, State::InTransit)?;
    let request = ListSettlementLinesRequest {
        parent: closed.name.clone(),
        page_size: PAGE,
        page_token: String::new(),
    };
    let lines = done("lines", finance.settlement().list_settlement_lines(request).await)?.settlement_lines;
    same(format!("{}'s listed lines", vendor.id), closed.line_count, lines.len())?;
    let again = finance.settlement().close_settlement(close(house, vendor, TODAY)).await;
    same(
        format!("{} closed again", vendor.id),
        &closed.name,
        done("closing again", again)?.name,
    )?;
    Ok(closed)
}

/// The settlement is where it should be.
pub fn expect_state(settlement: &Settlement, state: State) -> anyhow::Result<()> {
    same(&settlement.name, state.as_str_name(), settlement.state().as_str_name())
}
