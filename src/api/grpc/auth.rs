//! The guard before every gRPC handler: who calls, and may that role call this method.
//!
//! The layer belongs inside the gRPC-Web layer, which then also translates its refusals. Whether the center, payer or
//! terminal of a request is the caller's own can only be said when the message is read; the handlers ask the [`Actor`].

use std::collections::HashMap;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::{Either, Ready, ready};
use http::{HeaderMap, Request, Response, header};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};
use tower::{Layer, Service};

use crate::access::{Actor, CachedVerifier, Denied, Peer, TokenError, Verified, is_open, permission_for};
use crate::api::status::DOMAIN;
use crate::clock::Clock;

/// How late the end of a token may be noticed while a call goes on.
const EXPIRY_LOOK: Duration = Duration::from_millis(250);

const NOT_AUTHENTICATED: &str = "NOT_AUTHENTICATED";
const NOT_ALLOWED: &str = "NOT_ALLOWED";

/// Makes [`Auth`] services.
#[derive(Clone)]
pub struct AuthLayer {
    verifier: CachedVerifier,
    clock: Clock,
}

impl AuthLayer {
    /// A layer that verifies tokens and asks a clock whether they have expired.
    pub fn new(verifier: CachedVerifier, clock: Clock) -> AuthLayer {
        AuthLayer { verifier, clock }
    }

    /// Who calls a method, and the token that says so; a terminal that is known by its certificate needs none for itself.
    /// Nobody if the method is open to all.
    fn admit(&self, path: &str, headers: &HeaderMap, peer: Option<&Peer>) -> Result<Caller, Refusal> {
        let method = path.strip_prefix('/').unwrap_or(path);
        if is_open(method) {
            return Ok(Caller::default());
        }
        let (actor, token) = match peer {
            Some(peer) if !headers.contains_key(header::AUTHORIZATION) => (peer.actor(), None),
            _ => {
                let token = self.verifier.verify(bearer(headers)?, self.clock.now());
                let token = token.map_err(Refusal::Token)?;
                fits(&token.actor, peer)?;
                (Actor::clone(&token.actor), Some(token))
            }
        };
        let role = actor.role;
        match permission_for(method) {
            Some(permission) if permission.is_given_to(role) => Ok(Caller {
                actor: Some(actor),
                token,
            }),
            _ => Err(Refusal::Denied(Denied::Method {
                role,
                method: method.to_owned(),
            })),
        }
    }
}

/// Who makes a call, as far as it is known.
#[derive(Default)]
struct Caller {
    actor: Option<Actor>,
    token: Option<Verified>,
}

/// Over a terminal's connection a token must be of a session at that terminal, and one of a session that began over such a
/// connection is good over no other.
fn fits(actor: &Actor, peer: Option<&Peer>) -> Result<(), Refusal> {
    match (peer, &actor.session) {
        (Some(peer), Some(_)) if peer.is_of(actor) => Ok(()),
        (Some(_), _) => Err(Refusal::Foreign),
        (None, Some(session)) if session.is_bound => Err(Refusal::Foreign),
        (None, _) => Ok(()),
    }
}

impl<S> Layer<S> for AuthLayer {
    type Service = Auth<S>;

    fn layer(&self, inner: S) -> Auth<S> {
        Auth {
            guard: self.clone(),
            inner,
        }
    }
}

/// A service that lets a call through only with a token whose role may make it, and adds its [`Actor`] and what was
/// [`Verified`] of it to the request's extensions. It answers all others by itself, without reading their message.
#[derive(Clone)]
pub struct Auth<S> {
    guard: AuthLayer,
    inner: S,
}

impl<S, B, R> Service<Request<B>> for Auth<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    R: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Either<S::Future, Ready<Result<S::Response, S::Error>>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        match self.guard.admit(request.uri().path(), request.headers(), peer) {
            Ok(caller) => {
                // An actor is only ever what a token or a certificate says.
                request.extensions_mut().remove::<Actor>();
                request.extensions_mut().remove::<Verified>();
                if let Some(actor) = caller.actor {
                    request.extensions_mut().insert(actor);
                }
                if let Some(token) = caller.token {
                    request.extensions_mut().insert(token);
                }
                Either::Left(self.inner.call(request))
            }
            Err(refusal) => Either::Right(ready(Ok(refusal.status().into_http()))),
        }
    }
}

enum Refusal {
    /// There is no bearer token, or more than one credential.
    NoToken,
    Token(TokenError),
    /// The token is of another terminal than the connection, or of no session.
    Foreign,
    Denied(Denied),
}

impl Refusal {
    fn status(&self) -> Status {
        match self {
            Refusal::NoToken => unauthenticated("a bearer token is needed in the authorization header", "MISSING"),
            Refusal::Foreign => unauthenticated("the token is not of a session at the terminal that calls", "FOREIGN"),
            Refusal::Token(TokenError::Expired) => unauthenticated("the token has expired", "EXPIRED"),
            // What exactly is wrong would help a forger more than a user.
            Refusal::Token(_) => unauthenticated("the token is not valid", "INVALID"),
            Refusal::Denied(denied) => denied_status(denied),
        }
    }
}

