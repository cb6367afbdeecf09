//! How a credit is split, pure: claims first, then court orders, debts and savings in the center's order, and the rest can be
//! spent.
//!
//! # Rules
//! - Claims and court orders take all they can. Of one rank, they share by what is still owed.
//! - Debts together take at most a percentage of the gross credit, and only what would be available above the threshold after
//!   the credit if there were no debts. So no debt brings anybody below the threshold, and whose balance stays below it pays
//!   none. They share by what is still owed. From who is not convicted, only debts that they consent to are taken.
//! - Savings take their percentage of the gross credit until they are full.
//! - Percentages are rounded down; the remainder gets what rounding leaves.

use super::entity::{
    CLAIM, COURT_ORDER, CourtOrder, CourtOrderState, DEBT, Debt, DebtKind, Policy, REMAINDER, Rule, SAVINGS,
};
use crate::{
    ledger::Code,
    money::{AllocationError, Amount, MoneyError, Part, Step, allocate_by, percent_of, waterfall},
    proto::DistributionPart,
};

/// Why a debt gets nothing, or less than its share: more would bring the detainee below the threshold.
pub const UNDER_THRESHOLD: &str = "UNDER_THRESHOLD";
/// Why a debt gets nothing: the detainee is not convicted and does not consent.
pub const NO_CONSENT: &str = "NO_CONSENT";

/// Of whom a credit is split.
#[derive(Debug, Clone, Copy)]
pub struct Holder<'a> {
    /// Court orders, in any order.
    pub orders: &'a [CourtOrder],
    /// Debts and claims, oldest first.
    pub debts: &'a [Debt],
    /// What is available before the credit.
    pub available: Amount,
    /// What is saved before the credit.
    pub savings: Amount,
    /// Whether the person is convicted.
    pub is_convicted: bool,
}

/// Somebody to whom something is owed.
struct Creditor<'a> {
    document: &'a str,
    debt: i64,
    rank: i32,
    owed: Amount,
}

/// Who takes one step's part.
enum Taker<'a> {
    Claims(Vec<Creditor<'a>>),
    Courts(Vec<Creditor<'a>>),
    Debts(Debts<'a>),
    Savings,
    Remainder,
}

/// The debts that may be deducted, and those that may not without consent.
struct Debts<'a> {
    due: Vec<Creditor<'a>>,
    unconsented: Vec<Creditor<'a>>,
}

/// What bounds all debts together.
struct Bounds {
    /// The percentage of the credit.
    cap: Amount,
    /// What would be available above the threshold if no debt took anything.
    above_threshold: Amount,
}

/// Splits a gross credit. The parts add up to `gross`, in the order the rules were applied, and each tells its rule, base,
/// rate, cap and what is still owed after it. What is paid up, suspended or ended has no part; a part may be zero, which then
/// says why.
pub fn distribute(
    gross: Amount,
    policy: &Policy,
    holder: &Holder<'_>,
) -> Result<Vec<DistributionPart>, AllocationError> {
    let takers = takers(policy, holder)?;
    let nothing = Amount::zero(gross.currency());
    let mut bounds = Bounds {
        cap: percent_of(gross, policy.debt_percent)?,
        above_threshold: nothing,
    };
    if takers.iter().any(|taker| matches!(taker, Taker::Debts(_))) {
        let without_debts = waterfall(gross, &steps(&takers, policy, holder, &bounds)?)?;
        let remainder = without_debts.last().map_or(nothing, |part| part.amount);
        bounds.above_threshold = room(holder.available.checked_add(remainder)?, policy.debt_threshold)?;
    }
    let parts = waterfall(gross, &steps(&takers, policy, holder, &bounds)?)?;
    let mut explained = Vec::with_capacity(parts.len());
    for (taker, part) in takers.iter().zip(&parts) {
        explain(taker, part, gross, policy, &bounds, &mut explained)?;
    }
    Ok(explained)
}

/// How much `from` is above `to`; nothing if it is not.
fn room(from: Amount, to: Amount) -> Result<Amount, MoneyError> {
    let room = from.checked_sub(to)?;
    Ok(if room.is_negative() {
        Amount::zero(from.currency())
    } else {
        room
    })
}

/// Who takes, in order.
fn takers<'a>(policy: &Policy, holder: &Holder<'a>) -> Result<Vec<Taker<'a>>, MoneyError> {
    let mut takers = Vec::new();
    let (mut claims, mut due, mut unconsented) = (Vec::new(), Vec::new(), Vec::new());
    for debt in holder.debts {
        let creditor = Creditor {
            document: &debt.document,
            debt: debt.seq.0,
            rank: 0,
            owed: debt.owed()?,
        };
        if !creditor.owed.is_positive() {
            continue;
        }
        match debt.kind {
            DebtKind::Claim => claims.push(creditor),
            _ if holder.is_convicted || debt.is_consented => due.push(creditor),
            _ => unconsented.push(creditor),
        }
    }
    if !claims.is_empty() {
        takers.push(Taker::Claims(claims));
    }
    let mut debts = Some(Debts { due, unconsented }).filter(|debts| debts.due.len() + debts.unconsented.len() > 0);
    for rule in policy.order {
        match rule {
            Rule::CourtOrder => takers.extend(courts(holder.orders)?),
            Rule::Debt => takers.extend(debts.take().map(Taker::Debts)),
            Rule::Savings if policy.savings_percent.is_zero() => {}
            Rule::Savings => takers.push(Taker::Savings),
        }
    }
    takers.push(Taker::Remainder);
    Ok(takers)
}

