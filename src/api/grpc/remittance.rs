//! RemittanceService.

use futures::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    approval::approval_out,
    auth::{actor, denied_status, until_expired},
    convert::{positive_amount_in, request, typed},
    identity::reason_told,
    name::{CenterName, DetaineeName, PayerName, RemittanceName},
    notification,
    page::Page,
    payer::PayerApi,
    remittance_view::Views,
    remittance_watch::RemittanceStream,
    respond,
    scope::{self, Linked},
};
use crate::{
    access::Actor,
    api::status::{invalid_field, unavailable},
    approval::{Desk, Person},
    custody::Custody,
    gateway::PaymentMethod,
    ids::{DetaineeId, PayerId, RemittanceId},
    ledger::{Center, LedgerError},
    proto::{
        Approval, CancelRemittanceRequest, CreatePayerLinkRequest, CreatePayerRequest, CreateRemittanceRequest,
        GetPayerRequest, GetRemittanceRequest, ListNotificationsRequest, ListNotificationsResponse,
        ListPayerLinksRequest, ListPayerLinksResponse, ListPayersRequest, ListPayersResponse, ListRemittancesRequest,
        ListRemittancesResponse, Payer, PayerLink, RefreshRemittanceRequest, Remittance, ReviewRemittanceRequest,
        WatchRemittanceRequest, remittance_service_server::RemittanceService,
    },
    refund::{Review, ask_for_review},
    remittance::{self, Canceller, NewRemittance, RemittanceFilter, Remittances},
};

/// The service over its domain.
#[derive(Clone)]
pub struct RemittanceApi {
    custody: Custody,
    remittances: Remittances,
    payers: PayerApi,
    views: Views,
    desk: Desk,
    linked: Linked,
    /// Cancelled when the service is to stop.
    stop: CancellationToken,
}

impl RemittanceApi {
    /// The service; `linked` tells which detainees a payer may see.
    pub fn new(
        custody: Custody,
        remittances: Remittances,
        payers: PayerApi,
        views: Views,
        desk: Desk,
        linked: Linked,
        stop: CancellationToken,
    ) -> RemittanceApi {
        RemittanceApi {
            custody,
            remittances,
            payers,
            views,
            desk,
            linked,
            stop,
        }
    }

