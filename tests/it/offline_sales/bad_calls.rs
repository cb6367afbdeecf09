//! Whatever is wrong with a call is refused at the door, by the name of its field, and nothing is changed.

use prost::Message as _;
use tonic_types::StatusExt as _;
use uuid::Uuid;

use super::*;
use crate::{bad_requests::RequestRow, whole_service::call};

const SERVICE: &str = "OfflineSalesService";

fn later(request_id: &str, amount: &str) -> Vec<u8> {
    let message = ReserveAllowanceRequest {
        request_id: request_id.into(),
        amount: money(amount),
        expire_time: Some(prost_types::Timestamp {
            seconds: 2_000_000_000,
            nanos: 0,
        }),
        ..reserve_of("D1", "1.00", 1, Uuid::nil())
    };
    message.encode_to_vec()
}

fn ended(request_id: &str, last_number: i64) -> Vec<u8> {
    let message = EndAllowanceRequest {
        name: "centers/C1/allowances/9".into(),
        last_number,
        request_id: request_id.into(),
    };
    message.encode_to_vec()
}

const SALE: &str = "centers/C1/terminals/T1/offlineSales/9";
const TERMINAL: &str = "centers/C1/terminals/T1";

/// The calls of this service that have request ids.
pub const REQUESTS: [RequestRow; 6] = [
    RequestRow {
        method: "OfflineSalesService/ReserveAllowance",
        make: |id| later(id, "1.00"),
        other: |id| later(id, "2.00"),
        fields: "amount",
    },
    RequestRow {
        method: "OfflineSalesService/EndAllowance",
        make: |id| ended(id, 0),
        other: |id| ended(id, 1),
        fields: "last_number",
    },
    RequestRow {
        method: "OfflineSalesService/ChargeOfflineSale",
        make: |id| dismiss(SALE, "he has it", id),
        other: |id| dismiss(SALE, "she has it", id),
        fields: "reason",
    },
    RequestRow {
        method: "OfflineSalesService/ProposeOfflineSaleWriteOff",
        make: |id| dismiss(SALE, "our fault", id),
        other: |id| dismiss(SALE, "his fault", id),
        fields: "reason",
    },
    RequestRow {
        method: "OfflineSalesService/DismissOfflineSale",
        make: |id| dismiss(SALE, "a mistake", id),
        other: |id| dismiss(SALE, "a joke", id),
        fields: "reason",
    },
    RequestRow {
        method: "OfflineSalesService/SkipOfflineSales",
        make: |id| skip(TERMINAL, 1, "lost", id),
        other: |id| skip(TERMINAL, 2, "lost", id),
        fields: "through_number",
    },
];

/// A method, a message that is wrong, and the field that is.
type Case = (&'static str, Vec<u8>, &'static str);

fn settings(change: fn(&mut OfflineSettings)) -> Vec<u8> {
    let mut settings = OfflineSettings {
        name: "centers/C1/offlineSettings".into(),
        allowance_max: money("50.00"),
        hours_max: 8,
        report_hours: 8,
        ..OfflineSettings::default()
    };
    change(&mut settings);
    let message = UpdateOfflineSettingsRequest {
        settings: Some(settings),
        reason: "why".into(),
    };
    message.encode_to_vec()
}

fn reserve(change: fn(&mut ReserveAllowanceRequest)) -> Vec<u8> {
    let mut message = reserve_of("D1", "10.00", 1, Uuid::new_v4());
    change(&mut message);
    message.encode_to_vec()
}

fn end(change: fn(&mut EndAllowanceRequest)) -> impl Fn(&str) -> Vec<u8> {
    move |name| {
        let mut message = EndAllowanceRequest {
            name: name.into(),
            last_number: 0,
            request_id: Uuid::new_v4().to_string(),
        };
        change(&mut message);
        message.encode_to_vec()
    }
}

fn dismiss(name: &str, reason: &str, request_id: &str) -> Vec<u8> {
    // The three ways of finance have the same fields.
    let message = DismissOfflineSaleRequest {
        name: name.into(),
        reason: reason.into(),
        request_id: request_id.into(),
    };
    message.encode_to_vec()
}

fn skip(terminal: &str, through_number: i64, reason: &str, request_id: &str) -> Vec<u8> {
    let message = SkipOfflineSalesRequest {
        terminal: terminal.into(),
        through_number,
        reason: reason.into(),
        request_id: request_id.into(),
    };
    message.encode_to_vec()
}

