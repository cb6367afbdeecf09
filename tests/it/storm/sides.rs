//! Both sides: what the gateways' own books say, and what the ledger does.

use std::collections::BTreeMap;

use custody_ledger::{
    gateway::{
        simulator::books::{BookedOrder, BookedRefund, Played},
        webhook::wire::RefundOutcome,
    },
    money::Amount,
    proto::{
        ListRefundsRequest, ListRefundsResponse, ListRemittancesRequest, ListRemittancesResponse, ListWorkItemsRequest,
        ListWorkItemsResponse, Money, Refund, Remittance, WorkItem,
    },
};

use super::house::{CENTERS, CHANNELS, Caller};
use crate::world::cny;

const FACES: [Played; 3] = [Played::Webhook, Played::WechatPay, Played::Alipay];
const PAGE: i32 = 500;

/// Both sides.
#[derive(Default)]
pub struct Sides {
    pub orders: [BTreeMap<String, BookedOrder>; 3],
    pub booked_refunds: [Vec<BookedRefund>; 3],
    /// By center.
    pub remittances: Vec<Vec<Remittance>>,
    pub refunds: Vec<Vec<Refund>>,
}

pub fn amount(money: &Option<Money>) -> Amount {
    cny(&money.as_ref().unwrap().amount)
}

pub fn sum(amounts: impl IntoIterator<Item = Amount>) -> Amount {
    amounts
        .into_iter()
        .fold(cny("0"), |sum, amount| sum.checked_add(amount).unwrap())
}

pub fn face(channel: &str) -> usize {
    CHANNELS.iter().position(|name| *name == channel).unwrap()
}

impl Sides {
    pub async fn read(caller: &Caller) -> Sides {
        let mut sides = Sides::default();
        let mut books = caller.control.books().await.unwrap().gateways;
        for (number, face) in FACES.iter().enumerate() {
            let books = books.remove(face).unwrap_or_default();
            let orders = books.orders.into_iter();
            sides.orders[number] = orders.map(|order| (order.order_number.clone(), order)).collect();
            sides.booked_refunds[number] = books.refunds;
        }
        for center in CENTERS {
            sides.remittances.push(remittances(caller, center).await);
            sides.refunds.push(refunds(caller, center).await);
        }
        sides
    }

    /// What was paid of a remittance as it was asked for, by the gateway's number.
    pub fn paid(&self, remittance: &Remittance) -> BTreeMap<String, Amount> {
        let asked = amount(&remittance.amount);
        let order = self.orders[face(&remittance.channel)].get(&remittance.order_number);
        let payments = order.into_iter().flat_map(|order| &order.payments);
        let told = payments.map(|paid| (paid.gateway_transaction.clone(), cny(&paid.amount.value)));
        told.filter(|(_, amount)| *amount == asked).collect()
    }

    /// Whether another amount was paid than was asked for.
    pub fn contradicts(&self, remittance: &Remittance) -> bool {
        let order = self.orders[face(&remittance.channel)].get(&remittance.order_number);
        order.is_some_and(|order| order.payments.len() > self.paid(remittance).len())
    }

    pub fn succeeded(&self, face: usize) -> impl Iterator<Item = &BookedRefund> {
        let refunds = self.booked_refunds[face].iter();
        refunds.filter(|refund| matches!(refund.outcome, RefundOutcome::Succeeded { .. }))
    }
}

/// The payments of a remittance that are in the ledger, and how often.
pub fn known(remittance: &Remittance) -> BTreeMap<&str, usize> {
    let mut known = BTreeMap::new();
    for payment in &remittance.suspended_payments {
        *known.entry(payment.gateway_transaction.as_str()).or_default() += 1;
    }
    if !remittance.gateway_transaction.is_empty() {
        known.entry(&remittance.gateway_transaction).or_insert(1);
    }
    known
}

async fn remittances(caller: &Caller, center: &str) -> Vec<Remittance> {
    let mut request = ListRemittancesRequest {
        parent: format!("centers/{center}"),
        page_size: PAGE,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page: ListRemittancesResponse = caller
            .insist("RemittanceService/ListRemittances", &request)
            .await
            .unwrap();
        all.extend(page.remittances);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}

async fn refunds(caller: &Caller, center: &str) -> Vec<Refund> {
    let mut request = ListRefundsRequest {
        parent: format!("centers/{center}"),
        page_size: PAGE,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page: ListRefundsResponse = caller.insist("RefundService/ListRefunds", &request).await.unwrap();
        all.extend(page.refunds);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}

pub async fn open_items(caller: &Caller, center: &str) -> Vec<WorkItem> {
    let mut request = ListWorkItemsRequest {
        parent: format!("centers/{center}"),
        page_size: PAGE,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page: ListWorkItemsResponse = caller.insist("WorkService/ListWorkItems", &request).await.unwrap();
        all.extend(page.work_items);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}
