//! Cards and their PINs, and how often somebody may try one.

pub(super) mod store;

use aws_lc_rs::digest::{SHA256, digest};
use secrecy::{ExposeSecret as _, SecretString};
pub(super) use store::Holder;
use time::{Duration, OffsetDateTime};

use super::{
    Terminals,
    error::TerminalRefusal as R,
    pin::{self, Turn},
    session::store as sessions,
};
use crate::{
    custody::{self, CustodyRefusal},
    ids::{CardId, DetaineeId, TerminalId},
    ledger::{Center, LedgerError, center},
};

/// How many failures lock a card.
pub const FAILURES_MAX: i32 = 5;
/// How long it is locked at first; each further failure doubles it.
const LOCK_FIRST: Duration = Duration::minutes(1);
/// How long it is locked at the longest.
const LOCK_MAX: Duration = Duration::hours(24);

/// The digits of a PIN that a detainee sets.
const PIN_DIGITS: std::ops::RangeInclusive<usize> = 6..=12;

/// Where a card stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardState {
    /// It has no PIN yet.
    WithoutPin,
    /// Its PIN is staff's.
    TemporaryPin,
    /// It has a PIN of the detainee's own.
    Active,
    /// It was ended.
    Ended,
}

/// A detainee's card.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// Its number.
    pub id: CardId,
    /// Whose it is.
    pub detainee: DetaineeId,
    /// When it was issued.
    pub issued_at: OffsetDateTime,
    /// By whom.
    pub issued_by: String,
    /// Whether its PIN is temporary; none if it has none.
    pub is_temporary: Option<bool>,
    /// Why it was ended, if it was.
    pub end_reason: Option<String>,
}

impl Card {
    /// Where it stands.
    pub fn state(&self) -> CardState {
        match (&self.end_reason, self.is_temporary) {
            (Some(_), _) => CardState::Ended,
            (None, None) => CardState::WithoutPin,
            (None, Some(true)) => CardState::TemporaryPin,
            (None, Some(false)) => CardState::Active,
        }
    }
}

/// What became of a try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Checked {
    /// It failed, and so many have since the last that did not.
    Failed(i32),
    /// The PIN was right.
    Right,
    /// Staff gave the card another PIN.
    Reset,
}

/// The last try of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LastTry {
    /// How many failed since the last that did not.
    pub failures: i32,
    /// When it was.
    pub at: OffsetDateTime,
}

impl LastTry {
    /// Until when nobody may try again, if they may not.
    pub fn locked_until(&self) -> Option<OffsetDateTime> {
        let over = u32::try_from(self.failures - FAILURES_MAX).ok()?;
        let times = 1_i32.checked_shl(over).filter(|times| *times > 0).unwrap_or(i32::MAX);
        let lock = if over < 16 { LOCK_FIRST * times } else { LOCK_MAX };
        Some(self.at + lock.min(LOCK_MAX))
    }
}

/// What stands for a card number in the tries: what is typed may be anything, a PIN included.
pub(super) fn hash(center: &Center, card_number: &str) -> Vec<u8> {
    digest(
        &SHA256,
        format!("custody card\n{}\n{card_number}", center.id).as_bytes(),
    )
    .as_ref()
    .to_vec()
}

/// Refuses a PIN that others would guess first.
pub(super) fn require_strong(new_pin: &SecretString, pin: &SecretString) -> Result<(), R> {
    let digits = new_pin.expose_secret().as_bytes();
    if !PIN_DIGITS.contains(&digits.len()) || !digits.iter().all(u8::is_ascii_digit) {
        return Err(R::PinTooWeak {
            problem: "6 to 12 digits",
        });
    }
    let steps: Vec<i16> = digits
        .windows(2)
        .map(|pair| i16::from(pair[1]) - i16::from(pair[0]))
        .collect();
    if [-1, 0, 1].iter().any(|step| steps.iter().all(|own| own == step)) {
        return Err(R::PinTooWeak {
            problem: "not the same digit again and again, and not a row of digits",
        });
    }
    if new_pin.expose_secret() == pin.expose_secret() {
        return Err(R::PinTooWeak {
            problem: "another one than before",
        });
    }
    Ok(())
}

