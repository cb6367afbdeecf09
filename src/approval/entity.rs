//! Where an approval stands, pure.

use rust_decimal::Decimal;
use time::OffsetDateTime;

use crate::{
    access::Actor,
    ids::{RequestId, Seq},
    ledger::{LedgerError, Refusal},
    money::Amount,
    proto::ApprovalFacts,
};

/// From how much on three people are needed, in whole units of the center's currency.
const THREE_PEOPLE_FROM: Decimal = Decimal::from_parts(5000, 0, 0, false, 0);
/// From how much on a payout needs two people, in whole units of the center's currency.
const TWO_PEOPLE_FROM: Decimal = Decimal::from_parts(500, 0, 0, false, 0);

/// Whether a payout is one that a single person may not make.
pub fn is_large_payout(amount: Amount) -> bool {
    amount.value() >= TWO_PEOPLE_FROM
}

/// A command that was stored and cannot be read is a broken invariant.
pub fn unreadable(error: impl std::fmt::Display) -> LedgerError {
    tracing::error!(%error, "what was allowed cannot be read");
    LedgerError::Internal
}

/// Somebody who asks or decides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Person {
    /// Who it is whatever the role: the subject of the token, in lower case.
    pub id: String,
    /// As the journal names them: role and subject.
    pub actor: String,
}

impl Person {
    /// Whoever has the token.
    pub fn of(actor: &Actor) -> Person {
        Person {
            id: actor.subject.to_ascii_lowercase(),
            actor: actor.name(),
        }
    }

    /// Whoever the journal names.
    pub fn named(actor: &str) -> Person {
        Person {
            id: person_of(actor),
            actor: actor.to_owned(),
        }
    }
}

/// Who a name of the journal is, in whatever role: its subject, in lower case.
pub fn person_of(actor: &str) -> String {
    let subject = actor.split_once('/').map_or(actor, |(_, subject)| subject);
    subject.to_ascii_lowercase()
}

/// Whether two names of the journal are one person's, in whatever role.
pub fn is_one_person(one: &str, other: &str) -> bool {
    person_of(one) == person_of(other)
}

/// Which way somebody decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Allowed.
    Approved,
    /// Refused.
    Refused,
}

impl Verdict {
    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Approved => "APPROVED",
            Verdict::Refused => "REFUSED",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<Verdict> {
        [Verdict::Approved, Verdict::Refused]
            .into_iter()
            .find(|verdict| verdict.name() == name)
    }
}

/// What one person decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Who.
    pub person: Person,
    /// Which way.
    pub verdict: Verdict,
    /// Why.
    pub reason: String,
    /// When.
    pub at: OffsetDateTime,
}

/// How an approval ended.
#[derive(Debug, Clone, PartialEq)]
pub enum End {
    /// It ran; the transaction, if it made one.
    Executed(Option<Seq>),
    /// It could not be done any more.
    Failed(Refusal),
    /// Somebody refused it.
    Refused,
    /// Nobody decided in time.
    Expired,
}

impl End {
    /// As it is stored.
    pub const fn name(&self) -> &'static str {
        match self {
            End::Executed(_) => "EXECUTED",
            End::Failed(_) => "FAILED",
            End::Refused => "REFUSED",
            End::Expired => "EXPIRED",
        }
    }
}

/// Where an approval stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApprovalState {
    /// Somebody has still to decide.
    Pending,
    /// Everybody needed has allowed it.
    Approved,
    /// It ran.
    Executed,
    /// It could not be done any more.
    Failed,
    /// Refused.
    Refused,
    /// Not decided in time.
    Expired,
}

/// Something one person asked for and others have to allow.
#[derive(Debug, Clone, PartialEq)]
pub struct Approval {
    /// Its number in the center.
    pub no: i64,
    /// The request for it.
    pub request_id: RequestId,
    /// What kind of thing.
    pub kind: String,
    /// What it is about, relative to the center.
    pub subject: String,
    /// The command that will run.
    pub command: Vec<u8>,
    /// The same for people.
    pub summary: String,
    /// How much it moves.
    pub amount: Option<Amount>,
    /// How many people have to allow it.
    pub checkers_needed: i16,
    /// Who asked.
    pub maker: Person,
    /// Why.
    pub reason: String,
    /// When.
    pub created_at: OffsetDateTime,
    /// Until when it can be decided.
    pub expires_at: OffsetDateTime,
    /// Who decided, in the order of time.
    pub decisions: Vec<Decision>,
    /// How and when it ended.
    pub end: Option<(End, OffsetDateTime)>,
}

impl Approval {
    /// Whether everybody needed has allowed it, and nobody refused.
    pub fn is_approved(&self) -> bool {
        let count = |verdict| self.decisions.iter().filter(|told| told.verdict == verdict).count();
        let needed = usize::try_from(self.checkers_needed).unwrap_or(usize::MAX);
        count(Verdict::Refused) == 0 && count(Verdict::Approved) >= needed
    }

