//! Bearer tokens: JSON Web Tokens signed with Ed25519, and nothing else.

use std::str::FromStr;
use std::sync::Arc;

use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use time::{Duration, OffsetDateTime};

use uuid::Uuid;

use crate::ids::{CenterId, DetaineeId, IdError, PayerId, TerminalId};

use super::{Actor, ActorError, PublicKey, Role, Scope, Session, TokenKey};

/// The issuer that every token names.
const ISSUER: &str = "custody";

/// What stands for all centers in a token.
const ALL_CENTERS: &str = "*";

/// A token that is longer than this is refused unread.
pub const MAX_TOKEN_BYTES: usize = 2_048;

/// How far the clocks of an issuer and of the service may be apart.
const CLOCK_SKEW: Duration = Duration::MINUTE;

/// Why a token is not accepted or not issued.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is no token of this service: not a JWT, another algorithm, missing claims, or too long.
    #[error("the token is malformed")]
    Malformed,
    /// It was not signed with the service's key, or was changed since.
    #[error("the signature of the token is wrong")]
    Signature,
    /// It names another issuer.
    #[error("the token is of another issuer")]
    Issuer,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// It was issued in the future.
    #[error("the token is not valid yet")]
    NotYetValid,
    /// It names an unknown role, or something that is no id.
    #[error("the token names no role or id of this service")]
    Claims,
    /// Its role and scope do not belong together.
    #[error(transparent)]
    Actor(#[from] ActorError),
    /// A token cannot be issued for so short or long.
    #[error("a token cannot be valid for so short or so long")]
    Lifetime,
    /// The token cannot be signed.
    #[error("the token cannot be signed")]
    Signing,
}

/// What stands in a token.
#[derive(Debug, Serialize, Deserialize)]
struct Claims {
    iss: String,
    sub: String,
    role: String,
    center: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    payer: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    terminal: Option<String>,
    /// The session of a detainee, and whom it is of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    session: Option<SessionClaims>,
    /// Seconds since 1970.
    iat: i64,
    /// Seconds since 1970. From this second on the token is void.
    exp: i64,
}

/// What stands in a token of a session.
#[derive(Debug, Serialize, Deserialize)]
struct SessionClaims {
    id: String,
    detainee: String,
    bound: bool,
    limited: bool,
}

impl SessionClaims {
    fn of(session: &Session) -> SessionClaims {
        SessionClaims {
            id: session.id.to_string(),
            detainee: session.detainee.to_string(),
            bound: session.is_bound,
            limited: session.is_limited,
        }
    }

    fn session(self) -> Result<Session, IdError> {
        Ok(Session {
            id: Uuid::parse_str(&self.id).map_err(|_| IdError::NotAUuid)?,
            detainee: DetaineeId::parse(&self.detainee)?,
            is_bound: self.bound,
            is_limited: self.limited,
        })
    }
}

impl Claims {
    fn actor(self) -> Result<Actor, TokenError> {
        let malformed = |_: IdError| TokenError::Claims;
        let center = match self.center.as_str() {
            ALL_CENTERS => None,
            text => Some(CenterId::parse(text).map_err(malformed)?),
        };
        let payer = self
            .payer
            .as_deref()
            .map(PayerId::parse)
            .transpose()
            .map_err(malformed)?;
        let terminal = self
            .terminal
            .as_deref()
            .map(TerminalId::parse)
            .transpose()
            .map_err(malformed)?;
        let role = Role::from_str(&self.role).map_err(|_| TokenError::Claims)?;
        let session = self
            .session
            .map(SessionClaims::session)
            .transpose()
            .map_err(malformed)?;
        let actor = Actor {
            subject: self.sub,
            role,
            scope: Scope {
                center,
                payer,
                terminal,
            },
            session,
        };
        actor.check()?;
        Ok(actor)
    }
}

/// Issues tokens.
#[derive(Debug, Clone)]
pub struct Issuer(TokenKey);

impl Issuer {
    /// An issuer that signs with a key.
    pub fn new(key: TokenKey) -> Issuer {
        Issuer(key)
    }

