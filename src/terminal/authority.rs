//! The deployment's own certificate authority, and what terminals ask it to sign.

use std::{fmt, fs, net::IpAddr, path::Path};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand,
    signature::{ED25519, UnparsedPublicKey},
};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PKCS_ED25519, PublicKeyData, SanType, SerialNumber, SignatureAlgorithm,
};
use time::{OffsetDateTime, macros::datetime};
use x509_parser::{
    certification_request::X509CertificationRequest,
    oid_registry::OID_SIG_ED25519,
    prelude::{FromDer as _, X509Certificate},
};

use crate::{
    access::{KeyError, read_or_create_secret, read_secret},
    ids::{CenterId, TerminalId},
};

/// The name that terminals expect in the service's certificate, wherever it listens.
pub const SERVER_NAME: &str = "custody";

/// The authority's key and certificate within the data directory's keys, one after the other, so that neither is without the other.
const FILE: &str = "terminal-authority.pem";

/// Terminals look at these times by clocks of their own, which an empty battery may have set to whenever. What ends a terminal's
/// certificate is looked at by the service's clock.
const LONG_AGO: OffsetDateTime = datetime!(2020-01-01 00:00 UTC);
const FAR_AHEAD: OffsetDateTime = datetime!(2120-01-01 00:00 UTC);

/// The longest certificate request that is read, in bytes of PEM; one with an Ed25519 key has about 400.
const REQUEST_LEN_MAX: usize = 4_096;

/// Why there is no authority.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// A file cannot be read, or is open to others.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The certificate's file cannot be read.
    #[error("cannot read the authority's certificate {path}: {source}")]
    Certificate {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// What was read makes no authority.
    #[error("{path} holds no authority: {problem}")]
    Unusable {
        /// The file or files.
        path: String,
        /// Why not.
        problem: String,
    },
    /// The cryptographic library signs nothing.
    #[error("nothing can be signed: {0}")]
    Library(String),
}

impl From<rcgen::Error> for AuthorityError {
    fn from(error: rcgen::Error) -> AuthorityError {
        AuthorityError::Library(error.to_string())
    }
}

/// Why a certificate request is none that can be signed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// It is no PKCS #10 request in PEM.
    #[error("is no certificate request (PKCS #10) in PEM")]
    Malformed,
    /// Its key is of another kind.
    #[error("must have an Ed25519 key")]
    Key,
    /// It is not signed with the key that it tells.
    #[error("is not signed with its own key")]
    Signature,
}

/// The public key that a certificate request tells, and has shown to have the other half of.
///
/// # Errors
/// [`RequestError`].
pub fn key_of_request(text: &str) -> Result<[u8; 32], RequestError> {
    if text.len() > REQUEST_LEN_MAX {
        return Err(RequestError::Malformed);
    }
    let pem = pem::parse(text).map_err(|_| RequestError::Malformed)?;
    if !matches!(pem.tag(), "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST") {
        return Err(RequestError::Malformed);
    }
    let Ok(([], request)) = X509CertificationRequest::from_der(pem.contents()) else {
        return Err(RequestError::Malformed);
    };
    let told = &request.certification_request_info;
    let key: [u8; 32] = match <[u8; 32]>::try_from(told.subject_pki.subject_public_key.data.as_ref()) {
        Ok(key) if told.subject_pki.algorithm.algorithm == OID_SIG_ED25519 => key,
        _ => return Err(RequestError::Key),
    };
    let signed = UnparsedPublicKey::new(&ED25519, &key).verify(told.raw, &request.signature_value.data);
    if request.signature_algorithm.algorithm == OID_SIG_ED25519 && signed.is_ok() {
        Ok(key)
    } else {
        Err(RequestError::Signature)
    }
}

/// A terminal's public key, to be signed.
struct TerminalKey([u8; 32]);

impl PublicKeyData for TerminalKey {
    fn der_bytes(&self) -> &[u8] {
        &self.0
    }
    fn algorithm(&self) -> &'static SignatureAlgorithm {
        &PKCS_ED25519
    }
}

/// A certificate that was signed.
pub struct Signed {
    /// Its serial number.
    pub serial: Vec<u8>,
    /// The whole of it, DER.
    pub der: Vec<u8>,
}

/// The service's own certificate and key, DER, for the port for terminals.
pub struct ServerIdentity {
    /// Its certificate.
    pub certificate: Vec<u8>,
    /// Its key, PKCS #8.
    pub key: Vec<u8>,
}

/// The authority that signs the certificates of terminals and the service's own. All processes of a deployment need the same.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Vec<u8>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The key is never shown.
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

