//! DistributionService.

use tonic::{Request, Response, Status};

use super::{
    auth::actor,
    convert::{amount_in, money, money_text, positive_amount_in, timestamp, typed},
    name::{CourtOrderName, DetaineeName, DistributionName, DistributionPolicyName, RemittanceName, TransactionName},
    page::Page,
    remittance::visible,
    scope::{self, Linked},
};
use crate::{
    api::status::{internal, invalid_field},
    custody::Custody,
    distribution::{self, Distributions, NewCourtOrder, Policy, parse_percent},
    ids::{CourtOrderId, DetaineeId},
    ledger::{Center, Refusal},
    proto::{
        CourtOrder, CreateCourtOrderRequest, Distribution, DistributionPolicy, GetDistributionPolicyRequest,
        GetDistributionRequest, ListCourtOrdersRequest, ListCourtOrdersResponse, PreviewDistributionRequest,
        PreviewDistributionResponse, UpdateDistributionPolicyRequest, distribution_service_server::DistributionService,
        journal_record::Facts,
    },
    remittance::Remittances,
};

/// The most characters of a court document's number.
const DOCUMENT_LEN_MAX: usize = 100;

/// The service over its domains.
#[derive(Clone)]
pub struct DistributionApi {
    custody: Custody,
    distributions: Distributions,
    remittances: Remittances,
    linked: Linked,
}

impl DistributionApi {
    /// The service; `linked` tells which detainees a payer may see.
    pub fn new(
        custody: Custody,
        distributions: Distributions,
        remittances: Remittances,
        linked: Linked,
    ) -> DistributionApi {
        DistributionApi {
            custody,
            distributions,
            remittances,
            linked,
        }
    }
}

fn policy_out(policy: &Policy, center: &Center) -> DistributionPolicy {
    DistributionPolicy {
        name: DistributionPolicyName {
            center: center.id.as_str(),
        }
        .to_string(),
        savings_percent: policy.savings_percent.normalize().to_string(),
        savings_cap: policy.savings_cap.and_then(money),
        version: policy.version,
        etag: policy.version.to_string(),
        update_time: policy.changed_at.and_then(timestamp),
    }
}

fn court_order_out(order: &distribution::CourtOrder, center: &Center, detainee: &DetaineeId) -> CourtOrder {
    CourtOrder {
        name: CourtOrderName {
            center: center.id.as_str(),
            detainee: detainee.as_str(),
            court_order: order.id.as_str(),
        }
        .to_string(),
        document: order.document.clone(),
        total: money(order.total),
        collected: money(order.collected),
        still_owed: order.owed().ok().and_then(money),
        create_time: timestamp(order.created_at),
    }
}

fn document_in(text: &str) -> Result<String, Refusal> {
    match text.chars().count() {
        1..=DOCUMENT_LEN_MAX if text.trim() == text && !text.chars().any(char::is_control) => Ok(text.to_owned()),
        _ => Err(invalid_field(
            "court_order.document",
            format!(
                "must have 1 to {DOCUMENT_LEN_MAX} characters, none of them control characters, and no space around them"
            ),
        )),
    }
}

#[tonic::async_trait]
impl DistributionService for DistributionApi {
    async fn get_distribution_policy(
        &self,
        call: Request<GetDistributionPolicyRequest>,
    ) -> Result<Response<DistributionPolicy>, Status> {
        let name = DistributionPolicyName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let policy = self.distributions.policy(&center).await?;
        Ok(Response::new(policy_out(&policy, &center)))
    }

