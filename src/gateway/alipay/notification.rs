//! Reading a notification: signature first, then to whom it is addressed, then what it tells.
//!
//! A notice tells the whole trade as it stands, with the refund that caused it, if one did. There is no window in time; what is
//! told again is known by `notify_id`, and changes nothing because the ledger knows the trade's number.

use super::{
    AlipaySide,
    form::{self, Params},
    signature::{self, ALIPAY_CERT_SN},
    wire::{self, TRADE_CLOSED, TRADE_FINISHED, TRADE_STATUS_SYNC, TRADE_SUCCESS, WAIT_BUYER_PAY},
};
use crate::gateway::{
    channel::{Notification, OtherNotice, PaymentNotice, RefundNotice, RefundState, RefundedAmount},
    error::NotificationError,
};

/// The longest SN of a certificate that is told to people, in characters.
const SN_LEN_MAX: usize = 64;

/// Checks and reads a notification; see [`crate::gateway::Channel::parse_notification`].
pub(super) fn parse(
    alipay: &AlipaySide,
    app_id: &str,
    seller_id: &str,
    body: &[u8],
) -> Result<Notification, NotificationError> {
    let params = form::decode(body).map_err(malformed)?;
    if let (Some(own), Some(named)) = (&alipay.sns, params.get(ALIPAY_CERT_SN))
        && *named != own.alipay
    {
        let key = named.chars().take(SN_LEN_MAX).collect();
        return Err(NotificationError::UnknownKey { key });
    }
    signature::verify_notification(&alipay.key, &params)?;
    let notice = Notice(&params);
    notice.is_for("app_id", app_id)?;
    notice.is_for("seller_id", seller_id)?;
    let event_id = notice.number("notify_id")?;
    let kind = notice.text("notify_type")?;
    if kind != TRADE_STATUS_SYNC {
        let about = format!("notify_type {kind:?}");
        return Ok(Notification::Other(OtherNotice { event_id, about }));
    }
    let order_number = wire::of_trade_number(notice.text("out_trade_no")?);
    let gateway_transaction = notice.number("trade_no")?;
    let status = notice.text("trade_status")?;
    if ![WAIT_BUYER_PAY, TRADE_CLOSED, TRADE_SUCCESS, TRADE_FINISHED].contains(&status) {
        return Err(malformed(format!("trade_status {status:?}")));
    }
    if let Some(refund_number) = notice.refund_number() {
        return Ok(Notification::Refund(RefundNotice {
            event_id,
            order_number,
            amount: RefundedAmount::TotalOfOrder(wire::read_amount(notice.text("refund_fee")?).map_err(malformed)?),
            state: RefundState::Succeeded {
                gateway_refund: wire::gateway_refund(&gateway_transaction, refund_number),
                at: wire::read_time(notice.text("gmt_refund")?).map_err(malformed)?,
            },
            refund_number: refund_number.to_owned(),
        }));
    }
    // A trade that was paid back has been told as paid before, or is found by asking.
    let is_payment = matches!(status, TRADE_SUCCESS | TRADE_FINISHED) && notice.get("refund_fee").is_none();
    if !is_payment {
        let about = format!("trade_status {status:?} of order {order_number:?}");
        return Ok(Notification::Other(OtherNotice { event_id, about }));
    }
    Ok(Notification::Payment(PaymentNotice {
        event_id,
        order_number,
        gateway_transaction,
        amount: wire::read_amount(notice.text("total_amount")?).map_err(malformed)?,
        paid_at: wire::read_time(notice.text("gmt_payment")?).map_err(malformed)?,
    }))
}

/// A notice's parameters, once their signature is known to be right.
struct Notice<'a>(&'a Params);

