//! Payers, their phones and accounts, and the way of a link, pure.

use time::{Duration, OffsetDateTime};

use super::{
    error::PayerRefusal as R,
    identity::PhoneNumber,
    vault::{Hashed, Sealed},
};
use crate::ids::{DetaineeId, PayerId};

/// The most payment accounts a payer has at a time.
pub const ACCOUNTS_MAX: usize = 2;
/// How often a code may be tried.
pub const TRIES_MAX: i32 = 5;
/// How long a code is good.
pub const CODE_TTL: Duration = Duration::minutes(10);
/// The pause between two codes.
pub const CODE_PAUSE: Duration = Duration::minutes(1);
/// The most codes in [`CODES_SPAN`]: with five tries each, a guess succeeds less than once in ten thousand such spans.
pub const CODES_MAX: i64 = 10;
/// The time in which at most [`CODES_MAX`] codes are sent.
pub const CODES_SPAN: Duration = Duration::hours(24);
/// The most links that a payer has asked for, whatever became of them.
pub const LINKS_MAX: i64 = 20;
/// The most states of one link, so that asking again and again comes to an end.
pub const LEGS_MAX: i32 = 30;

/// Somebody who remits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Payer {
    /// Their id.
    pub id: PayerId,
    /// Their name.
    pub name: String,
    /// Since when.
    pub created_at: OffsetDateTime,
    /// Who registered them.
    pub registered_by: String,
    /// Their identity document, if it is known.
    pub identity: Option<Sealed>,
    /// Their phone, if it is known.
    pub phone: Option<Phone>,
    /// Their payment accounts, those that were removed too.
    pub accounts: Vec<PaymentAccount>,
    /// That their registration has ended.
    pub revoked: Option<Revocation>,
}

/// A payer's phone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Phone {
    /// The number.
    pub number: PhoneNumber,
    /// Its place among those the payer told, from 1.
    pub position: i32,
    /// When it was verified.
    pub verified_at: Option<OffsetDateTime>,
}

/// An account that a payer pays from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentAccount {
    /// 1 or 2.
    pub slot: i32,
    /// Which of those in its slot, from 1.
    pub turn: i32,
    /// The gateway channel; empty for any.
    pub channel: String,
    /// As the channel names it.
    pub account: String,
    /// Since when.
    pub added_at: OffsetDateTime,
    /// Whether it was removed.
    pub is_removed: bool,
}

/// The end of a registration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revocation {
    /// When.
    pub at: OffsetDateTime,
    /// By whom.
    pub actor: String,
    /// Why.
    pub reason: String,
}

impl Payer {
    /// What is missing before they may remit: `identity`, `phone` or both.
    pub fn missing(&self) -> Vec<&'static str> {
        let is_verified = self.phone.as_ref().is_some_and(|phone| phone.verified_at.is_some());
        missing(self.identity.is_some(), is_verified)
    }

    /// The accounts they have, by slot.
    pub fn active_accounts(&self) -> impl Iterator<Item = &PaymentAccount> {
        self.accounts.iter().filter(|account| !account.is_removed)
    }

    /// An account they have.
    pub fn active_account(&self, channel: &str, account: &str) -> Option<&PaymentAccount> {
        self.active_accounts()
            .find(|active| active.channel == channel && active.account == account)
    }

    /// Refuses whatever is new once the registration has ended.
    pub(super) fn require_active(&self) -> Result<(), R> {
        match &self.revoked {
            Some(_) => Err(R::Revoked { payer: self.id.clone() }),
            None => Ok(()),
        }
    }

    /// Where a further account goes: a free slot, and its turn there.
    pub(super) fn free_slot(&self) -> Option<(i32, i32)> {
        (1..).take(ACCOUNTS_MAX).find_map(|slot| {
            let in_slot = || self.accounts.iter().filter(|account| account.slot == slot);
            let is_free = in_slot().all(|account| account.is_removed);
            is_free.then(|| (slot, in_slot().map(|account| account.turn).max().unwrap_or(0) + 1))
        })
    }
}

fn missing(has_identity: bool, is_phone_verified: bool) -> Vec<&'static str> {
    [("identity", has_identity), ("phone", is_phone_verified)]
        .into_iter()
        .filter_map(|(what, is_there)| (!is_there).then_some(what))
        .collect()
}

/// What a payer may do for a detainee, as read in one statement.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    pub(super) is_revoked: bool,
    pub(super) has_identity: bool,
    pub(super) is_phone_verified: bool,
    pub(super) is_link_approved: bool,
}

