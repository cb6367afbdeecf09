//! The order of checks: one basket against which everything speaks, and one thing after the other taken out of its way.

use std::collections::BTreeMap;

use custody_ledger::{
    commissary::{Category, Details, Labels, MovementKind, ProductChange, Window},
    custody::TierWindows,
    ledger::LedgerError,
};
use time::{Duration, OffsetDateTime};

use super::{Until, frozen, last_measure, limited, restricted, thawed};
use crate::{
    goods::{moved, product},
    world::{World, cny, id},
};

/// What is taken out of the way after a refusal.
#[derive(Debug, Clone, Copy)]
enum Obstacle {
    Unknown,
    Freeze,
    Restriction,
    NotOnSale,
    Diet,
    Stock,
    Limit(Window),
    Funds,
}

/// A refusal, its facts, and what is then taken out of the way.
type Refusal = (&'static str, &'static [(&'static str, &'static str)], Obstacle);

/// The refusals in their order, with the facts that say what would be accepted, and what is then taken out of the way.
const ORDER: [Refusal; 11] = [
    ("NOT_FOUND", &[("detainee", "D9")], Obstacle::Unknown),
    (
        "DETAINEE_FROZEN",
        &[("detainee", "D1"), ("document", "F1"), ("measure", "1")],
        Obstacle::Freeze,
    ),
    (
        "CATEGORY_RESTRICTED",
        &[("category", "food"), ("product", "RICE"), ("measure", "2")],
        Obstacle::Restriction,
    ),
    ("PRODUCT_NOT_AVAILABLE", &[("product", "RICE")], Obstacle::NotOnSale),
    (
        "PRODUCT_RESTRICTED",
        &[("product", "RICE"), ("tag", "sugar")],
        Obstacle::Diet,
    ),
    ("OUT_OF_STOCK", &[("stock", "10"), ("asked", "40")], Obstacle::Stock),
    (
        "ORDER_LIMIT_EXCEEDED",
        &[("total", "100.00"), ("limit", "50.00")],
        Obstacle::Limit(Window::Order),
    ),
    (
        "DAILY_LIMIT_EXCEEDED",
        &[
            ("limit", "60.00"),
            ("spent", "4.00"),
            ("remaining", "56.00"),
            ("required", "100.00"),
        ],
        Obstacle::Limit(Window::Day),
    ),
    (
        "WEEKLY_LIMIT_EXCEEDED",
        &[
            ("limit", "70.00"),
            ("spent", "4.00"),
            ("remaining", "66.00"),
            ("required", "100.00"),
        ],
        Obstacle::Limit(Window::Week),
    ),
    (
        "MONTHLY_LIMIT_EXCEEDED",
        &[
            ("limit", "80.00"),
            ("spent", "4.00"),
            ("remaining", "76.00"),
            ("required", "100.00"),
        ],
        Obstacle::Limit(Window::Month),
    ),
    (
        "INSUFFICIENT_FUNDS",
        &[("available", "0.00"), ("required", "100.00")],
        Obstacle::Funds,
    ),
];

fn rice(available: bool) -> ProductChange {
    ProductChange {
        price: cny("2.50"),
        available,
        details: Details {
            tags: Labels::parse(["sugar"]).unwrap(),
            keeps_stock: true,
            ..Details::default()
        },
        reason: "test".into(),
    }
}

async fn arrange(world: &World) {
    let (process, center) = (&world.process, &world.center);
    world.endow("D1", "4.00").await;
    world.buy("D1", &[("SOAP", 1)]).await.unwrap();
    let limits = process
        .custody
        .change_settings(&center.id, "admin/root", |mut settings| {
            settings.tier_limits.insert(1, cny("80"));
            let windows = TierWindows {
                order: Some(cny("50")),
                day: Some(cny("60")),
                week: Some(cny("70")),
            };
            settings.spending.tiers.insert(1, windows);
            Ok(settings)
        });
    limits.await.unwrap();
    moved(process, center, "RICE", MovementKind::Received, 10)
        .await
        .unwrap();
    sell(world, false).await;
    tell_diet(world, "sugar").await;
    frozen(process, center, "D1", ("F1", 30, None)).await.unwrap();
    restricted(process, center, "D1", Category::Food, soon()).await.unwrap();
}

