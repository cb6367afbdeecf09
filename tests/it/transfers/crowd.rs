//! Many moves at once: the same twice, one person to two places, in both directions under load; and random lives whose sums never
//! change.

use custody_ledger::{
    approval::{End, Verdict},
    ids::Seq,
    ledger::{Center, LedgerError},
};
use futures::future::join_all;
use rust_decimal::Decimal;
use time::macros::date;
use uuid::Uuid;

use super::{Road, clearing, desk, propose, transfers, verified};
use crate::{
    all_domains::person,
    world::{self, Process, cny, reason},
};

/// Allows a move in both centers, from a process of each; how it ended.
async fn carry(
    road: &Road,
    (near, from): (&Process, &Center),
    detainee: &str,
    (far, to): (&Process, &Center),
    number: &str,
) -> Result<Seq, String> {
    let proposal = propose(near, (from, detainee), (to, number), Uuid::new_v4()).await;
    let proposal = proposal.map_err(|error| reason(&error))?;
    let decide = |process: &Process, center: &Center, no: i64, who: &'static str| {
        let (desk, center) = (desk(process, &road.economy), center.clone());
        async move {
            desk.decide(&center, no, &person(who), Verdict::Approved, String::new())
                .await
        }
    };
    let sent = decide(near, from, proposal.sent.no, "bob").await;
    if let Some((End::Failed(refusal), _)) = sent.map_err(|error| reason(&error))?.end {
        return Err(refusal.reason().as_str_name().replace("REASON_", ""));
    }
    let open = desk(far, &road.economy)
        .approvals()
        .open_about(to, &format!("detainees/{number}"))
        .await;
    let open = open.unwrap().ok_or_else(|| "NOT_OPEN".to_owned())?;
    let mut received = decide(far, to, open.no, "carol").await;
    // Too busy to be sure: asked again, the same decision tells.
    while matches!(received, Err(LedgerError::Unavailable)) {
        received = decide(far, to, open.no, "carol").await;
    }
    match received.map_err(|error| reason(&error))?.end {
        Some((End::Executed(Some(seq)), _)) => Ok(seq),
        Some((End::Failed(refusal), _)) => Err(refusal.reason().as_str_name().replace("REASON_", "")),
        other => panic!("{other:?}"),
    }
}