    async fn update_distribution_policy(
        &self,
        call: Request<UpdateDistributionPolicyRequest>,
    ) -> Result<Response<DistributionPolicy>, Status> {
        let actor = actor(&call)?;
        let told = call.get_ref().distribution_policy.as_ref();
        let told = told.ok_or_else(|| invalid_field("distribution_policy", "is required"))?;
        let name = DistributionPolicyName::parse(&told.name, "distribution_policy.name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let percent = parse_percent(&told.savings_percent).ok_or_else(|| {
            let field = "distribution_policy.savings_percent";
            invalid_field(field, "must be a plain number from 0 to 100 with at most 4 decimals")
        })?;
        let cap = told.savings_cap.as_ref();
        let cap = cap
            .map(|cap| amount_in(Some(cap), center.currency, "distribution_policy.savings_cap"))
            .transpose()?;
        let version = match told.etag.as_str() {
            "" => None,
            etag => Some(
                etag.parse()
                    .map_err(|_| invalid_field("distribution_policy.etag", "is not one of ours"))?,
            ),
        };
        let policy = self
            .distributions
            .update_policy(&center, percent, cap, version, &actor.name())
            .await?;
        Ok(Response::new(policy_out(&policy, &center)))
    }

    async fn create_court_order(&self, call: Request<CreateCourtOrderRequest>) -> Result<Response<CourtOrder>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let told = message.court_order.as_ref();
        let told = told.ok_or_else(|| invalid_field("court_order", "is required"))?;
        let detainee = typed(DetaineeId::parse(name.detainee), "parent")?;
        let new = NewCourtOrder {
            id: typed(CourtOrderId::parse(&message.court_order_id), "court_order_id")?,
            detainee: detainee.clone(),
            document: document_in(&told.document)?,
            total: positive_amount_in(told.total.as_ref(), center.currency, "court_order.total")?,
        };
        let order = self
            .distributions
            .create_court_order(&center, new, &actor.name())
            .await?;
        Ok(Response::new(court_order_out(&order, &center, &detainee)))
    }

    async fn list_court_orders(
        &self,
        call: Request<ListCourtOrdersRequest>,
    ) -> Result<Response<ListCourtOrdersResponse>, Status> {
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor(&call)?, name.center).await?;
        let detainee = typed(DetaineeId::parse(name.detainee), "parent")?;
        let page = Page::read(
            "ListCourtOrders",
            &[&message.parent],
            message.page_size,
            &message.page_token,
        )?;
        let after = page.after_number()?.unwrap_or_default();
        // A detainee has few court orders, and a credit reads them all anyway.
        let mut orders = self.distributions.court_orders(&center, &detainee).await?;
        orders.retain(|order| i64::from(order.position) > after);
        let (orders, next_page_token) = page.finish(orders, |order| order.position.to_string());
        let court_orders = orders
            .iter()
            .map(|order| court_order_out(order, &center, &detainee))
            .collect();
        Ok(Response::new(ListCourtOrdersResponse {
            court_orders,
            next_page_token,
        }))
    }

    async fn preview_distribution(
        &self,
        call: Request<PreviewDistributionRequest>,
    ) -> Result<Response<PreviewDistributionResponse>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let name = DetaineeName::parse(&message.detainee, "detainee")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let detainee = scope::detainee(&self.linked, actor, &center, name.detainee, "detainee").await?;
        let gross = positive_amount_in(message.amount.as_ref(), center.currency, "amount")?;
        let preview = self.distributions.preview(&center, &detainee, gross).await?;
        Ok(Response::new(PreviewDistributionResponse {
            parts: preview.parts,
            policy_version: preview.policy_version,
        }))
    }

    async fn get_distribution(&self, call: Request<GetDistributionRequest>) -> Result<Response<Distribution>, Status> {
        let actor = actor(&call)?;
        let name = DistributionName::parse(&call.get_ref().name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let remittance = visible(&self.remittances, actor, &center, name.remittance).await?;
        let record = self.remittances.credit_of(&center, &remittance).await?.record;
        let Some(Facts::Credit(facts)) = record.facts else {
            return Err(internal());
        };
        let id = center.id.as_str();
        Ok(Response::new(Distribution {
            name: name.to_string(),
            remittance: RemittanceName {
                center: id,
                remittance: remittance.id.as_str(),
            }
            .to_string(),
            detainee: DetaineeName {
                center: id,
                detainee: remittance.detainee.as_str(),
            }
            .to_string(),
            amount: money_text(&facts.amount, &center),
            parts: facts.parts,
            policy_version: facts.policy_version,
            transaction: TransactionName {
                center: id,
                seq: record.seq,
            }
            .to_string(),
            create_time: record.recorded_at,
        }))
    }
}
