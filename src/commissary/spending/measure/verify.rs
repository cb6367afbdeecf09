//! Measures against the approvals that allowed them.

use super::{Measure, MeasureKind, ask::Proposal, store};
use crate::{
    approval,
    db::Conn,
    ledger::{
        record,
        verify::{Page, VerifyError},
    },
    proto::{FreezeEndCommand, MeasureCommand},
};

/// Most measures of a center that are looked at.
const MEASURES_MAX: i64 = 1_000_000;

/// Every measure of a center, oldest first, each known to be what two people have allowed if it takes two. They are numbered
/// without holes.
pub(in crate::commissary) async fn measures(conn: &mut Conn, page: &Page<'_>) -> Result<Vec<Measure>, VerifyError> {
    let mut found = store::list(conn, page.center, None, i64::MAX, MEASURES_MAX).await?;
    found.reverse();
    for (no, measure) in (1..).zip(&found) {
        if measure.no != no {
            return Err(page.row_differs("spending_measure", measure.no, "its number is not the next"));
        }
        stands(conn, page, measure).await?;
    }
    Ok(found)
}

async fn stands(conn: &mut Conn, page: &Page<'_>, measure: &Measure) -> Result<(), VerifyError> {
    let differs = |what: &str| Err(page.row_differs("spending_measure", measure.no, what));
    let needs = !matches!(measure.kind, MeasureKind::Restriction { .. });
    if measure.approval.is_some() != needs {
        return differs("it takes two people, or none, and says otherwise");
    }
    if let Some(no) = measure.approval {
        let Some(command) = allowed(conn, page, no).await? else {
            return differs("its approval has not allowed it");
        };
        let told: MeasureCommand = record::read_canonical(&command)?;
        if !is_as_told(page, measure, &told) {
            return differs("its approval has allowed another measure");
        }
    }
    let Some(end) = &measure.end else { return Ok(()) };
    let is_freeze = matches!(measure.kind, MeasureKind::Freeze { .. });
    match end.approval {
        None if is_freeze => differs("two people did not allow its end"),
        Some(_) if !is_freeze => differs("one person ends it, and its end names an approval"),
        Some(no) => match allowed(conn, page, no).await? {
            Some(command) if record::read_canonical::<FreezeEndCommand>(&command)?.measure == measure.no => Ok(()),
            _ => differs("its approval has not allowed its end"),
        },
        None => Ok(()),
    }
}

/// What an approval has allowed, if it has.
async fn allowed(conn: &mut Conn, page: &Page<'_>, no: i64) -> Result<Option<Vec<u8>>, VerifyError> {
    let found = approval::find_in_tx(conn, page.center, no).await?;
    Ok(found.filter(approval::Approval::is_approved).map(|found| found.command))
}

fn is_as_told(page: &Page<'_>, measure: &Measure, told: &MeasureCommand) -> bool {
    let Ok(proposal) = Proposal::of(told, page.center) else {
        return false;
    };
    let is_same = match (&proposal, &measure.kind) {
        (Proposal::Override(new), MeasureKind::Override { window, amount }) => {
            new.window == *window
                && new.amount == *amount
                && new.ends_at == measure.ends_at
                && new.starts_at.is_none_or(|told| told <= measure.starts_at)
        }
        (Proposal::Freeze(new), MeasureKind::Freeze { renews }) => {
            new.renews == *renews && measure.ends_at - measure.starts_at == time::Duration::days(new.days.into())
        }
        _ => false,
    };
    is_same && *proposal.detainee() == measure.detainee && told.document == measure.document
}
