//! The key material of a simulated merchant and of the simulated platform, made anew or kept in a directory.

use std::{
    collections::BTreeMap,
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{Arc, RwLock},
};

use aws_lc_rs::{
    encoding::{AsDer as _, Pkcs8V1Der, PublicKeyX509Der},
    rsa::KeySize,
    signature::{KeyPair as _, RsaKeyPair},
};
use pem::Pem;
use secrecy::{ExposeSecret as _, SecretString};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use crate::gateway::wechat_pay::{
    WechatPayConfig,
    keys::{ApiV3Key, KeyError, SigningKey, VerifyingKeys},
};

/// The simulated merchant.
pub const MCHID: &str = "1900000001";
/// Its official account.
pub const APPID: &str = "wx0000000000000001";

/// How long a certificate of the platform's is valid.
const CERTIFICATE_TTL: Duration = Duration::days(5 * 365);

const MERCHANT_KEY: &str = "apiclient_key.pem";
const MERCHANT_CERTIFICATE: &str = "apiclient_cert.pem";
const API_V3_KEY: &str = "api_v3_key.txt";
const PLATFORM_CERTIFICATE: &str = "platform_cert.pem";
const PLATFORM_CERTIFICATE_KEY: &str = "platform_cert_key.pem";
const PLATFORM_PUBLIC_KEY: &str = "pub_key.pem";
const PLATFORM_PUBLIC_KEY_KEY: &str = "pub_key_key.pem";
const PLATFORM_PUBLIC_KEY_ID: &str = "pub_key_id.txt";

/// Everything that both sides need.
#[derive(Debug, Clone)]
pub struct WechatPayKeys {
    merchant_key: SecretString,
    merchant_certificate: String,
    api_v3_key: SecretString,
    platform_certificate: String,
    platform_certificate_key: SecretString,
    platform_public_key: String,
    platform_public_key_key: SecretString,
    public_key_id: String,
}

impl WechatPayKeys {
    /// New keys.
    ///
    /// # Errors
    /// Whatever keeps keys from being made.
    pub fn generate() -> io::Result<WechatPayKeys> {
        let (merchant, platform, public) = (pair()?, pair()?, pair()?);
        let public_der = public.pair.public_key().as_der();
        let public_der: PublicKeyX509Der<'_> = public_der.map_err(io::Error::other)?;
        Ok(WechatPayKeys {
            merchant_certificate: certificate(&merchant.pem, "simulated merchant")?,
            merchant_key: merchant.pem,
            api_v3_key: SecretString::from(Uuid::new_v4().simple().to_string()),
            platform_certificate: certificate(&platform.pem, "simulated WeChat Pay")?,
            platform_certificate_key: platform.pem,
            platform_public_key: pem::encode(&Pem::new("PUBLIC KEY", public_der.as_ref())),
            platform_public_key_key: public.pem,
            public_key_id: format!("PUB_KEY_ID_{}", Uuid::new_v4().simple().to_string().to_uppercase()),
        })
    }

    /// The keys in a directory, made there if it has none, readable by their owner only.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn load_or_generate(directory: &Path) -> io::Result<WechatPayKeys> {
        if !directory.join(PLATFORM_PUBLIC_KEY_ID).exists() {
            fs::create_dir_all(directory)?;
            WechatPayKeys::generate()?.save(directory)?;
        }
        let read = |name: &str| fs::read_to_string(directory.join(name));
        let secret = |name: &str| read(name).map(SecretString::from);
        Ok(WechatPayKeys {
            merchant_key: secret(MERCHANT_KEY)?,
            merchant_certificate: read(MERCHANT_CERTIFICATE)?,
            api_v3_key: secret(API_V3_KEY)?,
            platform_certificate: read(PLATFORM_CERTIFICATE)?,
            platform_certificate_key: secret(PLATFORM_CERTIFICATE_KEY)?,
            platform_public_key: read(PLATFORM_PUBLIC_KEY)?,
            platform_public_key_key: secret(PLATFORM_PUBLIC_KEY_KEY)?,
            public_key_id: read(PLATFORM_PUBLIC_KEY_ID)?,
        })
    }

    /// The id is written last: where it is, everything is.
    fn save(&self, directory: &Path) -> io::Result<()> {
        let files = [
            (MERCHANT_KEY, self.merchant_key.expose_secret()),
            (MERCHANT_CERTIFICATE, &self.merchant_certificate),
            (API_V3_KEY, self.api_v3_key.expose_secret()),
            (PLATFORM_CERTIFICATE, &self.platform_certificate),
            (PLATFORM_CERTIFICATE_KEY, self.platform_certificate_key.expose_secret()),
            (PLATFORM_PUBLIC_KEY, &self.platform_public_key),
            (PLATFORM_PUBLIC_KEY_KEY, self.platform_public_key_key.expose_secret()),
            (PLATFORM_PUBLIC_KEY_ID, &self.public_key_id),
        ];
        for (name, text) in files {
            let mut options = OpenOptions::new();
            let file = options.write(true).create(true).truncate(true).mode(0o600);
            file.open(directory.join(name))?.write_all(text.as_bytes())?;
        }
        Ok(())
    }

    /// The table that makes this merchant a channel of `custody serve`, for its file.
    ///
    /// # Errors
    /// If the merchant's certificate cannot be read.
    pub fn service_table(&self, channel: &str, directory: &Path, base_url: &str) -> Result<String, KeyError> {
        let file = |name: &str| directory.join(name).display().to_string();
        Ok(format!(
            "[channels.{channel}]\nkind = \"wechat_pay\"\nbase_url = {base_url:?}\nmchid = {MCHID:?}\nappid = {APPID:?}\n\
             serial_no = {:?}\nprivate_key_file = {:?}\napi_v3_key_file = {:?}\nplatform_certificate_files = [{:?}]\n\
             platform_public_key_files = {{ {} = {:?} }}\nfee_rate = \"0.006\"\n",
            self.serial_no()?,
            file(MERCHANT_KEY),
            file(API_V3_KEY),
            file(PLATFORM_CERTIFICATE),
            self.public_key_id,
            file(PLATFORM_PUBLIC_KEY),
        ))
    }

    /// The settings of a channel of this merchant.
    ///
    /// # Errors
    /// If the merchant's certificate cannot be read.
    pub fn config(&self, id: &str, base_url: &str) -> Result<WechatPayConfig, KeyError> {
        Ok(WechatPayConfig {
            id: id.to_owned(),
            base_url: base_url.to_owned(),
            mchid: MCHID.to_owned(),
            appid: APPID.to_owned(),
            serial_no: self.serial_no()?,
            private_key: self.merchant_key.clone(),
            api_v3_key: self.api_v3_key.clone(),
            platform_certificates: vec![self.platform_certificate.clone()],
            platform_public_keys: BTreeMap::from([(self.public_key_id.clone(), self.platform_public_key.clone())]),
            fetch_certificates: false,
        })
    }

    fn serial_no(&self) -> Result<String, KeyError> {
        VerifyingKeys::default().add_certificate(&self.merchant_certificate)
    }

    /// The platform's half, ready for use.
    pub(super) fn platform(&self) -> Result<Platform, KeyError> {
        let mut merchant = VerifyingKeys::default();
        merchant.add_certificate(&self.merchant_certificate)?;
        Ok(Platform {
            merchant,
            api_v3_key: ApiV3Key::of(&self.api_v3_key)?,
            certificates: RwLock::new(vec![PlatformCertificate::of(
                self.platform_certificate.clone(),
                &self.platform_certificate_key,
            )?]),
            by_public_key: (
                self.public_key_id.clone(),
                SigningKey::from_pem(&self.platform_public_key_key)?,
            ),
        })
    }
}

