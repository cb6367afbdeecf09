//! Refunds that the gateway cannot pay to where the money came from.

use custody_ledger::{
    approval::{Person, Verdict},
    gateway::{Channels, simulator::control::RefundAnswer},
    ids::Seq,
    ledger::{balance, chart},
    proto::work_facts::Facts,
    refund::{RefundState, Refunds},
    work::{Item, ItemFilter, ItemState, WorkKind, WorkQueue},
};

use super::Bench;
use crate::{
    others,
    world::{reason, request},
};

const CARD: &str = "ICBC 6222 0202 0001 1234";

impl Bench {
    /// A refund of so much that is stuck at the gateway.
    async fn stuck(&self, amount: &str) -> Seq {
        let remittance = self.order("100.00").await;
        self.pay(
            &remittance,
            custody_ledger::gateway::simulator::control::PayOptions::default(),
        )
        .await;
        let refund = self.refund(&remittance, amount).await;
        let abnormal = RefundAnswer {
            abnormal: true,
            ..RefundAnswer::default()
        };
        self.answer(refund, abnormal).await;
        refund
    }

    async fn items(&self, refund: Seq) -> Vec<Item> {
        let filter = ItemFilter {
            kind: Some(WorkKind::AbnormalRefund),
            subject: Some(format!("refunds/{refund}")),
            ..ItemFilter::default()
        };
        let queue = WorkQueue::new(self.world.process.lanes.clone());
        queue.list(&self.world.center, &filter, 10).await.unwrap()
    }

    async fn bank(&self) -> String {
        let (database, center) = (&self.world.process.database, &self.world.center);
        let (bank, _) = balance::now(&*database.read, center, &[chart::BANK]).await.unwrap();
        bank[0].to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abnormal_refund_is_paid_by_the_bank_when_two_people_say_so() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let refund = bench.stuck("40.00").await;
    for _ in 0..2 {
        bench.refunds.refresh(center, refund).await.unwrap();
    }
    let [item] = &bench.items(refund).await[..] else {
        panic!("one item")
    };
    assert_eq!((item.state(), item.priority), (ItemState::Open, 1));
    assert_eq!(item.deadline_at - item.opened_at, time::Duration::hours(72));
    let Some(Facts::AbnormalRefund(facts)) = &item.facts.facts else {
        panic!("{item:?}")
    };
    assert_eq!((facts.amount.as_str(), facts.payer.as_str()), ("40.00", "P1"));
    assert!(facts.reason.contains("ABNORMAL") && !facts.gateway_refund.is_empty());

    let body = request("test/Redirect", b"");
    let ask = |body| {
        let told = (refund, CARD.to_owned());
        bench
            .refunds
            .request_redirect(center, body, others::maker(), told, "showed the card".into())
    };
    let (asked, replayed) = ask(body.clone()).await.unwrap();
    assert!(!replayed && asked.kind == "refund.redirect" && asked.summary.contains(CARD));
    assert!(ask(body).await.unwrap().1, "the same again");
    let pending = ask(request("test/Redirect", b"other")).await.unwrap_err();
    assert_eq!(reason(&pending), "APPROVAL_PENDING");
    let desk = others::desk(&bench.world.process, &bench.refunds);
    for own in ["terminal/T1", "finance/t1", "admin/T1"] {
        let own = Person::named(own);
        let decided = desk.decide(center, asked.no, &own, Verdict::Approved, String::new());
        assert_eq!(reason(&decided.await.unwrap_err()), "MAKER_IS_CHECKER");
    }
    let seq = refund;
    let bob = Person::named("finance/bob");
    let decide = || desk.decide(center, asked.no, &bob, Verdict::Approved, String::new());
    let (one, other) = tokio::join!(decide(), decide());
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    bench
        .control
        .wait_for_deliveries(std::time::Duration::from_secs(30))
        .await
        .unwrap();
    let told = bench.refunds.get(center, seq).await.unwrap();
    assert_eq!(
        (told.state, told.redirected_to.as_deref()),
        (RefundState::Succeeded, Some(CARD))
    );
    let legs: Vec<_> = told
        .end
        .unwrap()
        .postings
        .iter()
        .map(|leg| (leg.debit, leg.credit))
        .collect();
    assert_eq!((legs.len(), legs[0].0, legs[1].1), (2, chart::BANK.0, chart::BANK.0));
    assert_eq!(
        (bench.clearing("wechat").await, bench.bank().await),
        ("60.00".into(), "0.00".into())
    );
    assert_eq!(bench.items(refund).await[0].state(), ItemState::Done);
    let late = ask(request("test/Redirect", b"late")).await.unwrap_err();
    assert_eq!(reason(&late), "NOT_IN_TRANSIT");
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_did_not_hear_it_is_told_again() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let ordered = bench.order("50.00").await;
    bench
        .pay(
            &ordered,
            custody_ledger::gateway::simulator::control::PayOptions::default(),
        )
        .await;
    let usual = bench.refund(&ordered, "5.00").await;
    let told = |refund| (refund, CARD.to_owned());
    let usual = bench
        .refunds
        .request_redirect(
            center,
            request("test/Redirect", b"1"),
            others::maker(),
            told(usual),
            "x".into(),
        )
        .await;
    assert_eq!(reason(&usual.unwrap_err()), "REFUND_NOT_ABNORMAL");
    let unknown = bench
        .refunds
        .request_redirect(
            center,
            request("test/Redirect", b"2"),
            others::maker(),
            told(Seq(99)),
            "x".into(),
        )
        .await;
    assert_eq!(reason(&unknown.unwrap_err()), "NOT_FOUND");

    let stuck = bench.stuck("30.00").await;
    let (asked, _) = bench
        .refunds
        .request_redirect(
            center,
            request("test/Redirect", b"3"),
            others::maker(),
            told(stuck),
            "x".into(),
        )
        .await
        .unwrap();
    // A process that does not reach the gateway runs what was allowed.
    let (lanes, custody) = (bench.world.process.lanes.clone(), bench.world.process.custody.clone());
    let cut_off = others::desk(&bench.world.process, &Refunds::new(lanes, custody, Channels::default()));
    others::decided(&cut_off, center, &asked).await;
    assert_eq!(bench.refund_state(stuck).await, RefundState::Submitted);
    bench.world.verified().await;
    bench.refunds.refresh(center, stuck).await.unwrap();
    bench
        .control
        .wait_for_deliveries(std::time::Duration::from_secs(30))
        .await
        .unwrap();
    assert_eq!(bench.refund_state(stuck).await, RefundState::Succeeded);
    assert_eq!(bench.items(stuck).await[0].state(), ItemState::Done);
    bench.world.verified().await;
}