    /// Asks others to allow the end of a review.
    async fn review(
        &self,
        call: &Request<ReviewRemittanceRequest>,
        method: &'static str,
        review: Review,
    ) -> Result<Response<Approval>, Status> {
        let (actor, message) = (actor(call)?, call.get_ref());
        let name = RemittanceName::parse(&message.name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = typed(RemittanceId::parse(name.remittance), "name")?;
        let reason = reason_told(&message.reason, "reason")?;
        let asked = (request(&message.request_id, method, message, actor)?, Person::of(actor));
        let approvals = self.desk.approvals();
        let (approval, replayed) = ask_for_review(approvals, &center, asked, review, id, reason).await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    /// A remittance that the caller may see.
    async fn visible(&self, actor: &Actor, name: &str) -> Result<(Center, remittance::Remittance), Status> {
        let name = RemittanceName::parse(name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let remittance = visible(&self.remittances, actor, &center, name.remittance).await?;
        Ok((center, remittance))
    }
}

/// The remittance of an id. A payer sees their own and no others, nor whether there are others.
pub(super) async fn visible(
    remittances: &Remittances,
    actor: &Actor,
    center: &Center,
    id: &str,
) -> Result<remittance::Remittance, Status> {
    let id = typed(RemittanceId::parse(id), "name")?;
    let found = remittances.remittance(center, &id).await;
    let payer = match &found {
        Ok(remittance) => Some(&remittance.payer),
        Err(LedgerError::Refused { .. }) => None,
        Err(_) => return Ok(found?),
    };
    actor
        .require_remittance(&id, payer)
        .map_err(|denied| denied_status(&denied))?;
    Ok(found?)
}

/// The payer of an id, whom the caller may act for.
pub(super) fn own_payer(actor: &Actor, text: &str, field: &str) -> Result<PayerId, Status> {
    let payer = typed(PayerId::parse(text), field)?;
    actor.require_payer(&payer).map_err(|denied| denied_status(&denied))?;
    Ok(payer)
}

/// The most characters of a gateway's id of a payer.
const IN_APP_PAYER_LEN_MAX: usize = 128;

fn in_app_payer(text: &str) -> Result<Option<String>, Status> {
    let is_id = text.len() <= IN_APP_PAYER_LEN_MAX && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !is_id {
        let problem = format!("has at most {IN_APP_PAYER_LEN_MAX} visible ASCII characters");
        return Err(invalid_field("in_app_payer", &problem).into());
    }
    Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
}

#[tonic::async_trait]
impl RemittanceService for RemittanceApi {
    async fn create_payer(&self, call: Request<CreatePayerRequest>) -> Result<Response<Payer>, Status> {
        self.payers.create_payer(call).await
    }

    async fn get_payer(&self, call: Request<GetPayerRequest>) -> Result<Response<Payer>, Status> {
        self.payers.get_payer(call).await
    }

    async fn list_payers(&self, call: Request<ListPayersRequest>) -> Result<Response<ListPayersResponse>, Status> {
        self.payers.list_payers(call).await
    }

    async fn create_payer_link(&self, call: Request<CreatePayerLinkRequest>) -> Result<Response<PayerLink>, Status> {
        self.payers.create_payer_link(call).await
    }

    async fn list_payer_links(
        &self,
        call: Request<ListPayerLinksRequest>,
    ) -> Result<Response<ListPayerLinksResponse>, Status> {
        self.payers.list_payer_links(call).await
    }

    async fn create_remittance(&self, call: Request<CreateRemittanceRequest>) -> Result<Response<Remittance>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let payer = PayerName::parse_in(&message.payer, "payer", center.id.as_str())?;
        let payer = own_payer(actor, payer.payer, "payer")?;
        let detainee = DetaineeName::parse_in(&message.detainee, "detainee", center.id.as_str())?;
        let new = NewRemittance {
            request: request(&message.request_id, remittance::METHOD, message, actor)?,
            payer,
            detainee: scope::detainee(&self.linked, actor, &center, detainee.detainee, "detainee").await?,
            amount: positive_amount_in(message.amount.as_ref(), center.currency, "amount")?,
            channel: Some(message.channel.clone()).filter(|channel| !channel.is_empty()),
            method: PaymentMethod::of(in_app_payer(&message.in_app_payer)?),
        };
        let (remittance, replayed) = self.remittances.create(&center, new).await?;
        Ok(respond(self.views.one(&center, remittance).await?, replayed))
    }

    async fn get_remittance(&self, call: Request<GetRemittanceRequest>) -> Result<Response<Remittance>, Status> {
        let (center, remittance) = self.visible(actor(&call)?, &call.get_ref().name).await?;
        Ok(Response::new(self.views.one(&center, remittance).await?))
    }

    async fn list_remittances(
        &self,
        call: Request<ListRemittancesRequest>,
    ) -> Result<Response<ListRemittancesResponse>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let payer = match PayerName::parse_filter(&message.payer, "payer", center.id.as_str())? {
            Some(name) => Some(own_payer(actor, name.payer, "payer")?),
            None => actor.confined_to_payer().cloned(),
        };
        let detainee = DetaineeName::parse_filter(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = detainee
            .map(|name| typed(DetaineeId::parse(name.detainee), "detainee"))
            .transpose()?;
        let arguments = [
            message.parent.as_str(),
            message.payer.as_str(),
            message.detainee.as_str(),
        ];
        let page = Page::read("ListRemittances", &arguments, message.page_size, &message.page_token)?;
        let filter = RemittanceFilter {
            payer,
            detainee,
            before: page.after_number()?,
        };
        let remittances = self.remittances.list(&center, &filter, page.limit()).await?;
        let (remittances, next_page_token) = page.finish(remittances, |remittance| remittance.number.to_string());
        let remittances = self.views.all(&center, remittances).await?;
        Ok(Response::new(ListRemittancesResponse {
            remittances,
            next_page_token,
        }))
    }

    async fn list_notifications(
        &self,
        call: Request<ListNotificationsRequest>,
    ) -> Result<Response<ListNotificationsResponse>, Status> {
        notification::list(&self.custody, &self.remittances, call).await
    }

    async fn refresh_remittance(
        &self,
        call: Request<RefreshRemittanceRequest>,
    ) -> Result<Response<Remittance>, Status> {
        let (center, remittance) = self.visible(actor(&call)?, &call.get_ref().name).await?;
        let remittance = self.remittances.refresh(&center, &remittance.id).await?;
        Ok(Response::new(self.views.one(&center, remittance).await?))
    }

    async fn cancel_remittance(&self, call: Request<CancelRemittanceRequest>) -> Result<Response<Remittance>, Status> {
        let actor = actor(&call)?;
        let (center, remittance) = self.visible(actor, &call.get_ref().name).await?;
        let by = Canceller {
            actor: &actor.name(),
            is_payer: actor.confined_to_payer().is_some(),
        };
        let remittance = self.remittances.cancel(&center, &remittance.id, by).await?;
        Ok(Response::new(self.views.one(&center, remittance).await?))
    }

    async fn release_remittance(&self, call: Request<ReviewRemittanceRequest>) -> Result<Response<Approval>, Status> {
        self.review(&call, "custody.v1.RemittanceService/ReleaseRemittance", Review::Release)
            .await
    }

    async fn reject_remittance(&self, call: Request<ReviewRemittanceRequest>) -> Result<Response<Approval>, Status> {
        self.review(&call, "custody.v1.RemittanceService/RejectRemittance", Review::Reject)
            .await
    }

    type WatchRemittanceStream = RemittanceStream;

    async fn watch_remittance(
        &self,
        call: Request<WatchRemittanceRequest>,
    ) -> Result<Response<RemittanceStream>, Status> {
        let (center, remittance) = self.visible(actor(&call)?, &call.get_ref().name).await?;
        let seat = self.views.seats.take(&center, actor(&call)?)?;
        // Beyond the token, or when the service stops, the watcher comes again.
        let expired = until_expired(&call, self.views.clock())?;
        let stop = self.stop.clone().cancelled_owned();
        let ended = async move {
            tokio::select! {
                expired = expired => expired,
                () = stop => unavailable(),
            }
        };
        let ended = ended.boxed().shared();
        let stream = self
            .views
            .watch(center, remittance.id, seat)
            .map(Some)
            // It may come to its end by itself; only what ends it before that is told.
            .chain(futures::stream::once(async { None }))
            .take_until(ended.clone())
            .chain(ended.map(|status| Some(Err(status))).into_stream())
            .take_while(|item| std::future::ready(item.is_some()))
            .filter_map(std::future::ready);
        Ok(Response::new(Box::pin(stream)))
    }
}