/// The courts that collect, rank by rank, in each the one recorded first first.
fn courts(orders: &[CourtOrder]) -> Result<Vec<Taker<'_>>, MoneyError> {
    let mut active: Vec<&CourtOrder> = orders
        .iter()
        .filter(|order| order.state == CourtOrderState::Active)
        .collect();
    active.sort_by_key(|order| (order.rank, order.position));
    let mut takers = Vec::new();
    for rank in active.chunk_by(|left, right| left.rank == right.rank) {
        let mut creditors = Vec::with_capacity(rank.len());
        for order in rank {
            let owed = order.owed()?;
            if owed.is_positive() {
                creditors.push(Creditor {
                    document: &order.document,
                    debt: 0,
                    rank: order.rank,
                    owed,
                });
            }
        }
        if !creditors.is_empty() {
            takers.push(Taker::Courts(creditors));
        }
    }
    Ok(takers)
}

fn owed(creditors: &[Creditor<'_>], nothing: Amount) -> Result<Amount, MoneyError> {
    Amount::sum(creditors.iter().map(|creditor| creditor.owed), nothing.currency())
}

fn steps(takers: &[Taker<'_>], policy: &Policy, holder: &Holder<'_>, bounds: &Bounds) -> Result<Vec<Step>, MoneyError> {
    let step = |taker: &Taker<'_>| {
        Ok(match taker {
            Taker::Claims(creditors) | Taker::Courts(creditors) => Step::Fixed(owed(creditors, bounds.cap)?),
            Taker::Debts(debts) => {
                let most = bounds.cap.min(bounds.above_threshold)?;
                Step::Fixed(owed(&debts.due, bounds.cap)?.min(most)?)
            }
            Taker::Savings => Step::Percent {
                rate: policy.savings_percent,
                cap: policy.savings_cap.map(|cap| room(cap, holder.savings)).transpose()?,
            },
            Taker::Remainder => Step::Remainder,
        })
    };
    takers.iter().map(step).collect()
}

fn explain(
    taker: &Taker<'_>,
    part: &Part,
    gross: Amount,
    policy: &Policy,
    bounds: &Bounds,
    explained: &mut Vec<DistributionPart>,
) -> Result<(), AllocationError> {
    let part_of = |rule: &str, base: Amount, code: Code| DistributionPart {
        rule: rule.to_owned(),
        base: base.to_string(),
        amount: part.amount.to_string(),
        account_code: code.number().into(),
        ..DistributionPart::default()
    };
    match taker {
        Taker::Claims(creditors) => share(part.amount, creditors, explained, |creditor| {
            part_of(CLAIM, creditor.owed, Code::Advances)
        })?,
        Taker::Courts(creditors) => share(part.amount, creditors, explained, |creditor| {
            part_of(COURT_ORDER, creditor.owed, Code::CourtPayable)
        })?,
        Taker::Debts(debts) => {
            let bounded = |reason: &str| DistributionPart {
                rate_percent: policy.debt_percent.normalize().to_string(),
                cap: bounds.cap.to_string(),
                threshold: policy.debt_threshold.to_string(),
                reason: reason.to_owned(),
                ..part_of(DEBT, gross, Code::Advances)
            };
            let wanted = owed(&debts.due, gross)?.min(bounds.cap)?;
            let is_short = wanted.exceeds(bounds.above_threshold)?;
            let reason = if is_short { UNDER_THRESHOLD } else { "" };
            share(part.amount, &debts.due, explained, |_| bounded(reason))?;
            let nothing = Amount::zero(gross.currency());
            share(nothing, &debts.unconsented, explained, |_| bounded(NO_CONSENT))?;
        }
        Taker::Savings => explained.push(DistributionPart {
            rate_percent: policy.savings_percent.normalize().to_string(),
            cap: policy.savings_cap.map(|cap| cap.to_string()).unwrap_or_default(),
            ..part_of(SAVINGS, gross, Code::Savings)
        }),
        Taker::Remainder => explained.push(part_of(REMAINDER, part.wanted, Code::Available)),
    }
    Ok(())
}

/// Shares a step's part among its creditors by what is owed to each.
fn share(
    amount: Amount,
    creditors: &[Creditor<'_>],
    explained: &mut Vec<DistributionPart>,
    part_of: impl Fn(&Creditor<'_>) -> DistributionPart,
) -> Result<(), AllocationError> {
    if creditors.is_empty() {
        return Ok(());
    }
    let owed: Vec<Amount> = creditors.iter().map(|creditor| creditor.owed).collect();
    for (creditor, share) in creditors.iter().zip(allocate_by(amount, &owed)?) {
        explained.push(DistributionPart {
            document: creditor.document.to_owned(),
            debt: creditor.debt,
            rank: creditor.rank,
            amount: share.to_string(),
            still_owed: creditor.owed.checked_sub(share)?.to_string(),
            ..part_of(creditor)
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests;
