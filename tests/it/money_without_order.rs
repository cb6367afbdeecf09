//! Money without an order over the wire: what is certain is credited, what is doubtful waits for people, each of it once.

use custody_ledger::{
    access::{Role, Scope},
    gateway::simulator::control::{NotifyOptions, PayOptions, RefundAnswer},
    ids::CenterId,
    proto::*,
};
use prost::Message as _;
use tokio::task::JoinSet;
use tonic::Code;
use uuid::Uuid;

use crate::{
    bad_requests::RequestRow,
    notifications::paid,
    whole_service::{self, Hall, Refused, money},
};

fn line_of(reference: &str, amount: &str) -> BankLine {
    BankLine {
        bank_reference: reference.into(),
        amount: money(amount),
        value_date: "2026-11-24".into(),
        payer_name: "Li Na 李娜".into(),
        payer_account: "6222020200011234567".into(),
        ..BankLine::default()
    }
}

pub fn recorded(line: BankLine) -> RecordBankLineRequest {
    RecordBankLineRequest {
        parent: "centers/C1".into(),
        bank_line: Some(line),
        request_id: Uuid::new_v4().to_string(),
    }
}

fn line_with(request_id: &str, remark: &str) -> Vec<u8> {
    let line = BankLine {
        remark: remark.into(),
        ..line_of("B9", "1")
    };
    RecordBankLineRequest {
        request_id: request_id.into(),
        ..recorded(line)
    }
    .encode_to_vec()
}

pub fn credit_of(request_id: &str, sum: &str, detainee: &str) -> ProposeUnmatchedCreditRequest {
    ProposeUnmatchedCreditRequest {
        name: sum.into(),
        detainee: format!("centers/C1/detainees/{detainee}"),
        reason: "the family showed the slip".into(),
        request_id: request_id.into(),
    }
}

pub fn return_of(request_id: &str, sum: &str) -> ProposeUnmatchedReturnRequest {
    ProposeUnmatchedReturnRequest {
        name: sum.into(),
        reason: "nobody knows it".into(),
        request_id: request_id.into(),
    }
}

/// What needs a request id here, for the table of all such methods.
pub const REQUESTS: [RequestRow; 3] = [
    RequestRow {
        method: "UnmatchedService/RecordBankLine",
        make: |id| line_with(id, "rent"),
        other: |id| line_with(id, "food"),
        fields: "bank_line",
    },
    RequestRow {
        method: "UnmatchedService/ProposeUnmatchedCredit",
        make: |id| credit_of(id, "centers/C1/unmatchedSums/9", "D1").encode_to_vec(),
        other: |id| credit_of(id, "centers/C1/unmatchedSums/9", "D2").encode_to_vec(),
        fields: "detainee",
    },
    RequestRow {
        method: "UnmatchedService/ProposeUnmatchedReturn",
        make: |id| return_of(id, "centers/C1/unmatchedSums/9").encode_to_vec(),
        other: |id| return_of(id, "centers/C1/unmatchedSums/8").encode_to_vec(),
        fields: "name",
    },
];

/// Somebody of the center.
pub fn person(hall: &Hall, subject: &str, role: Role) -> String {
    hall.person(subject, role)
}

pub async fn record(hall: &Hall, line: BankLine) -> UnmatchedSum {
    hall.ask("UnmatchedService/RecordBankLine", &recorded(line))
        .await
        .unwrap()
}

/// Admits D4, Zhang Wei, born on 31 January 1990.
async fn admit(hall: &Hall) {
    let ask = AdmitDetaineeRequest {
        parent: "centers/C1".into(),
        detainee_id: "D4".into(),
        detainee: Some(Detainee {
            display_name: "Zhang Wei".into(),
            display_name_zh: "张伟".into(),
            tier: 1,
            birth_date: "1990-01-31".into(),
            ..Detainee::default()
        }),
    };
    let told: Detainee = hall.ask("CustodyService/AdmitDetainee", &ask).await.unwrap();
    assert_eq!(told.birth_date, "1990-01-31");
}

pub async fn items(hall: &Hall, view: list_work_items_request::View, subject: &str) -> Vec<WorkItem> {
    let ask = ListWorkItemsRequest {
        parent: "centers/C1".into(),
        view: view.into(),
        subject: subject.into(),
        ..ListWorkItemsRequest::default()
    };
    let told: ListWorkItemsResponse = hall.ask("WorkService/ListWorkItems", &ask).await.unwrap();
    told.work_items
}

