//! One sale of a stream, from its bytes to its answer.

use time::OffsetDateTime;

use super::{
    OfflineRefusal as R, OfflineSales,
    chain::{self, AHEAD_MAX, Hash},
    entity::{self, Bytes, Sale},
    gap_subject, sale,
    sale::{TAKE_METHOD, Take},
    store::{self, Evidence, Waiting},
};
use crate::{
    db::Conn,
    ids::{RequestId, TerminalId},
    ledger::{Center, LedgerError, Reason, Request, center, record},
    proto::{OfflineEvidenceWork, OfflineGapWork, OfflineSaleStatement, WorkFacts, work_facts},
    terminal,
    work::{self, NewItem, WorkKind},
};

/// How much evidence is kept of one terminal before nothing more is read from it.
const EVIDENCE_MAX: i64 = 1000;
/// How many sales of one terminal wait at most.
const WAITING_MAX: i64 = 10_000;
/// How often one sale is looked at again because another process was faster.
const TRIES_MAX: u32 = 8;

/// Why something is not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefusedWhy {
    /// It is no statement of the terminal's.
    Malformed,
    /// The signature is not that of a key of the terminal's.
    SignatureBroken,
    /// Another sale has the number.
    ChangedRepeat,
}

impl RefusedWhy {
    /// Its name, as it is stored and told.
    pub const fn name(self) -> &'static str {
        match self {
            RefusedWhy::Malformed => "MALFORMED",
            RefusedWhy::SignatureBroken => "SIGNATURE_BROKEN",
            RefusedWhy::ChangedRepeat => "CHANGED_REPEAT",
        }
    }
}

/// Where a sale that came stands.
#[derive(Debug, Clone)]
pub enum Standing {
    /// It was taken in.
    Taken(Box<Sale>),
    /// It waits for these numbers.
    Waiting(Vec<(i64, i64)>),
    /// It is kept as evidence.
    Refused(RefusedWhy, String),
}

/// What became of something that came.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// The number it tells; 0 when it cannot be read.
    pub number: i64,
    /// Its hash.
    pub hash: Hash,
    /// Where it stands.
    pub standing: Standing,
    /// Whether it had come before.
    pub replayed: bool,
}

/// What came, once.
struct Came<'a> {
    center: &'a Center,
    terminal: &'a TerminalId,
    bytes: Bytes,
    by: &'a str,
}

