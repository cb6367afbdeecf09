//! The person in front of the terminal: signed in with card and PIN, for as long as the session holds.

use anyhow::Context as _;
use secrecy::ExposeSecret as _;
use serde_json::json;

use super::{
    flags::{PinFrom, SignIn, Whose},
    pin,
    run::Till,
    sell::id_of,
    store::Session,
    tell::{self, Ending},
};
use crate::proto;

impl Till {
    /// Signs somebody in. Whoever was signed in before is not any more.
    pub async fn sign_in(&self, sign_in: &SignIn) -> anyhow::Result<Ending> {
        let (_, line) = self.enrolled()?;
        let [pin] = pin::read(&sign_in.from, ["PIN 密码"])?;
        let message = proto::SignInRequest {
            card_number: sign_in.card.clone(),
            pin: pin.expose_secret().to_owned(),
        };
        self.leave(&line).await?;
        match line.sign_in(message).await {
            Ok(session) => self.begin(&session),
            Err(status) => self.not_told(&status),
        }
    }

    /// Sets another PIN.
    pub async fn change_pin(&self, from: &PinFrom) -> anyhow::Result<Ending> {
        let (_, line) = self.enrolled()?;
        let [pin, new_pin] = pin::read(from, ["PIN 原密码", "new PIN 新密码"])?;
        let message = proto::ChangePinRequest {
            pin: pin.expose_secret().to_owned(),
            new_pin: new_pin.expose_secret().to_owned(),
        };
        match line.change_pin(message).await {
            Ok(session) => self.begin(&session),
            Err(status) => self.not_told(&status),
        }
    }

    /// Ends the session, here and at the service.
    pub async fn sign_out(&self) -> anyhow::Result<Ending> {
        let (_, line) = self.enrolled()?;
        self.leave(&line).await?;
        tell::tell(
            self.flags.json,
            &json!({ "outcome": "signed_out" }),
            "Signed out 已退出.",
        )?;
        Ok(Ending::Done)
    }

    /// Whose money it is about: who is told, or else who is signed in.
    pub fn detainee(&self, whose: &Whose) -> anyhow::Result<String> {
        if let Some(detainee) = &whose.detainee {
            return Ok(detainee.to_string());
        }
        let session = self
            .store
            .session()?
            .context("nobody is signed in; tell --detainee, or `sign-in` first")?;
        Ok(session.detainee)
    }

    /// What cannot be ended at the service ends there by itself.
    async fn leave(&self, line: &super::line::Line) -> anyhow::Result<()> {
        if self.store.session()?.is_some() {
            let _ = line.sign_out().await;
            self.store.set_session(None)?;
        }
        Ok(())
    }

    fn begin(&self, told: &proto::Session) -> anyhow::Result<Ending> {
        let session = Session {
            token: told.token.clone(),
            detainee: id_of(&told.detainee).to_owned(),
        };
        self.store.set_session(Some(&session))?;
        let until = self.ledger_time(told.expire_time.as_ref())?;
        let value = json!({
            "outcome": "signed_in", "detainee": session.detainee, "until": until, "must_change_pin": told.must_change_pin,
        });
        let first = if told.must_change_pin {
            " The PIN is temporary: `change-pin` first 请先修改密码."
        } else {
            ""
        };
        let sentence = format!("{} is signed in until {until}.{first}", session.detainee);
        tell::tell(self.flags.json, &value, &sentence)?;
        Ok(Ending::Done)
    }
}