/// Somebody buys, one after the other, until told to stop; how often it went well.
async fn shop(process: Process, center: Center, detainee: String, times: usize) -> usize {
    let mut bought = 0;
    for _ in 0..times {
        let done = world::buy(&process, &center, Uuid::new_v4(), &detainee, &[("RICE", 1)]).await;
        match done {
            Ok(_) => bought += 1,
            Err(LedgerError::Unavailable | LedgerError::Refused { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    bought
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_asked_twice_is_one_move() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    world::endow(road.near(), &c1, "D1", "80.00").await;
    let request = Uuid::new_v4();
    let asked = join_all((0..4).map(|_| propose(road.near(), (&c1, "D1"), (&c2, "X1"), request))).await;
    let numbers: Vec<i64> = asked.iter().map(|asked| asked.as_ref().unwrap().sent.no).collect();
    assert_eq!(numbers, [numbers[0]; 4]);
    let other = propose(road.near(), (&c1, "D1"), (&c2, "X2"), request)
        .await
        .unwrap_err();
    assert!(matches!(other, LedgerError::RequestReused { .. }), "{other:?}");
    let again = propose(road.near(), (&c1, "D1"), (&c2, "X2"), Uuid::new_v4())
        .await
        .unwrap_err();
    assert_eq!(reason(&again), "APPROVAL_PENDING");
    // Decided many times at once, in two processes.
    let sent = (0..4).map(|_| road.allow(&c1, &asked[0].as_ref().unwrap().sent, "bob"));
    join_all(sent).await;
    let open = road
        .desk(&c2)
        .approvals()
        .open_about(&c2, "detainees/X1")
        .await
        .unwrap()
        .unwrap();
    let person = person("carol");
    let (near, far) = (desk(road.near(), &road.economy), road.desk(&c2));
    let decided = (0..6).map(|number| {
        let desk = if number % 2 == 0 { &near } else { &far };
        desk.decide(&c2, open.no, &person, Verdict::Approved, String::new())
    });
    for ended in join_all(decided).await {
        let ended = ended.unwrap();
        assert!(matches!(ended.end, Some((End::Executed(Some(_)), _))), "{ended:?}");
    }
    assert_eq!(road.balances(&c2, "X1").await[0], "80.00");
    assert_eq!(transfers(&road.far).list(&c2, None, 10).await.unwrap().len(), 1);
    let told = propose(road.near(), (&c1, "D1"), (&c2, "X1"), request).await.unwrap();
    assert!(told.replayed && told.done.is_some());
    road.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_person_goes_to_one_place() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    let c3 = world::new_center(road.near(), "C3").await;
    world::endow(road.near(), &c1, "D1", "80.00").await;
    // Allowed to go to C2, and then asked to go to C3 before C2 has decided.
    let first = road.propose((&c1, "D1"), (&c2, "X1")).await.unwrap();
    road.allow(&c1, &first.sent, "bob").await;
    let second = road.propose((&c1, "D1"), (&c3, "X1")).await.unwrap();
    road.allow(&c1, &second.sent, "bob").await;
    let decide = |process: &Process, center: &Center| {
        let (desk, center) = (desk(process, &road.economy), center.clone());
        async move {
            let open = desk
                .approvals()
                .open_about(&center, "detainees/X1")
                .await
                .unwrap()
                .unwrap();
            desk.decide(&center, open.no, &person("carol"), Verdict::Approved, String::new())
                .await
                .unwrap()
        }
    };
    let (one, two) = tokio::join!(decide(&road.far, &c2), decide(road.near(), &c3));
    let went = [&one, &two].map(|ended| matches!(ended.end, Some((End::Executed(_), _))));
    assert!(went[0] != went[1], "{one:?} {two:?}");
    verified(road.near(), &[&c1, &c2, &c3]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn people_cross_in_both_directions_while_everybody_shops() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    for (process, center) in [(road.near(), &c1), (&road.far, &c2)] {
        for detainee in ["D1", "D2", "D3"] {
            world::endow(process, center, detainee, "150.00").await;
        }
    }
    let (near, far) = (road.near().clone(), road.far.clone());
    let shops = [(&near, &c1), (&far, &c2), (&far, &c1), (&near, &c2)].map(|(process, center)| {
        let whom = ["D1", "D2", "D3"].map(str::to_owned);
        join_all(whom.map(|detainee| shop(process.clone(), center.clone(), detainee, 8)))
    });
    let moves = ["D1", "D2"].map(|detainee| {
        let there = format!("{detainee}-from-1");
        let back = format!("{detainee}-from-2");
        let (road, near, far, c1, c2) = (&road, &near, &far, &c1, &c2);
        async move {
            tokio::join!(
                carry(road, (near, c1), detainee, (far, c2), &there),
                carry(road, (far, c2), detainee, (near, c1), &back),
            )
        }
    });
    let (bought, moved) = tokio::join!(join_all(shops), join_all(moves));
    for (one, two) in moved {
        one.unwrap();
        two.unwrap();
    }
    let bought: usize = bought.iter().flatten().sum();
    // What everybody has and what was bought is what they were given.
    let mut total = Decimal::ZERO;
    for (center, people) in [
        (&c1, ["D1", "D2", "D3", "D1-from-2", "D2-from-2"]),
        (&c2, ["D1", "D2", "D3", "D1-from-1", "D2-from-1"]),
    ] {
        for detainee in people {
            let [available, ..] = road.balances(center, detainee).await;
            total += available.parse::<Decimal>().unwrap();
        }
    }
    let spent = Decimal::new(250, 2) * Decimal::from(bought);
    assert_eq!(total + spent, cny("900").value());
    assert!(bought > 0);
    road.verified().await;
}

/// A generator of numbers that is the same for the same seed.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % sides
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_happens_the_sum_over_all_centers_is_what_came_in() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let centers = [
        road.c1().clone(),
        road.c2.clone(),
        world::new_center(road.near(), "C3").await,
    ];
    let mut people: Vec<(usize, String)> = Vec::new();
    for center in 0..3 {
        people.extend(["D1", "D2"].map(|detainee| (center, detainee.to_owned())));
    }
    let (mut dice, mut given, mut spent) = (Dice(20_310_506), Decimal::ZERO, Decimal::ZERO);
    for step in 0..60 {
        let who = dice.roll(people.len());
        let (at, detainee) = people[who].clone();
        let center = &centers[at];
        match dice.roll(6) {
            0 | 1 => {
                let amount = Decimal::from(dice.roll(90) + 1);
                world::endow(road.near(), center, &detainee, &format!("{amount}.00")).await;
                given += amount;
            }
            2 => {
                if world::buy(road.near(), center, Uuid::new_v4(), &detainee, &[("SOAP", 1)])
                    .await
                    .is_ok()
                {
                    spent += Decimal::from(4);
                }
            }
            3 if road.balances(center, &detainee).await[0] != "0.00" => {
                road.withhold(center, &detainee, "0.50", &format!("W-{step}")).await;
            }
            _ => {
                let to = (at + 1 + dice.roll(2)) % 3;
                let number = format!("N{step}");
                let (near, far) = ((road.near(), center), (&road.far, &centers[to]));
                carry(&road, near, &detainee, far, &number).await.unwrap();
                people[who] = (to, number);
            }
        }
        let (mut total, mut cleared) = (Decimal::ZERO, Decimal::ZERO);
        for (at, detainee) in &people {
            for amount in road.balances(&centers[*at], detainee).await {
                total += amount.parse::<Decimal>().unwrap();
            }
        }
        for center in &centers {
            cleared += clearing(road.near(), center).await;
        }
        assert_eq!((total, cleared), (given - spent, Decimal::ZERO), "after step {step}");
    }
    verified(road.near(), &centers.each_ref()).await;
}
