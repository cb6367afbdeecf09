//! RemittanceService.

use futures::{FutureExt as _, StreamExt as _};
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::{
    approval::approval_out,
    auth::{actor, denied_status, until_expired},
    convert::{detainee_name, payer_name, positive_amount_in, request, text, timestamp, told, typed},
    name::{CenterName, DetaineeName, PayerLinkName, PayerName, RemittanceName, payer_or_all},
    page::Page,
    remittance_view::{RemittanceStream, Views},
    respond,
    scope::{self, Linked},
};
use crate::{
    access::Actor,
    api::status::{invalid_field, unavailable},
    approval::{Desk, Person},
    custody::Custody,
    ids::{DetaineeId, PayerId, RemittanceId},
    ledger::{Center, LedgerError},
    proto::{
        Approval, CreatePayerLinkRequest, CreatePayerRequest, CreateRemittanceRequest, GetPayerRequest,
        GetRemittanceRequest, ListPayerLinksRequest, ListPayerLinksResponse, ListPayersRequest, ListPayersResponse,
        ListRemittancesRequest, ListRemittancesResponse, Payer, PayerLink, RefreshRemittanceRequest, Remittance,
        ReviewRemittanceRequest, WatchRemittanceRequest, remittance_service_server::RemittanceService,
    },
    refund::{Review, ask_for_review},
    remittance::{self, LinkFilter, NewRemittance, RemittanceFilter, Remittances},
};