    /// Where it stands. What is over its time counts as expired also before that is written down.
    pub fn state(&self, now: OffsetDateTime) -> ApprovalState {
        match &self.end {
            Some((End::Executed(_), _)) => ApprovalState::Executed,
            Some((End::Failed(_), _)) => ApprovalState::Failed,
            Some((End::Refused, _)) => ApprovalState::Refused,
            Some((End::Expired, _)) => ApprovalState::Expired,
            None if self.is_approved() => ApprovalState::Approved,
            None if now >= self.expires_at => ApprovalState::Expired,
            None => ApprovalState::Pending,
        }
    }

    /// What a person decided, if they did.
    pub fn decision_of(&self, person: &Person) -> Option<&Decision> {
        self.decisions.iter().find(|decision| decision.person.id == person.id)
    }

    /// The request id under which it runs: the same each time.
    pub fn run_id(&self) -> RequestId {
        RequestId::derived(&["approval", &self.no.to_string(), &self.request_id.to_string()])
    }

    /// What a record says of it.
    pub fn facts(&self) -> ApprovalFacts {
        ApprovalFacts {
            approval: self.no,
            maker: self.maker.actor.clone(),
            checkers: self
                .decisions
                .iter()
                .map(|decision| decision.person.actor.clone())
                .collect(),
            reason: self.reason.clone(),
        }
    }
}

/// How many people beside whoever asks have to allow it.
pub(super) fn checkers_needed(amount: Option<Amount>) -> i16 {
    if amount.is_some_and(|amount| amount.value() >= THREE_PEOPLE_FROM) {
        2
    } else {
        1
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;
    use uuid::Uuid;

    use super::*;
    use crate::money::Currency;

    fn cny(text: &str) -> Amount {
        Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap()
    }

    fn person(id: &str) -> Person {
        Person {
            id: id.into(),
            actor: format!("finance/{id}"),
        }
    }

    fn asked(amount: &str) -> Approval {
        let at = OffsetDateTime::UNIX_EPOCH;
        Approval {
            no: 1,
            request_id: RequestId(Uuid::from_u128(7)),
            kind: "test.run".into(),
            subject: "transactions/1".into(),
            command: Vec::new(),
            summary: String::new(),
            amount: Some(cny(amount)),
            checkers_needed: checkers_needed(Some(cny(amount))),
            maker: person("alice"),
            reason: String::new(),
            created_at: at,
            expires_at: at + Duration::hours(72),
            decisions: Vec::new(),
            end: None,
        }
    }

    fn decide(approval: &mut Approval, id: &str, verdict: Verdict) {
        approval.decisions.push(Decision {
            person: person(id),
            verdict,
            reason: String::new(),
            at: approval.created_at,
        });
    }

    #[test]
    fn a_person_is_known_in_every_role() {
        assert!(is_one_person("finance/alice", "finance/alice") && is_one_person("finance/alice", "admin/Alice"));
        assert!(!is_one_person("finance/alice", "finance/alice2") && !is_one_person("finance/alice", "alice/finance"));
    }

    #[test]
    fn from_five_thousand_it_takes_three() {
        assert_eq!(checkers_needed(None), 1);
        assert_eq!(checkers_needed(Some(cny("4999.99"))), 1);
        assert_eq!(checkers_needed(Some(cny("5000.00"))), 2);
        let mut approval = asked("5000.00");
        let now = approval.created_at;
        decide(&mut approval, "bob", Verdict::Approved);
        assert_eq!(approval.state(now), ApprovalState::Pending);
        decide(&mut approval, "carol", Verdict::Approved);
        assert_eq!(approval.state(now), ApprovalState::Approved);
    }

    #[test]
    fn what_was_allowed_in_time_does_not_expire() {
        let mut approval = asked("10.00");
        let late = approval.expires_at;
        assert_eq!(approval.state(late - Duration::MICROSECOND), ApprovalState::Pending);
        assert_eq!(approval.state(late), ApprovalState::Expired);
        decide(&mut approval, "bob", Verdict::Approved);
        assert_eq!(approval.state(late), ApprovalState::Approved);
        approval.end = Some((End::Executed(Some(Seq(9))), late));
        assert_eq!(approval.state(late), ApprovalState::Executed);
    }

    #[test]
    fn one_refusal_is_enough() {
        let mut approval = asked("9000.00");
        for (id, verdict) in [
            ("bob", Verdict::Approved),
            ("carol", Verdict::Refused),
            ("dan", Verdict::Approved),
        ] {
            decide(&mut approval, id, verdict);
        }
        assert!(!approval.is_approved());
    }

    #[test]
    fn the_run_is_one_of_a_kind() {
        let (first, mut other) = (asked("1"), asked("1"));
        assert!(first.run_id().may_be_derived());
        assert_eq!(first.run_id(), other.run_id());
        other.no = 2;
        assert_ne!(first.run_id(), other.run_id());
    }
}
