//! Days, weeks and months: in the center's zone, over the ends of months, with two processes at once, and when overrides end.

use custody_ledger::{
    clock::Clock,
    commissary::Window,
    custody::TierWindows,
    ids::Seq,
    ledger::{Center, LedgerError, Posted},
    verification,
};
use time::{
    Duration, OffsetDateTime,
    macros::{date, datetime},
};
use uuid::Uuid;

use super::{Until, limited, window};
use crate::world::{Process, World, buy, cny, endow, id, new_center_in, reason, request};

/// Limits of a day and a week for tier 1, beside 400.00 a month.
async fn limit(process: &Process, center: &Center, day: Option<&str>, week: Option<&str>) {
    let windows = TierWindows {
        order: None,
        day: day.map(cny),
        week: week.map(cny),
    };
    let change = process
        .custody
        .change_settings(&center.id, "admin/root", |mut settings| {
            settings.spending.tiers.insert(1, windows);
            Ok(settings)
        });
    change.await.unwrap();
}

async fn at(time: OffsetDateTime) -> (World, Clock) {
    let clock = Clock::starting_at(time);
    let world = World::build_with(clock.clone(), 4096).await;
    world.endow("D1", "1000.00").await;
    (world, clock)
}

/// Why soap was not bought, or nothing. One costs 4.00.
async fn soap(world: &World, count: u32) -> String {
    told(&world.buy("D1", &[("SOAP", count)]).await)
}

