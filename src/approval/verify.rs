//! Approvals against the transactions that ran them, and against the rules of who may decide.

use futures::future::{BoxFuture, FutureExt as _};

use super::{Approval, ApprovalFilter, End, store};
use crate::{
    db::Conn,
    ids::RequestId,
    ledger::verify::{Check, Page, VerifyError},
    proto::{ApprovalFacts, JournalRecord},
};

/// Most approvals read at once.
const PAGE: i64 = 500;

/// Whether a transaction needed others.
#[derive(Debug, Clone, Copy)]
pub enum Need<'a> {
    /// One person may do it, or the service itself.
    Nobody,
    /// It did; what its record says of the approval, if it does.
    Others(Option<&'a ApprovalFacts>),
}

/// Reads whether a record needed others, and what it says of the approval that allowed it.
pub type Told = fn(&JournalRecord) -> Need<'_>;

/// Nobody decided on what they asked for or twice, enough people allowed what ran, and what ran is the transaction that the
/// approval names. Every transaction that needed an approval had it.
pub struct ApprovalsCheck {
    told: Told,
}

impl ApprovalsCheck {
    /// `told` finds the approval in the facts of the kinds that need one.
    pub fn new(told: Told) -> ApprovalsCheck {
        ApprovalsCheck { told }
    }
}

impl Check for ApprovalsCheck {
    fn page<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            for record in page.records {
                match (self.told)(record) {
                    Need::Nobody => {}
                    Need::Others(Some(facts)) => allowed(conn, page, record, facts).await?,
                    Need::Others(None) => {
                        return Err(page.differs(record, "it needs several people, and names no approval"));
                    }
                }
            }
            Ok(())
        }
        .boxed()
    }

    fn end<'a>(&'a mut self, conn: &'a mut Conn, page: &'a Page<'a>) -> BoxFuture<'a, Result<(), VerifyError>> {
        async move {
            let mut filter = ApprovalFilter::default();
            loop {
                let found = store::list(conn, page.center, &filter, PAGE).await?;
                for approval in &found {
                    stands(conn, page, approval).await?;
                }
                match found.last() {
                    Some(last) => filter.before = Some(last.no),
                    None => break,
                }
            }
            if let Some(no) = store::first_wrongly_granted(conn, page.center.no).await? {
                let what = "it must be there exactly when everybody needed has allowed it";
                return Err(page.row_differs("approval_grant", no, what));
            }
            let lost = store::first_wrongly_open(conn, page.center.no).await?;
            lost.map_or(Ok(()), |no| {
                Err(page.row_differs("approval_open", no, "it must be there exactly until the approval ends"))
            })
        }
        .boxed()
    }
}

/// The approval that a record names was given, and was for this very request. Its end may not be written down yet.
async fn allowed(
    conn: &mut Conn,
    page: &Page<'_>,
    record: &JournalRecord,
    facts: &ApprovalFacts,
) -> Result<(), VerifyError> {
    let approval = store::get(conn, page.center, facts.approval).await?;
    let approval =
        approval.ok_or_else(|| page.differs(record, format!("approval {} is not stored", facts.approval)))?;
    if !approval.is_approved() || approval.facts() != *facts {
        let what = format!("approval {} does not say what the record says of it", facts.approval);
        return Err(page.differs(record, what));
    }
    let seq = match &approval.end {
        Some((End::Executed(seq), _)) => seq.map(|seq| seq.0),
        Some(_) => None,
        None => Some(record.seq),
    };
    if approval.run_id().to_string() != record.request_id || seq != Some(record.seq) {
        let what = format!("approval {} allowed another transaction", facts.approval);
        return Err(page.differs(record, what));
    }
    Ok(())
}

/// What can be said of one approval by itself and its transaction.
async fn stands(conn: &mut Conn, page: &Page<'_>, approval: &Approval) -> Result<(), VerifyError> {
    let differs = |what: String| Err(page.row_differs("approval", approval.no, what));
    let mut people: Vec<&str> = approval
        .decisions
        .iter()
        .map(|decision| decision.person.id.as_str())
        .collect();
    if people.contains(&approval.maker.id.as_str()) {
        return differs(format!("{} decided on what they asked for", approval.maker.id));
    }
    people.sort_unstable();
    people.dedup();
    if people.len() != approval.decisions.len() {
        return differs("somebody decided twice".into());
    }
    if approval.checkers_needed < super::entity::checkers_needed(approval.amount) {
        return differs(format!(
            "{} people are too few for its amount",
            approval.checkers_needed
        ));
    }
    match &approval.end {
        Some((End::Executed(_) | End::Failed(_), _)) if !approval.is_approved() => {
            differs("it ran before everybody needed had allowed it".into())
        }
        Some((End::Executed(Some(seq)), _)) => {
            let request = store::request_of(conn, page.center.no, *seq).await?.map(RequestId);
            if request == Some(approval.run_id()) {
                Ok(())
            } else {
                differs(format!("transaction {seq} is not what it allowed"))
            }
        }
        Some((End::Expired, _)) if approval.is_approved() => differs("it expired although it was allowed".into()),
        _ => Ok(()),
    }
}