fn of_admins() -> Vec<Case> {
    let sale = "centers/C1/terminals/T1/offlineSales/1";
    let id = "0190b7e0-0000-7000-8000-000000000001";
    let mut cases: Vec<Case> = vec![
        (
            "GetOfflineSettings",
            GetOfflineSettingsRequest {
                name: "centers/C1".into(),
            }
            .encode_to_vec(),
            "name",
        ),
        ("UpdateOfflineSettings", Vec::new(), "settings"),
        (
            "UpdateOfflineSettings",
            settings(|bad| bad.name.clear()),
            "settings.name",
        ),
        (
            "UpdateOfflineSettings",
            settings(|bad| bad.allowance_max = None),
            "settings.allowance_max",
        ),
        (
            "UpdateOfflineSettings",
            settings(|bad| bad.allowance_max = money("1.001")),
            "settings.allowance_max.amount",
        ),
        (
            "UpdateOfflineSettings",
            settings(|bad| bad.allowance_max = money("-1")),
            "settings.allowance_max.amount",
        ),
        (
            "UpdateOfflineSettings",
            settings(|bad| bad.hours_max = 0),
            "settings.hours_max",
        ),
        (
            "UpdateOfflineSettings",
            settings(|bad| bad.hours_max = 169),
            "settings.hours_max",
        ),
        (
            "UpdateOfflineSettings",
            settings(|bad| bad.report_hours = -1),
            "settings.report_hours",
        ),
        (
            "UpdateOfflineSettings",
            settings(|bad| bad.report_hours = 70_000),
            "settings.report_hours",
        ),
        (
            "GetAllowance",
            GetAllowanceRequest {
                name: "centers/C1/allowances/0".into(),
            }
            .encode_to_vec(),
            "name",
        ),
        (
            "ListAllowances",
            ListAllowancesRequest::default().encode_to_vec(),
            "parent",
        ),
        (
            "ListAllowances",
            ListAllowancesRequest {
                parent: "centers/C1".into(),
                detainee: "centers/C2/detainees/D1".into(),
                ..ListAllowancesRequest::default()
            }
            .encode_to_vec(),
            "detainee",
        ),
        (
            "ListAllowances",
            ListAllowancesRequest {
                parent: "centers/C1".into(),
                page_token: "x".into(),
                ..ListAllowancesRequest::default()
            }
            .encode_to_vec(),
            "page_token",
        ),
        (
            "GetOfflineChain",
            GetOfflineChainRequest { terminal: "T1".into() }.encode_to_vec(),
            "terminal",
        ),
        (
            "GetOfflineSale",
            GetOfflineSaleRequest {
                name: "centers/C1/terminals/T1/offlineSales/01".into(),
            }
            .encode_to_vec(),
            "name",
        ),
        (
            "GetOfflineSale",
            GetOfflineSaleRequest {
                name: "centers/C1/terminals/T1/offlineSales/x".into(),
            }
            .encode_to_vec(),
            "name",
        ),
        (
            "ListOfflineSales",
            ListOfflineSalesRequest::default().encode_to_vec(),
            "parent",
        ),
        (
            "ListOfflineSales",
            ListOfflineSalesRequest {
                parent: "centers/C1".into(),
                terminal: "centers/C2/terminals/T1".into(),
                ..ListOfflineSalesRequest::default()
            }
            .encode_to_vec(),
            "terminal",
        ),
        ("SkipOfflineSales", skip("T1", 1, "why", id), "terminal"),
        (
            "SkipOfflineSales",
            skip("centers/C1/terminals/T1", 0, "why", id),
            "through_number",
        ),
        (
            "SkipOfflineSales",
            skip("centers/C1/terminals/T1", 1, " ", id),
            "reason",
        ),
        (
            "SkipOfflineSales",
            skip("centers/C1/terminals/T1", 1, "why", "1"),
            "request_id",
        ),
    ];
    for way in ["ChargeOfflineSale", "ProposeOfflineSaleWriteOff", "DismissOfflineSale"] {
        cases.push((way, dismiss("centers/C1/terminals/T1", "why", id), "name"));
        cases.push((way, dismiss(sale, "", id), "reason"));
        cases.push((way, dismiss(sale, "11010519491231002X", id), "reason"));
        cases.push((way, dismiss(sale, "why", ""), "request_id"));
    }
    cases
}

