//! One connection, whose calls all run in its own task.
//!
//! hyper would give each call a task. When a batch commits, every one of those tasks would wake the connection to write its one
//! answer: a system call for each. Here the connection runs all calls that can go on and then writes what they say together.
//! The calls themselves wait for lanes and readers, which have tasks of their own.

use std::{
    future::poll_fn,
    io,
    panic::AssertUnwindSafe,
    pin::{Pin, pin},
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};

use axum::{Router, body::Body};
use futures::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use hyper::{Request, body::Incoming, rt::Executor};
use hyper_util::{rt::TokioIo, server::conn::auto::Builder, service::TowerToHyperService};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use crate::access::Peer;

/// Calls that hyper began and the connection has not looked at yet.
#[derive(Clone, Default)]
struct Begun(Arc<Mutex<Vec<BoxFuture<'static, ()>>>>);

impl Begun {
    fn take(&self) -> Vec<BoxFuture<'static, ()>> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Begun {
    fn execute(&self, call: F) {
        // A call that panics must end alone, as it would in a task of its own.
        let call = AssertUnwindSafe(call).catch_unwind().map(|_| ());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(call.boxed());
    }
}

/// A stream that does not offer to write several buffers at once. h2 then copies answers of up to 1 KiB one after the other
/// into its own buffer and writes them together; of a stream that offers it, it asks a write for each answer above 256 bytes.
struct Plain<S>(S);

impl<S: AsyncRead + Unpin> AsyncRead for Plain<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Plain<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

/// Serves a connection until it is closed. Once told to drain it takes no further calls and ends with the last one.
/// `peer` is the terminal at the other end, when it is known by its certificate.
pub(super) async fn run<S>(stream: S, router: Router, peer: Option<Peer>, drain: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let begun = Begun::default();
    let service = TowerToHyperService::new(router.map_request(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        if let Some(peer) = &peer {
            request.extensions_mut().insert(peer.clone());
        }
        request
    }));
    let builder = Builder::new(begun.clone());
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Plain(stream)), service));
    let mut drain = pin!(drain.cancelled_owned().fuse());
    let mut running = FuturesUnordered::new();
    let ended = poll_fn(|context| {
        if drain.as_mut().poll(context).is_ready() {
            connection.as_mut().graceful_shutdown();
        }
        loop {
            while let Poll::Ready(Some(())) = running.poll_next_unpin(context) {}
            if let Poll::Ready(ended) = connection.as_mut().poll(context) {
                return Poll::Ready(ended);
            }
            let begun = begun.take();
            if begun.is_empty() {
                return Poll::Pending;
            }
            running.extend(begun);
        }
    });
    if let Err(error) = ended.await {
        tracing::debug!(error, "a connection broke");
    }
}
