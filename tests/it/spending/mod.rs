//! What may be spent in which window, what is frozen or restricted, and kits for those who have nothing.
//!
//! # Layout
//! - `order` the order of checks. `windows` days, weeks and months, zones, two processes at a limit. `measures` what two people
//!   decide, over the wire. `kits` grants.

mod kits;
mod measures;
mod order;
mod windows;

use custody_ledger::{
    approval::{Approval, Asking, Desk, End, Verdict},
    commissary::{
        Category, Window,
        spending::{Measure, NewFreeze, NewOverride, NewRestriction},
    },
    ledger::{Center, LedgerError},
    proto::{
        CancelKitGrantRequest, GrantKitRequest, LimitWindow, ProductCategory, ProposeFreezeEndRequest,
        ProposeFreezeRequest, ProposeLimitOverrideRequest, RestrictCategoriesRequest,
    },
};
use prost::Message as _;
use prost_types::Timestamp;
use time::OffsetDateTime;

use crate::{
    bad_requests::RequestRow,
    goods::somebody,
    whole_service::money,
    world::{Process, cny, id, request},
};

/// Until when something holds.
#[derive(Debug, Clone, Copy)]
pub struct Until(pub OffsetDateTime);

/// Far away, but not too far for a measure.
pub fn in_half_a_year() -> Timestamp {
    let at = OffsetDateTime::now_utc() + time::Duration::days(180);
    // The same for a day, so that the same request is the same.
    let at = at.replace_time(time::Time::MIDNIGHT);
    Timestamp {
        seconds: at.unix_timestamp(),
        nanos: 0,
    }
}

pub fn override_of(request_id: &str, window: LimitWindow, amount: &str) -> ProposeLimitOverrideRequest {
    ProposeLimitOverrideRequest {
        detainee: "centers/C1/detainees/D1".into(),
        window: window.into(),
        amount: money(amount),
        start_time: None,
        end_time: Some(in_half_a_year()),
        document: "2031-9".into(),
        reason: "ill".into(),
        request_id: request_id.into(),
    }
}

pub fn freeze_of(request_id: &str, document: &str) -> ProposeFreezeRequest {
    ProposeFreezeRequest {
        detainee: "centers/C1/detainees/D1".into(),
        document: document.into(),
        days: 0,
        renews: String::new(),
        reason: "ordered".into(),
        request_id: request_id.into(),
    }
}

pub fn restriction_of(request_id: &str, category: ProductCategory) -> RestrictCategoriesRequest {
    RestrictCategoriesRequest {
        detainee: "centers/C1/detainees/D1".into(),
        categories: vec![category.into()],
        start_time: None,
        end_time: Some(in_half_a_year()),
        document: String::new(),
        reason: "fought".into(),
        request_id: request_id.into(),
    }
}

fn freeze_end(request_id: &str, reason: &str) -> ProposeFreezeEndRequest {
    ProposeFreezeEndRequest {
        name: "centers/C1/spendingMeasures/9".into(),
        reason: reason.into(),
        request_id: request_id.into(),
    }
}

fn grant_of(request_id: &str, detainee: &str) -> GrantKitRequest {
    GrantKitRequest {
        detainee: format!("centers/C1/detainees/{detainee}"),
        request_id: request_id.into(),
    }
}

fn cancel_of(request_id: &str, reason: &str) -> CancelKitGrantRequest {
    CancelKitGrantRequest {
        name: "centers/C1/kitGrants/9".into(),
        reason: reason.into(),
        request_id: request_id.into(),
    }
}

pub const REQUESTS: [RequestRow; 6] = [
    RequestRow {
        method: "SpendingService/ProposeLimitOverride",
        make: |id| override_of(id, LimitWindow::Month, "900").encode_to_vec(),
        other: |id| override_of(id, LimitWindow::Month, "901").encode_to_vec(),
        fields: "amount",
    },
    RequestRow {
        method: "SpendingService/ProposeFreeze",
        make: |id| freeze_of(id, "2031-9").encode_to_vec(),
        other: |id| freeze_of(id, "2031-10").encode_to_vec(),
        fields: "document",
    },
    RequestRow {
        method: "SpendingService/ProposeFreezeEnd",
        make: |id| freeze_end(id, "lifted").encode_to_vec(),
        other: |id| freeze_end(id, "over").encode_to_vec(),
        fields: "reason",
    },
    RequestRow {
        method: "SpendingService/RestrictCategories",
        make: |id| restriction_of(id, ProductCategory::Daily).encode_to_vec(),
        other: |id| restriction_of(id, ProductCategory::Books).encode_to_vec(),
        fields: "categories",
    },
    RequestRow {
        method: "SpendingService/GrantKit",
        make: |id| grant_of(id, "D2").encode_to_vec(),
        other: |id| grant_of(id, "D3").encode_to_vec(),
        fields: "detainee",
    },
    RequestRow {
        method: "SpendingService/CancelKitGrant",
        make: |id| cancel_of(id, "a mistake").encode_to_vec(),
        other: |id| cancel_of(id, "another").encode_to_vec(),
        fields: "reason",
    },
];

