//! The platform's certificates: listed for the merchant, and replaced on command.

use std::sync::{PoisonError, atomic::Ordering};

use axum::{Json, extract::State};
use time::{Duration, OffsetDateTime};
use uuid::Uuid;

use super::{
    WechatPay,
    api::{Shared, Told},
    keys::PlatformCertificate,
    letter::seconds,
};
use crate::gateway::{
    simulator::{book::Refusal, control::CertificatesTold},
    wechat_pay::wire::{ALGORITHM, CertificateBody, CertificatesBody, SealedBody},
};

/// What a certificate's text is sealed with beside the key.
const ASSOCIATED_DATA: &str = "certificate";

/// Those that have not expired, each sealed for the merchant.
pub(super) async fn list(State(gateway): Shared) -> Result<Json<CertificatesBody>, Told> {
    let side = gateway.wechat_pay()?;
    side.certificates_fetched.fetch_add(1, Ordering::Relaxed);
    let valid = side.valid_certificates(gateway.clock.now());
    let data: Result<_, Refusal> = valid.iter().map(|certificate| side.sealed(certificate)).collect();
    Ok(Json(CertificatesBody { data: data? }))
}

impl WechatPay {
    fn valid_certificates(&self, now: OffsetDateTime) -> Vec<PlatformCertificate> {
        let certificates = self
            .platform
            .certificates
            .read()
            .unwrap_or_else(PoisonError::into_inner);
        let valid = certificates.iter().filter(|certificate| now < certificate.expires_at);
        valid.cloned().collect()
    }

    fn sealed(&self, certificate: &PlatformCertificate) -> Result<CertificateBody, Refusal> {
        // 12 characters.
        let nonce = Uuid::new_v4().simple().to_string()[..12].to_owned();
        let text = certificate.text.as_bytes();
        let ciphertext = self.platform.api_v3_key.seal(&nonce, ASSOCIATED_DATA, text);
        Ok(CertificateBody {
            serial_no: certificate.serial.clone(),
            effective_time: seconds(certificate.begins_at),
            expire_time: seconds(certificate.expires_at),
            encrypt_certificate: SealedBody {
                original_type: None,
                algorithm: ALGORITHM.to_owned(),
                ciphertext: ciphertext.ok_or_else(|| Refusal::Invalid("it cannot be sealed".to_owned()))?,
                associated_data: ASSOCIATED_DATA.to_owned(),
                nonce,
            },
        })
    }

    /// What people are told of them.
    pub(in super::super) fn tell_certificates(&self, now: OffsetDateTime) -> CertificatesTold {
        let valid = self.valid_certificates(now);
        CertificatesTold {
            serials: valid.iter().map(|certificate| certificate.serial.clone()).collect(),
            fetched: self.certificates_fetched.load(Ordering::Relaxed),
        }
    }

    /// From now on a new one signs; the old ones are valid for `overlap` at the longest.
    pub(in super::super) fn rotate_certificate(&self, overlap: Duration, now: OffsetDateTime) -> Result<(), Refusal> {
        let new = PlatformCertificate::generate(now).map_err(|error| Refusal::Invalid(error.to_string()))?;
        let mut certificates = self
            .platform
            .certificates
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        for old in certificates.iter_mut() {
            old.expires_at = old.expires_at.min(now + overlap);
        }
        certificates.push(new);
        Ok(())
    }
}
