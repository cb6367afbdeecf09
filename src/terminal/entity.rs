//! Terminals, their codes and certificates: pure.

use std::fmt;

use aws_lc_rs::{
    constant_time::verify_slices_are_equal,
    digest::{SHA256, digest},
    rand,
};
use secrecy::{ExposeSecret as _, SecretString};
use time::{Duration, OffsetDateTime};

use super::error::TerminalRefusal as R;
use crate::ids::{CenterId, TerminalId};

/// How long an enrolment code can be used.
pub const CODE_TTL: Duration = Duration::hours(24);
/// How often it can be tried.
pub const CODE_TRIES_MAX: i32 = 5;
/// How long a terminal's certificate holds.
pub const CERTIFICATE_TTL: Duration = Duration::days(90);
/// How far before it is signed a certificate begins to hold, so that a process whose clock is behind accepts it.
pub const CERTIFICATE_HEAD_START: Duration = Duration::minutes(5);

/// Letters and digits that nobody confuses, after Crockford.
const ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
/// The characters of a code: 100 bits.
const CODE_LEN: usize = 20;
/// The characters of a group.
const GROUP_LEN: usize = 5;

/// Where a terminal stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalState {
    /// It was made and has no certificate.
    AwaitingEnrolment,
    /// It has a certificate.
    Enrolled,
    /// It was ended.
    Revoked,
}

/// A terminal's certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Counts the terminal's certificates.
    pub number: i32,
    /// The code under which the terminal was enrolled.
    pub code_no: i32,
    /// The number of the one it renews; none of the first under a code.
    pub renews: Option<i32>,
    /// Its serial number.
    pub serial: Vec<u8>,
    /// The terminal's Ed25519 public key.
    pub public_key: [u8; 32],
    /// The whole of it, DER.
    pub der: Vec<u8>,
    /// From when on it holds.
    pub not_before: OffsetDateTime,
    /// Until when.
    pub not_after: OffsetDateTime,
    /// When it was signed.
    pub issued_at: OffsetDateTime,
}

impl Certificate {
    /// Whether half of its life is over.
    pub fn is_half_over(&self, now: OffsetDateTime) -> bool {
        now >= self.not_before + (self.not_after - self.not_before) / 2
    }
}

/// How a terminal was ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: OffsetDateTime,
    /// By whom.
    pub actor: String,
    /// Why.
    pub reason: String,
}

/// A terminal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terminal {
    /// Its id.
    pub id: TerminalId,
    /// What people call it.
    pub display_name: String,
    /// When it was made.
    pub created_at: OffsetDateTime,
    /// By whom.
    pub created_by: String,
    /// The certificate it got last.
    pub certificate: Option<Certificate>,
    /// How it was ended, if it was.
    pub revoked: Option<Revocation>,
}

impl Terminal {
    /// Where it stands.
    pub fn state(&self) -> TerminalState {
        match (&self.revoked, &self.certificate) {
            (Some(_), _) => TerminalState::Revoked,
            (None, Some(_)) => TerminalState::Enrolled,
            (None, None) => TerminalState::AwaitingEnrolment,
        }
    }

    /// Refuses a terminal that was ended.
    pub fn require_not_revoked(&self) -> Result<(), R> {
        match self.revoked {
            None => Ok(()),
            Some(_) => Err(R::Revoked {
                terminal: self.id.clone(),
            }),
        }
    }
}

/// An enrolment code as it is shown, once.
#[derive(Clone)]
pub struct Code(SecretString);

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

impl Code {
    /// A new one; none if there are no random numbers.
    pub fn generate() -> Option<Code> {
        let mut bytes = [0_u8; CODE_LEN];
        rand::fill(&mut bytes).ok()?;
        let letters = bytes.map(|byte| char::from(ALPHABET[usize::from(byte & 31)]));
        Some(Code(letters.iter().collect::<String>().into()))
    }

    /// Reads what somebody typed; none if it is no code.
    pub fn parse(text: &str) -> Option<Code> {
        if text.len() > 4 * CODE_LEN {
            return None;
        }
        let typed = text.bytes().filter(|byte| !matches!(byte, b'-' | b' '));
        let read = typed.map(|byte| match byte.to_ascii_uppercase() {
            b'O' => Some('0'),
            b'I' | b'L' => Some('1'),
            upper => ALPHABET.contains(&upper).then_some(char::from(upper)),
        });
        let read: String = read.collect::<Option<_>>()?;
        (read.len() == CODE_LEN).then(|| Code(read.into()))
    }