/// The token of the only authorization header.
fn bearer(headers: &HeaderMap) -> Result<&str, Refusal> {
    let mut values = headers.get_all(header::AUTHORIZATION).iter();
    let (Some(value), None) = (values.next(), values.next()) else {
        return Err(Refusal::NoToken);
    };
    let parts = value.to_str().ok().and_then(|value| value.split_once(' '));
    let token = parts
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    token.filter(|token| !token.is_empty()).ok_or(Refusal::NoToken)
}

fn unauthenticated(message: &str, cause: &str) -> Status {
    status(Code::Unauthenticated, message, NOT_AUTHENTICATED, [("cause", cause)])
}

/// PERMISSION_DENIED with the facts of a denial, for the layer and for handlers that check a scope.
pub fn denied_status(denied: &Denied) -> Status {
    let fact = match denied {
        Denied::Method { method, .. } => ("method", method.as_str()),
        Denied::Center { center, .. } => ("center", center.as_str()),
        Denied::AllCenters { .. } => ("center", "*"),
        Denied::Payer { payer, .. } => ("payer", payer.as_str()),
        Denied::Detainee { detainee, .. } | Denied::OtherDetainee { detainee, .. } => ("detainee", detainee.as_str()),
        Denied::Remittance { remittance, .. } => ("remittance", remittance.as_str()),
        Denied::Refund { refund, .. } => ("refund", refund.as_str()),
        Denied::Terminal { terminal, .. } => ("terminal", terminal.as_str()),
    };
    let who = match denied {
        Denied::Method { role, .. } => ("role", role.as_str()),
        Denied::Center { actor, .. }
        | Denied::AllCenters { actor }
        | Denied::Payer { actor, .. }
        | Denied::Detainee { actor, .. }
        | Denied::OtherDetainee { actor, .. }
        | Denied::Remittance { actor, .. }
        | Denied::Refund { actor, .. }
        | Denied::Terminal { actor, .. } => ("actor", actor.as_str()),
    };
    status(Code::PermissionDenied, &denied.to_string(), NOT_ALLOWED, [fact, who])
}

fn status<const N: usize>(code: Code, message: &str, reason: &str, facts: [(&str, &str); N]) -> Status {
    let facts: HashMap<String, String> = facts
        .iter()
        .map(|(key, value)| ((*key).into(), (*value).into()))
        .collect();
    Status::with_error_details(code, message, ErrorDetails::with_error_info(reason, DOMAIN, facts))
}

/// Until the token of a call has ended by a clock, which is looked at every so often; then the status that says so. For calls
/// that may outlast their token.
///
/// # Errors
/// As [`actor`].
pub fn until_expired<T>(
    request: &tonic::Request<T>,
    clock: Clock,
) -> Result<impl Future<Output = Status> + Send + use<T>, Status> {
    let token = request.extensions().get::<Verified>().ok_or_else(missing)?.clone();
    Ok(async move {
        while token.check_time(clock.now()).is_ok() {
            tokio::time::sleep(EXPIRY_LOOK).await;
        }
        Refusal::Token(TokenError::Expired).status()
    })
}

fn missing() -> Status {
    Refusal::NoToken.status()
}

