//! Whose center, whose detainee: what can only be said once a message is read.

use std::sync::Arc;

use futures::future::BoxFuture;
use tonic::Status;

use super::{auth::denied_status, convert::typed};
use crate::{
    access::Actor,
    custody::Custody,
    ids::{CenterId, DetaineeId, PayerId},
    ledger::{Center, LedgerError},
};

/// Tells whether a payer is linked to a detainee of a center.
pub type Linked =
    Arc<dyn Fn(Center, PayerId, DetaineeId) -> BoxFuture<'static, Result<bool, LedgerError>> + Send + Sync>;

/// The center a call is about, once it is known that the caller may ask about it: not allowed comes before not found.
pub async fn center(custody: &Custody, actor: &Actor, id: &str) -> Result<Center, Status> {
    let id = typed(CenterId::parse(id), "name")?;
    actor.require_center(&id).map_err(|denied| denied_status(&denied))?;
    Ok(custody.center(&id).await?)
}

/// Refuses a detainee who is another than the one that the request names.
pub fn own(actor: &Actor, id: &str, field: &str) -> Result<DetaineeId, Status> {
    let id = typed(DetaineeId::parse(id), field)?;
    actor.require_self(&id).map_err(|denied| denied_status(&denied))?;
    Ok(id)
}

/// Refuses a payer who is not linked to the detainee, and a detainee who is another.
pub async fn detainee(
    linked: &Linked,
    actor: &Actor,
    center: &Center,
    id: &str,
    field: &str,
) -> Result<DetaineeId, Status> {
    let id = own(actor, id, field)?;
    if let Some(payer) = actor.confined_to_payer() {
        let is_linked = linked(center.clone(), payer.clone(), id.clone()).await?;
        actor
            .require_detainee(&id, is_linked)
            .map_err(|denied| denied_status(&denied))?;
    }
    Ok(id)
}
