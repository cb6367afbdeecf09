//! Waits until nothing is open, and compares the gateways' own books with the ledger, payment by payment.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use custody_ledger::{
    clock::Clock,
    gateway::{
        simulator::{
            books::{BookedOrder, BookedRefund, Played},
            control::{DeliveryState, RefundAnswer},
        },
        webhook::wire::RefundOutcome,
    },
    ids::CenterId,
    ledger::{Code, account, balance},
    money::Amount,
    proto::{
        GetProofRequest, ListRefundsRequest, ListRefundsResponse, ListRemittancesRequest, ListRemittancesResponse,
        ListWorkItemsRequest, ListWorkItemsResponse, Money, Proof, RefreshRefundRequest, RefreshRemittanceRequest,
        Refund, Remittance, WorkItem, WorkKind, refund::State as RefundState, remittance::State,
    },
};

use super::house::{CENTERS, CHANNELS, Caller, House};
use crate::world::{Process, cny};

const FACES: [Played; 3] = [Played::Webhook, Played::WechatPay, Played::Alipay];
const PAGE: i32 = 500;
/// So long everything may take until nothing is open, and so much more for each remittance.
const SETTLE_MAX: Duration = Duration::from_secs(180);
const SETTLE_EACH_MAX: Duration = Duration::from_millis(100);

/// How much there was of what.
#[derive(Debug, Default)]
pub struct Reckoned {
    remittances: usize,
    unpaid: usize,
    payments: usize,
    credited: usize,
    in_suspense: usize,
    doubles: usize,
    held: usize,
    contradictions: usize,
    refunded: usize,
    refunds_failed: usize,
}

impl Reckoned {
    /// What never happened, of what happens in every storm, whatever overtakes what.
    pub fn lacking(&self) -> Vec<&'static str> {
        let counted = [
            ("unpaid", self.unpaid),
            ("credited", self.credited),
            ("in suspense", self.in_suspense),
            ("paid twice", self.doubles),
            ("held", self.held),
            ("contradictions", self.contradictions),
            ("refunded", self.refunded),
        ];
        let never = counted.into_iter().filter(|(_, count)| *count == 0);
        never.map(|(what, _)| what).collect()
    }
}

/// Both sides.
struct Sides {
    orders: [BTreeMap<String, BookedOrder>; 3],
    booked_refunds: [Vec<BookedRefund>; 3],
    /// By center.
    remittances: Vec<Vec<Remittance>>,
    refunds: Vec<Vec<Refund>>,
}

fn amount(money: &Option<Money>) -> Amount {
    cny(&money.as_ref().unwrap().amount)
}

fn sum(amounts: impl IntoIterator<Item = Amount>) -> Amount {
    amounts
        .into_iter()
        .fold(cny("0"), |sum, amount| sum.checked_add(amount).unwrap())
}

fn face(channel: &str) -> usize {
    CHANNELS.iter().position(|name| *name == channel).unwrap()
}

impl Sides {
    async fn read(caller: &Caller) -> Sides {
        let mut sides = Sides {
            orders: Default::default(),
            booked_refunds: Default::default(),
            remittances: Vec::new(),
            refunds: Vec::new(),
        };
        let mut books = caller.control.books().await.unwrap().gateways;
        for (number, face) in FACES.iter().enumerate() {
            let books = books.remove(face).unwrap_or_default();
            let orders = books.orders.into_iter();
            sides.orders[number] = orders.map(|order| (order.order_number.clone(), order)).collect();
            sides.booked_refunds[number] = books.refunds;
        }
        for center in CENTERS {
            sides.remittances.push(remittances(caller, center).await);
            sides.refunds.push(refunds(caller, center).await);
        }
        sides
    }

    /// What was paid of a remittance as it was asked for, by the gateway's number.
    fn paid(&self, remittance: &Remittance) -> BTreeMap<String, Amount> {
        let asked = amount(&remittance.amount);
        let order = self.orders[face(&remittance.channel)].get(&remittance.order_number);
        let payments = order.into_iter().flat_map(|order| &order.payments);
        let told = payments.map(|paid| (paid.gateway_transaction.clone(), cny(&paid.amount.value)));
        told.filter(|(_, amount)| *amount == asked).collect()
    }

    /// Whether another amount was paid than was asked for.
    fn contradicts(&self, remittance: &Remittance) -> bool {
        let order = self.orders[face(&remittance.channel)].get(&remittance.order_number);
        order.is_some_and(|order| order.payments.len() > self.paid(remittance).len())
    }