impl Standing {
    /// Whether the payer may see the detainee: by an approved link, and a registration that has not ended.
    pub fn is_linked(self) -> bool {
        self.is_link_approved && !self.is_revoked
    }

    /// Refuses a payer who may not remit to anybody.
    ///
    /// # Errors
    /// PAYER_REVOKED, PAYER_NOT_VERIFIED.
    pub fn require_payer(self, payer: &PayerId) -> Result<(), R> {
        if self.is_revoked {
            return Err(R::Revoked { payer: payer.clone() });
        }
        let missing = missing(self.has_identity, self.is_phone_verified);
        if missing.is_empty() {
            Ok(())
        } else {
            Err(R::NotVerified {
                payer: payer.clone(),
                missing: missing.join(","),
            })
        }
    }

    /// Refuses a payer whose link to the detainee is not approved.
    ///
    /// # Errors
    /// PAYER_NOT_LINKED.
    pub fn require_link(self, payer: &PayerId, detainee: &DetaineeId) -> Result<(), R> {
        if self.is_link_approved {
            Ok(())
        } else {
            Err(R::NotLinked {
                payer: payer.clone(),
                detainee: detainee.clone(),
            })
        }
    }
}

/// A one-time code that was sent.
pub(super) struct PhoneCode {
    pub code_no: i32,
    /// The place of the phone it was sent to.
    pub position: i32,
    pub hashed: Hashed,
    pub created_at: OffsetDateTime,
    pub expires_at: OffsetDateTime,
    /// How often it was tried.
    pub tries: i32,
    pub is_used: bool,
}

impl PhoneCode {
    /// Whether it can still be tried for a phone.
    pub fn is_good(&self, phone: &Phone, now: OffsetDateTime) -> bool {
        let is_fresh = now < self.expires_at && self.tries < TRIES_MAX && !self.is_used;
        is_fresh && self.position == phone.position
    }
}

/// Where a link stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkState {
    /// Asked for.
    Requested,
    /// Approved by somebody else than who asked.
    Approved,
    /// Made by staff in one step.
    Granted,
    /// Rejected.
    Rejected,
    /// Revoked, or withdrawn.
    Revoked,
}

impl LinkState {
    const ALL: [LinkState; 5] = [
        LinkState::Requested,
        LinkState::Approved,
        LinkState::Granted,
        LinkState::Rejected,
        LinkState::Revoked,
    ];

    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            LinkState::Requested => "REQUESTED",
            LinkState::Approved => "APPROVED",
            LinkState::Granted => "GRANTED",
            LinkState::Rejected => "REJECTED",
            LinkState::Revoked => "REVOKED",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<LinkState> {
        LinkState::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether a link may go from a state, or from nothing, to this one.
    pub fn may_follow(self, from: Option<LinkState>) -> bool {
        use LinkState::*;
        match self {
            Granted => from.is_none(),
            Requested => matches!(from, None | Some(Rejected | Revoked)),
            Approved | Rejected => from == Some(Requested),
            Revoked => matches!(from, Some(Requested | Approved | Granted)),
        }
    }

    /// Whether it lets the payer remit and see the detainee.
    pub fn is_approved(self) -> bool {
        matches!(self, LinkState::Approved | LinkState::Granted)
    }
}

/// What a payer is to a detainee.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Relationship {
    /// Not told.
    NotTold,
    /// Husband or wife.
    Spouse,
    /// Father or mother.
    Parent,
    /// Son or daughter.
    Child,
    /// Brother or sister.
    Sibling,
    /// Any other relative.
    OtherRelative,
    /// Guardian.
    Guardian,
    /// Lawyer.
    Lawyer,
    /// Friend.
    Friend,
}

impl Relationship {
    const ALL: [Relationship; 9] = [
        Relationship::NotTold,
        Relationship::Spouse,
        Relationship::Parent,
        Relationship::Child,
        Relationship::Sibling,
        Relationship::OtherRelative,
        Relationship::Guardian,
        Relationship::Lawyer,
        Relationship::Friend,
    ];

