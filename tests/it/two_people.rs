//! What nobody does alone: advances, reversals, refunds out of suspense, payouts from 500.00, confirming one's own payout. At
//! every door, and straight in the database as the service's role.

use custody_ledger::{
    access::Role,
    approval::{Person, Verdict},
    clock::Clock,
    db::{Database, constraint},
    distribution::NewDebt,
    gateway::simulator::control::PayOptions,
    ids::Seq,
    ledger::LedgerError,
    proto::{
        Approval, ConfirmReleaseRequest, CreateRefundRequest, CreateReleaseRequest, CreditReversal, Debt,
        GetReleaseRequest, Refund, Release, approval::State, debt, release,
    },
    refund::NewRefund,
};
use prost::Message;
use sqlx::{AssertSqlSafe, Executor as _};
use time::{
    Duration,
    macros::{date, datetime},
};
use tokio::task::JoinSet;
use tonic::Code;
use uuid::Uuid;

use crate::{
    all_domains::Economy,
    debts::{debt_of, reversal_of},
    others,
    whole_service::{self, Hall, Refused, money},
    world::{Process, cny, endow, id, reason, request},
};

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

fn refund_of(remittance: &str, transaction: &str, amount: &str) -> CreateRefundRequest {
    CreateRefundRequest {
        by_bank: false,
        consent: Some(custody_ledger::proto::DetaineeConsent::scanned("C-1")),
        parent: "centers/C1".into(),
        remittance: remittance.into(),
        amount: money(amount),
        reason: "paid twice".into(),
        request_id: new_id(),
        suspense_transaction: transaction.into(),
    }
}

fn release_of(detainee: &str) -> CreateReleaseRequest {
    CreateReleaseRequest {
        parent: "centers/C1".into(),
        detainee: format!("centers/C1/detainees/{detainee}"),
        destination: "cash desk".into(),
        request_id: new_id(),
    }
}

