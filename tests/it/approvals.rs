//! Two people for one decision: never the maker, nobody twice, three from 5,000.00, and what was allowed runs once.

use custody_ledger::{
    access::Role,
    approval::{Approval, ApprovalState, Desk, Person, Verdict},
    clock::Clock,
    db::constraint,
    ids::Seq,
    ledger::LedgerError,
    proto::{self, ApproveRequest, GetApprovalRequest, RefuseRequest, approval::State},
    unmatched::{Line, Sum, UnmatchedSums},
    verification,
};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, PgConnection};
use time::{
    Duration, OffsetDateTime,
    macros::{date, datetime},
};
use tokio::task::JoinSet;
use tonic::Code;
use uuid::Uuid;

use crate::{
    money_without_order::{credit_of, person, record, return_of},
    whole_service::{self, Hall, Refused, money},
    world::{Process, World, cny, id, reason, request},
};

const T: OffsetDateTime = datetime!(2031-05-06 02:00:00 UTC);

fn line(amount: &str) -> proto::BankLine {
    proto::BankLine {
        bank_reference: Uuid::new_v4().to_string(),
        amount: money(amount),
        value_date: "2026-11-24".into(),
        payer_name: "Li Na".into(),
        payer_account: "62220202".into(),
        ..proto::BankLine::default()
    }
}

async fn proposed(hall: &Hall, maker: &str, amount: &str) -> proto::Approval {
    let sum = record(hall, line(amount)).await;
    let ask = credit_of(&Uuid::new_v4().to_string(), &sum.name, "D1");
    let method = "UnmatchedService/ProposeUnmatchedCredit";
    hall.ask_as(method, maker, &ask).await.unwrap()
}

fn approve(approval: &proto::Approval) -> ApproveRequest {
    ApproveRequest {
        name: approval.name.clone(),
        reason: "seen".into(),
    }
}

