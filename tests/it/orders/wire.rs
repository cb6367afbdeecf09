//! Orders over the wire: who may do what, what is told, and how it looks afterwards.

use custody_ledger::{
    access::{Role, Scope},
    ids::{CenterId, TerminalId},
    proto::{
        CancelOrderRequest, CreateReturnLine, CreateReturnRequest, GetOrderRequest, GetOrderingRulesRequest,
        ListOrdersRequest, ListOrdersResponse, ListReturnsRequest, ListReturnsResponse, ListWorkItemsRequest,
        ListWorkItemsResponse, Order, OrderChange, OrderingRules, OrderingWindow, PreviewSettlementRequest, Return,
        SettlementPreview, UpdateOrderingRulesRequest, WorkKind, order::State, order_change::Kind,
        resolve_order_dispute_request::Verdict, work_item,
    },
};
use prost::Message as _;
use tonic::Code;
use uuid::Uuid;

use super::{cancelling, delivery, disputing, order_of, resolving};
use crate::whole_service::{Hall, Refused};

fn id() -> String {
    Uuid::new_v4().to_string()
}

async fn get(hall: &Hall, name: &str) -> Order {
    let message = GetOrderRequest { name: name.into() };
    hall.ask("OrderService/GetOrder", &message).await.unwrap()
}

fn amount(money: &Option<custody_ledger::proto::Money>) -> &str {
    money.as_ref().map_or("", |money| &money.amount)
}

