//! Debts, court orders, policies and reversals over the wire, and what verification notices of them.

use custody_ledger::{
    access::Role,
    gateway::simulator::control::{NotifyOptions, RefundAnswer},
    proto::{
        ChangeLegalStatusRequest, CourtOrder, CreateDebtRequest, CreateRefundRequest, CreditReversal, Debt, Detainee,
        Distribution, DistributionPolicy, EndCourtOrderRequest, GetCreditReversalRequest, GetDebtRequest,
        GetDistributionPolicyRequest, GetDistributionRequest, ListDebtsRequest, ListDebtsResponse,
        ListDistributionPolicyVersionsRequest, ListDistributionPolicyVersionsResponse, PreviewDistributionRequest,
        PreviewDistributionResponse, Refund, ResumeCourtOrderRequest, ReverseCreditRequest, SuspendCourtOrderRequest,
        UpdateDistributionPolicyRequest, court_order, debt,
    },
};
use prost::Message as _;
use time::macros::date;
use tokio::task::JoinSet;
use tonic::Code;
use uuid::Uuid;

use crate::{
    all_domains::Economy,
    others,
    tampering::each_is_named,
    whole_service::{self, Hall, money},
    world::{cny, id, request},
};

pub fn debt_of(request_id: &str, detainee: &str, amount: &str) -> CreateDebtRequest {
    CreateDebtRequest {
        parent: format!("centers/C1/detainees/{detainee}"),
        debt: Some(Debt {
            kind: debt::Kind::Advance.into(),
            document: format!("A-{amount}"),
            amount: money(amount),
            consented: true,
            ..Debt::default()
        }),
        request_id: request_id.into(),
    }
}

pub fn reversal_of(request_id: &str, credit: &str, reason: &str) -> ReverseCreditRequest {
    ReverseCreditRequest {
        credit: credit.into(),
        reason: reason.into(),
        request_id: request_id.into(),
    }
}

fn new_id() -> String {
    Uuid::new_v4().to_string()
}

