//! Refunds and release payouts: numbers, states and decisions, pure.

use time::{Duration, OffsetDateTime};

use super::{
    RefundRefusal,
    unspent::{Meaning, Movement, Unspent},
};
use crate::{
    ids::{CenterNo, DetaineeId, RemittanceId, Seq},
    ledger::Declined,
    money::{Amount, Currency},
    proto::{CreditFacts, JournalRecord, LayerFacts, TransactionKind, journal_record::Facts},
    remittance::Remittance,
};

/// The gateway is asked about a refund this long after the last question, in minutes; then every hour.
const ASK_AFTER_MIN: [i64; 3] = [1, 5, 30];

/// Where a refund stands. Each state is reached at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RefundState {
    /// Set aside here, not yet known to the gateway.
    Requested,
    /// The gateway has it.
    Submitted,
    /// The gateway cannot pay it to where the money came from, and waits to be told what to do.
    Abnormal,
    /// The gateway has paid it to the center instead; the bank has still to pay the payer.
    Redirected,
    /// The payer has the money.
    Succeeded,
    /// The money is again where it was: the detainee's, or in suspense.
    Failed,
}

impl RefundState {
    const ALL: [RefundState; 6] = [
        RefundState::Requested,
        RefundState::Submitted,
        RefundState::Abnormal,
        RefundState::Redirected,
        RefundState::Succeeded,
        RefundState::Failed,
    ];

    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            RefundState::Requested => "REQUESTED",
            RefundState::Submitted => "SUBMITTED",
            RefundState::Abnormal => "ABNORMAL",
            RefundState::Redirected => "REDIRECTED",
            RefundState::Succeeded => "SUCCEEDED",
            RefundState::Failed => "FAILED",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<RefundState> {
        RefundState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether the money is not on its way any more.
    pub const fn is_end(self) -> bool {
        matches!(self, RefundState::Succeeded | RefundState::Failed)
    }
}

/// A refund: the transaction that set its money aside, and the one that ended it.
#[derive(Debug, Clone)]
pub struct Refund {
    /// The first transaction; its facts are the refund.
    pub requested: JournalRecord,
    /// Where it stands.
    pub state: RefundState,
    /// The transaction that ended it.
    pub end: Option<JournalRecord>,
    /// The bank account that it goes to instead of where the money came from, masked.
    pub redirected_to: Option<String>,
    /// The states it has reached: when, and what was told.
    pub steps: Vec<(RefundState, OffsetDateTime, String)>,
}

/// A refund as it is stored.
#[derive(Debug, Clone)]
pub(super) struct RefundRow {
    pub seq: Seq,
    pub remittance: RemittanceId,
    pub detainee: DetaineeId,
    pub channel: String,
    /// The transaction that credited the money, or put it into suspense.
    pub credit: Seq,
    /// Whether it is money in suspense.
    pub from_suspense: bool,
    pub amount: Amount,
    pub state: RefundState,
    pub end: Option<Seq>,
}

/// How a release payout ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReleaseEnd {
    /// It left the bank.
    Paid,
    /// It could not be paid.
    Failed,
}

impl ReleaseEnd {
    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            ReleaseEnd::Paid => "PAID",
            ReleaseEnd::Failed => "FAILED",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<ReleaseEnd> {
        [ReleaseEnd::Paid, ReleaseEnd::Failed]
            .into_iter()
            .find(|end| end.name() == name)
    }
}

/// A release payout: the transaction that set the balance aside, and the one that ended it.
#[derive(Debug, Clone)]
pub struct Release {
    /// The first transaction; its facts are the release.
    pub opened: JournalRecord,
    /// The transaction that paid or failed it.
    pub end: Option<JournalRecord>,
}

/// A release payout as it is stored.
#[derive(Debug, Clone)]
pub(super) struct ReleaseRow {
    pub seq: Seq,
    pub detainee: DetaineeId,
    /// Who created it, as approvals know people.
    pub opened_by: String,
    pub end: Option<(Seq, ReleaseEnd)>,
}

/// The refund's number at the gateway: 9 to 32 of `[0-9A-Z-]`; some gateways want at least 6. It tells the refund, so that a notification finds its row.
pub fn refund_number(center: CenterNo, refund: Seq) -> String {
    format!("F{center}-{:06}", refund.0)
}

/// Reads a refund number of ours.
pub fn parse_refund_number(text: &str) -> Option<(CenterNo, Seq)> {
    let (center, seq) = text.strip_prefix('F')?.split_once('-')?;
    let (center, seq) = (CenterNo(center.parse().ok()?), Seq(seq.parse().ok()?));
    // Only the one form that is written: no sign, no zeros but those.
    (refund_number(center, seq) == text).then_some((center, seq))
}

/// When the gateway is asked next, after `attempts` questions.
pub(super) fn next_ask(attempts: i32, now: OffsetDateTime) -> OffsetDateTime {
    let asked = usize::try_from(attempts).unwrap_or_default();
    now + Duration::minutes(ASK_AFTER_MIN.get(asked).copied().unwrap_or(60))
}