async fn owed(hall: &Hall) -> String {
    let message = PreviewSettlementRequest {
        parent: "centers/C1".into(),
        vendor: "centers/C1/vendors/V1".into(),
        through_date: "2099-01-01".into(),
    };
    let preview: SettlementPreview = hall.ask("SettlementService/PreviewSettlement", &message).await.unwrap();
    amount(&preview.total).to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_from_its_terminal_to_the_dispute() {
    let hall = Hall::open().await;
    let shop = hall.token(Role::Commissary);
    let message = order_of(&id(), "D1", &[("RICE", 4), ("SOAP", 2)]);
    let placed: Order = hall.ask("OrderService/CreateOrder", &message).await.unwrap();
    assert_eq!((placed.state(), amount(&placed.held)), (State::Open, "18.00"));
    assert_eq!(amount(&placed.available_after), "72.00");
    assert_eq!(placed.lines[0].open_quantity, 4);
    let again = hall
        .call(
            "OrderService/CreateOrder",
            &hall.token(Role::Terminal),
            message.encode_to_vec(),
        )
        .await
        .unwrap();
    assert!(again.replayed);
    assert_eq!(Order::decode(again.message.as_slice()).unwrap(), placed);
    assert_eq!(hall.balances("D1").await[..2], ["72.00".to_owned(), "18.00".to_owned()]);

    let deliver = "OrderService/ConfirmDelivery";
    let message = delivery(&id(), &placed.name, &[(1, 2, 1), (2, 2, 0)]);
    let came: OrderChange = hall.ask_as(deliver, &shop, &message).await.unwrap();
    assert_eq!((came.kind(), came.state()), (Kind::Delivered, State::Open));
    assert_eq!([amount(&came.captured), amount(&came.released)], ["13.00", "2.50"]);
    assert_eq!(owed(&hall).await, "23.00");

    let message = disputing(&id(), &placed.name, 2);
    let disputed: OrderChange = hall.ask("OrderService/DisputeOrderLine", &message).await.unwrap();
    assert_eq!((amount(&disputed.contested), disputed.kind()), ("8.00", Kind::Disputed));
    assert_eq!(owed(&hall).await, "15.00");
    let list = ListWorkItemsRequest {
        parent: "centers/C1".into(),
        kind: WorkKind::OrderDispute.into(),
        ..Default::default()
    };
    let work: ListWorkItemsResponse = hall.ask("WorkService/ListWorkItems", &list).await.unwrap();
    let [item] = &work.work_items[..] else {
        panic!("{work:?}");
    };
    assert!(
        item.subject.starts_with(&placed.name) && item.state() == work_item::State::Open,
        "{item:?}"
    );

    let message = resolving(&id(), &placed.name, 2, Verdict::ForVendor);
    let resolved: OrderChange = hall.ask("OrderService/ResolveOrderDispute", &message).await.unwrap();
    assert_eq!(amount(&resolved.captured), "8.00");
    assert_eq!(owed(&hall).await, "23.00");
    let work: ListWorkItemsResponse = hall.ask("WorkService/ListWorkItems", &list).await.unwrap();
    assert!(work.work_items.is_empty(), "{work:?}");

    // Goods that came go back, and whoever authorised it is told.
    let message = CreateReturnRequest {
        parent: "centers/C1".into(),
        purchase: placed.name.clone(),
        lines: vec![CreateReturnLine { line: 2, quantity: 1 }],
        reason: "torn".into(),
        request_id: id(),
        authorised_by: "officer 12".into(),
    };
    let back: Return = hall.ask("CommissaryService/CreateReturn", &message).await.unwrap();
    assert_eq!(
        (back.purchase.as_str(), back.authorised_by.as_str()),
        (placed.name.as_str(), "officer 12")
    );
    let message = ListReturnsRequest {
        parent: "centers/C1".into(),
        purchase: placed.name.clone(),
        ..Default::default()
    };
    let returns: ListReturnsResponse = hall.ask("CommissaryService/ListReturns", &message).await.unwrap();
    assert_eq!(returns.returns, [back]);

    let message = delivery(&id(), &placed.name, &[(1, 0, 1)]);
    let came: OrderChange = hall.ask_as(deliver, &shop, &message).await.unwrap();
    assert_eq!((came.state(), amount(&came.released)), (State::Short, "2.50"));
    let found = get(&hall, &placed.name).await;
    assert_eq!(
        (found.state(), amount(&found.held), amount(&found.captured)),
        (State::Short, "0.00", "9.00")
    );
    let kinds: Vec<Kind> = found.changes.iter().map(OrderChange::kind).collect();
    assert_eq!(
        kinds,
        [Kind::Delivered, Kind::Disputed, Kind::Resolved, Kind::Delivered]
    );
    let line = &found.lines[1];
    assert_eq!(
        (line.delivered_quantity, line.returned_quantity, line.dispute.as_str()),
        (1, 1, "")
    );
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_do_what_with_orders() {
    let hall = Hall::open().await;
    let placed: Order = hall
        .ask("OrderService/CreateOrder", &order_of(&id(), "D1", &[("RICE", 1)]))
        .await
        .unwrap();
    let name = placed.name.as_str();
    let other_terminal = Scope {
        center: Some(CenterId::parse("C1").unwrap()),
        payer: None,
        terminal: Some(TerminalId::parse("T2").unwrap()),
    };
    let other_terminal = hall.service.token(Role::Terminal, other_terminal);
    let read = GetOrderRequest { name: name.into() }.encode_to_vec();
    let give_up = cancelling(&id(), name, "").encode_to_vec();
    let dispute = disputing(&id(), name, 1).encode_to_vec();
    for (method, message) in [
        ("OrderService/GetOrder", read),
        ("OrderService/CancelOrder", give_up),
        ("OrderService/DisputeOrderLine", dispute.clone()),
    ] {
        let refused = hall
            .refused_as("another terminal", method, &other_terminal, message)
            .await;
        assert_eq!(refused.code, Code::PermissionDenied, "{method}");
    }
    let deliver = delivery(&id(), name, &[(1, 1, 0)]).encode_to_vec();
    for role in [Role::Terminal, Role::Finance, Role::Auditor, Role::Payer] {
        let refused = hall
            .refused_as(
                "role",
                "OrderService/ConfirmDelivery",
                &hall.token(role),
                deliver.clone(),
            )
            .await;
        assert_eq!(refused.code, Code::PermissionDenied, "{role:?}");
    }
    // The vendor's side neither disputes nor decides.
    let resolve = resolving(&id(), name, 1, Verdict::ForVendor).encode_to_vec();
    let shop = hall.token(Role::Commissary);
    for (method, message) in [
        ("OrderService/DisputeOrderLine", dispute),
        ("OrderService/ResolveOrderDispute", resolve),
        (
            "OrderService/CreateOrder",
            order_of(&id(), "D1", &[("RICE", 1)]).encode_to_vec(),
        ),
    ] {
        let refused = hall.refused_as("the shop", method, &shop, message).await;
        assert_eq!(refused.code, Code::PermissionDenied, "{method}");
    }
    let instead = {
        let mut message = delivery(&id(), name, &[(1, 1, 0)]);
        message.lines[0].product = "centers/C1/products/SOAP".into();
        message
    };
    let refused = hall
        .refused_as(
            "another product",
            "OrderService/ConfirmDelivery",
            &shop,
            instead.encode_to_vec(),
        )
        .await;
    assert!(
        refused.is(Code::FailedPrecondition, "SUBSTITUTION_REFUSED"),
        "{refused:?}"
    );
    let twice = delivery(&id(), name, &[(1, 1, 0), (1, 1, 0)]).encode_to_vec();
    let refused = hall.refused("twice", "OrderService/ConfirmDelivery", twice).await;
    assert_eq!(refused.field.as_deref(), Some("lines[1].line"));
    assert_eq!(get(&hall, name).await.state(), State::Open);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_are_taken_in_windows_and_listed() {
    let hall = Hall::open().await;
    let rules_name = "centers/C1/orderingRules".to_owned();
    let method = "OrderService/UpdateOrderingRules";
    let update = |windows: Vec<OrderingWindow>, etag: &str| UpdateOrderingRulesRequest {
        rules: Some(OrderingRules {
            name: rules_name.clone(),
            windows,
            hold_days: 3,
            etag: etag.into(),
            ..Default::default()
        }),
        reason: "season".into(),
    };
    let window = |weekday, open_time: &str, cut_off_time: &str| OrderingWindow {
        weekday,
        open_time: open_time.into(),
        cut_off_time: cut_off_time.into(),
    };
    for (bad, field) in [
        (window(0, "08:00", "09:00"), "rules.windows[0].weekday"),
        (window(8, "08:00", "09:00"), "rules.windows[0].weekday"),
        (window(1, "8:00", "09:00"), "rules.windows[0].open_time"),
        (window(1, "08:00", "24:01"), "rules.windows[0].cut_off_time"),
        (window(1, "08:00", "08:00"), "rules.windows[0].cut_off_time"),
    ] {
        let refused = hall.refused(field, method, update(vec![bad], "").encode_to_vec()).await;
        assert_eq!(refused.field.as_deref(), Some(field));
    }
    // Of today and the two days around it only the day after the day after tomorrow is none: a window far from now.
    let zone = hall.center.zone;
    let today = zone.business_date(time::OffsetDateTime::now_utc());
    let far = today.weekday().nth_next(3).number_from_monday().into();
    let rules: OrderingRules = hall
        .ask(method, &update(vec![window(far, "08:00", "24:00")], "0"))
        .await
        .unwrap();
    assert_eq!((rules.hold_days, rules.return_days, rules.etag.as_str()), (3, 30, "1"));
    let refused = hall
        .refused("stale", method, update(Vec::new(), "0").encode_to_vec())
        .await;
    assert!(refused.is(Code::Aborted, "STALE_ETAG"), "{refused:?}");
    let message = order_of(&id(), "D1", &[("RICE", 1)]);
    let status = hall
        .ask::<Order>("OrderService/CreateOrder", &message)
        .await
        .unwrap_err();
    let refused = Refused::of(&status, "closed");
    assert!(refused.is(Code::FailedPrecondition, "ORDERING_CLOSED"), "{refused:?}");
    let (_, facts) = custody_ledger::api::status::reason_of(&status).unwrap();
    assert!(facts["opens_at"].ends_with("T00:00:00Z"), "{facts:?}");
    let all = (1..=7).map(|day| window(day, "00:00", "24:00"));
    let _: OrderingRules = hall.ask(method, &update(all.collect(), "1")).await.unwrap();
    let mut names = Vec::new();
    for _ in 0..3 {
        let message = order_of(&id(), "D1", &[("RICE", 1)]);
        let placed: Order = hall.ask("OrderService/CreateOrder", &message).await.unwrap();
        assert!(placed.cut_off_time.is_some());
        names.push(placed.name);
    }
    let give_up: CancelOrderRequest = cancelling(&id(), &names[1], "mistaken");
    let given_up: OrderChange = hall.ask("OrderService/CancelOrder", &give_up).await.unwrap();
    assert_eq!(
        (given_up.state(), given_up.reason.as_str()),
        (State::Cancelled, "mistaken")
    );
    let list = ListOrdersRequest {
        parent: "centers/C1".into(),
        detainee: "centers/C1/detainees/D1".into(),
        open: true,
        page_size: 1,
        page_token: String::new(),
    };
    let page: ListOrdersResponse = hall.ask("OrderService/ListOrders", &list).await.unwrap();
    assert_eq!(page.orders[0].name, names[2]);
    let next = ListOrdersRequest {
        page_token: page.next_page_token,
        ..list
    };
    let page: ListOrdersResponse = hall.ask("OrderService/ListOrders", &next).await.unwrap();
    assert_eq!(
        (page.orders[0].name.as_str(), page.next_page_token.as_str()),
        (names[0].as_str(), "")
    );
    let read = GetOrderingRulesRequest { name: rules_name };
    let rules: OrderingRules = hall.ask("OrderService/GetOrderingRules", &read).await.unwrap();
    assert_eq!(rules.windows.len(), 7);
    hall.verified().await;
}
