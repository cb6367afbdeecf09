//! What is signed of a sale: the bytes, their hash, the signature.

use anyhow::{Context as _, anyhow};
use aws_lc_rs::signature::Ed25519KeyPair;
use prost::Message as _;
use sha2::{Digest as _, Sha256};

use crate::proto::OfflineSaleStatement;

/// What is put before a statement.
const DOMAIN: &[u8] = b"custody-offline-sale-v1\0";
/// What the first sale is chained to.
pub const NO_HASH: [u8; 32] = [0; 32];

/// A sale as it is brought in.
pub struct Signed {
    pub statement: Vec<u8>,
    pub signature: Vec<u8>,
    /// What the next sale is chained to.
    pub hash: [u8; 32],
}

/// Signs a statement with the terminal's key (PKCS #8, PEM).
///
/// # Errors
/// The key is no Ed25519 key.
pub fn sign(key: &str, statement: &OfflineSaleStatement) -> anyhow::Result<Signed> {
    let key = pem::parse(key).context("the terminal's key")?;
    let key = Ed25519KeyPair::from_pkcs8_maybe_unchecked(key.contents());
    let key = key.map_err(|error| anyhow!("the terminal's key: {error}"))?;
    let statement = statement.encode_to_vec();
    let signed = [DOMAIN, &statement].concat();
    Ok(Signed {
        signature: key.sign(&signed).as_ref().to_vec(),
        hash: Sha256::digest(&signed).into(),
        statement,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::OfflineSaleStatementLine;

    /// The example of `proto/offline-sales.md`.
    #[test]
    fn the_bytes_are_those_of_the_document() {
        let seed: Vec<u8> = (0..32).collect();
        // PKCS #8, version 1, of an Ed25519 key.
        let der = [&hex::decode("302e020100300506032b657004220420").unwrap()[..], &seed].concat();
        let key = pem::encode(&pem::Pem::new("PRIVATE KEY", der));
        let line = |product: &str, product_version, quantity, unit_price: &str| OfflineSaleStatementLine {
            product: product.into(),
            product_version,
            quantity,
            unit_price: unit_price.into(),
        };
        let statement = OfflineSaleStatement {
            center: "C1".into(),
            terminal: "T1".into(),
            number: 1,
            previous_hash: NO_HASH.to_vec(),
            allowance: 7,
            detainee: "D1".into(),
            lines: vec![line("RICE", 1, 2, "2.50"), line("SOAP", 3, 1, "4.00")],
            currency_code: "CNY".into(),
            total: "9.00".into(),
            sold_at_s: 1_795_521_600,
        };
        let signed = sign(&key, &statement).unwrap();
        assert_eq!(
            hex::encode(signed.hash),
            "ad6c67d8854684ee181d0b9af7fba47ad822966eeb314ba72c6600602eeb333c"
        );
        assert_eq!(
            hex::encode(signed.signature),
            "897ef7279a1add824385988b8e4343a9b17dee58efe97554e793329cefcea3ba\
             6682e5326d064ac28d282c0f670d1d88e688ae35fffdf522303b9b72855bb408"
        );
    }
}
