//! What payers do with one remittance, chosen by the seed and its number.

use std::time::Duration;

use custody_ledger::{
    gateway::simulator::control::{ControlError, PayOptions},
    proto::{
        CancelRemittanceRequest, CreateRefundRequest, CreateRemittanceRequest, GetRemittanceRequest, Refund,
        Remittance, SuspendedPayment,
    },
};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::house::{CENTERS, CHANNELS, Caller, PEOPLE};
use crate::whole_service::money;

/// What is drawn for one remittance.
struct Lot {
    seed: u64,
    number: usize,
}

impl Lot {
    fn draw(&self, name: &str) -> [u8; 32] {
        Sha256::digest(format!("{} {} {name}", self.seed, self.number)).into()
    }

    /// Below `end`.
    fn below(&self, name: &str, end: usize) -> usize {
        let drawn = self.draw(name);
        usize::from(u16::from_be_bytes([drawn[0], drawn[1]])) % end
    }

    fn id(&self, name: &str) -> Uuid {
        let drawn = self.draw(name);
        uuid::Builder::from_random_bytes(drawn[..16].try_into().unwrap()).into_uuid()
    }

    fn amount(&self, name: &str) -> String {
        format!(
            "{}.{:02}",
            1 + self.below(name, 40),
            self.below(&format!("{name} fen"), 100)
        )
    }

    fn strikes(&self, name: &str, percent: usize) -> bool {
        self.below(name, 100) < percent
    }
}

/// Orders a remittance, often more than once; pays it, or does not; and pays some back.
pub async fn remit(caller: &Caller, seed: u64, number: usize) {
    let lot = Lot { seed, number };
    let center = CENTERS[lot.below("center", CENTERS.len())];
    let payer = lot.below("payer", PEOPLE);
    let detainee = (payer + lot.below("detainee", 2)) % PEOPLE;
    let new = CreateRemittanceRequest {
        parent: format!("centers/{center}"),
        payer: format!("centers/{center}/payers/P{payer}"),
        detainee: format!("centers/{center}/detainees/D{detainee}"),
        amount: money(&lot.amount("amount")),
        channel: CHANNELS[lot.below("channel", CHANNELS.len())].into(),
        request_id: lot.id("remittance").to_string(),
        in_app_payer: String::new(),
    };
    let Some(ordered) = order(caller, &lot, &new).await else {
        return;
    };
    if lot.strikes("cancel", 4) {
        cancel(caller, &lot, &ordered).await;
        return;
    }
    pay(caller, &lot, &ordered).await;
    if lot.strikes("refund", 40) {
        pay_back(caller, &lot, center, &ordered.name).await;
    }
}

/// The remittance, which is one, however often it is asked for; none if it was refused.
async fn order(caller: &Caller, lot: &Lot, new: &CreateRemittanceRequest) -> Option<Remittance> {
    const METHOD: &str = "RemittanceService/CreateRemittance";
    let patience = lot.strikes("lose", 20).then_some(Duration::from_millis(4));
    let asked = caller.insist_after::<Remittance>(METHOD, new, patience);
    let ordered = if lot.strikes("at once", 10) {
        let (one, other) = tokio::join!(asked, caller.insist::<Remittance>(METHOD, new));
        same(&one, &other);
        one
    } else {
        asked.await
    };
    if lot.strikes("again", 20) {
        same(&ordered, &caller.insist(METHOD, new).await);
    }
    match ordered {
        Ok(ordered) => Some(ordered),
        Err(reason) => {
            let may_be = ["BALANCE_CAP_EXCEEDED", "TOO_MANY_VAIN_ORDERS"];
            assert!(may_be.contains(&reason.as_str()), "{reason}: {new:?}");
            None
        }
    }
}

/// One request, one outcome.
fn same(one: &Result<Remittance, String>, other: &Result<Remittance, String>) {
    let named = |outcome: &Result<Remittance, String>| outcome.clone().map(|remittance| remittance.name);
    assert_eq!(named(one), named(other));
}

