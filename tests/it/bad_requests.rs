//! Request ids: needed wherever money moves, and of one body, one caller and one method.

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
    debts::{debt_of, reversal_of},
    endings, goods, life_over_the_wire,
    messages_from_text::Descriptors,
    money_without_order, offline_sales, orders,
    service::purchase_of,
    spending,
    whole_service::{Hall, Refused, money, remittance_of},
};

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
        authorised_by: String::new(),
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

fn propose_settlement(request_id: &str, reason: &str) -> Vec<u8> {
    ProposeSettlementRequest {
        name: "centers/C1/settlements/9".into(),
        reason: reason.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn propose_account(request_id: &str, number: &str) -> Vec<u8> {
    ProposeVendorAccountRequest {
        name: "centers/C1/vendors/V1".into(),
        account: Some(BankAccount {
            holder: "Huafeng".into(),
            number: number.into(),
            bank_code: "102100099996".into(),
            bank_name: String::new(),
        }),
        reason: "contract 7".into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn payment_file(request_id: &str, execution_date: &str) -> Vec<u8> {
    CreatePaymentFileRequest {
        parent: "centers/C1".into(),
        request_id: request_id.into(),
        execution_date: execution_date.into(),
    }
    .encode_to_vec()
}

fn refund(request_id: &str, remittance: &str, amount: &str, reason: &str) -> Vec<u8> {
    CreateRefundRequest {
        by_bank: false,
        consent: Some(custody_ledger::proto::DetaineeConsent::scanned("C-1")),
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

fn redirect(request_id: &str, reason: &str) -> Vec<u8> {
    RedirectRefundRequest {
        name: "centers/C1/refunds/9".into(),
        reason: reason.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn put_back(request_id: &str, reason: &str) -> Vec<u8> {
    PutRefundBackRequest {
        name: "centers/C1/refunds/9".into(),
        reason: reason.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn bank_account(request_id: &str, number: &str) -> Vec<u8> {
    ProposeBankAccountRequest {
        parent: "centers/C1/payers/P1".into(),
        account: Some(BankAccount {
            holder: "Somebody else".into(),
            number: number.into(),
            bank_code: "102100099996".into(),
            bank_name: String::new(),
        }),
        reason: "card".into(),
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
    let elsewhere = money_without_order::REQUESTS
        .into_iter()
        .chain(life_over_the_wire::REQUESTS)
        .chain(goods::REQUESTS)
        .chain(offline_sales::REQUESTS)
        .chain(spending::REQUESTS)
        .chain(orders::REQUESTS)
        .chain(endings::REQUESTS);
    REQUESTS.into_iter().chain(elsewhere)
}

/// Some succeed and some are refused: either is an outcome that stands for ever.
const REQUESTS: [RequestRow; 18] = [
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
        method: "SettlementService/ProposeSettlement",
        make: |id| propose_settlement(id, "reviewed"),
        other: |id| propose_settlement(id, "looked at"),
        fields: "reason",
    },
    RequestRow {
        method: "ContractService/ProposeVendorAccount",
        make: |id| propose_account(id, "62220210"),
        other: |id| propose_account(id, "62220211"),
        fields: "account",
    },
    RequestRow {
        method: "PaymentService/CreatePaymentFile",
        make: |id| payment_file(id, ""),
        other: |id| payment_file(id, "2031-01-01"),
        fields: "execution_date",
    },
    RequestRow {
        method: "RefundService/CreateRefund",
        make: |id| refund(id, "R1", "1", "wrong person"),
        other: |id| refund(id, "R2", "1.00", "wrong"),
        fields: "remittance,amount,reason",
    },
    RequestRow {
        method: "RefundService/RedirectRefund",
        make: |id| redirect(id, "closed"),
        other: |id| redirect(id, "lost"),
        fields: "reason",
    },
    RequestRow {
        method: "RefundService/PutRefundBack",
        make: |id| put_back(id, "closed"),
        other: |id| put_back(id, "lost"),
        fields: "reason",
    },
    RequestRow {
        method: "BeneficiaryService/ProposeBankAccount",
        make: |id| bank_account(id, "6222021001116245702"),
        other: |id| bank_account(id, "6222021001116245703"),
        fields: "account",
    },
    RequestRow {
        method: "RefundService/CreateRelease",
        make: |id| release(id, "D1", "cash desk"),
        other: |id| release(id, "D2", "cash desk"),
        fields: "detainee",
    },
    RequestRow {
        method: "DistributionService/CreateDebt",
        make: |id| debt_of(id, "D1", "5.00").encode_to_vec(),
        other: |id| debt_of(id, "D2", "5.00").encode_to_vec(),
        fields: "parent",
    },
    RequestRow {
        method: "RefundService/ReverseCredit",
        make: |id| reversal_of(id, "centers/C1/transactions/1", "wrong").encode_to_vec(),
        other: |id| reversal_of(id, "centers/C1/transactions/1", "why not").encode_to_vec(),
        fields: "reason",
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
            // Transfers are asked for in two centers, and tried in tests of their own.
            method != "LedgerService/GetRequestOutcome"
                && !method.starts_with("TransferService/")
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
    } else if method.starts_with("SpendingService/") {
        hall.person("dana", Role::Admin)
    } else if method.starts_with("CatalogueService/") || method == "OrderService/ConfirmDelivery" {
        hall.token(Role::Commissary)
    } else {
        hall.token(Role::Finance)
    }
}
