//! Stays, payouts and unclaimed sums as they are told.

use tonic::Status;

use super::super::{
    approval::approval_told,
    contract::account_in,
    convert::{detainee_name, money, money_text, positive_amount_in, timestamp, told, transaction_name},
    custody::detainee_out,
    distribution::document_in,
    name::{self, HeirName, PayoutName, UnclaimedSumName},
};
use crate::{
    api::status::{internal, invalid_field},
    approval::relation::Relation,
    custody::DetaineeState,
    ending::{self as domain, Account, PARTS_MAX, PartEnd, Purpose, SumState},
    ids::{DetaineeId, Seq},
    ledger::Center,
    money::Amount,
    proto::{
        BankAccount, Custody, Heir, Payout, PayoutPart, Refusal, StaffRelation, Stay, UnclaimedSum,
        journal_record::Facts, payout, payout_part, unclaimed_sum,
    },
};

/// The most characters of a person's name.
const NAME_CHARS_MAX: usize = 140;

/// One part as it is asked for, with its account in clear.
pub(super) struct PartIn {
    pub amount: Amount,
    pub account: Account,
    pub heir: String,
}

/// Reads the parts of a payout.
pub(super) fn parts_in(
    parts: &[PayoutPart],
    purpose: Purpose,
    detainee: &DetaineeId,
    center: &Center,
) -> Result<Vec<PartIn>, Refusal> {
    if parts.is_empty() || parts.len() > PARTS_MAX {
        return Err(invalid_field("parts", format!("must be 1 to {PARTS_MAX} parts")));
    }
    (0..)
        .zip(parts)
        .map(|(index, part): (usize, _)| {
            let field = |name: &str| format!("parts[{index}].{name}");
            let account = account_in(part.account.as_ref()).map_err(|refusal| Refusal {
                field: field(&refusal.field),
                ..refusal
            })?;
            Ok(PartIn {
                amount: positive_amount_in(part.amount.as_ref(), center.currency, &field("amount"))?,
                account: Account {
                    holder: account.holder,
                    number: account.number,
                    bank_code: account.bank_code,
                    bank_name: account.bank_name,
                },
                heir: heir_in(&part.heir, purpose, detainee, center, &field("heir"))?,
            })
        })
        .collect()
}

/// Reads whose heir a part goes to: told of payouts to heirs, and of no others.
fn heir_in(
    heir: &str,
    purpose: Purpose,
    detainee: &DetaineeId,
    center: &Center,
    field: &str,
) -> Result<String, Refusal> {
    if purpose != Purpose::Heirs {
        let is_told = !heir.is_empty();
        return if is_told {
            Err(invalid_field(field, "only heirs are told"))
        } else {
            Ok(String::new())
        };
    }
    let heir = HeirName::parse_in(heir, field, center.id.as_str())?;
    if heir.detainee != detainee.as_str() {
        return Err(invalid_field(field, "must be an heir of this detainee"));
    }
    Ok(heir.heir.to_owned())
}

/// The account as a request that is kept tells it.
pub(super) fn kept(account: &Account, secret: &str) -> BankAccount {
    BankAccount {
        holder: format!("sealed {secret}"),
        number: account.masked(),
        bank_code: String::new(),
        bank_name: String::new(),
    }
}

pub(super) fn purpose_in(purpose: payout::Purpose) -> Result<Purpose, Refusal> {
    match purpose {
        payout::Purpose::Release => Ok(Purpose::Release),
        payout::Purpose::Heirs => Ok(Purpose::Heirs),
        payout::Purpose::Claim => Ok(Purpose::Claim),
        payout::Purpose::Unspecified => Err(invalid_field("purpose", "is required")),
    }
}

pub(super) fn custody_in(custody: Custody) -> Result<DetaineeState, Refusal> {
    match custody {
        Custody::Active => Ok(DetaineeState::Active),
        Custody::Deceased => Ok(DetaineeState::Deceased),
        Custody::Escaped => Ok(DetaineeState::Escaped),
        Custody::Unspecified => Err(invalid_field("custody", "is required")),
    }
}

/// Reads an heir.
pub(super) fn heir_told(id: &str, heir: Option<&Heir>) -> Result<domain::NewHeir, Refusal> {
    let heir = heir.ok_or_else(|| invalid_field("heir", "is required"))?;
    let short = |text: &str, field: &str| {
        let text = told(text, field)?;
        if text.chars().count() > NAME_CHARS_MAX {
            return Err(invalid_field(field, format!("at most {NAME_CHARS_MAX} characters")));
        }
        Ok(text)
    };
    Ok(domain::NewHeir {
        id: name::id(id, "heir_id")?.to_owned(),
        person: domain::Named {
            name: short(&heir.display_name, "heir.display_name")?,
            identity_number: short(&heir.identity_number, "heir.identity_number")?,
        },
        relationship: super::super::identity::reason_told(&heir.relationship, "heir.relationship")?,
        document: document_in(&heir.document, "heir.document")?,
    })
}

