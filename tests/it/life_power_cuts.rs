//! Power cuts in the life of a remittance: between being held and going back, between two people's word and what it does, and
//! between a payment and the return of what was over the cap. One outcome each, and the gateway's books and ours are equal.

use std::time::Duration;

use custody_ledger::{
    access::{Role, Scope},
    approval::{Desk, Person, Verdict},
    custody::{Screening, Settings},
    gateway::{
        simulator::control::{PayOptions, RefundAnswer},
        webhook::wire::RefundOutcome,
    },
    ids::CenterId,
    proto::{
        Approval, ApproveRequest, GetApprovalRequest, ListRefundsRequest, ListRefundsResponse, Refund, Remittance,
        ReviewRemittanceRequest, approval, refund, remittance::State,
    },
};
use sqlx::{Connection as _, PgConnection};
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{whole_service::Hall, world::cny};

const RELEASE: &str = "RemittanceService/ReleaseRemittance";
const APPROVE: &str = "ApprovalService/Approve";
/// The gateway's clearing account, suspense, in transit.
const OPEN: [i32; 3] = [1101, 2301, 2302];

async fn with(hall: &Hall, change: impl FnOnce(Settings) -> Settings) {
    let custody = &hall.process.custody;
    let changed = custody.change_settings(&hall.center.id, "admin/root", |settings| Ok(change(settings)));
    changed.await.unwrap();
}

async fn hold_from_the_second_on(hall: &Hall) {
    let change = |settings: Settings| Settings {
        screening: Screening {
            payment_max: 1,
            ..settings.screening
        },
        ..settings
    };
    with(hall, change).await;
}

fn finance(hall: &Hall, subject: &str) -> String {
    let scope = Scope {
        center: Some(CenterId::parse("C1").unwrap()),
        ..Scope::default()
    };
    hall.service.token_of(subject, Role::Finance, scope)
}

async fn pay(hall: &Hall, amount: &str) -> Remittance {
    let ordered = hall.order("D1", amount).await;
    pay_order(hall, &ordered).await
}

async fn pay_order(hall: &Hall, ordered: &Remittance) -> Remittance {
    let paid = hall.control.pay(&ordered.order_number, &PayOptions::default()).await;
    paid.unwrap();
    hall.delivered().await;
    hall.remittance(&ordered.name).await
}

/// Starts the service again, at a time if it is told, and kills it again after so many milliseconds, several times; then it stays.
async fn stutter(hall: &mut Hall, time: Option<time::Duration>, lives_ms: &[u64]) {
    let begin = async |hall: &mut Hall| {
        match time {
            Some(later) => {
                let at = OffsetDateTime::now_utc() + later;
                hall.control.turn_clock(at).await.unwrap();
                hall.service.restart_at(at).await;
            }
            None => hall.service.restart().await,
        }
        hall.channel = hall.service.channel().await;
    };
    for life_ms in lives_ms {
        begin(hall).await;
        tokio::time::sleep(Duration::from_millis(*life_ms)).await;
        hall.service.kill().await;
    }
    begin(hall).await;
}

/// Claims of processes that died are over, as they are after two minutes.
async fn claims_are_over(hall: &Hall) {
    let mut owner = PgConnection::connect(&hall.db.url).await.unwrap();
    let over = "update payment_return set due_at = least(due_at, '2000-01-01') where attempts > 0;
                update approval_open set next_at = '2000-01-01'; update refund_open set next_at = '2000-01-01'";
    sqlx::raw_sql(over).execute(&mut owner).await.unwrap();
}

async fn refunds(hall: &Hall, remittance: &Remittance) -> Vec<Refund> {
    let list = ListRefundsRequest {
        parent: "centers/C1".into(),
        remittance: remittance.name.clone(),
        ..ListRefundsRequest::default()
    };
    let found: ListRefundsResponse = hall.ask("RefundService/ListRefunds", &list).await.unwrap();
    found.refunds
}

/// Waits until the one refund of a remittance is at the gateway, has it paid back, and waits until the ledger knows.
async fn goes_back(hall: &Hall, remittance: &Remittance, amount: &str) {
    let way = async {
        let submitted = loop {
            let found = refunds(hall, remittance).await;
            assert!(found.len() <= 1, "{found:#?}");
            if let Some(refund) = found
                .into_iter()
                .find(|refund| refund.state() == refund::State::Submitted)
            {
                break refund;
            }
            claims_are_over(hall).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        };
        assert_eq!(submitted.amount.as_ref().unwrap().amount, amount);
        let answer = RefundAnswer::default();
        hall.control
            .answer_refund(&submitted.refund_number, &answer)
            .await
            .unwrap();
        hall.delivered().await;
        while refunds(hall, remittance).await[0].state() != refund::State::Succeeded {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), way).await.unwrap();
}

