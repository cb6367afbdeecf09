//! Waits until nothing is open, lets the bills come, and compares the gateways' own books with the ledger.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use custody_ledger::{
    clock::Clock,
    gateway::{
        simulator::control::{DeliveryState, RefundAnswer},
        webhook::wire::RefundOutcome,
    },
    ids::CenterId,
    ledger::{Code, account, balance, chart},
    proto::{
        FetchBillRequest, GetProofRequest, Proof, Reconciliation, RefreshRefundRequest, RefreshRemittanceRequest,
        Refund, Remittance, refund::State as RefundState, remittance::State,
    },
};
use time::OffsetDateTime;
use tokio::task::JoinSet;

use super::{
    comparison::{Reckoned, compare, returned},
    house::{CENTERS, CHANNELS, Caller, House},
    sides::{Sides, face, known, open_items, sum},
};
use crate::world::{Process, cny};

/// So long everything may take until nothing is open, and so much more for each remittance.
const SETTLE_MAX: Duration = Duration::from_secs(180);
const SETTLE_EACH_MAX: Duration = Duration::from_millis(100);
/// How many remittances the gateways are asked about at once.
const ASKED_AT_ONCE: usize = 8;

/// What is still open, and how many payments nobody will tell: further ones of an order that is paid, whose notification is lost.
#[derive(Default)]
struct Open {
    what: Vec<String>,
    untold: usize,
}

/// Brings everything further that is open.
async fn bring_further(caller: &Caller, process: &Process) -> Open {
    let mut open = Open::default();
    let sides = Sides::read(caller).await;
    for refund in sides.booked_refunds.iter().flatten().filter(|refund| refund.abnormal) {
        if refund.outcome == RefundOutcome::Processing {
            // Somebody says where the money goes.
            let answer = RefundAnswer::default();
            caller
                .control
                .answer_refund(&refund.refund_number, &answer)
                .await
                .unwrap();
            open.what.push(format!("stranded {}", refund.refund_number));
        }
    }
    let deliveries = caller.control.deliveries().await.unwrap();
    let mut telling = BTreeSet::new();
    for delivery in deliveries {
        if delivery.state == DeliveryState::Sending {
            telling.insert(delivery.subject.replace('_', "-"));
        }
    }
    let (mut wrong, mut asked) = (BTreeSet::new(), JoinSet::new());
    for remittance in sides.remittances.iter().flatten() {
        let is_wrong = sides.contradicts(remittance);
        if is_wrong {
            wrong.insert(remittance.order_number.clone());
        }
        let paid = sides.paid(remittance);
        let is_all_known = paid.keys().eq(known(remittance).into_keys());
        let state = remittance.state();
        let waits = matches!(state, State::Created | State::Pending | State::Paid);
        if !waits && is_all_known {
            continue;
        }
        // The first payment is there, and the gateway tells no other when it is asked.
        let is_untold = !waits && !known(remittance).is_empty() && !telling.contains(&remittance.order_number);
        if is_untold {
            open.untold += paid.len() - known(remittance).len();
            continue;
        }
        if waits || matches!(state, State::Expired | State::Cancelled) {
            let (caller, name) = (caller.clone(), remittance.name.clone());
            if asked.len() >= ASKED_AT_ONCE {
                asked.join_next().await;
            }
            // Refused when the gateway has nothing to say of it yet.
            asked.spawn(async move {
                let refresh = RefreshRemittanceRequest { name };
                let _: Result<Remittance, String> =
                    caller.insist("RemittanceService/RefreshRemittance", &refresh).await;
            });
        }
        // What contradicts stays as it is, for people.
        if !(is_wrong && is_all_known) {
            open.what.push(format!("{} {state:?} paid {paid:?}", remittance.name));
        }
    }
    for refund in sides.refunds.iter().flatten() {
        if matches!(refund.state(), RefundState::Requested | RefundState::Submitted) {
            let refresh = RefreshRefundRequest {
                name: refund.name.clone(),
            };
            let _: Result<Refund, String> = caller.insist("RefundService/RefreshRefund", &refresh).await;
            open.what.push(format!("{} {:?}", refund.name, refund.state()));
        }
    }
    asked.join_all().await;
    for order in telling.difference(&wrong) {
        open.what.push(format!("notification of {order}"));
    }
    // What goes back by itself before long; what is held for review has days.
    let mut conn = process.database.read.acquire().await.unwrap();
    let due: i64 = sqlx::query_scalar("select count(*) from payment_return where due_at < now() + interval '1 hour'")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    if due > 0 {
        open.what.push(format!("{due} returns"));
    }
    open
}

/// Waits until nothing is open but payments that nobody will tell; how many those are.
async fn settle_down(house: &House, process: &Process) -> usize {
    let caller = house.caller();
    let count: usize = Sides::read(&caller).await.remittances.iter().map(Vec::len).sum();
    let deadline = Instant::now() + SETTLE_MAX + SETTLE_EACH_MAX * u32::try_from(count).unwrap();
    loop {
        let open = bring_further(&caller, process).await;
        if open.what.is_empty() {
            return open.untold;
        }
        assert!(Instant::now() < deadline, "still open: {:#?}", open.what);
        // One look at ten thousand is work, too.
        tokio::time::sleep(Duration::from_millis(500) + Duration::from_millis(1) * u32::try_from(count / 4).unwrap())
            .await;
    }
}

