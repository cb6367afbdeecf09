//! Prices that one person may not raise, products listed twice, who may have what, stock, and the catalogue as a file.
//!
//! # Layout
//! - `prices` what takes two people. `counted` stock. `files` import and export.

mod counted;
mod files;
mod prices;

use custody_ledger::{
    approval::{Asking, Desk, Person, Verdict},
    commissary::{Details, MovementKind, NewMovement, Prices, ProductChange, StockMovement},
    ids::ProductId,
    ledger::{Center, LedgerError},
    proto::{Product, ProductCategory, ProposePriceRequest, ProposeProductRequest, RecordStockMovementRequest},
};
use prost::Message as _;

use crate::{
    bad_requests::RequestRow,
    whole_service::money,
    world::{Process, cny, request},
};

pub fn propose_price(request_id: &str, price: &str, approved: &str) -> ProposePriceRequest {
    ProposePriceRequest {
        name: "centers/C1/products/RICE".into(),
        price: money(price),
        approved_price: money(approved),
        reason: "dearer".into(),
        request_id: request_id.into(),
    }
}

pub fn propose_product(request_id: &str, id: &str, name: &str) -> ProposeProductRequest {
    ProposeProductRequest {
        parent: "centers/C1".into(),
        product_id: id.into(),
        product: Some(Product {
            vendor: "centers/C1/vendors/V1".into(),
            display_name: name.into(),
            category: ProductCategory::Food.into(),
            price: money("5.00"),
            available: true,
            ..Product::default()
        }),
        reason: "another grain".into(),
        request_id: request_id.into(),
    }
}

pub fn receipt(request_id: &str, product: &str, quantity: i64) -> RecordStockMovementRequest {
    RecordStockMovementRequest {
        name: format!("centers/C1/products/{product}"),
        kind: custody_ledger::proto::stock_movement::Kind::Received.into(),
        quantity,
        reason: "delivery note 7".into(),
        request_id: request_id.into(),
    }
}

pub const REQUESTS: [RequestRow; 3] = [
    RequestRow {
        method: "CatalogueService/ProposeProduct",
        make: |id| propose_product(id, "RICE2", "Rice").encode_to_vec(),
        other: |id| propose_product(id, "RICE3", "Rice").encode_to_vec(),
        fields: "product_id",
    },
    RequestRow {
        method: "CatalogueService/ProposePrice",
        make: |id| propose_price(id, "3.00", "3.00").encode_to_vec(),
        other: |id| propose_price(id, "2.90", "3.00").encode_to_vec(),
        fields: "price",
    },
    RequestRow {
        method: "CatalogueService/RecordStockMovement",
        make: |id| receipt(id, "RICE", 5).encode_to_vec(),
        other: |id| receipt(id, "RICE", 6).encode_to_vec(),
        fields: "quantity",
    },
];

pub fn product(id: &str) -> ProductId {
    ProductId::parse(id).unwrap()
}

/// What a product is to cost, on sale for everybody.
pub fn costing(price: &str, approved: &str) -> ProductChange {
    ProductChange {
        price: cny(price),
        available: true,
        details: Details {
            approved_price: Some(cny(approved)),
            ..Details::default()
        },
        reason: "dearer".into(),
    }
}

pub fn somebody(name: &str) -> Person {
    Person {
        id: name.into(),
        actor: format!("admin/{name}"),
    }
}

/// Sets shelf and approved price, which one person asks for and another allows.
pub async fn raise(process: &Process, center: &Center, id: &str, price: &str) {
    let commissary = &process.commissary;
    let prices = Prices {
        price: cny(price),
        approved: cny(price),
    };
    let asking = Asking {
        request: request("custody.v1.CatalogueService/ProposePrice", id.as_bytes()),
        maker: somebody("alice"),
        reason: "dearer".into(),
    };
    let asked = commissary.propose_price(center, &asking, product(id), prices).await;
    let (asked, _) = asked.unwrap();
    let desk = Desk::new(process.lanes.clone(), commissary.runners());
    let bob = somebody("bob");
    let decided = desk
        .decide(center, asked.no, &bob, Verdict::Approved, "seen".into())
        .await;
    let decided = decided.unwrap();
    assert!(decided.end.is_some(), "{decided:?}");
}

/// Begins to count a product, if that is not done, and moves its stock.
pub async fn moved(
    process: &Process,
    center: &Center,
    id: &str,
    kind: MovementKind,
    quantity: i64,
) -> Result<StockMovement, LedgerError> {
    count(process, center, id).await;
    let request = request("custody.v1.CatalogueService/RecordStockMovement", id.as_bytes());
    let new = NewMovement {
        kind,
        quantity,
        reason: "delivery note 7".into(),
    };
    let moved = process.commissary.move_stock(center, request, &product(id), new).await;
    moved.map(|(movement, _)| movement)
}

/// Begins to count a product.
pub async fn count(process: &Process, center: &Center, id: &str) {
    let known = process.commissary.product(center, &product(id)).await.unwrap();
    if known.stock.is_some() {
        return;
    }
    let told = ProductChange {
        price: known.price,
        available: known.available,
        details: Details {
            keeps_stock: true,
            ..Details::default()
        },
        reason: "counted".into(),
    };
    let changed = process
        .commissary
        .update_product(center, &known.id, told, None, "test")
        .await;
    assert_eq!(changed.unwrap().stock, Some(0));
}

/// How many there are.
pub async fn stock(process: &Process, center: &Center, id: &str) -> Option<i64> {
    process.commissary.product(center, &product(id)).await.unwrap().stock
}