    /// As it is stored.
    pub const fn name(self) -> &'static str {
        match self {
            Relationship::NotTold => "NOT_TOLD",
            Relationship::Spouse => "SPOUSE",
            Relationship::Parent => "PARENT",
            Relationship::Child => "CHILD",
            Relationship::Sibling => "SIBLING",
            Relationship::OtherRelative => "OTHER_RELATIVE",
            Relationship::Guardian => "GUARDIAN",
            Relationship::Lawyer => "LAWYER",
            Relationship::Friend => "FRIEND",
        }
    }

    /// Reads what is stored.
    pub fn from_name(name: &str) -> Option<Relationship> {
        Relationship::ALL.into_iter().find(|told| told.name() == name)
    }
}

/// One state of a link's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkLeg {
    /// The state reached.
    pub state: LinkState,
    /// When.
    pub at: OffsetDateTime,
    /// By whom.
    pub actor: String,
    /// Why.
    pub reason: String,
    /// What the payer is to the detainee; of `Requested` and `Granted`.
    pub relationship: Option<Relationship>,
}

/// A payer's link to a detainee, with its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayerLink {
    /// Who remits.
    pub payer: PayerId,
    /// To whom.
    pub detainee: DetaineeId,
    /// Since when it is asked for.
    pub created_at: OffsetDateTime,
    /// Every state it went through, oldest first.
    pub legs: Vec<LinkLeg>,
}

impl PayerLink {
    /// Where it stands; nowhere before its first leg is written.
    pub fn state(&self) -> Option<LinkState> {
        self.legs.last().map(|leg| leg.state)
    }

    /// What the payer is to the detainee, as last told.
    pub fn relationship(&self) -> Relationship {
        let told = self.legs.iter().rev().find_map(|leg| leg.relationship);
        told.unwrap_or(Relationship::NotTold)
    }

    /// Whether a leg may be added.
    ///
    /// # Errors
    /// LINK_STATE, MAKER_IS_CHECKER, TOO_MANY_LINKS.
    pub(super) fn require(&self, leg: &LinkLeg) -> Result<(), R> {
        if !leg.state.may_follow(self.state()) {
            return Err(R::LinkState {
                payer: self.payer.clone(),
                detainee: self.detainee.clone(),
                state: self.state().map_or("NONE", LinkState::name),
            });
        }
        let asked = self.legs.last().map(|last| last.actor.as_str()).unwrap_or_default();
        if matches!(leg.state, LinkState::Approved | LinkState::Rejected) && is_same_person(asked, &leg.actor) {
            return Err(R::MakerIsChecker {
                actor: leg.actor.clone(),
            });
        }
        if self.legs.len() >= usize::try_from(LEGS_MAX).unwrap_or(0) && leg.state == LinkState::Requested {
            return Err(R::TooManyLinks {
                payer: self.payer.clone(),
            });
        }
        Ok(())
    }
}

/// Whether two names of the journal may be one person's: staff may have several roles under one subject.
fn is_same_person(one: &str, other: &str) -> bool {
    let subject = |name: &str| name.split_once('/').map(|(_, subject)| subject.to_ascii_lowercase());
    let is_payer = |name: &str| name.starts_with("payer/");
    one == other || !is_payer(one) && !is_payer(other) && subject(one) == subject(other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_goes_its_way_and_no_other() {
        use LinkState::*;
        let legal = [
            (None, Requested),
            (None, Granted),
            (Some(Requested), Approved),
            (Some(Requested), Rejected),
            (Some(Requested), Revoked),
            (Some(Approved), Revoked),
            (Some(Granted), Revoked),
            (Some(Rejected), Requested),
            (Some(Revoked), Requested),
        ];
        for from in LinkState::ALL.into_iter().map(Some).chain([None]) {
            for to in LinkState::ALL {
                assert_eq!(to.may_follow(from), legal.contains(&(from, to)), "{from:?} {to:?}");
            }
        }
    }

    #[test]
    fn one_person_may_have_several_roles() {
        assert!(is_same_person("finance/alice", "admin/alice") && is_same_person("payer/P1", "payer/P1"));
        assert!(
            is_same_person("finance/alice", "admin/Alice"),
            "whatever the case, as in approvals"
        );
        assert!(!is_same_person("finance/alice", "finance/bob"));
        // A payer's id is no subject of staff.
        assert!(!is_same_person("payer/alice", "finance/alice"));
    }

    #[test]
    fn what_is_stored_is_read_again() {
        for state in LinkState::ALL {
            assert_eq!(LinkState::from_name(state.name()), Some(state));
        }
        for told in Relationship::ALL {
            assert_eq!(Relationship::from_name(told.name()), Some(told));
        }
    }
}