/// Refuses while refunds have no outcome: what becomes of their money is not known.
pub(super) fn require_none_open(refunds: i64) -> Result<(), RefundRefusal> {
    match refunds {
        0 => Ok(()),
        refunds => Err(RefundRefusal::RefundsOpen { refunds }),
    }
}

/// The facts of a credit.
pub(super) fn credit_facts(record: &JournalRecord) -> Result<&CreditFacts, Declined> {
    match &record.facts {
        Some(Facts::Credit(facts)) => Ok(facts),
        _ => Err(Declined::Broken(format!(
            "transaction {} credits no remittance",
            record.seq
        ))),
    }
}

/// The gateway's own number of a payment and its whole amount, as the transaction tells that brought it into the ledger.
pub(super) fn payment_facts(record: &JournalRecord, currency: Currency) -> Result<(&str, Amount), Declined> {
    let amount = |text: &str| Amount::parse(text, currency);
    match &record.facts {
        Some(Facts::Credit(facts)) if facts.excess.is_empty() => {
            Ok((&facts.gateway_transaction, amount(&facts.amount)?))
        }
        Some(Facts::Credit(facts)) => {
            let whole = amount(&facts.amount)?.checked_add(amount(&facts.excess)?)?;
            Ok((&facts.gateway_transaction, whole))
        }
        Some(Facts::Suspense(facts)) => Ok((&facts.gateway_transaction, amount(&facts.amount)?)),
        Some(Facts::CreditReversal(facts)) => Ok((&facts.gateway_transaction, amount(&facts.amount)?)),
        Some(Facts::BroughtBack(facts)) => Ok((&facts.gateway_transaction, amount(&facts.original)?)),
        _ => Err(Declined::Broken(format!("transaction {} is no payment", record.seq))),
    }
}

/// What was unspent of a credited remittance, once it is known that `amount` of it can be refunded. `before` was refunded
/// before it was credited.
///
/// Errors: REFUND_EXCEEDS_ORIGINAL, REFUND_EXCEEDS_UNSPENT.
pub(super) fn check_refund(
    layers: &Unspent,
    remittance: &Remittance,
    before: Amount,
    amount: Amount,
) -> Result<Amount, Declined> {
    let (unspent, refunded) = layers.of_remittance(remittance.id.as_str());
    check_amounts(remittance.amount, before.checked_add(refunded)?, unspent, amount)?;
    Ok(unspent)
}

/// Whether `amount` can be refunded of a payment of `original`, of which so much was refunded and so much is left.
///
/// Errors: REFUND_EXCEEDS_ORIGINAL, REFUND_EXCEEDS_UNSPENT.
pub(super) fn check_amounts(
    original: Amount,
    refunded: Amount,
    unspent: Amount,
    amount: Amount,
) -> Result<(), Declined> {
    if amount.checked_add(refunded)?.exceeds(original)? {
        return Err(RefundRefusal::ExceedsOriginal {
            original,
            refunded,
            amount,
        }
        .into());
    }
    if amount.exceeds(unspent)? {
        return Err(RefundRefusal::ExceedsUnspent { unspent, amount }.into());
    }
    Ok(())
}

/// What a posting on an available account means for the money's layers: the `leg` of a transaction, from 1. `record` is needed of
/// every kind but purchases.
pub(super) fn meaning(
    kind: TransactionKind,
    (leg, is_debit): (i16, bool),
    record: Option<&JournalRecord>,
) -> Result<Meaning, Declined> {
    use TransactionKind as K;
    let facts = record.and_then(|record| record.facts.as_ref());
    Ok(match (kind, is_debit, facts) {
        (K::Credit, false, Some(Facts::Credit(credit))) => Meaning::Remitted {
            remittance: credit.remittance.clone(),
        },
        (K::Return, false, Some(Facts::Return(came_back))) => Meaning::Restored {
            taken_by: Seq(came_back.purchase),
        },
        // Orders that end with a release come first, in the order of its facts.
        (K::ReleaseOpened, false, Some(Facts::Release(release))) => {
            let index = usize::try_from(leg).ok().and_then(|leg| leg.checked_sub(1));
            let ended = index.and_then(|index| release.ended_orders.get(index));
            let ended = ended.ok_or_else(|| Declined::Broken("a release credits what no order held".into()))?;
            Meaning::Restored {
                taken_by: Seq(ended.order),
            }
        }
        (
            K::RefundFailed
            | K::ReleaseFailed
            | K::OrderDelivered
            | K::OrderCancelled
            | K::OrderExpired
            | K::OrderDisputeResolved
            | K::AllowanceEnded,
            false,
            _,
        ) => {
            let reverses = record.map_or(0, |record| record.reverses);
            Meaning::Restored {
                taken_by: Seq(reverses),
            }
        }
        (K::RefundRequested, true, Some(Facts::Refund(refund))) => Meaning::Refunded {
            remittance: refund.remittance.clone(),
        },
        (K::CreditReversed, true, Some(Facts::CreditReversal(reversal))) => Meaning::Reversed {
            remittance: reversal.remittance.clone(),
        },
        (K::WithholdingEnded, false, _) => {
            let reverses = record.map_or(0, |record| record.reverses);
            Meaning::Restored {
                taken_by: Seq(reverses),
            }
        }
        (K::BroughtBackOut, true, Some(Facts::BroughtBack(back))) => Meaning::Refunded {
            remittance: back.remittance.clone(),
        },
        (K::Return, false, _) | (K::BroughtBackOut, true, _) | (K::RefundRequested | K::CreditReversed, true, _) => {
            return Err(Declined::Broken(format!("a {} without its facts", kind.as_str_name())));
        }
        (_, true, _) => Meaning::Spent,
        (_, false, _) => Meaning::Other,
    })
}