    /// The code in groups, as it is shown to whoever made it.
    pub fn shown(&self) -> String {
        let letters = self.0.expose_secret();
        let groups = (0..CODE_LEN / GROUP_LEN).map(|group| &letters[group * GROUP_LEN..(group + 1) * GROUP_LEN]);
        groups.collect::<Vec<_>>().join("-")
    }

    /// What is stored of it. A plain hash is enough for 100 random bits.
    pub fn hash(&self, center: &CenterId, terminal: &TerminalId) -> Vec<u8> {
        let text = format!("custody enrolment\n{center}\n{terminal}\n{}", self.0.expose_secret());
        digest(&SHA256, text.as_bytes()).as_ref().to_vec()
    }
}

/// An enrolment code as it is stored.
#[derive(Debug, Clone)]
pub struct StoredCode {
    /// Its number.
    pub code_no: i32,
    /// Its hash.
    pub hash: Vec<u8>,
    /// Until when it can be used.
    pub expires_at: OffsetDateTime,
    /// How often it was tried.
    pub tries: i32,
    /// Whether it was used.
    pub is_used: bool,
}

/// What a try of a code comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Try {
    /// It enrols.
    Enrols,
    /// It enrolled before: with the same key it is answered again.
    Enrolled,
    /// It is refused, and counts.
    Wrong,
    /// It is refused, and there is nothing to count.
    Void,
    /// It is the code, too late.
    Expired,
}

impl StoredCode {
    /// What trying a hash comes to. Only whoever knows the code learns anything but that it is not the code.
    pub fn try_hash(&self, hash: &[u8], now: OffsetDateTime) -> Try {
        let is_right = verify_slices_are_equal(&self.hash, hash).is_ok();
        let is_over = now >= self.expires_at;
        match (is_right, self.is_used) {
            (true, _) if is_over => Try::Expired,
            (true, true) => Try::Enrolled,
            (false, true) => Try::Void,
            (_, false) if self.tries >= CODE_TRIES_MAX => Try::Void,
            (true, false) => Try::Enrols,
            (false, false) if is_over => Try::Void,
            (false, false) => Try::Wrong,
        }
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn codes_are_read_as_people_type_them() {
        let code = Code::generate().unwrap();
        let shown = code.shown();
        let (center, terminal) = (CenterId::parse("C1").unwrap(), TerminalId::parse("T1").unwrap());
        let hash = |text: &str| Code::parse(text).unwrap().hash(&center, &terminal);
        assert_eq!(shown.len(), 23);
        assert_eq!(hash(&shown), code.hash(&center, &terminal));
        assert_eq!(
            hash(&shown.to_lowercase().replace('-', " ")),
            code.hash(&center, &terminal)
        );
        assert_eq!(hash("OIL00-00000-00000-00000"), hash("01100000000000000000"));
        assert_ne!(code.hash(&center, &TerminalId::parse("T2").unwrap()), hash(&shown));
        for text in [
            "",
            "0",
            "UUUUUUUUUUUUUUUUUUUU",
            &shown[1..],
            &format!("{shown}0"),
            &shown.repeat(9),
        ] {
            assert!(Code::parse(text).is_none(), "{text}");
        }
        assert_eq!(format!("{code:?}"), "Code(…)");
    }

    #[test]
    fn a_code_is_used_once_in_time_and_tried_five_times() {
        let expires_at = datetime!(2031-05-06 07:08:09 UTC);
        let (in_time, hash) = (expires_at - Duration::SECOND, vec![1; 32]);
        let tried = |tries, is_used, told: &[u8], now| {
            let stored = StoredCode {
                code_no: 1,
                hash: hash.clone(),
                expires_at,
                tries,
                is_used,
            };
            stored.try_hash(told, now)
        };
        let wrong = [2; 32];
        assert_eq!(tried(0, false, &hash, in_time), Try::Enrols);
        assert_eq!(tried(4, false, &hash, in_time), Try::Enrols);
        assert_eq!(tried(5, false, &hash, in_time), Try::Void);
        assert_eq!(tried(1, true, &hash, in_time), Try::Enrolled);
        assert_eq!(tried(1, true, &wrong, in_time), Try::Void);
        assert_eq!(tried(0, false, &hash, expires_at), Try::Expired);
        assert_eq!(tried(1, true, &hash, expires_at), Try::Expired);
        assert_eq!(tried(4, false, &wrong, in_time), Try::Wrong);
        assert_eq!(tried(5, false, &wrong, in_time), Try::Void);
        assert_eq!(tried(0, false, &wrong, expires_at), Try::Void);
    }
}