fn asking(method: &'static str, body: &str) -> Asking {
    Asking {
        request: request(method, body.as_bytes()),
        maker: somebody("alice"),
        reason: "ordered".into(),
    }
}

/// Another allows what was asked for; why it could not be done, if it could not.
async fn allowed(
    process: &Process,
    center: &Center,
    asked: Result<(Approval, bool), LedgerError>,
) -> Result<(), LedgerError> {
    let (asked, _) = asked?;
    let desk = Desk::new(process.lanes.clone(), process.commissary.runners());
    let bob = somebody("bob");
    let decided = desk.decide(center, asked.no, &bob, Verdict::Approved, "seen".into());
    match decided.await?.end {
        Some((End::Failed(refusal), _)) => Err(refusal.into()),
        Some((End::Executed(None), _)) => Ok(()),
        other => panic!("{other:?}"),
    }
}

/// The last measure about a detainee.
pub async fn last_measure(process: &Process, center: &Center, detainee: &str) -> Measure {
    let found = process.commissary.measures(center, Some(&id(detainee)), None, 1).await;
    found.unwrap().pop().unwrap()
}

/// Two people give a detainee another limit.
pub async fn limited(
    process: &Process,
    center: &Center,
    detainee: &str,
    (window, amount): (Window, &str),
    Until(ends_at): Until,
) -> Result<Measure, LedgerError> {
    let new = NewOverride {
        detainee: id(detainee),
        window,
        amount: cny(amount),
        starts_at: None,
        ends_at,
        document: "2031-9".into(),
    };
    let asking = asking("custody.v1.SpendingService/ProposeLimitOverride", amount);
    allowed(
        process,
        center,
        process.commissary.propose_override(center, &asking, new).await,
    )
    .await?;
    Ok(last_measure(process, center, detainee).await)
}

/// Two people freeze a detainee's money, for so many days, or go on with a freeze.
pub async fn frozen(
    process: &Process,
    center: &Center,
    detainee: &str,
    (document, days, renews): (&str, i32, Option<i64>),
) -> Result<Measure, LedgerError> {
    let new = NewFreeze {
        detainee: id(detainee),
        document: document.into(),
        days,
        renews,
    };
    let asking = asking("custody.v1.SpendingService/ProposeFreeze", document);
    allowed(
        process,
        center,
        process.commissary.propose_freeze(center, &asking, new).await,
    )
    .await?;
    Ok(last_measure(process, center, detainee).await)
}

/// Two people end a freeze.
pub async fn thawed(process: &Process, center: &Center, measure: i64) -> Result<(), LedgerError> {
    let asking = asking("custody.v1.SpendingService/ProposeFreezeEnd", &measure.to_string());
    let asked = process.commissary.propose_freeze_end(center, &asking, measure).await;
    allowed(process, center, asked).await
}

/// Restricts a detainee from a category.
pub async fn restricted(
    process: &Process,
    center: &Center,
    detainee: &str,
    category: Category,
    Until(ends_at): Until,
) -> Result<Measure, LedgerError> {
    let new = NewRestriction {
        detainee: id(detainee),
        categories: vec![category],
        starts_at: None,
        ends_at,
        document: String::new(),
    };
    let request = request(
        "custody.v1.SpendingService/RestrictCategories",
        category.name().as_bytes(),
    );
    let made = process.commissary.restrict(center, &request, new, "fought".into());
    made.await.map(|(measure, _)| measure)
}

/// What is spent in the current window, and its limit; `-` if there is none.
pub async fn window(process: &Process, center: &Center, detainee: &str, window: Window) -> [String; 2] {
    let told = process.commissary.spending(center, &id(detainee), None).await.unwrap();
    let found = told.windows.iter().find(|view| view.window == window).unwrap();
    let limit = found.limit.map_or("-".to_owned(), |limit| limit.amount.to_string());
    [found.spent.to_string(), limit]
}
