//! PayerService, and what RemittanceService has of payers.

use secrecy::SecretString;
use tonic::{Request, Response, Status};

use super::{
    auth::actor,
    convert::{detainee_name, payer_name, text, timestamp, told, typed},
    identity::{reason_text, reason_told},
    name::{CenterName, DetaineeName, PayerLinkName, PayerName, payer_or_all},
    page::Page,
    remittance::own_payer,
    scope,
};
use crate::{
    access::{Actor, Role},
    api::status::invalid_field,
    custody::Custody,
    ids::{DetaineeId, PayerId},
    ledger::{Center, Refusal},
    payer::{self, DocumentKind, Identity, LinkFilter, LinkState, Payers, PhoneNumber, Registration},
    proto::{
        AddPaymentAccountRequest, ApprovePayerLinkRequest, ChangePayerPhoneRequest, ConfirmPayerPhoneRequest,
        CreatePayerLinkRequest, CreatePayerRequest, GetPayerLinkRequest, GetPayerRequest, IdentityDocument,
        ListPayerLinksRequest, ListPayerLinksResponse, ListPayersRequest, ListPayersResponse, Payer, PayerLink,
        PayerLinkLeg, PaymentAccount, RegisterPayerRequest, RejectPayerLinkRequest, RemovePaymentAccountRequest,
        RequestPayerLinkRequest, RequestPhoneCodeRequest, RequestPhoneCodeResponse, RevokePayerLinkRequest,
        RevokePayerRequest, VerifyPayerPhoneRequest,
        identity_document::Kind,
        payer::State,
        payer_link::{Relationship, State as LinkStateOut},
        payer_service_server::PayerService,
    },
};

/// The most characters of a channel's name.
const CHANNEL_CHARS_MAX: usize = 63;
/// The most characters of a payment account.
const ACCOUNT_CHARS_MAX: usize = 200;

/// The service over its domain.
#[derive(Clone)]
pub struct PayerApi {
    custody: Custody,
    payers: Payers,
}

/// A payer whom the caller may ask about.
struct Named {
    center: Center,
    id: PayerId,
    actor: Actor,
}

impl PayerApi {
    /// The service.
    pub fn new(custody: Custody, payers: Payers) -> PayerApi {
        PayerApi { custody, payers }
    }

    async fn named(&self, actor: &Actor, name: &str, field: &str) -> Result<Named, Status> {
        let name = PayerName::parse(name, field)?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = own_payer(actor, name.payer, field)?;
        let actor = actor.clone();
        Ok(Named { center, id, actor })
    }