/// Waits until nothing is open, and compares; then the day is over, the bills come, and it compares again.
pub async fn reckon(house: &mut House, began_at: OffsetDateTime) -> Reckoned {
    let process = Process::over(&house.service.private_url(), Clock::system(), 64);
    let untold = settle_down(house, &process).await;
    let sides = Sides::read(&house.caller()).await;
    for center in 0..CENTERS.len() {
        for channel in 0..CHANNELS.len() {
            clearing(&process, &sides, center, channel).await;
        }
    }
    drop(process);
    // Where the money is that nobody told stands in the bills of the day.
    house.sleep_until_tomorrow().await;
    bills(house, began_at).await;
    let process = Process::over(&house.service.private_url(), Clock::system(), 64);
    assert_eq!(settle_down(house, &process).await, 0, "payments that stand in no bill");

    let (caller, mut reckoned) = (house.caller(), Reckoned::default());
    let sides = Sides::read(&caller).await;
    for (number, center) in CENTERS.iter().enumerate() {
        let items = open_items(&caller, center).await;
        for item in &items {
            assert!(item.deadline_time.is_some(), "without a deadline: {item:?}");
        }
        for remittance in &sides.remittances[number] {
            compare(&sides, remittance, &items, &mut reckoned);
        }
        all_clearing(&process, &sides, number).await;
        let ask = GetProofRequest {
            center: format!("centers/{center}"),
            as_of: None,
        };
        let proof: Proof = caller.insist("LedgerService/GetProof", &ask).await.unwrap();
        assert!(proof.holds, "{proof:?}");
    }
    returned(&sides, &mut reckoned);
    reckoned.found_in_bills = untold;
    let (holds, text) = house.service.verify().await;
    assert!(holds, "{text}");
    reckoned
}

/// Finance fetches every bill of the days of the storm. What nobody told is taken from it; what is then no match contradicts.
async fn bills(house: &House, began_at: OffsetDateTime) {
    let shanghai = |at: OffsetDateTime| at.to_offset(time::macros::offset!(+8)).date();
    let (mut date, last) = (shanghai(began_at), shanghai(OffsetDateTime::now_utc()));
    let caller = house.caller();
    while date <= last {
        for center in CENTERS {
            for channel in CHANNELS {
                let ask = FetchBillRequest {
                    parent: format!("centers/{center}"),
                    channel: channel.into(),
                    bill_date: date.to_string(),
                };
                let told: Result<Reconciliation, String> = caller.insist("ReconciliationService/FetchBill", &ask).await;
                told.unwrap_or_else(|reason| panic!("{ask:?}: {reason}"));
            }
        }
        date = date.next_day().unwrap();
    }
}

/// The ledger's clearing account of a channel in a center is what the gateway has: payments less refunds.
async fn clearing(process: &Process, sides: &Sides, number: usize, channel: usize) {
    let center = process
        .custody
        .center(&CenterId::parse(CENTERS[number]).unwrap())
        .await
        .unwrap();
    let own = |remittance: &&Remittance| face(&remittance.channel) == channel;
    let remittances = sides.remittances[number].iter().filter(own);
    let known_of = |remittance: &Remittance| {
        let mut paid = sides.paid(remittance);
        // What nobody has told yet is not in the ledger.
        paid.retain(|transaction, _| known(remittance).contains_key(transaction.as_str()));
        paid.into_values()
    };
    let paid = sum(remittances.flat_map(known_of));
    let prefix = format!("{}-", center.no.0);
    let refunds = sides
        .succeeded(channel)
        .filter(|refund| refund.order_number.starts_with(&prefix));
    let held = paid
        .checked_sub(sum(refunds.map(|refund| cny(&refund.amount.value))))
        .unwrap();

    let mut conn = process.database.read.acquire().await.unwrap();
    let owner = format!("channels/{}", CHANNELS[channel]);
    let found = account::find(&mut *conn, center.no, Code::GatewayClearing, &owner)
        .await
        .unwrap();
    let no = found.unwrap_or_else(|| panic!("{owner} has no clearing account in {}", center.id));
    let clearing = balance::now(&mut *conn, &center, &[no]).await.unwrap().0[0];
    assert_eq!(clearing, held, "{owner} in {}", center.id);
}

/// All clearing accounts of a center and the fees that the gateways kept are what all payments less all refunds are.
async fn all_clearing(process: &Process, sides: &Sides, number: usize) {
    let id = CenterId::parse(CENTERS[number]).unwrap();
    let center = process.custody.center(&id).await.unwrap();
    let paid = sides.remittances[number].iter();
    let paid = sum(paid.flat_map(|remittance| sides.paid(remittance).into_values()));
    let prefix = format!("{}-", center.no.0);
    let refunds = (0..CHANNELS.len()).flat_map(|channel| sides.succeeded(channel));
    let refunds = refunds.filter(|refund| refund.order_number.starts_with(&prefix));
    let held = paid
        .checked_sub(sum(refunds.map(|refund| cny(&refund.amount.value))))
        .unwrap();

    let mut conn = process.database.read.acquire().await.unwrap();
    let mut accounts = vec![chart::GATEWAY_FEES];
    for channel in CHANNELS {
        let owner = format!("channels/{channel}");
        accounts.extend(
            account::find(&mut *conn, center.no, Code::GatewayClearing, &owner)
                .await
                .unwrap(),
        );
    }
    let sums = balance::now(&mut *conn, &center, &accounts).await.unwrap().0;
    assert_eq!(sum(sums), held, "what gateways have and kept in {}", center.id);
}
