//! Orders: over the wire, in several processes at once, through power cuts, and by random sequences against a small model.

mod at_once;
mod trial;
mod wire;

use custody_ledger::{
    commissary::{DeliveredLine, OrderLine, OrderVerb},
    ids::{ProductId, Seq, TerminalId},
    ledger::{LedgerError, Posted},
    proto::{
        CancelOrderRequest, ConfirmDeliveryLine, ConfirmDeliveryRequest, CreateOrderRequest, DisputeOrderLineRequest,
        ResolveOrderDisputeRequest, resolve_order_dispute_request::Verdict,
    },
};
use prost::Message as _;
use uuid::Uuid;

use crate::{
    bad_requests::RequestRow,
    service::purchase_of,
    world::{Process, World, id, request_with},
};

/// Orders as the wire's terminal does.
pub async fn order(
    process: &Process,
    world: &World,
    request: Uuid,
    detainee: &str,
    lines: &[(&str, u32)],
) -> Result<Posted, LedgerError> {
    let asked = request_with(request, "test/Order", format!("{detainee}{lines:?}").as_bytes());
    let lines = lines.iter().map(|(product, quantity)| OrderLine {
        product: ProductId::parse(product).unwrap(),
        quantity: *quantity,
    });
    let (terminal, center) = (TerminalId::parse("T1").unwrap(), &world.center);
    let commissary = &process.commissary;
    commissary
        .order(center, asked, id(detainee), terminal, lines.collect())
        .await
}

/// Something becomes of an order.
pub async fn change(
    process: &Process,
    world: &World,
    request: Uuid,
    order: Seq,
    verb: OrderVerb,
) -> Result<Posted, LedgerError> {
    let asked = request_with(request, "test/ChangeOrder", format!("{order}{verb:?}").as_bytes());
    let commissary = &process.commissary;
    commissary
        .change_order(&world.center, asked, order, verb, "told".into())
        .await
}

/// Pieces of a line come, and others will not.
pub fn come(line: i32, quantity: i32, short: i32) -> OrderVerb {
    OrderVerb::Deliver(vec![DeliveredLine {
        line,
        quantity,
        short,
        product: None,
    }])
}

pub fn order_of(request_id: &str, detainee: &str, lines: &[(&str, i32)]) -> CreateOrderRequest {
    let purchase = purchase_of("C1", detainee, Uuid::nil(), lines);
    CreateOrderRequest {
        parent: purchase.parent,
        detainee: purchase.detainee,
        lines: purchase.lines,
        request_id: request_id.into(),
    }
}

pub fn delivery(request_id: &str, order: &str, lines: &[(i32, i32, i32)]) -> ConfirmDeliveryRequest {
    let line = |(line, quantity, short_quantity): &(i32, i32, i32)| ConfirmDeliveryLine {
        line: *line,
        quantity: *quantity,
        short_quantity: *short_quantity,
        product: String::new(),
    };
    ConfirmDeliveryRequest {
        name: order.into(),
        lines: lines.iter().map(line).collect(),
        reason: "note 7".into(),
        request_id: request_id.into(),
    }
}

fn cancelling(request_id: &str, order: &str, reason: &str) -> CancelOrderRequest {
    CancelOrderRequest {
        name: order.into(),
        reason: reason.into(),
        request_id: request_id.into(),
    }
}

fn disputing(request_id: &str, order: &str, line: i32) -> DisputeOrderLineRequest {
    DisputeOrderLineRequest {
        name: order.into(),
        line,
        reason: "mouldy".into(),
        request_id: request_id.into(),
    }
}

fn resolving(request_id: &str, order: &str, line: i32, verdict: Verdict) -> ResolveOrderDisputeRequest {
    ResolveOrderDisputeRequest {
        name: order.into(),
        line,
        verdict: verdict.into(),
        reason: "looked at".into(),
        request_id: request_id.into(),
    }
}

const NONE: &str = "centers/C1/orders/9";

pub const REQUESTS: [RequestRow; 5] = [
    RequestRow {
        method: "OrderService/CreateOrder",
        make: |id| order_of(id, "D1", &[("RICE", 1)]).encode_to_vec(),
        other: |id| order_of(id, "D1", &[("RICE", 2)]).encode_to_vec(),
        fields: "lines",
    },
    RequestRow {
        method: "OrderService/CancelOrder",
        make: |id| cancelling(id, NONE, "").encode_to_vec(),
        other: |id| cancelling(id, NONE, "mistaken").encode_to_vec(),
        fields: "reason",
    },
    RequestRow {
        method: "OrderService/ConfirmDelivery",
        make: |id| delivery(id, NONE, &[(1, 1, 0)]).encode_to_vec(),
        other: |id| delivery(id, NONE, &[(1, 1, 1)]).encode_to_vec(),
        fields: "lines",
    },
    RequestRow {
        method: "OrderService/DisputeOrderLine",
        make: |id| disputing(id, NONE, 1).encode_to_vec(),
        other: |id| disputing(id, NONE, 2).encode_to_vec(),
        fields: "line",
    },
    RequestRow {
        method: "OrderService/ResolveOrderDispute",
        make: |id| resolving(id, NONE, 1, Verdict::ForVendor).encode_to_vec(),
        other: |id| resolving(id, NONE, 1, Verdict::ForDetainee).encode_to_vec(),
        fields: "verdict",
    },
];