impl Authority {
    /// The authority of two files, certificate and key, or else of the data directory, where it is made if there is none.
    ///
    /// # Errors
    /// [`AuthorityError`].
    pub fn load(data_dir: &Path, files: Option<(&Path, &Path)>) -> Result<Authority, AuthorityError> {
        let Some((certificate, key)) = files else {
            let text = read_or_create_secret(data_dir, FILE, make)?;
            let text = String::from_utf8_lossy(&text);
            return Authority::read(&text, &text, FILE);
        };
        let text = fs::read_to_string(certificate).map_err(|source| AuthorityError::Certificate {
            path: certificate.display().to_string(),
            source,
        })?;
        let Some(secret) = read_secret(key)? else {
            return Err(KeyError::Missing { path: key.to_owned() }.into());
        };
        let both = format!("{} and {}", certificate.display(), key.display());
        Authority::read(&text, &String::from_utf8_lossy(&secret), &both)
    }

    fn read(certificate: &str, key: &str, path: &str) -> Result<Authority, AuthorityError> {
        let unusable = |problem: String| AuthorityError::Unusable {
            path: path.to_owned(),
            problem,
        };
        let blocks = |text: &str| pem::parse_many(text).map_err(|error| unusable(error.to_string()));
        let block = |text: &str, tag: &str| {
            let found = blocks(text)?.into_iter().find(|block| block.tag() == tag);
            found.ok_or_else(|| unusable(format!("there is no {tag}")))
        };
        let certificate = block(certificate, "CERTIFICATE")?.into_contents();
        let key = KeyPair::from_pem(&pem::encode(&block(key, "PRIVATE KEY")?))
            .map_err(|error| unusable(error.to_string()))?;
        let (_, parsed) = X509Certificate::from_der(&certificate).map_err(|error| unusable(error.to_string()))?;
        if !parsed.is_ca() {
            return Err(unusable("the certificate is not an authority's".into()));
        }
        if parsed.public_key().raw != key.subject_public_key_info() {
            return Err(unusable("the key is not that of the certificate".into()));
        }
        let issuer = Issuer::from_ca_cert_der(&certificate.as_slice().into(), key)
            .map_err(|error| unusable(error.to_string()))?;
        Ok(Authority { issuer, certificate })
    }

    /// The authority's certificate, DER.
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }

    /// SHA-256 of the authority's certificate, lowercase hexadecimal.
    pub fn fingerprint(&self) -> String {
        hex::encode(digest(&SHA256, &self.certificate))
    }

    /// Signs a terminal's key. The serial number is what binds the certificate to the terminal's row.
    ///
    /// # Errors
    /// [`AuthorityError::Library`].
    pub fn sign_terminal(
        &self,
        (center, terminal): (&CenterId, &TerminalId),
        key: [u8; 32],
        (from, until): (OffsetDateTime, OffsetDateTime),
    ) -> Result<Signed, AuthorityError> {
        let serial = new_serial()?;
        let mut params = CertificateParams::default();
        params.distinguished_name = named(&subject(center, terminal));
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (from, until);
        let der = params.signed_by(&TerminalKey(key), &self.issuer)?.der().to_vec();
        Ok(Signed { serial, der })
    }

    /// A new certificate of the service's own, for [`SERVER_NAME`], `localhost` and the address where it listens. It is an ECDSA
    /// one: gRPC's own library does not accept an Ed25519 key of a server.
    ///
    /// # Errors
    /// [`AuthorityError::Library`].
    pub fn server_identity(&self, address: IpAddr, host: Option<&str>) -> Result<ServerIdentity, AuthorityError> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256)?;
        let names = [SERVER_NAME, "localhost"].into_iter().chain(host);
        let mut params = CertificateParams::new(names.map(str::to_owned).collect::<Vec<_>>())?;
        if !address.is_unspecified() {
            params.subject_alt_names.push(SanType::IpAddress(address));
        }
        params.distinguished_name = named(SERVER_NAME);
        params.serial_number = Some(SerialNumber::from_slice(&new_serial()?));
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        params.use_authority_key_identifier_extension = true;
        (params.not_before, params.not_after) = (LONG_AGO, FAR_AHEAD);
        let certificate = params.signed_by(&key, &self.issuer)?.der().to_vec();
        Ok(ServerIdentity {
            certificate,
            key: key.serialize_der(),
        })
    }
}

/// The name in a terminal's certificate.
fn subject(center: &CenterId, terminal: &TerminalId) -> String {
    format!("centers/{center}/terminals/{terminal}")
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    distinguished.push(DnType::CommonName, name);
    distinguished
}