    fn succeeded(&self, face: usize) -> impl Iterator<Item = &BookedRefund> {
        let refunds = self.booked_refunds[face].iter();
        refunds.filter(|refund| matches!(refund.outcome, RefundOutcome::Succeeded { .. }))
    }
}

/// The payments of a remittance that are in the ledger, and how often.
fn known(remittance: &Remittance) -> BTreeMap<&str, usize> {
    let mut known = BTreeMap::new();
    for payment in &remittance.suspended_payments {
        *known.entry(payment.gateway_transaction.as_str()).or_default() += 1;
    }
    if !remittance.gateway_transaction.is_empty() {
        known.entry(&remittance.gateway_transaction).or_insert(1);
    }
    known
}

async fn remittances(caller: &Caller, center: &str) -> Vec<Remittance> {
    let mut request = ListRemittancesRequest {
        parent: format!("centers/{center}"),
        page_size: PAGE,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page: ListRemittancesResponse = caller
            .insist("RemittanceService/ListRemittances", &request)
            .await
            .unwrap();
        all.extend(page.remittances);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}

async fn refunds(caller: &Caller, center: &str) -> Vec<Refund> {
    let mut request = ListRefundsRequest {
        parent: format!("centers/{center}"),
        page_size: PAGE,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page: ListRefundsResponse = caller.insist("RefundService/ListRefunds", &request).await.unwrap();
        all.extend(page.refunds);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}

async fn open_items(caller: &Caller, center: &str) -> Vec<WorkItem> {
    let mut request = ListWorkItemsRequest {
        parent: format!("centers/{center}"),
        page_size: PAGE,
        ..Default::default()
    };
    let mut all = Vec::new();
    loop {
        let page: ListWorkItemsResponse = caller.insist("WorkService/ListWorkItems", &request).await.unwrap();
        all.extend(page.work_items);
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            return all;
        }
    }
}

/// Brings everything further that is open; what is still open.
async fn bring_further(caller: &Caller, process: &Process) -> Vec<String> {
    let mut open = Vec::new();
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
            open.push(format!("stranded {}", refund.refund_number));
        }
    }
    let mut wrong = BTreeSet::new();
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
        if waits || state == State::Expired {
            let refresh = RefreshRemittanceRequest {
                name: remittance.name.clone(),
            };
            // Refused when the gateway has nothing to say of it yet.
            let _: Result<Remittance, String> = caller.insist("RemittanceService/RefreshRemittance", &refresh).await;
        }
        // What contradicts stays as it is, for people.
        if !(is_wrong && is_all_known) {
            open.push(format!("{} {state:?} paid {paid:?}", remittance.name));
        }
    }
    for refund in sides.refunds.iter().flatten() {
        if matches!(refund.state(), RefundState::Requested | RefundState::Submitted) {
            let refresh = RefreshRefundRequest {
                name: refund.name.clone(),
            };
            let _: Result<Refund, String> = caller.insist("RefundService/RefreshRefund", &refresh).await;
            open.push(format!("{} {:?}", refund.name, refund.state()));
        }
    }
    for delivery in caller.control.deliveries().await.unwrap() {
        let order = delivery.subject.replace('_', "-");
        if delivery.state == DeliveryState::Sending && !wrong.contains(&order) {
            open.push(format!("notification of {order}"));
        }
    }
    // What goes back by itself before long; what is held for review has days.
    let mut conn = process.database.read.acquire().await.unwrap();
    let due: i64 = sqlx::query_scalar("select count(*) from payment_return where due_at < now() + interval '1 hour'")
        .fetch_one(&mut *conn)
        .await
        .unwrap();
    if due > 0 {
        open.push(format!("{due} returns"));
    }
    open
}