impl Notice<'_> {
    /// What is there and not empty.
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    fn text(&self, name: &str) -> Result<&str, NotificationError> {
        self.get(name).ok_or_else(|| malformed(format!("there is no {name}")))
    }

    fn number(&self, name: &str) -> Result<String, NotificationError> {
        let number = self.text(name)?;
        // A notify_id is longer than the numbers of trades.
        let is_kept = number.len() <= 128 && number.bytes().all(|byte| byte.is_ascii_graphic());
        match is_kept {
            true => Ok(number.to_owned()),
            false => Err(malformed(format!("{name} is no number"))),
        }
    }

    /// Money of somebody else's account is none of ours, however genuine the notice is.
    fn is_for(&self, name: &str, own: &str) -> Result<(), NotificationError> {
        let found = self.text(name)?;
        if found == own {
            return Ok(());
        }
        Err(NotificationError::OtherMerchant {
            found: format!("{name} {found}"),
        })
    }

    /// Our number of the refund that caused the notice, if one did.
    fn refund_number(&self) -> Option<&str> {
        self.get("gmt_refund").and(self.get("refund_fee"))?;
        self.get("out_biz_no")
    }
}

fn malformed(reason: impl ToString) -> NotificationError {
    NotificationError::Malformed {
        reason: reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::{
        super::key::{PrivateKey, PublicKey, tests::new_key},
        *,
    };

    const PAID: &str = "gmt_create=2025-07-31+10:00:00&charset=utf-8&gmt_payment=2025-07-31+10:00:05\
        &notify_time=2025-07-31+10:00:06&subject=%E6%B1%87%E6%AC%BE&buyer_id=2088102116773037\
        &invoice_amount=100.00&version=1.0&notify_id=2025073100222100006073030\
        &fund_bill_list=%5B%7B%22amount%22%3A%22100.00%22%2C%22fundChannel%22%3A%22ALIPAYACCOUNT%22%7D%5D\
        &notify_type=trade_status_sync&out_trade_no=1_R1&total_amount=100.00&trade_status=TRADE_SUCCESS\
        &trade_no=2025073122001473030200500001&auth_app_id=2016092101248425&receipt_amount=100.00\
        &point_amount=0.00&app_id=2016092101248425&buyer_pay_amount=100.00&seller_id=2088101106499364";

    struct Alipay {
        private: PrivateKey,
        side: AlipaySide,
    }

    impl Alipay {
        fn new() -> Alipay {
            let private = PrivateKey::read(&new_key()).unwrap();
            let key = PublicKey::read(&private.public_text().unwrap()).unwrap();
            let side = AlipaySide { key, sns: None };
            Alipay { private, side }
        }

        fn signed(&self, form: &str) -> String {
            let mut params = form::decode(form.as_bytes()).unwrap();
            signature::sign_notification(&self.private, &mut params).unwrap();
            form::encode(&params)
        }

        fn read(&self, body: &str) -> Result<Notification, NotificationError> {
            parse(&self.side, "2016092101248425", "2088101106499364", body.as_bytes())
        }

        fn read_signed(&self, form: &str) -> Result<Notification, NotificationError> {
            self.read(&self.signed(form))
        }
    }

    #[test]
    fn reads_a_payment() {
        let alipay = Alipay::new();
        let read = alipay.read_signed(PAID);
        let paid = Notification::Payment(PaymentNotice {
            event_id: "2025073100222100006073030".into(),
            order_number: "1-R1".into(),
            gateway_transaction: "2025073122001473030200500001".into(),
            amount: wire::read_amount("100").unwrap(),
            paid_at: datetime!(2025-07-31 02:00:05 UTC),
        });
        assert_eq!(read, Ok(paid.clone()));
        // No longer to be paid back: it was paid all the same.
        assert_eq!(
            alipay.read_signed(&PAID.replace("TRADE_SUCCESS", "TRADE_FINISHED")),
            Ok(paid)
        );
    }

    #[test]
    fn reads_a_refund_by_our_number_and_the_sum_of_all_refunds() {
        let alipay = Alipay::new();
        let refund = "&refund_fee=40.00&gmt_refund=2025-07-31+11:00:00.123&out_biz_no=F1-000009";
        for status in ["TRADE_SUCCESS", "TRADE_CLOSED"] {
            let form = format!("{}{refund}", PAID.replace("TRADE_SUCCESS", status));
            let Ok(Notification::Refund(notice)) = alipay.read_signed(&form) else {
                panic!("no refund")
            };
            assert_eq!(
                (notice.refund_number.as_str(), notice.order_number.as_str()),
                ("F1-000009", "1-R1")
            );
            assert_eq!(
                notice.amount,
                RefundedAmount::TotalOfOrder(wire::read_amount("40.00").unwrap())
            );
            assert_eq!(
                notice.state,
                RefundState::Succeeded {
                    gateway_refund: "2025073122001473030200500001-F1-000009".into(),
                    at: datetime!(2025-07-31 03:00:00 UTC),
                }
            );
        }
        // Paid back by somebody at Alipay's own console: no refund of ours, and no new payment either.
        let form = format!("{PAID}{}", refund.replace("&out_biz_no=F1-000009", ""));
        assert!(matches!(alipay.read_signed(&form), Ok(Notification::Other(_))));
    }

    #[test]
    fn what_tells_no_money_is_taken_note_of() {
        let alipay = Alipay::new();
        for (from, to) in [
            ("TRADE_SUCCESS", "WAIT_BUYER_PAY"),
            ("TRADE_SUCCESS", "TRADE_CLOSED"),
            ("trade_status_sync", "dut_user_sign"),
        ] {
            let read = alipay.read_signed(&PAID.replace(from, to));
            assert!(matches!(read, Ok(Notification::Other(_))), "{to}: {read:?}");
        }
    }

    #[test]
    fn believes_nothing_unsigned_and_nothing_of_others() {
        let alipay = Alipay::new();
        assert_eq!(alipay.read(PAID), Err(NotificationError::MissingSignature));
        let good = alipay.signed(PAID);
        let altered = good.replacen("total_amount=100.00", "total_amount=900.00", 1);
        assert_ne!(altered, good);
        assert_eq!(alipay.read(&altered), Err(NotificationError::BadSignature));
        assert_eq!(
            alipay.read(&format!("{good}&x=1")),
            Err(NotificationError::BadSignature)
        );
        assert_eq!(Alipay::new().read(&good), Err(NotificationError::BadSignature));
        assert!(matches!(alipay.read("a=%"), Err(NotificationError::Malformed { .. })));
        for (name, from) in [
            ("app_id", "&app_id=2016092101248425"),
            ("seller_id", "2088101106499364"),
        ] {
            let form = PAID.replace(from, &from.replace("20", "21"));
            let read = alipay.read_signed(&form);
            assert!(
                matches!(&read, Err(NotificationError::OtherMerchant { found }) if found.starts_with(name)),
                "{read:?}"
            );
        }
    }

    #[test]
    fn guesses_nothing_that_is_missing_or_wrong() {
        let alipay = Alipay::new();
        for (from, to) in [
            ("total_amount=100.00", "total_amount=100.001"),
            ("total_amount=100.00", "total_amount=-100.00"),
            ("total_amount=100.00", "total_amount=0.00"),
            ("total_amount=100.00", "total_amount="),
            ("&total_amount=100.00", ""),
            ("&gmt_payment=2025-07-31+10:00:05", ""),
            ("gmt_payment=2025-07-31+10:00:05", "gmt_payment=2025-07-32+10:00:05"),
            ("&out_trade_no=1_R1", ""),
            ("&trade_no=2025073122001473030200500001", "&trade_no=%E4%B8%AD"),
            ("&notify_id=2025073100222100006073030", ""),
            ("TRADE_SUCCESS", "TRADE_PAID"),
            ("&seller_id=2088101106499364", ""),
        ] {
            let form = PAID.replacen(from, to, 1);
            assert_ne!(form, PAID);
            let read = alipay.read_signed(&form);
            assert!(
                matches!(read, Err(NotificationError::Malformed { .. })),
                "{to}: {read:?}"
            );
        }
    }
}
