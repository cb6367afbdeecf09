//! Others, who allow what one person asks for.

use custody_ledger::{
    access::{Role, Scope},
    approval::{Answered, Approval, ApprovalState, Desk, End, Person, Verdict},
    bank::Banks,
    beneficiary::Beneficiaries,
    contract::Contracts,
    distribution::Distributions,
    ending::Endings,
    ids::CenterId,
    ledger::{Center, LedgerError, Posted, transaction},
    payment::Payments,
    proto::{self, ApproveRequest, ListApprovalsRequest, ListApprovalsResponse, approval::State},
    refund::Refunds,
    settlement::Settlements,
    transfer::Transfers,
    unmatched::UnmatchedSums,
};
use prost::Message;
use tonic::Status;

use crate::{whole_service::Hall, world::Process};

/// Whoever asks, as tests name them.
pub fn maker() -> Person {
    Person::named("terminal/T1")
}

/// A desk of a process that runs whatever may be asked for.
pub fn desk(process: &Process, refunds: &Refunds) -> Desk {
    let (lanes, custody) = (process.lanes.clone(), process.custody.clone());
    let unmatched = UnmatchedSums::new(lanes.clone(), custody.clone());
    let transfers = Transfers::new(lanes.clone(), custody.clone(), process.payers.clone());
    let distributions = Distributions::new(lanes.clone(), custody);
    let unmatched = unmatched.runners().map(|runner| transfers.following(runner));
    let runners = unmatched.into_iter().chain(refunds.runners());
    let endings = Endings::new(lanes.clone(), process.custody.clone(), process.payers.vault());
    let runners = runners
        .chain(distributions.runners())
        .chain(endings.runners())
        .chain([distributions.write_off_runner()])
        .chain(process.commissary.runners());
    let settlements = Settlements::new(lanes.clone());
    let beneficiaries = Beneficiaries::new(lanes.clone(), process.payers.clone());
    let vendors = [
        settlements.runner(),
        Contracts::new(lanes.clone()).runner(),
        Payments::new(
            lanes.clone(),
            (settlements.clone(), refunds.clone(), beneficiaries.clone()),
            Banks::default(),
        )
        .runner(),
        beneficiaries.runner(),
    ];
    Desk::new(lanes, runners.chain(vendors).chain(transfers.runners()))
}

/// Two others allow what was asked for.
pub async fn decided(desk: &Desk, center: &Center, approval: &Approval) -> Approval {
    let mut approval = approval.clone();
    for checker in ["finance/carol", "finance/dan"] {
        if approval.state(desk.now()) == ApprovalState::Pending {
            let person = Person::named(checker);
            let decided = desk.decide(center, approval.no, &person, Verdict::Approved, "seen".into());
            approval = decided.await.unwrap();
        }
    }
    approval
}

/// What an answer comes to when others allow what it needs.
pub async fn allowed(
    process: &Process,
    desk: &Desk,
    center: &Center,
    answered: Result<Answered, LedgerError>,
) -> Result<Posted, LedgerError> {
    let answered = answered?;
    let replayed = answered.replayed;
    if let Some(record) = answered.record {
        return Ok(Posted { record, replayed });
    }
    let approval = decided(desk, center, &answered.approval.unwrap()).await;
    match approval.end {
        Some((End::Executed(Some(seq)), _)) => {
            let found = transaction::get(&*process.database.read, center.no, seq).await?;
            let record = found.unwrap().record.into();
            Ok(Posted { record, replayed })
        }
        Some((End::Failed(refusal), _)) => Err(refusal.into()),
        other => panic!("{other:?}"),
    }
}

impl Hall {
    /// Somebody of the center.
    pub fn person(&self, subject: &str, role: Role) -> String {
        let scope = Scope {
            center: Some(CenterId::parse("C1").unwrap()),
            ..Scope::default()
        };
        self.service.token_of(subject, role, scope)
    }

    /// The approvals that others have still to decide.
    pub async fn open_approvals(&self) -> Vec<proto::Approval> {
        let list = ListApprovalsRequest {
            parent: "centers/C1".into(),
            open: true,
            ..ListApprovalsRequest::default()
        };
        let open: ListApprovalsResponse = self.ask("ApprovalService/ListApprovals", &list).await.unwrap();
        open.approvals
    }

    /// Allows an approval as one person.
    pub async fn approve(&self, approval: &str, subject: &str) -> Result<proto::Approval, Status> {
        let approve = ApproveRequest {
            name: approval.into(),
            reason: "seen".into(),
        };
        let token = self.person(subject, Role::Finance);
        self.ask_as("ApprovalService/Approve", &token, &approve).await
    }

    /// Two others allow whatever is asked for.
    pub async fn allow_all(&self) {
        for asked in self.open_approvals().await {
            let mut state = State::Pending;
            for subject in ["carol", "dan"] {
                if state == State::Pending {
                    state = self.approve(&asked.name, subject).await.unwrap().state();
                }
            }
            assert_eq!(state, State::Executed, "{asked:?}");
        }
    }

    /// Asks for what others have to allow, lets them, and asks again.
    pub async fn ask_allowed<R: Message + Default>(&self, method: &str, message: &impl Message) -> Result<R, Status> {
        self.ask::<R>(method, message).await?;
        self.allow_all().await;
        self.ask(method, message).await
    }
}
