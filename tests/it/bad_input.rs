//! Amounts that are none are refused at the door. Field by field, as a table; each with a
//! code, a reason and the field's name, and nothing changes.

use custody_ledger::proto::*;
use prost::Message as _;
use tonic::Code;
use uuid::Uuid;

use crate::{
    spending,
    whole_service::{Hall, money, remittance_of},
};

/// A message with an amount, or without.
struct AmountRow {
    method: &'static str,
    field: &'static str,
    may_be_zero: bool,
    may_be_left_out: bool,
    make: fn(Option<Money>) -> Vec<u8>,
}

fn screening() -> ScreeningSettings {
    ScreeningSettings {
        payment_max: 3,
        payment_days: 7,
        payer_max: 3,
        detainee_max: 3,
        party_days: 28,
        review_hours: 72,
    }
}

fn settings(change: impl FnOnce(&mut CenterSettings)) -> Vec<u8> {
    let tier_limits = (1..=4).map(|tier| TierLimit {
        tier,
        amount: money("400"),
    });
    let mut settings = CenterSettings {
        name: "centers/C1/settings".into(),
        purchase_amount_max: money("200"),
        tier_limits: tier_limits.collect(),
        festival_bonus: money("200"),
        festival_months: Vec::new(),
        remittance_amount_max: money("1000"),
        balance_cap: money("5000"),
        quote_ttl: 1800,
        etag: String::new(),
        payment_count_max: 1,
        screening: Some(screening()),
        spending: None,
    };
    change(&mut settings);
    UpdateCenterSettingsRequest {
        settings: Some(settings),
    }
    .encode_to_vec()
}

fn limits(change: impl FnOnce(&mut SpendingSettings, &mut TierWindowLimits)) -> Vec<u8> {
    settings(|settings| {
        let (mut spending, mut tier) = (SpendingSettings::default(), TierWindowLimits::default());
        tier.tier = 1;
        change(&mut spending, &mut tier);
        spending.tiers = vec![tier];
        settings.spending = Some(spending);
    })
}

fn center(change: impl FnOnce(&mut CenterSettings)) -> Vec<u8> {
    let mut settings = CenterSettings::default();
    change(&mut settings);
    let center = Center {
        display_name: "Second".into(),
        time_zone: "Asia/Shanghai".into(),
        currency_code: "CNY".into(),
        settings: Some(settings),
        ..Default::default()
    };
    CreateCenterRequest {
        center_id: "C2".into(),
        center: Some(center),
    }
    .encode_to_vec()
}

fn product(name: &str, price: Option<Money>) -> Option<Product> {
    Some(Product {
        name: name.into(),
        vendor: "centers/C1/vendors/V1".into(),
        display_name: "Tea".into(),
        category: ProductCategory::Food.into(),
        price,
        ..Default::default()
    })
}

fn proposed(price: Option<Money>, approved_price: Option<Money>) -> Vec<u8> {
    ProposePriceRequest {
        name: "centers/C1/products/RICE".into(),
        price,
        approved_price,
        reason: "dear".into(),
        request_id: Uuid::new_v4().to_string(),
    }
    .encode_to_vec()
}