impl OfflineSales {
    /// Takes in what came in the name of a terminal, and answers once it is committed.
    ///
    /// Errors: TERMINAL_NOT_ENROLLED, TOO_MANY_TRIES when too much came that is none of its sales; otherwise nothing can be said.
    pub async fn take_in(
        &self,
        center: &Center,
        terminal: &TerminalId,
        statement: Vec<u8>,
        signature: Vec<u8>,
        by: &str,
    ) -> Result<Outcome, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let keys = terminal::keys_in_tx(&mut conn, center, terminal).await?;
        drop(conn);
        if keys.is_empty() {
            let terminal = terminal.clone();
            return Err(R::NotEnrolled { terminal }.into());
        }
        let came = Came {
            center,
            terminal,
            bytes: Bytes {
                hash: chain::hash(&statement),
                statement,
                signature,
            },
            by,
        };
        let read = match chain::read(&came.bytes.statement, center, terminal) {
            Ok(read) => read,
            Err(why) => return self.refuse(&came, 0, RefusedWhy::Malformed, why).await,
        };
        let signed = |(key, _): &&([u8; 32], OffsetDateTime)| {
            chain::is_signed_by(key, &came.bytes.statement, &came.bytes.signature)
        };
        let Some((public_key, _)) = keys.iter().find(signed) else {
            let why = "its signature is not that of a key of the terminal's".to_owned();
            return self.refuse(&came, read.number, RefusedWhy::SignatureBroken, why).await;
        };
        self.place(&came, &read, *public_key).await
    }

    /// Gives a sale its place: it has it already, it is its turn, or it waits for it.
    async fn place(
        &self,
        came: &Came<'_>,
        read: &OfflineSaleStatement,
        public_key: [u8; 32],
    ) -> Result<Outcome, LedgerError> {
        let (center, terminal, number) = (came.center, came.terminal, read.number);
        for _ in 0..TRIES_MAX {
            let mut conn = self.lanes.database().read.acquire().await?;
            if let Some(known) = sale::store::get(&mut conn, center, terminal, number).await? {
                drop(conn);
                return self.known(came, known).await;
            }
            let last = sale::store::chain(&mut conn, center.no, terminal).await?.last;
            drop(conn);
            if number > last.saturating_add(AHEAD_MAX) {
                let why = format!("number {number} is too far ahead of {last}");
                return self.refuse(came, number, RefusedWhy::Malformed, why).await;
            }
            if number > last + 1 {
                if let Some(outcome) = self.wait(came, number).await? {
                    return Ok(outcome);
                }
                continue;
            }
            let command = take(came, read.clone(), public_key);
            match self.lanes.submit_rare(center, command).await {
                Ok(posted) => {
                    let taken = self.sale(center, terminal, number).await?;
                    self.take_waiting(center, terminal).await?;
                    return Ok(outcome(came, number, Standing::Taken(Box::new(taken)), posted.replayed));
                }
                // Another sale was faster: it is found next.
                Err(LedgerError::Refused { refusal, .. }) if refusal.reason() == Reason::OfflineNumberTaken => {}
                Err(error) => return Err(error),
            }
        }
        tracing::warn!(%terminal, number, "an offline sale cannot be given its place");
        Err(LedgerError::Unavailable)
    }

    async fn known(&self, came: &Came<'_>, known: Sale) -> Result<Outcome, LedgerError> {
        let number = known.number;
        if known.bytes.as_ref().is_some_and(|bytes| bytes.hash == came.bytes.hash) {
            return Ok(outcome(came, number, Standing::Taken(Box::new(known)), true));
        }
        let why = match known.bytes {
            Some(_) => format!("another sale has the number {number}"),
            None => format!("number {number} was declared lost"),
        };
        self.refuse(came, number, RefusedWhy::ChangedRepeat, why).await
    }

    /// Keeps a sale until it is its turn; none when it is its turn by now.
    async fn wait(&self, came: &Came<'_>, number: i64) -> Result<Option<Outcome>, LedgerError> {
        let (center, terminal) = (came.center, came.terminal);
        let mut tx = self.lanes.database().lane.begin().await?;
        center::head(&mut tx, center.no, true).await?;
        let last = sale::store::chain(&mut tx, center.no, terminal).await?.last;
        if number <= last + 1 {
            return Ok(None);
        }
        let waiting = store::waiting_numbers(&mut tx, center.no, terminal, WAITING_MAX).await?;
        if let Some(known) = store::waiting(&mut tx, center.no, terminal, number).await? {
            drop(tx);
            if known.bytes.hash == came.bytes.hash {
                let missing = missing_before(last, &waiting, number);
                return Ok(Some(outcome(came, number, Standing::Waiting(missing), true)));
            }
            let why = format!("another sale waits as number {number}");
            return self
                .refuse(came, number, RefusedWhy::ChangedRepeat, why)
                .await
                .map(Some);
        }
        if i64::try_from(waiting.len()).unwrap_or(i64::MAX) >= WAITING_MAX {
            let terminal = terminal.clone();
            return Err(R::TooMuchEvidence { terminal }.into());
        }
        let now = self.now();
        let new = Waiting {
            bytes: came.bytes.clone(),
            received_at: now,
            received_by: came.by.to_owned(),
        };
        store::insert_waiting(&mut tx, center.no, terminal, number, &new).await?;
        let facts = OfflineGapWork {
            terminal: terminal.to_string(),
            first_number: last + 1,
            waiting_number: number,
        };
        let facts = work_facts::Facts::OfflineGap(facts);
        raise(&mut tx, center, WorkKind::OfflineGap, gap_subject(terminal), facts, now).await?;
        tx.commit().await?;
        let missing = missing_before(last, &waiting, number);
        Ok(Some(outcome(came, number, Standing::Waiting(missing), false)))
    }

    /// Takes in what waits, as far as it is its turn.
    pub(super) async fn take_waiting(&self, center: &Center, terminal: &TerminalId) -> Result<(), LedgerError> {
        for _ in 0..WAITING_MAX {
            let mut conn = self.lanes.database().read.acquire().await?;
            let next = sale::store::chain(&mut conn, center.no, terminal).await?.last + 1;
            let Some(waiting) = store::waiting(&mut conn, center.no, terminal, next).await? else {
                return Ok(());
            };
            let keys = terminal::keys_in_tx(&mut conn, center, terminal).await?;
            drop(conn);
            let came = Came {
                center,
                terminal,
                bytes: waiting.bytes,
                by: &waiting.received_by,
            };
            let signed = |(key, _): &&([u8; 32], OffsetDateTime)| {
                chain::is_signed_by(key, &came.bytes.statement, &came.bytes.signature)
            };
            let read = chain::read(&came.bytes.statement, center, terminal);
            let (Ok(read), Some((public_key, _))) = (read, keys.iter().find(signed)) else {
                tracing::error!(%terminal, number = next, "what waits cannot be read any more");
                return Err(LedgerError::Internal);
            };
            match self.lanes.submit_rare(center, take(&came, read, *public_key)).await {
                // Or another process was faster.
                Ok(_) | Err(LedgerError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Keeps what is none of the terminal's sales as evidence, with a work item.
    async fn refuse(
        &self,
        came: &Came<'_>,
        number: i64,
        why: RefusedWhy,
        message: String,
    ) -> Result<Outcome, LedgerError> {
        let (center, terminal) = (came.center, came.terminal);
        let digest = chain::evidence_digest(&came.bytes.statement, &came.bytes.signature);
        let mut tx = self.lanes.database().lane.begin().await?;
        center::head(&mut tx, center.no, true).await?;
        if store::count_evidence(&mut tx, center.no, terminal).await? >= EVIDENCE_MAX {
            let terminal = terminal.clone();
            return Err(R::TooMuchEvidence { terminal }.into());
        }
        let now = self.now();
        let evidence = Evidence {
            digest,
            number,
            reason: why.name(),
            message: &message,
            statement: &came.bytes.statement,
            signature: &came.bytes.signature,
            received_at: now,
            received_by: came.by,
        };
        let is_new = store::insert_evidence(&mut tx, center.no, terminal, &evidence).await?;
        if is_new {
            let known = sale::store::get(&mut tx, center, terminal, number).await?;
            let facts = OfflineEvidenceWork {
                terminal: terminal.to_string(),
                number,
                reason: why.name().to_owned(),
                message: message.clone(),
                digest: digest.to_vec(),
                recorded_hash: known
                    .and_then(|known| known.bytes)
                    .map(|bytes| bytes.hash.to_vec())
                    .unwrap_or_default(),
            };
            let facts = work_facts::Facts::OfflineEvidence(facts);
            let subject = format!("terminals/{terminal}/offlineEvidence/{}", short(&digest));
            raise(&mut tx, center, WorkKind::OfflineEvidence, subject, facts, now).await?;
        }
        tx.commit().await?;
        Ok(outcome(came, number, Standing::Refused(why, message), !is_new))
    }
}

async fn raise(
    conn: &mut Conn,
    center: &Center,
    kind: WorkKind,
    subject: String,
    facts: work_facts::Facts,
    at: OffsetDateTime,
) -> Result<(), LedgerError> {
    let facts = WorkFacts { facts: Some(facts) };
    work::raise_in_tx(conn, center.no, &NewItem::new(kind, subject, facts, at)).await?;
    Ok(())
}

/// The numbers that are missing before one that waits.
fn missing_before(last: i64, waiting: &[i64], number: i64) -> Vec<(i64, i64)> {
    let before = waiting.iter().copied().filter(|other| *other < number);
    let numbers: Vec<i64> = before.chain([number]).collect();
    entity::missing(last, &numbers)
}

fn outcome(came: &Came<'_>, number: i64, standing: Standing, replayed: bool) -> Outcome {
    Outcome {
        number,
        hash: came.bytes.hash,
        standing,
        replayed,
    }
}

/// The command that takes a sale in. What makes it one of a kind is the sale: whoever sends it asks for the same thing.
fn take(came: &Came<'_>, statement: OfflineSaleStatement, public_key: [u8; 32]) -> Take {
    let number = statement.number.to_string();
    let hash: String = came.bytes.hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let terminal = came.terminal.as_str();
    Take {
        request: Request {
            id: RequestId::derived(&["offline-sale", terminal, &number, &hash]),
            method: TAKE_METHOD,
            body: record::canonical(&statement),
            actor: format!("terminal/{terminal}"),
        },
        terminal: came.terminal.clone(),
        statement,
        bytes: came.bytes.clone(),
        public_key,
        received_by: came.by.to_owned(),
    }
}

/// The beginning of a digest, as people write it.
fn short(digest: &Hash) -> String {
    digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
