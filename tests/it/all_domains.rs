//! All domains over one world, with the simulated gateway beside them, and a calendar of its own.

use std::sync::Arc;

use custody_ledger::{
    approval::{Answered, Desk, Person, Verdict},
    bank::{Banks, CenterBank, Iso20022Channel, Pain001, Party},
    beneficiary::Beneficiaries,
    clock::Clock,
    contract::Contracts,
    distribution::Distributions,
    ending::Endings,
    gateway::{
        Channels, Gate, PaymentMethod,
        simulator::{
            Simulator, SimulatorConfig, SimulatorControl,
            control::{NotifyOptions, PayOptions, RefundAnswer},
        },
        webhook::{WebhookChannel, WebhookConfig},
    },
    ids::{PayerId, RemittanceId, Seq, VendorId},
    ledger::{LedgerError, Posted, Request, balance, proof},
    money::Amount,
    payment::Payments,
    refund::{NewRefund, Refund, Refunds, refund_number},
    remittance::{Learnt, NewRemittance, Paid, Remittance, Remittances, order_number},
    settlement::Settlements,
};
use secrecy::SecretString;
use time::{Date, OffsetDateTime, macros::time};
use uuid::Uuid;

use crate::{
    others,
    world::{self, Process, World, cny, id, request_with},
};

/// A world in which P1 may remit to D1, D2 and D3.
pub struct Economy {
    pub world: World,
    pub control: SimulatorControl,
    pub house: House,
    /// Who remits.
    pub payer: String,
    channels: Channels,
    _simulator: Simulator,
}

/// The domains of one day.
pub struct House {
    pub desk: Desk,
    pub remittances: Remittances,
    pub distributions: Distributions,
    pub refunds: Refunds,
    pub endings: Endings,
    pub settlements: Settlements,
    pub contracts: Contracts,
    pub payments: Payments,
}

/// The center's account at its bank.
pub const DEBTOR: &str = "6222020000000000001";

pub fn banks() -> Banks {
    let debtor = Party {
        holder: "C1".into(),
        number: DEBTOR.into(),
        bank_code: "102100099996".into(),
        bank_name: String::new(),
    };
    let channel = Arc::new(Iso20022Channel::new(Pain001::V09, "CNAPS"));
    Banks::new([("C1".to_owned(), CenterBank { debtor, channel })])
}

/// Somebody of finance.
pub fn person(id: &str) -> Person {
    Person {
        id: id.into(),
        actor: format!("finance/{id}"),
    }
}

/// Ten in the morning in Shanghai.
fn morning(date: Date) -> OffsetDateTime {
    date.with_time(time!(02:00)).assume_utc()
}

impl House {
    pub fn over(process: &Process, channels: &Channels) -> House {
        let (lanes, custody) = (process.lanes.clone(), process.custody.clone());
        let refunds = Refunds::new(lanes.clone(), custody.clone(), channels.clone());
        let (settlements, contracts) = (Settlements::new(lanes.clone()), Contracts::new(lanes.clone()));
        House {
            desk: others::desk(process, &refunds),
            endings: Endings::new(lanes.clone(), custody.clone(), process.payers.vault()),
            payments: Payments::new(
                lanes.clone(),
                (
                    settlements.clone(),
                    refunds.clone(),
                    Beneficiaries::new(lanes.clone(), process.payers.clone()),
                ),
                banks(),
            ),
            settlements,
            contracts,
            remittances: Remittances::new(lanes.clone(), custody.clone(), channels.clone()),
            distributions: Distributions::new(lanes, custody),
            refunds,
        }
    }
}

impl Economy {
    /// In the morning of a date.
    pub async fn on(date: Date) -> Economy {
        let world = World::build_with(Clock::starting_at(morning(date)), 4096).await;
        let secret = SecretString::from("shared");
        let config = SimulatorConfig::new(([127, 0, 0, 1], 0).into(), secret.clone());
        let simulator = Simulator::start(config, Clock::system()).await.unwrap();
        let config = WebhookConfig {
            id: "webhook".into(),
            base_url: simulator.base_url(),
            secret,
        };
        // Nobody listens there: what the gateway says is asked for.
        let channels = Channels::new([Gate::new(
            Arc::new(WebhookChannel::try_new(config, Clock::system()).unwrap()),
            "http://127.0.0.1:9/",
        )]);
        let house = House::over(&world.process, &channels);
        world::register_payer(&world.process, &world.center, "P1", &["D1", "D2", "D3"]).await;
        Economy {
            control: SimulatorControl::try_new(simulator.base_url()).unwrap(),
            house,
            payer: "P1".into(),
            channels,
            _simulator: simulator,
            world,
        }
    }

