//! Verification put together: the ledger's replay with the checks of every domain.

use crate::{
    approval::ApprovalsCheck,
    commissary::CommissaryCheck,
    contract::ContractsCheck,
    custody::DetaineesCheck,
    db::{Conn, Database},
    distribution::CollectedCheck,
    ledger::{
        Center,
        verify::{self, Check, Verified, VerifyError},
    },
    payer::PayersCheck,
    payment::PaymentsCheck,
    proto::{ApprovalFacts, JournalRecord, journal_record::Facts},
    reconciliation::FeesCheck,
    refund::RefundsCheck,
    remittance::RemittancesCheck,
    settlement::SettlementsCheck,
    unmatched::UnmatchedCheck,
    work::WorkCheck,
};

/// The checks of all domains, fresh: they remember one journal.
fn checks() -> Vec<Box<dyn Check>> {
    vec![
        Box::<DetaineesCheck>::default(),
        Box::<CommissaryCheck>::default(),
        Box::<CollectedCheck>::default(),
        Box::<PayersCheck>::default(),
        Box::<RemittancesCheck>::default(),
        Box::<SettlementsCheck>::default(),
        Box::<RefundsCheck>::default(),
        Box::<FeesCheck>::default(),
        Box::new(ApprovalsCheck::new(approval_of)),
        Box::<WorkCheck>::default(),
        Box::<UnmatchedCheck>::default(),
        Box::<ContractsCheck>::default(),
        Box::<PaymentsCheck>::default(),
    ]
}

/// The approval that a record tells of, by the kinds that need one.
fn approval_of(record: &JournalRecord) -> Option<&ApprovalFacts> {
    match record.facts.as_ref()? {
        Facts::UnmatchedCredit(facts) => facts.approval.as_ref(),
        Facts::UnmatchedReturn(facts) => facts.approval.as_ref(),
        Facts::Credit(facts) => facts.release.as_ref(),
        Facts::Refund(facts) => facts.rejection.as_ref(),
        _ => None,
    }
}

/// Verifies everything of one center as it stood at one moment, while the service may go on.
///
/// # Errors
/// The first difference, or that the database could not be read.
pub async fn verify_snapshot(database: &Database, center: &Center) -> Result<Verified, VerifyError> {
    verify::verify_snapshot(database, center, checks()).await
}

/// Verifies everything of one center. The caller sees to it that nothing is written meanwhile, or holds a snapshot.
///
/// # Errors
/// The first difference, or that the database could not be read.
pub async fn verify(conn: &mut Conn, center: &Center) -> Result<Verified, VerifyError> {
    verify::verify(conn, center, checks()).await
}
