//! Selling without the network: money set aside for terminals, and the signed sales that they bring in later.
//!
//! # Layout
//! - `chain`: the bytes, hashes and signatures of sales, pure. `entity`: what allowances and sales are, pure.
//! - `allowance`: setting money aside and releasing it. `sale`: taking sales in, and ending those that wait for finance.
//! - `upload`: one sale of a stream, from its bytes to its answer. `ask`: what two people decide.
//!
//! # Invariants
//! 1. What is set aside is held, and is sold only against its own allowance: no two terminals, and nobody else, spend it.
//! 2. It counts against spending limits as spent from the moment it is set aside, on that date, until it is released.
//! 3. A terminal's sales are numbered without gaps, each taken in once, in one transaction, with its bytes and signature.
//! 4. Nothing that came is dropped: what is not paid waits for finance with a deadline, what is none of the terminal's sales is kept
//!    as evidence, and what comes before its turn waits for it.
//! 5. Nothing without a valid signature moves money.

mod allowance;
mod ask;
mod chain;
mod entity;
mod error;
mod posting;
mod sale;
mod store;
mod upload;
mod verify;

use std::sync::Arc;

pub use ask::WRITE_OFF;
pub use chain::{HASH_BYTES, Hash, NO_HASH, STATEMENT_BYTES_MAX, hash, is_signed_by, signed_bytes};
pub use entity::{Allowance, AllowanceEnd, Bytes, EndReason, Sale, SaleState, Settings, SettingsVersion};
pub use error::OfflineRefusal;
pub use store::AllowanceFilter;
use time::OffsetDateTime;
pub use upload::{Outcome, RefusedWhy, Standing};
pub use verify::OfflineSalesCheck;

use self::{
    OfflineRefusal as R,
    allowance::{EXPIRE_METHOD, End, Reserve},
    ask::{WriteOffQuestion, WriteOffRunner},
    sale::{Resolve, Skip, Way},
};
use crate::{
    approval::{Approval, Approvals, Asking, Person, Runner},
    db::Conn,
    ids::{DetaineeId, RequestId, Seq, TerminalId},
    ledger::{Center, Declined, Lanes, LedgerError, Posted, Request, center},
    money::Amount,
};

/// How many numbers that wait are looked at when it is told what is missing.
const WAITING_TOLD_MAX: i64 = 1000;
/// The most allowances that one look of the job releases in a center.
const EXPIRED_MAX: i64 = 200;

/// The verbs of this domain.
#[derive(Clone)]
pub struct OfflineSales {
    lanes: Lanes,
    approvals: Approvals,
}

/// Where the numbers of a terminal stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainView {
    /// The last number that was taken in, or declared lost; 0 when there is none.
    pub last: i64,
    /// What the next one has to be chained to.
    pub hash: Hash,
    /// The numbers that are missing before sales that wait.
    pub missing: Vec<(i64, i64)>,
}

/// What work items and approvals of a sale are about.
fn sale_subject(terminal: &TerminalId, number: i64) -> String {
    format!("terminals/{terminal}/offlineSales/{number}")
}

/// What the work item of missing numbers is about.
fn gap_subject(terminal: &TerminalId) -> String {
    format!("terminals/{terminal}")
}

impl OfflineSales {
    /// The domain over its journals.
    pub fn new(lanes: Lanes) -> OfflineSales {
        OfflineSales {
            approvals: Approvals::new(lanes.clone()),
            lanes,
        }
    }

    /// What runs here when two people have allowed it.
    pub fn runner(&self) -> Arc<dyn Runner> {
        Arc::new(WriteOffRunner(self.lanes.clone()))
    }

    /// The time by which allowances are told as expired.
    pub fn now(&self) -> OffsetDateTime {
        self.lanes.clock().now()
    }