/// Asked for by Alice, many times at once: nothing moves, there is one approval, Alice is refused in every role and case of
/// letters, and what Bob and Carol allow, many times at once, runs once. The answer to the request, asked for once more.
async fn runs_once_by_others<R: Message + Default>(hall: &Hall, method: &'static str, asked: &impl Message) -> R {
    let (seq, alice) = (hall.seq().await, hall.person("alice", Role::Finance));
    let mut calls = JoinSet::new();
    for _ in 0..4 {
        let (channel, token, message) = (hall.channel.clone(), alice.clone(), asked.encode_to_vec());
        calls.spawn(async move { whole_service::call(channel, method, &token, message).await });
    }
    for answer in calls.join_all().await {
        answer.unwrap_or_else(|status| panic!("{method}: {status:?}"));
    }
    let [approval] = &hall.open_approvals().await[..] else {
        panic!("{method}: one approval")
    };
    assert_eq!(approval.maker, "finance/alice");
    for token in [
        alice.clone(),
        hall.person("ALICE", Role::Finance),
        hall.person("Alice", Role::Admin),
    ] {
        let approve = custody_ledger::proto::ApproveRequest {
            name: approval.name.clone(),
            reason: String::new(),
        };
        let own = hall
            .ask_as::<Approval>("ApprovalService/Approve", &token, &approve)
            .await;
        let refused = Refused::of(&own.unwrap_err(), method);
        assert!(refused.is(Code::PermissionDenied, "MAKER_IS_CHECKER"), "{refused:?}");
    }
    assert_eq!(hall.seq().await, seq, "{method}");
    let checkers = ["bob", "carol"];
    let needed = usize::try_from(approval.checkers_needed).unwrap();
    for (number, checker) in checkers.into_iter().take(needed).enumerate() {
        assert_eq!(hall.seq().await, seq, "{method} before {checker}");
        let twice = tokio::join!(
            hall.approve(&approval.name, checker),
            hall.approve(&approval.name, checker)
        );
        let state = if number + 1 == needed {
            State::Executed
        } else {
            State::Pending
        };
        for told in [twice.0, twice.1] {
            assert_eq!(told.unwrap().state(), state, "{method} by {checker}");
        }
    }
    assert_eq!(hall.seq().await, seq + 1, "{method}");
    let again = hall.ask_as(method, &alice, asked).await.unwrap();
    assert_eq!(hall.seq().await, seq + 1, "{method}");
    again
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advance_needs_another_and_a_damage_does_not() {
    let hall = Hall::open().await;
    let method = "DistributionService/CreateDebt";
    let advance: Debt = runs_once_by_others(&hall, method, &debt_of(&new_id(), "D1", "60.00")).await;
    assert_eq!(
        (advance.kind(), advance.approval.as_str()),
        (debt::Kind::Advance, "centers/C1/approvals/1")
    );
    let get = custody_ledger::proto::GetDebtRequest {
        name: advance.name.clone(),
    };
    let read: Debt = hall.ask("DistributionService/GetDebt", &get).await.unwrap();
    assert_eq!(read.approval, advance.approval);
    assert_eq!(hall.balances("D1").await[0], "150.00");
    let _: Debt = runs_once_by_others(&hall, method, &debt_of(&new_id(), "D1", "5000.00")).await;
    let mut damage = debt_of(&new_id(), "D1", "7000.00");
    damage.debt.as_mut().unwrap().kind = debt::Kind::Damage.into();
    let damage: Debt = hall.ask(method, &damage).await.unwrap();
    assert_eq!((damage.approval.as_str(), damage.name.is_empty()), ("", false));
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_is_taken_back_and_refunded_by_two_people_each() {
    let hall = Hall::open().await;
    let wrong = hall.remit("D1", "50.00").await;
    let credit = hall.remittance(&wrong.name).await.credit_transaction;
    let asked = reversal_of(&new_id(), &credit, "meant for D2");
    let reversal: CreditReversal = runs_once_by_others(&hall, "RefundService/ReverseCredit", &asked).await;
    assert_eq!((&reversal.amount, reversal.credit), (&money("50.00"), credit));
    // Whoever took it back asks for no refund of it; somebody else does, and a third person allows it.
    let asked = refund_of(&wrong.name, &reversal.transaction, "50.00").encode_to_vec();
    let alice = hall.person("Alice", Role::Admin);
    let own = hall
        .refused_as("own", "RefundService/CreateRefund", &alice, asked)
        .await;
    assert!(own.is(Code::PermissionDenied, "MAKER_IS_CHECKER"), "{own:?}");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn money_leaves_suspense_and_much_leaves_an_account_by_two_people() {
    let hall = Hall::open().await;
    let method = "RefundService/CreateRefund";
    let paid = hall.remit("D1", "50.00").await;
    let again = PayOptions {
        again: true,
        ..PayOptions::default()
    };
    hall.control.pay(&paid.order_number, &again).await.unwrap();
    hall.delivered().await;
    let extra = hall.remittance(&paid.name).await.suspended_payments[0]
        .transaction
        .clone();
    let refund: Refund = runs_once_by_others(&hall, method, &refund_of(&paid.name, &extra, "30.00")).await;
    assert_eq!(refund.suspense_transaction, extra);
    assert!(
        !refund.approval.is_empty() && !refund.refund_number.is_empty(),
        "{refund:?}"
    );
    assert_eq!(hall.control.refunds().await.unwrap().len(), 1);
    // What nobody allows stays where it is.
    let asked: Refund = hall.ask(method, &refund_of(&paid.name, &extra, "20.00")).await.unwrap();
    assert_eq!((asked.name.as_str(), asked.amount), ("", money("20.00")));
    assert_eq!(
        hall.remittance(&paid.name).await.suspended_payments[0].left,
        money("20.00")
    );

    let much = hall.remit("D3", "700.00").await;
    let refund: Refund = hall.ask(method, &refund_of(&much.name, "", "100.00")).await.unwrap();
    assert_eq!(refund.approval, "");
    hall.allow_all().await;
    let refund: Refund = runs_once_by_others(&hall, method, &refund_of(&much.name, "", "500.00")).await;
    assert_eq!(refund.unspent_before, money("600.00"));

    // In parts it is as much: what one person has refunded of the same money within a day counts.
    let parts = hall.remit("D2", "900.00").await;
    let first: Refund = hall.ask(method, &refund_of(&parts.name, "", "499.99")).await.unwrap();
    assert_eq!((first.name.is_empty(), first.approval.as_str()), (false, ""));
    let rest: Refund = runs_once_by_others(&hall, method, &refund_of(&parts.name, "", "0.01")).await;
    assert_eq!(rest.unspent_before, money("370.01"));
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn much_is_paid_out_by_three_and_never_confirmed_by_who_created_it() {
    let hall = Hall::open().await;
    let (create, confirm) = ("RefundService/CreateRelease", "RefundService/ConfirmRelease");
    endow(&hall.process, &hall.center, "D3", "499.99").await;
    let small: Release = hall.ask(create, &release_of("D3")).await.unwrap();
    assert_eq!(
        (small.state(), small.approval.as_str()),
        (release::State::InTransit, "")
    );
    endow(&hall.process, &hall.center, "D1", "4910.00").await;
    let asked = release_of("D1");
    let much: Release = runs_once_by_others(&hall, create, &asked).await;
    assert_eq!(
        (&much.amount, much.state()),
        (&money("5000.00"), release::State::InTransit)
    );
    assert!(!much.approval.is_empty());
    let paid = |name: &str| ConfirmReleaseRequest {
        name: name.to_owned(),
        bank_reference: "B1".into(),
        request_id: new_id(),
    };
    // The small one was created by T1, the other asked for by Alice.
    for (release, people) in [(&small, ["T1", "t1"]), (&much, ["alice", "ALICE"])] {
        for (person, role) in people.into_iter().zip([Role::Finance, Role::Admin]) {
            let token = hall.person(person, role);
            let own = hall
                .refused_as(person, confirm, &token, paid(&release.name).encode_to_vec())
                .await;
            assert!(own.is(Code::PermissionDenied, "MAKER_IS_CHECKER"), "{own:?}");
        }
        let mut calls = JoinSet::new();
        for person in ["bob", "carol", "bob"] {
            let (channel, token) = (hall.channel.clone(), hall.person(person, Role::Finance));
            let message = paid(&release.name).encode_to_vec();
            calls.spawn(async move { whole_service::call(channel, confirm, &token, message).await });
        }
        let done = calls.join_all().await.into_iter().filter(Result::is_ok).count();
        assert_eq!(done, 1);
        let get = GetReleaseRequest {
            name: release.name.clone(),
        };
        let told: Release = hall.ask("RefundService/GetRelease", &get).await.unwrap();
        assert_eq!(told.state(), release::State::Paid);
    }
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balance_that_grows_after_it_was_allowed_is_asked_for_again() {
    let economy = Economy::on(date!(2031 - 05 - 06)).await;
    let (center, house) = (&economy.world.center, &economy.house);
    economy.world.endow("D1", "600").await;
    let body = request("test/Release", b"D1");
    let ask = || {
        house
            .refunds
            .request_release(center, body.clone(), others::maker(), id("D1"), "desk".into())
    };
    let asked = ask().await.unwrap();
    // Less is allowed with it, more is not.
    economy.world.endow("D1", "0.01").await;
    let failed = economy.allowed(Ok(asked)).await.unwrap_err();
    assert_eq!(reason(&failed), "APPROVAL_REQUIRED");
    let again = ask().await.unwrap();
    assert!(
        again.record.is_none() && again.replayed,
        "the same request has one outcome"
    );
    let fresh = request("test/Release", b"D1 again");
    let fresh = house
        .refunds
        .request_release(center, fresh, others::maker(), id("D1"), "desk".into());
    let fresh = fresh.await.unwrap();
    economy.world.buy("D1", &[("RICE", 1)]).await.unwrap();
    let opened = economy.allowed(Ok(fresh)).await.unwrap();
    let paid: Vec<_> = opened.record.postings.iter().map(|leg| leg.amount.as_str()).collect();
    assert_eq!(paid, ["597.51"]);
    economy.world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_after_the_decision_leaves_it_to_the_job() {
    let economy = Economy::on(date!(2031 - 05 - 06)).await;
    let (center, house) = (&economy.world.center, &economy.house);
    let new = NewDebt {
        detainee: id("D1"),
        is_advance: true,
        document: "A-1".into(),
        amount: cny("30"),
        is_consented: true,
    };
    let asked = house
        .distributions
        .create_debt(center, request("test/Debt", b"1"), others::maker(), new)
        .await;
    let no = asked.unwrap().approval.unwrap().no;
    let bob = Person::named("finance/bob");
    house
        .desk
        .write(center, no, &bob, Verdict::Approved, "ok".into())
        .await
        .unwrap();
    assert_eq!(economy.world.available("D1").await, "0.00");
    let later = Clock::starting_at(datetime!(2031-05-06 04:00:00 UTC) + Duration::days(1));
    let process = Process::over(&economy.world.db.url, later, 64);
    let desk = others::desk(&process, &house.refunds);
    assert_eq!(desk.look(center, 10).await.unwrap(), 1);
    assert_eq!(desk.look(center, 10).await.unwrap(), 0);
    assert_eq!(economy.world.available("D1").await, "30.00");
    economy.world.verified().await;
}

/// The constraint that a statement of the service's role breaks.
async fn broken(database: &Database, statement: &str) -> String {
    let mut tx = database.lane.begin().await.unwrap();
    let error = tx.execute(AssertSqlSafe(statement.to_owned())).await.unwrap_err();
    constraint::name(&error)
        .unwrap_or_else(|| panic!("{statement}: {error}"))
        .to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_lets_nobody_do_it_alone() {
    let economy = Economy::on(date!(2031 - 05 - 06)).await;
    let (world, house) = (&economy.world, &economy.house);
    let center = &world.center;
    world.endow("D1", "100").await;
    let opened = house
        .refunds
        .request_release(
            center,
            request("test/Release", b"D1"),
            others::maker(),
            id("D1"),
            "desk".into(),
        )
        .await
        .unwrap();
    let release = opened.record.unwrap().seq;
    let new = NewDebt {
        detainee: id("D2"),
        is_advance: true,
        document: "A-1".into(),
        amount: cny("5000"),
        is_consented: true,
    };
    let asked = house
        .distributions
        .create_debt(center, request("test/Debt", b"1"), others::maker(), new)
        .await;
    let approval = asked.unwrap().approval.unwrap();
    let no = approval.no;
    house
        .desk
        .write(
            center,
            no,
            &Person::named("finance/bob"),
            Verdict::Approved,
            String::new(),
        )
        .await
        .unwrap();
    let debt = |approval: &str| {
        format!("insert into debt values (1, 90, 'D2', 'ADVANCE', 'A-2', 60, true, now(), {approval})")
    };
    let grant = |maker: &str, needed: i16, first: &str, second: &str| {
        format!(
            "insert into approval_grant (center_id, approval_no, maker, checkers_needed, checker, second_checker, granted_at)
             values (1, {no}, '{maker}', {needed}, '{first}', {second}, now())"
        )
    };
    let refund = |suspense: bool, amount: &str, approval: &str| {
        format!(
            "insert into refund (center_id, seq, remittance_id, detainee_id, credit_seq, amount, from_suspense, channel, approval_no)
             values (1, 91, 'R1', 'D2', 1, {amount}, {suspense}, 'webhook', {approval})"
        )
    };
    let payout = |amount: &str, by: &str| {
        format!(
            "insert into release (center_id, seq, detainee_id, amount, opened_by) values (1, 92, 'D2', {amount}, '{by}')"
        )
    };
    let paid = |opened_by: &str, ended_by: &str| {
        format!("insert into release_end values (1, {release}, 93, 'PAID', '{opened_by}', '{ended_by}')")
    };
    let reversal = "insert into credit_reversal values (1, 1, 94, 77)".to_owned();
    let end = "insert into unmatched_end values (1, 1, 95, 'RETURNED', null, 77)".to_owned();
    for (statement, constraint) in [
        (debt("null"), "debt_advance_two_people"),
        // Asked for is not yet allowed.
        (debt(&no.to_string()), "debt_approval"),
        (grant("t1", 2, "bob", "null"), "approval_grant_enough"),
        (grant("t1", 1, "bob", "null"), "approval_grant_approval"),
        (grant("t1", 2, "bob", "'bob'"), "approval_grant_two_people"),
        (grant("t1", 2, "bob", "'t1'"), "approval_grant_second"),
        (grant("t1", 2, "carol", "'bob'"), "approval_grant_checker"),
        (grant("carol", 2, "bob", "'t1'"), "approval_grant_approval"),
        (refund(true, "1", "null"), "refund_two_people"),
        (refund(false, "500", "null"), "refund_two_people"),
        (refund(true, "1", "77"), "refund_approval"),
        (payout("500", "bob"), "release_two_people"),
        (payout("1", "Bob"), "release_opened_by_lower"),
        (paid("t1", "t1"), "release_end_two_people"),
        (paid("t1", "T1"), "release_end_ended_by_lower"),
        (paid("bob", "t1"), "release_end_opened_by"),
        (reversal, "credit_reversal_approval"),
        (end, "unmatched_end_approval"),
    ] {
        assert_eq!(
            broken(&world.process.database, &statement).await,
            constraint,
            "{statement}"
        );
    }
    // And the domain without the door.
    let refused = house
        .refunds
        .confirm_release(center, request("test/Confirm", b""), Seq(release), "B1".into())
        .await;
    assert_eq!(refused.map_err(|error| reason(&error)).unwrap_err(), "MAKER_IS_CHECKER");
    let missing =
        NewRefund::of(custody_ledger::ids::RemittanceId::parse("R9").unwrap(), cny("1"), "x").consented("C-1");
    let missing = house.refunds.create(center, request("test/Refund", b""), missing).await;
    assert!(matches!(missing, Err(LedgerError::Refused { .. })));
    world.verified().await;
}
