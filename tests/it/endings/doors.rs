//! What the doors of these calls refuse: names, request ids, bodies.

use custody_ledger::proto::{
    AddHeirRequest, BankAccount, ChangeCustodyRequest, ConfirmPayoutPartRequest, CreatePayoutRequest, Custody,
    DeclareRelationRequest, ExportStatementRequest, FailPayoutPartRequest, Heir, PayoutPart, ProposeMergeRequest,
    ProposeTreasuryRequest, ProposeUnclaimedRequest, ProposeWriteOffRequest, RevealPayeeRequest, StaffRelation, payout,
};
use prost::Message as _;
use tonic::Code;
use uuid::Uuid;

use crate::{
    bad_requests::RequestRow,
    whole_service::{Hall, money},
};

/// The rows of these calls; see `bad_names`.
pub const SHEET: &str = "
EndingService/ChangeCustody       name=!centers/C1/detainees/D1 custody=2 document=Z-1 reason=ill request_id=$id
EndingService/GetStay             name=!centers/C1/detainees/D1
EndingService/ReadmitDetainee     former=!centers/C1/detainees/D1 detainee_id=D9 detainee.display_name=A detainee.tier=1 document=Z-1
EndingService/AddHeir             parent=!centers/C1/detainees/D1 heir_id=H1 heir.display_name=A heir.identity_number=E1 heir.relationship=child heir.document=Z-1
EndingService/CreatePayout        parent=!centers/C1/detainees/D1 purpose=1 parts.amount.currency_code=CNY parts.amount.amount=1 parts.account.holder=A parts.account.number=62220210 parts.account.bank_code=1 document=Z-1 reason=left request_id=$id
EndingService/GetPayout           name=!centers/C1/payouts/1
EndingService/ListPayouts         parent=^centers/C1 detainee=?centers/C1/detainees/D1
EndingService/RevealPayee         name=!centers/C1/payouts/1 part=1
EndingService/ConfirmPayoutPart   name=!centers/C1/payouts/1 part=1 bank_reference=B1 request_id=$id
EndingService/FailPayoutPart      name=!centers/C1/payouts/1 part=1 reason=closed request_id=$id
EndingService/ProposeUnclaimed    name=!centers/C1/detainees/D1 document=Z-1 reason=left request_id=$id
EndingService/ListUnclaimedSums   parent=^centers/C1 detainee=?centers/C1/detainees/D1
EndingService/ProposeTreasury     detainee=!centers/C1/detainees/D1 receipt=S-1 reason=late request_id=$id
EndingService/ProposeWriteOff     name=!centers/C1/debts/1 amount.currency_code=CNY amount.amount=1 document=Z-1 reason=gone request_id=$id
EndingService/ProposeMerge        name=!centers/C1/detainees/D1 into=@centers/C1/detainees/D2 document=Z-1 reason=twice request_id=$id
EndingService/DeclareRelation     parent=^centers/C1 relation.detainee=@centers/C1/detainees/D1 relation.person=bob relation.relationship=brother relation.document=Z-1
EndingService/ListRelations       parent=^centers/C1
EndingService/ExportStatement     name=!centers/C1/detainees/D1 format=1
EndingService/GetStatementKey     name=^centers/C1
";