    /// What a center allows.
    pub async fn settings(&self, center: &Center) -> Result<SettingsVersion, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::settings(&mut conn, center).await?)
    }

    /// Changes what a center allows. What is so already stays as it is.
    pub async fn update_settings(
        &self,
        center: &Center,
        settings: &Settings,
        reason: &str,
        by: &str,
    ) -> Result<SettingsVersion, LedgerError> {
        let mut tx = self.lanes.database().lane.begin().await?;
        center::touch_rules_in_tx(&mut tx, center.no).await?;
        let before = store::settings(&mut tx, center).await?;
        if before.version > 0 && before.settings == *settings {
            return Ok(before);
        }
        let set = (self.now(), by);
        store::insert_settings(&mut tx, center.no, before.version + 1, settings, reason, set).await?;
        let after = store::settings(&mut tx, center).await?;
        tx.commit().await?;
        Ok(after)
    }

    /// Sets money of a detainee aside for a terminal until a time.
    ///
    /// Errors: OFFLINE_NOT_ALLOWED, TERMINAL_NOT_ENROLLED, ALLOWANCE_TOO_LONG, ALLOWANCE_LIMIT_EXCEEDED, and those of a purchase.
    pub async fn reserve(
        &self,
        center: &Center,
        request: Request,
        terminal: TerminalId,
        detainee: DetaineeId,
        (amount, expires_at): (Amount, OffsetDateTime),
    ) -> Result<Posted, LedgerError> {
        let command = Reserve {
            request,
            terminal,
            detainee,
            amount,
            expires_at,
        };
        self.lanes.submit_rare(center, command).await
    }

    /// The terminal has brought in every sale up to its last: the rest of an allowance is released.
    ///
    /// Errors: NOT_FOUND, also of another terminal's, ALLOWANCE_ENDED, SALES_MISSING, INVALID_FIELD when more were brought in than are reported.
    pub async fn end_allowance(
        &self,
        center: &Center,
        request: Request,
        terminal: TerminalId,
        allowance: Seq,
        last_number: i64,
    ) -> Result<Posted, LedgerError> {
        let command = End {
            request,
            allowance,
            terminal: Some(terminal),
            reason: EndReason::Reported,
            last_number: Some(last_number),
        };
        self.lanes.submit_rare(center, command).await
    }

    /// An allowance as it stands.
    ///
    /// Errors: NOT_FOUND.
    pub async fn allowance(&self, center: &Center, seq: Seq) -> Result<Allowance, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = store::allowance(&mut conn, center, seq).await?;
        found.ok_or_else(|| R::AllowanceNotFound { allowance: seq }.into())
    }

    /// Up to `limit` allowances, newest first.
    pub async fn allowances(
        &self,
        center: &Center,
        filter: &AllowanceFilter,
        limit: i64,
    ) -> Result<Vec<Allowance>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(store::allowances(&mut conn, center, filter, limit).await?)
    }

    /// Where the numbers of a terminal stand.
    pub async fn chain(&self, center: &Center, terminal: &TerminalId) -> Result<ChainView, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let chain = sale::store::chain(&mut conn, center.no, terminal).await?;
        let waiting = store::waiting_numbers(&mut conn, center.no, terminal, WAITING_TOLD_MAX).await?;
        Ok(ChainView {
            last: chain.last,
            hash: chain.hash.unwrap_or(NO_HASH),
            missing: entity::missing(chain.last, &waiting),
        })
    }

    /// A sale as it stands.
    ///
    /// Errors: NOT_FOUND.
    pub async fn sale(&self, center: &Center, terminal: &TerminalId, number: i64) -> Result<Sale, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let found = sale::store::get(&mut conn, center, terminal, number).await?;
        found.ok_or_else(|| R::SaleNotFound { number }.into())
    }

    /// Up to `limit` sales of a terminal before a number, latest first.
    pub async fn sales_of(
        &self,
        center: &Center,
        terminal: &TerminalId,
        before: Option<i64>,
        limit: i64,
    ) -> Result<Vec<Sale>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(sale::store::of_terminal(&mut conn, center, terminal, before, limit).await?)
    }

    /// Up to `limit` sales that wait for finance, after a transaction, oldest first.
    pub async fn sales_waiting(&self, center: &Center, after: Seq, limit: i64) -> Result<Vec<Sale>, LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        Ok(sale::store::open(&mut conn, center, after, limit).await?)
    }

    /// Charges a sale that waits for finance to what the detainee has available.
    ///
    /// Errors: NOT_FOUND, OFFLINE_SALE_NOT_WAITING, OFFLINE_SALE_NOT_PRICED, INSUFFICIENT_FUNDS.
    pub async fn charge(
        &self,
        center: &Center,
        request: Request,
        (terminal, number): (TerminalId, i64),
        reason: String,
    ) -> Result<Posted, LedgerError> {
        self.resolve(center, request, (terminal, number), Way::Charge, reason)
            .await
    }

    /// Ends a sale that waits for finance without moving money.
    ///
    /// Errors: NOT_FOUND, OFFLINE_SALE_NOT_WAITING.
    pub async fn dismiss(
        &self,
        center: &Center,
        request: Request,
        (terminal, number): (TerminalId, i64),
        reason: String,
    ) -> Result<Posted, LedgerError> {
        self.resolve(center, request, (terminal, number), Way::Dismiss, reason)
            .await
    }

    async fn resolve(
        &self,
        center: &Center,
        request: Request,
        (terminal, number): (TerminalId, i64),
        way: Way,
        reason: String,
    ) -> Result<Posted, LedgerError> {
        let command = Resolve {
            request,
            terminal,
            number,
            way,
            reason,
        };
        self.lanes.submit_rare(center, command).await
    }

    /// Asks others to allow that the center pays a sale that waits for finance.
    ///
    /// Errors: NOT_FOUND, OFFLINE_SALE_NOT_WAITING, OFFLINE_SALE_NOT_PRICED, APPROVAL_PENDING.
    pub async fn propose_write_off(
        &self,
        center: &Center,
        request: Request,
        maker: Person,
        (terminal, number): (TerminalId, i64),
        reason: String,
    ) -> Result<(Approval, bool), LedgerError> {
        let question = WriteOffQuestion {
            terminal,
            number,
            reason: reason.clone(),
        };
        let asking = Asking { request, maker, reason };
        self.approvals.ask(center, &asking, &question).await
    }

    /// Declares numbers lost that a terminal will never bring in, and takes in what waited for them.
    ///
    /// Errors: OFFLINE_NUMBERS_NOT_MISSING.
    pub async fn skip(
        &self,
        center: &Center,
        request: Request,
        terminal: &TerminalId,
        through: i64,
        reason: String,
    ) -> Result<Posted, LedgerError> {
        let command = Skip {
            request,
            terminal: terminal.clone(),
            through,
            reason,
        };
        let posted = self.lanes.submit_rare(center, command).await?;
        self.take_waiting(center, terminal).await?;
        Ok(posted)
    }

    /// Releases allowances whose time to report is over, and takes in what waits although it is its turn, because a process died in
    /// between. Safe in any number of processes: each release is one request.
    pub async fn look(&self, center: &Center) -> Result<(), LedgerError> {
        let mut conn = self.lanes.database().read.acquire().await?;
        let due = store::due(&mut conn, center.no, self.now(), EXPIRED_MAX).await?;
        let terminals = store::waiting_terminals(&mut conn, center.no).await?;
        drop(conn);
        for seq in due {
            let id = RequestId::derived(&["allowance", "expired", &seq.to_string()]);
            let command = End {
                request: Request {
                    id,
                    method: EXPIRE_METHOD,
                    body: seq.0.to_be_bytes().to_vec(),
                    actor: "job/allowances".to_owned(),
                },
                allowance: seq,
                terminal: None,
                reason: EndReason::Expired,
                last_number: None,
            };
            match self.lanes.submit_rare(center, command).await {
                // Its terminal was faster.
                Ok(_) | Err(LedgerError::Refused { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        for terminal in terminals {
            self.take_waiting(center, &terminal).await?;
        }
        Ok(())
    }
}

/// Refuses to pay somebody out while a terminal may have sold to them: money that may be spent already must not leave. Inside the
/// caller's transaction.
///
/// Errors: ALLOWANCE_OPEN, which tells when it is released at the latest.
pub async fn require_none_open_in_tx(conn: &mut Conn, center: &Center, detainee: &DetaineeId) -> Result<(), Declined> {
    let filter = AllowanceFilter {
        detainee: Some(detainee.clone()),
        open: true,
        ..AllowanceFilter::default()
    };
    match store::allowances(conn, center, &filter, 1).await?.pop() {
        None => Ok(()),
        Some(open) => Err(R::AllowanceOpen {
            detainee: open.detainee,
            terminal: open.terminal,
            allowance: open.seq,
            remaining: open.remaining,
            releases_at: open.releases_at,
        }
        .into()),
    }
}
