//! Names come back as they were, and are of one kind each.

use super::*;

/// Each sample comes back as it was, and none is read as another kind of name.
#[test]
fn every_name_comes_back_and_is_of_one_kind() {
    macro_rules! kinds {
        ($($kind:ident),+) => { vec![$(|text: &str| $kind::parse(text, "name").ok().map(|name| name.to_string())),+] };
    }
    let samples = [
        "centers/north",
        "centers/north/settings",
        "centers/north/distributionPolicy",
        "centers/north/detainees/D1",
        "centers/north/detainees/D1/courtOrders/C-9",
        "centers/north/vendors/V1",
        "centers/north/products/rice-5kg",
        "centers/north/payers/P1",
        "centers/north/payers/P1/links/D1",
        "centers/north/remittances/R1",
        "centers/north/remittances/R1/distribution",
        "centers/north/purchases/42",
        "centers/north/returns/43",
        "centers/north/settlements/44",
        "centers/north/refunds/45",
        "centers/north/releases/46",
        "centers/north/transactions/9223372036854775807",
        "centers/north/accounts/2147483647",
        "centers/north/reconciliations/webhook.2026-01-31",
        "centers/north/workItems/W1",
        "centers/north/approvals/47",
        "centers/north/unmatchedSums/48",
        "centers/north/paymentFiles/49",
        "centers/north/terminals/T1",
        "centers/north/orders/50",
        "centers/north/orderingRules",
        "centers/north/offlineSettings",
        "centers/north/terminals/T1/offlineSales/5",
        "centers/north/allowances/50",
        "centers/north/cards/0007",
        "centers/north/transfers/50",
        "centers/north/withholdings/51",
    ];
    let kinds: Vec<fn(&str) -> Option<String>> = kinds!(
        CenterName,
        SettingsName,
        DistributionPolicyName,
        DetaineeName,
        CourtOrderName,
        VendorName,
        ProductName,
        PayerName,
        PayerLinkName,
        RemittanceName,
        DistributionName,
        PurchaseName,
        ReturnName,
        SettlementName,
        RefundName,
        ReleaseName,
        TransactionName,
        AccountName,
        ReconciliationName,
        WorkItemName,
        ApprovalName,
        UnmatchedSumName,
        PaymentFileName,
        TerminalName,
        OrderName,
        OrderingRulesName,
        OfflineSettingsName,
        OfflineSaleName,
        AllowanceName,
        CardName,
        TransferName,
        WithholdingName
    );
    for (place, sample) in samples.iter().enumerate() {
        for (other, read) in kinds.iter().enumerate() {
            let expected = (place == other).then(|| (*sample).to_owned());
            assert_eq!(read(sample), expected, "{sample} read as kind {other}");
        }
    }
}

#[test]
fn parts_are_typed() {
    let name = PurchaseName::parse("centers/north/purchases/42", "name").unwrap();
    assert_eq!(
        name,
        PurchaseName {
            center: "north",
            seq: 42
        }
    );
    let link = PayerLinkName::parse("centers/north/payers/P1/links/D1", "name").unwrap();
    assert_eq!((link.center, link.payer, link.detainee), ("north", "P1", "D1"));
}

#[test]
fn malformed_names_are_refused_and_explained() {
    let long = format!("centers/north/detainees/{}", "a".repeat(64));
    for text in [
        "",
        "D1",
        "centers/north",
        "centers//detainees/D1",
        "centers/north/detainees/",
        "centers/north/detainees/D1/",
        "/centers/north/detainees/D1",
        "centers/north/detainees/-D1",
        "centers/north/detainees/D 1",
        "centers/north/detainees/D_1",
        "centers/north/detainees/在押",
        "centers/-/detainees/D1",
        &long,
    ] {
        let refusal = DetaineeName::parse(text, "lines[0].detainee").unwrap_err();
        assert_eq!(refusal.field, "lines[0].detainee", "{text}");
        let told = if text.is_empty() {
            "is required"
        } else {
            DetaineeName::PATTERN
        };
        assert!(refusal.message.contains(told), "{}", refusal.message);
    }
}

#[test]
fn numbers_have_one_spelling() {
    for last in [
        "0",
        "-1",
        "+1",
        "01",
        "1.0",
        "x",
        "",
        "9223372036854775808",
        "99999999999999999999999",
    ] {
        assert!(
            PurchaseName::parse(&format!("centers/n/purchases/{last}"), "name").is_err(),
            "{last}"
        );
    }
    assert!(AccountName::parse("centers/n/accounts/2147483648", "name").is_err());
}

#[test]
fn dates_are_real() {
    for last in [
        "webhook.2026-02-30",
        "webhook.2026-1-31",
        "webhook",
        ".2026-01-31",
        "web.hook.2026-01-31",
    ] {
        assert!(
            ReconciliationName::parse(&format!("centers/n/reconciliations/{last}"), "name").is_err(),
            "{last}"
        );
    }
    assert_eq!(
        date("2026-01-31", "through_date").map(format_date).as_deref(),
        Ok("2026-01-31")
    );
    assert_eq!(date("", "through_date").unwrap_err().message, "is required");
    assert!(date("+2026-01-31", "through_date").is_err());
}

#[test]
fn another_center_is_refused() {
    let text = "centers/south/detainees/D1";
    assert!(DetaineeName::parse_in(text, "detainee", "south").is_ok());
    assert_eq!(
        DetaineeName::parse_in(text, "detainee", "north").unwrap_err().message,
        "must be in centers/north"
    );
    assert_eq!(DetaineeName::parse_filter("", "detainee", "north"), Ok(None));
    assert!(DetaineeName::parse_filter(text, "detainee", "north").is_err());
}

#[test]
fn what_something_is_about_is_told_relative_to_its_center() {
    assert_eq!(subject_in("", "subject", "n"), Ok(None));
    let text = "centers/n/unmatchedSums/12";
    assert_eq!(subject_in(text, "subject", "n"), Ok(Some("unmatchedSums/12")));
    assert!(subject_in(text, "subject", "s").is_err());
    for text in [
        "x",
        "centers/n",
        "centers/n/",
        "centers/n/a",
        "centers/n/a/",
        "centers/n/a/b/c",
        "centers//a/b",
    ] {
        assert_eq!(subject_in(text, "subject", "n").unwrap_err().field, "subject", "{text}");
    }
}

#[test]
fn all_payers_are_a_hyphen() {
    assert_eq!(payer_or_all("centers/n/payers/-", "parent"), Ok(("n", None)));
    assert_eq!(payer_or_all("centers/n/payers/P1", "parent"), Ok(("n", Some("P1"))));
    assert!(payer_or_all("centers/n/payers/", "parent").is_err());
}

#[test]
fn chosen_ids_are_checked() {
    assert_eq!(id("D-1", "detainee_id"), Ok("D-1"));
    assert_eq!(id(&"a".repeat(63), "detainee_id").map(str::len), Ok(63));
    for text in ["", "-a", "a/b", "a.b", &"a".repeat(64)] {
        assert_eq!(id(text, "detainee_id").unwrap_err().field, "detainee_id");
    }
}
