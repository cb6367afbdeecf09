//! TerminalService.

use tonic::{Request, Response, Status};

use super::{
    auth::actor,
    convert::{text, timestamp, typed},
    identity::reason_told,
    name::{CenterName, TerminalName},
    page::Page,
    scope,
};
use crate::{
    access::{Actor, Peer},
    api::status::invalid_field,
    custody::Custody,
    ids::{CenterId, TerminalId},
    ledger::{Center, LedgerError, Reason},
    proto::{
        self, CreateEnrolmentCodeRequest, CreateTerminalRequest, EnrolTerminalRequest, Enrolment, EnrolmentCode,
        GetTerminalRequest, ListTerminalsRequest, ListTerminalsResponse, RenewCertificateRequest,
        RevokeTerminalRequest, terminal::State, terminal_service_server::TerminalService,
    },
    terminal::{Code, Terminal, TerminalRefusal, TerminalState, Terminals},
};

/// The service over its domain.
#[derive(Clone)]
pub struct TerminalApi {
    terminals: Terminals,
    custody: Custody,
}

impl TerminalApi {
    /// The service.
    pub fn new(terminals: Terminals, custody: Custody) -> TerminalApi {
        TerminalApi { terminals, custody }
    }

    async fn named(&self, actor: &Actor, name: &str) -> Result<(Center, TerminalId), Status> {
        let name = TerminalName::parse(name, "name")?;
        let center = scope::center(&self.custody, actor, name.center).await?;
        Ok((center, typed(TerminalId::parse(name.terminal), "name")?))
    }

    fn enrolment(&self, terminal: &Terminal, center: &Center) -> Enrolment {
        let pem = |der: &[u8]| pem::encode(&pem::Pem::new("CERTIFICATE", der));
        let certificate = terminal.certificate.as_ref();
        Enrolment {
            terminal: Some(terminal_out(terminal, center)),
            certificate: certificate.map(|own| pem(&own.der)).unwrap_or_default(),
            authority_certificate: pem(self.terminals.authority().certificate()),
        }
    }
}

fn terminal_name(center: &Center, terminal: &TerminalId) -> String {
    TerminalName {
        center: center.id.as_str(),
        terminal: terminal.as_str(),
    }
    .to_string()
}

fn terminal_out(terminal: &Terminal, center: &Center) -> proto::Terminal {
    let state = match terminal.state() {
        TerminalState::AwaitingEnrolment => State::AwaitingEnrolment,
        TerminalState::Enrolled => State::Enrolled,
        TerminalState::Revoked => State::Revoked,
    };
    let certificate = terminal.certificate.as_ref().map(|own| proto::TerminalCertificate {
        number: own.number,
        serial: hex::encode(&own.serial),
        public_key: own.public_key.to_vec(),
        not_before_time: timestamp(own.not_before),
        not_after_time: timestamp(own.not_after),
    });
    let revoked = terminal.revoked.as_ref();
    proto::Terminal {
        name: terminal_name(center, &terminal.id),
        display_name: terminal.display_name.clone(),
        state: state.into(),
        create_time: timestamp(terminal.created_at),
        created_by: terminal.created_by.clone(),
        certificate,
        revoke_time: revoked.and_then(|end| timestamp(end.at)),
        revoked_by: revoked.map(|end| end.actor.clone()).unwrap_or_default(),
        revoke_reason: revoked.map(|end| end.reason.clone()).unwrap_or_default(),
    }
}

