//! Policies, court orders and debts from the wire and to it.

use crate::{
    api::{
        grpc::{
            approval::approval_name,
            convert::{amount_in, detainee_name, money, positive_amount_in, timestamp, transaction_name},
            name::{self, CourtOrderName, DebtName, DistributionPolicyName, format_date},
        },
        status::invalid_field,
    },
    distribution::{
        self, CourtOrderEvent, CourtOrderHistory, CourtOrderState, DebtKind, NewDebt, NewPolicy, Policy, Rule,
        parse_percent,
    },
    ids::DetaineeId,
    ledger::{Center, Refusal},
    money::Currency,
    proto::{self, CourtOrder, Debt, DistributionPolicy, court_order, debt},
};

/// The most characters of a document's number.
const DOCUMENT_LEN_MAX: usize = 100;

pub(super) fn policy_out(policy: &Policy, newest: i64, center: &Center) -> DistributionPolicy {
    let center = center.id.as_str();
    let (at, by) = policy.changed.clone().unzip();
    DistributionPolicy {
        name: DistributionPolicyName { center }.to_string(),
        savings_percent: policy.savings_percent.normalize().to_string(),
        savings_cap: policy.savings_cap.and_then(money),
        version: policy.version,
        etag: newest.to_string(),
        update_time: at.and_then(timestamp),
        debt_percent: policy.debt_percent.normalize().to_string(),
        debt_threshold: money(policy.debt_threshold),
        rule_order: policy.order.iter().map(|rule| rule.name().to_owned()).collect(),
        effective_date: policy.effective_from.map(format_date).unwrap_or_default(),
        updater: by.unwrap_or_default(),
    }
}

/// Reads a version of a policy, and the etag it is to replace.
pub(super) fn policy_in(told: &DistributionPolicy, currency: Currency) -> Result<(NewPolicy, Option<i64>), Refusal> {
    let percent = |text: &str, field: &str| {
        let message = "must be a plain number from 0 to 100 with at most 4 decimals";
        parse_percent(text).ok_or_else(|| invalid_field(field, message))
    };
    let amount = |money: &Option<proto::Money>, field: &str| {
        let told = money.as_ref().map(|money| amount_in(Some(money), currency, field));
        told.transpose()
    };
    let debt_percent = match told.debt_percent.as_str() {
        "" => None,
        text => Some(percent(text, "distribution_policy.debt_percent")?),
    };
    let order = match told.rule_order.as_slice() {
        [] => None,
        names => Some(Rule::parse_order(names).ok_or_else(|| {
            let message = "must have court_order, debt and savings, each once";
            invalid_field("distribution_policy.rule_order", message)
        })?),
    };
    let effective_from = match told.effective_date.as_str() {
        "" => None,
        text => Some(name::date(text, "distribution_policy.effective_date")?),
    };
    let version = match told.etag.as_str() {
        "" => None,
        etag => Some(
            etag.parse()
                .map_err(|_| invalid_field("distribution_policy.etag", "is not one of ours"))?,
        ),
    };
    let new = NewPolicy {
        savings_percent: percent(&told.savings_percent, "distribution_policy.savings_percent")?,
        savings_cap: amount(&told.savings_cap, "distribution_policy.savings_cap")?,
        debt_percent,
        debt_threshold: amount(&told.debt_threshold, "distribution_policy.debt_threshold")?,
        order,
        effective_from,
    };
    Ok((new, version))
}

fn state_out(state: CourtOrderState) -> court_order::State {
    match state {
        CourtOrderState::Active => court_order::State::Active,
        CourtOrderState::Suspended => court_order::State::Suspended,
        CourtOrderState::Ended => court_order::State::Ended,
    }
}

pub(super) fn court_order_out(history: &CourtOrderHistory, center: &Center, detainee: &DetaineeId) -> CourtOrder {
    let order = &history.order;
    let event = |event: &CourtOrderEvent| proto::CourtOrderEvent {
        state: state_out(event.state).into(),
        document: event.document.clone(),
        create_time: timestamp(event.at),
        creator: event.by.clone(),
    };
    CourtOrder {
        name: CourtOrderName {
            center: center.id.as_str(),
            detainee: detainee.as_str(),
            court_order: order.id.as_str(),
        }
        .to_string(),
        document: order.document.clone(),
        total: money(order.total),
        collected: money(order.collected),
        still_owed: order.owed().ok().and_then(money),
        create_time: timestamp(order.created_at),
        rank: order.rank,
        state: state_out(order.state).into(),
        events: history.events.iter().map(event).collect(),
    }
}

/// Reads the rank of a new court order; 0 is none.
pub(super) fn rank_in(rank: i32) -> Result<Option<i32>, Refusal> {
    match rank {
        0 => Ok(None),
        1.. => Ok(Some(rank)),
        _ => Err(invalid_field("court_order.rank", "ranks are numbered from 1")),
    }
}

/// Reads a document's number.
pub(in crate::api::grpc) fn document_in(text: &str, field: &str) -> Result<String, Refusal> {
    match text.chars().count() {
        1..=DOCUMENT_LEN_MAX if text.trim() == text && !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(invalid_field(
            field,
            format!(
                "must have 1 to {DOCUMENT_LEN_MAX} characters, none of them control characters, and no space around them"
            ),
        )),
    }
}

/// Reads a debt that is to be recorded.
pub(super) fn debt_in(told: &Debt, detainee: DetaineeId, currency: Currency) -> Result<NewDebt, Refusal> {
    let is_advance = match debt::Kind::try_from(told.kind) {
        Ok(debt::Kind::Advance) => true,
        Ok(debt::Kind::Damage) => false,
        _ => return Err(invalid_field("debt.kind", "must be KIND_ADVANCE or KIND_DAMAGE")),
    };
    Ok(NewDebt {
        detainee,
        is_advance,
        document: document_in(&told.document, "debt.document")?,
        amount: positive_amount_in(told.amount.as_ref(), currency, "debt.amount")?,
        is_consented: told.consented,
    })
}

pub(super) fn debt_out(debt: &distribution::Debt, center: &Center) -> Debt {
    let kind = match debt.kind {
        DebtKind::Advance => debt::Kind::Advance,
        DebtKind::Damage => debt::Kind::Damage,
        DebtKind::Claim => debt::Kind::Claim,
    };
    Debt {
        name: debt_name(center, debt.seq.0),
        detainee: detainee_name(center, debt.detainee.as_str()),
        kind: kind.into(),
        document: debt.document.clone(),
        amount: money(debt.amount),
        consented: debt.is_consented,
        repaid: money(debt.repaid),
        still_owed: debt.owed().ok().and_then(money),
        create_time: timestamp(debt.recorded_at),
        transaction: transaction_name(center, debt.seq.0),
        written_off: money(debt.written_off),
        approval: debt.approval.map_or_else(String::new, |no| approval_name(center, no)),
    }
}

/// `centers/{center}/debts/{seq}`.
pub(in crate::api::grpc) fn debt_name(center: &Center, seq: i64) -> String {
    let center = center.id.as_str();
    DebtName { center, seq }.to_string()
}