/// 16 random bytes that are a positive number without a leading zero, however they are written.
fn new_serial() -> Result<Vec<u8>, AuthorityError> {
    let mut serial = vec![0_u8; 16];
    rand::fill(&mut serial).map_err(|_| AuthorityError::Library("no random numbers".into()))?;
    if let Some(first) = serial.first_mut() {
        *first = (*first & 0x7f) | 0x40;
    }
    Ok(serial)
}

/// A new authority: its key and its certificate, PEM.
fn make() -> Result<String, KeyError> {
    let failed = |_: rcgen::Error| KeyError::Generation;
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let serial = new_serial().map_err(|_| KeyError::Generation)?;
    let mut params = CertificateParams::default();
    // Its own number tells one deployment's authority from another's.
    params.distinguished_name = named(&format!("custody terminals {}", hex::encode(&serial[..4])));
    params.serial_number = Some(SerialNumber::from_slice(&serial));
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (params.not_before, params.not_after) = (LONG_AGO, FAR_AHEAD);
    let certificate = params.self_signed(&key).map_err(failed)?;
    Ok(format!("{}{}", key.serialize_pem(), certificate.pem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: OffsetDateTime = datetime!(2031-05-06 07:08:09 UTC);

    fn request(algorithm: &'static SignatureAlgorithm) -> (KeyPair, String) {
        let key = KeyPair::generate_for(algorithm).unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap();
        (key, request.pem().unwrap())
    }

    #[test]
    fn a_request_tells_its_own_ed25519_key() {
        let (key, told) = request(&PKCS_ED25519);
        assert_eq!(key_of_request(&told).unwrap(), key.public_key_raw());
        let (_, other) = request(&PKCS_ECDSA_P256_SHA256);
        assert_eq!(key_of_request(&other), Err(RequestError::Key));
        let mut der = pem::parse(&told).unwrap().into_contents();
        let last = der.len() - 1;
        der[last] ^= 1;
        let forged = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der.clone()));
        assert_eq!(key_of_request(&forged), Err(RequestError::Signature));
        der[last] ^= 1;
        der.push(0);
        let longer = pem::encode(&pem::Pem::new("CERTIFICATE REQUEST", der));
        let long = told.repeat(20);
        for text in [
            "",
            "nonsense",
            &longer,
            &long,
            &told.replace("CERTIFICATE REQUEST", "CERTIFICATE"),
        ] {
            assert_eq!(key_of_request(text), Err(RequestError::Malformed), "{text}");
        }
    }

    #[test]
    fn an_authority_is_made_once_and_signs() {
        let directory = tempfile::tempdir().unwrap();
        let authority = Authority::load(directory.path(), None).unwrap();
        let again = Authority::load(directory.path(), None).unwrap();
        assert_eq!(authority.fingerprint(), again.fingerprint());
        let (center, terminal) = (CenterId::parse("C1").unwrap(), TerminalId::parse("T1").unwrap());
        let until = NOW + time::Duration::DAY;
        let signed = again
            .sign_terminal((&center, &terminal), [7; 32], (NOW, until))
            .unwrap();
        let (_, certificate) = X509Certificate::from_der(&signed.der).unwrap();
        let (_, own) = X509Certificate::from_der(authority.certificate()).unwrap();
        assert_eq!(certificate.raw_serial(), signed.serial);
        assert_eq!(certificate.issuer(), own.subject());
        assert_eq!(certificate.public_key().subject_public_key.data.as_ref(), [7; 32]);
        assert_eq!(certificate.validity().not_after.to_datetime(), until);
        assert_eq!(certificate.subject().to_string(), "CN=centers/C1/terminals/T1");
    }

    #[test]
    fn an_authority_can_be_given_and_must_fit() {
        use std::os::unix::fs::PermissionsExt as _;
        let directory = tempfile::tempdir().unwrap();
        let (certificate, key) = (directory.path().join("ca.pem"), directory.path().join("ca.key"));
        let write = |certificate_of: &str, key_of: &str| {
            fs::write(&certificate, certificate_of).unwrap();
            fs::write(&key, key_of).unwrap();
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        };
        let (one, other) = (make().unwrap(), make().unwrap());
        write(&one, &one);
        let files = Some((certificate.as_path(), key.as_path()));
        Authority::load(directory.path(), files).unwrap();
        write(&one, &other);
        let refused = Authority::load(directory.path(), files).unwrap_err().to_string();
        assert!(refused.contains("the key is not that of the certificate"), "{refused}");
        write("", &one);
        let refused = Authority::load(directory.path(), files).unwrap_err().to_string();
        assert!(refused.contains("there is no CERTIFICATE"), "{refused}");
        fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
        let refused = Authority::load(directory.path(), files).unwrap_err();
        assert!(matches!(
            refused,
            AuthorityError::Key(KeyError::Exposed { .. }) | AuthorityError::Unusable { .. }
        ));
    }
}
