//! The connection to the service, and the credentials of each call.

use std::time::Duration;

use anyhow::Context as _;
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint},
};

use super::{
    home::Home,
    store::{Entry, Identity},
};
use crate::proto::{
    Balances, GetBalancesRequest, GetProductRequest, GetPurchaseRequest, GetRequestOutcomeRequest, GetSpendingRequest,
    ListProductsRequest, Product, Purchase, RequestOutcome, Spending,
    commissary_service_client::CommissaryServiceClient, custody_service_client::CustodyServiceClient,
    ledger_service_client::LedgerServiceClient,
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

/// A connection. It is made when it is first used, and again when it is lost.
#[derive(Clone)]
pub struct Line {
    channel: Channel,
    /// The terminal's own token; none when its certificate speaks for it.
    bearer: Option<MetadataValue<Ascii>>,
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
            answer,
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

    fn commissary(&self) -> CommissaryServiceClient<Channel> {
        CommissaryServiceClient::new(self.channel.clone())
    }

    /// Asks for a purchase, with the very message that was written down.
    pub async fn purchase(&self, entry: &Entry) -> anyhow::Result<Result<Purchase, Status>> {
        let message = entry.message()?;
        let answer = self.commissary().create_purchase(self.call(message)).await;
        Ok(answer.map(tonic::Response::into_inner))
    }

    /// A purchase that was made.
    pub async fn purchase_made(&self, name: String) -> Result<Purchase, Status> {
        let answer = self
            .commissary()
            .get_purchase(self.call(GetPurchaseRequest { name }))
            .await?;
        Ok(answer.into_inner())
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
        let answer = client.get_balances(self.call(GetBalancesRequest { detainee })).await?;
        Ok(answer.into_inner())
    }

    /// What a detainee has spent this month.
    pub async fn spending(&self, detainee: String) -> Result<Spending, Status> {
        let message = GetSpendingRequest {
            detainee,
            month: String::new(),
        };
        let answer = self.commissary().get_spending(self.call(message)).await?;
        Ok(answer.into_inner())
    }
}

/// A token as it is sent.
fn bearer(token: &str) -> anyhow::Result<MetadataValue<Ascii>> {
    format!("Bearer {token}").parse().context("the token")
}
