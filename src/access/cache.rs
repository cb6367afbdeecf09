//! A bounded memory of verified tokens, so that a busy terminal's signature is verified once and not at every order.

use std::sync::Arc;

use moka::sync::Cache;
use time::OffsetDateTime;

use super::{TokenError, Verified, Verifier};

/// The memory that the cache may take, in bytes.
const CAPACITY: u64 = 4 * 1024 * 1024;

/// About what an entry takes beside the text of its token, in bytes.
const ENTRY: usize = 512;

/// A verifier that remembers the tokens whose signature it has verified. Whether a token has expired is asked every time.
/// Cheap to clone; all clones share the memory.
#[derive(Clone)]
pub struct CachedVerifier {
    verifier: Arc<Verifier>,
    // The key is the whole token, its signature included, so that only a token that was verified is ever found.
    cache: Cache<Arc<str>, Verified>,
}

impl CachedVerifier {
    /// A verifier with an empty memory.
    pub fn new(verifier: Verifier) -> CachedVerifier {
        let weigh = |token: &Arc<str>, _: &Verified| u32::try_from(token.len() + ENTRY).unwrap_or(u32::MAX);
        let cache = Cache::builder().max_capacity(CAPACITY).weigher(weigh).build();
        CachedVerifier {
            verifier: Arc::new(verifier),
            cache,
        }
    }

    /// What a token that holds at `now` stands for, and until when.
    ///
    /// # Errors
    /// [`TokenError`].
    pub fn verify(&self, token: &str, now: OffsetDateTime) -> Result<Verified, TokenError> {
        if let Some(verified) = self.cache.get(token) {
            if let Err(error) = verified.check_time(now) {
                self.cache.invalidate(token);
                return Err(error);
            }
            return Ok(verified);
        }
        let verified = self.verifier.verify_signature(token)?;
        verified.check_time(now)?;
        self.cache.insert(token.into(), verified.clone());
        Ok(verified)
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use time::macros::datetime;

    use super::*;
    use crate::access::{Actor, Issuer, Role, Scope, TokenKey};

    const NOW: OffsetDateTime = datetime!(2031-05-06 07:08:09 UTC);

    fn cached() -> (Issuer, CachedVerifier) {
        let key = TokenKey::generate().unwrap();
        (
            Issuer::new(key.clone()),
            CachedVerifier::new(Verifier::new(key.public())),
        )
    }

    #[test]
    fn a_token_is_verified_once_and_its_time_always() {
        let (issuer, cached) = cached();
        let actor = Actor::new("root", Role::Admin, Scope::default()).unwrap();
        let token = issuer.issue(&actor, Duration::HOUR, NOW).unwrap();
        let first = cached.verify(&token, NOW).unwrap();
        let second = cached.clone().verify(&token, NOW).unwrap();
        assert!(Arc::ptr_eq(&first.actor, &second.actor));
        assert_eq!(*first.actor, actor);
        assert_eq!(cached.verify(&token, NOW + Duration::HOUR), Err(TokenError::Expired));
        assert_eq!(cached.verify(&token, NOW - Duration::DAY), Err(TokenError::NotYetValid));
        assert_eq!(*cached.verify(&token, NOW).unwrap().actor, actor);
    }

    #[test]
    fn what_is_refused_is_not_remembered_and_the_memory_is_bounded() {
        let (issuer, cached) = cached();
        let actor = Actor::new("root", Role::Admin, Scope::default()).unwrap();
        let token = issuer.issue(&actor, Duration::HOUR, NOW).unwrap();
        cached.verify(&token, NOW).unwrap();
        let forged = format!("{}A", &token[..token.len() - 1]);
        assert!(forged == token || cached.verify(&forged, NOW).is_err());
        assert_eq!(cached.verify("a.b.c", NOW), Err(TokenError::Malformed));
        cached.cache.run_pending_tasks();
        assert_eq!(cached.cache.entry_count(), 1);

        let verified = cached.verifier.verify_signature(&token).unwrap();
        for number in 0..20_000 {
            cached.cache.insert(format!("{number}").into(), verified.clone());
        }
        cached.cache.run_pending_tasks();
        assert!(cached.cache.weighted_size() <= CAPACITY);
    }
}