/// The actor that makes a call, as the layer found it.
///
/// # Errors
/// UNAUTHENTICATED if the layer did not run, which is a mistake in how the server is put together and lets nobody in.
pub fn actor<T>(request: &tonic::Request<T>) -> Result<&Actor, Status> {
    request.extensions().get::<Actor>().ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::HeaderValue;
    use time::OffsetDateTime;
    use time::macros::datetime;
    use tower::ServiceExt;

    use super::*;
    use crate::access::{Issuer, Role, Scope, TokenKey, Verifier};
    use crate::ids::{CenterId, TerminalId};

    const NOW: OffsetDateTime = datetime!(2031-05-06 07:08:09 UTC);
    const PURCHASE: &str = "/custody.v1.CommissaryService/CreatePurchase";

    struct World {
        issuer: Issuer,
        layer: AuthLayer,
    }

    impl World {
        fn new() -> World {
            let key = TokenKey::generate().unwrap();
            let verifier = CachedVerifier::new(Verifier::new(key.public()));
            World {
                issuer: Issuer::new(key),
                layer: AuthLayer::new(verifier, Clock::starting_at(NOW)),
            }
        }

        fn token(&self, role: Role) -> String {
            let terminal = (role == Role::Terminal).then(|| TerminalId::parse("T1").unwrap());
            let scope = Scope {
                center: Some(CenterId::parse("C1").unwrap()),
                terminal,
                payer: None,
            };
            self.issuer
                .issue(&Actor::new("device-7", role, scope).unwrap(), time::Duration::HOUR, NOW)
                .unwrap()
        }

        /// Calls a method with these authorization headers: the name of the actor that the handler saw, or the refusal.
        async fn call(&self, path: &str, credentials: &[&str]) -> Result<String, Status> {
            let handler = tower::service_fn(|request: Request<()>| {
                let actor = request.extensions().get::<Actor>().map(Actor::name);
                ready(Ok::<_, Infallible>(Response::new(actor.unwrap_or("nobody".to_owned()))))
            });
            let mut request = Request::post(path).body(()).unwrap();
            for value in credentials {
                request
                    .headers_mut()
                    .append(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap());
            }
            let response = self.layer.layer(handler).oneshot(request).await.unwrap();
            assert_eq!(response.status(), http::StatusCode::OK);
            match Status::from_header_map(response.headers()) {
                Some(status) => {
                    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/grpc");
                    assert!(response.body().is_empty());
                    Err(status)
                }
                None => Ok(response.into_body()),
            }
        }
    }

    fn check(answer: Result<String, Status>, code: Code, reason: &str, fact: (&str, &str)) {
        let status = answer.unwrap_err();
        assert_eq!(status.code(), code);
        let info = status.get_error_details().error_info().unwrap().clone();
        assert_eq!((info.domain.as_str(), info.reason.as_str()), ("custody.v1", reason));
        assert_eq!(info.metadata.get(fact.0).map(String::as_str), Some(fact.1));
    }

    #[tokio::test]
    async fn a_token_whose_role_may_is_let_through() {
        let world = World::new();
        let token = world.token(Role::Terminal);
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let answer = world.call(PURCHASE, &[&format!("{scheme} {token}")]).await;
            assert_eq!(answer.unwrap(), "terminal/T1");
        }
    }

    #[tokio::test]
    async fn only_health_and_reflection_need_no_token() {
        let world = World::new();
        for path in [
            "/grpc.health.v1.Health/Check",
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        ] {
            assert_eq!(world.call(path, &[]).await.unwrap(), "nobody");
            assert_eq!(world.call(path, &["Bearer nonsense"]).await.unwrap(), "nobody");
        }
        for path in [
            PURCHASE,
            "/",
            "/x",
            "/grpc.health.v1.Healthy/Check",
            "//grpc.health.v1.Health/Check",
        ] {
            check(
                world.call(path, &[]).await,
                Code::Unauthenticated,
                NOT_AUTHENTICATED,
                ("cause", "MISSING"),
            );
        }
    }

    #[tokio::test]
    async fn a_missing_or_bad_credential_is_unauthenticated() {
        let world = World::new();
        let bearer = format!("Bearer {}", world.token(Role::Terminal));
        let basic = bearer.replace("Bearer", "Basic");
        let token_only = bearer.replace("Bearer ", "");
        for values in [
            &[][..],
            &[""],
            &["Bearer"],
            &["Bearer "],
            &[&basic],
            &[&token_only],
            &[&bearer, &bearer],
        ] {
            let answer = world.call(PURCHASE, values).await;
            check(answer, Code::Unauthenticated, NOT_AUTHENTICATED, ("cause", "MISSING"));
        }
        let forged = format!("Bearer {}", World::new().token(Role::Terminal));
        for value in [forged.as_str(), "Bearer a.b.c"] {
            let answer = world.call(PURCHASE, &[value]).await;
            check(answer, Code::Unauthenticated, NOT_AUTHENTICATED, ("cause", "INVALID"));
        }
        let actor = world.layer.verifier.verify(&world.token(Role::Terminal), NOW).unwrap();
        let old = world
            .issuer
            .issue(&actor.actor, time::Duration::MINUTE, NOW - time::Duration::HOUR)
            .unwrap();
        let answer = world.call(PURCHASE, &[&format!("Bearer {old}")]).await;
        check(answer, Code::Unauthenticated, NOT_AUTHENTICATED, ("cause", "EXPIRED"));
    }

    #[tokio::test]
    async fn a_role_that_may_not_and_an_unknown_method_are_denied() {
        let world = World::new();
        let bearer = format!("Bearer {}", world.token(Role::Auditor));
        check(
            world.call(PURCHASE, &[&bearer]).await,
            Code::PermissionDenied,
            NOT_ALLOWED,
            ("role", "auditor"),
        );
        for method in [
            "custody.v1.CommissaryService/CreatePurchases",
            "custody.v1.CommissaryService/",
        ] {
            let answer = world.call(&format!("/{method}"), &[&bearer]).await;
            check(answer, Code::PermissionDenied, NOT_ALLOWED, ("method", method));
        }
    }

    #[test]
    fn a_handler_without_the_layer_lets_nobody_in() {
        let status = actor(&tonic::Request::new(())).unwrap_err();
        assert_eq!(status.code(), Code::Unauthenticated);
    }
}
