//! Detainees who move between two centers, each with a process of its own.
//!
//! # Layout
//! - `everything`: what moves with them, and what comes of it there. `late`: money that comes too late, or goes back.
//! - `crowd`: many moves at once, under load, and sums that never change. `over_the_wire`: the same by gRPC, and what is refused.
//! - `spent`: what counts against limits, and what keeps somebody where they are.
//! - `cuts`: power cuts and a database that goes away.

mod crowd;
mod cuts;
mod everything;
mod late;
mod over_the_wire;
mod spent;

use custody_ledger::{
    approval::{Approval, Desk, End, Person, Verdict},
    custody::DetaineeState,
    distribution::{Distributions, NewDebt},
    ids::{DetaineeId, Seq},
    ledger::{Center, LedgerError, Posted, balance, chart, transaction},
    proto::JournalRecord,
    refund::Refunds,
    transfer::{NewTransfer, NewWithholding, Proposal, TransferRow, Transfers},
    verification,
};
use rust_decimal::Decimal;
use time::{Date, Duration};
use uuid::Uuid;

use crate::{
    all_domains::{Economy, person},
    others,
    world::{self, Process, cny, id, request, request_with},
};

/// Two centers: C1 with the gateway, in one process, and C2 in another.
pub struct Road {
    pub economy: Economy,
    pub far: Process,
    pub c2: Center,
}

impl Road {
    pub async fn on(date: Date) -> Road {
        let economy = Economy::on(date).await;
        let c2 = world::new_center(&economy.world.process, "C2").await;
        let far = economy.world.another_process();
        Road { economy, far, c2 }
    }

    pub fn c1(&self) -> &Center {
        &self.economy.world.center
    }

    pub fn near(&self) -> &Process {
        &self.economy.world.process
    }

    /// The process that a center's callers use.
    pub fn process(&self, center: &Center) -> &Process {
        if center.no == self.c2.no {
            &self.far
        } else {
            self.near()
        }
    }

    pub fn desk(&self, center: &Center) -> Desk {
        desk(self.process(center), &self.economy)
    }

    /// Somebody of the center asks for a move to the other.
    pub async fn propose(
        &self,
        (from, detainee): (&Center, &str),
        (to, number): (&Center, &str),
    ) -> Result<Proposal, LedgerError> {
        propose(self.process(from), (from, detainee), (to, number), Uuid::new_v4()).await
    }

    /// Allows an approval as one person.
    pub async fn allow(&self, center: &Center, approval: &Approval, who: &str) -> Approval {
        let (desk, person) = (self.desk(center), person(who));
        let decided = desk.decide(center, approval.no, &person, Verdict::Approved, "seen".into());
        decided.await.unwrap()
    }

    /// A whole move: asked for, allowed in both centers, done. The receiving side.
    pub async fn transfer(&self, from: (&Center, &str), to: (&Center, &str)) -> TransferRow {
        let done = self.try_transfer(from, to).await;
        done.unwrap_or_else(|error| panic!("{error:?}"))
    }

    /// The same, which may be refused at any step.
    pub async fn try_transfer(&self, from: (&Center, &str), to: (&Center, &str)) -> Result<TransferRow, LedgerError> {
        let proposal = self.propose(from, to).await?;
        let sent = self.allow(from.0, &proposal.sent, "bob").await;
        if let Some((End::Failed(refusal), _)) = sent.end {
            return Err(refusal.into());
        }
        let open = self
            .desk(to.0)
            .approvals()
            .open_about(to.0, &format!("detainees/{}", to.1))
            .await?;
        let received = self.allow(to.0, &open.unwrap(), "carol").await;
        match received.end {
            Some((End::Executed(Some(seq)), _)) => transfers(self.process(to.0)).transfer(to.0, seq).await,
            Some((End::Failed(refusal), _)) => Err(refusal.into()),
            other => panic!("{other:?}"),
        }
    }

    /// Available, held, savings and withheld.
    pub async fn balances(&self, center: &Center, detainee: &str) -> [String; 4] {
        let found = self.near().custody.balances(center, &id(detainee)).await.unwrap();
        [found.available, found.held, found.savings, found.withheld].map(|amount| amount.to_string())
    }

