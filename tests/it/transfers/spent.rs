//! What is spent counts against the limits of the receiving center, day by day; and what keeps somebody where they are.

use custody_ledger::{commissary::Window, custody::TierWindows, proto::journal_record::Facts};
use time::macros::{date, datetime};
use uuid::Uuid;

use super::Road;
use crate::{
    orders,
    spending::{frozen, window},
    world::{self, cny, reason},
};

#[tokio::test(flavor = "multi_thread")]
async fn a_week_that_began_in_the_month_before_moves_too() {
    // A Wednesday.
    let road = Road::on(date!(2031 - 04 - 30)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    world::endow(road.near(), &c1, "D1", "300.00").await;
    road.economy.world.buy("D1", &[("SOAP", 5)]).await.unwrap();
    assert!(road.near().lanes.clock().turn_to(datetime!(2031-05-01 02:00 UTC)));
    road.economy.world.buy("D1", &[("SOAP", 3)]).await.unwrap();
    let week = |mut settings: custody_ledger::custody::Settings| {
        let windows = TierWindows {
            order: None,
            day: Some(cny("24")),
            week: Some(cny("40")),
        };
        settings.spending.tiers.insert(1, windows);
        Ok(settings)
    };
    road.far
        .custody
        .change_settings(&c2.id, "admin/root", week)
        .await
        .unwrap();
    let row = road.transfer((&c1, "D1"), (&c2, "X1")).await;

    let Some(Facts::Transfer(facts)) = road.record(&c2, row.seq).await.facts else {
        panic!("no transfer")
    };
    let spent: Vec<(&str, &str)> = facts
        .spent
        .iter()
        .map(|day| (day.date.as_str(), day.amount.as_str()))
        .collect();
    assert_eq!(spent, [("2031-04-30", "20.00"), ("2031-05-01", "12.00")]);
    assert_eq!(facts.month_spent, "12.00");
    assert_eq!(window(&road.far, &c2, "X1", Window::Day).await, ["12.00", "24.00"]);
    assert_eq!(window(&road.far, &c2, "X1", Window::Week).await, ["32.00", "40.00"]);
    assert_eq!(window(&road.far, &c2, "X1", Window::Month).await, ["12.00", "400.00"]);
    let soap = |pieces| {
        let goods = Box::leak(Box::new([("SOAP", pieces)]));
        world::buy(&road.far, &c2, Uuid::new_v4(), "X1", goods)
    };
    assert_eq!(reason(&soap(3).await.unwrap_err()), "WEEKLY_LIMIT_EXCEEDED");
    soap(2).await.unwrap();
    road.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_has_an_open_order_or_is_frozen_stays() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    for detainee in ["D1", "D2"] {
        world::endow(road.near(), &c1, detainee, "100.00").await;
    }
    orders::order(road.near(), &road.economy.world, Uuid::new_v4(), "D1", &[("SOAP", 2)])
        .await
        .unwrap();
    let open = road.propose((&c1, "D1"), (&c2, "X1")).await.unwrap_err();
    assert_eq!(reason(&open), "ORDERS_OPEN");
    frozen(road.near(), &c1, "D2", ("F-1", 30, None)).await.unwrap();
    let frozen = road.propose((&c1, "D2"), (&c2, "X2")).await.unwrap_err();
    assert_eq!(reason(&frozen), "DETAINEE_FROZEN");
    road.verified().await;
}