    /// The gateways there are.
    pub fn channels(&self) -> &Channels {
        &self.channels
    }

    /// The same domains in another process.
    pub fn beside(other: &Economy) -> House {
        let process = Process::over(&other.world.db.url, other.world.process.lanes.clock().clone(), 4096);
        House::over(&process, &other.channels)
    }

    /// Goes to bed and gets up in the morning of a later date.
    pub fn move_to(&mut self, date: Date) {
        self.world.process = Process::over(&self.world.db.url, Clock::starting_at(morning(date)), 4096);
        self.house = House::over(&self.world.process, &self.channels);
    }

    /// What is asked for when P1 orders a remittance.
    pub fn asked(&self, request: Uuid, detainee: &str, amount: &str) -> NewRemittance {
        let body = format!("{detainee} {amount}");
        let method = "custody.v1.RemittanceService/CreateRemittance";
        NewRemittance {
            request: request_with(request, method, body.as_bytes()),
            payer: PayerId::parse(&self.payer).unwrap(),
            detainee: id(detainee),
            amount: cny(amount),
            channel: None,
            method: PaymentMethod::Link,
        }
    }

    /// Orders a remittance of P1.
    pub async fn order(&self, request: Uuid, detainee: &str, amount: &str) -> Result<(Remittance, bool), LedgerError> {
        let new = self.asked(request, detainee, amount);
        self.house.remittances.create(&self.world.center, new).await
    }

    /// Pays an order at the gateway, and asks what became of it.
    pub async fn pay(&self, remittance: &RemittanceId) -> Remittance {
        let options = PayOptions {
            lose: true,
            late: true,
            ..PayOptions::default()
        };
        let number = order_number(self.world.center.no, remittance);
        self.control.pay(&number, &options).await.unwrap();
        // As if nobody had asked of late.
        let mut conn = self.world.process.database.lane.acquire().await.unwrap();
        sqlx::query("update remittance_question set free_at = '2000-01-01'")
            .execute(&mut *conn)
            .await
            .unwrap();
        drop(conn);
        let asked = self.house.remittances.refresh(&self.world.center, remittance).await;
        asked.unwrap()
    }

    /// Pays an order that is closed, and tells it at once, as a notification would.
    pub async fn pay_late(&self, remittance: &RemittanceId) -> Remittance {
        let number = order_number(self.world.center.no, remittance);
        let late = PayOptions {
            lose: true,
            late: true,
            ..PayOptions::default()
        };
        let paid = self.control.pay(&number, &late).await.unwrap();
        let found = self.house.remittances.remittance(&self.world.center, remittance).await;
        let told = Paid {
            order_number: number,
            gateway_transaction: paid.gateway_transaction,
            amount: found.unwrap().amount,
            paid_at: self.world.process.lanes.clock().now(),
        };
        let taken = self
            .house
            .remittances
            .confirm("webhook", &told, Learnt::ByNotification)
            .await;
        taken.unwrap().unwrap()
    }

    /// Asks once more what became of a remittance: what is in suspense is credited, if it can be.
    pub async fn look_again(&self, remittance: &RemittanceId) -> Remittance {
        let asked = self.house.remittances.refresh(&self.world.center, remittance).await;
        asked.unwrap()
    }

    pub async fn refund(&self, request: Uuid, remittance: &str, amount: &str) -> Result<Posted, LedgerError> {
        let request = request_with(request, "test/Refund", format!("{remittance} {amount}").as_bytes());
        let remittance = RemittanceId::parse(remittance).unwrap();
        let refunds = &self.house.refunds;
        let new = NewRefund::of(remittance, cny(amount), "wrong person").consented("C-1");
        let answered = refunds
            .request_refund(&self.world.center, request, others::maker(), new)
            .await;
        self.allowed(answered).await
    }

    /// What an answer comes to when others allow what it needs.
    pub async fn allowed(&self, answered: Result<Answered, LedgerError>) -> Result<Posted, LedgerError> {
        others::allowed(&self.world.process, &self.house.desk, &self.world.center, answered).await
    }

