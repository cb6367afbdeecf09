//! The steps about how stays end.
//!
//! ```text
//! dies     D1                      ok    or `escapes`, `caught`, under document Z-1
//! heir     H1  D1                  ok    with document Z-2
//! payout   N1  D1  release  40.00 10.00  ok    allowed by as many others as it needs; `heirs H1=40.00 H2=10.00`, `claim K1 50.00`
//! part     N1  1  paid             ok    by the bank; or `failed`, which names the money that waits: `part N1 2 failed U1 ok`
//! keep     K1  D1                  ok    what D1 has waits to be claimed
//! treasury T1  D1                  ok    of the accounts; `treasury T1 D1 K1` of what waits; under receipt S-1
//! writeoff A1  30.00               ok
//! merge    D2  D1                  ok
//! remind   3                             so many reminders are raised
//! waits    ESTATE  2                     so many items of a kind are open
//! nothing-lost                           every account of who is gone is at zero, or an open item says why not
//! ```

use std::{collections::BTreeMap, str::FromStr as _};

use custody_ledger::{
    custody::DetaineeState,
    distribution::NewWriteOff,
    ending::{Account, Deed, Named, NewHeir, NewPayout, Part, PartEnd, Purpose},
    ids::Seq,
    ledger::{LedgerError, Posted, Request},
    work::{ItemFilter, WorkKind, WorkQueue},
};
use uuid::Uuid;

use super::{
    Came, Scenario,
    reading::{expect, facts},
};
use crate::{
    others,
    world::{cny, id, request_with},
};

/// An account to pay to.
pub fn account(number: &str) -> Account {
    Account {
        holder: "Zhang San".into(),
        number: format!("622202020001123{number}"),
        bank_code: "102100099996".into(),
        bank_name: "ICBC".into(),
    }
}

fn words() -> (String, String) {
    ("Z-1".into(), "as the document says".into())
}

fn told(posted: &Result<Posted, LedgerError>) -> Came {
    match posted {
        Ok(posted) => Ok((facts(&posted.record), posted.replayed)),
        Err(error) => Err(error.clone()),
    }
}

fn request(actor: &str) -> Request {
    Request {
        actor: actor.into(),
        ..request_with(Uuid::new_v4(), "test/Ending", b"")
    }
}

impl Scenario {
    /// Takes a step if it is one of these.
    pub(super) async fn leaving_step(&mut self, words: &[&str], at: &str) -> bool {
        match words {
            [how @ ("dies" | "escapes" | "caught"), detainee, expected @ ..] => {
                let state = match *how {
                    "dies" => DetaineeState::Deceased,
                    "escapes" => DetaineeState::Escaped,
                    _ => DetaineeState::Active,
                };
                let (center, endings) = (&self.economy.world.center, &self.economy.house.endings);
                let changed =
                    endings.change_custody(center, request("finance/alice"), id(detainee), state, self::words());
                expect(&told(&changed.await), expected, at);
            }
            ["heir", heir, detainee, expected @ ..] => {
                let new = NewHeir {
                    id: (*heir).to_owned(),
                    person: Named {
                        name: format!("Heir {heir}"),
                        identity_number: format!("PASSPORT{heir}"),
                    },
                    relationship: "child".into(),
                    document: "Z-2".into(),
                };
                let (center, endings) = (&self.economy.world.center, &self.economy.house.endings);
                let added = endings.add_heir(center, &id(detainee), new, "finance/alice").await;
                expect(&added.map(|_| (BTreeMap::new(), false)), expected, at);
            }
            ["payout", name, detainee, purpose, rest @ ..] => self.pay_out(name, detainee, purpose, rest, at).await,
            ["part", payout, part, "paid", expected @ ..] => {
                let came = self.end_part(payout, part, PartEnd::Paid).await;
                expect(&told(&came), expected, at);
            }
            ["part", payout, part, "failed", name, expected @ ..] => {
                let came = self.end_part(payout, part, PartEnd::Failed).await;
                expect(&told(&came), expected, at);
                self.name(name, &came);
            }
            ["keep", name, detainee, expected @ ..] => {
                let detainee = id(detainee);
                self.propose(name, Deed::Keep { detainee }, expected, at).await;
            }
            ["treasury", name, detainee, rest @ ..] => {
                let sum = rest.first().and_then(|word| self.ended.get(*word).copied());
                let expected = &rest[usize::from(sum.is_some())..];
                let deed = Deed::Treasury {
                    detainee: id(detainee),
                    sum,
                    receipt: "S-1".into(),
                };
                self.propose(name, deed, expected, at).await;
            }
            ["merge", from, into, expected @ ..] => {
                let deed = Deed::Merge {
                    from: id(from),
                    into: id(into),
                };
                self.propose("", deed, expected, at).await;
            }
            ["writeoff", debt, amount, expected @ ..] => self.write_off(debt, amount, expected, at).await,
            ["remind", expected] => {
                let raised = self.economy.house.endings.remind(&self.economy.world.center, 100).await;
                assert_eq!(raised.unwrap().to_string(), *expected, "{at}");
            }
            ["waits", kind, expected] => {
                let kind = WorkKind::from_str_name(&format!("WORK_KIND_{kind}")).expect(kind);
                assert_eq!(self.open_items(kind).await.len().to_string(), *expected, "{at}");
            }
            ["nothing-lost"] => self.nothing_is_lost(at).await,
            _ => return false,
        }
        true
    }

