//! Signing a statement, and verifying one without the service.
//!
//! The last line is a comment of the format and names the algorithm, the public key and the signature, in hexadecimal. Signed are
//! all bytes before that line. `custody statement verify` does it; so does `head -n -1`, and openssl.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};

use super::StatementKey;

/// What stands before the algorithm.
const MARK: &str = "custody-signature: ed25519 ";

/// How a format writes a comment of one line.
pub(super) type Comment = (&'static str, &'static str);
/// In HTML.
pub(super) const HTML: Comment = ("<!-- ", " -->");
/// In CSV.
pub(super) const CSV: Comment = ("# ", "");

/// Why a statement is not what it says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsigned {
    /// The last line is no signature.
    #[error("the last line is no signature")]
    Missing,
    /// Another key has signed it.
    #[error("it is signed by the key {found}")]
    OtherKey {
        /// That key, in hexadecimal.
        found: String,
    },
    /// Something was changed.
    #[error("the signature is not of this text: something was changed")]
    Changed,
}

pub(super) fn sign(text: String, comment: Comment, key: &StatementKey) -> Vec<u8> {
    let mut bytes = text.into_bytes();
    let (begin, end) = comment;
    let line = format!("{begin}{MARK}{} {}{end}\n", key.public(), key.sign(&bytes));
    bytes.extend(line.as_bytes());
    bytes
}

/// Verifies a statement by a public key in hexadecimal, or, without one, by the key that it names; the key.
///
/// # Errors
/// [`Unsigned`].
pub fn verify(statement: &[u8], key: Option<&str>) -> Result<String, Unsigned> {
    let text = statement.strip_suffix(b"\n").unwrap_or(statement);
    let start = text.iter().rposition(|byte| *byte == b'\n').ok_or(Unsigned::Missing)? + 1;
    let (body, line) = statement.split_at(start);
    let line = std::str::from_utf8(line).map_err(|_| Unsigned::Missing)?;
    let (_, told) = line.split_once(MARK).ok_or(Unsigned::Missing)?;
    let mut words = told.split_whitespace();
    let (found, signature) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    if key.is_some_and(|key| !key.eq_ignore_ascii_case(found)) {
        return Err(Unsigned::OtherKey {
            found: found.to_owned(),
        });
    }
    let (Ok(public), Ok(signature)) = (hex::decode(found), hex::decode(signature)) else {
        return Err(Unsigned::Missing);
    };
    let verified = UnparsedPublicKey::new(&ED25519, public).verify(body, &signature);
    verified.map_err(|_| Unsigned::Changed)?;
    Ok(found.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_changed_byte_is_found() {
        let key = StatementKey::generate().unwrap();
        for comment in [HTML, CSV] {
            let signed = sign("a,1.00\nb,2.00\n".into(), comment, &key);
            assert_eq!(verify(&signed, Some(&key.public())), Ok(key.public()));
            assert_eq!(verify(&signed, None), Ok(key.public()));
            for place in 0.."a,1.00\nb,2.00\n".len() {
                let mut changed = signed.clone();
                changed[place] ^= 1;
                assert_eq!(verify(&changed, None), Err(Unsigned::Changed), "{place}");
            }
            let other = StatementKey::generate().unwrap().public();
            let found = key.public();
            assert_eq!(verify(&signed, Some(&other)), Err(Unsigned::OtherKey { found }));
        }
        for nothing in ["", "a\n", "a\nb\n"] {
            assert_eq!(verify(nothing.as_bytes(), None), Err(Unsigned::Missing));
        }
    }
}
