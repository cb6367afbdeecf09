//! RemittanceService.

use tonic::{Request, Response, Status};

use super::{
    auth::{actor, denied_status},
    convert::{
        detainee_name, money, payer_name, positive_amount_in, remittance_name, request, timestamp, transaction_name,
        typed,
    },
    name::{CenterName, DetaineeName, PayerName, RemittanceName},
    notification,
    page::Page,
    payer::PayerApi,
    respond,
    scope::{self, Linked},
};
use crate::{
    access::Actor,
    api::status::{internal, invalid_field},
    custody::Custody,
    gateway::PaymentMethod,
    ids::{DetaineeId, PayerId, RemittanceId},
    ledger::{Center, LedgerError},
    money::{Amount, MoneyError},
    proto::{
        self, CreatePayerLinkRequest, CreatePayerRequest, CreateRemittanceRequest, GetPayerRequest,
        GetRemittanceRequest, ListNotificationsRequest, ListNotificationsResponse, ListPayerLinksRequest,
        ListPayerLinksResponse, ListPayersRequest, ListPayersResponse, ListRemittancesRequest, ListRemittancesResponse,
        Payer, PayerLink, PrepayParameter, RefreshRemittanceRequest, Remittance, RemittanceLeg, remittance::State,
        remittance_service_server::RemittanceService,
    },
    remittance::{
        self, LegState, NewRemittance, RemittanceFilter, Remittances, order_number, suspense::SuspendedPayment,
    },
};

/// The service over its domain.
#[derive(Clone)]
pub struct RemittanceApi {
    custody: Custody,
    remittances: Remittances,
    payers: PayerApi,
    linked: Linked,
}

impl RemittanceApi {
    /// The service; `linked` tells which detainees a payer may see.
    pub fn new(custody: Custody, remittances: Remittances, payers: PayerApi, linked: Linked) -> RemittanceApi {
        RemittanceApi {
            custody,
            remittances,
            payers,
            linked,
        }
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

fn state_out(state: LegState) -> State {
    match state {
        LegState::Created => State::Created,
        LegState::Pending => State::Pending,
        LegState::Failed => State::Failed,
        LegState::Expired => State::Expired,
        LegState::Paid => State::Paid,
        LegState::Suspended => State::Suspended,
        LegState::Credited => State::Credited,
    }
}

fn suspended_out(payment: &SuspendedPayment, center: &Center) -> Result<proto::SuspendedPayment, Status> {
    // What does not add up is a broken invariant, never the caller's doing.
    let counted = |amount: Result<Amount, MoneyError>| amount.map(money).map_err(|_| internal());
    Ok(proto::SuspendedPayment {
        transaction: transaction_name(center, payment.seq.0),
        gateway_transaction: payment.gateway_transaction.clone(),
        paid_time: timestamp(payment.paid_at),
        amount: money(payment.amount),
        reason: payment.reason.clone(),
        refunded: counted(payment.refunded())?,
        left: counted(payment.left())?,
    })
}

fn remittance_out(remittance: remittance::Remittance, center: &Center) -> Result<Remittance, Status> {
    let state = remittance.state();
    let pending = remittance.leg(LegState::Pending).filter(|leg| leg.state == state);
    let prepay = pending.iter().flat_map(|leg| &leg.prepay);
    let prepay_parameters = prepay.map(|(name, value)| PrepayParameter {
        name: name.clone(),
        value: value.clone(),
    });
    let payment = remittance.payment().cloned();
    let transaction = remittance.seq().map(|seq| transaction_name(center, seq.0));
    let leg_out = |leg: &remittance::Leg| RemittanceLeg {
        state: state_out(leg.state).into(),
        time: timestamp(leg.at),
        detail: leg.detail.clone(),
    };
    let suspended = remittance
        .suspended
        .iter()
        .map(|payment| suspended_out(payment, center));
    Ok(Remittance {
        suspended_payments: suspended.collect::<Result<_, _>>()?,
        name: remittance_name(center, remittance.id.as_str()),
        payer: payer_name(center, remittance.payer.as_str()),
        detainee: detainee_name(center, remittance.detainee.as_str()),
        amount: money(remittance.amount),
        order_number: order_number(center.no, &remittance.id),
        payment_url: pending.and_then(|leg| leg.payment_url.clone()).unwrap_or_default(),
        prepay_parameters: prepay_parameters.collect(),
        state: state_out(state).into(),
        create_time: timestamp(remittance.created_at),
        expire_time: timestamp(remittance.expires_at),
        legs: remittance.legs.iter().map(leg_out).collect(),
        credit_transaction: transaction.unwrap_or_default(),
        gateway_transaction: payment
            .as_ref()
            .map(|payment| payment.gateway_transaction.clone())
            .unwrap_or_default(),
        paid_time: payment.and_then(|payment| timestamp(payment.paid_at)),
        request_id: remittance.request_id.to_string(),
        channel: remittance.channel,
        preview: remittance.preview,
    })
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
        Ok(respond(remittance_out(remittance, &center)?, replayed))
    }

    async fn get_remittance(&self, call: Request<GetRemittanceRequest>) -> Result<Response<Remittance>, Status> {
        let (center, remittance) = self.visible(actor(&call)?, &call.get_ref().name).await?;
        Ok(Response::new(remittance_out(remittance, &center)?))
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
        let remittances = remittances
            .into_iter()
            .map(|remittance| remittance_out(remittance, &center))
            .collect::<Result<_, _>>()?;
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
        Ok(Response::new(remittance_out(remittance, &center)?))
    }
}
