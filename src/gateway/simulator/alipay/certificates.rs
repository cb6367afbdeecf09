//! The certificates of a simulated application: Alipay's root, and what it signed.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pem::Pem;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, PKCS_RSA_SHA256, SerialNumber};
use secrecy::{ExposeSecret as _, SecretString};
use uuid::Uuid;

use crate::gateway::alipay::{CertificateTexts, key::PrivateKey};

/// A new root, and certificates of the two keys.
///
/// # Errors
/// Whatever keeps certificates from being made.
pub(super) fn generate(app: &SecretString, alipay: &SecretString) -> io::Result<CertificateTexts> {
    let root_key = pair(&PrivateKey::generate_text().map_err(io::Error::other)?)?;
    let mut root = params("Simulated Certification Authority R1", "Certification Authority");
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let root_text = root.self_signed(&root_key).map_err(io::Error::other)?.pem();
    let issuer = Issuer::new(root, root_key);
    let signed = |key: &SecretString, name: &str| {
        let certificate = params(name, "Simulated Merchant").signed_by(&pair(key)?, &issuer);
        Ok::<_, io::Error>(certificate.map_err(io::Error::other)?.pem())
    };
    Ok(CertificateTexts {
        app: signed(app, "simulated application")?,
        alipay: signed(alipay, "simulated Alipay")?,
        root: root_text,
    })
}

fn params(name: &str, unit: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    // In this order, as Alipay's are: their names are compared the other way round.
    params.distinguished_name = rcgen::DistinguishedName::new();
    for (kind, value) in [
        (DnType::CountryName, "CN"),
        (DnType::OrganizationName, "Simulated"),
        (DnType::OrganizationalUnitName, unit),
        (DnType::CommonName, name),
    ] {
        params.distinguished_name.push(kind, value);
    }
    params.serial_number = Some(SerialNumber::from_slice(Uuid::new_v4().as_bytes()));
    params
}

fn pair(key: &SecretString) -> io::Result<KeyPair> {
    let der = STANDARD.decode(key.expose_secret()).map_err(io::Error::other)?;
    let text = pem::encode(&Pem::new("PRIVATE KEY", der));
    KeyPair::from_pkcs8_pem_and_sign_algo(&text, &PKCS_RSA_SHA256).map_err(io::Error::other)
}
