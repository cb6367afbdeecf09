//! Adyen's standard webhooks in JSON: the signature stands in the notification, base64 of the HMAC-SHA256 over
//! `pspReference:originalReference:merchantAccountCode:merchantReference:value:currency:eventCode:success`, with an empty
//! text for a field that is missing.
//!
//! `AUTHORISATION` with `success` is what moves money: under immediate capture, which the account must have, Adyen takes the payment
//! with it. A refund's outcome tells which payment, and not our number of the refund, so refunds are asked for; it and all
//! other events are told as [`Notification::Other`].
//!
//! `merchantReference` is our order number, `pspReference` the gateway's number, `amount.value` is in minor units. Nothing but the
//! eight fields is signed: nothing else decides. None of them may have a colon, so that no other fields give the same text.
//! Source: docs.adyen.com, "Verify HMAC signatures", "Webhook structure and types", "Currency codes and minor units".

use aws_lc_rs::hmac;
use serde::Deserialize;
use time::OffsetDateTime;

use super::style::{from_minor_units, gateway_number, malformed, verify_base64};
use crate::{
    gateway::{
        channel::{Notification, OtherNotice, PaymentNotice},
        error::NotificationError,
    },
    money::Currency,
};

/// The event that moves money.
const AUTHORISATION: &str = "AUTHORISATION";
/// Currencies whose minor units Adyen counts otherwise than ISO 4217 does.
const OTHER_UNITS: [&str; 4] = ["CLP", "CVE", "IDR", "ISK"];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WebhookBody {
    notification_items: Vec<ItemBody>,
}