/// What the platform signs, seals and checks with.
pub(super) struct Platform {
    pub merchant: VerifyingKeys,
    pub api_v3_key: ApiV3Key,
    /// Oldest first; the last one signs.
    pub certificates: RwLock<Vec<PlatformCertificate>>,
    /// Id and key.
    pub by_public_key: (String, SigningKey),
}

/// A certificate of the platform's, and its key.
#[derive(Clone)]
pub(super) struct PlatformCertificate {
    pub serial: String,
    /// PEM.
    pub text: String,
    pub key: Arc<SigningKey>,
    pub begins_at: OffsetDateTime,
    /// No longer listed from then on, at the latest when it is no longer valid.
    pub expires_at: OffsetDateTime,
}

impl PlatformCertificate {
    fn of(text: String, key: &SecretString) -> Result<PlatformCertificate, KeyError> {
        let unreadable = |error: String| KeyError::NotACertificate { reason: error };
        let block = pem::parse(&text).map_err(|error| unreadable(error.to_string()))?;
        let (_, read) =
            x509_parser::parse_x509_certificate(block.contents()).map_err(|error| unreadable(error.to_string()))?;
        let (begins_at, expires_at) = (read.validity().not_before, read.validity().not_after);
        Ok(PlatformCertificate {
            serial: VerifyingKeys::default().add_certificate(&text)?,
            begins_at: begins_at.to_datetime(),
            expires_at: expires_at.to_datetime(),
            key: Arc::new(SigningKey::from_pem(key)?),
            text,
        })
    }

    /// A new one, valid from now on for five years, as the platform's are.
    pub(super) fn generate(now: OffsetDateTime) -> io::Result<PlatformCertificate> {
        let key = pair()?.pem;
        let validity = Some((now - Duration::HOUR, now + CERTIFICATE_TTL));
        let text = certificate_for(&key, "simulated WeChat Pay", validity)?;
        PlatformCertificate::of(text, &key).map_err(io::Error::other)
    }
}

struct Pair {
    pair: RsaKeyPair,
    pem: SecretString,
}

fn pair() -> io::Result<Pair> {
    let pair = RsaKeyPair::generate(KeySize::Rsa2048).map_err(io::Error::other)?;
    let der: Pkcs8V1Der<'_> = pair.as_der().map_err(io::Error::other)?;
    let pem = SecretString::from(pem::encode(&Pem::new("PRIVATE KEY", der.as_ref())));
    Ok(Pair { pair, pem })
}

fn certificate(key: &SecretString, name: &str) -> io::Result<String> {
    certificate_for(key, name, None)
}

fn certificate_for(
    key: &SecretString,
    name: &str,
    validity: Option<(OffsetDateTime, OffsetDateTime)>,
) -> io::Result<String> {
    let key = rcgen::KeyPair::from_pkcs8_pem_and_sign_algo(key.expose_secret(), &rcgen::PKCS_RSA_SHA256);
    let key = key.map_err(io::Error::other)?;
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    if let Some((begins_at, expires_at)) = validity {
        (params.not_before, params.not_after) = (begins_at, expires_at);
    }
    params.serial_number = Some(rcgen::SerialNumber::from_slice(Uuid::new_v4().as_bytes()));
    Ok(params.self_signed(&key).map_err(io::Error::other)?.pem())
}