fn soon() -> Until {
    Until(OffsetDateTime::now_utc() + Duration::days(20))
}

async fn sell(world: &World, available: bool) {
    let commissary = &world.process.commissary;
    let product = product("RICE");
    let change = commissary.update_product(&world.center, &product, rice(available), None, "test");
    change.await.unwrap();
}

async fn tell_diet(world: &World, tag: &str) {
    let tags = if tag.is_empty() {
        Labels::parse([])
    } else {
        Labels::parse([tag])
    };
    let told = (String::new(), tags.unwrap());
    let commissary = &world.process.commissary;
    let detainee = id("D1");
    let update = commissary.update_buyer(&world.center, &detainee, told, "diabetes", "admin/alice");
    update.await.unwrap();
}

async fn remove(world: &World, obstacle: Obstacle) {
    let (process, center) = (&world.process, &world.center);
    match obstacle {
        Obstacle::Unknown => {}
        Obstacle::Freeze => thawed(process, center, 1).await.unwrap(),
        Obstacle::Restriction => {
            let measure = last_measure(process, center, "D1").await;
            let ended = process
                .commissary
                .end_measure(center, measure.no, "over".into(), "admin/alice");
            assert!(ended.await.unwrap().end.is_some());
        }
        Obstacle::NotOnSale => sell(world, true).await,
        Obstacle::Diet => tell_diet(world, "").await,
        Obstacle::Stock => drop(
            moved(process, center, "RICE", MovementKind::Received, 90)
                .await
                .unwrap(),
        ),
        Obstacle::Limit(window) => drop(limited(process, center, "D1", (window, "104"), soon()).await.unwrap()),
        Obstacle::Funds => world.endow("D1", "100.00").await,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn checks_come_in_their_order_and_say_what_would_be_accepted() {
    let world = World::build().await;
    arrange(&world).await;
    for (reason, facts, obstacle) in ORDER {
        let detainee = if matches!(obstacle, Obstacle::Unknown) {
            "D9"
        } else {
            "D1"
        };
        let refused = world.buy(detainee, &[("RICE", 40)]).await.unwrap_err();
        let LedgerError::Refused { refusal, .. } = &refused else {
            panic!("{refused:?}")
        };
        assert_eq!(crate::world::reason(&refused), reason, "{refusal:?}");
        let told: BTreeMap<&str, &str> = refusal
            .facts
            .iter()
            .map(|fact| (fact.name.as_str(), fact.value.as_str()))
            .collect();
        for (name, value) in facts {
            assert_eq!(told.get(name), Some(value), "{reason}: {told:?}");
        }
        remove(&world, obstacle).await;
    }
    world.buy("D1", &[("RICE", 40)]).await.unwrap();
    // Whoever has left is refused before everything else, whatever speaks against the basket.
    set_state(&world, "releasing").await;
    restricted(&world.process, &world.center, "D2", Category::Food, soon())
        .await
        .unwrap();
    let gone = world.buy("D1", &[("RICE", 41)]).await.unwrap_err();
    assert_eq!(crate::world::reason(&gone), "DETAINEE_NOT_ACTIVE");
    set_state(&world, "active").await;
    world.verified().await;
}

/// D1 leaves, or is here again, without a record that says so: only what a decision reads is looked at.
async fn set_state(world: &World, state: &str) {
    let mut conn = world.process.database.lane.acquire().await.unwrap();
    sqlx::query("update detainee set state = $1 where detainee_id = 'D1'")
        .bind(state)
        .execute(&mut *conn)
        .await
        .unwrap();
}