    /// Gives a refund its outcome at the gateway, and asks for it.
    pub async fn end_refund(&self, refund: Seq, failed: bool) -> Refund {
        let answer = RefundAnswer {
            failed: failed.then(|| "account closed".to_owned()),
            abnormal: false,
            notify: NotifyOptions {
                lose: true,
                ..NotifyOptions::default()
            },
        };
        let number = refund_number(self.world.center.no, refund);
        self.control.answer_refund(&number, &answer).await.unwrap();
        self.house.refunds.refresh(&self.world.center, refund).await.unwrap()
    }

    /// Closes V1's settlement through a date.
    pub async fn close(&self, request: Uuid, date: Date) -> Result<Posted, LedgerError> {
        let request = request_with(request, "test/Close", date.to_string().as_bytes());
        let vendor = VendorId::parse("V1").unwrap();
        self.house
            .settlements
            .close(&self.world.center, request, vendor, date)
            .await
    }

    /// Two people allow that a settlement is paid, if it still can be; three from 5,000.00.
    pub async fn allow(&self, settlement: Seq) {
        let (center, house) = (&self.world.center, &self.house);
        let request = request_with(Uuid::new_v4(), "test/Propose", settlement.to_string().as_bytes());
        let asked = house
            .settlements
            .propose(center, request, person("alice"), settlement, "reviewed".into());
        let Ok((approval, _)) = asked.await else { return };
        for checker in ["bob", "carol"]
            .iter()
            .take(usize::try_from(approval.checkers_needed).unwrap())
        {
            let person = person(checker);
            let decided = house
                .desk
                .decide(center, approval.no, &person, Verdict::Approved, "ok".into());
            decided.await.unwrap();
        }
    }

    /// The bank has paid a settlement, or could not.
    pub async fn end_settlement(&self, settlement: Seq, failed: bool) -> Result<Posted, LedgerError> {
        let (center, settlements) = (&self.world.center, &self.house.settlements);
        self.allow(settlement).await;
        if failed {
            let request = request_with(Uuid::new_v4(), "test/FailSettlement", b"");
            settlements.fail(center, request, settlement, "closed".into()).await
        } else {
            // By somebody else than who closed and proposed it.
            let request = Request {
                actor: "finance/erin".into(),
                ..request_with(Uuid::new_v4(), "test/ConfirmSettlement", b"")
            };
            settlements.confirm(center, request, settlement, "B1".into()).await
        }
    }

    pub async fn release(&self, request: Uuid, detainee: &str) -> Result<Posted, LedgerError> {
        let request = request_with(request, "test/Release", detainee.as_bytes());
        let refunds = &self.house.refunds;
        let answered = refunds
            .request_release(
                &self.world.center,
                request,
                others::maker(),
                id(detainee),
                "cash desk".into(),
            )
            .await;
        self.allowed(answered).await
    }

    /// The bank has paid a release payout, or could not.
    pub async fn end_release(&self, release: Seq, failed: bool) -> Result<Posted, LedgerError> {
        let (center, refunds) = (&self.world.center, &self.house.refunds);
        if failed {
            let request = request_with(Uuid::new_v4(), "test/FailRelease", b"");
            refunds.fail_release(center, request, release, "closed".into()).await
        } else {
            // By somebody else than who created it.
            let request = Request {
                actor: "finance/bob".into(),
                ..request_with(Uuid::new_v4(), "test/ConfirmRelease", b"")
            };
            refunds.confirm_release(center, request, release, "B1".into()).await
        }
    }

    /// What is owed to V1, and what is in transit to it.
    pub async fn vendor(&self) -> [Amount; 2] {
        let (center, process) = (&self.world.center, &self.world.process);
        let vendor = VendorId::parse("V1").unwrap();
        let vendor = process.commissary.vendor(center, &vendor).await.unwrap();
        let accounts = [vendor.payable_no, vendor.transit_no];
        let (balances, _) = balance::now(&*process.database.read, center, &accounts).await.unwrap();
        [balances[0], balances[1]]
    }

    /// The balance of all accounts of a code.
    pub async fn total(&self, code: i16) -> String {
        let mut conn = self.world.process.database.read.acquire().await.unwrap();
        let proof = proof::prove(&mut conn, &self.world.center, balance::AsOf::Now)
            .await
            .unwrap();
        assert!(proof.holds());
        let term = proof.terms.iter().find(|term| term.code.number() == code);
        term.map_or_else(|| "0.00".to_owned(), |term| term.sum.to_string())
    }
}