    /// A token that stands for an actor from `now` on for `ttl`, in whole seconds.
    ///
    /// # Errors
    /// [`TokenError::Actor`], [`TokenError::Lifetime`] for less than a second, and [`TokenError::Signing`].
    pub fn issue(&self, actor: &Actor, ttl: Duration, now: OffsetDateTime) -> Result<String, TokenError> {
        actor.check()?;
        if ttl < Duration::SECOND {
            return Err(TokenError::Lifetime);
        }
        let iat = now.unix_timestamp();
        let claims = Claims {
            iss: ISSUER.to_owned(),
            sub: actor.subject.clone(),
            role: actor.role.to_string(),
            center: actor
                .scope
                .center
                .as_ref()
                .map_or_else(|| ALL_CENTERS.to_owned(), CenterId::to_string),
            payer: actor.scope.payer.as_ref().map(PayerId::to_string),
            terminal: actor.scope.terminal.as_ref().map(TerminalId::to_string),
            session: actor.session.as_ref().map(SessionClaims::of),
            iat,
            exp: iat.checked_add(ttl.whole_seconds()).ok_or(TokenError::Lifetime)?,
        };
        let header = Header::new(Algorithm::EdDSA);
        jsonwebtoken::encode(&header, &claims, self.0.signing()).map_err(|_| TokenError::Signing)
    }
}

/// A token whose signature was verified: the actor, and when the token holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// Whom the token stands for.
    pub actor: Arc<Actor>,
    issued_at: i64,
    expires_at: i64,
}

impl Verified {
    /// Whether the token holds at an instant.
    ///
    /// # Errors
    /// [`TokenError::Expired`] and [`TokenError::NotYetValid`].
    pub fn check_time(&self, now: OffsetDateTime) -> Result<(), TokenError> {
        let now = now.unix_timestamp();
        if now >= self.expires_at {
            Err(TokenError::Expired)
        } else if self.issued_at > now.saturating_add(CLOCK_SKEW.whole_seconds()) {
            Err(TokenError::NotYetValid)
        } else {
            Ok(())
        }
    }
}

/// Verifies tokens with the public key.
#[derive(Clone)]
pub struct Verifier {
    key: DecodingKey,
    validation: Validation,
}

impl Verifier {
    /// A verifier of the tokens that were signed with the other half of a key.
    pub fn new(key: PublicKey) -> Verifier {
        // EdDSA is the only algorithm that is accepted, whatever the token's header says.
        let mut validation = Validation::new(Algorithm::EdDSA);
        validation.set_issuer(&[ISSUER]);
        validation.set_required_spec_claims(&["iss", "sub"]);
        // The library would ask the machine's clock; `check_time` asks the service's.
        validation.validate_exp = false;
        Verifier {
            key: DecodingKey::from_ed_der(key.as_bytes()),
            validation,
        }
    }