    /// A link that the caller may ask about.
    async fn named_link(&self, actor: &Actor, name: &str) -> Result<(Named, DetaineeId), Status> {
        let name = PayerLinkName::parse(name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = own_payer(actor, name.payer, "name")?;
        let detainee = typed(DetaineeId::parse(name.detainee), "name")?;
        let actor = actor.clone();
        Ok((Named { center, id, actor }, detainee))
    }

    /// The document's number is for finance and admin only, and masked.
    fn payer_out(&self, payer: payer::Payer, center: &Center, actor: &Actor) -> Result<Payer, Status> {
        let shows_number = matches!(actor.role, Role::Admin | Role::Finance);
        let number = if shows_number {
            self.payers.masked_identity(center, &payer)?
        } else {
            None
        };
        let accounts: Vec<PaymentAccount> = payer.active_accounts().map(account_out).collect();
        let state = match (&payer.revoked, payer.missing().is_empty()) {
            (Some(_), _) => State::Revoked,
            (None, true) => State::Verified,
            (None, false) => State::Incomplete,
        };
        Ok(Payer {
            name: payer_name(center, payer.id.as_str()),
            display_name: payer.name,
            account: accounts.first().map(|first| first.account.clone()).unwrap_or_default(),
            create_time: timestamp(payer.created_at),
            identity_document: payer.identity.as_ref().map(|sealed| IdentityDocument {
                kind: kind_out(sealed.kind).into(),
                number: number.unwrap_or_default(),
            }),
            phone: payer
                .phone
                .as_ref()
                .map(|phone| phone.number.as_str().to_owned())
                .unwrap_or_default(),
            phone_verify_time: payer.phone.and_then(|phone| phone.verified_at).and_then(timestamp),
            payment_accounts: accounts,
            state: state.into(),
            creator: payer.registered_by,
            revoke_time: payer.revoked.as_ref().and_then(|revoked| timestamp(revoked.at)),
            revoke_reason: payer.revoked.map(|revoked| revoked.reason).unwrap_or_default(),
        })
    }

    fn answer(&self, payer: payer::Payer, named: &Named) -> Result<Response<Payer>, Status> {
        Ok(Response::new(self.payer_out(payer, &named.center, &named.actor)?))
    }

    async fn register(&self, actor: &Actor, asked: &Registered<'_>) -> Result<Response<Payer>, Status> {
        let name = CenterName::parse(asked.parent, "parent")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = own_payer(actor, asked.payer_id, "payer_id")?;
        let new = asked.registration(id)?;
        let payer = self.payers.register(&center, new, &actor.name()).await?;
        Ok(Response::new(self.payer_out(payer, &center, actor)?))
    }

    /// RemittanceService.CreatePayer.
    pub(super) async fn create_payer(&self, call: Request<CreatePayerRequest>) -> Result<Response<Payer>, Status> {
        let message = call.get_ref();
        let asked = Registered {
            parent: &message.parent,
            payer_id: &message.payer_id,
            payer: message.payer.as_ref(),
            phone_document: &message.phone_document,
            is_whole: false,
        };
        self.register(actor(&call)?, &asked).await
    }

    /// RemittanceService.GetPayer.
    pub(super) async fn get_payer(&self, call: Request<GetPayerRequest>) -> Result<Response<Payer>, Status> {
        let named = self.named(actor(&call)?, &call.get_ref().name, "name").await?;
        let payer = self.payers.payer(&named.center, &named.id).await?;
        self.answer(payer, &named)
    }

    /// RemittanceService.ListPayers.
    pub(super) async fn list_payers(
        &self,
        call: Request<ListPayersRequest>,
    ) -> Result<Response<ListPayersResponse>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let name = CenterName::parse(&message.parent, "parent")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let page = Page::read("ListPayers", &[&message.parent], message.page_size, &message.page_token)?;
        let after = page.after().unwrap_or_default();
        let payers = self.payers.list(&center, after, page.limit()).await?;
        let (payers, next_page_token) = page.finish(payers, |payer| payer.id.to_string());
        let payers = payers.into_iter().map(|payer| self.payer_out(payer, &center, actor));
        Ok(Response::new(ListPayersResponse {
            payers: payers.collect::<Result<_, _>>()?,
            next_page_token,
        }))
    }

    /// RemittanceService.CreatePayerLink.
    pub(super) async fn create_payer_link(
        &self,
        call: Request<CreatePayerLinkRequest>,
    ) -> Result<Response<PayerLink>, Status> {
        let message = call.get_ref();
        let named = self.named(actor(&call)?, &message.parent, "parent").await?;
        let (detainee, relationship) = link_in(message.payer_link.as_ref(), &named.center)?;
        let of = (&named.id, &detainee);
        let link = self
            .payers
            .grant_link(&named.center, of, relationship, &named.actor.name())
            .await?;
        Ok(Response::new(link_out(&link, &named.center)))
    }

    /// RemittanceService.ListPayerLinks.
    pub(super) async fn list_payer_links(
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
        let states = states_in(message.state)?;
        let state = message.state.to_string();
        let arguments = [message.parent.as_str(), message.detainee.as_str(), &state];
        let page = Page::read("ListPayerLinks", &arguments, message.page_size, &message.page_token)?;
        // Ids have no slash.
        let after = page.after().and_then(|cursor| cursor.split_once('/'));
        let filter = LinkFilter {
            payer,
            detainee,
            states,
            after: after.map(|(payer, detainee)| (payer.to_owned(), detainee.to_owned())),
        };
        let links = self.payers.list_links(&center, &filter, page.limit()).await?;
        let (links, next_page_token) = page.finish(links, |link| format!("{}/{}", link.payer, link.detainee));
        Ok(Response::new(ListPayerLinksResponse {
            payer_links: links.iter().map(|link| link_out(link, &center)).collect(),
            next_page_token,
        }))
    }

    async fn move_link(
        &self,
        actor: &Actor,
        name: &str,
        reason: &str,
        state: LinkState,
    ) -> Result<Response<PayerLink>, Status> {
        let (named, detainee) = self.named_link(actor, name).await?;
        let reason = reason_told(reason, "reason")?;
        let of = (&named.id, &detainee);
        let link = self
            .payers
            .move_link(&named.center, of, state, &reason, &named.actor.name())
            .await?;
        Ok(Response::new(link_out(&link, &named.center)))
    }
}

/// What RegisterPayer and CreatePayer tell.
struct Registered<'a> {
    parent: &'a str,
    payer_id: &'a str,
    payer: Option<&'a Payer>,
    phone_document: &'a str,
    /// Whether name, document and phone must be there.
    is_whole: bool,
}