/// The gateway has what the ledger says it has, and nothing is under way.
async fn equal_books(hall: &Hall) {
    let books = hall.control.books().await.unwrap();
    let (mut paid, mut back) = (cny("0"), cny("0"));
    for books in books.gateways.into_values() {
        for payment in books.orders.iter().flat_map(|order| &order.payments) {
            paid = paid.checked_add(cny(&payment.amount.value)).unwrap();
        }
        for refund in &books.refunds {
            assert!(matches!(refund.outcome, RefundOutcome::Succeeded { .. }), "{refund:?}");
            back = back.checked_add(cny(&refund.amount.value)).unwrap();
        }
    }
    let proof = hall.proof().await;
    let sums = OPEN.map(|code| {
        let term = proof.terms.iter().find(|term| term.code == code);
        term.map_or_else(
            || "0.00".to_owned(),
            |term| term.amount.as_ref().unwrap().amount.clone(),
        )
    });
    let held = paid.checked_sub(back).unwrap().to_string();
    assert_eq!(sums, [held.as_str(), "0.00", "0.00"]);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_between_hold_and_return_sends_it_back_once() {
    let mut hall = Hall::open().await;
    hall.remit("D1", "50.00").await;
    hold_from_the_second_on(&hall).await;
    let held = pay(&hall, "40.00").await;
    assert_eq!(held.state(), State::Held);
    hall.service.kill().await;
    // Its time is not over, whoever looks.
    stutter(&mut hall, None, &[30]).await;
    assert_eq!(hall.remittance(&held.name).await.state(), State::Held);
    hall.service.kill().await;

    stutter(&mut hall, Some(time::Duration::hours(73)), &[0, 15, 30, 60, 120]).await;
    goes_back(&hall, &held, "40.00").await;
    let told = hall.remittance(&held.name).await;
    assert_eq!(told.state(), State::Returned);
    let rejected = told.legs.iter().filter(|leg| leg.state() == State::Rejected);
    let reasons: Vec<&str> = rejected.map(|leg| leg.reason.as_str()).collect();
    assert_eq!(reasons, ["REVIEW_TIMED_OUT"]);
    assert_eq!(hall.balances("D1").await[0], "140.00");
    equal_books(&hall).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_between_approval_and_its_run_credits_once() {
    let mut hall = Hall::open().await;
    hall.remit("D1", "50.00").await;
    hold_from_the_second_on(&hall).await;
    for life_ms in [0, 3, 6, 12, 25] {
        let held = pay(&hall, "10.00").await;
        let asked = ask_for_release(&hall, &held).await;
        let approve = ApproveRequest {
            name: asked.name.clone(),
            reason: "looked at".into(),
        };
        let bob = finance(&hall, "bob");
        let (channel, token) = (hall.channel.clone(), bob.clone());
        let message = prost::Message::encode_to_vec(&approve);
        let call = tokio::spawn(async move {
            crate::whole_service::call(channel, APPROVE, &token, message)
                .await
                .is_ok()
        });
        tokio::time::sleep(Duration::from_millis(life_ms)).await;
        hall.service.kill().await;
        let _ = call.await.unwrap();
        stutter(&mut hall, None, &[]).await;
        // Whether his word was heard he does not know: he says it again.
        let told: Approval = hall.ask_as(APPROVE, &bob, &approve).await.unwrap();
        assert_eq!(told.state(), approval::State::Executed, "{life_ms} ms: {told:?}");
        assert_eq!(
            hall.remittance(&held.name).await.state(),
            State::Credited,
            "{life_ms} ms"
        );
    }
    assert_eq!(hall.balances("D1").await[0], "190.00");

    // The word was written down, and the process died before it ran. Nobody says anything again.
    let held = pay(&hall, "10.00").await;
    let asked = ask_for_release(&hall, &held).await;
    hall.service.kill().await;
    let number = asked.name.rsplit('/').next().unwrap().parse().unwrap();
    let bob = Person {
        id: "bob".into(),
        actor: "finance/bob".into(),
    };
    let desk = Desk::new(system_lanes(&hall), []);
    let written = desk.write(&hall.center, number, &bob, Verdict::Approved, "ok".into());
    written.await.unwrap();
    stutter(&mut hall, None, &[0, 20, 40]).await;
    let get = GetApprovalRequest { name: asked.name };
    let run = async {
        loop {
            let told: Approval = hall.ask("ApprovalService/GetApproval", &get).await.unwrap();
            if told.state() == approval::State::Executed {
                return;
            }
            claims_are_over(&hall).await;
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), run).await.unwrap();
    assert_eq!(hall.remittance(&held.name).await.state(), State::Credited);
    assert_eq!(hall.balances("D1").await[0], "200.00");
    equal_books(&hall).await;
}

/// Of a process that goes by the time there is, as the service does.
fn system_lanes(hall: &Hall) -> custody_ledger::ledger::Lanes {
    crate::world::Process::over(&hall.db.url, custody_ledger::clock::Clock::system(), 64).lanes
}

async fn ask_for_release(hall: &Hall, held: &Remittance) -> Approval {
    assert_eq!(held.state(), State::Held);
    let ask = ReviewRemittanceRequest {
        name: held.name.clone(),
        reason: "the mother".into(),
        request_id: Uuid::new_v4().to_string(),
    };
    hall.ask_as(RELEASE, &finance(hall, "alice"), &ask).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_between_capture_and_the_excess_sends_it_back_once() {
    let mut hall = Hall::open().await;
    let ordered = hall.order("D1", "60.00").await;
    let cap = |settings| Settings {
        balance_cap: cny("120"),
        ..settings
    };
    with(&hall, cap).await;
    let told = pay_order(&hall, &ordered).await;
    hall.service.kill().await;
    assert_eq!(told.state(), State::Credited);
    assert_eq!(hall.balances("D1").await[0], "120.00");
    stutter(&mut hall, None, &[0, 10, 20, 40, 80]).await;
    goes_back(&hall, &ordered, "30.00").await;
    assert_eq!(hall.remittance(&ordered.name).await.state(), State::PartReturned);
    assert_eq!(hall.balances("D1").await[0], "120.00");
    equal_books(&hall).await;
}
