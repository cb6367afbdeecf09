//! The port for enrolled terminals: TLS 1.3, and nobody without a certificate of the deployment's own authority.

use std::{fmt, sync::Arc, time::Duration};

use axum::Router;
use rustls::{
    RootCertStore, ServerConfig,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, PrivatePkcs8KeyDer, UnixTime},
    server::WebPkiClientVerifier,
    time_provider::TimeProvider,
    version::TLS13,
};
use tokio::{net::TcpStream, sync::Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{connection, grpc::name::TerminalName};
use crate::{
    access::Peer,
    clock::Clock,
    ids::{CenterId, TerminalId},
    terminal::{Authority, ServerIdentity},
};

/// How long a connection may take until it is one, in seconds.
const HANDSHAKE_MAX_S: u64 = 10;
/// How many connections may be in that at once; further ones wait for their turn.
const HANDSHAKES_MAX: usize = 64;

/// The service's clock, by which certificates hold.
struct Time(Clock);

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Time")
    }
}

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        let seconds = u64::try_from(self.0.now().unix_timestamp()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_secs(seconds)))
    }
}

/// What lets terminals in. Cheap to clone.
#[derive(Clone)]
pub struct Door {
    acceptor: TlsAcceptor,
    handshakes: Arc<Semaphore>,
}

impl Door {
    /// A door with the service's own certificate, for those who have one of the authority.
    ///
    /// # Errors
    /// The authority or the certificate cannot be used.
    pub fn new(authority: &Authority, own: ServerIdentity, clock: Clock) -> Result<Door, rustls::Error> {
        let provider = Arc::new(default_provider());
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from(authority.certificate().to_vec()))?;
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|error| rustls::Error::General(error.to_string()))?;
        let mut config = ServerConfig::builder_with_details(provider, Arc::new(Time(clock)))
            .with_protocol_versions(&[&TLS13])?
            .with_client_cert_verifier(verifier)
            .with_single_cert(vec![own.certificate.into()], PrivatePkcs8KeyDer::from(own.key).into())?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Door {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            handshakes: Arc::new(Semaphore::new(HANDSHAKES_MAX)),
        })
    }

    /// Serves a connection once it has shown a certificate.
    pub(super) async fn enter(self, stream: TcpStream, router: Router, drain: CancellationToken) {
        let Ok(permit) = self.handshakes.acquire().await else {
            return;
        };
        let limit = Duration::from_secs(HANDSHAKE_MAX_S);
        let stream = match tokio::time::timeout(limit, self.acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                tracing::debug!(%error, "a terminal's connection was not let in");
                return;
            }
            Err(_) => return,
        };
        drop(permit);
        let certificates = stream.get_ref().1.peer_certificates();
        let Some(peer) = certificates.and_then(<[_]>::first).and_then(|own| peer_of(own)) else {
            tracing::warn!("a certificate of our authority names no terminal");
            return;
        };
        connection::run(stream, router, Some(peer), drain).await;
    }
}

/// The terminal that a certificate names.
fn peer_of(certificate: &[u8]) -> Option<Peer> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let name = certificate.subject().iter_common_name().next()?.as_str().ok()?;
    let name = TerminalName::parse(name, "certificate").ok()?;
    Some(Peer {
        center: CenterId::parse(name.center).ok()?,
        terminal: TerminalId::parse(name.terminal).ok()?,
        serial: certificate.raw_serial().into(),
    })
}
