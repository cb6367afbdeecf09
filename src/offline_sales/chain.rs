//! What a terminal signs: the bytes, their hash, the signature, and the chain from each sale to the one before. Pure.
//!
//! `proto/offline-sales.md` says the same for terminal makers.

use aws_lc_rs::signature::{ED25519, UnparsedPublicKey};
use sha2::{Digest as _, Sha256};

use crate::{
    ids::TerminalId,
    ledger::{Center, record},
    proto::OfflineSaleStatement,
};

/// What is put before a statement, so that nothing else that a terminal signs can be taken for a sale.
const DOMAIN: &[u8] = b"custody-offline-sale-v1\0";
/// The most bytes of a statement.
pub const STATEMENT_BYTES_MAX: usize = 16 * 1024;
/// How many bytes a hash has.
pub const HASH_BYTES: usize = 32;
/// The most that a number may be ahead of the last that was taken in: a terminal's storage holds fewer.
pub const AHEAD_MAX: i64 = 100_000;

/// The hash of a sale.
pub type Hash = [u8; HASH_BYTES];

/// What the first sale is chained to.
pub const NO_HASH: Hash = [0; HASH_BYTES];

/// The bytes that are hashed and signed for a statement.
pub fn signed_bytes(statement: &[u8]) -> Vec<u8> {
    [DOMAIN, statement].concat()
}

/// The hash of a sale, which the next one contains.
pub fn hash(statement: &[u8]) -> Hash {
    Sha256::new()
        .chain_update(DOMAIN)
        .chain_update(statement)
        .finalize()
        .into()
}

/// Whether a signature is that of the key over a statement.
pub fn is_signed_by(public_key: &[u8], statement: &[u8], signature: &[u8]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key)
        .verify(&signed_bytes(statement), signature)
        .is_ok()
}

/// What names a thing that is kept as evidence: both what was said and how it was signed.
pub(super) fn evidence_digest(statement: &[u8], signature: &[u8]) -> Hash {
    Sha256::new()
        .chain_update(hash(statement))
        .chain_update(signature)
        .finalize()
        .into()
}

/// Reads a statement as one of a terminal of a center; or says why it is none.
pub fn read(bytes: &[u8], center: &Center, terminal: &TerminalId) -> Result<OfflineSaleStatement, String> {
    if bytes.len() > STATEMENT_BYTES_MAX {
        return Err(format!("a statement has at most {STATEMENT_BYTES_MAX} bytes"));
    }
    let statement: OfflineSaleStatement =
        record::read_canonical(bytes).map_err(|_| "it is no OfflineSaleStatement".to_owned())?;
    if record::canonical(&statement) != bytes {
        return Err("it is not in canonical form".to_owned());
    }
    if statement.center != center.id.as_str() || statement.terminal != terminal.as_str() {
        return Err(format!(
            "it is of terminal {} of center {}",
            printable(&statement.terminal),
            printable(&statement.center)
        ));
    }
    if statement.number < 1 {
        return Err("its number is not above zero".to_owned());
    }
    if statement.previous_hash.len() != HASH_BYTES {
        return Err(format!("the hash of the sale before has {HASH_BYTES} bytes"));
    }
    Ok(statement)
}

/// A text of somebody else's in a sentence of ours.
fn printable(text: &str) -> String {
    text.chars().filter(|c| c.is_ascii_graphic()).take(63).collect()
}

#[cfg(test)]
mod tests {
    use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};

    use super::*;
    use crate::{
        clock::Zone,
        ids::{CenterId, CenterNo},
        money::Currency,
    };

    /// The hexadecimal texts that stand behind a word in the document for terminal makers, in their order.
    fn told(word: &str) -> Vec<Vec<u8>> {
        let lines = include_str!("../../proto/offline-sales.md").lines();
        lines
            .filter_map(|line| line.strip_prefix("    ")?.strip_prefix(word)?.trim().into())
            .filter(|text: &&str| text.bytes().all(|byte| byte.is_ascii_hexdigit()))
            .map(|text| {
                let digit = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
                (0..text.len()).step_by(2).map(digit).collect()
            })
            .collect()
    }

    fn center() -> Center {
        Center {
            no: CenterNo(1),
            id: CenterId::parse("C1").unwrap(),
            currency: Currency::parse("CNY").unwrap(),
            zone: Zone::parse("Asia/Shanghai").unwrap(),
        }
    }

    #[test]
    fn the_document_tells_the_truth() {
        let seed: Vec<u8> = (0..32).collect();
        let key = Ed25519KeyPair::from_seed_unchecked(&seed).unwrap();
        assert_eq!(told("public key"), [key.public_key().as_ref()]);
        let (statements, hashes, signatures) = (told("statement"), told("hash"), told("signature"));
        assert_eq!((statements.len(), hashes.len(), signatures.len()), (2, 2, 2));
        let terminal = TerminalId::parse("T1").unwrap();
        let mut before = NO_HASH;
        for ((statement, told), signature) in statements.iter().zip(&hashes).zip(&signatures) {
            let read = read(statement, &center(), &terminal).unwrap();
            assert_eq!(read.previous_hash, before);
            before = hash(statement);
            assert_eq!(before.as_slice(), told);
            assert_eq!(key.sign(&signed_bytes(statement)).as_ref(), signature);
            assert!(is_signed_by(key.public_key().as_ref(), statement, signature));
        }
    }

    #[test]
    fn nothing_but_the_canonical_form_is_read() {
        let terminal = TerminalId::parse("T1").unwrap();
        let good = told("statement").remove(0);
        assert!(read(&good, &center(), &terminal).is_ok());
        let unknown_field = [&good[..], &[0x98, 0x06, 0x01]].concat();
        let told_twice = [&good[..], &[0x18, 0x01]].concat();
        for bad in [&[][..], b"\xff", &good[..20], &unknown_field, &told_twice] {
            assert!(read(bad, &center(), &terminal).is_err());
        }
        assert!(read(&good, &center(), &TerminalId::parse("T2").unwrap()).is_err());
    }

    #[test]
    fn a_changed_byte_breaks_the_signature() {
        let key = told("public key").remove(0);
        let (mut statement, mut signature) = (told("statement").remove(0), told("signature").remove(0));
        assert!(is_signed_by(&key, &statement, &signature));
        *statement.last_mut().unwrap() ^= 1;
        assert!(!is_signed_by(&key, &statement, &signature));
        *statement.last_mut().unwrap() ^= 1;
        signature[0] ^= 1;
        assert!(!is_signed_by(&key, &statement, &signature));
        assert!(!is_signed_by(&[], &statement, &[]));
    }
}
