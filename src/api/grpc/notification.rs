//! ListNotifications of RemittanceService.

use tonic::{Request, Response, Status};
use uuid::Uuid;

use super::{
    auth::{actor, denied_status},
    convert::{timestamp, transaction_name},
    name::CenterName,
    page::Page,
    scope,
};
use crate::{
    api::status::invalid_field,
    custody::Custody,
    ledger::Center,
    proto::{
        GatewayNotification, ListNotificationsRequest, ListNotificationsResponse,
        gateway_notification::{Effect, Verdict},
    },
    remittance::{KeptNotification, Remittances},
};

/// The parent of what tells no center of ours.
const NO_CENTER: &str = "centers/-";

/// What gateways have posted.
pub(super) async fn list(
    custody: &Custody,
    remittances: &Remittances,
    call: Request<ListNotificationsRequest>,
) -> Result<Response<ListNotificationsResponse>, Status> {
    let actor = actor(&call)?;
    let message = call.get_ref();
    let center = if message.parent == NO_CENTER {
        actor.require_all_centers().map_err(|denied| denied_status(&denied))?;
        None
    } else {
        let name = CenterName::parse(&message.parent, "parent")?;
        Some(scope::center(custody, actor, name.center).await?)
    };
    let arguments = [message.parent.as_str()];
    let page = Page::read("ListNotifications", &arguments, message.page_size, &message.page_token)?;
    let before = page.after().map(Uuid::parse_str).transpose();
    let before = before.map_err(|_| invalid_field("page_token", "is not a token of this service"))?;
    let found = remittances.notifications(center.as_ref(), before, page.limit()).await?;
    let (found, next_page_token) = page.finish(found, |kept| kept.id.to_string());
    Ok(Response::new(ListNotificationsResponse {
        notifications: found.into_iter().map(|kept| out(kept, center.as_ref())).collect(),
        next_page_token,
    }))
}

fn out(kept: KeptNotification, center: Option<&Center>) -> GatewayNotification {
    let verdict = match kept.verdict.as_str() {
        "BELIEVED" => Verdict::Believed,
        "REJECTED" => Verdict::Rejected,
        _ => Verdict::Unbelieved,
    };
    let effect = match kept.effect.as_str() {
        "CREDITED" => Effect::Credited,
        "SUSPENDED" => Effect::Suspended,
        "REPEATED" => Effect::Repeated,
        "UNMATCHED" => Effect::Unmatched,
        "REFUND" => Effect::Refund,
        _ => Effect::Unspecified,
    };
    let transaction = center.zip(kept.seq).map(|(center, seq)| transaction_name(center, seq));
    GatewayNotification {
        notification_id: kept.id.to_string(),
        channel: kept.channel,
        receive_time: timestamp(kept.received_at),
        digest: hex::encode(kept.digest),
        body_size: kept.body_bytes,
        headers: kept.headers,
        verdict: verdict.into(),
        reason: kept.reason,
        effect: effect.into(),
        subject: kept.subject,
        transaction: transaction.unwrap_or_default(),
    }
}