#[tonic::async_trait]
impl TerminalService for TerminalApi {
    async fn create_terminal(&self, call: Request<CreateTerminalRequest>) -> Result<Response<proto::Terminal>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?.center;
        let center = scope::center(&self.custody, actor, parent).await?;
        let id = typed(TerminalId::parse(&message.terminal_id), "terminal_id")?;
        let display_name = text(&message.display_name, "display_name")?;
        let terminal = self.terminals.create(&center, id, display_name, &actor.name()).await?;
        Ok(Response::new(terminal_out(&terminal, &center)))
    }

    async fn get_terminal(&self, call: Request<GetTerminalRequest>) -> Result<Response<proto::Terminal>, Status> {
        let (center, id) = self.named(actor(&call)?, &call.get_ref().name).await?;
        let terminal = self.terminals.terminal(&center, &id).await?;
        Ok(Response::new(terminal_out(&terminal, &center)))
    }

    async fn list_terminals(
        &self,
        call: Request<ListTerminalsRequest>,
    ) -> Result<Response<ListTerminalsResponse>, Status> {
        let message = call.get_ref();
        let parent = CenterName::parse(&message.parent, "parent")?.center;
        let center = scope::center(&self.custody, actor(&call)?, parent).await?;
        let arguments = [message.parent.as_str()];
        let page = Page::read("ListTerminals", &arguments, message.page_size, &message.page_token)?;
        let after = page.after().unwrap_or_default();
        let terminals = self.terminals.list(&center, after, page.limit()).await?;
        let (terminals, next_page_token) = page.finish(terminals, |terminal| terminal.id.to_string());
        let terminals = terminals
            .iter()
            .map(|terminal| terminal_out(terminal, &center))
            .collect();
        Ok(Response::new(ListTerminalsResponse {
            terminals,
            next_page_token,
        }))
    }

    async fn create_enrolment_code(
        &self,
        call: Request<CreateEnrolmentCodeRequest>,
    ) -> Result<Response<EnrolmentCode>, Status> {
        let actor = actor(&call)?;
        let (center, id) = self.named(actor, &call.get_ref().name).await?;
        let made = self.terminals.create_code(&center, &id, &actor.name()).await?;
        Ok(Response::new(EnrolmentCode {
            terminal: terminal_name(&center, &id),
            code: made.code.shown(),
            expire_time: timestamp(made.expires_at),
            authority_sha256: self.terminals.authority().fingerprint(),
        }))
    }

    async fn enrol_terminal(&self, call: Request<EnrolTerminalRequest>) -> Result<Response<Enrolment>, Status> {
        let message = call.get_ref();
        let name = TerminalName::parse(&message.name, "name")?;
        let center = typed(CenterId::parse(name.center), "name")?;
        let id = typed(TerminalId::parse(name.terminal), "name")?;
        self.terminals.admit_enrolment().map_err(LedgerError::from)?;
        let code = Code::parse(&message.code).ok_or_else(|| invalid_field("code", "is 20 letters and digits"))?;
        // Nobody finds out here which centers there are.
        let center = match self.custody.center(&center).await {
            Err(LedgerError::Refused { refusal, .. }) if refusal.reason() == Reason::NotFound => {
                return Err(LedgerError::from(TerminalRefusal::CodeInvalid).into());
            }
            found => found?,
        };
        let terminal = self
            .terminals
            .enrol(&center, &id, &code, &message.certificate_request)
            .await?;
        Ok(Response::new(self.enrolment(&terminal, &center)))
    }

    async fn renew_certificate(&self, call: Request<RenewCertificateRequest>) -> Result<Response<Enrolment>, Status> {
        let peer = call.extensions().get::<Peer>();
        let peer = peer.ok_or_else(|| LedgerError::from(TerminalRefusal::CertificateNotCurrent))?;
        let center = self.custody.center(&peer.center).await?;
        let renewed = self
            .terminals
            .renew(&center, peer, &call.get_ref().certificate_request)
            .await?;
        Ok(Response::new(self.enrolment(&renewed, &center)))
    }

    async fn revoke_terminal(&self, call: Request<RevokeTerminalRequest>) -> Result<Response<proto::Terminal>, Status> {
        let actor = actor(&call)?;
        let message = call.get_ref();
        let (center, id) = self.named(actor, &message.name).await?;
        let reason = reason_told(&message.reason, "reason")?;
        let terminal = self.terminals.revoke(&center, &id, &reason, &actor.name()).await?;
        Ok(Response::new(terminal_out(&terminal, &center)))
    }
}
