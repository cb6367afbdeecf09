//! Sales without the network are brought in, and their allowances ended.

use std::time::Instant;

use prost::Message as _;
use serde_json::json;
use tonic::Status;
use uuid::Uuid;

use super::store::{Sale, SaleOutcome};
use crate::{
    proto::{EndAllowanceRequest, OfflineSaleOutcome, OfflineSaleState as State, UploadOfflineSalesRequest},
    till::{
        answer::{self, Meaning},
        line::Line,
        pace::Pace,
        queue::Fate,
        run::Till,
        store::Call,
        tell::{self, Ending},
    },
};

/// The most sales of one stream; what is left comes in the next.
const STREAM_MAX: usize = 500;
/// How often what is missing is sent again before people have to look.
const ROUNDS_MAX: u32 = 10;

impl Till {
    /// Brings in what has not been. A stream that breaks is sent again from the first sale without an answer.
    pub async fn upload(&self) -> anyhow::Result<Ending> {
        let (identity, line) = self.enrolled()?;
        let terminal = format!("centers/{}/terminals/{}", identity.center, identity.terminal);
        let until = Instant::now() + self.flags.wait;
        let (mut pace, mut ending, mut rounds) = (Pace::new(), Ending::Done, 0);
        loop {
            let mut sales = self.store.unsent()?;
            sales.truncate(STREAM_MAX);
            if sales.is_empty() {
                break;
            }
            match self.stream(&line, &terminal, &sales, &mut ending).await? {
                // Some wait for others, which were marked to be sent, too.
                Ok(true) => rounds += 1,
                Ok(false) => rounds = 0,
                Err(status) => match answer::meaning(&status) {
                    Meaning::Again(least) => {
                        let pause = pace.next(least);
                        if Instant::now() + pause >= until {
                            return self.not_in(&status, Ending::Open);
                        }
                        tokio::time::sleep(pause).await;
                    }
                    _ => return self.not_in(&status, Ending::Attention),
                },
            }
            if rounds >= ROUNDS_MAX {
                // The numbers before them are not in this store; `offline list` shows which wait.
                return Ok(Ending::Attention);
            }
        }
        let value = json!({ "outcome": "all_brought_in" });
        tell::tell(self.flags.json, &value, "Every sale has been brought in.")?;
        Ok(ending)
    }

    /// Sends sales in one stream, and keeps each answer as it comes. Returns whether some wait for others.
    async fn stream(
        &self,
        line: &Line,
        terminal: &str,
        sales: &[Sale],
        ending: &mut Ending,
    ) -> anyhow::Result<Result<bool, Status>> {
        let mut messages = Vec::with_capacity(sales.len());
        for sale in sales {
            messages.push(UploadOfflineSalesRequest {
                terminal: terminal.to_owned(),
                statement: hex::decode(&sale.statement)?,
                signature: hex::decode(&sale.signature)?,
            });
        }
        let mut answers = match line.upload(messages).await {
            Ok(answers) => answers,
            Err(status) => return Ok(Err(status)),
        };
        let mut waits = false;
        for sale in sales {
            // Each is the terminal's chance to see that nothing comes any more.
            let next = match tokio::time::timeout(self.flags.answer, answers.message()).await {
                Ok(Ok(Some(outcome))) => outcome,
                Ok(Ok(None)) => return Ok(Err(Status::unavailable("the stream ended before its last answer"))),
                Ok(Err(status)) => return Ok(Err(status)),
                Err(_) => return Ok(Err(Status::unavailable("no answer in time"))),
            };
            if hex::encode(&next.hash) != sale.hash {
                anyhow::bail!("sale {} was answered as another, {}", sale.number, next.number);
            }
            waits |= next.state() == State::Waiting;
            *ending = ending.and(self.keep(sale, &next)?);
        }
        Ok(Ok(waits))
    }

    /// Keeps and tells what became of a sale.
    fn keep(&self, sale: &Sale, told: &OfflineSaleOutcome) -> anyhow::Result<Ending> {
        let name = told.state().as_str_name();
        let outcome = SaleOutcome {
            state: name.strip_prefix("OFFLINE_SALE_STATE_").unwrap_or(name).to_owned(),
            reason: told.reason.clone(),
            message: told.message.clone(),
            transaction: told.transaction.clone(),
            flags: told.flags.clone(),
        };
        let is_final = told.state() != State::Waiting;
        let value = json!({
            "outcome": "brought_in", "number": sale.number, "hash": sale.hash, "total": sale.total, "about": outcome,
        });
        let sentence = format!(
            "sale {} of {}: {} {} {}",
            sale.number, sale.total, outcome.state, outcome.reason, outcome.message
        );
        self.store.set_outcome(sale, outcome, is_final)?;
        for missing in &told.missing {
            self.store.send_again(missing.first, missing.last)?;
        }
        tell::tell(self.flags.json, &value, sentence.trim_end())?;
        let is_refused = told.state() == State::Refused;
        Ok(if is_refused { Ending::Attention } else { Ending::Done })
    }

    fn not_in(&self, status: &Status, ending: Ending) -> anyhow::Result<Ending> {
        let (why, left) = (answer::read(status), self.store.unsent()?.len());
        let value = json!({ "outcome": "open", "why": why, "left": left, "attention": ending == Ending::Attention });
        let sentence = format!("{left} sales have not been brought in: {why}\n`offline upload` goes on.");
        tell::tell(self.flags.json, &value, &sentence)?;
        Ok(ending)
    }

    /// Brings in what has not been, and ends every allowance.
    pub async fn end_allowances(&self) -> anyhow::Result<Ending> {
        let (identity, line) = self.enrolled()?;
        let mut ending = self.upload().await?;
        if matches!(ending, Ending::Open | Ending::Attention) {
            return Ok(ending);
        }
        let (open, _) = self.finish_open(&line, false).await?;
        if open != Ending::Done {
            return Ok(open);
        }
        let last_number = self.store.last_link()?.number;
        for allowance in self.store.allowances()?.iter().filter(|allowance| !allowance.is_ended) {
            let request_id = Uuid::now_v7().to_string();
            let message = EndAllowanceRequest {
                name: format!("centers/{}/allowances/{}", identity.center, allowance.number),
                last_number,
                request_id: request_id.clone(),
            };
            let now = self.now()?;
            let entry = self.store.ask(Call::End, &request_id, &message.encode_to_vec(), &now)?;
            let fate = self.settle(&line, &entry, true).await?;
            if matches!(&fate, Fate::Refused(refusal) if refusal.reason == "ALLOWANCE_ENDED") {
                // Its time was over, and the service has ended it by itself.
                self.store.allowance_is_over(allowance)?;
                continue;
            }
            ending = ending.and(self.tell_fate(&entry, &fate)?);
        }
        Ok(ending)
    }

    /// Shows allowances and sales.
    pub fn list_offline(&self) -> anyhow::Result<Ending> {
        for allowance in self.store.allowances()? {
            let state = if allowance.is_ended { "ended" } else { "open" };
            let sentence = format!(
                "allowance {:>6}  {}  {} {}, {} left, {state}",
                allowance.number, allowance.detainee, allowance.currency, allowance.amount, allowance.left
            );
            tell::tell(self.flags.json, &json!({ "allowance": allowance }), &sentence)?;
        }
        for sale in self.store.sales()? {
            let state = sale.outcome.as_ref().map_or("not brought in", |outcome| &outcome.state);
            let sentence = format!("sale {:>6}  {}  {}  {state}", sale.number, sale.detainee, sale.total);
            tell::tell(self.flags.json, &json!({ "sale": sale }), &sentence)?;
        }
        Ok(Ending::Done)
    }
}