/// Waits until nothing is open, and compares.
pub async fn reckon(house: &House) -> Reckoned {
    let caller = house.caller();
    let process = Process::over(&house.service.private_url(), Clock::system(), 64);
    let count: usize = Sides::read(&caller).await.remittances.iter().map(Vec::len).sum();
    let deadline = Instant::now() + SETTLE_MAX + SETTLE_EACH_MAX * u32::try_from(count).unwrap();
    loop {
        let open = bring_further(&caller, &process).await;
        if open.is_empty() {
            break;
        }
        assert!(Instant::now() < deadline, "still open: {open:#?}");
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    let sides = Sides::read(&caller).await;
    let mut reckoned = Reckoned::default();
    for (number, center) in CENTERS.iter().enumerate() {
        let items = open_items(&caller, center).await;
        for item in &items {
            assert!(item.deadline_time.is_some(), "without a deadline: {item:?}");
        }
        for remittance in &sides.remittances[number] {
            compare(&sides, remittance, &items, &mut reckoned);
        }
        for channel in 0..CHANNELS.len() {
            clearing(&process, &sides, number, channel).await;
        }
        let ask = GetProofRequest {
            center: format!("centers/{center}"),
            as_of: None,
        };
        let proof: Proof = caller.insist("LedgerService/GetProof", &ask).await.unwrap();
        assert!(proof.holds, "{proof:?}");
    }
    returned(&sides, &mut reckoned);
    let (holds, text) = house.service.verify().await;
    assert!(holds, "{text}");
    reckoned
}

/// Each payment is in the ledger once: credited, or in suspense; and what is in suspense is somebody's work, with a deadline.
fn compare(sides: &Sides, remittance: &Remittance, items: &[WorkItem], reckoned: &mut Reckoned) {
    let (paid, known) = (sides.paid(remittance), known(remittance));
    assert!(paid.keys().eq(known.keys()), "{paid:?}: {remittance:#?}");
    assert!(known.values().all(|count| *count == 1), "{remittance:#?}");
    let credits = remittance.legs.iter().filter(|leg| leg.state() == State::Credited);
    let credits: Vec<Amount> = credits.map(|leg| amount(&leg.amount)).collect();
    assert!(credits.len() <= 1, "{remittance:#?}");
    let suspended = remittance.suspended_payments.iter();
    let booked = sum(credits
        .iter()
        .copied()
        .chain(suspended.map(|payment| amount(&payment.amount))));
    assert_eq!(booked, sum(paid.values().copied()), "{remittance:#?}");

    let is_about = |item: &&WorkItem, subject: &str| item.subject == subject;
    for payment in &remittance.suspended_payments {
        let item = items.iter().find(|item| is_about(item, &payment.transaction));
        assert_eq!(
            item.is_some(),
            amount(&payment.left).is_positive(),
            "{payment:?}: {item:?}"
        );
        reckoned.in_suspense += usize::from(item.is_some());
        reckoned.doubles += usize::from(payment.reason == "DUPLICATE_PAYMENT");
    }
    if sides.contradicts(remittance) {
        let item = items.iter().find(|item| is_about(item, &remittance.name));
        let item = item.unwrap_or_else(|| panic!("nobody is told of another amount: {remittance:#?}"));
        assert_eq!(item.kind(), WorkKind::Contradiction);
        reckoned.contradictions += 1;
    } else if paid.is_empty() {
        assert!(
            matches!(remittance.state(), State::Expired | State::Failed),
            "{remittance:#?}"
        );
        reckoned.unpaid += 1;
    }
    reckoned.remittances += 1;
    reckoned.payments += paid.len();
    reckoned.credited += credits.len();
    reckoned.held += usize::from(remittance.state() == State::Held);
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
    let paid = sum(remittances.flat_map(|remittance| sides.paid(remittance).into_values()));
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

/// What the ledger says was returned, the gateways returned, and nothing else.
fn returned(sides: &Sides, reckoned: &mut Reckoned) {
    let booked = (0..CHANNELS.len()).flat_map(|face| sides.succeeded(face));
    let booked: BTreeMap<&str, Amount> = booked
        .map(|refund| (refund.refund_number.as_str(), cny(&refund.amount.value)))
        .collect();
    let of = |state: RefundState| {
        let all = sides.refunds.iter().flatten();
        all.filter(move |refund| refund.state() == state)
    };
    let told: BTreeMap<&str, Amount> = of(RefundState::Succeeded)
        .map(|refund| (refund.refund_number.as_str(), amount(&refund.amount)))
        .collect();
    assert_eq!(told, booked);
    // No payment went back more than once.
    for face in 0..CHANNELS.len() {
        let mut back: BTreeMap<&str, Amount> = BTreeMap::new();
        for refund in sides.succeeded(face) {
            let sum = back.entry(&refund.gateway_transaction).or_insert(cny("0"));
            *sum = sum.checked_add(cny(&refund.amount.value)).unwrap();
        }
        for paid in sides.orders[face].values().flat_map(|order| &order.payments) {
            let back = back.remove(paid.gateway_transaction.as_str());
            assert!(
                back.is_none_or(|back| back <= cny(&paid.amount.value)),
                "{paid:?}: {back:?}"
            );
        }
        assert!(back.is_empty(), "paid back without a payment: {back:?}");
    }
    reckoned.refunded = told.len();
    reckoned.refunds_failed = of(RefundState::Failed).count();
}
