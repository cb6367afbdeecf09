//! What is malformed is refused at the door: amounts, request ids, texts, dates, sizes. Field by field, as a table; each with a
//! code, a reason and the field's name, and nothing changes.

use std::collections::BTreeSet;

use custody_ledger::{
    access::{Role, Scope},
    ids::{CenterId, TerminalId},
    proto::*,
};
use prost::Message as _;
use tonic::Code;
use uuid::Uuid;

use crate::{
    life_over_the_wire,
    messages_from_text::Descriptors,
    money_without_order,
    service::purchase_of,
    whole_service::{Hall, Refused, money, remittance_of},
};

/// A message with an amount, or without.
struct AmountRow {
    method: &'static str,
    field: &'static str,
    may_be_zero: bool,
    may_be_left_out: bool,
    make: fn(Option<Money>) -> Vec<u8>,
}

fn settings(change: impl FnOnce(&mut CenterSettings)) -> Vec<u8> {
    let tier_limits = (1..=4).map(|tier| TierLimit {
        tier,
        amount: money("400"),
    });
    let mut settings = CenterSettings {
        name: "centers/C1/settings".into(),
        purchase_amount_max: money("200"),
        tier_limits: tier_limits.collect(),
        festival_bonus: money("200"),
        festival_months: Vec::new(),
        remittance_amount_max: money("1000"),
        balance_cap: money("5000"),
        quote_ttl: 1800,
        etag: String::new(),
        payment_count_max: 1,
        screening: Some(ScreeningSettings {
            payment_max: 3,
            payment_days: 7,
            payer_max: 3,
            detainee_max: 3,
            party_days: 28,
            review_hours: 72,
        }),
    };
    change(&mut settings);
    UpdateCenterSettingsRequest {
        settings: Some(settings),
    }
    .encode_to_vec()
}

fn center(change: impl FnOnce(&mut CenterSettings)) -> Vec<u8> {
    let mut settings = CenterSettings::default();
    change(&mut settings);
    let center = Center {
        display_name: "Second".into(),
        time_zone: "Asia/Shanghai".into(),
        currency_code: "CNY".into(),
        settings: Some(settings),
        ..Default::default()
    };
    CreateCenterRequest {
        center_id: "C2".into(),
        center: Some(center),
    }
    .encode_to_vec()
}

fn product(name: &str, price: Option<Money>) -> Option<Product> {
    Some(Product {
        name: name.into(),
        vendor: "centers/C1/vendors/V1".into(),
        display_name: "Tea".into(),
        category: ProductCategory::Food.into(),
        price,
        ..Default::default()
    })
}

