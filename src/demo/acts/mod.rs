//! The acts, in the order in which they are played.

pub mod bill;
pub mod buy;
pub mod give_back;
pub mod leave;
pub mod open;
pub mod orders;
mod pay_vendors;
pub mod power_cut;
pub mod proof;
pub mod refund;
pub mod release;
pub mod remit;
pub mod review;
pub mod settle;
pub mod storm;
pub mod till;
pub mod transfer;

use std::collections::BTreeMap;

use super::{
    books::{Books, text},
    cast,
    check::{done, same},
    desk::Desk,
    goods::Product,
    stage::Stage,
};
use crate::{
    money::Amount,
    proto::{Balances, GetBalancesRequest},
};

/// What one act leaves to the next.
pub struct Play {
    pub stage: Stage,
    pub books: Books,
    pub remitted: Vec<Remitted>,
    pub bought: Vec<Bought>,
    /// What went back to payers, by center and channel.
    pub refunds: BTreeMap<(&'static str, &'static str), Vec<Amount>>,
}

/// The gateways: the channel of each, and what it is called on the page.
pub const CHANNELS: [(&str, &str); 3] = [
    ("wechat", "微信 wechat"),
    ("alipay", "支付宝 alipay"),
    ("webhook", "网关 webhook"),
];

/// What a channel is called on the page.
pub fn channel_called(channel: &str) -> &str {
    CHANNELS
        .iter()
        .find(|(id, _)| *id == channel)
        .map_or(channel, |(_, name)| name)
}

/// A remittance that was credited.
pub struct Remitted {
    pub center: &'static str,
    pub payer: &'static str,
    pub detainee: &'static str,
    pub channel: &'static str,
    /// `centers/{center}/remittances/{remittance}`.
    pub name: String,
    /// Its number at the gateway.
    pub order_number: String,
    pub amount: &'static str,
}

/// A purchase that was acknowledged.
#[derive(Clone)]
pub struct Bought {
    pub center: &'static str,
    pub terminal: &'static str,
    pub detainee: &'static str,
    /// `centers/{center}/purchases/{seq}`.
    pub name: String,
    pub request_id: String,
    pub lines: Vec<(&'static Product, u32)>,
}

/// A detainee's balances, compared with the demonstration's own books.
pub async fn balances(books: &Books, desk: &Desk, center: &str, detainee: &str) -> anyhow::Result<Balances> {
    let request = GetBalancesRequest {
        detainee: cast::detainee_name(center, detainee),
    };
    let balances = done(
        format!("balances of {detainee}"),
        desk.custody().get_balances(request).await,
    )?;
    let page = books.page(detainee)?;
    same(
        format!("{detainee}'s available balance"),
        page.available,
        text(balances.available.as_ref()),
    )?;
    same(
        format!("{detainee}'s savings"),
        page.savings,
        text(balances.savings.as_ref()),
    )?;
    same(
        format!("{detainee}'s held balance"),
        "0.00",
        text(balances.held.as_ref()),
    )?;
    Ok(balances)
}