async fn open_items(hall: &Hall) -> Vec<WorkItem> {
    items(hall, list_work_items_request::View::Unspecified, "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_certain_is_credited_once_when_one_other_allows_it() {
    let hall = Hall::open().await;
    admit(&hall).await;
    let line = BankLine {
        custody_number: "D4".into(),
        detainee_name: "张伟".into(),
        birth_date: "1990-01-31".into(),
        ..line_of("B1", "120.00")
    };
    let asked = recorded(line.clone());
    // Many ask at once, at two services.
    let other = hall.another_service().await;
    let doors = [
        (hall.channel.clone(), hall.token(Role::Admin)),
        (
            other.channel().await,
            other.token(
                Role::Admin,
                Scope {
                    center: Some(CenterId::parse("C1").unwrap()),
                    ..Scope::default()
                },
            ),
        ),
    ];
    let seq = hall.seq().await;
    let mut calls = JoinSet::new();
    for (channel, token) in doors.iter().cycle().take(8).cloned() {
        let message = asked.encode_to_vec();
        calls.spawn(
            async move { whole_service::call(channel, "UnmatchedService/RecordBankLine", &token, message).await },
        );
    }
    for answer in calls.join_all().await {
        let answer = answer.unwrap_or_else(|status| panic!("{status:?}"));
        let sum = UnmatchedSum::decode(answer.message.as_slice()).unwrap();
        assert_eq!(sum.state(), unmatched_sum::State::Waiting, "{sum:?}");
        assert_eq!(
            (sum.waiting_reason.as_str(), sum.approval.as_str()),
            ("MATCHED", "centers/C1/approvals/1")
        );
    }
    assert_eq!(
        (hall.seq().await, hall.balances("D4").await[0].as_str()),
        (seq + 1, "0.00")
    );
    let [approval] = &hall.open_approvals().await[..] else {
        panic!("one approval")
    };
    // Comparing it again asks nobody else, and whoever recorded it does not allow it, however they are written.
    let compare = MatchUnmatchedSumRequest {
        name: approval.subject.clone(),
    };
    let told: UnmatchedSum = hall.ask("UnmatchedService/MatchUnmatchedSum", &compare).await.unwrap();
    assert_eq!(told.approval, approval.name);
    let subject = approval.maker.split_once('/').unwrap().1;
    for subject in [subject.to_owned(), subject.to_uppercase()] {
        let refused = Refused::of(&hall.approve(&approval.name, &subject).await.unwrap_err(), "own");
        assert!(refused.is(Code::PermissionDenied, "MAKER_IS_CHECKER"), "{refused:?}");
    }
    for _ in 0..2 {
        let done = hall.approve(&approval.name, "carol").await.unwrap();
        assert_eq!(done.state(), approval::State::Executed, "{done:?}");
    }
    let get = GetUnmatchedSumRequest { name: compare.name };
    let sum: UnmatchedSum = hall.ask("UnmatchedService/GetUnmatchedSum", &get).await.unwrap();
    assert_eq!(
        (sum.state(), sum.approval.as_str()),
        (unmatched_sum::State::Credited, "")
    );
    assert_eq!(sum.detainee, "centers/C1/detainees/D4");
    assert_eq!(hall.seq().await, seq + 2);
    assert_eq!(hall.balances("D4").await[0], "120.00");
    let again = hall
        .refused(
            "again",
            "UnmatchedService/RecordBankLine",
            recorded(line).encode_to_vec(),
        )
        .await;
    assert!(again.is(Code::AlreadyExists, "ALREADY_EXISTS"), "{again:?}");
    assert_eq!(open_items(&hall).await, []);
    let [item] = &items(&hall, list_work_items_request::View::All, "").await[..] else {
        panic!("one item")
    };
    assert_eq!(item.legs.last().unwrap().state(), work_item::State::Done);
    assert_eq!(
        item.legs.last().unwrap().transaction,
        format!("centers/C1/transactions/{}", seq + 2)
    );
    hall.verified().await;
}

/// What is recorded is kept for ever, and identity numbers are not kept in clear: neither in what a bank wrote, nor in what
/// people tell as a reason.
#[tokio::test(flavor = "multi_thread")]
async fn an_identity_number_told_by_mistake_is_refused_and_nowhere_kept() {
    const NUMBER: &str = "11010519491231002X";
    let hall = Hall::open().await;
    let remitted = hall.remit("D1", "50.00").await;
    let sum = record(&hall, line_of("B1", "12.00")).await;
    let told = format!("son of {NUMBER}");
    let line = BankLine {
        payer_name: told.clone(),
        ..line_of("B2", "1")
    };
    let credit = ProposeUnmatchedCreditRequest {
        reason: told.clone(),
        ..credit_of(&Uuid::new_v4().to_string(), &sum.name, "D1")
    };
    let refund = CreateRefundRequest {
        by_bank: false,
        consent: Some(custody_ledger::proto::DetaineeConsent::scanned("C-1")),
        parent: "centers/C1".into(),
        remittance: remitted.name.clone(),
        amount: money("1"),
        reason: told.clone(),
        request_id: Uuid::new_v4().to_string(),
        suspense_transaction: String::new(),
    };
    let review = ReviewRemittanceRequest {
        name: remitted.name,
        reason: told.clone(),
        request_id: Uuid::new_v4().to_string(),
    };
    let link = RequestPayerLinkRequest {
        parent: "centers/C1/payers/P1".into(),
        payer_link: Some(PayerLink {
            detainee: "centers/C1/detainees/D3".into(),
            relationship: payer_link::Relationship::Parent.into(),
            ..PayerLink::default()
        }),
        reason: told,
    };
    let before = hall.everything().await;
    for (method, message, field) in [
        (
            "UnmatchedService/RecordBankLine",
            recorded(line).encode_to_vec(),
            "bank_line.payer_name",
        ),
        (
            "UnmatchedService/ProposeUnmatchedCredit",
            credit.encode_to_vec(),
            "reason",
        ),
        ("RefundService/CreateRefund", refund.encode_to_vec(), "reason"),
        ("RemittanceService/RejectRemittance", review.encode_to_vec(), "reason"),
        ("PayerService/RequestPayerLink", link.encode_to_vec(), "reason"),
    ] {
        let refused = hall.refused("an identity number", method, message).await;
        assert!(
            refused.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{method}: {refused:?}"
        );
        assert_eq!(refused.field.as_deref(), Some(field), "{method}");
    }
    assert_eq!(hall.everything().await, before);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_doubtful_waits_with_its_evidence_and_a_deadline() {
    let hall = Hall::open().await;
    admit(&hall).await;
    let before = hall.balances("D4").await;
    for (number, name, born, reason) in [
        ("", "Zhang Wei", "1990-01-31", "NAME_ONLY"),
        ("D4", "Li Lei", "1990-01-31", "NAME_DIFFERS"),
        ("D4", "Zhang Wei", "1990-01-30", "BIRTH_DATE_DIFFERS"),
        ("D4", "Zhang Wei", "", "BIRTH_DATE_NOT_KNOWN"),
        ("D1", "", "1990-01-31", "BIRTH_DATE_NOT_KNOWN"),
        ("D77", "", "", "NO_CANDIDATE"),
        ("", "", "", "NO_CANDIDATE"),
    ] {
        let line = BankLine {
            custody_number: number.into(),
            detainee_name: name.into(),
            birth_date: born.into(),
            ..line_of(&Uuid::new_v4().to_string(), "10.00")
        };
        let sum = record(&hall, line).await;
        assert_eq!(sum.state(), unmatched_sum::State::Waiting);
        assert_eq!(sum.waiting_reason, reason, "{number} {name} {born}");
        let [item] = &items(&hall, list_work_items_request::View::Unspecified, &sum.name).await[..] else {
            panic!("one item")
        };
        assert_eq!((item.title_zh.as_str(), item.steps.len()), ("无主款", 3));
        let seconds = |at: &Option<prost_types::Timestamp>| at.as_ref().unwrap().seconds;
        assert_eq!(seconds(&item.deadline_time) - seconds(&item.create_time), 7 * 86_400);
        let Some(work_facts::Facts::UnmatchedSum(facts)) = item.facts.clone().unwrap().facts else {
            panic!("{item:?}")
        };
        assert_eq!((facts.reason.as_str(), facts.candidates), (reason, sum.candidates));
        // Only money ends it.
        let resolve = ResolveWorkItemRequest {
            name: item.name.clone(),
            reason: "done".into(),
        };
        let refused = hall
            .refused("by hand", "WorkService/ResolveWorkItem", resolve.encode_to_vec())
            .await;
        assert!(refused.is(Code::FailedPrecondition, "ENDED_BY_MONEY"), "{refused:?}");
        let take = TakeWorkItemRequest {
            name: item.name.clone(),
        };
        for _ in 0..2 {
            let taken: WorkItem = hall.ask("WorkService/TakeWorkItem", &take).await.unwrap();
            assert_eq!((taken.state(), taken.legs.len()), (work_item::State::Taken, 1));
        }
    }
    assert_eq!(hall.balances("D4").await, before);
    assert_eq!(open_items(&hall).await.len(), 7);
    assert_eq!(items(&hall, list_work_items_request::View::Overdue, "").await, []);
    // The person whose birth date is not known yet stays in the queue however often it is compared.
    let ask = ListUnmatchedSumsRequest {
        parent: "centers/C1".into(),
        waiting: true,
        page_size: 3,
        ..ListUnmatchedSumsRequest::default()
    };
    let page: ListUnmatchedSumsResponse = hall.ask("UnmatchedService/ListUnmatchedSums", &ask).await.unwrap();
    assert_eq!(page.unmatched_sums.len(), 3);
    for sum in page.unmatched_sums {
        let again = MatchUnmatchedSumRequest { name: sum.name };
        let told: UnmatchedSum = hall.ask("UnmatchedService/MatchUnmatchedSum", &again).await.unwrap();
        assert_eq!(told.state(), unmatched_sum::State::Waiting);
    }
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_of_an_order_that_was_never_issued_is_kept_and_returned() {
    let hall = Hall::open().await;
    let seq = hall.seq().await;
    let body = paid("1-R0000000000000000", "pay_9", "33.00", "CNY");
    for _ in 0..3 {
        assert_eq!(hall.notify(body.clone()).await, 200);
    }
    assert_eq!(hall.seq().await, seq + 1, "booked once");
    assert_eq!(hall.rejected().await, [] as [&str; 0]);
    // The same payment for another amount, and another currency, change nothing.
    for (amount, currency) in [("34.00", "CNY"), ("33.00", "USD")] {
        assert_eq!(
            hall.notify(paid("1-R0000000000000000", "pay_9", amount, currency))
                .await,
            200
        );
    }
    assert_eq!(hall.seq().await, seq + 1);
    assert_eq!(hall.rejected().await, ["unknown_order", "unknown_order"]);
    let [item] = &open_items(&hall).await[..] else {
        panic!("one item")
    };
    let get = GetUnmatchedSumRequest {
        name: item.subject.clone(),
    };
    let sum: UnmatchedSum = hall.ask("UnmatchedService/GetUnmatchedSum", &get).await.unwrap();
    assert_eq!(
        (sum.channel.as_str(), sum.order_number.as_str()),
        ("webhook", "1-R0000000000000000")
    );
    assert_eq!(sum.line.as_ref().unwrap().amount, money("33.00"));

    let (alice, bob) = (
        person(&hall, "alice", Role::Finance),
        person(&hall, "bob", Role::Finance),
    );
    let ask = return_of(&Uuid::new_v4().to_string(), &sum.name);
    let approval: Approval = hall
        .ask_as("UnmatchedService/ProposeUnmatchedReturn", &alice, &ask)
        .await
        .unwrap();
    let approve = ApproveRequest {
        name: approval.name.clone(),
        reason: String::new(),
    };
    let done: Approval = hall.ask_as("ApprovalService/Approve", &bob, &approve).await.unwrap();
    assert_eq!(done.state(), approval::State::Executed);
    let sum: UnmatchedSum = hall.ask("UnmatchedService/GetUnmatchedSum", &get).await.unwrap();
    assert_eq!(
        (sum.state(), &sum.end_transaction),
        (unmatched_sum::State::Returned, &done.transaction)
    );
    assert_eq!(open_items(&hall).await, []);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_in_suspense_is_in_the_queue_as_long_as_it_is_there() {
    let hall = Hall::open().await;
    let order = hall.remit("D1", "50.00").await;
    let again = PayOptions {
        again: true,
        ..PayOptions::default()
    };
    hall.control.pay(&order.order_number, &again).await.unwrap();
    hall.delivered().await;
    let extra = hall.remittance(&order.name).await.suspended_payments[0].clone();
    let queued = async || {
        open_items(&hall)
            .await
            .iter()
            .map(|item| item.subject.clone())
            .collect::<Vec<_>>()
    };
    assert_eq!(queued().await, std::slice::from_ref(&extra.transaction));
    for (amount, failed, left) in [("20.00", false, 1), ("30.00", true, 1), ("30.00", false, 0)] {
        let ask = CreateRefundRequest {
            by_bank: false,
            consent: Some(custody_ledger::proto::DetaineeConsent::scanned("C-1")),
            parent: "centers/C1".into(),
            remittance: order.name.clone(),
            amount: money(amount),
            reason: "paid twice".into(),
            request_id: Uuid::new_v4().to_string(),
            suspense_transaction: extra.transaction.clone(),
        };
        let refund: Refund = hall.ask_allowed("RefundService/CreateRefund", &ask).await.unwrap();
        assert_eq!(queued().await.len(), usize::from(amount == "20.00"));
        let answer = RefundAnswer {
            failed: failed.then(|| "account closed".to_owned()),
            abnormal: false,
            notify: NotifyOptions::default(),
        };
        hall.control
            .answer_refund(&refund.refund_number, &answer)
            .await
            .unwrap();
        hall.delivered().await;
        assert_eq!(queued().await.len(), left, "{amount} {failed}");
        hall.verified().await;
    }
    let all = items(&hall, list_work_items_request::View::All, &extra.transaction).await;
    assert_eq!(all.len(), 2, "raised again when the money came back");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_bank_line_is_refused_field_by_field() {
    let hall = Hall::open().await;
    let before = hall.everything().await;
    type Change = fn(&mut BankLine);
    let cases: [(&str, Change); 19] = [
        ("bank_reference", |line| line.bank_reference.clear()),
        ("bank_reference", |line| line.bank_reference = "x".repeat(501)),
        ("bank_reference", |line| line.bank_reference = "a\0b".into()),
        ("amount", |line| line.amount = None),
        ("amount.amount", |line| line.amount = money("0")),
        ("amount.amount", |line| line.amount = money("-1")),
        ("amount.amount", |line| line.amount = money("1.001")),
        ("amount.amount", |line| line.amount = money("1e3")),
        ("value_date", |line| line.value_date.clear()),
        ("value_date", |line| line.value_date = "2026-02-30".into()),
        ("payer_name", |line| line.payer_name = " ".into()),
        ("payer_account", |line| line.payer_account.clear()),
        ("payer_account", |line| line.payer_account = "1\n2".into()),
        ("custody_number", |line| {
            line.custody_number = "11010519491231002X".into()
        }),
        ("detainee_name", |line| line.detainee_name = "x".repeat(501)),
        ("birth_date", |line| line.birth_date = "31.1.1990".into()),
        ("birth_date", |line| line.birth_date = "19900131".into()),
        ("remark", |line| line.remark = "id 11010519491231002x".into()),
        ("remark", |line| line.remark = "\u{7}".into()),
    ];
    for (field, change) in cases {
        let mut line = line_of("B1", "10.00");
        change(&mut line);
        let refused = hall
            .refused(field, "UnmatchedService/RecordBankLine", recorded(line).encode_to_vec())
            .await;
        assert!(
            refused.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{field}: {refused:?}"
        );
        assert_eq!(refused.field, Some(format!("bank_line.{field}")));
    }
    let dollars = BankLine {
        amount: Some(Money {
            currency_code: "USD".into(),
            amount: "1".into(),
        }),
        ..line_of("B1", "1")
    };
    let refused = hall
        .refused(
            "USD",
            "UnmatchedService/RecordBankLine",
            recorded(dollars).encode_to_vec(),
        )
        .await;
    assert!(refused.is(Code::InvalidArgument, "CURRENCY_MISMATCH"), "{refused:?}");
    let nothing = RecordBankLineRequest {
        bank_line: None,
        ..recorded(BankLine::default())
    };
    let refused = hall
        .refused("nothing", "UnmatchedService/RecordBankLine", nothing.encode_to_vec())
        .await;
    assert_eq!(refused.field.as_deref(), Some("bank_line"));
    assert_eq!(hall.everything().await, before);
}