async fn try_approve(hall: &Hall, token: &str, approval: &proto::Approval) -> Result<proto::Approval, Refused> {
    let answer = hall.ask_as("ApprovalService/Approve", token, &approve(approval)).await;
    answer.map_err(|status| Refused::of(&status, "Approve"))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_does_not_decide_and_the_decision_runs_once() {
    let hall = Hall::open().await;
    let alice = person(&hall, "alice", Role::Finance);
    let (bob, carol) = (person(&hall, "bob", Role::Finance), person(&hall, "carol", Role::Admin));
    let asked = proposed(&hall, &alice, "200.00").await;
    assert_eq!((asked.state(), asked.checkers_needed), (State::Pending, 1));
    assert_eq!(
        (asked.maker.as_str(), asked.title_zh.as_str()),
        ("finance/alice", "无主款入账")
    );
    // About the same sum nothing else can be asked for meanwhile.
    let other = return_of(&Uuid::new_v4().to_string(), &asked.subject);
    let pending = hall
        .ask_as::<proto::Approval>("UnmatchedService/ProposeUnmatchedReturn", &bob, &other)
        .await;
    let pending = Refused::of(&pending.unwrap_err(), "pending");
    assert!(pending.is(Code::FailedPrecondition, "APPROVAL_PENDING"), "{pending:?}");

    let (seq, before) = (hall.seq().await, hall.everything().await);
    // Alice as an administrator, or written in other letters, is Alice still.
    for token in [
        alice.clone(),
        person(&hall, "alice", Role::Admin),
        person(&hall, "ALICE", Role::Finance),
    ] {
        let refused = try_approve(&hall, &token, &asked).await.unwrap_err();
        assert!(refused.is(Code::PermissionDenied, "MAKER_IS_CHECKER"), "{refused:?}");
    }
    for role in [Role::Auditor, Role::Commissary, Role::Payer, Role::Terminal] {
        let refused = try_approve(&hall, &hall.token(role), &asked).await.unwrap_err();
        assert!(refused.is(Code::PermissionDenied, "NOT_ALLOWED"), "{refused:?}");
    }
    assert_eq!(hall.everything().await, before);

    let done = try_approve(&hall, &bob, &asked).await.unwrap();
    assert_eq!(done.state(), State::Executed, "{done:?}");
    assert_eq!(done.transaction, format!("centers/C1/transactions/{}", seq + 1));
    assert_eq!(try_approve(&hall, &bob, &asked).await.unwrap(), done, "the same again");
    let late = try_approve(&hall, &carol, &asked).await.unwrap_err();
    assert!(late.is(Code::FailedPrecondition, "APPROVAL_CLOSED"), "{late:?}");
    let refuse = RefuseRequest {
        name: asked.name.clone(),
        reason: "no".into(),
    };
    let other_way = hall
        .ask_as::<proto::Approval>("ApprovalService/Refuse", &bob, &refuse)
        .await;
    let other_way = Refused::of(&other_way.unwrap_err(), "other way");
    assert!(
        other_way.is(Code::FailedPrecondition, "ALREADY_DECIDED"),
        "{other_way:?}"
    );
    assert_eq!(hall.seq().await, seq + 1);
    assert_eq!(hall.balances("D1").await[0], "290.00");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_five_thousand_three_people_race_and_it_runs_once() {
    let hall = Hall::open().await;
    let asked = proposed(&hall, &person(&hall, "alice", Role::Finance), "5000.00").await;
    assert_eq!(asked.checkers_needed, 2);
    let seq = hall.seq().await;
    let bob = person(&hall, "bob", Role::Finance);
    for _ in 0..2 {
        // Bob alone is not two people, however often he says so.
        let told = try_approve(&hall, &bob, &asked).await.unwrap();
        assert_eq!((told.state(), told.decisions.len()), (State::Pending, 1));
    }
    let mut calls = JoinSet::new();
    for subject in ["carol", "dan", "carol", "dan", "bob", "erin"] {
        let (channel, token) = (hall.channel.clone(), person(&hall, subject, Role::Finance));
        let message = prost::Message::encode_to_vec(&approve(&asked));
        calls.spawn(async move { whole_service::call(channel, "ApprovalService/Approve", &token, message).await });
    }
    for answer in calls.join_all().await {
        if let Err(status) = answer {
            let refused = Refused::of(&status, "race");
            assert!(refused.is(Code::FailedPrecondition, "APPROVAL_CLOSED"), "{refused:?}");
        }
    }
    let get = GetApprovalRequest {
        name: asked.name.clone(),
    };
    let told: proto::Approval = hall.ask("ApprovalService/GetApproval", &get).await.unwrap();
    assert_eq!((told.state(), told.decisions.len()), (State::Executed, 2));
    assert_eq!(hall.seq().await, seq + 1);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_never_runs_and_can_be_asked_for_again() {
    let hall = Hall::open().await;
    let alice = person(&hall, "alice", Role::Finance);
    let bob = person(&hall, "bob", Role::Finance);
    let asked = proposed(&hall, &alice, "10.00").await;
    let seq = hall.seq().await;
    let refuse = |reason: &str| RefuseRequest {
        name: asked.name.clone(),
        reason: reason.into(),
    };
    let method = "ApprovalService/Refuse";
    let silent = hall.ask_as::<proto::Approval>(method, &bob, &refuse(" ")).await;
    assert_eq!(
        Refused::of(&silent.unwrap_err(), "silent").field.as_deref(),
        Some("reason")
    );
    let own = hall.ask_as::<proto::Approval>(method, &alice, &refuse("mine")).await;
    assert_eq!(Refused::of(&own.unwrap_err(), "own").reason, "MAKER_IS_CHECKER");
    let told: proto::Approval = hall.ask_as(method, &bob, &refuse("not theirs")).await.unwrap();
    assert_eq!(told.state(), State::Refused);
    let late = try_approve(&hall, &person(&hall, "carol", Role::Finance), &asked)
        .await
        .unwrap_err();
    assert!(late.is(Code::FailedPrecondition, "APPROVAL_CLOSED"), "{late:?}");
    assert_eq!(hall.seq().await, seq);
    let again = return_of(&Uuid::new_v4().to_string(), &asked.subject);
    let method = "UnmatchedService/ProposeUnmatchedReturn";
    let again: proto::Approval = hall.ask_as(method, &bob, &again).await.unwrap();
    assert_eq!(
        try_approve(&hall, &alice, &again).await.unwrap().state(),
        State::Executed
    );
    hall.verified().await;
}

/// Somebody at the desk.
fn somebody(subject: &str) -> Person {
    Person {
        id: subject.into(),
        actor: format!("finance/{subject}"),
    }
}

/// The domains of a process.
fn desk(process: &Process) -> (UnmatchedSums, Desk) {
    let unmatched = UnmatchedSums::new(process.lanes.clone(), process.custody.clone());
    let desk = Desk::new(process.lanes.clone(), unmatched.runners());
    (unmatched, desk)
}

async fn ask(world: &World, unmatched: &UnmatchedSums) -> (Sum, Approval) {
    let line = Line {
        bank_reference: Uuid::new_v4().to_string(),
        amount: cny("40.00"),
        value_date: date!(2031 - 05 - 06),
        payer_name: "Li Na".into(),
        payer_account: "62220202".into(),
        custody_number: String::new(),
        detainee_name: String::new(),
        birth_date: None,
        remark: String::new(),
    };
    let recorded = unmatched
        .record(&world.center, request("test/Record", b"line"), line)
        .await;
    let (sum, _) = recorded.unwrap();
    let proposed = unmatched.propose_credit(
        &world.center,
        request("test/Propose", b"credit"),
        somebody("alice"),
        sum.seq,
        id("D1"),
        "slip".into(),
    );
    let (approval, _) = proposed.await.unwrap();
    (sum, approval)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_dies_between_approval_and_run_is_healed() {
    let world = World::build_with(Clock::starting_at(T), 64).await;
    let (unmatched, first) = desk(&world.process);
    let center = &world.center;
    let bob = somebody("bob");
    // The same decision again, the job of another process, and a run whose end was not written down.
    for healing in ["again", "job", "run twice"] {
        let (sum, approval) = ask(&world, &unmatched).await;
        let written = first.write(center, approval.no, &bob, Verdict::Approved, "ok".into());
        written.await.unwrap();
        let half = first.approvals().get(center, approval.no).await.unwrap();
        assert_eq!(half.state(T), ApprovalState::Approved, "{healing}");
        world.verified().await;
        let later = Process::over(&world.db.url, Clock::starting_at(T + Duration::hours(80)), 64);
        let (_, other) = desk(&later);
        let healed = match healing {
            "again" => other
                .decide(center, approval.no, &bob, Verdict::Approved, "ok".into())
                .await
                .unwrap(),
            "job" => {
                assert_eq!(other.look(center, 10).await.unwrap(), 1);
                other.approvals().get(center, approval.no).await.unwrap()
            }
            _ => {
                let run = first.run(center, approval.no).await.unwrap();
                delete_end(&world, approval.no).await;
                let again = other.run(center, approval.no).await.unwrap();
                assert_eq!(again.end.as_ref().unwrap().0, run.end.as_ref().unwrap().0);
                again
            }
        };
        assert_eq!(healed.state(T), ApprovalState::Executed, "{healing}");
        let end = unmatched.get(center, sum.seq).await.unwrap().end.unwrap();
        assert_eq!(
            healed.end.unwrap().0,
            custody_ledger::approval::End::Executed(Some(end.1))
        );
        assert_eq!(other.look(center, 10).await.unwrap(), 0);
    }
    assert_eq!(world.available("D1").await, "120.00");
    world.verified().await;
}

/// As if the process had died right after the transaction.
async fn delete_end(world: &World, no: i64) {
    let mut owner = PgConnection::connect(&world.db.url).await.unwrap();
    let forget = format!(
        "delete from approval_end where approval_no = {no};
         insert into approval_open select center_id, approval_no, subject, 0, now() from approval where approval_no = {no}"
    );
    sqlx::raw_sql(AssertSqlSafe(forget)).execute(&mut owner).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_decides_in_time_expires() {
    let world = World::build_with(Clock::starting_at(T), 64).await;
    let (unmatched, _) = desk(&world.process);
    let center = &world.center;
    let (sum, first) = ask(&world, &unmatched).await;
    let later = Process::over(&world.db.url, Clock::starting_at(T + Duration::hours(73)), 64);
    let (_, desk) = desk(&later);
    let decided = desk
        .decide(center, first.no, &somebody("bob"), Verdict::Approved, String::new())
        .await;
    assert_eq!(reason(&decided.unwrap_err()), "APPROVAL_CLOSED");
    let (expired, _) = (desk.approvals().get(center, first.no).await.unwrap(), ());
    assert!(matches!(expired.end, Some((custody_ledger::approval::End::Expired, _))));
    assert_eq!(unmatched.get(center, sum.seq).await.unwrap().end, None);
    // The job finds those about which nobody asks.
    let (_, second) = ask(&world, &unmatched).await;
    assert_eq!(desk.look(center, 10).await.unwrap(), 1);
    let expired = desk.approvals().get(center, second.no).await.unwrap();
    assert!(expired.end.is_some());
    world.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_refused_ends_the_approval() {
    let world = World::build_with(Clock::starting_at(T), 64).await;
    let (unmatched, desk) = desk(&world.process);
    let center = &world.center;
    let (sum, approval) = ask(&world, &unmatched).await;
    let mut owner = PgConnection::connect(&world.db.url).await.unwrap();
    owner
        .execute("update detainee set state = 'released'; update journal_head set rules_version = rules_version + 1")
        .await
        .unwrap();
    let told = desk
        .decide(center, approval.no, &somebody("bob"), Verdict::Approved, String::new())
        .await;
    assert_eq!(told.unwrap().state(T), ApprovalState::Failed);
    assert_eq!(unmatched.get(center, sum.seq).await.unwrap().end, None);
    let missing = desk
        .decide(center, 99, &somebody("bob"), Verdict::Approved, String::new())
        .await;
    assert!(matches!(missing, Err(LedgerError::Refused { .. })));
    assert_eq!(
        unmatched.get(center, Seq(99)).await.map_err(|error| reason(&error)),
        Err("NOT_FOUND".into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_database_itself_refuses_the_maker_and_a_second_decision() {
    let world = World::build_with(Clock::starting_at(T), 64).await;
    let (unmatched, _) = desk(&world.process);
    let (_, approval) = ask(&world, &unmatched).await;
    let insert = |person: &str, maker: &str| {
        format!(
            "insert into approval_decision (center_id, approval_no, person, actor, maker, verdict, reason, decided_at)
             values (1, {}, '{person}', 'x', '{maker}', 'APPROVED', '', now())",
            approval.no
        )
    };
    let approval_of = |amount: &str, checkers: i16| {
        format!(
            "insert into approval values (1, 77, gen_random_uuid(), 'k', 's', '', '', {amount}, {checkers}, 'm', 'm', '', now(),
                                          now() + interval '1 hour')"
        )
    };
    let mut tx = world.process.database.lane.begin().await.unwrap();
    tx.execute(AssertSqlSafe(insert("bob", "alice"))).await.unwrap();
    for (statement, expected) in [
        (insert("alice", "alice"), "approval_decision_not_by_maker"),
        (insert("alice", "carol"), "approval_decision_approval"),
        (insert("ALICE", "alice"), "approval_decision_person_lower"),
        (insert("bob", "alice"), "approval_decision_pkey"),
        (approval_of("5000.00", 1), "approval_three_people"),
        (approval_of("0", 1), "approval_amount_positive"),
    ] {
        tx.execute("savepoint before").await.unwrap();
        let error = tx.execute(AssertSqlSafe(statement.clone())).await.unwrap_err();
        assert_eq!(constraint::name(&error), Some(expected), "{statement}");
        tx.execute("rollback to savepoint before").await.unwrap();
    }
    for statement in [
        "update approval set maker = 'x'",
        "delete from approval_decision",
        "delete from approval_end",
    ] {
        tx.execute("savepoint before").await.unwrap();
        let error = tx.execute(statement).await.unwrap_err();
        let code = error.as_database_error().and_then(|error| error.code());
        assert_eq!(code.as_deref(), Some("42501"), "{statement}");
        tx.execute("rollback to savepoint before").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_owner_changes_of_it_is_noticed() {
    let world = World::build_with(Clock::starting_at(T), 64).await;
    let (unmatched, desk) = desk(&world.process);
    let center = &world.center;
    let (_, done) = ask(&world, &unmatched).await;
    desk.decide(center, done.no, &somebody("bob"), Verdict::Approved, String::new())
        .await
        .unwrap();
    ask(&world, &unmatched).await;
    world.verified().await;
    for (change, expected) in [
        ("delete from work_item_open", "work_item_open"),
        ("delete from work_item", "work_item_open"),
        ("delete from work_item_leg", "work_item_open"),
        (
            "update work_item_open set deadline_at = deadline_at + interval '1 day'",
            "work_item_open",
        ),
        ("update work_item_leg set seq = 99", "work_item_leg"),
        (
            "update unmatched_sum set amount = amount + 1 where seq = 1",
            "unmatched_sum 1",
        ),
        ("update unmatched_sum set reference = 'x'", "unmatched_sum"),
        ("delete from unmatched_end", "unmatched_end"),
        ("update unmatched_end set detainee_id = 'D2'", "unmatched_end"),
        ("update approval_end set seq = 1", "approval"),
        ("delete from approval_decision", "approval"),
        ("update approval_decision set actor = 'finance/carol'", "approval"),
        ("update approval set request_id = gen_random_uuid()", "approval"),
        ("delete from approval_open", "approval_open 2"),
        (
            "alter table approval_decision drop constraint approval_decision_not_by_maker;
             insert into approval_decision values (1, 2, 'alice', 'x', 'alice', 'APPROVED', '', now())",
            "decided on what they asked for",
        ),
    ] {
        let mut owner = PgConnection::connect(&world.db.url).await.unwrap();
        sqlx::raw_sql("begin; set session_replication_role = replica")
            .execute(&mut owner)
            .await
            .unwrap();
        sqlx::raw_sql(AssertSqlSafe(change)).execute(&mut owner).await.unwrap();
        let verified = verification::verify(&mut owner, center).await;
        let told = verified.map(|_| ()).unwrap_err().to_string();
        assert!(told.contains(expected), "{change}: {told}");
        sqlx::raw_sql("rollback").execute(&mut owner).await.unwrap();
    }
    world.verified().await;
}
