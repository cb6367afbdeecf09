//! Who may do what: bearer tokens, the actor they stand for, and the one table of permissions.
//!
//! A call is checked in two steps before it reaches any state: the role against the permission that the method needs
//! ([`permission_for`]), then the scope, a center, payer or terminal, against what the request names (`Actor::require_…`).

mod actor;
mod cache;
mod key;
mod method;
mod peer;
mod permission;
mod role;
mod token;

pub use actor::{Actor, ActorError, Denied, Scope, Session};
pub use cache::CachedVerifier;
pub use key::{KeyError, PublicKey, TokenKey, read_or_create_secret, read_secret};
pub use method::{METHODS, OPEN_METHODS, OPEN_SERVICES, is_open, permission_for};
pub use peer::Peer;
pub use permission::Permission;
pub use role::{Role, UnknownRole};
pub use token::{Issuer, MAX_TOKEN_BYTES, TokenError, Verified, Verifier};