    /// The actor that a token stands for at `now`.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Actor, TokenError> {
        let verified = self.verify_signature(token)?;
        verified.check_time(now)?;
        Ok(Arc::unwrap_or_clone(verified.actor))
    }

    /// Verifies all of a token but its time.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify_signature(&self, token: &str) -> Result<Verified, TokenError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(TokenError::Malformed);
        }
        let data = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation);
        let claims = data.map_err(|error| match error.kind() {
            ErrorKind::InvalidSignature => TokenError::Signature,
            ErrorKind::InvalidIssuer => TokenError::Issuer,
            _ => TokenError::Malformed,
        })?;
        let claims = claims.claims;
        let (issued_at, expires_at) = (claims.iat, claims.exp);
        Ok(Verified {
            actor: Arc::new(claims.actor()?),
            issued_at,
            expires_at,
        })
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::EncodingKey;
    use serde_json::{Value, json};
    use time::macros::datetime;

    use super::*;

    const NOW: OffsetDateTime = datetime!(2031-05-06 07:08:09 UTC);

    fn scope(center: &str) -> Scope {
        Scope {
            center: (center != "*").then(|| CenterId::parse(center).unwrap()),
            ..Scope::default()
        }
    }

    fn terminal() -> Actor {
        let scope = Scope {
            terminal: Some(TerminalId::parse("T1").unwrap()),
            ..scope("C1")
        };
        Actor::new("device-7", Role::Terminal, scope).unwrap()
    }

    fn claims() -> Value {
        let now = NOW.unix_timestamp();
        json!({"iss": "custody", "sub": "alice", "role": "finance", "center": "C1", "iat": now, "exp": now + 60})
    }

    /// Changes one claim of a good token, and says what the verifier thinks of it.
    fn with(claim: &str, value: Value) -> Result<Actor, TokenError> {
        let key = TokenKey::generate().unwrap();
        let mut claims = claims();
        match value {
            Value::Null => claims.as_object_mut().unwrap().remove(claim),
            value => claims.as_object_mut().unwrap().insert(claim.to_owned(), value),
        };
        let token = jsonwebtoken::encode(&Header::new(Algorithm::EdDSA), &claims, key.signing()).unwrap();
        Verifier::new(key.public()).verify(&token, NOW)
    }

    #[test]
    fn what_is_issued_is_verified() {
        let key = TokenKey::generate().unwrap();
        let verifier = Verifier::new(PublicKey::from_bytes(*key.public().as_bytes()));
        let payer = Scope {
            payer: Some(PayerId::parse("P1").unwrap()),
            ..scope("C1")
        };
        let actors = [
            terminal(),
            Actor::new("app", Role::Payer, payer).unwrap(),
            Actor::new("root", Role::Admin, scope("*")).unwrap(),
            Actor::new("alice", Role::Finance, scope("C1")).unwrap(),
        ];
        let issuer = Issuer::new(key);
        for actor in actors {
            let token = issuer.issue(&actor, Duration::HOUR, NOW).unwrap();
            assert!(token.len() < MAX_TOKEN_BYTES / 4);
            assert_eq!(verifier.verify(&token, NOW), Ok(actor));
        }
    }

    #[test]
    fn time_is_the_given_one() {
        let key = TokenKey::generate().unwrap();
        let verifier = Verifier::new(key.public());
        let issuer = Issuer::new(key);
        let token = issuer.issue(&terminal(), Duration::HOUR, NOW).unwrap();
        assert!(verifier.verify(&token, NOW + Duration::minutes(59)).is_ok());
        assert_eq!(verifier.verify(&token, NOW + Duration::HOUR), Err(TokenError::Expired));
        assert!(verifier.verify(&token, NOW - Duration::MINUTE).is_ok());
        assert_eq!(
            verifier.verify(&token, NOW - Duration::seconds(61)),
            Err(TokenError::NotYetValid)
        );
        assert_eq!(
            issuer.issue(&terminal(), Duration::ZERO, NOW),
            Err(TokenError::Lifetime)
        );
        assert_eq!(issuer.issue(&terminal(), Duration::MAX, NOW), Err(TokenError::Lifetime));
    }

    #[test]
    fn forged_tokens_are_refused() {
        let key = TokenKey::generate().unwrap();
        let verifier = Verifier::new(key.public());
        let forged = Issuer::new(TokenKey::generate().unwrap())
            .issue(&terminal(), Duration::HOUR, NOW)
            .unwrap();
        assert_eq!(verifier.verify(&forged, NOW), Err(TokenError::Signature));

        // The claims of one good token with the signature of another.
        let issuer = Issuer::new(key.clone());
        let admin = Actor::new("root", Role::Admin, scope("*")).unwrap();
        let (a, b) = (
            issuer.issue(&terminal(), Duration::HOUR, NOW),
            issuer.issue(&admin, Duration::HOUR, NOW),
        );
        let (a, b) = (a.unwrap(), b.unwrap());
        let mixed = format!("{}.{}", b.rsplit_once('.').unwrap().0, a.rsplit_once('.').unwrap().1);
        assert_eq!(verifier.verify(&mixed, NOW), Err(TokenError::Signature));
        assert!(verifier.verify(&a[..a.len() - 4], NOW).is_err());

        // The public key as the secret of a symmetric algorithm, and no algorithm at all.
        let secret = EncodingKey::from_secret(key.public().as_bytes());
        let token = jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims(), &secret).unwrap();
        assert_eq!(verifier.verify(&token, NOW), Err(TokenError::Malformed));
        // {"alg":"none"} and {"alg":"none","typ":"JWT"}
        for header in ["eyJhbGciOiJub25lIn0", "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"] {
            let token = format!("{header}.{}.", b.split('.').nth(1).unwrap());
            assert_eq!(verifier.verify(&token, NOW), Err(TokenError::Malformed));
        }
        let long = "a".repeat(MAX_TOKEN_BYTES + 1);
        for text in ["", ".", "..", "a.b.c", long.as_str()] {
            assert_eq!(verifier.verify(text, NOW), Err(TokenError::Malformed), "{text:?}");
        }
    }

    #[test]
    fn claims_must_make_an_actor() {
        assert!(with("nonce", json!("x")).is_ok());
        assert_eq!(with("iss", json!("other")), Err(TokenError::Issuer));
        for claim in ["iss", "sub", "role", "center", "iat", "exp"] {
            assert_eq!(with(claim, Value::Null), Err(TokenError::Malformed), "{claim}");
        }
        assert_eq!(with("exp", json!("never")), Err(TokenError::Malformed));
        assert_eq!(with("role", json!("root")), Err(TokenError::Claims));
        assert_eq!(with("center", json!("")), Err(TokenError::Claims));
        assert_eq!(
            with("center", json!("*")),
            Err(TokenError::Actor(ActorError::NeedsCenter(Role::Finance)))
        );
        assert_eq!(with("payer", json!("P1")), Err(TokenError::Actor(ActorError::Payer)));
        assert_eq!(with("terminal", json!("T/1")), Err(TokenError::Claims));
        assert_eq!(with("sub", json!("a/b")), Err(TokenError::Actor(ActorError::Subject)));
    }
}