    pub async fn state(&self, center: &Center, detainee: &str) -> DetaineeState {
        self.near().custody.detainee(center, &id(detainee)).await.unwrap().state
    }

    /// What a center is owed by others; below zero when it owes them.
    pub async fn clearing(&self, center: &Center) -> Decimal {
        clearing(self.near(), center).await
    }

    /// Both journals hold, and what the centers owe each other is nothing.
    pub async fn verified(&self) {
        verified(self.near(), &[self.c1(), &self.c2]).await;
    }

    pub async fn record(&self, center: &Center, seq: Seq) -> JournalRecord {
        let found = transaction::get(&*self.near().database.read, center.no, seq)
            .await
            .unwrap();
        found.unwrap().record
    }

    /// Withholds a sum for thirty days, by two people.
    pub async fn withhold(&self, center: &Center, detainee: &str, amount: &str, order: &str) -> Posted {
        let process = self.process(center);
        let new = NewWithholding {
            detainee: id(detainee),
            document: order.into(),
            amount: cny(amount),
            until: process.lanes.clock().now() + Duration::days(30),
        };
        let asking = (person("alice"), "ordered".to_owned());
        let body = format!("{detainee} {amount} {order}");
        let asked = transfers(process)
            .withhold(center, request("test/Withhold", body.as_bytes()), asking, new)
            .await;
        others::allowed(process, &self.desk(center), center, asked)
            .await
            .unwrap()
    }

    /// A detainee owes; an advance is allowed by another.
    pub async fn owe(&self, detainee: &str, amount: &str, is_advance: bool) {
        let new = NewDebt {
            detainee: id(detainee),
            is_advance,
            document: format!("debt of {amount}"),
            amount: cny(amount),
            is_consented: true,
        };
        let (center, process) = (self.c1(), self.near());
        let distributions = &self.economy.house.distributions;
        let request = request("test/Debt", format!("{detainee} {amount}").as_bytes());
        let answered = distributions.create_debt(center, request, person("alice"), new).await;
        others::allowed(process, &self.desk(center), center, answered)
            .await
            .unwrap();
    }
}

pub fn desk(process: &Process, economy: &Economy) -> Desk {
    let channels = economy.channels().clone();
    let refunds = Refunds::new(process.lanes.clone(), process.custody.clone(), channels);
    others::desk(process, &refunds)
}

pub fn transfers(process: &Process) -> Transfers {
    Transfers::new(process.lanes.clone(), process.custody.clone(), process.payers.clone())
}

pub fn distributions(process: &Process) -> Distributions {
    Distributions::new(process.lanes.clone(), process.custody.clone())
}

pub async fn propose(
    process: &Process,
    (from, detainee): (&Center, &str),
    (to, number): (&Center, &str),
    request_id: Uuid,
) -> Result<Proposal, LedgerError> {
    let new = NewTransfer {
        detainee: id(detainee),
        to: to.clone(),
        to_detainee: DetaineeId::parse(number).unwrap(),
        document: format!("order for {number}"),
        tier: None,
    };
    let body = format!("{detainee} {} {number}", to.id);
    let asking: (Person, String) = (person("alice"), "nearer to the court".into());
    let request = request_with(request_id, "test/Propose", body.as_bytes());
    transfers(process).propose(from, request, asking, new).await
}

pub async fn clearing(process: &Process, center: &Center) -> Decimal {
    let found = balance::now(&*process.database.read, center, &[chart::INTER_CENTER]).await;
    found.unwrap().0[0].value()
}

pub async fn verified(process: &Process, centers: &[&Center]) {
    let mut sum = Decimal::ZERO;
    for center in centers {
        let verified = verification::verify_snapshot(&process.database, center).await;
        assert!(verified.unwrap_or_else(|error| panic!("{error}")).proof.holds());
        sum += clearing(process, center).await;
    }
    assert_eq!(sum, Decimal::ZERO);
}