const AMOUNTS: [AmountRow; 14] = [
    AmountRow {
        method: "RemittanceService/CreateRemittance",
        field: "amount",
        may_be_zero: false,
        may_be_left_out: false,
        make: |amount| {
            CreateRemittanceRequest {
                amount,
                ..remittance_of("P1", "D1", "1", Uuid::new_v4())
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "RefundService/CreateRefund",
        field: "amount",
        may_be_zero: false,
        may_be_left_out: false,
        make: |amount| {
            CreateRefundRequest {
                parent: "centers/C1".into(),
                remittance: "centers/C1/remittances/R0000000000000001".into(),
                amount,
                reason: "wrong person".into(),
                request_id: Uuid::new_v4().to_string(),
                suspense_transaction: String::new(),
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "DistributionService/PreviewDistribution",
        field: "amount",
        may_be_zero: false,
        may_be_left_out: false,
        make: |amount| {
            PreviewDistributionRequest {
                detainee: "centers/C1/detainees/D1".into(),
                amount,
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "DistributionService/CreateCourtOrder",
        field: "court_order.total",
        may_be_zero: false,
        may_be_left_out: false,
        make: |total| {
            CreateCourtOrderRequest {
                parent: "centers/C1/detainees/D1".into(),
                court_order_id: "C9".into(),
                court_order: Some(CourtOrder {
                    document: "2031-9".into(),
                    total,
                    ..Default::default()
                }),
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "DistributionService/UpdateDistributionPolicy",
        field: "distribution_policy.savings_cap",
        may_be_zero: true,
        may_be_left_out: true,
        make: |savings_cap| {
            UpdateDistributionPolicyRequest {
                distribution_policy: Some(DistributionPolicy {
                    name: "centers/C1/distributionPolicy".into(),
                    savings_percent: "10".into(),
                    savings_cap,
                    ..Default::default()
                }),
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "CommissaryService/CreateProduct",
        field: "product.price",
        may_be_zero: false,
        may_be_left_out: false,
        make: |price| {
            CreateProductRequest {
                parent: "centers/C1".into(),
                product_id: "TEA".into(),
                product: product("", price),
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "CommissaryService/UpdateProduct",
        field: "product.price",
        may_be_zero: false,
        may_be_left_out: false,
        make: |price| {
            UpdateProductRequest {
                product: product("centers/C1/products/RICE", price),
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.purchase_amount_max",
        may_be_zero: false,
        may_be_left_out: false,
        make: |amount| settings(|settings| settings.purchase_amount_max = amount),
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.remittance_amount_max",
        may_be_zero: false,
        may_be_left_out: false,
        make: |amount| settings(|settings| settings.remittance_amount_max = amount),
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.balance_cap",
        may_be_zero: false,
        may_be_left_out: false,
        make: |amount| settings(|settings| settings.balance_cap = amount),
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.festival_bonus",
        may_be_zero: true,
        may_be_left_out: false,
        make: |amount| settings(|settings| settings.festival_bonus = amount),
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.tier_limits[0].amount",
        may_be_zero: true,
        may_be_left_out: false,
        make: |amount| settings(|settings| settings.tier_limits[0].amount = amount),
    },
    AmountRow {
        method: "CustodyService/CreateCenter",
        field: "settings.balance_cap",
        may_be_zero: false,
        may_be_left_out: true,
        make: |amount| center(|settings| settings.balance_cap = amount),
    },
    AmountRow {
        method: "CustodyService/CreateCenter",
        field: "settings.tier_limits[0].amount",
        may_be_zero: true,
        may_be_left_out: false,
        make: |amount| center(|settings| settings.tier_limits = vec![TierLimit { tier: 1, amount }]),
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn amounts_that_are_not_money_are_refused_in_every_field() {
    let hall = Hall::open().await;
    let (before, seq) = (hall.everything().await, hall.seq().await);
    for row in AMOUNTS {
        let AmountRow { method, field, .. } = row;
        let mut texts = vec![
            "1.001",
            "-1",
            "-0.01",
            "",
            " 1",
            "1 ",
            "+1",
            "1e3",
            "1,000",
            "0x1",
            "NaN",
            "١",
            "1.",
            ".5",
            "1000000000000",
            "999999999999999999999999999999",
            "1.000000000000000000000000000001",
        ];
        if !row.may_be_zero {
            texts.extend(["0", "0.00"]);
        }
        for text in texts {
            let refused = hall.refused(text, method, (row.make)(money(text))).await;
            let told = (refused.code, refused.reason.as_str(), refused.field.as_deref());
            let at = format!("{method}, {field} {text:?}");
            let path = format!("{field}.amount");
            assert_eq!(
                told,
                (Code::InvalidArgument, "INVALID_FIELD", Some(path.as_str())),
                "{at}"
            );
        }
        for code in ["USD", "", "cny", "CNYY", "人民币"] {
            let foreign = Money {
                currency_code: code.into(),
                amount: "1".into(),
            };
            let refused = hall.refused(code, method, (row.make)(Some(foreign))).await;
            let told = (refused.code, refused.reason.as_str(), refused.field.as_deref());
            let at = format!("{method}, {field} in {code:?}");
            assert_eq!(told, (Code::InvalidArgument, "CURRENCY_MISMATCH", Some(field)), "{at}");
        }
        if !row.may_be_left_out {
            let refused = hall.refused("left out", method, (row.make)(None)).await;
            let told = (refused.code, refused.reason.as_str(), refused.field.as_deref());
            assert_eq!(
                told,
                (Code::InvalidArgument, "INVALID_FIELD", Some(field)),
                "{method}, {field} left out"
            );
        }
        assert_eq!(hall.seq().await, seq, "{method}");
    }
    assert_eq!(hall.everything().await, before);
    hall.verified().await;
}

/// A message that moves money, once as it is and once with other fields under the same request id.
#[derive(Clone, Copy)]
pub struct RequestRow {
    pub method: &'static str,
    pub make: fn(&str) -> Vec<u8>,
    pub other: fn(&str) -> Vec<u8>,
    /// The fields that differ.
    pub fields: &'static str,
}

pub fn remittance(request_id: &str, detainee: &str, amount: &str) -> Vec<u8> {
    CreateRemittanceRequest {
        request_id: request_id.into(),
        ..remittance_of("P1", detainee, amount, Uuid::nil())
    }
    .encode_to_vec()
}

fn came_back(request_id: &str, quantity: i32, reason: &str) -> Vec<u8> {
    CreateReturnRequest {
        parent: "centers/C1".into(),
        purchase: "centers/C1/purchases/2".into(),
        lines: vec![CreateReturnLine { line: 1, quantity }],
        reason: reason.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

pub fn purchase(request_id: &str, quantity: i32) -> Vec<u8> {
    CreatePurchaseRequest {
        request_id: request_id.into(),
        ..purchase_of("C1", "D1", Uuid::nil(), &[("RICE", quantity)])
    }
    .encode_to_vec()
}

fn close(request_id: &str, through_date: &str) -> Vec<u8> {
    CloseSettlementRequest {
        parent: "centers/C1".into(),
        vendor: "centers/C1/vendors/V1".into(),
        through_date: through_date.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn confirm_settlement(request_id: &str, name: &str, bank_reference: &str) -> Vec<u8> {
    ConfirmSettlementRequest {
        name: format!("centers/C1/settlements/{name}"),
        bank_reference: bank_reference.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn fail_settlement(request_id: &str, reason: &str) -> Vec<u8> {
    FailSettlementRequest {
        name: "centers/C1/settlements/9".into(),
        reason: reason.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn refund(request_id: &str, remittance: &str, amount: &str, reason: &str) -> Vec<u8> {
    CreateRefundRequest {
        parent: "centers/C1".into(),
        remittance: format!("centers/C1/remittances/{remittance}"),
        amount: money(amount),
        reason: reason.into(),
        request_id: request_id.into(),
        suspense_transaction: String::new(),
    }
    .encode_to_vec()
}

fn release(request_id: &str, detainee: &str, destination: &str) -> Vec<u8> {
    CreateReleaseRequest {
        parent: "centers/C1".into(),
        detainee: format!("centers/C1/detainees/{detainee}"),
        destination: destination.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn confirm_release(request_id: &str, name: &str, bank_reference: &str) -> Vec<u8> {
    ConfirmReleaseRequest {
        name: format!("centers/C1/releases/{name}"),
        bank_reference: bank_reference.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn fail_release(request_id: &str, reason: &str) -> Vec<u8> {
    FailReleaseRequest {
        name: "centers/C1/releases/9".into(),
        reason: reason.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn requests() -> impl Iterator<Item = RequestRow> {
    let reviews = life_over_the_wire::REQUESTS;
    let rest = money_without_order::REQUESTS.into_iter().chain(reviews);
    REQUESTS.into_iter().chain(rest)
}

/// Some succeed and some are refused: either is an outcome that stands for ever.
const REQUESTS: [RequestRow; 10] = [
    RequestRow {
        method: "RemittanceService/CreateRemittance",
        make: |id| remittance(id, "D1", "10"),
        other: |id| remittance(id, "D2", "11"),
        fields: "detainee,amount",
    },
    RequestRow {
        method: "CommissaryService/CreatePurchase",
        make: |id| purchase(id, 1),
        other: |id| purchase(id, 2),
        fields: "lines",
    },
    RequestRow {
        method: "CommissaryService/CreateReturn",
        make: |id| came_back(id, 1, "torn"),
        other: |id| came_back(id, 1, "spoilt"),
        fields: "reason",
    },
    RequestRow {
        method: "SettlementService/CloseSettlement",
        make: |id| close(id, "2020-01-01"),
        other: |id| close(id, "2020-01-02"),
        fields: "through_date",
    },
    RequestRow {
        method: "SettlementService/ConfirmSettlement",
        make: |id| confirm_settlement(id, "9", "B1"),
        other: |id| confirm_settlement(id, "8", "B2"),
        fields: "name,bank_reference",
    },
    RequestRow {
        method: "SettlementService/FailSettlement",
        make: |id| fail_settlement(id, "closed"),
        other: |id| fail_settlement(id, "unknown"),
        fields: "reason",
    },
    RequestRow {
        method: "RefundService/CreateRefund",
        make: |id| refund(id, "R1", "1", "wrong person"),
        other: |id| refund(id, "R2", "1.00", "wrong"),
        fields: "remittance,amount,reason",
    },
    RequestRow {
        method: "RefundService/CreateRelease",
        make: |id| release(id, "D1", "cash desk"),
        other: |id| release(id, "D2", "cash desk"),
        fields: "detainee",
    },
    RequestRow {
        method: "RefundService/ConfirmRelease",
        make: |id| confirm_release(id, "9", "B1"),
        other: |id| confirm_release(id, "9", "B2"),
        fields: "bank_reference",
    },
    RequestRow {
        method: "RefundService/FailRelease",
        make: |id| fail_release(id, "no such account"),
        other: |id| fail_release(id, "closed"),
        fields: "reason",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn request_ids_are_needed_and_are_those_of_one_body() {
    let hall = Hall::open().await;
    let before = hall.everything().await;
    let descriptors = Descriptors::read();
    let asked: BTreeSet<String> = descriptors
        .methods()
        .into_iter()
        .filter(|(method, message)| {
            method != "LedgerService/GetRequestOutcome"
                && message.field.iter().any(|field| field.name() == "request_id")
        })
        .map(|(method, _)| method)
        .collect();
    assert_eq!(
        asked,
        requests().map(|row| row.method.to_owned()).collect(),
        "every method with a request id"
    );
    for RequestRow { method, make, .. } in requests() {
        for id in [
            "",
            "42",
            "00000000-0000-0000-0000-000000000000",
            "{}",
            "not-a-uuid-at-all-not-a-uuid-at-all",
            // Of version 5, as the service's own are: whoever takes one keeps what it stands for from being done.
            "ca323061-3e3f-5690-a118-6dd4da2643a8",
        ] {
            let refused = hall.refused(id, method, make(id)).await;
            let told = (refused.code, refused.reason.as_str(), refused.field.as_deref());
            assert_eq!(
                told,
                (Code::InvalidArgument, "INVALID_FIELD", Some("request_id")),
                "{method}, {id:?}"
            );
        }
    }
    assert_eq!(hall.everything().await, before);

    for row in requests() {
        let RequestRow { method, fields, .. } = row;
        let (token, id) = (hall.token_for(method), Uuid::new_v4().to_string());
        let first = hall.call(method, &token, (row.make)(&id)).await;
        let (after, seq) = (hall.everything().await, hall.seq().await);
        let again = hall.call(method, &token, (row.make)(&id)).await;
        match (first, again) {
            (Ok(first), Ok(again)) => {
                assert!(!first.replayed && again.replayed, "{method}");
                assert_eq!(first.message, again.message, "{method}");
            }
            (Err(first), Err(again)) => {
                assert!(again.metadata().contains_key("custody-replay"), "{method}: {again:?}");
                assert_eq!(Refused::of(&first, method), Refused::of(&again, method));
                assert_eq!(first.message(), again.message());
            }
            (first, again) => panic!("{method}: {:?}, then {:?}", first.err(), again.err()),
        }
        let other = hall.refused("another body", method, (row.other)(&id)).await;
        assert!(other.is(Code::InvalidArgument, "REQUEST_REUSED"), "{method}: {other:?}");
        assert_eq!(other.fields.as_deref(), Some(fields), "{method}");
        assert_eq!(other.field.as_deref(), Some("request_id"));
        // Whose request it was, and of which method, counts too.
        let stranger = stranger(&hall, method);
        let other = hall
            .refused_as("another caller", method, &stranger, (row.make)(&id))
            .await;
        assert_eq!(other.fields.as_deref(), Some("caller"), "{method}: {other:?}");
        // A remittance moves no money by itself and is not in the journal; its request has an outcome like every other.
        let remit = "RemittanceService/CreateRemittance";
        for (elsewhere, message) in [
            (remit, remittance(&id, "D1", "10")),
            ("SettlementService/CloseSettlement", close(&id, "2020-01-01")),
        ] {
            if method == elsewhere {
                continue;
            }
            let other = hall.refused("another method", elsewhere, message).await;
            assert!(other.is(Code::InvalidArgument, "REQUEST_REUSED"), "{method}: {other:?}");
            assert!(
                other.fields.is_some_and(|fields| fields.starts_with("method")),
                "{method}"
            );
        }
        assert_eq!(hall.seq().await, seq, "{method}");
        assert_eq!(hall.everything().await, after, "{method}");
        let ask = GetRequestOutcomeRequest {
            parent: "centers/C1".into(),
            request_id: id,
        };
        let told: RequestOutcome = hall.ask("LedgerService/GetRequestOutcome", &ask).await.unwrap();
        assert_ne!(told.state(), request_outcome::State::NotRecorded, "{method}");
        assert_eq!(told.method, format!("custody.v1.{method}"));
    }
    hall.verified().await;
}

/// Somebody else who may call the method.
fn stranger(hall: &Hall, method: &str) -> String {
    let terminal = hall.token_for(method) == hall.token(Role::Terminal);
    if terminal {
        let scope = Scope {
            center: Some(CenterId::parse("C1").unwrap()),
            payer: None,
            terminal: Some(TerminalId::parse("T2").unwrap()),
        };
        hall.service.token(Role::Terminal, scope)
    } else {
        hall.token(Role::Finance)
    }
}
