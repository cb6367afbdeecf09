//! What becomes of money that was paid: credited as far as the cap allows, held for review, or sent back. Pure.

use time::{Duration, OffsetDateTime};

use crate::{
    clock::{Zone, month_of},
    custody::{Screening, Settings},
    ids::{DetaineeId, PayerId, RemittanceId},
    money::{Amount, MoneyError},
};

/// Why a payment goes back, whole or in part: the detainee would have more than the cap.
pub const BALANCE_CAP_EXCEEDED: &str = "BALANCE_CAP_EXCEEDED";
/// Why a payment goes back: its payer has as many this month as are accepted.
pub const PAYMENT_COUNT_EXCEEDED: &str = "PAYMENT_COUNT_EXCEEDED";
/// Why a payment goes back: whom it was for has left for good, died, escaped, or was booked twice.
pub const DETAINEE_GONE: &str = "DETAINEE_GONE";
/// Why a payment is held for review: many payments of one payer.
pub const SCREENING_PAYMENTS: &str = "SCREENING_PAYMENTS";
/// Why a payment is held for review: many payers for one detainee.
pub const SCREENING_PAYERS: &str = "SCREENING_PAYERS";
/// Why a payment is held for review: one payer for many detainees.
pub const SCREENING_DETAINEES: &str = "SCREENING_DETAINEES";

/// Why a payment is in suspense: the detainee has moved to another center, and the money follows them.
pub const DETAINEE_TRANSFERRED: &str = "DETAINEE_TRANSFERRED";
/// Why a payment is in suspense: the money had moved with the detainee, and came back to be returned to its payer.
pub const BROUGHT_BACK: &str = "BROUGHT_BACK";

/// Whether a payment is in suspense to be reviewed.
pub fn is_screening(reason: &str) -> bool {
    [SCREENING_PAYMENTS, SCREENING_PAYERS, SCREENING_DETAINEES].contains(&reason)
}

/// Whether a payment that was put into suspense for this reason goes back by itself: at once, or when its review is over.
pub fn goes_back(reason: &str) -> bool {
    [
        BALANCE_CAP_EXCEEDED,
        PAYMENT_COUNT_EXCEEDED,
        DETAINEE_GONE,
        BROUGHT_BACK,
    ]
    .contains(&reason)
        || is_screening(reason)
}

/// A payment that was accepted: credited, or held for a review that is not decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Accepted {
    pub remittance: RemittanceId,
    pub payer: PayerId,
    pub detainee: DetaineeId,
    /// When it was ordered: what windows and months go by.
    pub ordered_at: OffsetDateTime,
}

/// What counts against the cap although it is in no account of the detainee's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Open {
    pub remittance: RemittanceId,
    pub amount: Amount,
    /// Until when its headroom is reserved; none while it is held for review.
    pub until: Option<OffsetDateTime>,
}

/// Whether a payment is one more than its payer may have in the month.
pub(super) fn is_one_too_many(settings: &Settings, zone: Zone, own: &Accepted, of_payer: &[Accepted]) -> bool {
    let month = |at| month_of(zone.business_date(at));
    let same =
        |other: &&Accepted| other.remittance != own.remittance && month(other.ordered_at) == month(own.ordered_at);
    is_over(of_payer.iter().filter(same).count() + 1, settings.payment_count_max)
}

/// Why a payment is held for review, if it is.
pub(super) fn screen(
    rules: &Screening,
    own: &Accepted,
    of_payer: &[Accepted],
    for_detainee: &[Accepted],
) -> Option<&'static str> {
    let since = |days: i32| own.ordered_at - Duration::days(days.into());
    let (week, month) = (since(rules.payment_days), since(rules.party_days));
    let others = of_payer
        .iter()
        .filter(|other| other.remittance != own.remittance && other.ordered_at > week);
    if is_over(others.count() + 1, rules.payment_max) {
        return Some(SCREENING_PAYMENTS);
    }
    let mut payers: Vec<&PayerId> = vec![&own.payer];
    for other in for_detainee.iter().filter(|other| other.ordered_at > month) {
        if !payers.contains(&&other.payer) {
            payers.push(&other.payer);
        }
    }
    if is_over(payers.len(), rules.payer_max) {
        return Some(SCREENING_PAYERS);
    }
    let mut detainees: Vec<&DetaineeId> = vec![&own.detainee];
    for other in of_payer.iter().filter(|other| other.ordered_at > month) {
        if !detainees.contains(&&other.detainee) {
            detainees.push(&other.detainee);
        }
    }
    is_over(detainees.len(), rules.detainee_max).then_some(SCREENING_DETAINEES)
}

fn is_over(count: usize, most: i32) -> bool {
    most != Settings::UNLIMITED && usize::try_from(most).is_ok_and(|most| count > most)
}

/// What is reserved for other payments at a moment.
pub(super) fn in_flight(
    open: &[Open],
    own: Option<&RemittanceId>,
    zero: Amount,
    now: OffsetDateTime,
) -> Result<Amount, MoneyError> {
    open.iter()
        .filter(|other| Some(&other.remittance) != own && other.until.is_none_or(|until| until > now))
        .try_fold(zero, |sum, other| sum.checked_add(other.amount))
}

