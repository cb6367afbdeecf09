//! RSA keys as Alipay gives them, and the signature RSA2: RSASSA-PKCS1-v1_5 with SHA-256, in base64.
//!
//! A key is PEM, or only the base64 between PEM's lines, which is how Alipay's key tool and console write it. Our private key
//! is PKCS#8 or PKCS#1; Alipay's public key is an X.509 SubjectPublicKeyInfo.

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der},
    rand::SystemRandom,
    rsa::{KeyPair, KeySize, PublicEncryptingKey},
    signature::{self, KeyPair as _, ParsedPublicKey},
};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use secrecy::{ExposeSecret as _, SecretString};

/// The shortest key, in bits: RSA2 asks for it.
const BITS_MIN: usize = 2048;
/// The longest key, in bits: what the library takes.
const BITS_MAX: usize = 8192;

/// Why a text is not the key that is needed. It never repeats the text.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("it is empty")]
    Empty,
    #[error("it is neither PEM nor base64")]
    NotText,
    #[error(
        "it is a certificate; take the public key (公钥模式) that Alipay's console shows, or give alipay_cert_file instead"
    )]
    Certificate,
    #[error("it is a public key, where the application's private key belongs")]
    Public,
    #[error("it is a private key, where Alipay's public key belongs")]
    Private,
    #[error("it is no RSA key of {BITS_MIN} to {BITS_MAX} bits: {0}")]
    NotRsa(String),
}

/// The application's private key: signs requests.
pub struct PrivateKey(KeyPair);

/// Alipay's public key: verifies answers and notifications.
pub struct PublicKey(ParsedPublicKey);

impl PrivateKey {
    /// Reads a private key; PKCS#8 (Java) or PKCS#1 (other languages).
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(text: &SecretString) -> Result<PrivateKey, KeyError> {
        let der = der(text.expose_secret())?;
        match KeyPair::from_pkcs8(&der).or_else(|error| KeyPair::from_der(&der).map_err(|_| error)) {
            Ok(pair) => Ok(PrivateKey(pair)),
            Err(_) if PublicEncryptingKey::from_der(&der).is_ok() => Err(KeyError::Public),
            Err(error) => Err(KeyError::NotRsa(error.to_string())),
        }
    }

    /// A new key of 2048 bits, as a text that [`PrivateKey::read`] reads.
    ///
    /// # Errors
    /// The library's failure, which has no words.
    pub fn generate_text() -> Result<SecretString, aws_lc_rs::error::Unspecified> {
        let der: Pkcs8V1Der<'_> = KeyPair::generate(KeySize::Rsa2048)?.as_der()?;
        Ok(STANDARD.encode(der.as_ref()).into())
    }

    /// Signs a text; the signature in base64.
    ///
    /// # Errors
    /// The library's failure, which has no words.
    pub fn sign(&self, text: &[u8]) -> Result<String, aws_lc_rs::error::Unspecified> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0
            .sign(&signature::RSA_PKCS1_SHA256, &SystemRandom::new(), text, &mut signature)?;
        Ok(STANDARD.encode(signature))
    }

    /// The public key that belongs to it, in base64, as it is given to the other side.
    ///
    /// # Errors
    /// The library's failure, which has no words.
    pub fn public_text(&self) -> Result<String, aws_lc_rs::error::Unspecified> {
        let der: PublicKeyX509Der = self.0.public_key().as_der()?;
        Ok(STANDARD.encode(der.as_ref()))
    }
}

impl PublicKey {
    /// Reads a public key.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn read(text: &str) -> Result<PublicKey, KeyError> {
        PublicKey::of_der(der(text)?)
    }

    /// Reads a public key in DER.
    ///
    /// # Errors
    /// [`KeyError`].
    pub fn of_der(der: Vec<u8>) -> Result<PublicKey, KeyError> {
        if KeyPair::from_pkcs8(&der).is_ok() || KeyPair::from_der(&der).is_ok() {
            return Err(KeyError::Private);
        }
        let not_rsa = |error: aws_lc_rs::error::KeyRejected| KeyError::NotRsa(error.to_string());
        // The length is looked at here, at the start, and not with the first signature.
        let bits = PublicEncryptingKey::from_der(&der).map_err(not_rsa)?.key_size_bits();
        if !(BITS_MIN..=BITS_MAX).contains(&bits) {
            return Err(KeyError::NotRsa(format!("it has {bits}")));
        }
        let parsed = ParsedPublicKey::new(&signature::RSA_PKCS1_2048_8192_SHA256, der).map_err(not_rsa)?;
        Ok(PublicKey(parsed))
    }

    /// Whether a signature in base64 is this key's over a text.
    pub fn verifies(&self, text: &[u8], signature: &str) -> bool {
        let Ok(signature) = STANDARD.decode(signature) else {
            return false;
        };
        self.0.verify_sig(text, &signature).is_ok()
    }
}

