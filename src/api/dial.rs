//! Calling the port for terminals: the other side of [`super::tls`], for terminals that are programs of ours, and for tests.

use std::sync::Arc;

use hyper_util::rt::TokioIo;
use rustls::{
    ClientConfig, RootCertStore,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName},
    version::TLS13,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tonic::transport::{Channel, Endpoint};

use crate::terminal::SERVER_NAME;

/// Why the port cannot be called.
#[derive(Debug, thiserror::Error)]
pub enum DialError {
    /// The certificates and the key do not make a terminal.
    #[error("the terminal's certificates or key cannot be used: {0}")]
    Identity(String),
    /// Nobody answers there, or not as the authority's own.
    #[error(transparent)]
    Transport(#[from] tonic::transport::Error),
}

/// What a terminal keeps of its enrolment, PEM.
pub struct Identity<'a> {
    /// Its certificate.
    pub certificate: &'a str,
    /// Its key, PKCS #8.
    pub key: &'a str,
    /// The authority's certificate.
    pub authority: &'a str,
}

impl Identity<'_> {
    fn config(&self) -> Result<ClientConfig, DialError> {
        let wrong = |error: &dyn std::fmt::Display| DialError::Identity(error.to_string());
        let der = |text: &str| {
            pem::parse(text)
                .map(pem::Pem::into_contents)
                .map_err(|error| wrong(&error))
        };
        let mut roots = RootCertStore::empty();
        let added = roots.add(CertificateDer::from(der(self.authority)?));
        added.map_err(|error| wrong(&error))?;
        let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let builder = builder
            .with_protocol_versions(&[&TLS13])
            .map_err(|error| wrong(&error))?;
        let (certificate, key) = (der(self.certificate)?, PrivatePkcs8KeyDer::from(der(self.key)?));
        let builder = builder.with_root_certificates(roots);
        let mut config = builder
            .with_client_auth_cert(vec![certificate.into()], key.into())
            .map_err(|error| wrong(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(config)
    }
}

/// Opens a connection to the port for terminals, `host:port`, as an enrolled terminal. It is opened again by itself when it breaks.
///
/// # Errors
/// [`DialError`].
pub async fn dial(address: &str, identity: &Identity<'_>) -> Result<Channel, DialError> {
    let connector = TlsConnector::from(Arc::new(identity.config()?));
    let name = ServerName::try_from(SERVER_NAME).map_err(|error| DialError::Identity(error.to_string()))?;
    let target = address.to_owned();
    let connect = tower::service_fn(move |_: http::Uri| {
        let (connector, name, target) = (connector.clone(), name.clone(), target.clone());
        async move {
            let stream = TcpStream::connect(target).await?;
            stream.set_nodelay(true)?;
            connector.connect(name, stream).await.map(TokioIo::new)
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{address}"))?;
    Ok(endpoint.connect_with_connector(connect).await?)
}
