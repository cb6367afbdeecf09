//! Outcomes of requests: what a caller is told, and what is stored of it for ever.

use std::{collections::HashMap, sync::Arc};

use sqlx::PgConnection;
use time::OffsetDateTime;
use uuid::Uuid;

use crate::{
    db::constraint,
    ids::{CenterNo, RequestId, Seq},
    ledger::{Center, Declined, Refusal, Request, center::Head, record},
    proto::JournalRecord,
};

/// A transaction that was committed for a request.
#[derive(Debug, Clone)]
pub struct Posted {
    /// Its record, from which every reply is built, so that the first answer and a replay are the same.
    pub record: Arc<JournalRecord>,
    /// Whether the request had been done before.
    pub replayed: bool,
}

impl Posted {
    /// The transaction's number.
    pub fn seq(&self) -> Seq {
        Seq(self.record.seq)
    }

    /// The leaf hash of its record, 32 bytes.
    pub fn leaf_hash(&self) -> [u8; 32] {
        record::leaf_hash(&record::encode(&self.record))
    }
}

/// A request's definite outcome.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// Money moved.
    Posted(Posted),
    /// Nothing moved, but something was made.
    Accepted {
        /// What, relative to the center, for example `remittances/R1`.
        resource: String,
        /// Whether the request had been done before.
        replayed: bool,
    },
    /// Nothing moved.
    Refused {
        /// Why.
        refusal: Refusal,
        /// Whether the request had been refused before.
        replayed: bool,
    },
}

impl Outcome {
    pub(super) fn replay(self) -> Outcome {
        match self {
            Outcome::Posted(posted) => Outcome::Posted(Posted {
                replayed: true,
                ..posted
            }),
            Outcome::Accepted { resource, .. } => Outcome::Accepted {
                resource,
                replayed: true,
            },
            Outcome::Refused { refusal, .. } => Outcome::Refused {
                refusal,
                replayed: true,
            },
        }
    }
}

/// Why a caller has no transaction to show.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// A definite refusal.
    #[error("refused: {}", .refusal.message)]
    Refused {
        /// Why.
        refusal: Refusal,
        /// Whether this is the stored answer to an earlier call.
        replayed: bool,
    },
    /// The request id was used before with another body.
    #[error("request id was used before with another body: {}", .fields.join(", "))]
    RequestReused {
        /// The fields that differ.
        fields: Vec<String>,
    },
    /// The center's queue is full.
    #[error("the queue of the center is full")]
    QueueFull,
    /// The database cannot be reached. The outcome is not known; asking again with the same request id is safe.
    #[error("the database cannot be reached")]
    Unavailable,
    /// Something that must hold does not. It was logged.
    #[error("internal error")]
    Internal,
}

impl From<sqlx::Error> for LedgerError {
    fn from(error: sqlx::Error) -> LedgerError {
        if constraint::is_connection_lost(&error) {
            return LedgerError::Unavailable;
        }
        tracing::error!(%error, "a query failed");
        LedgerError::Internal
    }
}

impl From<Refusal> for LedgerError {
    fn from(refusal: Refusal) -> LedgerError {
        LedgerError::Refused {
            refusal,
            replayed: false,
        }
    }
}

impl From<Declined> for LedgerError {
    /// What was looked at without a lane, and decides nothing: it is told as what it is.
    fn from(declined: Declined) -> LedgerError {
        match declined {
            Declined::Refused(refusal) => refusal.into(),
            Declined::Database(error) => error.into(),
            Declined::Broken(error) => {
                tracing::error!(%error, "something that must hold does not");
                LedgerError::Internal
            }
        }
    }
}

/// What is stored for a request id.
#[derive(Debug, Clone)]
pub struct Stored {
    method: String,
    body: Vec<u8>,
    actor: String,
    outcome: Outcome,
    recorded_at: Option<OffsetDateTime>,
}

impl Stored {
    /// The outcome, marked as a replay.
    pub fn outcome(&self) -> &Outcome {
        &self.outcome
    }

    /// The method that was called.
    pub fn method(&self) -> &str {
        &self.method
    }

    /// When it was recorded; none if that was not read.
    pub fn recorded_at(&self) -> Option<OffsetDateTime> {
        self.recorded_at
    }

    /// Who asked.
    pub fn actor(&self) -> &str {
        &self.actor
    }

    pub(super) fn of(request: &Request, outcome: Outcome) -> Stored {
        Stored {
            method: request.method.to_owned(),
            body: request.body.clone(),
            actor: request.actor.clone(),
            outcome: outcome.replay(),
            // A repetition is answered without it.
            recorded_at: None,
        }
    }

