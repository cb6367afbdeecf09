//! SessionService.

use secrecy::{ExposeSecret as _, SecretString};
use tonic::{Request, Response, Status};

use super::{
    auth::actor,
    convert::{detainee_name, timestamp, typed},
    identity::reason_told,
    name::{CardName, CenterName, DetaineeName, TerminalName},
    page::Page,
    scope,
};
use crate::{
    access::{Actor, Peer},
    api::status::{internal, invalid_field},
    custody::Custody,
    ids::{CardId, DetaineeId, TerminalId},
    ledger::Center,
    proto::{
        self, BiometricModule, Card, Challenge, ChangePinRequest, CreateChallengeRequest, EndCardRequest,
        GetCardRequest, GetSessionPolicyRequest, IssueCardRequest, ListCardsRequest, ListCardsResponse, Refusal,
        RegisterModuleRequest, ResetPinRequest, Session, SignInByAssertionRequest, SignInRequest, SignOutRequest,
        SignOutResponse, TemporaryPin, UpdateSessionPolicyRequest, card::State, session_service_server::SessionService,
    },
    terminal::{self, Assertion, Begun, CardState, Seller, SessionPolicy, Terminals},
};

/// The most characters of a PIN or a card number that somebody types.
const TYPED_CHARS_MAX: usize = 64;

/// The service over its domain.
#[derive(Clone)]
pub struct SessionApi {
    terminals: Terminals,
    custody: Custody,
}

impl SessionApi {
    /// The service.
    pub fn new(terminals: Terminals, custody: Custody) -> SessionApi {
        SessionApi { terminals, custody }
    }

    async fn parent(&self, actor: &Actor, parent: &str) -> Result<Center, Status> {
        scope::center(&self.custody, actor, CenterName::parse(parent, "parent")?.center).await
    }

    async fn card_named(&self, actor: &Actor, name: &str) -> Result<(Center, CardId), Status> {
        let name = CardName::parse(name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, typed(CardId::parse(name.card), "name")?))
    }

    /// The center and the terminal of whoever calls, and the session.
    async fn caller<T>(&self, call: &Request<T>) -> Result<(Center, Seller), Status> {
        let actor = actor(call)?;
        let seller = Seller::of(actor, call.extensions().get::<Peer>()).ok_or_else(internal)?;
        let center = actor.scope.center.as_ref().ok_or_else(internal)?;
        Ok((self.custody.center(center).await?, seller))
    }
}

/// Reads what somebody typed. What it is stays untold.
fn typed_in(text: &str, field: &str) -> Result<SecretString, Refusal> {
    match text.chars().count() {
        0 => Err(invalid_field(field, "is required")),
        1..=TYPED_CHARS_MAX => Ok(text.into()),
        _ => Err(invalid_field(field, format!("at most {TYPED_CHARS_MAX} characters"))),
    }
}

fn policy_out(policy: Option<SessionPolicy>, center: &Center) -> proto::SessionPolicy {
    let parent = CenterName {
        center: center.id.as_str(),
    }
    .to_string();
    match policy {
        None => proto::SessionPolicy {
            parent,
            ..Default::default()
        },
        Some(policy) => proto::SessionPolicy {
            parent,
            require_sessions: policy.require_sessions,
            version: policy.version,
            change_time: timestamp(policy.changed_at),
            changed_by: policy.changed_by,
        },
    }
}

fn card_name(center: &Center, card: &CardId) -> String {
    CardName {
        center: center.id.as_str(),
        card: card.as_str(),
    }
    .to_string()
}

fn card_out(card: terminal::Card, center: &Center) -> Card {
    let state = match card.state() {
        CardState::WithoutPin => State::WithoutPin,
        CardState::TemporaryPin => State::TemporaryPin,
        CardState::Active => State::Active,
        CardState::Ended => State::Ended,
    };
    Card {
        name: card_name(center, &card.id),
        detainee: detainee_name(center, card.detainee.as_str()),
        state: state.into(),
        issue_time: timestamp(card.issued_at),
        issued_by: card.issued_by,
        locked_until_time: None,
        end_reason: card.end_reason.unwrap_or_default(),
    }
}

fn session_out(begun: &Begun, center: &Center) -> Session {
    Session {
        token: begun.token.expose_secret().to_owned(),
        detainee: detainee_name(center, begun.detainee.as_str()),
        expire_time: timestamp(begun.expires_at),
        must_change_pin: begun.is_limited,
    }
}

#[tonic::async_trait]
impl SessionService for SessionApi {
    async fn get_session_policy(
        &self,
        call: Request<GetSessionPolicyRequest>,
    ) -> Result<Response<proto::SessionPolicy>, Status> {
        let center = self.parent(actor(&call)?, &call.get_ref().parent).await?;
        Ok(Response::new(policy_out(
            self.terminals.session_policy(&center).await?,
            &center,
        )))
    }

