//! Postings and the transactions they make up.

use std::sync::Arc;

use crate::{
    ids::{AccountNo, Seq},
    money::Amount,
    proto::{JournalRecord, TransactionKind, journal_record::Facts},
};

/// One movement of money, both sides of it. The amount is positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Posting {
    /// The account debited.
    pub debit: AccountNo,
    /// The account credited.
    pub credit: AccountNo,
    /// How much.
    pub amount: Amount,
}

impl Posting {
    /// A movement of `amount` from the credited account's counterpart: Dr `debit`, Cr `credit`.
    pub fn new(debit: AccountNo, credit: AccountNo, amount: Amount) -> Posting {
        Posting { debit, credit, amount }
    }
}

/// Whether a transaction of a kind may move no money: that a person leaves, or moves, with nothing is recorded, too, that a file was
/// made for the bank of what is in transit already, a dispute about goods that have not come, what is said of offline sales that are
/// not paid, and that a person died, escaped or was booked twice.
pub(super) fn may_move_nothing(kind: TransactionKind) -> bool {
    use TransactionKind as K;
    matches!(
        kind,
        K::ReleaseOpened
            | K::PaymentFileMade
            | K::TransferOut
            | K::TransferIn
            | K::OrderDisputed
            | K::OrderDisputeResolved
            | K::AllowanceEnded
            | K::OfflineSalePutAside
            | K::OfflineSaleDismissed
            | K::OfflineNumbersSkipped
            | K::CustodyChanged
            | K::DetaineesMerged
    )
}

/// A decided transaction that is not numbered yet.
#[derive(Debug, Clone)]
pub struct Draft {
    /// What kind of movement.
    pub kind: TransactionKind,
    /// The movements, at least one unless somebody is released with nothing or a file is made for the bank.
    pub postings: Vec<Posting>,
    /// What it is about.
    pub facts: Facts,
    /// The transaction it undoes or finishes.
    pub reverses: Option<Seq>,
}

impl Draft {
    /// A transaction that undoes or finishes no other.
    pub fn new(kind: TransactionKind, postings: Vec<Posting>, facts: Facts) -> Draft {
        Draft {
            kind,
            postings,
            facts,
            reverses: None,
        }
    }

    /// Names the transaction it undoes or finishes.
    #[must_use]
    pub fn reversing(mut self, seq: Seq) -> Draft {
        self.reverses = Some(seq);
        self
    }
}

/// A posting with its two accounts' balances right after it.
#[derive(Debug, Clone, Copy)]
pub struct PostedLeg {
    /// The movement.
    pub posting: Posting,
    /// The debited account's balance after it, positive on its normal side.
    pub debit_balance: Amount,
    /// The credited account's balance after it, positive on its normal side.
    pub credit_balance: Amount,
}

/// A numbered transaction, ready to be committed.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its number.
    pub seq: Seq,
    /// Its legs.
    pub legs: Vec<PostedLeg>,
    /// Its record, which is also what the reply is built from.
    pub record: Arc<JournalRecord>,
    /// The record's canonical bytes.
    pub record_bytes: Vec<u8>,
    /// SHA-256 of 0x00 and the record's bytes.
    pub leaf_hash: [u8; 32],
}
