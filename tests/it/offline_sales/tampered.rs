//! What is none of a terminal's sales: broken signatures and chains, changed repeats, prices that never were, revoked terminals.

use custody_ledger::proto::{
    RevokeTerminalRequest, UpdateProductRequest, commissary_service_client::CommissaryServiceClient,
};

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_sale_is_kept_and_changes_nothing() {
    let stall = Stall::open().await;
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "40.00", 8).await.unwrap();
    let good = till.statement(&allowance, "D1", &[(SOAP, 1)]);
    let signed = till.sign(&good);
    let mut forged = signed.clone();
    forged.signature[7] ^= 1;
    let cheaper = OfflineSaleStatement {
        total: "3.00".into(),
        ..good.clone()
    };
    let changed = Signed {
        statement: record::canonical(&cheaper),
        signature: signed.signature.clone(),
    };
    let elsewhere = till.sign(&OfflineSaleStatement {
        terminal: "T2".into(),
        ..good.clone()
    });
    let far = till.sign(&OfflineSaleStatement {
        number: 1_000_000,
        ..good.clone()
    });
    let mut padded = signed.clone();
    padded.statement.extend([0x98, 0x06, 0x01]);
    let bad = [forged, changed, elsewhere, far, padded];
    let outcomes = stall.upload(&till, &bad).await.unwrap();
    assert_eq!(
        told(&outcomes),
        [
            "1 REFUSED SIGNATURE_BROKEN",
            "1 REFUSED SIGNATURE_BROKEN",
            "0 REFUSED MALFORMED",
            "1000000 REFUSED MALFORMED",
            "0 REFUSED MALFORMED"
        ]
    );
    let again = stall.upload(&till, &bad).await.unwrap();
    assert!(
        again
            .iter()
            .all(|outcome| outcome.replayed && outcome.state() == OfflineSaleState::Refused)
    );
    assert_eq!(stall.work(WorkKind::OfflineEvidence).await.len(), 5);
    assert_eq!(stall.has("D1").await, ("60.00".into(), "40.00".into()));
    // The number is still free for the sale that is one.
    till.enter(&good);
    assert_eq!(told(&stall.upload(&till, &[signed]).await.unwrap()), ["1 CAPTURED"]);
    // And then it is taken.
    let dearer = OfflineSaleStatement {
        sold_at_s: good.sold_at_s + 1,
        ..good
    };
    let repeat = till.sign(&dearer);
    let outcomes = stall.upload(&till, &[repeat.clone(), repeat]).await.unwrap();
    assert_eq!(
        told(&outcomes),
        ["1 REFUSED CHANGED_REPEAT", "1 REFUSED CHANGED_REPEAT again"]
    );
    let item = stall.work(WorkKind::OfflineEvidence).await.into_iter().find(|item| {
        let facts = item.facts.as_ref().and_then(|facts| facts.facts.as_ref());
        matches!(facts, Some(work_facts::Facts::OfflineEvidence(facts)) if facts.recorded_hash == till.hash)
    });
    assert!(item.is_some());
    assert_eq!(stall.has("D1").await, ("60.00".into(), "36.00".into()));
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broken_chain_is_reviewed_and_goes_on_from_there() {
    let stall = Stall::open().await;
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "40.00", 8).await.unwrap();
    let first = till.sell(&allowance, "D1", &[(SOAP, 1)]);
    till.hash[0] ^= 1;
    let second = till.sell(&allowance, "D1", &[(SOAP, 1)]);
    let third = till.sell(&allowance, "D1", &[(SOAP, 1)]);
    assert_eq!(
        told(&stall.upload(&till, &[first, second, third]).await.unwrap()),
        ["1 CAPTURED", "2 REVIEW CHAIN_BROKEN", "3 CAPTURED"]
    );
    let mut other = stall.till("T2").await;
    other.hash[0] ^= 1;
    let allowance = stall.reserve(&other, "D2", "40.00", 8).await.unwrap();
    let unchained = other.sell(&allowance, "D2", &[(SOAP, 1)]);
    assert_eq!(
        told(&stall.upload(&other, &[unchained]).await.unwrap()),
        ["1 REVIEW CHAIN_BROKEN"]
    );
    assert_eq!(stall.work(WorkKind::OfflineSale).await.len(), 2);
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn prices_are_those_of_the_version_the_terminal_held() {
    let stall = Stall::open().await;
    let mut till = stall.till("T1").await;
    let old = stall.reserve(&till, "D1", "40.00", 8).await.unwrap();
    let admin = stall.token(Role::Admin, "root");
    let mut shop = CommissaryServiceClient::new(stall.channel.clone());
    let get = GetProductRequest {
        name: "centers/C1/products/SOAP".into(),
    };
    let soap = shop.get_product(with_token(&admin, get)).await.unwrap().into_inner();
    let update = UpdateProductRequest {
        product: Some(Product {
            price: money("3.50"),
            ..soap
        }),
        reason: "spring".into(),
    };
    shop.update_product(with_token(&admin, update)).await.unwrap();
    let new = stall.reserve(&till, "D2", "40.00", 8).await.unwrap();
    let lines: [Line<'_>; 6] = [
        (SOAP, 1),
        (("SOAP", 2, "3.50"), 1),
        (("SOAP", 2, "4.00"), 1),
        (("SOAP", 3, "3.50"), 1),
        (("TEA", 1, "3.50"), 1),
        (("SOAP", 1, "4.00"), 1),
    ];
    let mut sales: Vec<Signed> = lines[..5].iter().map(|line| till.sell(&old, "D1", &[*line])).collect();
    sales.push(till.sell(&new, "D2", &[lines[5]]));
    assert_eq!(
        told(&stall.upload(&till, &sales).await.unwrap()),
        [
            "1 CAPTURED",
            "2 CAPTURED",
            "3 REVIEW PRICE_DIFFERS",
            "4 REVIEW PRICE_VERSION_UNKNOWN",
            "5 REVIEW PRODUCT_UNKNOWN",
            "6 REVIEW PRICE_OUTDATED"
        ]
    );
    assert_eq!(stall.has("D1").await, ("60.00".into(), "32.50".into()));
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn statements_that_cannot_be_are_reviewed() {
    let stall = Stall::open().await;
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "40.00", 8).await.unwrap();
    let spoil: [fn(&mut OfflineSaleStatement); 7] = [
        |bad| bad.total = "5.00".into(),
        |bad| bad.lines.clear(),
        |bad| bad.currency_code = "USD".into(),
        |bad| bad.detainee = "D\u{0}".into(),
        |bad| bad.sold_at_s = i64::MIN,
        |bad| bad.detainee = "D9".into(),
        |bad| bad.allowance = -1,
    ];
    let mut sales = Vec::new();
    for spoil in spoil {
        let mut statement = till.statement(&allowance, "D1", &[(SOAP, 1)]);
        spoil(&mut statement);
        sales.push(till.enter(&statement));
    }
    let mut reasons = told(&stall.upload(&till, &sales).await.unwrap());
    assert_eq!(
        reasons.split_off(5),
        ["6 REVIEW DETAINEE_UNKNOWN", "7 REVIEW ALLOWANCE_UNKNOWN"]
    );
    assert!(
        reasons.iter().all(|told| told.ends_with("REVIEW STATEMENT_INVALID")),
        "{reasons:?}"
    );
    assert_eq!(stall.has("D1").await, ("60.00".into(), "40.00".into()));
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_revoked_terminal_sold_is_reviewed() {
    let stall = Stall::open().await;
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "40.00", 8).await.unwrap();
    let sale = till.sell(&allowance, "D1", &[(SOAP, 1)]);
    let revoke = RevokeTerminalRequest {
        name: till.name(),
        reason: "stolen".into(),
    };
    let asked = with_token(&stall.token(Role::Admin, "root"), revoke);
    let mut terminals = TerminalServiceClient::new(stall.channel.clone());
    terminals.revoke_terminal(asked).await.unwrap();
    assert_eq!(refused(stall.reserve(&till, "D2", "1.00", 8).await), "TERMINAL_REVOKED");
    let finance = stall.token(Role::Finance, "alice");
    let outcomes = upload(stall.channel.clone(), &finance, &till.name(), &[sale])
        .await
        .unwrap();
    assert_eq!(told(&outcomes), ["1 REVIEW TERMINAL_REVOKED"]);
    assert_eq!(stall.has("D1").await, ("60.00".into(), "40.00".into()));
    stall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_clocks_are_told_and_refuse_nothing() {
    let stall = Stall::open().await;
    let mut till = stall.till("T1").await;
    let allowance = stall.reserve(&till, "D1", "40.00", 1).await.unwrap();
    let mut sales = Vec::new();
    for hours in [-5, 3, -1] {
        let mut statement = till.statement(&allowance, "D1", &[(SOAP, 1)]);
        statement.sold_at_s += hours * 3600;
        sales.push(till.enter(&statement));
    }
    let outcomes = stall.upload(&till, &sales).await.unwrap();
    assert_eq!(told(&outcomes), ["1 CAPTURED", "2 CAPTURED", "3 CAPTURED"]);
    let flags: Vec<String> = outcomes.iter().map(|outcome| outcome.flags.join(" ")).collect();
    assert_eq!(
        flags,
        [
            "SOLD_BEFORE_ALLOWANCE",
            "SOLD_AFTER_EXPIRY SOLD_IN_FUTURE",
            "SOLD_BEFORE_ALLOWANCE SOLD_BEFORE_PREVIOUS"
        ]
    );
    stall.verified().await;
}