fn told(answer: &Result<Posted, LedgerError>) -> String {
    answer.as_ref().err().map(reason).unwrap_or_default()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_week_goes_over_the_end_of_a_month_and_a_return_changes_its_own_windows() {
    // Thursday, 30 April, in the morning in Shanghai.
    let (world, clock) = at(datetime!(2026-04-30 02:00 UTC)).await;
    let (process, center) = (&world.process, &world.center);
    limit(process, center, None, Some("100")).await;
    let bought = world.buy("D1", &[("SOAP", 15)]).await.unwrap();
    assert!(clock.turn_to(datetime!(2026-05-01 02:00 UTC)));
    assert_eq!(window(process, center, "D1", Window::Month).await, ["0.00", "400.00"]);
    assert_eq!(window(process, center, "D1", Window::Week).await, ["60.00", "100.00"]);
    assert_eq!(soap(&world, 11).await, "WEEKLY_LIMIT_EXCEEDED");
    assert_eq!(soap(&world, 10).await, "");
    // What was bought in April comes back: the week has room, May's month does not change, and a process that reads it anew
    // says the same.
    let line = custody_ledger::commissary::ReturnLine { line: 1, quantity: 15 };
    let back = request("custody.v1.CommissaryService/CreateReturn", b"back");
    let back = process
        .commissary
        .take_back(center, back, Seq(bought.record.seq), vec![line], "torn".into());
    back.await.unwrap();
    let other = world.another_process();
    for process in [process, &other] {
        assert_eq!(window(process, center, "D1", Window::Week).await, ["40.00", "100.00"]);
        assert_eq!(window(process, center, "D1", Window::Month).await, ["40.00", "400.00"]);
        assert_eq!(window(process, center, "D1", Window::Day).await, ["40.00", "-"]);
    }
    let again = buy(&other, center, Uuid::new_v4(), "D1", &[("SOAP", 16)]).await;
    assert_eq!(told(&again), "WEEKLY_LIMIT_EXCEEDED");
    // The next Monday.
    assert!(clock.turn_to(datetime!(2026-05-04 02:00 UTC)));
    assert_eq!(soap(&world, 25).await, "");
    assert_eq!(soap(&world, 1).await, "WEEKLY_LIMIT_EXCEEDED");
    let listed = process
        .commissary
        .spending_windows(center, &id("D1"), Window::Week, None, 9)
        .await;
    let listed: Vec<_> = listed
        .unwrap()
        .iter()
        .map(|view| (view.first, view.spent.to_string()))
        .collect();
    assert_eq!(
        listed,
        [
            (date!(2026 - 05 - 04), "100.00".to_owned()),
            (date!(2026 - 04 - 27), "40.00".to_owned())
        ]
    );
    world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_the_centers_also_when_the_clocks_change() {
    // In New York the clocks go back on 1 November 2026: the day has 25 hours. It begins at 04:00 UTC.
    let (world, clock) = at(datetime!(2026-11-01 04:30 UTC)).await;
    let process = &world.process;
    let center = new_center_in(process, "C2", "America/New_York").await;
    limit(process, &center, Some("10"), None).await;
    endow(process, &center, "D1", "1000.00").await;
    let buy_one = async || told(&buy(process, &center, Uuid::new_v4(), "D1", &[("SOAP", 1)]).await);
    assert_eq!(buy_one().await, "");
    for (time, expected) in [
        (datetime!(2026-11-01 05:30 UTC), ""),
        // The second time half past one.
        (datetime!(2026-11-01 06:30 UTC), "DAILY_LIMIT_EXCEEDED"),
        (datetime!(2026-11-02 04:59 UTC), "DAILY_LIMIT_EXCEEDED"),
        (datetime!(2026-11-02 05:01 UTC), ""),
        (datetime!(2026-11-02 05:02 UTC), ""),
        (datetime!(2026-11-02 05:03 UTC), "DAILY_LIMIT_EXCEEDED"),
        // On 14 March 2027 they go forward: it is over after 23 hours.
        (datetime!(2027-03-14 05:01 UTC), ""),
        (datetime!(2027-03-15 03:59 UTC), ""),
        (datetime!(2027-03-15 03:59:30 UTC), "DAILY_LIMIT_EXCEEDED"),
        (datetime!(2027-03-15 04:01 UTC), ""),
    ] {
        assert!(clock.turn_to(time));
        assert_eq!(buy_one().await, expected, "{time}");
    }
    let mut conn = process.database.read.acquire().await.unwrap();
    verification::verify(&mut conn, &center).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_never_go_over_a_limit_together() {
    let world = World::build().await;
    world.endow("D1", "1000.00").await;
    limit(&world.process, &world.center, Some("100"), Some("150")).await;
    let other = world.another_process();
    let purchases = (0..24).map(|number| {
        let process = if number % 2 == 0 {
            world.process.clone()
        } else {
            other.clone()
        };
        let center = world.center.clone();
        async move { told(&buy(&process, &center, Uuid::new_v4(), "D1", &[("SOAP", 6)]).await) }
    });
    let mut answers = futures::future::join_all(purchases).await;
    answers.sort();
    // 24.00 each: four fit into 100.00. Around midnight some more may, of another day.
    let bought = answers.iter().filter(|answer| answer.is_empty()).count();
    assert!((4..=6).contains(&bought), "{answers:?}");
    let [spent, limit] = window(&world.process, &world.center, "D1", Window::Day).await;
    assert!(cny(&spent).value() <= cny(&limit).value(), "{spent} of {limit}");
    world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_override_holds_until_its_end_and_ends_by_itself() {
    let (world, clock) = at(datetime!(2031-05-06 02:00 UTC)).await;
    let (process, center) = (&world.process, &world.center);
    let until = Until(datetime!(2031-05-08 02:00 UTC));
    limited(process, center, "D1", (Window::Month, "10"), until)
        .await
        .unwrap();
    assert_eq!(soap(&world, 3).await, "MONTHLY_LIMIT_EXCEEDED");
    assert_eq!(soap(&world, 2).await, "");
    assert_eq!(window(process, center, "D1", Window::Month).await, ["8.00", "10.00"]);
    // A day gets a limit that the center does not have; the latest of two holds.
    limited(process, center, "D1", (Window::Day, "9"), until).await.unwrap();
    let another = limited(process, center, "D1", (Window::Month, "500"), until)
        .await
        .unwrap();
    assert_eq!(soap(&world, 1).await, "DAILY_LIMIT_EXCEEDED");
    assert!(clock.turn_to(datetime!(2031-05-07 02:00 UTC)));
    assert_eq!(soap(&world, 2).await, "");
    let told = process.commissary.spending(center, &id("D1"), None).await.unwrap();
    let month = told.windows.last().unwrap();
    assert_eq!(month.limit.unwrap().by, Some((another.no, until.0)));
    assert_eq!(month.remaining().unwrap().unwrap().to_string(), "484.00");
    assert!(clock.turn_to(datetime!(2031-05-08 01:59:58 UTC)));
    assert_eq!(window(process, center, "D1", Window::Day).await, ["0.00", "9.00"]);
    assert!(clock.turn_to(datetime!(2031-05-08 02:00:01 UTC)));
    assert_eq!(window(process, center, "D1", Window::Day).await, ["0.00", "-"]);
    assert_eq!(window(process, center, "D1", Window::Month).await, ["16.00", "400.00"]);
    assert_eq!(soap(&world, 40).await, "");
    // What has ended cannot be ended, nor can what would have ended before it was allowed.
    let over = process
        .commissary
        .end_measure(center, another.no, "over".into(), "admin/alice")
        .await;
    assert_eq!(reason(&over.unwrap_err()), "MEASURE_OVER");
    let past = Until(datetime!(2031-05-08 02:00 UTC));
    let past = limited(process, center, "D1", (Window::Month, "10"), past).await;
    assert_eq!(reason(&past.unwrap_err()), "INVALID_FIELD");
    let far = Until(datetime!(2032-05-20 02:00 UTC) + Duration::days(1));
    let far = limited(process, center, "D1", (Window::Month, "10"), far).await;
    assert_eq!(reason(&far.unwrap_err()), "INVALID_FIELD");
    world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_owner_changes_of_limits_is_noticed() {
    let (world, _) = at(datetime!(2031-05-06 02:00 UTC)).await;
    let (process, center) = (&world.process, &world.center);
    limit(process, center, Some("100"), None).await;
    let until = Until(datetime!(2031-05-09 02:00 UTC));
    limited(process, center, "D1", (Window::Month, "300"), until)
        .await
        .unwrap();
    assert_eq!(soap(&world, 20).await, "");
    let verify = async || {
        let mut conn = process.database.read.acquire().await.unwrap();
        verification::verify(&mut conn, center).await
    };
    verify().await.unwrap();
    let mut owner = crate::tampering::owner(&world).await;
    for (change, undo, expected) in [
        (
            "update monthly_spending set days[6] = 79",
            "update monthly_spending set days[6] = 80",
            "monthly_spending D1 2031-05",
        ),
        (
            "update spending_rules_tier set day_max = 79 where version = 2",
            "update spending_rules_tier set day_max = 100 where version = 2",
            "80.00 are spent in the DAY, more than the limit of 79",
        ),
        (
            "update spending_measure set amount = 301",
            "update spending_measure set amount = 300",
            "its approval has allowed another measure",
        ),
        (
            "update spending_rules set version = 4 where version = 2",
            "update spending_rules set version = 2 where version = 4",
            "",
        ),
    ] {
        let done = sqlx::query(sqlx::AssertSqlSafe(change)).execute(&mut owner).await;
        if expected.is_empty() {
            assert!(done.is_err(), "{change}: its tiers name it");
            continue;
        }
        done.unwrap();
        let found = verify().await.unwrap_err().to_string();
        assert!(found.contains(expected), "{change}: {found}");
        sqlx::query(sqlx::AssertSqlSafe(undo))
            .execute(&mut owner)
            .await
            .unwrap();
    }
    verify().await.unwrap();
}