fn der(text: &str) -> Result<Vec<u8>, KeyError> {
    let text = text.trim();
    if text.is_empty() {
        return Err(KeyError::Empty);
    }
    if text.starts_with("-----") {
        let pem = pem::parse(text).map_err(|_| KeyError::NotText)?;
        if pem.tag() == "CERTIFICATE" {
            return Err(KeyError::Certificate);
        }
        return Ok(pem.into_contents());
    }
    let unbroken: String = text.chars().filter(|character| !character.is_whitespace()).collect();
    STANDARD.decode(unbroken).map_err(|_| KeyError::NotText)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn new_key() -> SecretString {
        PrivateKey::generate_text().unwrap()
    }

    /// Made with `openssl genrsa 1024`.
    const SHORT_PRIVATE: &str = include_str!("testdata/short_private_key.pem");
    const SHORT_PUBLIC: &str = include_str!("testdata/short_public_key.pem");
    /// Made with openssl: a key of 2048 bits as PKCS#1 and as PKCS#8, its public key, and its signature over `a=1&b=中文`.
    const PKCS1: &str = include_str!("testdata/private_key_pkcs1.pem");
    const PKCS8: &str = include_str!("testdata/private_key_pkcs8.pem");
    const PUBLIC: &str = include_str!("testdata/public_key.pem");
    const SIGNATURE: &str = include_str!("testdata/signature.txt");

    #[test]
    fn signs_as_openssl_does() {
        for text in [PKCS1, PKCS8] {
            let key = PrivateKey::read(&text.into()).unwrap();
            assert_eq!(key.sign("a=1&b=中文".as_bytes()).unwrap(), SIGNATURE.trim());
            assert_eq!(
                key.public_text().unwrap(),
                PUBLIC.lines().filter(|line| !line.starts_with('-')).collect::<String>()
            );
        }
        let key = PublicKey::read(PUBLIC).unwrap();
        assert!(key.verifies("a=1&b=中文".as_bytes(), SIGNATURE.trim()));
        assert!(!key.verifies("a=2&b=中文".as_bytes(), SIGNATURE.trim()));
        for bad in ["", "AAAA", "%", &SIGNATURE.trim().replacen('a', "b", 1)] {
            assert!(!key.verifies("a=1&b=中文".as_bytes(), bad), "{bad}");
        }
    }

    #[test]
    fn reads_the_base64_alone_however_it_is_broken() {
        let text = new_key();
        let key = PrivateKey::read(&text).unwrap();
        let public = key.public_text().unwrap();
        let broken = format!("\n{}\r\n{}\n", &public[..64], &public[64..]);
        assert!(
            PublicKey::read(&broken)
                .unwrap()
                .verifies(b"x", &key.sign(b"x").unwrap())
        );
    }

    #[test]
    fn says_what_is_wrong_with_a_key() {
        let private = |text: &str| PrivateKey::read(&text.into()).err().unwrap();
        let public = |text: &str| PublicKey::read(text).err().unwrap();
        assert_eq!((private(" "), public("")), (KeyError::Empty, KeyError::Empty));
        assert_eq!(
            (private("key!"), public("-----BEGIN")),
            (KeyError::NotText, KeyError::NotText)
        );
        assert_eq!((private(PUBLIC), public(PKCS8)), (KeyError::Public, KeyError::Private));
        assert_eq!(public(PKCS1), KeyError::Private);
        assert!(matches!(private(SHORT_PRIVATE), KeyError::NotRsa(_)));
        assert!(matches!(public(SHORT_PUBLIC), KeyError::NotRsa(_)));
        assert!(matches!(public("AAAA"), KeyError::NotRsa(_)));
        assert!(matches!(private("AAAA"), KeyError::NotRsa(_)));
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert_eq!(public(certificate), KeyError::Certificate);
    }
}
