//! Refunds that the gateway cannot pay to where the money came from.

use custody_ledger::{
    approval::{Person, Verdict},
    bank::simulator::{Answers, Rules, take},
    beneficiary::{Beneficiaries, Owner},
    contract::Account,
    gateway::{Channels, simulator::control::RefundAnswer},
    ids::{PayerId, Seq},
    ledger::{balance, chart},
    payment::Payments,
    proto::{journal_record::Facts as record, work_facts::Facts},
    refund::{RefundState, Refunds},
    settlement::Settlements,
    work::{Item, ItemFilter, ItemState, WorkKind, WorkQueue},
};

use super::Bench;
use crate::{
    all_domains::banks,
    others,
    world::{cny, reason, request},
};

const NUMBER: &str = "6222020200011234";
const CARD: &str = "************1234";

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
        self.items_of(refund, WorkKind::AbnormalRefund).await
    }

    async fn payouts(&self, refund: Seq) -> Vec<ItemState> {
        let items = self.items_of(refund, WorkKind::RefundPayout).await;
        items.iter().map(Item::state).collect()
    }

    async fn items_of(&self, refund: Seq, kind: WorkKind) -> Vec<Item> {
        let filter = ItemFilter {
            kind: Some(kind),
            subject: Some(format!("refunds/{refund}")),
            ..ItemFilter::default()
        };
        let queue = WorkQueue::new(self.world.process.lanes.clone());
        queue.list(&self.world.center, &filter, 10).await.unwrap()
    }

    fn payments(&self) -> Payments {
        let lanes = self.world.process.lanes.clone();
        let beneficiaries = Beneficiaries::new(lanes.clone(), self.world.process.payers.clone());
        let paid = (Settlements::new(lanes.clone()), self.refunds.clone(), beneficiaries);
        Payments::new(lanes, paid, banks())
    }

    /// P1 has an account that another has verified.
    async fn verified_account(&self) {
        let process = &self.world.process;
        let beneficiaries = Beneficiaries::new(process.lanes.clone(), process.payers.clone());
        let account = Account {
            holder: "Mother".into(),
            number: NUMBER.into(),
            bank_code: "102100099996".into(),
            bank_name: "ICBC".into(),
        };
        let owner = Owner::Payer(PayerId::parse("P1").unwrap());
        let asked = beneficiaries.ask(
            &self.world.center,
            request("test/Account", b""),
            others::maker(),
            (owner, account),
            "card".into(),
        );
        let (approval, _) = asked.await.unwrap();
        let desk = others::desk(process, &self.refunds);
        others::decided(&desk, &self.world.center, &approval).await;
    }

    /// A payment file, and the bank's answers to it.
    async fn file(&self, reject_ending: &str) -> Answers {
        let (payments, center) = (self.payments(), &self.world.center);
        let made = payments
            .make_file(center, request("test/File", b""), None)
            .await
            .unwrap();
        let Some(record::PaymentFile(facts)) = &made.record.facts else {
            panic!("{made:?}")
        };
        let content = payments.content(center, facts.number).await.unwrap();
        let rules = Rules {
            currency: center.currency,
            reject_ending: reject_ending.into(),
            opening: cny("1000.00"),
            now: self.world.process.lanes.clock().now(),
        };
        take(&content, &rules).unwrap()
    }

    async fn bank(&self) -> String {
        let (database, center) = (&self.world.process.database, &self.world.center);
        let (bank, _) = balance::now(&*database.read, center, &[chart::BANK]).await.unwrap();
        bank[0].to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abnormal_refund_is_owed_until_the_bank_has_paid_it() {
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
    assert_eq!(bench.refund_state(refund).await, RefundState::Abnormal);

    let ask = |body| {
        let reason = "the card is closed".to_owned();
        bench
            .refunds
            .request_redirect(center, body, others::maker(), refund, reason)
    };
    let none = ask(request("test/Redirect", b"none")).await.unwrap_err();
    assert_eq!(reason(&none), "NO_BANK_ACCOUNT");
    bench.verified_account().await;
    let body = request("test/Redirect", b"");
    let (asked, replayed) = ask(body.clone()).await.unwrap();
    assert!(!replayed && asked.kind == "refund.redirect" && asked.summary.contains(CARD));
    assert!(!format!("{asked:?}").contains(NUMBER));
    assert!(ask(body).await.unwrap().1, "the same again");
    let pending = ask(request("test/Redirect", b"other")).await.unwrap_err();
    assert_eq!(reason(&pending), "APPROVAL_PENDING");
    let desk = others::desk(&bench.world.process, &bench.refunds);
    for own in ["terminal/T1", "finance/t1", "admin/T1"] {
        let own = Person::named(own);
        let decided = desk.decide(center, asked.no, &own, Verdict::Approved, String::new());
        assert_eq!(reason(&decided.await.unwrap_err()), "MAKER_IS_CHECKER");
    }
    let nothing = bench
        .payments()
        .make_file(center, request("test/File", b""), None)
        .await;
    assert_eq!(reason(&nothing.unwrap_err()), "NOTHING_TO_PAY");
    let bob = Person::named("finance/bob");
    let decide = || desk.decide(center, asked.no, &bob, Verdict::Approved, String::new());
    let (one, other) = tokio::join!(decide(), decide());
    assert!(one.is_ok() && other.is_ok(), "{one:?} {other:?}");
    bench
        .control
        .wait_for_deliveries(std::time::Duration::from_secs(30))
        .await
        .unwrap();
    // The gateway has paid the center; the payer has nothing yet.
    let told = bench.refunds.get(center, refund).await.unwrap();
    assert_eq!(
        (told.state, told.redirected_to.as_deref()),
        (RefundState::Redirected, Some(CARD))
    );
    assert_eq!(
        (bench.clearing("wechat").await, bench.bank().await),
        ("60.00".into(), "40.00".into())
    );
    assert_eq!(bench.items(refund).await[0].state(), ItemState::Done);
    assert_eq!(bench.payouts(refund).await, [ItemState::Open]);
    bench.refunds.refresh(center, refund).await.unwrap();
    bench.world.verified().await;

    // A file pays it, once.
    let answers = bench.file("").await;
    let again = bench
        .payments()
        .make_file(center, request("test/File", b""), None)
        .await;
    assert_eq!(reason(&again.unwrap_err()), "NOTHING_TO_PAY");
    assert_eq!(bench.refund_state(refund).await, RefundState::Redirected);
    for _ in 0..2 {
        let payments = bench.payments();
        let read = payments.read_statement(center, &answers.statement, "finance/f").await;
        assert_eq!(read.unwrap().counts, [1, 0]);
    }
    let told = bench.refunds.get(center, refund).await.unwrap();
    let steps: Vec<_> = told.steps.iter().map(|(state, ..)| state.name()).collect();
    assert_eq!(steps, ["REQUESTED", "SUBMITTED", "ABNORMAL", "REDIRECTED", "SUCCEEDED"]);
    assert_eq!(bench.bank().await, "0.00");
    assert_eq!(bench.payouts(refund).await, [ItemState::Done]);
    let late = ask(request("test/Redirect", b"late")).await.unwrap_err();
    assert_eq!(reason(&late), "NOT_IN_TRANSIT");
    // What the gateway says again changes nothing.
    bench.refunds.refresh(center, refund).await.unwrap();
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_gateway_did_not_hear_it_is_told_again_and_what_the_bank_rejects_is_put_back() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    bench.verified_account().await;
    let ordered = bench.order("50.00").await;
    bench
        .pay(
            &ordered,
            custody_ledger::gateway::simulator::control::PayOptions::default(),
        )
        .await;
    let usual = bench.refund(&ordered, "5.00").await;
    let ask = |refund, body: &'static [u8]| {
        let body = request("test/Redirect", body);
        bench
            .refunds
            .request_redirect(center, body, others::maker(), refund, "x".into())
    };
    assert_eq!(reason(&ask(usual, b"1").await.unwrap_err()), "REFUND_NOT_ABNORMAL");
    assert_eq!(reason(&ask(Seq(99), b"2").await.unwrap_err()), "NOT_FOUND");

    let stuck = bench.stuck("30.00").await;
    let (asked, _) = ask(stuck, b"3").await.unwrap();
    // A process that does not reach the gateway runs what was allowed.
    let (lanes, custody) = (bench.world.process.lanes.clone(), bench.world.process.custody.clone());
    let cut_off = others::desk(&bench.world.process, &Refunds::new(lanes, custody, Channels::default()));
    others::decided(&cut_off, center, &asked).await;
    assert_eq!(bench.refund_state(stuck).await, RefundState::Abnormal);
    bench.world.verified().await;
    bench.refunds.refresh(center, stuck).await.unwrap();
    bench
        .control
        .wait_for_deliveries(std::time::Duration::from_secs(30))
        .await
        .unwrap();
    assert_eq!(bench.refund_state(stuck).await, RefundState::Redirected);

    // The bank rejects it: the money is the detainee's again, and lies in the bank.
    let before = bench.world.available("D1").await;
    let answers = bench.file("34").await;
    let payments = bench.payments();
    let read = payments
        .read_status(center, &answers.status, "finance/f")
        .await
        .unwrap();
    assert_eq!(bench.world.available("D1").await, before);
    let desk = others::desk(&bench.world.process, &bench.refunds);
    let bob = Person::named("finance/bob");
    let no = read.approval.unwrap();
    desk.decide(center, no, &bob, Verdict::Approved, "seen".into())
        .await
        .unwrap();
    assert_eq!(bench.refund_state(stuck).await, RefundState::Failed);
    assert_ne!(bench.world.available("D1").await, before);
    assert_eq!(bench.bank().await, "30.00");
    assert_eq!(bench.payouts(stuck).await, [ItemState::Done]);
    bench.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_money_of_an_abnormal_refund_is_put_back_by_two_people() {
    let bench = Bench::build().await;
    let center = &bench.world.center;
    let refund = bench.stuck("40.00").await;
    let before = bench.world.available("D1").await;
    let ask = |body: &'static [u8]| {
        let body = request("test/PutBack", body);
        bench
            .refunds
            .request_put_back(center, body, others::maker(), refund, "the family has moved".into())
    };
    let (asked, _) = ask(b"1").await.unwrap();
    let desk = others::desk(&bench.world.process, &bench.refunds);
    let maker = others::maker();
    let own = desk.decide(center, asked.no, &maker, Verdict::Approved, String::new());
    assert_eq!(reason(&own.await.unwrap_err()), "MAKER_IS_CHECKER");
    others::decided(&desk, center, &asked).await;
    let told = bench.refunds.get(center, refund).await.unwrap();
    assert_eq!(told.state, RefundState::Failed);
    assert_ne!(bench.world.available("D1").await, before);
    assert_eq!(bench.items(refund).await[0].state(), ItemState::Done);
    assert_eq!(reason(&ask(b"2").await.unwrap_err()), "NOT_IN_TRANSIT");
    // Nothing is paid twice, whatever the gateway says later.
    bench.refunds.refresh(center, refund).await.unwrap();
    assert_eq!(bench.clearing("wechat").await, "100.00");
    bench.world.verified().await;
}