impl Registered<'_> {
    fn registration(&self, id: PayerId) -> Result<Registration, Refusal> {
        let payer = self.payer.ok_or_else(|| invalid_field("payer", "is required"))?;
        let name = if self.is_whole {
            told(&payer.display_name, "payer.display_name")?
        } else {
            text(&payer.display_name, "payer.display_name")?
        };
        let identity = match &payer.identity_document {
            Some(document) => Some(identity_in(document)?),
            None if self.is_whole => return Err(invalid_field("payer.identity_document", "is required")),
            None => None,
        };
        let phone = if payer.phone.is_empty() && !self.is_whole {
            None
        } else {
            Some(typed(PhoneNumber::parse(&payer.phone), "payer.phone")?)
        };
        let phone_document = Some(text(self.phone_document, "phone_document")?).filter(|text| !text.trim().is_empty());
        if phone_document.is_some() && phone.is_none() {
            return Err(invalid_field("payer.phone", "is required for a phone_document"));
        }
        let mut accounts = Vec::new();
        if !payer.account.is_empty() {
            accounts.push((String::new(), account_in(&payer.account, "payer.account")?));
        }
        for (place, account) in payer.payment_accounts.iter().enumerate() {
            accounts.push(payment_account_in(
                account,
                &format!("payer.payment_accounts[{place}]"),
            )?);
        }
        if accounts.len() > payer::ACCOUNTS_MAX {
            let problem = format!("at most {}", payer::ACCOUNTS_MAX);
            return Err(invalid_field("payer.payment_accounts", problem));
        }
        Ok(Registration {
            id,
            name,
            identity,
            phone,
            phone_document,
            accounts,
        })
    }
}

fn identity_in(document: &IdentityDocument) -> Result<Identity, Refusal> {
    let kind = match document.kind() {
        Kind::ResidentIdentityCard => DocumentKind::ResidentIdentityCard,
        Kind::Passport => DocumentKind::Passport,
        Kind::HongKongMacaoPermit => DocumentKind::HongKongMacaoPermit,
        Kind::TaiwanPermit => DocumentKind::TaiwanPermit,
        Kind::ForeignerPermit => DocumentKind::ForeignerPermit,
        Kind::Other => DocumentKind::Other,
        Kind::Unspecified => return Err(invalid_field("payer.identity_document.kind", "is no kind of document")),
    };
    typed(
        Identity::parse(kind, &document.number),
        "payer.identity_document.number",
    )
}

fn kind_out(kind: DocumentKind) -> Kind {
    match kind {
        DocumentKind::ResidentIdentityCard => Kind::ResidentIdentityCard,
        DocumentKind::Passport => Kind::Passport,
        DocumentKind::HongKongMacaoPermit => Kind::HongKongMacaoPermit,
        DocumentKind::TaiwanPermit => Kind::TaiwanPermit,
        DocumentKind::ForeignerPermit => Kind::ForeignerPermit,
        DocumentKind::Other => Kind::Other,
    }
}

fn account_in(account: &str, field: &str) -> Result<String, Refusal> {
    if account.chars().count() > ACCOUNT_CHARS_MAX {
        return Err(invalid_field(field, format!("at most {ACCOUNT_CHARS_MAX} characters")));
    }
    told(account, field)
}

fn payment_account_in(account: &PaymentAccount, field: &str) -> Result<(String, String), Refusal> {
    let in_channel = format!("{field}.channel");
    if account.channel.chars().count() > CHANNEL_CHARS_MAX {
        return Err(invalid_field(
            in_channel,
            format!("at most {CHANNEL_CHARS_MAX} characters"),
        ));
    }
    let channel = text(&account.channel, &in_channel)?;
    Ok((channel, account_in(&account.account, &format!("{field}.account"))?))
}

fn required_account_in(account: Option<&PaymentAccount>) -> Result<(String, String), Refusal> {
    let account = account.ok_or_else(|| invalid_field("payment_account", "is required"))?;
    payment_account_in(account, "payment_account")
}

fn account_out(account: &payer::PaymentAccount) -> PaymentAccount {
    PaymentAccount {
        channel: account.channel.clone(),
        account: account.account.clone(),
        create_time: timestamp(account.added_at),
    }
}