#[derive(Debug, Deserialize)]
struct ItemBody {
    #[serde(rename = "NotificationRequestItem")]
    item: Item,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Item {
    psp_reference: String,
    #[serde(default)]
    original_reference: Option<String>,
    merchant_account_code: String,
    #[serde(default)]
    merchant_reference: Option<String>,
    #[serde(default)]
    amount: Option<AmountBody>,
    event_code: String,
    /// `"true"` or `"false"`, as a text.
    success: String,
    event_date: String,
    #[serde(default)]
    additional_data: Option<AdditionalData>,
}

#[derive(Debug, Deserialize)]
struct AmountBody {
    value: i64,
    currency: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct AdditionalData {
    #[serde(default)]
    hmac_signature: Option<String>,
}

impl Item {
    /// The text that is signed.
    fn signed(&self) -> Result<String, NotificationError> {
        let value = self.amount.as_ref().map(|amount| amount.value.to_string());
        let fields = [
            self.psp_reference.as_str(),
            self.original_reference.as_deref().unwrap_or_default(),
            self.merchant_account_code.as_str(),
            self.merchant_reference.as_deref().unwrap_or_default(),
            value.as_deref().unwrap_or_default(),
            self.amount
                .as_ref()
                .map(|amount| amount.currency.as_str())
                .unwrap_or_default(),
            self.event_code.as_str(),
            self.success.as_str(),
        ];
        if fields.iter().any(|field| field.contains(':')) {
            return Err(malformed("a signed field has a colon"));
        }
        Ok(fields.join(":"))
    }
}

/// Checks and reads a notification. What is signed is in the body, so it is read first, and nothing of it believed before.
pub(super) fn parse(
    key: &hmac::Key,
    merchant_account: &str,
    body: &[u8],
    now: OffsetDateTime,
) -> Result<Notification, NotificationError> {
    let webhook: WebhookBody = serde_json::from_slice(body).map_err(malformed)?;
    let items: Result<[ItemBody; 1], _> = webhook.notification_items.try_into();
    // Adyen documents one item in each JSON notification.
    let [ItemBody { item }] = items.map_err(|_| malformed("a notification has exactly one item"))?;
    let signature = item
        .additional_data
        .as_ref()
        .and_then(|more| more.hmac_signature.as_deref());
    verify_base64(
        key,
        item.signed()?.as_bytes(),
        signature.ok_or(NotificationError::MissingSignature)?,
    )?;
    if item.merchant_account_code != merchant_account {
        return Err(NotificationError::OtherMerchant {
            found: item.merchant_account_code,
        });
    }
    let psp_reference = gateway_number(item.psp_reference, "pspReference")?;
    if item.event_code != AUTHORISATION || item.success != "true" {
        return Ok(Notification::Other(OtherNotice {
            event_id: psp_reference,
            about: format!("{} success={}", item.event_code, item.success),
        }));
    }
    let amount = item.amount.ok_or_else(|| malformed("a payment has no amount"))?;
    if OTHER_UNITS.contains(&amount.currency.as_str()) {
        return Err(malformed(format!(
            "the minor units of {} at Adyen are not those of ISO 4217",
            amount.currency
        )));
    }
    let currency = Currency::parse(&amount.currency).map_err(malformed)?;
    // It is not signed. It moves no money, and a time to come is none.
    let event_date = OffsetDateTime::parse(
        &item.event_date,
        &time::format_description::well_known::Iso8601::PARSING,
    );
    Ok(Notification::Payment(PaymentNotice {
        event_id: psp_reference.clone(),
        order_number: item.merchant_reference.unwrap_or_default(),
        gateway_transaction: psp_reference,
        amount: from_minor_units(amount.value, currency)?,
        paid_at: event_date.map_err(malformed)?.min(now),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "DFB1EB5485895CFA84146406857104ABB4CBCABDC8AAF103A624C8F6A3EAAB00";
    /// Made with `printf pspReference:originalReference:merchantAccount:reference:1000:EUR:EVENT:true | openssl dgst -sha256 -mac
    /// HMAC -macopt hexkey:$KEY -binary | base64`; it is also what Adyen's own libraries are tested with.
    const VECTOR: &str = "ipnxGCaUZ4l8TUW75a71/ghd2Fe5ffvX0pV4TLTntIc=";
    const EVENT: &str = r#"{"live":"false","notificationItems":[{"NotificationRequestItem":{"additionalData":{"hmacSignature":"SIGNATURE"},"amount":{"currency":"EUR","value":1000},"eventCode":"EVENT","eventDate":"2026-11-24T09:00:00+01:00","merchantAccountCode":"merchantAccount","merchantReference":"reference","originalReference":"originalReference","pspReference":"pspReference","success":"true"}}]}"#;

    fn key() -> hmac::Key {
        hmac::Key::new(hmac::HMAC_SHA256, &hex::decode(KEY).unwrap())
    }

    fn now() -> OffsetDateTime {
        time::macros::datetime!(2026-11-24 08:00:05 UTC)
    }

    fn read(body: &str) -> Result<Notification, NotificationError> {
        parse(&key(), "merchantAccount", body.as_bytes(), now())
    }

    /// An authorisation of a first payment, signed.
    fn signed(body: &str) -> String {
        let webhook: WebhookBody = serde_json::from_str(body).unwrap();
        let text = webhook.notification_items[0].item.signed().unwrap();
        let tag = hmac::sign(&key(), text.as_bytes());
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        body.replace("SIGNATURE", &STANDARD.encode(tag.as_ref()))
    }

    fn authorisation() -> String {
        EVENT
            .replace("EVENT", AUTHORISATION)
            .replace("\"originalReference\":\"originalReference\",", "")
    }

    #[test]
    fn the_signature_of_adyens_own_libraries_is_believed() {
        let told = read(&EVENT.replace("SIGNATURE", VECTOR));
        assert!(
            matches!(&told, Ok(Notification::Other(notice)) if notice.about == "EVENT success=true"),
            "{told:?}"
        );
    }

    #[test]
    fn an_authorisation_is_a_payment_in_minor_units() {
        let Ok(Notification::Payment(notice)) = read(&signed(&authorisation())) else {
            panic!("not a payment")
        };
        assert_eq!(notice.order_number, "reference");
        assert_eq!(notice.gateway_transaction, "pspReference");
        assert_eq!(
            (notice.amount.to_string().as_str(), notice.amount.currency().code()),
            ("10.00", "EUR")
        );
        assert_eq!(notice.paid_at, time::macros::datetime!(2026-11-24 08:00 UTC));
        // The date is not signed: what lies ahead is taken as now.
        let ahead = signed(&authorisation()).replace("2026-11-24", "2036-11-24");
        assert!(matches!(read(&ahead), Ok(Notification::Payment(notice)) if notice.paid_at == now()));
    }

    #[test]
    fn every_signed_field_counts() {
        let good = signed(&authorisation());
        for (from, to) in [
            ("1000", "100000"),
            ("EUR", "KWD"),
            ("\"reference\"", "\"1-R2\""),
            ("pspReference\":\"psp", "pspReference\":\"PSP"),
            ("AUTHORISATION", "CAPTURE"),
            ("\"success\":\"true\"", "\"success\":\"false\""),
            ("\"merchantAccount\"", "\"another\""),
        ] {
            let altered = good.replace(from, to);
            assert_ne!(altered, good, "{from}");
            assert_eq!(read(&altered), Err(NotificationError::BadSignature), "{from}");
        }
        assert_eq!(
            read(&good.replace("hmacSignature", "other")),
            Err(NotificationError::MissingSignature)
        );
        assert!(matches!(
            read(&authorisation()),
            Err(NotificationError::Malformed { .. } | NotificationError::BadSignature)
        ));
        // Fields that run together give the same text, and are not read.
        let shifted = good
            .replace(
                "\"pspReference\":\"pspReference\"",
                "\"pspReference\":\"pspReference:\"",
            )
            .replace(
                "\"merchantAccountCode\":\"merchantAccount\"",
                "\"merchantAccountCode\":\"\"",
            );
        assert!(matches!(read(&shifted), Err(NotificationError::Malformed { .. })));
    }

    #[test]
    fn other_merchants_failures_and_shapes_credit_nobody() {
        let other = signed(&authorisation().replace("\"merchantAccount\"", "\"another\""));
        assert!(matches!(read(&other), Err(NotificationError::OtherMerchant { found }) if found == "another"));
        let failed = signed(&authorisation().replace("\"success\":\"true\"", "\"success\":\"false\""));
        assert!(matches!(read(&failed), Ok(Notification::Other(_))));
        for (from, to) in [
            ("1000", "0"),
            ("1000", "-5"),
            ("EUR", "ISK"),
            ("EUR", "???"),
            ("2026-11-24T", "yesterday "),
        ] {
            let told = read(&signed(&authorisation().replace(from, to)));
            assert!(
                matches!(told, Err(NotificationError::Malformed { .. })),
                "{to}: {told:?}"
            );
        }
        for body in ["", "{}", "[]", r#"{"notificationItems":[]}"#] {
            assert!(matches!(read(body), Err(NotificationError::Malformed { .. })), "{body}");
        }
    }
}
