//! Transfers and withholdings as they are stored, and what can be decided of them without asking anybody. Pure.

use time::{Duration, OffsetDateTime};

use super::TransferRefusal as R;
use crate::{
    approval::is_one_person,
    ids::{CenterId, DetaineeId, Seq},
    ledger::Declined,
    money::{Amount, Currency},
    proto::{ApprovalFacts, LayerFacts, MovedPayer},
};

/// The longest that an authority's order can hold.
const ORDER_MAX: Duration = Duration::days(366);

/// Which side of a transfer a journal has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// The detainee left.
    Out,
    /// The detainee was received.
    In,
}

impl Direction {
    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Direction::Out => "OUT",
            Direction::In => "IN",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<Direction> {
        [Direction::Out, Direction::In]
            .into_iter()
            .find(|side| side.name() == name)
    }
}

/// One side of a transfer.
#[derive(Debug, Clone, PartialEq)]
pub struct TransferRow {
    /// Its transaction.
    pub seq: Seq,
    /// Which side.
    pub direction: Direction,
    /// The detainee in this center.
    pub detainee: DetaineeId,
    /// The other center.
    pub other_center: CenterId,
    /// The detainee there.
    pub other_detainee: DetaineeId,
    /// The other side's transaction.
    pub other_seq: Seq,
    /// The order's number.
    pub document: String,
    /// What was available, saved and withheld, without what was owed.
    pub amount: Amount,
    /// Who allowed it in this center.
    pub approval: i64,
    /// When.
    pub moved_at: OffsetDateTime,
}

/// Money that an authority withholds.
#[derive(Debug, Clone, PartialEq)]
pub struct Withholding {
    /// The transaction that withheld it, or brought it here.
    pub seq: Seq,
    /// Whose it is.
    pub detainee: DetaineeId,
    /// The written order's number.
    pub document: String,
    /// How much.
    pub amount: Amount,
    /// Until when the order holds.
    pub until: OffsetDateTime,
    /// Since when it is withheld here.
    pub recorded_at: OffsetDateTime,
    /// Who allowed it; nobody here if it came with the detainee.
    pub approval: Option<i64>,
    /// The transfer that it came by.
    pub transfer: Option<Seq>,
    /// How it ended.
    pub end: Option<WithholdingEnd>,
}

/// How a withholding ended.
#[derive(Debug, Clone, PartialEq)]
pub struct WithholdingEnd {
    /// The transaction that ended it.
    pub seq: Seq,
    /// Whether it moved on with the detainee.
    pub has_moved: bool,
    /// What the authority got of it.
    pub paid: Amount,
    /// Who allowed it.
    pub approval: Option<i64>,
}

impl WithholdingEnd {
    /// How it is stored that it moved.
    pub(super) const MOVED: &'static str = "MOVED";

    /// As it is stored.
    pub(super) const fn state_name(&self) -> &'static str {
        if self.has_moved { WithholdingEnd::MOVED } else { "ENDED" }
    }
}

impl Withholding {
    /// Refuses one that has ended.
    pub(super) fn require_open(&self) -> Result<(), R> {
        match &self.end {
            None => Ok(()),
            Some(end) => Err(R::WithholdingEnded {
                state: end.state_name(),
            }),
        }
    }

    /// Its name below its center.
    pub(super) fn subject(&self) -> String {
        format!("withholdings/{}", self.seq)
    }
}

/// Refuses an order that has ended, or never would.
pub(super) fn require_until(until: OffsetDateTime, now: OffsetDateTime) -> Result<(), R> {
    if until > now && until <= now + ORDER_MAX {
        Ok(())
    } else {
        Err(R::Until)
    }
}

/// Refuses what one person allowed in both centers.
pub(super) fn require_other_people(sent: &ApprovalFacts, received: &ApprovalFacts) -> Result<(), R> {
    let is_both = |person: &&String| received.checkers.iter().any(|other| is_one_person(person, other));
    match sent.checkers.iter().find(is_both) {
        Some(person) => Err(R::SamePersonTwice { person: person.clone() }),
        None => Ok(()),
    }
}

/// Layers as the receiving center knows their payers.
pub(super) fn with_payers_of(layers: Vec<LayerFacts>, moved: &[MovedPayer]) -> Vec<LayerFacts> {
    let known = |payer: &str| moved.iter().find(|told| told.from == payer).map(|told| told.to.clone());
    layers
        .into_iter()
        .map(|layer| LayerFacts {
            payer: known(&layer.payer).unwrap_or_default(),
            ..layer
        })
        .collect()
}

/// The part of layers, oldest first, that remains when `paid` of the oldest is gone.
///
/// # Errors
/// [`Declined::Broken`] if an amount cannot be read.
pub(super) fn without_oldest(
    layers: &[LayerFacts],
    paid: Amount,
    currency: Currency,
) -> Result<Vec<LayerFacts>, Declined> {
    let (mut gone, mut left) = (paid, Vec::new());
    for layer in layers {
        let amount = Amount::parse(&layer.amount, currency)?;
        let part = amount.min(gone)?;
        gone = gone.checked_sub(part)?;
        let rest = amount.checked_sub(part)?;
        if rest.is_positive() {
            left.push(LayerFacts {
                amount: rest.to_string(),
                ..layer.clone()
            });
        }
    }
    Ok(left)
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    fn layer(name: &str, payer: &str, amount: &str) -> LayerFacts {
        LayerFacts {
            remittance: name.into(),
            payer: payer.into(),
            amount: amount.into(),
            ..LayerFacts::default()
        }
    }

    #[test]
    fn an_order_holds_for_a_while_and_not_for_ever() {
        let now = datetime!(2031-05-06 07:00:00 UTC);
        assert_eq!(require_until(now, now), Err(R::Until));
        assert_eq!(require_until(now + Duration::SECOND, now), Ok(()));
        assert_eq!(require_until(now + ORDER_MAX, now), Ok(()));
        assert_eq!(require_until(now + ORDER_MAX + Duration::SECOND, now), Err(R::Until));
    }

    #[test]
    fn somebody_of_each_center_is_two_people_in_whatever_role() {
        let by = |checker: &str| ApprovalFacts {
            checkers: vec![checker.into()],
            ..ApprovalFacts::default()
        };
        assert_eq!(require_other_people(&by("finance/bob"), &by("finance/carol")), Ok(()));
        assert!(require_other_people(&by("finance/bob"), &by("admin/Bob")).is_err());
    }

    #[test]
    fn layers_are_told_by_the_payers_that_are_known_there() {
        let moved = [MovedPayer {
            from: "P1".into(),
            to: "P1-2".into(),
        }];
        let told = with_payers_of(vec![layer("R1", "P1", "1"), layer("R2", "P2", "2")], &moved);
        assert_eq!(told, [layer("R1", "P1-2", "1"), layer("R2", "", "2")]);
    }

    #[test]
    fn an_authority_gets_the_oldest_money() {
        let cny = Currency::parse("CNY").unwrap();
        let layers = [layer("R1", "", "10.00"), layer("R2", "", "5.00")];
        let left = |paid| without_oldest(&layers, Amount::parse(paid, cny).unwrap(), cny).unwrap();
        assert_eq!(left("0"), layers);
        assert_eq!(left("4"), [layer("R1", "", "6.00"), layer("R2", "", "5.00")]);
        assert_eq!(left("12.50"), [layer("R2", "", "2.50")]);
        assert_eq!(left("15"), []);
    }
}
