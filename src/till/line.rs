//! The connection to the service, and the credentials of each call.

use std::time::Duration;

use anyhow::Context as _;
use tonic::{
    Request, Status, Streaming,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::{
    home::Home,
    store::{Call, Entry, Identity, Session},
};
use crate::proto::{
    self, Allowance, Balances, ChangePinRequest, CreatePurchaseRequest, EndAllowanceRequest, GetAllowanceRequest,
    GetBalancesRequest, GetOfflineChainRequest, GetProductRequest, GetPurchaseRequest, GetRequestOutcomeRequest,
    GetSpendingRequest, ListProductsRequest, OfflineChain, OfflineSaleOutcome, Product, Purchase, RequestOutcome,
    SignInRequest, SignOutRequest, Spending, UploadOfflineSalesRequest,
    commissary_service_client::CommissaryServiceClient, custody_service_client::CustodyServiceClient,
    ledger_service_client::LedgerServiceClient, offline_sales_service_client::OfflineSalesServiceClient,
    session_service_client::SessionServiceClient,
};

/// The file of the bearer token.
pub const TOKEN: &str = "token";
/// The files of the terminal's key, its certificate, and the authority's.
pub const KEY: &str = "terminal.key";
pub const CERTIFICATE: &str = "terminal.crt";
pub const AUTHORITY: &str = "authority.crt";
/// The name in the service's certificate, wherever it listens.
const SERVICE_NAME: &str = "custody";
/// The most products of one page.
const PAGE: i32 = 500;

/// What an entry of the queue is answered with.
pub enum Answer {
    Purchase(Purchase),
    Allowance(Allowance),
}

/// A connection. It is made when it is first used, and again when it is lost.
#[derive(Clone)]
pub struct Line {
    channel: Channel,
    /// The terminal's own token; none when its certificate speaks for it.
    bearer: Option<MetadataValue<Ascii>>,
    /// The session of whoever is signed in, and who that is.
    session: Option<(String, MetadataValue<Ascii>)>,
    /// How long an answer may take.
    answer: Duration,
}

impl Line {
    /// Where the terminal was enrolled.
    ///
    /// # Errors
    /// There is no credential, or the URL is none.
    pub fn to(identity: &Identity, home: &Home, answer: Duration) -> anyhow::Result<Line> {
        let (endpoint, bearer) = match &identity.terminal_server {
            None => {
                let token = home.read(TOKEN).context("the token; enrol the terminal first")?;
                let bearer = bearer(token.trim())?;
                (Endpoint::from_shared(identity.server.clone()), Some(bearer))
            }
            Some(url) => (Endpoint::from_shared(url.clone()), None),
        };
        let mut endpoint = endpoint.context("the service's URL")?.connect_timeout(answer);
        if identity.terminal_server.is_some() {
            let tls = ClientTlsConfig::new()
                .ca_certificate(Certificate::from_pem(home.read(AUTHORITY)?))
                .identity(tonic::transport::Identity::from_pem(
                    home.read(CERTIFICATE)?,
                    home.read(KEY)?,
                ))
                .domain_name(SERVICE_NAME);
            endpoint = endpoint.tls_config(tls).context("the terminal's certificate")?;
        }
        Ok(Line {
            channel: endpoint.connect_lazy(),
            bearer,
            session: None,
            answer,
        })
    }

    /// The same connection for whoever is signed in: what is a detainee's is asked for in that detainee's session.
    ///
    /// # Errors
    /// The session's token is none.
    pub fn with(self, session: Option<Session>) -> anyhow::Result<Line> {
        let session = session.map(|session| Ok::<_, anyhow::Error>((session.detainee, bearer(&session.token)?)));
        Ok(Line {
            session: session.transpose()?,
            ..self
        })
    }

    fn call<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        if let Some(bearer) = &self.bearer {
            request.metadata_mut().insert("authorization", bearer.clone());
        }
        request.set_timeout(self.answer);
        request
    }

    /// A call that is about a detainee, `centers/{center}/detainees/{detainee}`.
    fn call_of<T>(&self, detainee: &str, message: T) -> Request<T> {
        let mut request = self.call(message);
        if let Some((own, token)) = &self.session
            && detainee.rsplit('/').next() == Some(own)
        {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    /// A call in the session, whosever it is.
    fn call_within<T>(&self, message: T) -> Request<T> {
        let mut request = self.call(message);
        if let Some((_, token)) = &self.session {
            request.metadata_mut().insert("authorization", token.clone());
        }
        request
    }

    fn sessions(&self) -> SessionServiceClient<Channel> {
        SessionServiceClient::new(self.channel.clone())
    }

    /// Signs a detainee in. A terminal asks as itself.
    pub async fn sign_in(&self, message: SignInRequest) -> Result<proto::Session, Status> {
        Ok(self.sessions().sign_in(self.call(message)).await?.into_inner())
    }

    /// Sets another PIN.
    pub async fn change_pin(&self, message: ChangePinRequest) -> Result<proto::Session, Status> {
        Ok(self
            .sessions()
            .change_pin(self.call_within(message))
            .await?
            .into_inner())
    }

    /// Ends the session.
    pub async fn sign_out(&self) -> Result<(), Status> {
        self.sessions().sign_out(self.call_within(SignOutRequest {})).await?;
        Ok(())
    }

    fn commissary(&self) -> CommissaryServiceClient<Channel> {
        CommissaryServiceClient::new(self.channel.clone())
    }

    fn offline(&self) -> OfflineSalesServiceClient<Channel> {
        OfflineSalesServiceClient::new(self.channel.clone())
    }

    /// Asks for what an entry is, with the very message that was written down.
    pub async fn send(&self, entry: &Entry) -> anyhow::Result<Result<Answer, Status>> {
        Ok(match entry.call {
            Call::Purchase => {
                let message: CreatePurchaseRequest = entry.message()?;
                let request = self.call_of(&message.detainee.clone(), message);
                let answer = self.commissary().create_purchase(request).await;
                answer.map(|answer| Answer::Purchase(answer.into_inner()))
            }
            Call::Reserve => {
                let answer = self.offline().reserve_allowance(self.call(entry.message()?)).await;
                answer.map(|answer| Answer::Allowance(answer.into_inner()))
            }
            Call::End => {
                let answer = self.offline().end_allowance(self.call(entry.message()?)).await;
                answer.map(|answer| Answer::Allowance(answer.into_inner()))
            }
        })
    }

    /// Reads what an entry has made, by the ledger's word.
    pub async fn made(&self, entry: &Entry, resource: String) -> anyhow::Result<Result<Answer, Status>> {
        let name = match entry.call {
            Call::Purchase => {
                let message = GetPurchaseRequest { name: resource };
                let answer = self.commissary().get_purchase(self.call(message)).await;
                return Ok(answer.map(|answer| Answer::Purchase(answer.into_inner())));
            }
            Call::Reserve => resource,
            Call::End => entry.message::<EndAllowanceRequest>()?.name,
        };
        let answer = self
            .offline()
            .get_allowance(self.call(GetAllowanceRequest { name }))
            .await;
        Ok(answer.map(|answer| Answer::Allowance(answer.into_inner())))
    }

    /// Where the service has the terminal's numbers.
    pub async fn chain(&self, terminal: String) -> Result<OfflineChain, Status> {
        let message = GetOfflineChainRequest { terminal };
        Ok(self.offline().get_offline_chain(self.call(message)).await?.into_inner())
    }

    /// Brings sales in. Answers come in their order; the call may take as long as the sales need.
    pub async fn upload(&self, sales: Vec<UploadOfflineSalesRequest>) -> Result<Streaming<OfflineSaleOutcome>, Status> {
        let mut request = self.call(tokio_stream::iter(sales));
        request.metadata_mut().remove("grpc-timeout");
        Ok(self.offline().upload_offline_sales(request).await?.into_inner())
    }

    /// What became of a request, by the ledger's word.
    pub async fn outcome(&self, center: &str, request_id: &str) -> Result<RequestOutcome, Status> {
        let message = GetRequestOutcomeRequest {
            parent: format!("centers/{center}"),
            request_id: request_id.to_owned(),
        };
        let mut client = LedgerServiceClient::new(self.channel.clone());
        Ok(client.get_request_outcome(self.call(message)).await?.into_inner())
    }

    /// All products of the center.
    pub async fn products(&self, center: &str) -> Result<Vec<Product>, Status> {
        let mut message = ListProductsRequest {
            parent: format!("centers/{center}"),
            page_size: PAGE,
            ..ListProductsRequest::default()
        };
        let mut products = Vec::new();
        loop {
            let answer = self.commissary().list_products(self.call(message.clone())).await?;
            let page = answer.into_inner();
            products.extend(page.products);
            if page.next_page_token.is_empty() {
                return Ok(products);
            }
            message.page_token = page.next_page_token;
        }
    }

    /// One product.
    pub async fn product(&self, name: String) -> Result<Product, Status> {
        let answer = self
            .commissary()
            .get_product(self.call(GetProductRequest { name }))
            .await?;
        Ok(answer.into_inner())
    }

    /// What a detainee has.
    pub async fn balances(&self, detainee: String) -> Result<Balances, Status> {
        let mut client = CustodyServiceClient::new(self.channel.clone());
        let answer = client
            .get_balances(self.call_of(&detainee.clone(), GetBalancesRequest { detainee }))
            .await?;
        Ok(answer.into_inner())
    }

    /// What a detainee has spent this month.
    pub async fn spending(&self, detainee: String) -> Result<Spending, Status> {
        let message = GetSpendingRequest {
            detainee,
            month: String::new(),
        };
        let request = self.call_of(&message.detainee.clone(), message);
        let answer = self.commissary().get_spending(request).await?;
        Ok(answer.into_inner())
    }
}

/// A token as it is sent.
fn bearer(token: &str) -> anyhow::Result<MetadataValue<Ascii>> {
    format!("Bearer {token}").parse().context("the token")
}
