//! The queue: what the service is asked for, from being written down to its outcome.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{
    answer::{self, Meaning, Refusal},
    flags::Resume,
    line::{Answer, Line},
    pace::Pace,
    printing,
    run::Till,
    store::{Entry, State},
    tell::{self, Ending},
};
use crate::proto::request_outcome;

/// How long to wait before the ledger is asked a second time whether it has never heard of a request: longer than any request is
/// under way in the service, in seconds.
const GIVE_UP_AFTER_S: u64 = 60;

/// What became of an entry.
#[derive(Debug)]
pub enum Fate {
    /// It is sold, and has a receipt.
    Sold { receipt: u64 },
    /// It is done, and has none.
    Done {
        outcome: &'static str,
        about: Value,
        sentence: String,
    },
    /// Nothing moved.
    Refused(Refusal),
    /// It is not known.
    Open { why: String, ending: Ending },
}

impl Till {
    /// Finishes what is open, and prints what has not been printed.
    pub async fn resume(&self, resume: &Resume) -> anyhow::Result<Ending> {
        let (_, line) = self.enrolled()?;
        let (ending, finished) = self.finish_open(&line, resume.give_up).await?;
        if ending == Ending::Done {
            let value = json!({ "outcome": "nothing_open", "finished": finished.len() });
            tell::tell(self.flags.json, &value, "Nothing is open.")?;
        }
        Ok(ending)
    }

    /// Prints what waits, then finishes what is open, oldest first. Returns what was finished.
    pub async fn finish_open(&self, line: &Line, give_up: bool) -> anyhow::Result<(Ending, Vec<Entry>)> {
        let (mut ending, mut finished) = (Ending::Done, Vec::new());
        for number in self.store.unprinted()? {
            printing::print(&self.store, number, &self.flags, json!({ "outcome": "printed" }))?;
            // Nobody may have seen yet that it was sold, and so it may be typed again.
            let request_id = self.store.receipt(number)?.slip.request_id.unwrap_or_default();
            finished.extend(self.store.by_request(&request_id)?);
        }
        for entry in self.store.open_entries()? {
            let mut fate = self.settle(line, &entry, false).await?;
            let ending_now = if let Fate::Open { ending, .. } = &fate {
                Some(*ending)
            } else {
                None
            };
            if give_up && ending_now == Some(Ending::Attention) {
                fate = self.give_up(line, &entry, fate).await?;
            }
            self.tell_fate(&entry, &fate)?;
            match fate {
                Fate::Open { ending: open, .. } => ending = ending.and(open),
                Fate::Sold { .. } | Fate::Done { .. } | Fate::Refused(_) => finished.push(entry),
            }
        }
        Ok((ending, finished))
    }

    /// Asks for an entry until its outcome is known or the time is over. `is_fresh`: it was written down just now by this process,
    /// so that it has never been sent.
    pub async fn settle(&self, line: &Line, entry: &Entry, is_fresh: bool) -> anyhow::Result<Fate> {
        let until = Instant::now() + self.flags.wait;
        let mut pace = Pace::new();
        let mut was_sent = !is_fresh;
        loop {
            let status = match line.send(entry).await? {
                Ok(answer) => return self.take(entry, answer),
                Err(status) => status,
            };
            let why = answer::read(&status);
            match answer::meaning(&status) {
                Meaning::Again(least) => {
                    let pause = pace.next(least);
                    if Instant::now() + pause >= until {
                        self.store.note(entry, &why)?;
                        return Ok(Fate::Open {
                            why,
                            ending: Ending::Open,
                        });
                    }
                    tokio::time::sleep(pause).await;
                }
                // Nothing of it was ever inside.
                Meaning::TurnedAway(refusal) if !was_sent => return self.refused(entry, refusal),
                Meaning::Refused(refusal) if !was_sent => return self.refused(entry, refusal),
                Meaning::Refused(refusal) => return self.ask_the_ledger(line, entry, why, Some(refusal)).await,
                Meaning::TurnedAway(_) | Meaning::Unclear => return self.ask_the_ledger(line, entry, why, None).await,
            }
            was_sent = true;
        }
    }

    fn refused(&self, entry: &Entry, refusal: Refusal) -> anyhow::Result<Fate> {
        self.store.refused(entry, &refusal)?;
        Ok(Fate::Refused(refusal))
    }

