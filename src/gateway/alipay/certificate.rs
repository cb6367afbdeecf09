//! Certificates of Alipay's certificate mode (公钥证书模式), and their serial numbers SN, which requests and answers name.
//!
//! An SN is the MD5, in lower hexadecimal digits, of the issuer's name and the serial number in decimal digits, with nothing
//! between. The name is written as `CN=…,OU=…,O=…,C=…`: the attributes in the reverse of their order in the certificate. The SN
//! of several roots is theirs joined by `_`, without those that are not signed by RSA (the file of roots has SM2, too).
//! Source: Alipay's own libraries (alipay-sdk-java-all `AntCertificationUtil`, alipay-sdk-nodejs-all `antcertutil`); the values
//! in the tests are python-alipay-sdk 3.4.0's.

use md5::{Digest as _, Md5};
use x509_parser::{
    certificate::X509Certificate,
    objects::{oid_registry, oid2abbrev},
};

use super::key::{KeyError, PublicKey};

/// How the object ids of signatures by RSA begin.
const RSA: &str = "1.2.840.113549.1.1.";

/// Why a text is not the certificate that is needed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("it is no PEM text of a certificate")]
    NotText,
    #[error("it is a {found}, where a CERTIFICATE belongs")]
    OtherKind { found: String },
    #[error("it is no X.509 certificate: {0}")]
    Unreadable(String),
    #[error("it is an authority's certificate, not the one of a key")]
    Authority,
    #[error("it is the certificate of a key, where Alipay's root certificates (alipayRootCert.crt) belong")]
    NotAuthority,
    #[error("none of its certificates is signed by RSA")]
    NoRsa,
    #[error("its key: {0}")]
    Key(#[source] KeyError),
    #[error("it belongs to another key than the application's private key")]
    OtherKey,
    #[error("it is the application's own; Alipay's (alipayCertPublicKey_RSA2.crt) is meant")]
    Own,
}

/// The certificate of a key.
pub struct Certificate {
    /// Its SN.
    pub sn: String,
    /// The key.
    pub key: PublicKey,
}

impl Certificate {
    /// Reads a certificate in PEM. The authority's may follow, as in Alipay's own file.
    ///
    /// # Errors
    /// [`CertificateError`].
    pub fn read(text: &str) -> Result<Certificate, CertificateError> {
        let blocks = blocks(text)?;
        let first = blocks.first().ok_or(CertificateError::NotText)?;
        let certificate = parse(first)?;
        if certificate.is_ca() {
            return Err(CertificateError::Authority);
        }
        Ok(Certificate {
            sn: sn(&certificate)?,
            key: PublicKey::of_der(certificate.public_key().raw.to_vec()).map_err(CertificateError::Key)?,
        })
    }
}

/// The SN of Alipay's root certificates, PEM.
///
/// # Errors
/// [`CertificateError`].
pub fn root_sn(text: &str) -> Result<String, CertificateError> {
    let mut sns = Vec::new();
    for block in &blocks(text)? {
        let certificate = parse(block)?;
        if !certificate.is_ca() {
            return Err(CertificateError::NotAuthority);
        }
        if certificate
            .signature_algorithm
            .algorithm
            .to_id_string()
            .starts_with(RSA)
        {
            sns.push(sn(&certificate)?);
        }
    }
    if sns.is_empty() {
        return Err(CertificateError::NoRsa);
    }
    Ok(sns.join("_"))
}

fn blocks(text: &str) -> Result<Vec<Vec<u8>>, CertificateError> {
    let blocks = pem::parse_many(text).map_err(|_| CertificateError::NotText)?;
    if blocks.is_empty() {
        return Err(CertificateError::NotText);
    }
    let read = |block: pem::Pem| match block.tag() {
        "CERTIFICATE" => Ok(block.into_contents()),
        found => Err(CertificateError::OtherKind {
            found: found.to_owned(),
        }),
    };
    blocks.into_iter().map(read).collect()
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, CertificateError> {
    let parsed = x509_parser::parse_x509_certificate(der);
    let (_, certificate) = parsed.map_err(|error| CertificateError::Unreadable(error.to_string()))?;
    Ok(certificate)
}

fn sn(certificate: &X509Certificate<'_>) -> Result<String, CertificateError> {
    let unreadable = |error: String| CertificateError::Unreadable(format!("its issuer: {error}"));
    let mut parts = Vec::new();
    for attribute in certificate.issuer().iter_attributes() {
        let kind = attribute.attr_type();
        let name = oid2abbrev(kind, oid_registry()).map_or_else(|_| kind.to_id_string(), str::to_owned);
        let value = attribute.as_str().map_err(|error| unreadable(error.to_string()))?;
        parts.push(format!("{name}={value}"));
    }
    parts.reverse();
    let named = format!("{}{}", parts.join(","), certificate.serial);
    Ok(hex::encode(Md5::digest(named)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CERTIFICATE: &str = include_str!("testdata/certificate.pem");
    const ROOTS: &str = include_str!("testdata/root_certificates.pem");
    /// What python-alipay-sdk 3.4.0 makes of the two: `DCAliPay.get_cert_sn`, `DCAliPay.get_root_cert_sn`.
    const SNS: &str = include_str!("testdata/certificate_sns.txt");
    const PUBLIC: &str = include_str!("testdata/public_key.pem");

    #[test]
    fn serial_numbers_are_those_of_an_sdk() {
        let (own, root) = SNS.trim().split_once('\n').unwrap();
        let certificate = Certificate::read(CERTIFICATE).unwrap();
        assert_eq!(certificate.sn, own);
        // Two of the three roots: one is signed by an elliptic curve.
        assert_eq!((root_sn(ROOTS).unwrap().as_str(), root.len()), (root, 65));
        // With the authority's after it, as Alipay's file is.
        assert_eq!(Certificate::read(&format!("{CERTIFICATE}{ROOTS}")).unwrap().sn, own);
        let key = include_str!("testdata/private_key_pkcs8.pem");
        let key = super::super::key::PrivateKey::read(&key.into()).unwrap();
        assert!(certificate.key.verifies(b"x", &key.sign(b"x").unwrap()));
    }

    #[test]
    fn says_what_is_wrong_with_a_certificate() {
        let wrong = |text: &str| Certificate::read(text).err().unwrap();
        for text in ["", "hunter2", "-----BEGIN CERTIFICATE-----"] {
            assert_eq!(
                (wrong(text), root_sn(text)),
                (CertificateError::NotText, Err(CertificateError::NotText))
            );
        }
        let found = "PUBLIC KEY".to_owned();
        assert_eq!(wrong(PUBLIC), CertificateError::OtherKind { found: found.clone() });
        assert_eq!(root_sn(PUBLIC), Err(CertificateError::OtherKind { found }));
        assert_eq!(wrong(ROOTS), CertificateError::Authority);
        assert_eq!(root_sn(CERTIFICATE), Err(CertificateError::NotAuthority));
        let elliptic = ROOTS.split("\n\n").nth(1).unwrap();
        assert_eq!(root_sn(elliptic), Err(CertificateError::NoRsa));
        let empty = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(matches!(wrong(empty), CertificateError::Unreadable(_)));
        assert!(matches!(root_sn(empty), Err(CertificateError::Unreadable(_))));
    }
}