/// The service over its domain.
#[derive(Clone)]
pub struct RemittanceApi {
    custody: Custody,
    remittances: Remittances,
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
        views: Views,
        desk: Desk,
        linked: Linked,
        stop: CancellationToken,
    ) -> RemittanceApi {
        RemittanceApi {
            custody,
            remittances,
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
        let reason = told(&message.reason, "reason")?;
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

fn own_payer(actor: &Actor, text: &str, field: &str) -> Result<PayerId, Status> {
    let payer = typed(PayerId::parse(text), field)?;
    actor.require_payer(&payer).map_err(|denied| denied_status(&denied))?;
    Ok(payer)
}

fn payer_out(payer: remittance::Payer, center: &Center) -> Payer {
    Payer {
        name: payer_name(center, payer.id.as_str()),
        display_name: payer.name,
        account: payer.account,
        create_time: timestamp(payer.created_at),
    }
}

fn link_out(link: &remittance::PayerLink, center: &Center) -> PayerLink {
    PayerLink {
        name: PayerLinkName {
            center: center.id.as_str(),
            payer: link.payer.as_str(),
            detainee: link.detainee.as_str(),
        }
        .to_string(),
        payer: payer_name(center, link.payer.as_str()),
        detainee: detainee_name(center, link.detainee.as_str()),
        create_time: timestamp(link.created_at),
    }
}

#[tonic::async_trait]
impl RemittanceService for RemittanceApi {
    async fn create_payer(&self, call: Request<CreatePayerRequest>) -> Result<Response<Payer>, Status> {
        let message = call.get_ref();
        let name = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let id = typed(PayerId::parse(&message.payer_id), "payer_id")?;
        let told = message.payer.as_ref();
        let told = told.ok_or_else(|| invalid_field("payer", "is required"))?;
        let name = text(&told.display_name, "payer.display_name")?;
        let account = text(&told.account, "payer.account")?;
        let payer = self.remittances.create_payer(&center, id, name, account).await?;
        Ok(Response::new(payer_out(payer, &center)))
    }

    async fn get_payer(&self, call: Request<GetPayerRequest>) -> Result<Response<Payer>, Status> {
        let actor = actor(&call)?;
        let name = PayerName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = own_payer(actor, name.payer, "name")?;
        let payer = self.remittances.payer(&center, &id).await?;
        Ok(Response::new(payer_out(payer, &center)))
    }

    async fn list_payers(&self, call: Request<ListPayersRequest>) -> Result<Response<ListPayersResponse>, Status> {
        let message = call.get_ref();
        let name = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let page = Page::read("ListPayers", &[&message.parent], message.page_size, &message.page_token)?;
        let after = page.after().unwrap_or_default();
        let payers = self.remittances.list_payers(&center, after, page.limit()).await?;
        let (payers, next_page_token) = page.finish(payers, |payer| payer.id.to_string());
        let payers = payers.into_iter().map(|payer| payer_out(payer, &center)).collect();
        Ok(Response::new(ListPayersResponse {
            payers,
            next_page_token,
        }))
    }

    async fn create_payer_link(&self, call: Request<CreatePayerLinkRequest>) -> Result<Response<PayerLink>, Status> {
        let message = call.get_ref();
        let name = PayerName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let told = message.payer_link.as_ref();
        let told = told.ok_or_else(|| invalid_field("payer_link", "is required"))?;
        let detainee = DetaineeName::parse_in(&told.detainee, "payer_link.detainee", center.id.as_str())?;
        let payer = typed(PayerId::parse(name.payer), "parent")?;
        let detainee = typed(DetaineeId::parse(detainee.detainee), "payer_link.detainee")?;
        let link = self.remittances.create_link(&center, &payer, &detainee).await?;
        Ok(Response::new(link_out(&link, &center)))
    }

    async fn list_payer_links(
        &self,
        call: Request<ListPayerLinksRequest>,
    ) -> Result<Response<ListPayerLinksResponse>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, payer) = payer_or_all(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, center).await?;
        let payer = match payer {
            Some(payer) => Some(own_payer(actor, payer, "parent")?),
            // All that a payer may see are their own.
            None => actor.confined_to_payer().cloned(),
        };
        let filter = DetaineeName::parse_filter(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = filter
            .map(|name| typed(DetaineeId::parse(name.detainee), "detainee"))
            .transpose()?;
        let arguments = [message.parent.as_str(), message.detainee.as_str()];
        let page = Page::read("ListPayerLinks", &arguments, message.page_size, &message.page_token)?;
        // Ids have no slash.
        let after = page.after().and_then(|cursor| cursor.split_once('/'));
        let filter = LinkFilter {
            payer,
            detainee,
            after: after.map(|(payer, detainee)| (payer.to_owned(), detainee.to_owned())),
        };
        let links = self.remittances.list_links(&center, &filter, page.limit()).await?;
        let (links, next_page_token) = page.finish(links, |link| format!("{}/{}", link.payer, link.detainee));
        Ok(Response::new(ListPayerLinksResponse {
            payer_links: links.iter().map(|link| link_out(link, &center)).collect(),
            next_page_token,
        }))
    }

    async fn create_remittance(&self, call: Request<CreateRemittanceRequest>) -> Result<Response<Remittance>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let payer = PayerName::parse_in(&message.payer, "payer", center.id.as_str())?;
        let payer = own_payer(actor, payer.payer, "payer")?;
        let detainee = DetaineeName::parse_in(&message.detainee, "detainee", center.id.as_str())?;
        if message.channel.is_empty() {
            return Err(invalid_field("channel", "is required").into());
        }
        let new = NewRemittance {
            request: request(&message.request_id, remittance::METHOD, message, actor)?,
            payer,
            detainee: scope::detainee(&self.linked, actor, &center, detainee.detainee, "detainee").await?,
            amount: positive_amount_in(message.amount.as_ref(), center.currency, "amount")?,
            channel: message.channel.clone(),
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

    async fn refresh_remittance(
        &self,
        call: Request<RefreshRemittanceRequest>,
    ) -> Result<Response<Remittance>, Status> {
        let (center, remittance) = self.visible(actor(&call)?, &call.get_ref().name).await?;
        let remittance = self.remittances.refresh(&center, &remittance.id).await?;
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
        // It has no end of its own. Beyond the token, or when the service stops, the watcher comes again.
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
            .watch(center, remittance.id)
            .take_until(ended.clone())
            .chain(ended.map(Err).into_stream());
        Ok(Response::new(Box::pin(stream)))
    }
}
