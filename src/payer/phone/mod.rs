//! Phones: told, verified by a one-time code, or confirmed by staff.

pub(super) mod store;

use secrecy::SecretString;
use time::OffsetDateTime;

use super::{
    Payer, Payers, broken,
    entity::{CODE_PAUSE, CODE_TTL, CODES_MAX, CODES_SPAN, Phone, PhoneCode, TRIES_MAX},
    error::PayerRefusal as R,
    found,
    identity::PhoneNumber,
    locked,
    store::{self as payers, By},
    vault::Vault,
};
use crate::{
    db::Conn,
    ids::PayerId,
    ledger::{Center, LedgerError},
};

/// That a code was sent.
#[derive(Debug, Clone, Copy)]
pub struct CodeSent {
    /// Until when it is good.
    pub expires_at: OffsetDateTime,
    /// When another can be asked for.
    pub next_at: OffsetDateTime,
}

impl Payers {
    /// Tells another phone, which then is to be verified. The same as now is answered with what is there.
    pub async fn change_phone(
        &self,
        center: &Center,
        id: &PayerId,
        number: PhoneNumber,
        actor: &str,
    ) -> Result<Payer, LedgerError> {
        let by = By {
            actor,
            at: self.clock.now(),
        };
        let mut tx = self.database.lane.begin().await?;
        let payer = locked(&mut tx, center, id).await?;
        payer.require_active()?;
        if payer.phone.as_ref().is_none_or(|phone| phone.number != number) {
            let position = payer.phone.as_ref().map_or(1, |phone| phone.position.saturating_add(1));
            store::insert_phone(&mut tx, center.no, id, (&number, position), by).await?;
        }
        let payer = payers::payer(&mut tx, center.no, id).await?;
        tx.commit().await?;
        found(payer, id)
    }

    /// Sends a new code to a payer's phone. What was sent before is good no more.
    ///
    /// The code is kept before it is sent: whatever becomes of the sending, another one is not sent within the pause.
    pub async fn request_code(&self, center: &Center, id: &PayerId) -> Result<CodeSent, LedgerError> {
        let now = self.clock.now();
        let mut tx = self.database.lane.begin().await?;
        let payer = locked(&mut tx, center, id).await?;
        let phone = phone_to_verify(&payer)?;
        let sms = self.sms.as_ref().ok_or(R::NoSender)?;
        let last = store::last_code(&mut tx, center.no, id).await?;
        if let Some(last) = &last {
            wait_for(now, last.created_at + CODE_PAUSE)?;
        }
        if let Some(at) = store::nth_last_code_at(&mut tx, center.no, id, CODES_MAX).await? {
            wait_for(now, at + CODES_SPAN)?;
        }
        let code = Vault::new_code().map_err(|error| broken(&error))?;
        let code_no = last.map_or(1, |last| last.code_no.saturating_add(1));
        let hashed = self.vault.code_hash(&code, center.id.as_str(), id.as_str(), code_no);
        let kept = PhoneCode {
            code_no,
            position: phone.position,
            hashed: hashed.map_err(|error| broken(&error))?,
            created_at: now,
            expires_at: now + CODE_TTL,
            tries: 0,
            is_used: false,
        };
        store::insert_code(&mut tx, center.no, id, &kept).await?;
        tx.commit().await?;
        if let Err(error) = sms.send(&phone.number, &code, CODE_TTL.whole_minutes()).await {
            tracing::warn!(center = %center.id, payer = %id, %error, "a code was not sent");
            let problem = error.to_string();
            return Err(R::CodeNotSent { problem }.into());
        }
        Ok(CodeSent {
            expires_at: kept.expires_at,
            next_at: now + CODE_PAUSE,
        })
    }

    /// Verifies a payer's phone by the last code. Every try is kept, so that there are five of them, whoever tries.
    pub async fn verify_phone(
        &self,
        center: &Center,
        id: &PayerId,
        code: &SecretString,
        actor: &str,
    ) -> Result<Payer, LedgerError> {
        let by = By {
            actor,
            at: self.clock.now(),
        };
        let mut tx = self.database.lane.begin().await?;
        let payer = locked(&mut tx, center, id).await?;
        let last = store::last_code(&mut tx, center.no, id).await?;
        let is_it = |sent: &PhoneCode| {
            self.vault
                .is_code(&sent.hashed, code, center.id.as_str(), id.as_str(), sent.code_no)
        };
        if let (Some(phone), Some(sent)) = (&payer.phone, &last)
            && phone.verified_at.is_some()
            && payer.revoked.is_none()
            && sent.is_used
            && sent.position == phone.position
            && is_it(sent)
        {
            // The same call again: its answer was lost.
            return Ok(payer);
        }
        let phone = phone_to_verify(&payer)?;
        let sent = last.filter(|sent| sent.is_good(&phone, by.at)).ok_or(R::CodeExpired)?;
        let (is_right, tries) = (is_it(&sent), sent.tries.saturating_add(1));
        store::insert_try(&mut tx, center.no, id, (sent.code_no, tries), is_right, by).await?;
        if is_right {
            verified(&mut tx, center, id, &phone, store::How::Code(sent.code_no), by).await?;
        }
        let payer = payers::payer(&mut tx, center.no, id).await?;
        tx.commit().await?;
        if is_right {
            found(payer, id)
        } else {
            let tries_left = TRIES_MAX.saturating_sub(tries);
            Err(R::CodeWrong { tries_left }.into())
        }
    }

    /// Confirms a payer's phone as staff, who say how. One that is verified is answered with what is there.
    pub async fn confirm_phone(
        &self,
        center: &Center,
        id: &PayerId,
        document: &str,
        actor: &str,
    ) -> Result<Payer, LedgerError> {
        let by = By {
            actor,
            at: self.clock.now(),
        };
        let mut tx = self.database.lane.begin().await?;
        let payer = locked(&mut tx, center, id).await?;
        payer.require_active()?;
        let is_verified = |phone: &Phone| phone.verified_at.is_some();
        if !payer.phone.as_ref().is_some_and(is_verified) {
            let phone = phone_to_verify(&payer)?;
            verified(&mut tx, center, id, &phone, store::How::Document(document), by).await?;
        }
        let payer = payers::payer(&mut tx, center.no, id).await?;
        tx.commit().await?;
        found(payer, id)
    }
}

async fn verified(
    tx: &mut Conn,
    center: &Center,
    id: &PayerId,
    phone: &Phone,
    how: store::How<'_>,
    by: By<'_>,
) -> Result<(), LedgerError> {
    Ok(store::insert_verification(tx, center.no, id, phone.position, how, by).await?)
}

/// The phone that is still to be verified.
fn phone_to_verify(payer: &Payer) -> Result<Phone, R> {
    payer.require_active()?;
    let phone = payer.phone.clone().filter(|phone| phone.verified_at.is_none());
    phone.ok_or_else(|| R::NoPhone {
        payer: payer.id.clone(),
    })
}

fn wait_for(now: OffsetDateTime, retry_at: OffsetDateTime) -> Result<(), R> {
    if now < retry_at {
        Err(R::CodeTooSoon { retry_at })
    } else {
        Ok(())
    }
}