/// The detainee and the relationship that a link tells.
fn link_in(link: Option<&PayerLink>, center: &Center) -> Result<(DetaineeId, payer::Relationship), Refusal> {
    let link = link.ok_or_else(|| invalid_field("payer_link", "is required"))?;
    let detainee = DetaineeName::parse_in(&link.detainee, "payer_link.detainee", center.id.as_str())?;
    let detainee = typed(DetaineeId::parse(detainee.detainee), "payer_link.detainee")?;
    let relationship = Relationship::try_from(link.relationship)
        .map_err(|_| invalid_field("payer_link.relationship", "is no relationship"))?;
    let relationship = match relationship {
        Relationship::Unspecified => payer::Relationship::NotTold,
        Relationship::Spouse => payer::Relationship::Spouse,
        Relationship::Parent => payer::Relationship::Parent,
        Relationship::Child => payer::Relationship::Child,
        Relationship::Sibling => payer::Relationship::Sibling,
        Relationship::OtherRelative => payer::Relationship::OtherRelative,
        Relationship::Guardian => payer::Relationship::Guardian,
        Relationship::Lawyer => payer::Relationship::Lawyer,
        Relationship::Friend => payer::Relationship::Friend,
    };
    Ok((detainee, relationship))
}

fn relationship_out(relationship: payer::Relationship) -> Relationship {
    match relationship {
        payer::Relationship::NotTold => Relationship::Unspecified,
        payer::Relationship::Spouse => Relationship::Spouse,
        payer::Relationship::Parent => Relationship::Parent,
        payer::Relationship::Child => Relationship::Child,
        payer::Relationship::Sibling => Relationship::Sibling,
        payer::Relationship::OtherRelative => Relationship::OtherRelative,
        payer::Relationship::Guardian => Relationship::Guardian,
        payer::Relationship::Lawyer => Relationship::Lawyer,
        payer::Relationship::Friend => Relationship::Friend,
    }
}

/// The states that a filter means; none for all.
fn states_in(state: i32) -> Result<Vec<LinkState>, Refusal> {
    let state = LinkStateOut::try_from(state).map_err(|_| invalid_field("state", "is no state of a link"))?;
    Ok(match state {
        LinkStateOut::Unspecified => Vec::new(),
        LinkStateOut::Requested => vec![LinkState::Requested],
        LinkStateOut::Approved => vec![LinkState::Approved, LinkState::Granted],
        LinkStateOut::Rejected => vec![LinkState::Rejected],
        LinkStateOut::Revoked => vec![LinkState::Revoked],
    })
}

fn state_out(state: LinkState) -> LinkStateOut {
    match state {
        LinkState::Requested => LinkStateOut::Requested,
        LinkState::Approved | LinkState::Granted => LinkStateOut::Approved,
        LinkState::Rejected => LinkStateOut::Rejected,
        LinkState::Revoked => LinkStateOut::Revoked,
    }
}

fn link_out(link: &payer::PayerLink, center: &Center) -> PayerLink {
    let leg_out = |leg: &payer::LinkLeg| PayerLinkLeg {
        state: state_out(leg.state).into(),
        time: timestamp(leg.at),
        actor: leg.actor.clone(),
        reason: leg.reason.clone(),
        in_one_step: leg.state == LinkState::Granted,
    };
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
        relationship: relationship_out(link.relationship()).into(),
        state: link.state().map_or(LinkStateOut::Unspecified, state_out).into(),
        legs: link.legs.iter().map(leg_out).collect(),
    }
}

#[tonic::async_trait]
impl PayerService for PayerApi {
    async fn register_payer(&self, call: Request<RegisterPayerRequest>) -> Result<Response<Payer>, Status> {
        let message = call.get_ref();
        let asked = Registered {
            parent: &message.parent,
            payer_id: &message.payer_id,
            payer: message.payer.as_ref(),
            phone_document: "",
            is_whole: true,
        };
        self.register(actor(&call)?, &asked).await
    }

    async fn change_payer_phone(&self, call: Request<ChangePayerPhoneRequest>) -> Result<Response<Payer>, Status> {
        let message = call.get_ref();
        let named = self.named(actor(&call)?, &message.name, "name").await?;
        let phone = typed(PhoneNumber::parse(&message.phone), "phone")?;
        let by = named.actor.name();
        let payer = self.payers.change_phone(&named.center, &named.id, phone, &by).await?;
        self.answer(payer, &named)
    }

    async fn request_phone_code(
        &self,
        call: Request<RequestPhoneCodeRequest>,
    ) -> Result<Response<RequestPhoneCodeResponse>, Status> {
        let named = self.named(actor(&call)?, &call.get_ref().name, "name").await?;
        let sent = self.payers.request_code(&named.center, &named.id).await?;
        Ok(Response::new(RequestPhoneCodeResponse {
            expire_time: timestamp(sent.expires_at),
            next_request_time: timestamp(sent.next_at),
        }))
    }