pub(super) fn heir_out(heir: &domain::Heir, center: &Center, detainee: &DetaineeId) -> Heir {
    let name = HeirName {
        center: center.id.as_str(),
        detainee: detainee.as_str(),
        heir: &heir.id,
    };
    Heir {
        name: name.to_string(),
        display_name: heir.name_masked.clone(),
        identity_number: String::new(),
        relationship: heir.relationship.clone(),
        document: heir.document.clone(),
        create_time: timestamp(heir.recorded_at),
    }
}

fn sum_name(center: &Center, seq: i64) -> String {
    let center = center.id.as_str();
    UnclaimedSumName { center, seq }.to_string()
}

/// A payout as it stood right after a transaction; none for now.
pub(super) fn payout_out(payout: &domain::Payout, center: &Center, as_of: Option<Seq>) -> Result<Payout, Status> {
    let opened = &payout.opened;
    let Some(Facts::Payout(facts)) = &opened.facts else {
        return Err(internal());
    };
    let name = PayoutName {
        center: center.id.as_str(),
        seq: opened.seq,
    };
    let heir = |heir: &str| {
        let (center, detainee) = (center.id.as_str(), facts.detainee.as_str());
        HeirName { center, detainee, heir }.to_string()
    };
    let parts = facts.parts.iter().zip(&payout.ends).map(|(part, end)| {
        let end = end.filter(|(_, seq)| as_of.is_none_or(|as_of| *seq <= as_of));
        let state = match end {
            None => payout_part::State::InTransit,
            Some((PartEnd::Paid, _)) => payout_part::State::Paid,
            Some((PartEnd::Failed, _)) => payout_part::State::Failed,
        };
        PayoutPart {
            amount: money_text(&part.amount, center),
            account: None,
            heir: if part.heir.is_empty() {
                String::new()
            } else {
                heir(&part.heir)
            },
            payee: part.payee.clone(),
            state: state.into(),
            end_transaction: end.map_or_else(String::new, |(_, seq)| transaction_name(center, seq.0)),
        }
    });
    let purpose = match Purpose::from_name(&facts.purpose) {
        Some(Purpose::Release) => payout::Purpose::Release,
        Some(Purpose::Heirs) => payout::Purpose::Heirs,
        Some(Purpose::Claim) => payout::Purpose::Claim,
        None => return Err(internal()),
    };
    Ok(Payout {
        name: name.to_string(),
        detainee: detainee_name(center, &facts.detainee),
        purpose: purpose.into(),
        unclaimed_sum: match facts.unclaimed {
            0 => String::new(),
            seq => sum_name(center, seq),
        },
        amount: money_text(&facts.amount, center),
        parts: parts.collect(),
        document: facts.document.clone(),
        reason: facts.reason.clone(),
        create_time: opened.recorded_at,
        approval: approval_told(center, facts.approval.as_ref()),
        from_treasury: facts.from_treasury,
    })
}

pub(super) fn sum_out(sum: &domain::UnclaimedSum, center: &Center) -> UnclaimedSum {
    let state = match sum.state {
        SumState::Waiting => unclaimed_sum::State::Waiting,
        SumState::Claimed => unclaimed_sum::State::Claimed,
        SumState::Treasury => unclaimed_sum::State::Treasury,
    };
    UnclaimedSum {
        name: sum_name(center, sum.seq.0),
        detainee: detainee_name(center, sum.detainee.as_str()),
        amount: money(sum.amount),
        state: state.into(),
        create_time: timestamp(sum.made_at),
    }
}

pub(super) fn stay_out(stay: &domain::Stay, center: &Center) -> Result<Stay, Status> {
    let named = |id: &Option<String>| id.as_ref().map_or_else(String::new, |id| detainee_name(center, id));
    let payouts = stay.payouts.iter().map(|payout| payout_out(payout, center, None));
    let heirs = stay.heirs.iter().map(|heir| heir_out(heir, center, &stay.detainee.id));
    let (change_time, document) = stay
        .changed
        .clone()
        .map_or_else(Default::default, |(at, document)| (timestamp(at), document));
    Ok(Stay {
        detainee: Some(detainee_out(&stay.detainee, center)),
        former: named(&stay.former),
        later: named(&stay.later),
        merged_into: named(&stay.merged_into),
        heirs: heirs.collect(),
        payouts: payouts.collect::<Result<_, _>>()?,
        unclaimed_sums: stay.sums.iter().map(|sum| sum_out(sum, center)).collect(),
        custody_change_time: change_time,
        document,
    })
}

pub(super) fn relation_out(relation: &Relation, center: &Center) -> StaffRelation {
    StaffRelation {
        detainee: detainee_name(center, &relation.detainee),
        person: relation.person.clone(),
        related: relation.is_related,
        relationship: relation.relationship.clone(),
        document: relation.document.clone(),
        declare_time: timestamp(relation.declared_at),
        declared_by: relation.declared_by.clone(),
    }
}
