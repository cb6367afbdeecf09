//! The ports: one for everybody, and one for enrolled terminals if there is to be one.

use std::{io::Write as _, net::SocketAddr};

use anyhow::Context as _;
use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::{
    api::{server, tls::Door},
    clock::Clock,
    config::Config,
    terminal::Terminals,
};

/// The port for enrolled terminals.
struct TerminalPort {
    listener: TcpListener,
    address: SocketAddr,
    door: Door,
}

/// Where the service listens.
pub struct Ports {
    listener: TcpListener,
    /// The address of the port for everybody.
    pub address: SocketAddr,
    terminals: Option<TerminalPort>,
}

impl Ports {
    /// Opens them. Nobody is answered yet.
    ///
    /// # Errors
    /// An address is taken, or the service's certificate cannot be made.
    pub async fn open(config: &Config, terminals: &Terminals, clock: &Clock) -> anyhow::Result<Ports> {
        let (listener, address) = listen(config.server.listen).await?;
        let terminals = match config.terminals.listen {
            None => None,
            Some(asked) => {
                let (listener, address) = listen(asked).await?;
                let authority = terminals.authority();
                let own = authority.server_identity(address.ip(), config.terminals.host.as_deref())?;
                let door = Door::new(authority, own, clock.clone())?;
                Some(TerminalPort {
                    listener,
                    address,
                    door,
                })
            }
        };
        Ok(Ports {
            listener,
            address,
            terminals,
        })
    }

    /// Tells where they are, the one for everybody last: whoever reads that line finds the others before it.
    pub fn announce(&self) -> std::io::Result<()> {
        // Standard output may be a pipe that someone reads the addresses from: written at once.
        let mut out = std::io::stdout().lock();
        if let Some(port) = &self.terminals {
            writeln!(out, "terminals on {}", port.address)?;
        }
        writeln!(out, "custody ready on {}", self.address)?;
        out.flush()
    }

    /// Serves all of them until told to stop.
    pub async fn serve(self, router: Router, stop: CancellationToken) -> std::io::Result<()> {
        let Some(port) = self.terminals else {
            return server::serve(self.listener, router, stop).await;
        };
        let to_terminals = server::serve_terminals(port.listener, router.clone(), port.door, stop.clone());
        let (served, served_terminals) = tokio::join!(server::serve(self.listener, router, stop), to_terminals);
        served.and(served_terminals)
    }
}

async fn listen(address: SocketAddr) -> anyhow::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(address).await;
    let listener = listener.with_context(|| format!("cannot listen on {address}"))?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}