    /// The answer to a repetition, or that it is not one.
    ///
    /// Errors: `RequestReused` with the fields that differ.
    pub fn answer(&self, request: &Request) -> Result<Outcome, LedgerError> {
        let fields = request.differences(&self.method, &self.body, &self.actor);
        if fields.is_empty() {
            Ok(self.outcome.clone())
        } else {
            Err(LedgerError::RequestReused { fields })
        }
    }
}

/// What is stored for one request id.
pub async fn find(conn: &mut PgConnection, center: CenterNo, id: RequestId) -> sqlx::Result<Option<Stored>> {
    Ok(lookup(conn, center, &[id.0]).await?.remove(&id.0))
}

/// What is stored for a request id that the service derived itself, of which it was told that it is taken by another body.
/// It must be a request of the service's own method; whoever asked then sees in it whether the same thing is done.
///
/// Errors: `Internal`, logged, when the id is taken by something else: what was to be done can then not be done.
pub async fn own(
    conn: &mut PgConnection,
    center: &Center,
    id: RequestId,
    method: &'static str,
) -> Result<Stored, LedgerError> {
    match find(conn, center.no, id).await? {
        Some(stored) if stored.method() == method => Ok(stored),
        other => {
            let taken_by = other.as_ref().map_or("nothing", Stored::method);
            tracing::error!(center = %center.id, request_id = %id, method, taken_by,
                "ALARM: a request id of the service's own is taken; what it stands for cannot be recorded");
            Err(LedgerError::Internal)
        }
    }
}

/// What is stored for each of some request ids; at most one lane batch of them.
pub(super) async fn lookup(
    conn: &mut PgConnection,
    center: CenterNo,
    ids: &[Uuid],
) -> sqlx::Result<HashMap<Uuid, Stored>> {
    let mut found = HashMap::new();
    let posted = sqlx::query!(
        "select t.request_id, t.record
         from unnest($2::uuid[]) k (request_id),
              lateral (select * from journal_transaction where center_id = $1 and request_id = k.request_id offset 0) t",
        center.0,
        ids,
    )
    .fetch_all(&mut *conn)
    .await?;
    for row in posted {
        let record = Arc::new(record::decode(&row.record)?);
        let stored = Stored {
            method: record.method.clone(),
            body: record.request.clone(),
            actor: record.actor.clone(),
            recorded_at: record.recorded_at.as_ref().and_then(record::instant),
            outcome: Outcome::Posted(Posted { record, replayed: true }),
        };
        found.insert(row.request_id, stored);
    }
    let answered = sqlx::query!(
        "select r.request_id, r.method, r.actor, r.request, r.refusal, r.resource, r.recorded_at
         from unnest($2::uuid[]) k (request_id),
              lateral (select * from refused_request where center_id = $1 and request_id = k.request_id offset 0) r",
        center.0,
        ids,
    )
    .fetch_all(conn)
    .await?;
    for row in answered {
        let outcome = match (row.refusal, row.resource) {
            (None, Some(resource)) => Outcome::Accepted {
                resource,
                replayed: true,
            },
            (refusal, _) => Outcome::Refused {
                refusal: record::decode_refusal(&refusal.unwrap_or_default())?,
                replayed: true,
            },
        };
        found.insert(
            row.request_id,
            Stored {
                method: row.method,
                body: row.request,
                actor: row.actor,
                outcome,
                recorded_at: Some(row.recorded_at),
            },
        );
    }
    Ok(found)
}

/// Keeps the outcome of a request that moves nothing: what it made, relative to the center, or why it is refused.
///
/// For methods that take no lane. The caller has moved the center's rules in the same transaction (as `head` then was) and has
/// looked that the id has no outcome yet; lanes notice either by the rules they have read.
pub async fn keep_in_tx(
    conn: &mut PgConnection,
    center: &Center,
    head: &Head,
    request: &Request,
    outcome: Result<&str, &Refusal>,
    at: OffsetDateTime,
) -> sqlx::Result<()> {
    sqlx::query!(
        "insert into refused_request
             (center_id, request_id, method, actor, request, refusal, resource, recorded_at, after_seq)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        center.no.0,
        request.id.0,
        request.method,
        request.actor,
        request.body,
        outcome.err().map(record::encode_refusal),
        outcome.ok(),
        at,
        head.seq.0,
    )
    .execute(conn)
    .await?;
    Ok(())
}