/// Whose money a record brings into an available account from elsewhere, if it does.
pub(super) fn brought(is_debit: bool, record: Option<&JournalRecord>) -> Option<&[LayerFacts]> {
    let record = record.filter(|_| !is_debit)?;
    match (record.kind(), record.facts.as_ref()?) {
        (TransactionKind::TransferIn, Facts::Transfer(facts)) => Some(&facts.layers),
        (TransactionKind::ForwardedIn, Facts::Forwarded(facts)) => facts.layer.as_ref().map(std::slice::from_ref),
        // What was withheld here already was taken from here.
        (TransactionKind::WithholdingEnded, Facts::WithholdingEnd(facts)) if !facts.layers.is_empty() => {
            Some(&facts.layers)
        }
        _ => None,
    }
}

/// One movement for each layer that a posting brings.
pub(super) fn layered(seq: Seq, amount: Amount, layers: &[LayerFacts]) -> Result<Vec<Movement>, Declined> {
    let mut movements = Vec::with_capacity(layers.len());
    for layer in layers {
        movements.push(Movement {
            seq,
            amount: Amount::parse(&layer.amount, amount.currency())?,
            meaning: Meaning::Brought {
                remittance: Some(layer.remittance.clone()).filter(|name| !name.is_empty()),
            },
        });
    }
    let sum = Amount::sum(movements.iter().map(|movement| movement.amount), amount.currency())?;
    if sum == amount {
        Ok(movements)
    } else {
        Err(Declined::Broken(format!(
            "transaction {seq} brings {amount}, its layers sum to {sum}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ledger::Reason, money::Currency};

    #[test]
    fn refund_numbers_come_back_and_fit_every_gateway() {
        let number = refund_number(CenterNo(i32::MAX), Seq(i64::MAX));
        assert!(number.len() <= 32, "{number}");
        assert_eq!(parse_refund_number(&number), Some((CenterNo(i32::MAX), Seq(i64::MAX))));
        assert_eq!(refund_number(CenterNo(1), Seq(5)), "F1-000005");
        for bad in [
            "F1-5",
            "F1-0000005",
            "F01-000005",
            "",
            "F",
            "F1",
            "F1-",
            "F-1",
            "F01-2",
            "F1-02",
            "F+1-2",
            "G1-2",
            "1-2",
        ] {
            assert_eq!(parse_refund_number(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_refund_is_at_most_what_was_remitted_and_what_is_left() {
        let cny = |text| Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap();
        let movement = |seq, amount, meaning| Movement {
            seq: Seq(seq),
            amount: cny(amount),
            meaning,
        };
        let remittance = || "R1".to_owned();
        // 100 remitted, 90 of it available; 20 spent, 30 refunded: 40 are left.
        let movements = [
            movement(
                1,
                "90",
                Meaning::Remitted {
                    remittance: remittance(),
                },
            ),
            movement(2, "20", Meaning::Spent),
            movement(
                3,
                "30",
                Meaning::Refunded {
                    remittance: remittance(),
                },
            ),
        ];
        let layers = Unspent::of(&movements, Currency::parse("CNY").unwrap()).unwrap();
        let (unspent, refunded) = layers.of_remittance("R1");
        let check = |amount| match check_amounts(cny("100"), refunded, unspent, cny(amount)) {
            Ok(()) => Ok(unspent.to_string()),
            Err(Declined::Refused(refusal)) => Err(refusal.reason()),
            Err(broken) => panic!("{broken}"),
        };
        assert_eq!(check("40"), Ok("40.00".into()));
        assert_eq!(check("40.01"), Err(Reason::RefundExceedsUnspent));
        assert_eq!(check("70"), Err(Reason::RefundExceedsUnspent));
        assert_eq!(check("70.01"), Err(Reason::RefundExceedsOriginal));
    }

    #[test]
    fn states_come_back() {
        for state in RefundState::ALL {
            assert_eq!(RefundState::from_name(state.name()), Some(state));
        }
        for end in [ReleaseEnd::Paid, ReleaseEnd::Failed] {
            assert_eq!(ReleaseEnd::from_name(end.name()), Some(end));
        }
    }
}
