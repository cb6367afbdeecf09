//! The keys of both sides. None of them, and nothing decrypted, is in any error or log.

use std::{borrow::Cow, collections::BTreeMap};

use aws_lc_rs::{
    aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey},
    rand::SystemRandom,
    signature::{KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair},
};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use secrecy::{ExposeSecret as _, SecretString};
use time::OffsetDateTime;

/// The length of the APIv3 key, in bytes.
const API_V3_KEY_BYTES: usize = 32;
/// How an id of a public key begins; other ids are serial numbers of certificates.
const PUBLIC_KEY_ID: &str = "PUB_KEY_ID_";

/// What is wrong with a key. It does not repeat the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is not the text form it should be.
    #[error("is not a PEM text of one {expected}")]
    NotPem { expected: &'static str },
    /// It is PEM of something else.
    #[error("is a {found}, not a {expected}")]
    OtherKind { found: String, expected: &'static str },
    /// It is not a usable RSA key.
    #[error("is not an RSA key of 2048 to 8192 bits: {reason}")]
    NotRsa { reason: String },
    /// The certificate cannot be read.
    #[error("is not an X.509 certificate: {reason}")]
    NotACertificate { reason: String },
    /// The APIv3 key has another length.
    #[error("has {found} bytes, not {API_V3_KEY_BYTES}")]
    Length { found: usize },
    /// The id of a public key is none.
    #[error("{id:?} is no id of a public key: it does not begin with {PUBLIC_KEY_ID}")]
    NotAnId { id: String },
    /// The certificate is another one than was told.
    #[error("has the serial number {found}, not {told:?}")]
    OtherSerial { found: String, told: String },
}

/// What signs: the merchant's private key or, in the simulator, the platform's.
pub struct SigningKey {
    pair: RsaKeyPair,
    random: SystemRandom,
}

impl SigningKey {
    /// Reads a private key in PEM: PKCS #8, or PKCS #1.
    pub fn from_pem(text: &SecretString) -> Result<SigningKey, KeyError> {
        const EXPECTED: &str = "PRIVATE KEY";
        let block = pem::parse(text.expose_secret()).map_err(|_| KeyError::NotPem { expected: EXPECTED })?;
        let pair = match block.tag() {
            EXPECTED => RsaKeyPair::from_pkcs8(block.contents()),
            "RSA PRIVATE KEY" => RsaKeyPair::from_der(block.contents()),
            found => return Err(other_kind(found, EXPECTED)),
        };
        let pair = pair.map_err(not_rsa)?;
        Ok(SigningKey {
            pair,
            random: SystemRandom::new(),
        })
    }

    /// RSA PKCS #1 v1.5 over SHA-256, in base64.
    ///
    /// Errors: none that a key which was read can have.
    pub fn sign(&self, message: &[u8]) -> Result<String, aws_lc_rs::error::Unspecified> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair
            .sign(&RSA_PKCS1_SHA256, &self.random, message, &mut signature)?;
        Ok(BASE64.encode(signature))
    }

    /// The public half, as DER.
    pub fn public_der(&self) -> &[u8] {
        self.pair.public_key().as_ref()
    }
}

/// The public keys that may have signed, by serial number or id. Several at once: that is how a key is replaced.
#[derive(Default)]
pub struct VerifyingKeys {
    /// By [`standard`] ids.
    by_id: BTreeMap<String, VerifyingKey>,
}

struct VerifyingKey {
    key: ParsedPublicKey,
    /// A certificate's; public keys alone do not expire.
    expires_at: Option<OffsetDateTime>,
}

impl VerifyingKey {
    fn is_in_force(&self, now: OffsetDateTime) -> bool {
        self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}

impl VerifyingKeys {
    /// Adds a certificate in PEM, under its serial number in upper hexadecimal digits, which is returned.
    pub fn add_certificate(&mut self, text: &str) -> Result<String, KeyError> {
        const EXPECTED: &str = "CERTIFICATE";
        let der = contents(text, EXPECTED)?;
        let unreadable = |error: String| KeyError::NotACertificate { reason: error };
        let (_, certificate) =
            x509_parser::parse_x509_certificate(&der).map_err(|error| unreadable(error.to_string()))?;
        let serial = hex::encode_upper(certificate.tbs_certificate.serial.to_bytes_be());
        let expires_at = certificate.validity().not_after.to_datetime();
        self.add(&serial, certificate.public_key().raw, Some(expires_at))?;
        Ok(serial)
    }