    /// What the ledger has recorded of an entry that was sent before and whose last answer may be about that sending only. What it
    /// has no record of was refused, if that was the answer, and stays open otherwise.
    async fn ask_the_ledger(
        &self,
        line: &Line,
        entry: &Entry,
        why: String,
        refusal: Option<Refusal>,
    ) -> anyhow::Result<Fate> {
        use request_outcome::State::{NotRecorded, Refused, Succeeded};
        let (identity, _) = self.enrolled()?;
        if let Ok(outcome) = line.outcome(&identity.center, &entry.request_id).await {
            match (outcome.state(), refusal) {
                (Succeeded, _) => {
                    if let Ok(answer) = line.made(entry, outcome.resource).await? {
                        return self.take(entry, answer);
                    }
                }
                (Refused, _) => return self.refused(entry, outcome.refusal.unwrap_or_default().into()),
                (NotRecorded, Some(refusal)) => return self.refused(entry, refusal),
                _ => {}
            }
        }
        self.store.note(entry, &why)?;
        let ending = Ending::Attention;
        Ok(Fate::Open { why, ending })
    }

    /// Ends an entry that the door turns away, if the ledger says twice, a minute apart, that it has never recorded it.
    async fn give_up(&self, line: &Line, entry: &Entry, fate: Fate) -> anyhow::Result<Fate> {
        let (identity, _) = self.enrolled()?;
        let Fate::Open { why, .. } = &fate else {
            return Ok(fate);
        };
        for pause_s in [0, GIVE_UP_AFTER_S] {
            tokio::time::sleep(Duration::from_secs(pause_s)).await;
            match line.outcome(&identity.center, &entry.request_id).await {
                Ok(outcome) if outcome.state() == request_outcome::State::NotRecorded => {}
                _ => return Ok(fate),
            }
        }
        let refusal = Refusal {
            reason: "GIVEN_UP".to_owned(),
            message: format!("never recorded, and given up after {why}"),
            facts: std::collections::BTreeMap::new(),
        };
        self.store.given_up(entry, &refusal)?;
        Ok(Fate::Refused(refusal))
    }

    /// Writes the outcome down.
    fn take(&self, entry: &Entry, answer: Answer) -> anyhow::Result<Fate> {
        match answer {
            Answer::Purchase(purchase) => self.sold(entry, purchase),
            Answer::Allowance(allowance) => self.allowance_told(entry, &allowance),
        }
    }

    /// Tells what became of an entry, and prints its receipt.
    pub fn tell_fate(&self, entry: &Entry, fate: &Fate) -> anyhow::Result<Ending> {
        let mut value = json!({ "request_id": entry.request_id });
        match fate {
            Fate::Sold { receipt } => {
                value["outcome"] = json!("sold");
                printing::print(&self.store, *receipt, &self.flags, value)?;
                Ok(Ending::Done)
            }
            Fate::Done {
                outcome,
                about,
                sentence,
            } => {
                value["outcome"] = json!(outcome);
                value["about"] = about.clone();
                tell::tell(self.flags.json, &value, sentence)?;
                Ok(Ending::Done)
            }
            Fate::Refused(refusal) => {
                value["outcome"] = json!("refused");
                value["refusal"] = tell::refusal(refusal);
                let sentence = format!("Refused 未成交: {}: {}", refusal.reason, refusal.message);
                tell::tell(self.flags.json, &value, &sentence)?;
                Ok(Ending::Refused)
            }
            Fate::Open { why, ending } => {
                value["outcome"] = json!("open");
                value["why"] = json!(why);
                value["attention"] = json!(*ending == Ending::Attention);
                let sentence = format!(
                    "Not known yet 结果未知: {why}\nIt is in the queue under {}. Hand nothing out; `resume` goes on.",
                    entry.request_id
                );
                tell::tell(self.flags.json, &value, &sentence)?;
                Ok(*ending)
            }
        }
    }

    /// Tells a script that asks again under the same id what it was told before; the receipt is a copy.
    pub fn tell_again(&self, entry: &Entry) -> anyhow::Result<Ending> {
        match &entry.state {
            State::Done { receipt, .. } => match receipt {
                Some(receipt) => self.tell_fate(entry, &Fate::Sold { receipt: *receipt }),
                None => {
                    let (outcome, about) = ("done", json!(null));
                    let sentence = "That was done before.".to_owned();
                    self.tell_fate(
                        entry,
                        &Fate::Done {
                            outcome,
                            about,
                            sentence,
                        },
                    )
                }
            },
            State::Refused(refusal) | State::GivenUp(refusal) => self.tell_fate(entry, &Fate::Refused(refusal.clone())),
            State::Open { why } => {
                let (why, ending) = (why.clone(), Ending::Open);
                self.tell_fate(entry, &Fate::Open { why, ending })
            }
        }
    }
}

/// The exit code of a sale of which everything is told already.
pub fn how_it_ended(entry: &Entry) -> Ending {
    match &entry.state {
        State::Done { .. } => Ending::Done,
        State::Refused(_) | State::GivenUp(_) => Ending::Refused,
        State::Open { .. } => Ending::Open,
    }
}
