//! How a terminal comes in: with a one-time code, for which its own key gets a certificate, or with a token.

use std::{fs, io, path::Path};

use anyhow::{Context as _, bail};
use rcgen::{CertificateParams, KeyPair, PKCS_ED25519};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tonic::{Request, transport::Endpoint};

use super::{
    flags::Enrol,
    line::{AUTHORITY, CERTIFICATE, KEY, Line, TOKEN},
    run::Till,
    store::Identity,
    tell::{self, Ending},
};
use crate::proto::{EnrolTerminalRequest, terminal_service_client::TerminalServiceClient};

impl Till {
    /// Tells the terminal who it is. A directory keeps its place for ever: its queue and its numbers are that place's.
    pub async fn enrol(&mut self, enrol: &Enrol) -> anyhow::Result<Ending> {
        let identity = Identity {
            server: enrol.server.clone(),
            terminal_server: enrol.terminal_server.clone(),
            center: enrol.center.to_string(),
            terminal: enrol.terminal.to_string(),
            time_zone: enrol.time_zone.to_string(),
        };
        if let Some(before) = self.store.identity()?
            && (&before.center, &before.terminal) != (&identity.center, &identity.terminal)
        {
            let (terminal, center) = (before.terminal, before.center);
            bail!("this directory is that of terminal {terminal} of {center}; take another one");
        }
        if let Some(code) = &enrol.code
            && let Some(ending) = self.exchange(enrol, code).await?
        {
            return Ok(ending);
        }
        if let Some(path) = &enrol.token_file {
            self.home.write(TOKEN, read_token(path)?.trim())?;
        }
        Line::to(&identity, &self.home, self.flags.answer)?;
        self.store.set_identity(&identity)?;
        self.identify()?;
        let value = json!({ "outcome": "enrolled", "center": identity.center, "terminal": identity.terminal });
        let sentence = format!("This is terminal {} of {} now.", identity.terminal, identity.center);
        tell::tell(self.flags.json, &value, &sentence)?;
        Ok(Ending::Done)
    }

    /// Exchanges the code for a certificate. Returns how it ended if there is none.
    async fn exchange(&self, enrol: &Enrol, code: &str) -> anyhow::Result<Option<Ending>> {
        // The key is kept before it is shown: when the answer is lost, the same code is good for the same key again.
        let key = match self.home.find(KEY)? {
            Some(key) => KeyPair::from_pem(&key).context("the terminal's key")?,
            None => {
                let key = KeyPair::generate_for(&PKCS_ED25519)?;
                self.home.write(KEY, &key.serialize_pem())?;
                key
            }
        };
        let message = EnrolTerminalRequest {
            name: format!("centers/{}/terminals/{}", enrol.center, enrol.terminal),
            code: code.to_owned(),
            certificate_request: CertificateParams::default().serialize_request(&key)?.pem()?,
        };
        let endpoint = Endpoint::from_shared(enrol.server.clone()).context("the service's URL")?;
        let channel = endpoint.connect_timeout(self.flags.answer).connect_lazy();
        let mut request = Request::new(message);
        request.set_timeout(self.flags.answer);
        let enrolment = match TerminalServiceClient::new(channel).enrol_terminal(request).await {
            Ok(answer) => answer.into_inner(),
            Err(status) => return self.not_told(&status).map(Some),
        };
        let authority = pem::parse(&enrolment.authority_certificate).context("the authority's certificate")?;
        let sha256 = hex::encode(Sha256::digest(authority.contents()));
        if let Some(expected) = &enrol.authority
            && !expected.trim().eq_ignore_ascii_case(&sha256)
        {
            bail!(
                "the service has the authority {sha256}, which is not the one that was expected: it may be another service"
            );
        }
        self.home.write(AUTHORITY, &enrolment.authority_certificate)?;
        self.home.write(CERTIFICATE, &enrolment.certificate)?;
        Ok(None)
    }
}

fn read_token(path: &Path) -> anyhow::Result<String> {
    let token = if path.as_os_str() == "-" {
        io::read_to_string(io::stdin())
    } else {
        fs::read_to_string(path)
    };
    token.with_context(|| format!("--token-file {}", path.display()))
}