/// How much of a payment the cap lets in.
pub(super) fn accepted(amount: Amount, cap: Amount, balance: Amount, in_flight: Amount) -> Result<Amount, MoneyError> {
    let room = cap.checked_sub(balance)?.checked_sub(in_flight)?;
    if room.is_positive() {
        room.min(amount)
    } else {
        Ok(Amount::zero(amount.currency()))
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;
    use crate::money::Currency;

    const NOW: OffsetDateTime = datetime!(2031-05-20 07:00:00 UTC);

    fn cny(text: &str) -> Amount {
        Amount::parse(text, Currency::parse("CNY").unwrap()).unwrap()
    }

    fn settings() -> Settings {
        Settings::defaults(Currency::parse("CNY").unwrap()).unwrap()
    }

    fn paid(id: &str, payer: &str, detainee: &str, days_ago: i64) -> Accepted {
        Accepted {
            remittance: RemittanceId::parse(id).unwrap(),
            payer: PayerId::parse(payer).unwrap(),
            detainee: DetaineeId::parse(detainee).unwrap(),
            ordered_at: NOW - Duration::days(days_ago),
        }
    }

    #[test]
    fn the_fourth_of_a_week_is_held() {
        let rules = settings().screening;
        let own = paid("R0", "P1", "D1", 0);
        let mut past = vec![
            paid("R1", "P1", "D1", 1),
            paid("R2", "P1", "D1", 6),
            paid("R3", "P1", "D1", 7),
        ];
        assert_eq!(
            screen(&rules, &own, &past, &past),
            None,
            "a week is over after seven days"
        );
        past.push(own.clone());
        assert_eq!(screen(&rules, &own, &past, &past), None, "it is no other of itself");
        past.push(paid("R4", "P1", "D1", 2));
        assert_eq!(screen(&rules, &own, &past, &past), Some(SCREENING_PAYMENTS));
        let any = Screening {
            payment_max: Settings::UNLIMITED,
            ..rules
        };
        assert_eq!(screen(&any, &own, &past, &past), None);
    }

    #[test]
    fn the_fourth_payer_and_the_fourth_detainee_are_held() {
        let rules = settings().screening;
        let own = paid("R0", "P1", "D1", 0);
        let payers = [
            paid("R1", "P2", "D1", 1),
            paid("R2", "P3", "D1", 27),
            paid("R3", "P3", "D1", 2),
        ];
        assert_eq!(screen(&rules, &own, &[], &payers), None);
        let more = [&payers[..], &[paid("R4", "P4", "D1", 28)]].concat();
        assert_eq!(screen(&rules, &own, &[], &more), None, "28 days are over");
        let more = [&payers[..], &[paid("R4", "P4", "D1", 27)]].concat();
        assert_eq!(screen(&rules, &own, &[], &more), Some(SCREENING_PAYERS));
        let detainees = [
            paid("R1", "P1", "D2", 9),
            paid("R2", "P1", "D3", 9),
            paid("R3", "P1", "D4", 9),
        ];
        assert_eq!(screen(&rules, &own, &detainees[..2], &[]), None);
        assert_eq!(screen(&rules, &own, &detainees, &[]), Some(SCREENING_DETAINEES));
    }

    #[test]
    fn months_are_those_of_the_centers_zone() {
        let settings = settings();
        let zone = Zone::parse("Asia/Shanghai").unwrap();
        let own = Accepted {
            ordered_at: datetime!(2031-05-31 16:30:00 UTC),
            ..paid("R0", "P1", "D1", 0)
        };
        let past = |ordered_at| {
            [Accepted {
                ordered_at,
                ..paid("R1", "P1", "D1", 0)
            }]
        };
        assert!(!is_one_too_many(
            &settings,
            zone,
            &own,
            &past(datetime!(2031-05-31 15:30:00 UTC))
        ));
        assert!(is_one_too_many(
            &settings,
            zone,
            &own,
            &past(datetime!(2031-06-29 15:30:00 UTC))
        ));
        assert!(!is_one_too_many(&settings, zone, &own, std::slice::from_ref(&own)));
    }

    #[test]
    fn the_cap_lets_in_what_is_left_below_it() {
        let zero = cny("0");
        let open = |id, amount, until| Open {
            remittance: RemittanceId::parse(id).unwrap(),
            amount: cny(amount),
            until,
        };
        let open = [
            open("R0", "10", Some(NOW + Duration::MINUTE)),
            open("R1", "20", Some(NOW)),
            open("R2", "40", None),
        ];
        assert_eq!(in_flight(&open, None, zero, NOW).unwrap(), cny("50"));
        let own = RemittanceId::parse("R0").unwrap();
        assert_eq!(in_flight(&open, Some(&own), zero, NOW).unwrap(), cny("40"));
        let part = |balance| accepted(cny("100"), cny("5000"), cny(balance), cny("40")).unwrap();
        assert_eq!(part("4860"), cny("100"));
        assert_eq!(part("4860.01"), cny("99.99"));
        assert_eq!((part("4960"), part("4990"), part("6000")), (zero, zero, zero));
    }
}
