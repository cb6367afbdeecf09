//! The key material of a simulated application and of the simulated Alipay, made anew or kept in a directory.

use std::{
    fs::{self, OpenOptions},
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use secrecy::{ExposeSecret as _, SecretString};

use super::certificates;
use crate::gateway::alipay::{
    AlipayConfig, CertificateTexts, Mode,
    key::{KeyError, PrivateKey},
};

/// The simulated application.
pub const APP_ID: &str = "2021000000000001";
/// The simulated merchant.
pub const SELLER_ID: &str = "2088000000000001";

const APP_KEY: &str = "app_private_key.txt";
const ALIPAY_KEY: &str = "alipay_private_key.txt";
const ALIPAY_PUBLIC_KEY: &str = "alipay_public_key.txt";
const APP_CERTIFICATE: &str = "appCertPublicKey.crt";
const ALIPAY_CERTIFICATE: &str = "alipayCertPublicKey_RSA2.crt";
const ROOT_CERTIFICATE: &str = "alipayRootCert.crt";

/// The private keys of both sides, as Alipay's key tool writes them, and their certificates.
#[derive(Debug, Clone)]
pub struct AlipayKeys {
    app: SecretString,
    alipay: SecretString,
    certificates: CertificateTexts,
}

impl AlipayKeys {
    /// New keys.
    ///
    /// # Errors
    /// Whatever keeps keys from being made.
    pub fn generate() -> io::Result<AlipayKeys> {
        let new = || PrivateKey::generate_text().map_err(io::Error::other);
        let (app, alipay) = (new()?, new()?);
        Ok(AlipayKeys {
            certificates: certificates::generate(&app, &alipay)?,
            app,
            alipay,
        })
    }

    /// The keys in a directory, made there if it has none, readable by their owner only.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn load_or_generate(directory: &Path) -> io::Result<AlipayKeys> {
        if !directory.join(ALIPAY_PUBLIC_KEY).exists() {
            let keys = AlipayKeys::generate()?;
            fs::create_dir_all(directory)?;
            save(&directory.join(APP_KEY), keys.app.expose_secret())?;
            save(&directory.join(ALIPAY_KEY), keys.alipay.expose_secret())?;
            // Last: it tells that the others are there.
            let public = keys.alipay_public_key().map_err(io::Error::other)?;
            save(&directory.join(ALIPAY_PUBLIC_KEY), &public)?;
        }
        let read = |name| fs::read_to_string(directory.join(name));
        let (app, alipay) = (
            SecretString::from(read(APP_KEY)?),
            SecretString::from(read(ALIPAY_KEY)?),
        );
        // Directories made before there were certificates get theirs now.
        if !directory.join(ROOT_CERTIFICATE).exists() {
            let made = certificates::generate(&app, &alipay)?;
            save(&directory.join(APP_CERTIFICATE), &made.app)?;
            save(&directory.join(ALIPAY_CERTIFICATE), &made.alipay)?;
            save(&directory.join(ROOT_CERTIFICATE), &made.root)?;
        }
        Ok(AlipayKeys {
            app,
            alipay,
            certificates: CertificateTexts {
                app: read(APP_CERTIFICATE)?,
                alipay: read(ALIPAY_CERTIFICATE)?,
                root: read(ROOT_CERTIFICATE)?,
            },
        })
    }

    /// The table of the service's configuration that makes the simulated Alipay at `base_url` a channel, in the mode without
    /// certificates; the other mode's keys are in its comment.
    pub fn service_table(&self, name: &str, directory: &Path, base_url: &str) -> String {
        let path = |file: &str| directory.join(file).display().to_string();
        format!(
            "[channels.{name}]\nkind = \"alipay\"\nbase_url = \"{base_url}/gateway.do\"\napp_id = \"{APP_ID}\"\n\
             seller_id = \"{SELLER_ID}\"\nprivate_key_file = {:?}\nalipay_public_key_file = {:?}\n\
             fee_rate = \"0.006\"\n\
             # or: app_cert_file = {:?}, alipay_cert_file = {:?}, alipay_root_cert_file = {:?}\n",
            path(APP_KEY),
            path(ALIPAY_PUBLIC_KEY),
            path(APP_CERTIFICATE),
            path(ALIPAY_CERTIFICATE),
            path(ROOT_CERTIFICATE),
        )
    }

    /// The channel's settings for the simulated Alipay at `base_url`.
    ///
    /// # Errors
    /// A key that is none.
    pub fn channel(&self, id: &str, base_url: &str) -> Result<AlipayConfig, KeyError> {
        Ok(AlipayConfig {
            id: id.to_owned(),
            gateway_url: format!("{base_url}/gateway.do"),
            app_id: APP_ID.to_owned(),
            seller_id: SELLER_ID.to_owned(),
            private_key: self.app.clone(),
            mode: Mode::PublicKey(self.alipay_public_key()?),
        })
    }

    /// The certificates.
    pub fn certificates(&self) -> &CertificateTexts {
        &self.certificates
    }

    /// Alipay's private key, by which it signs.
    ///
    /// # Errors
    /// A key that is none.
    pub fn alipay_key(&self) -> Result<PrivateKey, KeyError> {
        PrivateKey::read(&self.alipay)
    }

    /// The application's public key, which Alipay has.
    ///
    /// # Errors
    /// A key that is none.
    pub fn app_public_key(&self) -> Result<String, KeyError> {
        public(&self.app)
    }

    fn alipay_public_key(&self) -> Result<String, KeyError> {
        public(&self.alipay)
    }
}

fn public(private: &SecretString) -> Result<String, KeyError> {
    let text = PrivateKey::read(private)?.public_text();
    text.map_err(|_| KeyError::NotRsa("its public half cannot be written".to_owned()))
}

fn save(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    file.write_all(text.as_bytes())
}