fn of_terminals(allowance: &str) -> Vec<Case> {
    let bad_time = |bad: &mut ReserveAllowanceRequest| {
        bad.expire_time = Some(prost_types::Timestamp {
            seconds: i64::MAX,
            nanos: 0,
        });
    };
    vec![
        ("ReserveAllowance", reserve(|bad| bad.parent.clear()), "parent"),
        (
            "ReserveAllowance",
            reserve(|bad| bad.detainee = "D1".into()),
            "detainee",
        ),
        (
            "ReserveAllowance",
            reserve(|bad| bad.detainee = "centers/C2/detainees/D1".into()),
            "detainee",
        ),
        ("ReserveAllowance", reserve(|bad| bad.amount = None), "amount"),
        (
            "ReserveAllowance",
            reserve(|bad| bad.amount = money("0.00")),
            "amount.amount",
        ),
        ("ReserveAllowance", reserve(|bad| bad.expire_time = None), "expire_time"),
        ("ReserveAllowance", reserve(bad_time), "expire_time"),
        ("ReserveAllowance", reserve(|bad| bad.request_id.clear()), "request_id"),
        ("EndAllowance", end(|_| {})("x"), "name"),
        (
            "EndAllowance",
            end(|bad| bad.last_number = -1)(allowance),
            "last_number",
        ),
        (
            "EndAllowance",
            end(|bad| bad.request_id = "x".into())(allowance),
            "request_id",
        ),
        (
            "ListOfflineSales",
            ListOfflineSalesRequest {
                parent: "centers/C1".into(),
                ..ListOfflineSalesRequest::default()
            }
            .encode_to_vec(),
            "terminal",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn every_field_is_looked_at() {
    let stall = Stall::open().await;
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "20.00", 8).await.unwrap();
    let sale = till.sell(&allowance, "D1", &[(SOAP, 1)]);
    let (admin, terminal) = (stall.token(Role::Admin, "root"), stall.token(Role::Terminal, "T1"));
    let cases = of_admins().into_iter().map(|case| (&admin, case));
    let cases = cases.chain(of_terminals(&allowance.name).into_iter().map(|case| (&terminal, case)));
    for (token, (method, message, field)) in cases {
        let answer = call(stall.channel.clone(), &format!("{SERVICE}/{method}"), token, message).await;
        let Err(status) = answer else {
            panic!("{method}, {field}: not refused")
        };
        assert_eq!(
            status.code(),
            tonic::Code::InvalidArgument,
            "{method}, {field}: {status:?}"
        );
        let bad = status.get_details_bad_request().unwrap();
        assert_eq!(bad.field_violations[0].field, field, "{method}");
    }
    let bad_sales = [
        ("terminal", message_of("T1", &sale)),
        (
            "statement",
            UploadOfflineSalesRequest {
                statement: Vec::new(),
                ..message_of(&till.name(), &sale)
            },
        ),
        (
            "statement",
            UploadOfflineSalesRequest {
                statement: vec![0; 16 * 1024 + 1],
                ..message_of(&till.name(), &sale)
            },
        ),
        (
            "signature",
            UploadOfflineSalesRequest {
                signature: vec![0; 63],
                ..message_of(&till.name(), &sale)
            },
        ),
    ];
    for (field, message) in bad_sales {
        let asked = with_token(&terminal, tokio_stream::iter([message]));
        let mut answers = stall.client().upload_offline_sales(asked).await.unwrap().into_inner();
        let status = answers.message().await.unwrap_err();
        assert_eq!(
            status.get_details_bad_request().unwrap().field_violations[0].field,
            field
        );
    }
    // What came before is recorded, and said to be.
    let two = [
        message_of(&till.name(), &sale),
        message_of("centers/C1/terminals/T2", &sale),
    ];
    let asked = with_token(&terminal, tokio_stream::iter(two));
    let mut answers = stall.client().upload_offline_sales(asked).await.unwrap().into_inner();
    assert_eq!(
        answers.message().await.unwrap().unwrap().state(),
        OfflineSaleState::Captured
    );
    assert_eq!(refused(answers.message().await), "INVALID_FIELD");
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminal_has_to_do_with_its_own_only() {
    let stall = Stall::open().await;
    let (mut till, other) = (stall.till("T1").await, stall.till("T2").await);
    let allowance = stall.reserve(&till, "D1", "20.00", 8).await.unwrap();
    let sale = till.sell(&allowance, "D1", &[(SOAP, 1)]);
    let token = stall.token(Role::Terminal, "T2");
    let stolen = upload(stall.channel.clone(), &token, &till.name(), &[sale]).await;
    assert_eq!(refused(stolen), "NOT_ALLOWED");
    assert_eq!(refused(stall.end(&other, &allowance, 0).await), "NOT_FOUND");
    let get = GetAllowanceRequest {
        name: allowance.name.clone(),
    };
    assert_eq!(
        refused(stall.client().get_allowance(with_token(&token, get)).await),
        "NOT_ALLOWED"
    );
    let chain = GetOfflineChainRequest { terminal: till.name() };
    assert_eq!(
        refused(stall.client().get_offline_chain(with_token(&token, chain)).await),
        "NOT_ALLOWED"
    );
    let list = ListAllowancesRequest {
        parent: "centers/C1".into(),
        ..ListAllowancesRequest::default()
    };
    let listed = stall
        .client()
        .list_allowances(with_token(&token, list.clone()))
        .await
        .unwrap();
    assert!(listed.into_inner().allowances.is_empty());
    let listed = stall
        .client()
        .list_allowances(with_token(&stall.token(Role::Terminal, "T1"), list))
        .await
        .unwrap();
    assert_eq!(listed.into_inner().allowances.len(), 1);
    for role in [Role::Finance, Role::Auditor, Role::Commissary] {
        let token = stall.token(role, "zoe");
        let asked = with_token(&token, reserve_of("D1", "1.00", 1, Uuid::new_v4()));
        assert_eq!(refused(stall.client().reserve_allowance(asked).await), "NOT_ALLOWED");
    }
}