async fn pay(caller: &Caller, lot: &Lot, ordered: &Remittance) {
    // What is paid twice is told, or not: a query tells the first payment only, and the rest is the bill's.
    let told = PayOptions {
        duplicate: 1,
        delay_ms: 50,
        ..PayOptions::default()
    };
    let options = match lot.below("way", 100) {
        0..64 => vec![PayOptions::default()],
        64..72 => vec![
            told.clone(),
            PayOptions {
                again: true,
                corrupt: true,
                lose: lot.strikes("lost twice", 40),
                ..told
            },
        ],
        72..78 => vec![PayOptions {
            // Never what was asked for, which is less.
            wrong_amount: Some(format!("{}.50", 50 + lot.below("wrong", 20))),
            ..PayOptions::default()
        }],
        78..88 => vec![PayOptions {
            late: true,
            ..PayOptions::default()
        }],
        _ => return,
    };
    for each in &options {
        match caller.control.pay(&ordered.order_number, each).await {
            Ok(_) => {}
            // Closed meanwhile, or over before the gateway heard of it: the payer sees that, and pays nothing.
            Err(ControlError::Refused { code, .. })
                if ["UNKNOWN_ORDER", "ORDER_CLOSED", "ORDER_EXPIRED", "NOT_PAID"].contains(&code.as_str()) =>
            {
                return;
            }
            Err(error) => panic!("{}: {error}", ordered.order_number),
        }
    }
}

/// The payer gives it up, now and then while they pay after all.
async fn cancel(caller: &Caller, lot: &Lot, ordered: &Remittance) {
    let ask = CancelRemittanceRequest {
        name: ordered.name.clone(),
    };
    let cancelled = async {
        let told = caller
            .insist::<Remittance>("RemittanceService/CancelRemittance", &ask)
            .await;
        // What nobody knows how to end ends at its expiry.
        assert!(
            told.is_ok() || told == Err("GATEWAY_REFUSED".into()) || told == Err("TOO_MANY_TRIES".into()),
            "{told:?}"
        );
    };
    if lot.strikes("pay meanwhile", 30) {
        tokio::join!(cancelled, pay(caller, lot, ordered));
    } else {
        cancelled.await;
    }
}

/// The finance office sends back what was paid twice, or some of what was credited.
async fn pay_back(caller: &Caller, lot: &Lot, center: &str, name: &str) {
    tokio::time::sleep(Duration::from_millis(300)).await;
    let get = GetRemittanceRequest { name: name.into() };
    let remittance: Remittance = caller.insist("RemittanceService/GetRemittance", &get).await.unwrap();
    let is_double = |payment: &&SuspendedPayment| payment.reason == "DUPLICATE_PAYMENT";
    let double = remittance.suspended_payments.iter().find(is_double);
    if double.is_none() && remittance.credit_transaction.is_empty() {
        return;
    }
    let mut amount = remittance.amount.clone();
    if double.is_none() && lot.strikes("in part", 50) {
        amount = money("0.50");
    }
    let asked = CreateRefundRequest {
        by_bank: false,
        consent: Some(custody_ledger::proto::DetaineeConsent::scanned("C-1")),
        parent: format!("centers/{center}"),
        remittance: remittance.name.clone(),
        amount,
        reason: "asked for by the family".into(),
        request_id: lot.id("refund").to_string(),
        suspense_transaction: double.map(|payment| payment.transaction.clone()).unwrap_or_default(),
    };
    let patience = lot.strikes("lose refund", 20).then_some(Duration::from_millis(4));
    let refund = caller.insist_after::<Refund>("RefundService/CreateRefund", &asked, patience);
    let refund = refund.await.map(|refund| refund.name);
    if lot.strikes("refund again", 30) {
        let again: Result<Refund, String> = caller.insist("RefundService/CreateRefund", &asked).await;
        assert_eq!(again.map(|refund| refund.name), refund);
    }
}