    fn name(&mut self, name: &str, came: &Result<Posted, LedgerError>) {
        if let Ok(posted) = came {
            self.ended.insert(name.to_owned(), posted.seq());
        }
    }

    async fn pay_out(&mut self, name: &str, detainee: &str, purpose: &str, rest: &[&str], at: &str) {
        let (purpose, rest, unclaimed) = match purpose {
            "release" => (Purpose::Release, rest, None),
            "heirs" => (Purpose::Heirs, rest, None),
            _ => (Purpose::Claim, &rest[1..], Some(self.ended[rest[0]])),
        };
        let count = rest.iter().take_while(|word| word.contains('.')).count();
        let (told_parts, expected) = rest.split_at(count);
        let (center, endings) = (&self.economy.world.center, &self.economy.house.endings);
        let (mut parts, mut accounts) = (Vec::new(), Vec::new());
        for (number, part) in told_parts.iter().enumerate() {
            let (heir, amount) = part.split_once('=').unwrap_or(("", part));
            let account = account(&format!("{number:04}"));
            parts.push(Part {
                amount: cny(amount),
                payee: account.masked(),
                heir: heir.to_owned(),
                secret: endings.secrets().name(center, &account).unwrap(),
            });
            accounts.push(account);
        }
        let new = NewPayout {
            detainee: id(detainee),
            purpose,
            unclaimed,
            parts,
            document: "Z-3".into(),
            reason: "as the document says".into(),
        };
        let asked = endings.create_payout(center, request("terminal/T1"), others::maker(), new, accounts);
        let came = self.economy.allowed(asked.await).await;
        expect(&told(&came), expected, at);
        self.name(name, &came);
    }

    async fn end_part(&self, payout: &str, part: &str, end: PartEnd) -> Result<Posted, LedgerError> {
        let (center, endings) = (&self.economy.world.center, &self.economy.house.endings);
        let part = (self.ended[payout], i32::from_str(part).unwrap());
        endings
            .end_part(center, request("finance/bob"), part, end, "B1".into())
            .await
    }

    async fn propose(&mut self, name: &str, deed: Deed, expected: &[&str], at: &str) {
        let (center, endings) = (&self.economy.world.center, &self.economy.house.endings);
        let asked = endings
            .propose(center, request("terminal/T1"), others::maker(), deed, words())
            .await;
        let came = self.others_allow(asked).await;
        expect(&told(&came), expected, at);
        self.name(name, &came);
    }

    async fn others_allow(
        &self,
        asked: Result<(custody_ledger::approval::Approval, bool), LedgerError>,
    ) -> Result<Posted, LedgerError> {
        let (approval, replayed) = asked?;
        let answered = custody_ledger::approval::Answered {
            record: None,
            approval: Some(approval),
            replayed,
        };
        self.economy.allowed(Ok(answered)).await
    }

    async fn write_off(&mut self, debt: &str, amount: &str, expected: &[&str], at: &str) {
        let new = NewWriteOff {
            debt: self.seq(debt),
            amount: cny(amount),
            document: "Z-4".into(),
            reason: "gone".into(),
        };
        let (center, distributions) = (&self.economy.world.center, &self.economy.house.distributions);
        let asked = distributions.propose_write_off(center, request("terminal/T1"), others::maker(), new);
        let came = self.others_allow(asked.await).await;
        expect(&told(&came), expected, at);
    }

    async fn open_items(&self, kind: WorkKind) -> Vec<String> {
        let queue = WorkQueue::new(self.economy.world.process.lanes.clone());
        let filter = ItemFilter {
            open: true,
            kind: Some(kind),
            ..ItemFilter::default()
        };
        let items = queue.list(&self.economy.world.center, &filter, 100).await.unwrap();
        items.into_iter().map(|item| item.subject).collect()
    }

    async fn nothing_is_lost(&self, at: &str) {
        let (world, endings) = (&self.economy.world, &self.economy.house.endings);
        endings.remind(&world.center, 100).await.unwrap();
        let estates = self.open_items(WorkKind::Estate).await;
        let detainees = world
            .process
            .custody
            .list_detainees(&world.center, "", 100)
            .await
            .unwrap();
        for detainee in detainees.iter().filter(|detainee| detainee.state.is_gone()) {
            let balances = world
                .process
                .custody
                .balances(&world.center, &detainee.id)
                .await
                .unwrap();
            let all = [balances.available, balances.held, balances.savings, balances.withheld];
            let subject = format!("detainees/{}", detainee.id);
            let is_zero = all.iter().all(|amount| amount.is_zero());
            assert!(is_zero || estates.contains(&subject), "{at}: {subject} has {all:?}");
        }
        let waiting = self.open_items(WorkKind::UnclaimedSum).await;
        let sums = endings.sums(&world.center, None, None, 100).await.unwrap();
        for sum in sums {
            let subject = format!("unclaimedSums/{}", sum.seq);
            let waits = sum.state == custody_ledger::ending::SumState::Waiting;
            assert_eq!(waits, waiting.contains(&subject), "{at}: {sum:?}");
        }
    }
}

/// The number of a step that was not refused.
pub(super) type Ended = std::collections::HashMap<String, Seq>;
