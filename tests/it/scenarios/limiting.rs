//! The steps about limits, measures and kits.

use std::collections::BTreeMap;

use custody_ledger::{
    commissary::{Category, KitLine, Window},
    custody::Settings,
    ids::{ProductId, Seq},
};
use time::macros::time;
use uuid::Uuid;

use super::{
    Asked, Scenario, What,
    reading::{day, expect, facts, split},
};
use crate::{
    spending::{self, Until},
    world::{cny, id, request_with},
};

/// That it was done is all there is to tell.
fn none<T>(_: T) -> (BTreeMap<&'static str, String>, bool) {
    (BTreeMap::new(), false)
}

impl Scenario {
    /// Takes a step if it is one of these.
    pub(super) async fn limit_step(&mut self, words: &[&str], at: &str) -> bool {
        let world = &self.economy.world;
        let (process, center) = (&world.process, &world.center);
        match words {
            ["limit", limits @ ..] => self.limit(limits).await,
            ["override", detainee, window, amount, until, expected @ ..] => {
                let window = Window::from_name(window).unwrap();
                let until = Until(day(until).with_time(time!(00:00)).assume_utc());
                let made = spending::limited(process, center, detainee, (window, amount), until).await;
                expect(&made.map(none), expected, at);
            }
            ["freeze", detainee, document, days, expected @ ..] => {
                let days = days.parse().unwrap();
                let made = spending::frozen(process, center, detainee, (document, days, None)).await;
                expect(&made.map(none), expected, at);
            }
            ["unfreeze", detainee, expected @ ..] => {
                let freeze = spending::last_measure(process, center, detainee).await;
                expect(
                    &spending::thawed(process, center, freeze.no).await.map(none),
                    expected,
                    at,
                );
            }
            ["restrict", detainee, category, until, expected @ ..] => {
                let category = Category::from_name(category).unwrap();
                let until = Until(day(until).with_time(time!(00:00)).assume_utc());
                let made = spending::restricted(process, center, detainee, category, until).await;
                expect(&made.map(none), expected, at);
            }
            ["lift", detainee, expected @ ..] => {
                let measure = spending::last_measure(process, center, detainee).await;
                let by = "admin/alice";
                let ended = process.commissary.end_measure(center, measure.no, "over".into(), by);
                expect(&ended.await.map(none), expected, at);
            }
            ["window", detainee, window, spent, limit] => {
                let told = spending::window(process, center, detainee, Window::from_name(window).unwrap()).await;
                assert_eq!(told, [(*spent).to_owned(), (*limit).to_owned()], "{at}");
            }
            ["kit", lines @ ..] => {
                let (lines, _) = split(lines);
                let lines = lines.iter().map(|(product, quantity)| KitLine {
                    product: ProductId::parse(product).unwrap(),
                    quantity: *quantity,
                });
                let kit = (lines.collect(), None);
                let updated = process.commissary.update_kit(center, kit, "new", "admin/alice");
                updated.await.unwrap();
            }
            ["grant", name, detainee, expected @ ..] => self.grant(name, detainee, expected, at).await,
            ["cancel-kit", name, expected @ ..] => {
                let request = request_with(Uuid::new_v4(), "test/CancelKit", name.as_bytes());
                let reason = "a mistake".to_owned();
                let cancelled = process
                    .commissary
                    .cancel_kit_grant(center, request, self.seq(name), reason);
                let came = cancelled.await.map(|posted| (facts(&posted.record), posted.replayed));
                expect(&came, expected, at);
            }
            _ => return false,
        }
        true
    }

    async fn grant(&mut self, name: &str, detainee: &str, expected: &[&str], at: &str) {
        let request = Uuid::new_v4();
        let (commissary, center) = (&self.economy.world.process.commissary, &self.economy.world.center);
        // Twice: the second answer is the first.
        let mut seq = None;
        for is_again in [false, true] {
            let asked = request_with(request, "test/GrantKit", detainee.as_bytes());
            let granted = commissary.grant_kit(center, asked, id(detainee)).await;
            if let Ok(posted) = &granted {
                assert_eq!(posted.replayed, is_again, "{at}");
                seq = Some(Seq(posted.record.seq));
            }
            expect(
                &granted.map(|posted| (facts(&posted.record), posted.replayed)),
                expected,
                at,
            );
        }
        let what = What::Release {
            detainee: detainee.to_owned(),
        };
        self.asked.insert(name.to_owned(), Asked { request, what, seq });
    }

    async fn limit(&self, limits: &[&str]) {
        let change = |mut settings: Settings| {
            let tier = settings.spending.tiers.entry(1).or_default();
            for limit in limits {
                let (window, amount) = limit.split_once('=').unwrap();
                let amount = (amount != "-").then(|| cny(amount));
                match window {
                    "order" => tier.order = amount,
                    "day" => tier.day = amount,
                    "week" => tier.week = amount,
                    "month" => drop(settings.tier_limits.insert(1, amount.unwrap())),
                    "festival" => settings.festival_months = vec![5],
                    other => panic!("there is no limit of a {other}"),
                }
            }
            Ok(settings)
        };
        let world = &self.economy.world;
        let custody = &world.process.custody;
        let changed = custody.change_settings(&world.center.id, "admin/root", change);
        changed.await.unwrap();
    }
}