const AMOUNTS: [AmountRow; 22] = [
    AmountRow {
        method: "RemittanceService/CreateRemittance",
        field: "amount",
        may_be_zero: false,
        may_be_left_out: false,
        make: |amount| {
            CreateRemittanceRequest {
                amount,
                ..remittance_of("P1", "D1", "1", Uuid::new_v4())
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "RefundService/CreateRefund",
        field: "amount",
        may_be_zero: false,
        may_be_left_out: false,
        make: |amount| {
            CreateRefundRequest {
                parent: "centers/C1".into(),
                remittance: "centers/C1/remittances/R0000000000000001".into(),
                amount,
                reason: "wrong person".into(),
                request_id: Uuid::new_v4().to_string(),
                suspense_transaction: String::new(),
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "DistributionService/PreviewDistribution",
        field: "amount",
        may_be_zero: false,
        may_be_left_out: false,
        make: |amount| {
            PreviewDistributionRequest {
                detainee: "centers/C1/detainees/D1".into(),
                amount,
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "DistributionService/CreateCourtOrder",
        field: "court_order.total",
        may_be_zero: false,
        may_be_left_out: false,
        make: |total| {
            CreateCourtOrderRequest {
                parent: "centers/C1/detainees/D1".into(),
                court_order_id: "C9".into(),
                court_order: Some(CourtOrder {
                    document: "2031-9".into(),
                    total,
                    ..Default::default()
                }),
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "DistributionService/UpdateDistributionPolicy",
        field: "distribution_policy.savings_cap",
        may_be_zero: true,
        may_be_left_out: true,
        make: |savings_cap| {
            UpdateDistributionPolicyRequest {
                distribution_policy: Some(DistributionPolicy {
                    name: "centers/C1/distributionPolicy".into(),
                    savings_percent: "10".into(),
                    savings_cap,
                    ..Default::default()
                }),
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "CommissaryService/CreateProduct",
        field: "product.price",
        may_be_zero: false,
        may_be_left_out: false,
        make: |price| {
            CreateProductRequest {
                parent: "centers/C1".into(),
                product_id: "TEA".into(),
                product: product("", price),
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "CommissaryService/CreateProduct",
        field: "product.approved_price",
        may_be_zero: false,
        may_be_left_out: true,
        make: |approved_price| {
            CreateProductRequest {
                parent: "centers/C1".into(),
                product_id: "TEA".into(),
                product: product("", money("1")).map(|product| Product {
                    approved_price,
                    ..product
                }),
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "CatalogueService/ProposePrice",
        field: "price",
        may_be_zero: false,
        may_be_left_out: false,
        make: |price| proposed(price, money("9")),
    },
    AmountRow {
        method: "CatalogueService/ProposePrice",
        field: "approved_price",
        may_be_zero: false,
        may_be_left_out: false,
        make: |approved_price| proposed(money("1"), approved_price),
    },
    AmountRow {
        method: "CommissaryService/UpdateProduct",
        field: "product.price",
        may_be_zero: false,
        may_be_left_out: false,
        make: |price| {
            UpdateProductRequest {
                product: product("centers/C1/products/RICE", price),
                reason: String::new(),
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.purchase_amount_max",
        may_be_zero: false,
        may_be_left_out: false,
        make: |amount| settings(|settings| settings.purchase_amount_max = amount),
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.remittance_amount_max",
        may_be_zero: false,
        may_be_left_out: false,
        make: |amount| settings(|settings| settings.remittance_amount_max = amount),
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.balance_cap",
        may_be_zero: false,
        may_be_left_out: false,
        make: |amount| settings(|settings| settings.balance_cap = amount),
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.festival_bonus",
        may_be_zero: true,
        may_be_left_out: false,
        make: |amount| settings(|settings| settings.festival_bonus = amount),
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.tier_limits[0].amount",
        may_be_zero: true,
        may_be_left_out: false,
        make: |amount| settings(|settings| settings.tier_limits[0].amount = amount),
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.spending.tiers[0].order_limit",
        may_be_zero: false,
        may_be_left_out: true,
        make: |amount| limits(|_, tier| tier.order_limit = amount),
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.spending.tiers[0].daily_limit",
        may_be_zero: true,
        may_be_left_out: true,
        make: |amount| limits(|_, tier| tier.daily_limit = amount),
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.spending.tiers[0].weekly_limit",
        may_be_zero: true,
        may_be_left_out: true,
        make: |amount| limits(|_, tier| tier.weekly_limit = amount),
    },
    AmountRow {
        method: "CustodyService/UpdateCenterSettings",
        field: "settings.spending.grant_below",
        may_be_zero: true,
        may_be_left_out: true,
        make: |amount| limits(|spending, _| spending.grant_below = amount),
    },
    AmountRow {
        method: "SpendingService/ProposeLimitOverride",
        field: "amount",
        may_be_zero: true,
        may_be_left_out: false,
        make: |amount| {
            ProposeLimitOverrideRequest {
                amount,
                ..spending::override_of(&Uuid::new_v4().to_string(), LimitWindow::Month, "")
            }
            .encode_to_vec()
        },
    },
    AmountRow {
        method: "CustodyService/CreateCenter",
        field: "settings.balance_cap",
        may_be_zero: false,
        may_be_left_out: true,
        make: |amount| center(|settings| settings.balance_cap = amount),
    },
    AmountRow {
        method: "CustodyService/CreateCenter",
        field: "settings.tier_limits[0].amount",
        may_be_zero: true,
        may_be_left_out: false,
        make: |amount| center(|settings| settings.tier_limits = vec![TierLimit { tier: 1, amount }]),
    },
];

#[tokio::test(flavor = "multi_thread")]
async fn amounts_that_are_not_money_are_refused_in_every_field() {
    let hall = Hall::open().await;
    let (before, seq) = (hall.everything().await, hall.seq().await);
    for row in AMOUNTS {
        let AmountRow { method, field, .. } = row;
        let mut texts = vec![
            "1.001",
            "-1",
            "-0.01",
            "",
            " 1",
            "1 ",
            "+1",
            "1e3",
            "1,000",
            "0x1",
            "NaN",
            "١",
            "1.",
            ".5",
            "1000000000000",
            "999999999999999999999999999999",
            "1.000000000000000000000000000001",
        ];
        if !row.may_be_zero {
            texts.extend(["0", "0.00"]);
        }
        for text in texts {
            let refused = hall.refused(text, method, (row.make)(money(text))).await;
            let told = (refused.code, refused.reason.as_str(), refused.field.as_deref());
            let at = format!("{method}, {field} {text:?}");
            let path = format!("{field}.amount");
            assert_eq!(
                told,
                (Code::InvalidArgument, "INVALID_FIELD", Some(path.as_str())),
                "{at}"
            );
        }
        for code in ["USD", "", "cny", "CNYY", "人民币"] {
            let foreign = Money {
                currency_code: code.into(),
                amount: "1".into(),
            };
            let refused = hall.refused(code, method, (row.make)(Some(foreign))).await;
            let told = (refused.code, refused.reason.as_str(), refused.field.as_deref());
            let at = format!("{method}, {field} in {code:?}");
            assert_eq!(told, (Code::InvalidArgument, "CURRENCY_MISMATCH", Some(field)), "{at}");
        }
        if !row.may_be_left_out {
            let refused = hall.refused("left out", method, (row.make)(None)).await;
            let told = (refused.code, refused.reason.as_str(), refused.field.as_deref());
            assert_eq!(
                told,
                (Code::InvalidArgument, "INVALID_FIELD", Some(field)),
                "{method}, {field} left out"
            );
        }
        assert_eq!(hall.seq().await, seq, "{method}");
    }
    assert_eq!(hall.everything().await, before);
    hall.verified().await;
}
