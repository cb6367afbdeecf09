//! What moves with a detainee: every balance, debts, court orders, what is spent of the month, payers; a sum withheld and whose money it
//! is; and the way back.

use custody_ledger::{
    approval::Verdict,
    commissary::Labels,
    custody::{DetaineeState, Stay},
    distribution::{CourtOrderState, NewCourtOrder, NewPolicy},
    ids::{CenterId, CourtOrderId, PayerId, Seq},
    proto::journal_record::Facts,
};
use rust_decimal::Decimal;
use time::macros::date;
use uuid::Uuid;

use super::{Road, distributions, transfers};
use crate::{
    all_domains::person,
    others,
    world::{self, cny, id, reason, request},
};

/// D1 has everything that somebody can have: 20.00 collected by a court whose order is then suspended, 30.00 saved, 270.00 of a
/// remittance and 60.00 advanced to spend, of which 10.00 are spent and 100.00 withheld, and 80.00 owed.
async fn burdened(road: &Road) -> String {
    let (c1, house) = (road.c1(), &road.economy.house);
    let saving = NewPolicy::saving(Decimal::from(10), None);
    house
        .distributions
        .update_policy(c1, saving, None, "test")
        .await
        .unwrap();
    let order = NewCourtOrder {
        id: CourtOrderId::parse("O1").unwrap(),
        detainee: id("D1"),
        document: "2031-7".into(),
        total: cny("50"),
        rank: None,
    };
    house.distributions.create_court_order(c1, order, "test").await.unwrap();
    let (first, _) = road.economy.order(Uuid::new_v4(), "D1", "20.00").await.unwrap();
    road.economy.pay(&first.id).await;
    let (order, d1) = (CourtOrderId::parse("O1").unwrap(), id("D1"));
    let state = CourtOrderState::Suspended;
    let changed = house
        .distributions
        .change_court_order(c1, &d1, &order, state, "2031-8".into(), "test");
    changed.await.unwrap();
    let (second, _) = road.economy.order(Uuid::new_v4(), "D1", "300.00").await.unwrap();
    road.economy.pay(&second.id).await;
    road.owe("D1", "60.00", true).await;
    road.owe("D1", "20.00", false).await;
    road.economy.world.buy("D1", &[("RICE", 4)]).await.unwrap();
    road.withhold(c1, "D1", "100.00", "W-1").await;
    let tags = Labels::parse(["peanuts"]).unwrap();
    let buyer = (String::from("A2"), tags);
    road.near()
        .commissary
        .update_buyer(c1, &id("D1"), buyer, "doctor", "test")
        .await
        .unwrap();
    second.id.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_moves_at_once() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let remittance = burdened(&road).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    assert_eq!(road.balances(&c1, "D1").await, ["220.00", "0.00", "30.00", "100.00"]);
    let row = road.transfer((&c1, "D1"), (&c2, "X1")).await;

    assert_eq!(row.amount, cny("350"));
    assert_eq!(road.balances(&c1, "D1").await, ["0.00"; 4]);
    assert_eq!(road.balances(&c2, "X1").await, ["220.00", "0.00", "30.00", "100.00"]);
    // 350.00 are there, and 80.00 are owed there now.
    assert_eq!(road.clearing(&c2).await, cny("270").value());
    assert_eq!(road.clearing(&c1).await, -cny("270").value());
    let before = road.near().custody.detainee(&c1, &id("D1")).await.unwrap();
    let after = road.near().custody.detainee(&c2, &id("X1")).await.unwrap();
    let stay = |center: &str, detainee: &str| {
        Some(Stay {
            center: CenterId::parse(center).unwrap(),
            detainee: id(detainee),
        })
    };
    assert_eq!(
        (before.state, before.went_to),
        (DetaineeState::Transferred, stay("C2", "X1"))
    );
    assert_eq!(
        (after.state, after.came_from),
        (DetaineeState::Active, stay("C1", "D1"))
    );

    let debts = distributions(&road.far).debts(&c2, &id("X1")).await.unwrap();
    let mut owed: Vec<String> = debts
        .iter()
        .map(|debt| format!("{} {}", debt.document, debt.amount))
        .collect();
    owed.sort();
    assert_eq!(owed, ["debt of 20.00 20.00", "debt of 60.00 60.00"]);
    let orders = distributions(&road.far).court_orders(&c2, &id("X1")).await.unwrap();
    let [order] = &orders[..] else { panic!("{orders:?}") };
    assert_eq!(
        (order.order.collected, order.order.state),
        (cny("20"), CourtOrderState::Suspended)
    );
    let buyer = road.far.commissary.buyer(&c2, &id("X1")).await.unwrap();
    assert!(buyer.housing_unit.is_empty() && buyer.tags.to_vec() == ["peanuts"]);
    let payer = PayerId::parse("P1").unwrap();
    assert!(road.far.payers.is_linked(&c2, &payer, &id("X1")).await.unwrap());
    let Some(Facts::Transfer(facts)) = road.record(&c2, row.seq).await.facts else {
        panic!("no transfer")
    };
    let layers: Vec<(String, String)> = facts
        .layers
        .iter()
        .map(|layer| (layer.remittance.clone(), layer.amount.clone()))
        .collect();
    let name = format!("centers/C1/remittances/{remittance}");
    assert_eq!(layers, [(name, "160.00".into()), (String::new(), "60.00".into())]);
    assert_eq!(facts.month_spent, "10.00");
    road.verified().await;

    // What was spent there counts here: 400.00 a month, 10.00 of it gone.
    world::endow(&road.far, &c2, "X1", "400.00").await;
    let buy = |pieces| {
        world::buy(
            &road.far,
            &c2,
            Uuid::new_v4(),
            "X1",
            Box::leak(Box::new([("RICE", pieces)])),
        )
    };
    for _ in 0..2 {
        buy(72).await.unwrap();
    }
    let last = buy(13).await.unwrap_err();
    assert_eq!(reason(&last), "MONTHLY_LIMIT_EXCEEDED");
    buy(12).await.unwrap();
    // Nothing goes on where they are not any more.
    let gone = road.economy.world.buy("D1", &[("RICE", 1)]).await.unwrap_err();
    assert_eq!(reason(&gone), "DETAINEE_NOT_ACTIVE");
    let gone = road.try_transfer((&c1, "D1"), (&c2, "X2")).await.unwrap_err();
    assert_eq!(reason(&gone), "DETAINEE_NOT_ACTIVE");
    road.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_withheld_moves_and_ends_where_it_is() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let remittance = burdened(&road).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    road.transfer((&c1, "D1"), (&c2, "X1")).await;
    let filter = custody_ledger::transfer::WithholdingFilter::default();
    let there = transfers(&road.near().clone())
        .list_withholdings(&c1, &filter, 10)
        .await
        .unwrap();
    assert!(
        there
            .iter()
            .all(|held| held.end.as_ref().is_some_and(|end| end.has_moved))
    );
    let here = transfers(&road.far).list_withholdings(&c2, &filter, 10).await.unwrap();
    let [held] = &here[..] else { panic!("{here:?}") };
    assert_eq!(
        (held.amount, held.document.as_str(), held.end.is_none()),
        (cny("100"), "W-1", true)
    );

    let end = |paid: &'static str| {
        let (road, c2, seq) = (&road, &c2, held.seq);
        async move {
            let of = (seq, cny(paid), "W-2".to_owned());
            let asking = (person("alice"), String::new());
            let asked = transfers(&road.far)
                .end_withholding(c2, request("test/End", paid.as_bytes()), asking, of)
                .await;
            others::allowed(&road.far, &road.desk(c2), c2, asked).await
        }
    };
    assert_eq!(reason(&end("100.01").await.unwrap_err()), "INVALID_FIELD");
    end("40.00").await.unwrap();
    assert_eq!(reason(&end("40.00").await.unwrap_err()), "WITHHOLDING_ENDED");
    assert_eq!(road.balances(&c2, "X1").await, ["280.00", "0.00", "30.00", "0.00"]);
    // The authority got the oldest of it, and the rest is again whose it was.
    let unspent = road.economy.house.refunds.unspent(&c2, &id("X1"), None).await.unwrap();
    let [of] = &unspent.remittances[..] else {
        panic!("{unspent:?}")
    };
    assert_eq!(of.remittance, format!("centers/C1/remittances/{remittance}"));
    assert_eq!(
        (of.unspent, of.original, of.payer.as_str()),
        (cny("220"), cny("300"), "P1")
    );
    road.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sum_withheld_is_given_back_whose_it_was() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    burdened(&road).await;
    let c1 = road.c1().clone();
    let short = road.economy.house.refunds.unspent(&c1, &id("D1"), None).await.unwrap();
    assert_eq!(short.total, cny("160"));
    let filter = custody_ledger::transfer::WithholdingFilter::default();
    let held = transfers(road.near())
        .list_withholdings(&c1, &filter, 10)
        .await
        .unwrap();
    let of = (held[0].seq, cny("0"), "W-2".to_owned());
    let asking = (person("alice"), String::new());
    let asked = transfers(road.near())
        .end_withholding(&c1, request("test/End", b"0"), asking, of)
        .await;
    others::allowed(road.near(), &road.desk(&c1), &c1, asked).await.unwrap();
    let whole = road.economy.house.refunds.unspent(&c1, &id("D1"), None).await.unwrap();
    assert_eq!(whole.total, cny("260"));
    road.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_comes_back_has_everything_again_under_a_new_number() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    burdened(&road).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    road.transfer((&c1, "D1"), (&c2, "X1")).await;
    world::buy(&road.far, &c2, Uuid::new_v4(), "X1", &[("SOAP", 5)])
        .await
        .unwrap();
    let taken = road.try_transfer((&c2, "X1"), (&c1, "D1")).await.unwrap_err();
    assert_eq!(reason(&taken), "CUSTODY_NUMBER_TAKEN");
    road.transfer((&c2, "X1"), (&c1, "D1-2")).await;
    assert_eq!(road.balances(&c2, "X1").await, ["0.00"; 4]);
    assert_eq!(road.balances(&c1, "D1-2").await, ["200.00", "0.00", "30.00", "100.00"]);
    // What was spent there is still owed to the shop there, out of what was brought.
    assert_eq!(road.clearing(&c1).await, -cny("20").value());
    assert_eq!(road.state(&c2, "X1").await, DetaineeState::Transferred);
    let debts = distributions(road.near()).debts(&c1, &id("D1-2")).await.unwrap();
    assert_eq!(debts.len(), 2);
    road.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_stands_in_the_way_is_told_and_nothing_has_moved() {
    let road = Road::on(date!(2031 - 05 - 06)).await;
    let (c1, c2) = (road.c1().clone(), road.c2.clone());
    world::endow(road.near(), &c1, "D2", "10.00").await;
    let refused = |detainee: &'static str, number: &'static str| {
        let road = &road;
        async move {
            reason(
                &road
                    .propose((road.c1(), detainee), (&road.c2, number))
                    .await
                    .unwrap_err(),
            )
        }
    };
    assert_eq!(refused("D1", "D1").await, "CUSTODY_NUMBER_TAKEN");
    assert_eq!(refused("D9", "X1").await, "NOT_FOUND");
    // A refund on its way.
    let (remitted, _) = road.economy.order(Uuid::new_v4(), "D1", "100.00").await.unwrap();
    road.economy.pay(&remitted.id).await;
    let refund = road
        .economy
        .refund(Uuid::new_v4(), remitted.id.as_str(), "30.00")
        .await
        .unwrap();
    assert_eq!(refused("D1", "X1").await, "MONEY_IN_FLIGHT");
    road.economy.end_refund(refund.seq(), false).await;
    // Somebody who leaves.
    road.economy.release(Uuid::new_v4(), "D3").await.unwrap();
    assert_eq!(refused("D3", "X3").await, "DETAINEE_NOT_ACTIVE");
    // One person for both centers.
    let proposal = road.propose((&c1, "D1"), (&c2, "X1")).await.unwrap();
    road.allow(&c1, &proposal.sent, "bob").await;
    let open = road
        .desk(&c2)
        .approvals()
        .open_about(&c2, "detainees/X1")
        .await
        .unwrap()
        .unwrap();
    let (desk, alice) = (road.desk(&c2), person("alice"));
    let maker = desk.decide(&c2, open.no, &alice, Verdict::Approved, String::new());
    assert_eq!(reason(&maker.await.unwrap_err()), "MAKER_IS_CHECKER");
    let both = road.allow(&c2, &open, "bob").await;
    let Some((custody_ledger::approval::End::Failed(refusal), _)) = both.end else {
        panic!("{both:?}")
    };
    assert_eq!(refusal.reason().as_str_name(), "REASON_SAME_PERSON_TWICE");
    assert_eq!(road.state(&c1, "D1").await, DetaineeState::Active);
    assert_eq!(road.balances(&c1, "D1").await, ["70.00", "0.00", "0.00", "0.00"]);
    assert!(transfers(&road.far).list(&c2, None, 10).await.unwrap().is_empty());
    assert_eq!(
        reason(&transfers(&road.far).transfer(&c2, Seq(1)).await.unwrap_err()),
        "NOT_FOUND"
    );
    road.verified().await;
}
