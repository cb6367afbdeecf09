//! What an answer of the bank changes, pure.

use std::collections::HashMap;

use super::SentPayment;
use crate::{bank::PaymentStatus, ids::Seq, proto::PaymentFacts, settlement::End};

/// What a payment of a file pays, by the transaction that set its money aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Paying {
    /// A vendor's settlement.
    Settlement(Seq),
    /// A refund to a payer.
    Refund(Seq),
}

impl Paying {
    /// What a record says of it.
    pub(super) fn of(facts: &PaymentFacts) -> Paying {
        match facts.refund {
            0 => Paying::Settlement(Seq(facts.settlement)),
            refund => Paying::Refund(Seq(refund)),
        }
    }

    /// What work is about, relative to the center.
    pub(super) fn subject(self) -> String {
        match self {
            Paying::Settlement(seq) => format!("settlements/{seq}"),
            Paying::Refund(seq) => format!("refunds/{seq}"),
        }
    }
}

/// What the bank says of one payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Told {
    /// Which.
    pub payment: SentPayment,
    /// What.
    pub status: PaymentStatus,
    /// The bank's own number.
    pub reference: String,
    /// Why.
    pub reason: String,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing: it is under way, or known.
    Nothing,
    /// It ends.
    Ends(End),
    /// It had ended the other way.
    Contradicts(End),
}

/// What follows from each of them, in order: what one says is known to the next.
pub(super) fn effects(told: &[Told]) -> Vec<Effect> {
    let mut known: HashMap<Paying, End> = HashMap::new();
    let mut effects = Vec::with_capacity(told.len());
    for one in told {
        let before = known.get(&one.payment.paying).copied().or(one.payment.end);
        let now = match one.status {
            PaymentStatus::Pending => None,
            PaymentStatus::Paid => Some(End::Paid),
            PaymentStatus::Rejected => Some(End::Failed),
        };
        effects.push(match (before, now) {
            (_, None) => Effect::Nothing,
            (None, Some(end)) => {
                known.insert(one.payment.paying, end);
                Effect::Ends(end)
            }
            (Some(before), Some(end)) if before == end => Effect::Nothing,
            (Some(before), Some(_)) => Effect::Contradicts(before),
        });
    }
    effects
}

/// By what the bank's answers name a payment. At most 31 characters.
pub(super) fn end_to_end_id(center_no: i32, paying: Paying) -> String {
    match paying {
        Paying::Settlement(seq) => format!("{center_no}-S{seq}"),
        Paying::Refund(seq) => format!("{center_no}-R{seq}"),
    }
}

/// By what the bank's answers name a file. At most 31 characters.
pub(super) fn message_id(center_no: i32, number: i64) -> String {
    format!("{center_no}-F{number}")
}

/// The number of a file of a center, from its message id.
pub(super) fn number_in(center_no: i32, message_id: &str) -> Option<i64> {
    let number: i64 = message_id.strip_prefix(&format!("{center_no}-F"))?.parse().ok()?;
    (self::message_id(center_no, number) == message_id).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::money::{Amount, Currency};

    fn told(settlement: i64, end: Option<End>, status: PaymentStatus) -> Told {
        Told {
            payment: SentPayment {
                paying: Paying::Settlement(Seq(settlement)),
                file: 1,
                payee: "vendors/V1".into(),
                amount: Amount::parse("1.00", Currency::parse("CNY").unwrap()).unwrap(),
                end_to_end_id: end_to_end_id(1, Paying::Settlement(Seq(settlement))),
                account_version: 1,
                end,
            },
            status,
            reference: String::new(),
            reason: String::new(),
        }
    }

    #[test]
    fn what_is_known_changes_nothing_and_the_opposite_neither() {
        use Effect::{Contradicts, Ends, Nothing};
        use PaymentStatus::{Paid, Pending, Rejected};
        let said = [
            told(1, None, Pending),
            told(1, None, Paid),
            told(1, None, Paid),
            told(1, None, Rejected),
            told(2, None, Rejected),
            told(3, Some(End::Failed), Rejected),
            told(4, Some(End::Failed), Paid),
            told(5, Some(End::Paid), Pending),
        ];
        let expected = [
            Nothing,
            Ends(End::Paid),
            Nothing,
            Contradicts(End::Paid),
            Ends(End::Failed),
            Nothing,
            Contradicts(End::Failed),
            Nothing,
        ];
        assert_eq!(effects(&said), expected);
    }

    #[test]
    fn files_have_one_name_each() {
        assert_eq!(number_in(12, &message_id(12, 345)), Some(345));
        for other in ["1-F1", "12-F01", "12-F+1", "12-S1", "12-F", "F1", ""] {
            assert_eq!(number_in(12, other), None, "{other}");
        }
        for paying in [Paying::Settlement(Seq(i64::MAX)), Paying::Refund(Seq(i64::MAX))] {
            assert!(end_to_end_id(i32::MIN, paying).len() <= crate::bank::ID_CHARS_MAX);
        }
    }
}