    /// Adds a certificate in PEM that was handed out as the one of this serial number, to be used until `until` at the longest.
    pub fn add_told_certificate(&mut self, told: &str, text: &str, until: OffsetDateTime) -> Result<(), KeyError> {
        let found = self.add_certificate(text)?;
        if standard(&found) != standard(told) {
            self.by_id.remove(&*standard(&found));
            let told = told.to_owned();
            return Err(KeyError::OtherSerial { found, told });
        }
        if let Some(key) = self.by_id.get_mut(&*standard(&found)) {
            key.expires_at = key.expires_at.map(|expires_at| expires_at.min(until));
        }
        Ok(())
    }

    /// Adds a public key in PEM under its id.
    pub fn add_public_key(&mut self, id: &str, text: &str) -> Result<(), KeyError> {
        if !id.starts_with(PUBLIC_KEY_ID) {
            return Err(KeyError::NotAnId { id: id.to_owned() });
        }
        self.add(id, &contents(text, "PUBLIC KEY")?, None)
    }

    /// Adds a public key in DER.
    fn add(&mut self, id: &str, der: &[u8], expires_at: Option<OffsetDateTime>) -> Result<(), KeyError> {
        let key = ParsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, der).map_err(not_rsa)?;
        self.by_id
            .insert(standard(id).into_owned(), VerifyingKey { key, expires_at });
        Ok(())
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// The id to name to WeChat Pay, so that it signs with a public key that we have; none if we have certificates only.
    pub fn public_key_id(&self) -> Option<&str> {
        let mut ids = self.by_id.keys().rev();
        ids.find(|id| id.starts_with(PUBLIC_KEY_ID)).map(String::as_str)
    }

    /// Whether there is a key of this id that has not expired.
    pub fn has(&self, id: &str, now: OffsetDateTime) -> bool {
        self.by_id.get(&*standard(id)).is_some_and(|key| key.is_in_force(now))
    }

    /// Whether the key of this id signed the message; `None` if there is no such key, or if it has expired.
    pub fn verify(&self, id: &str, message: &[u8], signature: &[u8], now: OffsetDateTime) -> Option<bool> {
        let key = self.by_id.get(&*standard(id)).filter(|key| key.is_in_force(now))?;
        Some(key.key.verify_sig(message, signature).is_ok())
    }
}

/// What notifications are encrypted with.
pub struct ApiV3Key(LessSafeKey);

impl ApiV3Key {
    /// The key is its text's bytes.
    pub fn of(text: &SecretString) -> Result<ApiV3Key, KeyError> {
        let bytes = text.expose_secret().as_bytes();
        let found = bytes.len();
        if found != API_V3_KEY_BYTES {
            return Err(KeyError::Length { found });
        }
        let key = UnboundKey::new(&AES_256_GCM, bytes).map_err(|_| KeyError::Length { found })?;
        Ok(ApiV3Key(LessSafeKey::new(key)))
    }

    /// Opens a ciphertext in base64 whose last 16 bytes are the tag; `None` if it is not one of this key.
    pub fn open(&self, nonce: &str, associated_data: &str, ciphertext: &str) -> Option<Vec<u8>> {
        let mut bytes = BASE64.decode(ciphertext).ok()?;
        let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).ok()?;
        let aad = Aad::from(associated_data.as_bytes());
        let length = self.0.open_in_place(nonce, aad, &mut bytes).ok()?.len();
        bytes.truncate(length);
        Some(bytes)
    }

    /// Seals a text as [`ApiV3Key::open`] opens it. A nonce is 12 bytes and never used again.
    pub fn seal(&self, nonce: &str, associated_data: &str, text: &[u8]) -> Option<String> {
        let nonce = Nonce::try_assume_unique_for_key(nonce.as_bytes()).ok()?;
        let mut bytes = text.to_vec();
        let aad = Aad::from(associated_data.as_bytes());
        self.0.seal_in_place_append_tag(nonce, aad, &mut bytes).ok()?;
        Some(BASE64.encode(bytes))
    }
}

