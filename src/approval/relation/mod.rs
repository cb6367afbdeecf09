//! Staff who are related to a detainee decide nothing about their money.
//!
//! A relation is declared, with a document, and ends by another declaration. The desk, and whatever asks for several people, look at
//! whom an approval is about; other calls say so themselves.

mod store;

pub use store::{declare_in_tx, list};
use time::OffsetDateTime;

use super::{ApprovalRefusal, person_of};
use crate::{
    db::Conn,
    ids::{CenterNo, DetaineeId},
    ledger::{Declined, Refusal, record},
    proto::CreditUnmatchedCommand,
};

/// A declaration: the last one of a person and a detainee holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// Who: a token's subject, in lower case.
    pub person: String,
    /// To whom.
    pub detainee: String,
    /// Whether they are related.
    pub is_related: bool,
    /// What they are.
    pub relationship: String,
    /// The declaration's number.
    pub document: String,
    /// When it was declared.
    pub declared_at: OffsetDateTime,
    /// Who declared it.
    pub declared_by: String,
}

/// Refuses whoever is related to a detainee. `actor` is as the journal names them.
///
/// Errors: STAFF_RELATED.
pub async fn require_unrelated(
    conn: &mut Conn,
    center: CenterNo,
    actor: &str,
    detainee: &DetaineeId,
) -> Result<(), Declined> {
    let last = store::last(conn, center, &person_of(actor), detainee.as_str()).await?;
    if last.is_some_and(|last| last.is_related) {
        let detainee = detainee.to_string();
        return Err(Refusal::from(ApprovalRefusal::Related { detainee }).into());
    }
    Ok(())
}

/// Whom an approval is about, as its subject and its command tell.
pub(super) struct About<'a> {
    pub kind: &'a str,
    pub subject: &'a str,
    pub command: &'a [u8],
}

/// Refuses whoever is related to somebody that an approval is about.
pub(super) async fn require_unrelated_to(
    conn: &mut Conn,
    center: CenterNo,
    actor: &str,
    about: &About<'_>,
) -> Result<(), Declined> {
    let mut told = String::new();
    if about.kind == "unmatched.credit" {
        let command: CreditUnmatchedCommand = record::read_canonical(about.command)?;
        told = command.detainee;
    }
    match store::related_to(conn, center, &person_of(actor), about.subject, &told).await? {
        Some(detainee) => Err(Refusal::from(ApprovalRefusal::Related { detainee }).into()),
        None => Ok(()),
    }
}