    async fn verify_payer_phone(&self, call: Request<VerifyPayerPhoneRequest>) -> Result<Response<Payer>, Status> {
        let message = call.get_ref();
        let named = self.named(actor(&call)?, &message.name, "name").await?;
        let is_digit = |byte: u8| byte.is_ascii_digit();
        if message.code.len() != payer::CODE_DIGITS || !message.code.bytes().all(is_digit) {
            return Err(invalid_field("code", format!("must be {} digits", payer::CODE_DIGITS)).into());
        }
        let (code, by) = (SecretString::from(message.code.as_str()), named.actor.name());
        let payer = self.payers.verify_phone(&named.center, &named.id, &code, &by).await?;
        self.answer(payer, &named)
    }

    async fn confirm_payer_phone(&self, call: Request<ConfirmPayerPhoneRequest>) -> Result<Response<Payer>, Status> {
        let message = call.get_ref();
        let named = self.named(actor(&call)?, &message.name, "name").await?;
        let (document, by) = (told(&message.document, "document")?, named.actor.name());
        let payer = self
            .payers
            .confirm_phone(&named.center, &named.id, &document, &by)
            .await?;
        self.answer(payer, &named)
    }

    async fn add_payment_account(&self, call: Request<AddPaymentAccountRequest>) -> Result<Response<Payer>, Status> {
        let message = call.get_ref();
        let named = self.named(actor(&call)?, &message.name, "name").await?;
        let account = required_account_in(message.payment_account.as_ref())?;
        let by = named.actor.name();
        let payer = self.payers.add_account(&named.center, &named.id, account, &by).await?;
        self.answer(payer, &named)
    }

    async fn remove_payment_account(
        &self,
        call: Request<RemovePaymentAccountRequest>,
    ) -> Result<Response<Payer>, Status> {
        let message = call.get_ref();
        let named = self.named(actor(&call)?, &message.name, "name").await?;
        let (channel, account) = required_account_in(message.payment_account.as_ref())?;
        let (reason, by) = (reason_text(&message.reason, "reason")?, named.actor.name());
        let account = (channel.as_str(), account.as_str());
        let payer = self
            .payers
            .remove_account(&named.center, &named.id, account, &reason, &by)
            .await?;
        self.answer(payer, &named)
    }

    async fn revoke_payer(&self, call: Request<RevokePayerRequest>) -> Result<Response<Payer>, Status> {
        let message = call.get_ref();
        let named = self.named(actor(&call)?, &message.name, "name").await?;
        let (reason, by) = (reason_told(&message.reason, "reason")?, named.actor.name());
        let payer = self.payers.revoke(&named.center, &named.id, &reason, &by).await?;
        self.answer(payer, &named)
    }

    async fn get_payer_link(&self, call: Request<GetPayerLinkRequest>) -> Result<Response<PayerLink>, Status> {
        let (named, detainee) = self.named_link(actor(&call)?, &call.get_ref().name).await?;
        let link = self.payers.link(&named.center, &named.id, &detainee).await?;
        Ok(Response::new(link_out(&link, &named.center)))
    }

    async fn request_payer_link(&self, call: Request<RequestPayerLinkRequest>) -> Result<Response<PayerLink>, Status> {
        let message = call.get_ref();
        let named = self.named(actor(&call)?, &message.parent, "parent").await?;
        let (detainee, relationship) = link_in(message.payer_link.as_ref(), &named.center)?;
        if relationship == payer::Relationship::NotTold {
            return Err(invalid_field("payer_link.relationship", "is required").into());
        }
        let (reason, by) = (reason_text(&message.reason, "reason")?, named.actor.name());
        let of = (&named.id, &detainee);
        let link = self
            .payers
            .request_link(&named.center, of, relationship, &reason, &by)
            .await?;
        Ok(Response::new(link_out(&link, &named.center)))
    }

    async fn approve_payer_link(&self, call: Request<ApprovePayerLinkRequest>) -> Result<Response<PayerLink>, Status> {
        let message = call.get_ref();
        self.move_link(actor(&call)?, &message.name, &message.reason, LinkState::Approved)
            .await
    }

    async fn reject_payer_link(&self, call: Request<RejectPayerLinkRequest>) -> Result<Response<PayerLink>, Status> {
        let message = call.get_ref();
        self.move_link(actor(&call)?, &message.name, &message.reason, LinkState::Rejected)
            .await
    }

    async fn revoke_payer_link(&self, call: Request<RevokePayerLinkRequest>) -> Result<Response<PayerLink>, Status> {
        let message = call.get_ref();
        self.move_link(actor(&call)?, &message.name, &message.reason, LinkState::Revoked)
            .await
    }
}