fn change(request_id: &str, reason: &str) -> Vec<u8> {
    ChangeCustodyRequest {
        name: "centers/C1/detainees/D3".into(),
        custody: Custody::Escaped.into(),
        document: "Z-1".into(),
        reason: reason.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

pub fn part(amount: &str, number: &str) -> PayoutPart {
    PayoutPart {
        amount: money(amount),
        account: Some(BankAccount {
            holder: "Zhang San".into(),
            number: number.into(),
            bank_code: "102100099996".into(),
            bank_name: "ICBC".into(),
        }),
        ..PayoutPart::default()
    }
}

fn payout(request_id: &str, document: &str) -> Vec<u8> {
    CreatePayoutRequest {
        parent: "centers/C1/detainees/D1".into(),
        purpose: payout::Purpose::Release.into(),
        parts: vec![part("1.00", "6222020200011234567")],
        document: document.into(),
        reason: "left".into(),
        request_id: request_id.into(),
        ..CreatePayoutRequest::default()
    }
    .encode_to_vec()
}

fn confirm(request_id: &str, bank_reference: &str) -> Vec<u8> {
    ConfirmPayoutPartRequest {
        name: "centers/C1/payouts/9".into(),
        part: 1,
        bank_reference: bank_reference.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn fail(request_id: &str, reason: &str) -> Vec<u8> {
    FailPayoutPartRequest {
        name: "centers/C1/payouts/9".into(),
        part: 1,
        reason: reason.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn unclaimed(request_id: &str, reason: &str) -> Vec<u8> {
    ProposeUnclaimedRequest {
        name: "centers/C1/detainees/D1".into(),
        document: "Z-1".into(),
        reason: reason.into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

fn treasury(request_id: &str, receipt: &str) -> Vec<u8> {
    ProposeTreasuryRequest {
        detainee: "centers/C1/detainees/D1".into(),
        unclaimed_sum: String::new(),
        receipt: receipt.into(),
        reason: "late".into(),
        request_id: request_id.into(),
    }
    .encode_to_vec()
}

pub fn write_off(request_id: &str, debt: &str, amount: &str, document: &str) -> ProposeWriteOffRequest {
    ProposeWriteOffRequest {
        name: debt.into(),
        amount: money(amount),
        document: document.into(),
        reason: "gone".into(),
        request_id: request_id.into(),
    }
}

pub fn merge(request_id: &str, from: &str, into: &str, reason: &str) -> ProposeMergeRequest {
    ProposeMergeRequest {
        name: format!("centers/C1/detainees/{from}"),
        into: format!("centers/C1/detainees/{into}"),
        document: "Z-1".into(),
        reason: reason.into(),
        request_id: request_id.into(),
    }
}

/// What `bad_requests` asks of the calls that move money.
pub const REQUESTS: [RequestRow; 8] = [
    RequestRow {
        method: "EndingService/ChangeCustody",
        make: |id| change(id, "over the wall"),
        other: |id| change(id, "under the wall"),
        fields: "reason",
    },
    RequestRow {
        method: "EndingService/CreatePayout",
        make: |id| payout(id, "Z-1"),
        other: |id| payout(id, "Z-2"),
        fields: "document",
    },
    RequestRow {
        method: "EndingService/ConfirmPayoutPart",
        make: |id| confirm(id, "B1"),
        other: |id| confirm(id, "B2"),
        fields: "bank_reference",
    },
    RequestRow {
        method: "EndingService/FailPayoutPart",
        make: |id| fail(id, "closed"),
        other: |id| fail(id, "unknown"),
        fields: "reason",
    },
    RequestRow {
        method: "EndingService/ProposeUnclaimed",
        make: |id| unclaimed(id, "left"),
        other: |id| unclaimed(id, "gone"),
        fields: "reason",
    },
    RequestRow {
        method: "EndingService/ProposeTreasury",
        make: |id| treasury(id, "S-1"),
        other: |id| treasury(id, "S-2"),
        fields: "receipt",
    },
    RequestRow {
        method: "EndingService/ProposeWriteOff",
        make: |id| write_off(id, "centers/C1/debts/1", "1.00", "Z-1").encode_to_vec(),
        other: |id| write_off(id, "centers/C1/debts/1", "1.00", "Z-2").encode_to_vec(),
        fields: "document",
    },
    RequestRow {
        method: "EndingService/ProposeMerge",
        make: |id| merge(id, "D1", "D2", "twice").encode_to_vec(),
        other: |id| merge(id, "D1", "D2", "two times").encode_to_vec(),
        fields: "reason",
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn what_is_malformed_changes_nothing_and_no_account_number_is_repeated() {
    let hall = Hall::open().await;
    let before = hall.everything().await;
    let id = || Uuid::new_v4().to_string();
    let good = || CreatePayoutRequest::decode(payout(&id(), "Z-1").as_slice()).unwrap();
    let paid = |change: fn(&mut CreatePayoutRequest)| {
        let mut message = good();
        change(&mut message);
        message.encode_to_vec()
    };
    let heir = |change: fn(&mut Heir)| {
        let mut heir = Heir {
            display_name: "A".into(),
            identity_number: "E1".into(),
            relationship: "child".into(),
            document: "Z-1".into(),
            ..Heir::default()
        };
        change(&mut heir);
        let parent = "centers/C1/detainees/D1".into();
        let (heir_id, heir) = ("H1".into(), Some(heir));
        AddHeirRequest { parent, heir_id, heir }.encode_to_vec()
    };
    let relation = |person: &str, document: &str| {
        DeclareRelationRequest {
            parent: "centers/C1".into(),
            relation: Some(StaffRelation {
                detainee: "centers/C1/detainees/D1".into(),
                person: person.into(),
                related: true,
                relationship: "brother".into(),
                document: document.into(),
                ..StaffRelation::default()
            }),
        }
        .encode_to_vec()
    };
    let payout = "EndingService/CreatePayout";
    let cases = [
        (payout, paid(|m| m.parts.clear()), "parts"),
        (payout, paid(|m| m.parts = vec![m.parts[0].clone(); 11]), "parts"),
        (payout, paid(|m| m.purpose = 0), "purpose"),
        (payout, paid(|m| m.document = " ".into()), "document"),
        (payout, paid(|m| m.reason.clear()), "reason"),
        (
            payout,
            paid(|m| m.parts[0].amount = money("0")),
            "parts[0].amount.amount",
        ),
        (
            payout,
            paid(|m| m.parts[0].amount = money("1.001")),
            "parts[0].amount.amount",
        ),
        (payout, paid(|m| m.parts[0].account = None), "parts[0].account"),
        (
            payout,
            paid(|m| m.parts[0].account.as_mut().unwrap().number = "62-22".into()),
            "parts[0].account.number",
        ),
        (
            payout,
            paid(|m| m.parts[0].account.as_mut().unwrap().bank_code.clear()),
            "parts[0].account.bank_code",
        ),
        (
            payout,
            paid(|m| m.parts[0].heir = "centers/C1/detainees/D1/heirs/H1".into()),
            "parts[0].heir",
        ),
        (
            payout,
            paid(|m| m.unclaimed_sum = "centers/C1/unclaimedSums/1".into()),
            "unclaimed_sum",
        ),
        (payout, paid(|m| m.purpose = 3), "unclaimed_sum"),
        (payout, paid(|m| m.purpose = 2), "parts[0].heir"),
        (
            "EndingService/AddHeir",
            heir(|heir| heir.display_name.clear()),
            "heir.display_name",
        ),
        (
            "EndingService/AddHeir",
            heir(|heir| heir.identity_number.clear()),
            "heir.identity_number",
        ),
        (
            "EndingService/AddHeir",
            heir(|heir| heir.document.clear()),
            "heir.document",
        ),
        (
            "EndingService/AddHeir",
            heir(|heir| heir.relationship = "11010519491231002X".into()),
            "heir.relationship",
        ),
        ("EndingService/DeclareRelation", relation("", "Z-1"), "relation.person"),
        (
            "EndingService/DeclareRelation",
            relation("finance/bob", "Z-1"),
            "relation.person",
        ),
        (
            "EndingService/DeclareRelation",
            relation("bob", ""),
            "relation.document",
        ),
        (
            "EndingService/ExportStatement",
            ExportStatementRequest {
                name: "centers/C1/detainees/D1".into(),
                format: 0,
            }
            .encode_to_vec(),
            "format",
        ),
        (
            "EndingService/RevealPayee",
            RevealPayeeRequest {
                name: "centers/C1/payouts/1".into(),
                part: 0,
            }
            .encode_to_vec(),
            "part",
        ),
    ];
    for (method, message, field) in cases {
        let refused = hall.refused(field, method, message).await;
        assert!(
            refused.is(Code::InvalidArgument, "INVALID_FIELD"),
            "{method} {field}: {refused:?}"
        );
        assert_eq!(refused.field.as_deref(), Some(field), "{method}");
    }
    assert_eq!(hall.everything().await, before);
    // What is refused for what there is keeps no number either.
    let refused = hall.refused("too little", payout, paid(|_| {})).await;
    assert!(refused.is(Code::FailedPrecondition, "PARTS_DIFFER"), "{refused:?}");
    let kept = hall.everything().await.join("\n");
    assert!(!kept.contains("6222020200011234567") && !kept.contains(&hex::encode("6222020200011234567")));
}
