//! CatalogueService.

use tonic::{Request, Response, Status};

use super::{
    approval::approval_out,
    auth::actor,
    convert::{detainee_name, money, positive_amount_in, request, timestamp, told, typed},
    name::{ApprovalName, CenterName, DetaineeName, ProductName},
    page::Page,
    product::{labels_in, new_product_in},
    respond, scope,
};
use crate::{
    access::Actor,
    api::status::invalid_field,
    approval::{Desk, Person},
    commissary::{self, Commissary, Prices, optional_label},
    custody::Custody,
    ids::{DetaineeId, ProductId},
    ledger::Center,
    proto::{
        Approval, Buyer, GetBuyerRequest, ListProductVersionsRequest, ListProductVersionsResponse, ProductVersion,
        ProposePriceRequest, ProposeProductRequest, UpdateBuyerRequest, catalogue_service_server::CatalogueService,
    },
};

/// The service over its domain.
#[derive(Clone)]
pub struct CatalogueApi {
    commissary: Commissary,
    desk: Desk,
    custody: Custody,
}

impl CatalogueApi {
    /// The service; approvals are told in the words of the desk.
    pub fn new(commissary: Commissary, desk: Desk, custody: Custody) -> CatalogueApi {
        CatalogueApi {
            commissary,
            desk,
            custody,
        }
    }

    async fn product(&self, actor: &Actor, name: &str, field: &str) -> Result<(Center, ProductId), Status> {
        let name = ProductName::parse(name, field)?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, typed(ProductId::parse(name.product), field)?))
    }

    async fn detainee(&self, actor: &Actor, name: &str, field: &str) -> Result<(Center, DetaineeId), Status> {
        let name = DetaineeName::parse(name, field)?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, typed(DetaineeId::parse(name.detainee), field)?))
    }
}

fn version_out(version: commissary::ProductVersion, center: &Center) -> ProductVersion {
    let approval = version.approval.map(|approval| {
        let center = center.id.as_str();
        ApprovalName { center, approval }.to_string()
    });
    ProductVersion {
        version: version.version,
        price: money(version.price),
        approved_price: money(version.approved_price),
        available: version.available,
        withdrawn_units: version.withdrawn_units.to_vec(),
        tags: version.tags.to_vec(),
        start_time: timestamp(version.changed_at),
        actor: version.changed_by,
        reason: version.reason,
        approval: approval.unwrap_or_default(),
    }
}

fn buyer_out(buyer: commissary::Buyer, detainee: &DetaineeId, center: &Center) -> Buyer {
    Buyer {
        detainee: detainee_name(center, detainee.as_str()),
        housing_unit: buyer.housing_unit,
        tags: buyer.tags.to_vec(),
        version: buyer.version,
        update_time: buyer.changed_at.and_then(timestamp),
    }
}

#[tonic::async_trait]
impl CatalogueService for CatalogueApi {
    async fn propose_product(&self, call: Request<ProposeProductRequest>) -> Result<Response<Approval>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, parent.center).await?;
        let method = "custody.v1.CatalogueService/ProposeProduct";
        let request = request(&message.request_id, method, message, actor)?;
        let new = new_product_in(&message.product_id, message.product.as_ref(), &center)?;
        let reason = told(&message.reason, "reason")?;
        let (approval, replayed) = self
            .commissary
            .propose_product(&center, request, Person::of(actor), new, reason)
            .await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn propose_price(&self, call: Request<ProposePriceRequest>) -> Result<Response<Approval>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, id) = self.product(actor, &message.name, "name").await?;
        let method = "custody.v1.CatalogueService/ProposePrice";
        let request = request(&message.request_id, method, message, actor)?;
        let prices = Prices {
            price: positive_amount_in(message.price.as_ref(), center.currency, "price")?,
            approved: positive_amount_in(message.approved_price.as_ref(), center.currency, "approved_price")?,
        };
        let reason = told(&message.reason, "reason")?;
        let (approval, replayed) = self
            .commissary
            .propose_price(&center, request, Person::of(actor), id, prices, reason)
            .await?;
        Ok(respond(approval_out(&self.desk, &approval, &center), replayed))
    }

    async fn list_product_versions(
        &self,
        call: Request<ListProductVersionsRequest>,
    ) -> Result<Response<ListProductVersionsResponse>, Status> {
        let message = call.get_ref();
        let (center, id) = self.product(actor(&call)?, &message.parent, "parent").await?;
        let arguments = [message.parent.as_str()];
        let page = Page::read(
            "ListProductVersions",
            &arguments,
            message.page_size,
            &message.page_token,
        )?;
        let before = page.after_number()?;
        let found = self
            .commissary
            .product_versions(&center, &id, before, page.limit())
            .await?;
        let (found, next_page_token) = page.finish(found, |version| version.version.to_string());
        Ok(Response::new(ListProductVersionsResponse {
            versions: found.into_iter().map(|version| version_out(version, &center)).collect(),
            next_page_token,
        }))
    }

    async fn get_buyer(&self, call: Request<GetBuyerRequest>) -> Result<Response<Buyer>, Status> {
        let (center, id) = self
            .detainee(actor(&call)?, &call.get_ref().detainee, "detainee")
            .await?;
        let buyer = self.commissary.buyer(&center, &id).await?;
        Ok(Response::new(buyer_out(buyer, &id, &center)))
    }

    async fn update_buyer(&self, call: Request<UpdateBuyerRequest>) -> Result<Response<Buyer>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let buyer = message
            .buyer
            .as_ref()
            .ok_or_else(|| invalid_field("buyer", "is required"))?;
        let (center, id) = self.detainee(actor, &buyer.detainee, "buyer.detainee").await?;
        let housing_unit = typed(optional_label(&buyer.housing_unit), "buyer.housing_unit")?;
        let tags = labels_in(&buyer.tags, "buyer.tags")?;
        let reason = told(&message.reason, "reason")?;
        let known = (housing_unit, tags);
        let buyer = self
            .commissary
            .update_buyer(&center, &id, known, &reason, &actor.name())
            .await?;
        Ok(Response::new(buyer_out(buyer, &id, &center)))
    }
}
