//! Stays that follow one another: a person leaves a center for another one and is received there under a new custody number.

use time::OffsetDateTime;

use super::{Admission, CustodyRefusal, Detainee, DetaineeState, Stay, store};
use crate::{
    db::{self, Conn},
    ids::{CenterId, CenterNo, DetaineeId},
    ledger::{Center, Declined, Refusal},
};

/// The most stays that are followed from one to the next.
const STAYS_MAX: usize = 100;

/// Ends a stay by a move. The caller holds the journal's head, has it touch the rules, and commits.
pub async fn leave_in_tx(conn: &mut Conn, center: CenterNo, id: &DetaineeId, to: &Stay) -> db::Result<()> {
    store::set_went_to(conn, center, id, to).await
}

/// Begins the stay that follows another: opens four accounts, and tells whether the person is convicted by the transfer's
/// document. The caller holds the journal's head, has it touch the rules, and commits.
///
/// Errors: INVALID_FIELD for a tier that the center does not have. That the number is free is for the caller to look at first.
pub async fn receive_in_tx(
    conn: &mut Conn,
    center: &Center,
    before: &Detainee,
    (from, id, tier): (&Stay, &DetaineeId, i16),
    (document, by, at): (&str, &str, OffsetDateTime),
) -> Result<Detainee, Declined> {
    require_tier_in_tx(conn, center.no, tier).await?;
    let admission = Admission {
        id: id.clone(),
        name: before.name.clone(),
        name_zh: before.name_zh.clone(),
        tier,
        birth_date: before.birth_date,
    };
    let detainee = store::insert_detainee(conn, center.no, admission, Some(from), at).await?;
    if before.is_convicted {
        store::insert_legal_status(conn, center.no, id, true, document, at, by).await?;
    }
    Ok(Detainee {
        is_convicted: before.is_convicted,
        ..detainee
    })
}

/// Refuses a regime tier that a center does not have.
///
/// Errors: INVALID_FIELD.
pub async fn require_tier_in_tx(conn: &mut Conn, center: CenterNo, tier: i16) -> Result<(), Declined> {
    if store::tier_exists(conn, center, tier).await? {
        Ok(())
    } else {
        Err(Refusal::from(CustodyRefusal::UnknownTier { tier }).into())
    }
}

/// A center by its id, inside the caller's transaction.
pub async fn center_in_tx(conn: &mut Conn, id: &CenterId) -> db::Result<Option<Center>> {
    store::center(conn, id.as_str()).await
}

/// Where somebody is now: the last of the stays that follow theirs, with its center. Nobody who has not moved.
pub async fn where_now_in_tx(
    conn: &mut Conn,
    center: &Center,
    id: &DetaineeId,
) -> db::Result<Option<(Center, Detainee)>> {
    let (mut at, mut found) = (center.clone(), store::detainee(conn, center.no, id).await?);
    for _ in 0..STAYS_MAX {
        match found {
            Some(detainee) if detainee.state == DetaineeState::Transferred => {
                let Some(next) = detainee.went_to else { return Ok(None) };
                let Some(center) = store::center(conn, next.center.as_str()).await? else {
                    return Ok(None);
                };
                found = store::detainee(conn, center.no, &next.detainee).await?;
                at = center;
            }
            found => {
                return Ok(found
                    .filter(|last| (at.no, &last.id) != (center.no, id))
                    .map(|last| (at, last)));
            }
        }
    }
    Ok(None)
}