    async fn update_session_policy(
        &self,
        call: Request<UpdateSessionPolicyRequest>,
    ) -> Result<Response<proto::SessionPolicy>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let center = self.parent(actor, &message.parent).await?;
        let by = actor.name();
        let changed = self
            .terminals
            .change_session_policy(&center, message.require_sessions, &by);
        Ok(Response::new(policy_out(changed.await?, &center)))
    }

    async fn issue_card(&self, call: Request<IssueCardRequest>) -> Result<Response<Card>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let center = self.parent(actor, &message.parent).await?;
        let id = typed(CardId::parse(&message.card_id), "card_id")?;
        let detainee = DetaineeName::parse_in(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = typed(DetaineeId::parse(detainee.detainee), "detainee")?;
        let card = self
            .terminals
            .issue_card(&center, &id, &detainee, &actor.name())
            .await?;
        Ok(Response::new(card_out(card, &center)))
    }

    async fn get_card(&self, call: Request<GetCardRequest>) -> Result<Response<Card>, Status> {
        let (center, id) = self.card_named(actor(&call)?, &call.get_ref().name).await?;
        let (card, locked_until) = self.terminals.card(&center, &id).await?;
        Ok(Response::new(Card {
            locked_until_time: locked_until.and_then(timestamp),
            ..card_out(card, &center)
        }))
    }

    async fn list_cards(&self, call: Request<ListCardsRequest>) -> Result<Response<ListCardsResponse>, Status> {
        let message = call.get_ref();
        let center = self.parent(actor(&call)?, &message.parent).await?;
        let detainee = DetaineeName::parse_filter(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = detainee
            .map(|name| typed(DetaineeId::parse(name.detainee), "detainee"))
            .transpose()?;
        let arguments = [message.parent.as_str(), message.detainee.as_str()];
        let page = Page::read("ListCards", &arguments, message.page_size, &message.page_token)?;
        let after = page.after().unwrap_or_default();
        let cards = self
            .terminals
            .cards(&center, detainee.as_ref(), after, page.limit())
            .await?;
        let (cards, next_page_token) = page.finish(cards, |card| card.id.to_string());
        let cards = cards.into_iter().map(|card| card_out(card, &center)).collect();
        Ok(Response::new(ListCardsResponse { cards, next_page_token }))
    }

    async fn end_card(&self, call: Request<EndCardRequest>) -> Result<Response<Card>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let (center, id) = self.card_named(actor, &message.name).await?;
        let reason = reason_told(&message.reason, "reason")?;
        let card = self.terminals.end_card(&center, &id, &reason, &actor.name()).await?;
        Ok(Response::new(card_out(card, &center)))
    }

    async fn reset_pin(&self, call: Request<ResetPinRequest>) -> Result<Response<TemporaryPin>, Status> {
        let actor = actor(&call)?;
        let (center, id) = self.card_named(actor, &call.get_ref().name).await?;
        let pin = self.terminals.reset_pin(&center, &id, &actor.name()).await?;
        Ok(Response::new(TemporaryPin {
            card: card_name(&center, &id),
            pin: pin.expose_secret().to_owned(),
        }))
    }

    async fn register_module(&self, call: Request<RegisterModuleRequest>) -> Result<Response<BiometricModule>, Status> {
        let (actor, message) = (actor(&call)?, call.get_ref());
        let name = TerminalName::parse(&message.terminal, "terminal")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        let id = typed(TerminalId::parse(name.terminal), "terminal")?;
        let key = match message.public_key.as_slice() {
            [] => None,
            told => Some(<&[u8; 32]>::try_from(told).map_err(|_| invalid_field("public_key", "must be 32 bytes"))?),
        };
        let number = self.terminals.register_module(&center, &id, key, &actor.name()).await?;
        Ok(Response::new(BiometricModule {
            terminal: message.terminal.clone(),
            number,
            public_key: message.public_key.clone(),
        }))
    }

    async fn sign_in(&self, call: Request<SignInRequest>) -> Result<Response<Session>, Status> {
        let (center, seller) = self.caller(&call).await?;
        let card = typed_in(&call.get_ref().card_number, "card_number")?;
        let pin = typed_in(&call.get_ref().pin, "pin")?;
        let begun = self
            .terminals
            .sign_in(&center, &seller, card.expose_secret(), &pin)
            .await?;
        Ok(Response::new(session_out(&begun, &center)))
    }

    async fn create_challenge(&self, call: Request<CreateChallengeRequest>) -> Result<Response<Challenge>, Status> {
        let (center, seller) = self.caller(&call).await?;
        let made = self.terminals.create_challenge(&center, &seller.terminal).await?;
        Ok(Response::new(Challenge {
            challenge: made.challenge.to_vec(),
            expire_time: timestamp(made.expires_at),
        }))
    }

    async fn sign_in_by_assertion(&self, call: Request<SignInByAssertionRequest>) -> Result<Response<Session>, Status> {
        let (center, seller) = self.caller(&call).await?;
        let message = call.get_ref();
        let detainee = DetaineeName::parse_in(&message.detainee, "detainee", center.id.as_str())?;
        let detainee = typed(DetaineeId::parse(detainee.detainee), "detainee")?;
        if message.challenge.len() != 32 {
            return Err(invalid_field("challenge", "must be 32 bytes").into());
        }
        if message.signature.len() != 64 {
            return Err(invalid_field("signature", "must be 64 bytes").into());
        }
        let assertion = Assertion {
            challenge: &message.challenge,
            detainee: &detainee,
            signature: &message.signature,
        };
        let begun = self
            .terminals
            .sign_in_by_assertion(&center, &seller, &assertion)
            .await?;
        Ok(Response::new(session_out(&begun, &center)))
    }

    async fn change_pin(&self, call: Request<ChangePinRequest>) -> Result<Response<Session>, Status> {
        let by = actor(&call)?.name();
        let (center, seller) = self.caller(&call).await?;
        let pin = typed_in(&call.get_ref().pin, "pin")?;
        let new_pin = typed_in(&call.get_ref().new_pin, "new_pin")?;
        let begun = self
            .terminals
            .change_pin(&center, (&seller, &by), &pin, &new_pin)
            .await?;
        Ok(Response::new(session_out(&begun, &center)))
    }

    async fn sign_out(&self, call: Request<SignOutRequest>) -> Result<Response<SignOutResponse>, Status> {
        let by = actor(&call)?.name();
        let (center, seller) = self.caller(&call).await?;
        self.terminals.sign_out(&center, (&seller, &by)).await?;
        Ok(Response::new(SignOutResponse {}))
    }
}
