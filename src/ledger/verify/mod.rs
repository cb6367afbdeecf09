//! Replaying a center's whole journal and comparing it with everything that is stored beside it.
//!
//! The records are the truth; rows exist for queries. Verification reads the records in order, recomputes each leaf hash,
//! numbers, times and running balances from nothing, and compares them with the transaction and posting rows, then with the
//! accounts, their floors and the balances as they stand, and at last computes the proof. Each domain compares its own rows
//! with the same records, page by page: see [`Check`]. It stops at the first difference and names it.
//!
//! # Layout
//! - `replay`: records against transactions, postings and balances. `accounts`: accounts against the chart.
//! - `check`: what a domain is given, and how it tells a difference. `requests`: refused requests.
//!
//! # What it cannot notice
//! - A record that was changed together with its leaf hash and every row that follows from it: the hashes are not signed and
//!   not chained. Whoever keeps leaf hashes elsewhere can notice that.
//! - A refused request that was taken away whole, or changed into another that can be read: a refusal leaves no other trace.
//!   What is there must be readable, of a transaction that is there, and not answered by a transaction, too.
//! - Changed reference data, such as names, prices, limits and policies, beyond what records tell of them.

mod accounts;
mod check;
mod replay;
mod requests;

use sqlx::PgConnection;

pub use accounts::Accounts;
pub use check::{Check, Owner, Page, Place, VerifyError};
use replay::Replay;

use crate::{
    db::Database,
    ledger::{
        Center,
        balance::AsOf,
        proof::{self, Proof},
    },
};

/// What was verified of one center.
#[derive(Debug)]
pub struct Verified {
    /// How many transactions were replayed.
    pub transactions: i64,
    /// How many postings.
    pub postings: i64,
    /// The proof at the end.
    pub proof: Proof,
}

/// Verifies one center as it stood at one moment, while the service may go on. `checks` are those of the domains, fresh.
///
/// # Errors
/// [`VerifyError::Differs`] names the first difference; [`VerifyError::Database`] says that reading failed.
pub async fn verify_snapshot(
    database: &Database,
    center: &Center,
    checks: Vec<Box<dyn Check>>,
) -> Result<Verified, VerifyError> {
    let mut tx = database.read.snapshot().await?;
    verify(&mut tx, center, checks).await
}

/// Verifies one center. The caller sees to it that nothing is written meanwhile, or holds a snapshot.
///
/// # Errors
/// As [`verify_snapshot`].
pub async fn verify(
    conn: &mut PgConnection,
    center: &Center,
    mut checks: Vec<Box<dyn Check>>,
) -> Result<Verified, VerifyError> {
    let accounts = accounts::read(conn, center).await?;
    let mut replay = Replay::new(center, &accounts);
    match compare(conn, &mut replay, &mut checks).await {
        Ok(proof) => Ok(Verified {
            transactions: replay.seq,
            postings: replay.postings,
            proof,
        }),
        // What cannot be read is not what was written.
        Err(VerifyError::Database(error)) if is_unreadable(&error) => {
            Err(replay.differs(format!("what is stored at or after it cannot be read: {error}")))
        }
        Err(error) => Err(error),
    }
}

async fn compare(
    conn: &mut PgConnection,
    replay: &mut Replay<'_>,
    checks: &mut [Box<dyn Check>],
) -> Result<Proof, VerifyError> {
    while replay.page(conn, checks).await? {}
    replay.head_and_balances(conn).await?;
    requests::check(conn, replay.center, replay.seq).await?;
    let proof = proof::prove(conn, replay.center, AsOf::Now).await?;
    if proof.holds() {
        Ok(proof)
    } else {
        Err(replay.differs(format!(
            "the proof does not hold: {} against {}",
            proof.debits, proof.credits
        )))
    }
}

fn is_unreadable(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. })
}