async fn debt(hall: &Hall, name: &str) -> [String; 2] {
    let get = GetDebtRequest { name: name.into() };
    let debt: Debt = hall.ask("DistributionService/GetDebt", &get).await.unwrap();
    [debt.repaid, debt.still_owed].map(|money| money.unwrap().amount)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_advance_is_repaid_and_a_wrong_credit_owes_it_again() {
    let hall = Hall::open().await;
    assert_eq!(hall.balances("D1").await[0], "90.00");
    let create = "DistributionService/CreateDebt";
    let asked = debt_of(&new_id(), "D1", "60.00");
    let advance: Debt = hall.ask_allowed(create, &asked).await.unwrap();
    assert_eq!(hall.ask::<Debt>(create, &asked).await.unwrap(), advance);
    assert_eq!(hall.balances("D1").await[0], "150.00");
    let twice = debt_of(&new_id(), "D1", "60.00").encode_to_vec();
    let twice = hall.refused("the same document", create, twice).await;
    assert!(twice.is(Code::AlreadyExists, "ALREADY_EXISTS"), "{twice:?}");

    let preview = PreviewDistributionRequest {
        detainee: "centers/C1/detainees/D1".into(),
        amount: money("100.00"),
    };
    let preview: PreviewDistributionResponse = hall
        .ask("DistributionService/PreviewDistribution", &preview)
        .await
        .unwrap();
    let wrong = hall.remit("D1", "100.00").await;
    let get = GetDistributionRequest {
        name: format!("{}/distribution", wrong.name),
    };
    let split: Distribution = hall.ask("DistributionService/GetDistribution", &get).await.unwrap();
    assert_eq!(split.parts, preview.parts);
    let told: Vec<_> = split
        .parts
        .iter()
        .map(|part| (part.rule.as_str(), part.amount.as_str()))
        .collect();
    assert_eq!(told, [("debt", "20.00"), ("remainder", "80.00")]);
    assert_eq!(debt(&hall, &advance.name).await, ["20.00", "40.00"]);

    let wrong = hall.remittance(&wrong.name).await;
    let reverse = "RefundService/ReverseCredit";
    let asked = reversal_of(&new_id(), &wrong.credit_transaction, "meant for D2");
    let reversal: CreditReversal = hall.ask_allowed(reverse, &asked).await.unwrap();
    assert_eq!(hall.ask::<CreditReversal>(reverse, &asked).await.unwrap(), reversal);
    assert_eq!(
        (&reversal.amount, &reversal.claimed),
        (&money("100.00"), &money("0.00"))
    );
    assert_eq!(reversal.claim, "");
    let get = GetCreditReversalRequest {
        name: reversal.name.clone(),
    };
    let read: CreditReversal = hall.ask("RefundService/GetCreditReversal", &get).await.unwrap();
    assert_eq!(read, reversal);
    assert_eq!(hall.balances("D1").await[0], "150.00");
    assert_eq!(debt(&hall, &advance.name).await, ["0.00", "60.00"]);

    // Its payer gets it out of suspense, and not out of the account.
    let refund = |transaction: &str| CreateRefundRequest {
        by_bank: false,
        consent: Some(custody_ledger::proto::DetaineeConsent::scanned("C-1")),
        parent: "centers/C1".into(),
        remittance: wrong.name.clone(),
        amount: money("100.00"),
        reason: "wrong person".into(),
        request_id: new_id(),
        suspense_transaction: transaction.into(),
    };
    let create = "RefundService/CreateRefund";
    let refused = hall
        .refused("from the account", create, refund("").encode_to_vec())
        .await;
    assert!(refused.is(Code::FailedPrecondition, "ALREADY_REVERSED"), "{refused:?}");
    // Not by whoever took it back, in whatever role.
    for role in [Role::Admin, Role::Finance] {
        let asked = refund(&reversal.transaction).encode_to_vec();
        let refused = hall
            .refused_as("by the same person", create, &hall.token(role), asked)
            .await;
        assert!(refused.is(Code::PermissionDenied, "MAKER_IS_CHECKER"), "{refused:?}");
    }
    let another = hall.person("bob", Role::Finance);
    let asked = refund(&reversal.transaction);
    let waiting: Refund = hall.ask_as(create, &another, &asked).await.unwrap();
    assert_eq!((waiting.name.as_str(), &waiting.amount), ("", &money("100.00")));
    hall.allow_all().await;
    let refunded: Refund = hall.ask_as(create, &another, &asked).await.unwrap();
    assert_eq!(refunded.approval, waiting.approval);
    let answer = RefundAnswer {
        failed: None,
        abnormal: false,
        notify: NotifyOptions::default(),
    };
    hall.control
        .answer_refund(&refunded.refund_number, &answer)
        .await
        .unwrap();
    hall.delivered().await;
    let told = hall.remittance(&wrong.name).await.suspended_payments;
    assert_eq!(
        (told[0].reason.as_str(), &told[0].left),
        ("CREDIT_REVERSED", &money("0.00"))
    );
    let zero = debt_of(&new_id(), "D1", "0").encode_to_vec();
    let refused = hall.refused("nothing", "DistributionService/CreateDebt", zero).await;
    assert_eq!(refused.field.as_deref(), Some("debt.amount.amount"), "{refused:?}");
    let mut claim = debt_of(&new_id(), "D1", "1");
    claim.debt.as_mut().unwrap().kind = debt::Kind::Claim.into();
    let refused = hall
        .refused("a claim", "DistributionService/CreateDebt", claim.encode_to_vec())
        .await;
    assert_eq!(refused.field.as_deref(), Some("debt.kind"), "{refused:?}");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credit_is_reversed_once_however_many_ask_at_once() {
    let hall = Hall::open().await;
    let wrong = hall.remit("D1", "50.00").await;
    let (credit, seq) = (hall.remittance(&wrong.name).await.credit_transaction, hall.seq().await);
    let method = "RefundService/ReverseCredit";
    let mut calls = JoinSet::new();
    for _ in 0..12 {
        let (channel, token) = (hall.channel.clone(), hall.token_for(method));
        let message = reversal_of(&new_id(), &credit, "twice").encode_to_vec();
        calls.spawn(async move { whole_service::call(channel, method, &token, message).await });
    }
    // One of them asks, and the others are told that it is asked for.
    let answers = calls.join_all().await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    for status in answers.into_iter().filter_map(Result::err) {
        let refused = whole_service::Refused::of(&status, method);
        assert!(refused.is(Code::FailedPrecondition, "APPROVAL_PENDING"), "{refused:?}");
    }
    assert_eq!(hall.seq().await, seq);
    hall.allow_all().await;
    assert_eq!(hall.seq().await, seq + 1);
    let late = reversal_of(&new_id(), &credit, "twice").encode_to_vec();
    let late = hall.refused("late", method, late).await;
    assert!(late.is(Code::FailedPrecondition, "ALREADY_REVERSED"), "{late:?}");
    assert_eq!(hall.balances("D1").await[0], "90.00");
    let none = reversal_of(&new_id(), "centers/C1/transactions/1", "no credit").encode_to_vec();
    let refused = hall.refused("no credit", method, none).await;
    assert!(refused.is(Code::NotFound, "NOT_FOUND"), "{refused:?}");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn policies_are_announced_and_court_orders_end() {
    let hall = Hall::open().await;
    let name = "centers/C1/distributionPolicy".to_owned();
    let update = "DistributionService/UpdateDistributionPolicy";
    let policy = |date: &str| UpdateDistributionPolicyRequest {
        distribution_policy: Some(DistributionPolicy {
            name: "centers/C1/distributionPolicy".into(),
            savings_percent: "10".into(),
            debt_percent: "12.5".into(),
            debt_threshold: money("50.00"),
            rule_order: ["debt", "court_order", "savings"].map(str::to_owned).to_vec(),
            effective_date: date.into(),
            ..DistributionPolicy::default()
        }),
    };
    let announced: DistributionPolicy = hall.ask(update, &policy("2999-01-01")).await.unwrap();
    assert_eq!(
        (announced.version, announced.effective_date.as_str()),
        (2, "2999-01-01")
    );
    let get = GetDistributionPolicyRequest { name: name.clone() };
    let holds: DistributionPolicy = hall
        .ask("DistributionService/GetDistributionPolicy", &get)
        .await
        .unwrap();
    assert_eq!(
        (holds.version, holds.etag.as_str(), holds.debt_percent.as_str()),
        (1, "2", "20")
    );
    let list = ListDistributionPolicyVersionsRequest {
        parent: name,
        ..ListDistributionPolicyVersionsRequest::default()
    };
    let list: ListDistributionPolicyVersionsResponse = hall
        .ask("DistributionService/ListDistributionPolicyVersions", &list)
        .await
        .unwrap();
    assert_eq!(list.distribution_policies, [announced]);
    for (date, field) in [("2020-01-01", "effective_date"), ("2020-02-30", "effective_date")] {
        let refused = hall.refused(date, update, policy(date).encode_to_vec()).await;
        let path = format!("distribution_policy.{field}");
        assert_eq!(refused.field.as_deref(), Some(path.as_str()), "{refused:?}");
    }
    let mut twice = policy("");
    twice.distribution_policy.as_mut().unwrap().rule_order[1] = "debt".into();
    let refused = hall.refused("twice", update, twice.encode_to_vec()).await;
    assert_eq!(refused.field.as_deref(), Some("distribution_policy.rule_order"));

    let (name, document) = ("centers/C1/detainees/D2/courtOrders/C1".to_owned(), "2031-8".to_owned());
    let suspend = SuspendCourtOrderRequest {
        name: name.clone(),
        document: document.clone(),
    };
    let resume = ResumeCourtOrderRequest {
        name: name.clone(),
        document: document.clone(),
    };
    let end = EndCourtOrderRequest { name, document };
    let suspended: CourtOrder = hall
        .ask("DistributionService/SuspendCourtOrder", &suspend)
        .await
        .unwrap();
    let again: CourtOrder = hall
        .ask("DistributionService/SuspendCourtOrder", &suspend)
        .await
        .unwrap();
    assert_eq!((suspended.state(), &suspended), (court_order::State::Suspended, &again));
    let resumed: CourtOrder = hall.ask("DistributionService/ResumeCourtOrder", &resume).await.unwrap();
    assert_eq!(resumed.state(), court_order::State::Active);
    let ended: CourtOrder = hall.ask("DistributionService/EndCourtOrder", &end).await.unwrap();
    assert_eq!((ended.state(), ended.events.len()), (court_order::State::Ended, 3));
    let refused = hall
        .refused("ended", "DistributionService/ResumeCourtOrder", resume.encode_to_vec())
        .await;
    assert!(refused.is(Code::FailedPrecondition, "COURT_ORDER_ENDED"), "{refused:?}");

    let convict = ChangeLegalStatusRequest {
        detainee: "centers/C1/detainees/D2".into(),
        convicted: true,
        document: "judgment 7".into(),
    };
    let convicted: Detainee = hall.ask("CustodyService/ChangeLegalStatus", &convict).await.unwrap();
    assert!(convicted.convicted);
    let list = ListDebtsRequest {
        parent: "centers/C1/detainees/D2".into(),
        ..ListDebtsRequest::default()
    };
    let list: ListDebtsResponse = hall.ask("DistributionService/ListDebts", &list).await.unwrap();
    assert_eq!(list.debts, []);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_owed_is_what_the_records_say() {
    let economy = Economy::on(date!(2031 - 05 - 06)).await;
    let (world, house) = (&economy.world, &economy.house);
    world.endow("D1", "100").await;
    let new = custody_ledger::distribution::NewDebt {
        detainee: id("D1"),
        is_advance: true,
        document: "A-1".into(),
        amount: cny("30"),
        is_consented: true,
    };
    let asked = house
        .distributions
        .create_debt(&world.center, request("test/Debt", b"1"), others::maker(), new)
        .await;
    assert_eq!(economy.allowed(asked).await.unwrap().seq().0, 2);
    let mut credits = Vec::new();
    for _ in 0..2 {
        let (ordered, _) = economy.order(Uuid::new_v4(), "D1", "50").await.unwrap();
        let paid = economy.pay(&ordered.id).await;
        credits.push(paid.seq().unwrap());
    }
    world.buy("D1", &[("BOOK", 6)]).await.unwrap();
    let reason = "wrong person".to_owned();
    let asked = house
        .refunds
        .request_reversal(
            &world.center,
            request("test/Reverse", b"3"),
            others::maker(),
            credits[0],
            reason,
        )
        .await;
    assert_eq!(economy.allowed(asked).await.unwrap().seq().0, 6);
    let changes = [
        (
            "update debt_repaid set repaid = repaid + 1 where seq = 2",
            "debt_repaid 2: stored as",
        ),
        ("delete from debt_repaid", "debt_repaid 2: not stored"),
        ("insert into debt_repaid values (1, 99, 0)", "debt_repaid 99: stored as"),
        ("update debt set amount = 31 where seq = 2", "debt 2: stored as"),
        ("update debt set kind = 'DAMAGE' where seq = 2", "debt 2: stored as"),
        (
            "update debt set is_consented = false where seq = 2",
            "debt 2: stored as",
        ),
        (
            "update debt set document = 'A-2' where kind = 'CLAIM'",
            "debt 6: stored as",
        ),
        ("delete from debt where kind = 'CLAIM'", "debt 6: not stored"),
        ("delete from credit_reversal", "credit_reversal 3: not stored"),
        (
            "update credit_reversal set credit_seq = 4",
            "credit_reversal 4: stored as",
        ),
        ("delete from suspended_payment", "suspended_payment 6: not stored"),
    ];
    each_is_named(world, &changes).await;
}