impl Terminals {
    /// Issues a card. The same again is answered with what is there.
    ///
    /// Errors: ALREADY_EXISTS, NOT_FOUND, DETAINEE_NOT_ACTIVE.
    pub async fn issue_card(
        &self,
        center: &Center,
        id: &CardId,
        detainee: &DetaineeId,
        by: &str,
    ) -> Result<Card, LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        store::lock(&mut tx, center.no, &hash(center, id.as_str())).await?;
        if let Some(known) = store::card(&mut tx, center.no, id).await? {
            let is_same = known.detainee == *detainee && known.end_reason.is_none();
            return if is_same {
                Ok(known)
            } else {
                Err(R::AlreadyExists.into())
            };
        }
        let found = custody::detainee_in_tx(&mut tx, center, detainee).await?;
        let found = found.ok_or_else(|| CustodyRefusal::DetaineeNotFound {
            detainee: detainee.clone(),
        })?;
        if found.state != custody::DetaineeState::Active {
            let (detainee, state) = (detainee.clone(), found.state.name());
            return Err(CustodyRefusal::DetaineeNotActive { detainee, state }.into());
        }
        store::insert_card(&mut tx, center.no, (id, detainee), (self.clock.now(), by)).await?;
        let card = store::card(&mut tx, center.no, id).await?;
        tx.commit().await?;
        card.ok_or(LedgerError::Internal)
    }

    /// A card, and until when it is locked.
    ///
    /// Errors: NOT_FOUND.
    pub async fn card(&self, center: &Center, id: &CardId) -> Result<(Card, Option<OffsetDateTime>), LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        let card = store::card(&mut conn, center.no, id).await?;
        let card = card.ok_or_else(|| R::CardNotFound { card: id.clone() })?;
        let last = store::last_try(&mut conn, center.no, &hash(center, id.as_str())).await?;
        let until = last.1.and_then(|last| last.locked_until());
        let now = self.clock.now();
        Ok((card, until.filter(|until| now < *until)))
    }

    /// Up to `limit` cards after a number, in their order; of one detainee, or of all.
    pub async fn cards(
        &self,
        center: &Center,
        detainee: Option<&DetaineeId>,
        after: &str,
        limit: i64,
    ) -> Result<Vec<Card>, LedgerError> {
        let mut conn = self.database.read.acquire().await?;
        Ok(store::cards(&mut conn, center.no, detainee, after, limit).await?)
    }

    /// Ends a card for ever, and the sessions that began with it. One that has ended is answered with what is there.
    ///
    /// Errors: NOT_FOUND.
    pub async fn end_card(&self, center: &Center, id: &CardId, reason: &str, by: &str) -> Result<Card, LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        store::lock(&mut tx, center.no, &hash(center, id.as_str())).await?;
        let card = store::card(&mut tx, center.no, id).await?;
        let mut card = card.ok_or_else(|| R::CardNotFound { card: id.clone() })?;
        if card.end_reason.is_some() {
            return Ok(card);
        }
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        let at = self.clock.now().max(head.recorded_at);
        store::insert_end(&mut tx, center.no, id, reason, (at, by)).await?;
        sessions::end_of_card(&mut tx, center.no, (id, &card.detainee), "CARD_ENDED", (at, by)).await?;
        tx.commit().await?;
        card.end_reason = Some(reason.to_owned());
        Ok(card)
    }

    /// Gives a card a temporary PIN, unlocks it, and ends the sessions that began with it.
    ///
    /// Errors: NOT_FOUND, CARD_ENDED, SIGN_IN_BUSY.
    pub async fn reset_pin(&self, center: &Center, id: &CardId, by: &str) -> Result<SecretString, LedgerError> {
        let pin = pin::temporary().ok_or(LedgerError::Internal)?;
        let hashed = self.pins.hash(&pin, self.pins.turn().await?).await?;
        let typed = hash(center, id.as_str());
        let mut tx = self.database.lane.begin().await?;
        store::lock(&mut tx, center.no, &typed).await?;
        let card = store::card(&mut tx, center.no, id).await?;
        let card = card.ok_or_else(|| R::CardNotFound { card: id.clone() })?;
        if card.end_reason.is_some() {
            return Err(R::CardEnded { card: id.clone() }.into());
        }
        let head = center::touch_rules_in_tx(&mut tx, center.no).await?;
        let at = self.clock.now().max(head.recorded_at);
        let number = store::pin_no(&mut tx, center.no, id).await? + 1;
        store::insert_pin(&mut tx, center.no, id, (number, true), &hashed, (at, by)).await?;
        store::insert_try(&mut tx, center.no, &typed, Checked::Reset, (at, None)).await?;
        sessions::end_of_card(&mut tx, center.no, (id, &card.detainee), "PIN_RESET", (at, by)).await?;
        tx.commit().await?;
        Ok(pin)
    }

    /// Checks a PIN, whether or not there is such a card. The try is counted as failed before the PIN is looked at, and the same
    /// is done for a card that is not there.
    ///
    /// Errors: CARD_LOCKED.
    pub(super) async fn check_pin(
        &self,
        center: &Center,
        (card, typed): (Option<&CardId>, &[u8]),
        terminal: &TerminalId,
        pin: &SecretString,
        turn: Turn,
    ) -> Result<(Option<Holder>, bool), LedgerError> {
        let mut tx = self.database.lane.begin().await?;
        store::lock(&mut tx, center.no, typed).await?;
        let now = self.clock.now();
        let (_, last) = store::last_try(&mut tx, center.no, typed).await?;
        let until = last.and_then(|last| last.locked_until()).filter(|until| now < *until);
        if let Some(until) = until {
            return Err(R::CardLocked { until }.into());
        }
        let failures = last.map_or(0, |last| last.failures) + 1;
        store::insert_try(
            &mut tx,
            center.no,
            typed,
            Checked::Failed(failures),
            (now, Some(terminal)),
        )
        .await?;
        let holder = match card {
            Some(card) => store::holder(&mut tx, center.no, card).await?,
            None => None,
        };
        tx.commit().await?;
        let stored = holder.as_ref().map(|holder| holder.pin.clone());
        let is_right = self.pins.is(pin, stored, turn).await?;
        let holder = holder.filter(Holder::is_usable);
        Ok((holder, is_right))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_card_is_locked_longer_with_every_failure() {
        let at = datetime!(2031-05-06 07:08:09 UTC);
        let minutes = |failures| {
            let until = LastTry { failures, at }.locked_until()?;
            Some((until - at).whole_minutes())
        };
        assert_eq!([0, 1, 4].map(minutes), [None; 3]);
        assert_eq!([5, 6, 7, 8].map(minutes), [1, 2, 4, 8].map(Some));
        assert_eq!(
            [15, 16, 20, 21, 40, 1_000_000].map(minutes),
            [1024, 1440, 1440, 1440, 1440, 1440].map(Some)
        );
    }

    #[test]
    fn weak_pins_are_refused() {
        let check = |new: &str| require_strong(&new.into(), &"271828".into());
        for pin in ["314159", "112233", "123457", "000001", "271829"] {
            assert_eq!(check(pin), Ok(()), "{pin}");
        }
        for pin in [
            "",
            "31415",
            "3141592653589",
            "31415x",
            "３１４１５９",
            "000000",
            "123456",
            "987654",
            "271828",
        ] {
            assert!(matches!(check(pin), Err(R::PinTooWeak { .. })), "{pin}");
        }
    }
}