/// A serial number as it is compared: without the zeros that some write before it, in upper hexadecimal digits.
fn standard(id: &str) -> Cow<'_, str> {
    if id.starts_with(PUBLIC_KEY_ID) {
        return Cow::Borrowed(id);
    }
    let digits = id.trim_start_matches('0');
    match digits.bytes().any(|byte| byte.is_ascii_lowercase()) {
        true => Cow::Owned(digits.to_ascii_uppercase()),
        false => Cow::Borrowed(digits),
    }
}

fn contents(text: &str, expected: &'static str) -> Result<Vec<u8>, KeyError> {
    let block = pem::parse(text).map_err(|_| KeyError::NotPem { expected })?;
    if block.tag() != expected {
        return Err(other_kind(block.tag(), expected));
    }
    Ok(block.into_contents())
}

fn other_kind(found: &str, expected: &'static str) -> KeyError {
    KeyError::OtherKind {
        found: found.to_owned(),
        expected,
    }
}

fn not_rsa(error: aws_lc_rs::error::KeyRejected) -> KeyError {
    KeyError::NotRsa {
        reason: error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_what_wechat_pay_sealed() {
        let key = ApiV3Key::of(&SecretString::from("a7cde1ZJB1kG2e7VfTs3jQzaWizur8Gb")).unwrap();
        let sealed = "ulwSiIajGClcvcOYvOQ7+l+0PAbzzwI=";
        let opened = key.open("uluk4a9R25RW", "associatedData", sealed);
        assert_eq!(opened.as_deref(), Some(b"message".as_slice()));
        assert_eq!(
            key.seal("uluk4a9R25RW", "associatedData", b"message").as_deref(),
            Some(sealed)
        );
        for (nonce, aad, text) in [
            ("uluk4a9R25RX", "associatedData", sealed),
            ("uluk4a9R25R", "associatedData", sealed),
            ("uluk4a9R25RW", "", sealed),
            ("uluk4a9R25RW", "associatedData", "ulwSiIajGClcvcOYvOQ7+l+0PAbzzwJ="),
            ("uluk4a9R25RW", "associatedData", "ulwS"),
            ("uluk4a9R25RW", "associatedData", "not base64"),
            ("uluk4a9R25RW", "associatedData", ""),
        ] {
            assert_eq!(key.open(nonce, aad, text), None, "{nonce} {aad} {text}");
        }
    }

    #[test]
    fn an_api_v3_key_has_32_bytes() {
        for text in [
            "",
            "short",
            "33 bytes are one more than needed",
            "一二三四五六七八九十一二三四五六七八九十一二三四五六七八九十一二",
        ] {
            let refused = ApiV3Key::of(&SecretString::from(text)).err();
            assert_eq!(refused, Some(KeyError::Length { found: text.len() }));
        }
    }

    #[test]
    fn keys_of_another_kind_are_refused() {
        let pem = |tag: &str, der: &[u8]| pem::encode(&pem::Pem::new(tag, der));
        let refused = |text: &str| {
            SigningKey::from_pem(&SecretString::from(text))
                .err()
                .unwrap()
                .to_string()
        };
        assert!(refused("hunter2").contains("not a PEM text of one PRIVATE KEY"));
        assert!(refused(&pem("CERTIFICATE", b"x")).contains("is a CERTIFICATE, not a PRIVATE KEY"));
        assert!(refused(&pem("PRIVATE KEY", b"x")).contains("not an RSA key of 2048 to 8192 bits"));
        let elliptic = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256).unwrap();
        assert!(refused(&elliptic.serialize_pem()).contains("not an RSA key"));
        let mut keys = VerifyingKeys::default();
        assert!(matches!(keys.add_certificate("x"), Err(KeyError::NotPem { .. })));
        assert!(matches!(
            keys.add_certificate(&pem("CERTIFICATE", b"x")),
            Err(KeyError::NotACertificate { .. })
        ));
        let public = elliptic.public_key_pem();
        assert!(matches!(
            keys.add_public_key("PUB_KEY_ID_1", &public),
            Err(KeyError::NotRsa { .. })
        ));
        assert!(matches!(
            keys.add_public_key("1", &public),
            Err(KeyError::NotAnId { .. })
        ));
        assert!(keys.is_empty());
    }
}
