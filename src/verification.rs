//! Verification put together: the ledger's replay with the checks of every domain.

use crate::{
    approval::{ApprovalsCheck, Need, is_large_payout},
    beneficiary::BeneficiariesCheck,
    commissary::CommissaryCheck,
    contract::ContractsCheck,
    custody::DetaineesCheck,
    db::{Conn, Database},
    distribution::{CollectedCheck, DebtKind},
    ending::{EndingsCheck, Purpose},
    ledger::{
        Center,
        verify::{self, Check, Verified, VerifyError},
    },
    money::{Amount, Currency},
    offline_sales::OfflineSalesCheck,
    payer::PayersCheck,
    payment::PaymentsCheck,
    proto::{JournalRecord, TransactionKind, journal_record::Facts},
    reconciliation::FeesCheck,
    refund::{self, RETURN_METHOD, RefundsCheck},
    remittance::RemittancesCheck,
    settlement::SettlementsCheck,
    terminal::{SessionsCheck, TerminalsCheck},
    transfer::TransfersCheck,
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
        Box::new(ApprovalsCheck::new(need_of)),
        Box::<WorkCheck>::default(),
        Box::<UnmatchedCheck>::default(),
        Box::<ContractsCheck>::default(),
        Box::<PaymentsCheck>::default(),
        Box::<OfflineSalesCheck>::default(),
        Box::<TerminalsCheck>::default(),
        Box::<SessionsCheck>::default(),
        Box::<BeneficiariesCheck>::default(),
        Box::<EndingsCheck>::default(),
        Box::<TransfersCheck>::default(),
    ]
}

/// Whether a record needed several people, and which approval it tells of.
fn need_of(record: &JournalRecord) -> Need<'_> {
    let is_large = |amount: &str| {
        let currency = Currency::parse(&record.currency_code);
        let amount = currency.map(|currency| Amount::parse(amount, currency));
        // What cannot be read is reported by the replay; here it needs more rather than less.
        !matches!(amount, Ok(Ok(amount)) if !is_large_payout(amount))
    };
    let (needs, approval) = match &record.facts {
        Some(Facts::UnmatchedCredit(facts)) => (true, &facts.approval),
        Some(Facts::UnmatchedReturn(facts)) => (true, &facts.approval),
        Some(Facts::CreditReversal(facts)) => (true, &facts.approval),
        Some(Facts::Credit(facts)) => (false, &facts.release),
        Some(Facts::Debt(facts)) => (facts.kind == DebtKind::Advance.name(), &facts.approval),
        Some(Facts::OfflineSaleEnd(facts)) => {
            (record.kind() == TransactionKind::OfflineSaleWrittenOff, &facts.approval)
        }
        // What a bank is said to have rejected is looked at by those who read its file: one approval for many transactions.
        Some(Facts::Outcome(facts)) if record.method == refund::PUT_BACK_METHOD => (true, &facts.approval),
        Some(Facts::Payout(facts)) => {
            let needs = facts.purpose != Purpose::Release.name() || is_large(&facts.amount);
            (needs, &facts.approval)
        }
        Some(Facts::MadeUnclaimed(facts)) => (true, &facts.approval),
        Some(Facts::Treasury(facts)) => (true, &facts.approval),
        Some(Facts::WriteOff(facts)) => (true, &facts.approval),
        Some(Facts::Merge(facts)) => (true, &facts.approval),
        Some(Facts::Release(facts)) => (is_large(&facts.amount), &facts.approval),
        Some(Facts::Refund(facts)) if facts.rejection.is_some() => (true, &facts.rejection),
        Some(Facts::Refund(facts)) => {
            let by_itself = record.method == RETURN_METHOD;
            let by_bank = facts.channel == refund::bank::CHANNEL;
            let needs = !by_itself && (by_bank || record.reverses != 0 || is_large(&facts.amount));
            (needs, &facts.approval)
        }
        Some(Facts::Withholding(facts)) => (true, &facts.approval),
        Some(Facts::WithholdingEnd(facts)) => (true, &facts.approval),
        // Where a detainee is received it runs; that they were let go, the transfers' own check looks at.
        Some(Facts::Transfer(facts)) if record.kind() == TransactionKind::TransferIn => (true, &facts.approval),
        Some(Facts::BroughtBack(facts)) if record.kind() == TransactionKind::BroughtBackOut => (true, &facts.approval),
        Some(Facts::Forwarded(facts)) => (record.reverses != 0 && facts.remittance.is_empty(), &facts.approval),
        _ => return Need::Nobody,
    };
    match approval {
        None if !needs => Need::Nobody,
        told => Need::Others(told.as_ref()),
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
