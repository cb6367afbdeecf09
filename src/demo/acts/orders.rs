//! An order is held for, comes short, is paid for what came, and a line of it is disputed.

use anyhow::Context as _;

use super::{Play, balances};
use crate::{
    demo::{
        books::{Basket, Verdict, cny, text},
        cast::{LAKESIDE, called, product_name},
        check::{done, refused, same},
        desk::request_id,
        goods::{self, Product},
        tell,
    },
    proto::{
        ConfirmDeliveryLine, ConfirmDeliveryRequest, CreateOrderRequest, DisputeOrderLineRequest, GetBalancesRequest,
        GetOrderRequest, Order, OrderChange, ResolveOrderDisputeRequest, order::State,
        resolve_order_dispute_request::Verdict as For,
    },
};

/// What is ordered, and how many.
const ORDERED: [(&str, u32); 2] = [("L101", 3), ("L203", 1)];

/// One step as the page tells it.
type Row = [String; 6];

/// Who orders, and where.
struct Customer {
    detainee: &'static str,
    terminal: &'static str,
}

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(12, "Orders are held for, delivered and disputed", "订购、送货与争议");
    let products = ORDERED.map(|(id, count)| goods::product(id).map(|product| (product, count)));
    let [Some(noodles), Some(soap)] = products else {
        anyhow::bail!("what is ordered is not sold");
    };
    let customer = customer(play)?;
    let order = place(play, &customer, &[noodles, soap]).await?;
    let mut rows = vec![row(play, &customer, "ordered 下单", &order, "").await?];

    let came = deliver(play, &order, [(1, 2, 1), (2, 1, 0)]).await?;
    let paid = cny(noodles.0.price)?.checked_mul(2)?.checked_add(cny(soap.0.price)?)?;
    same("what came is paid", paid, text(came.captured.as_ref()))?;
    same(
        "what will not come is available",
        noodles.0.price,
        text(came.released.as_ref()),
    )?;
    rows.push(
        row(
            play,
            &customer,
            "2 of 3 come 缺一件",
            &order,
            &text(came.captured.as_ref()),
        )
        .await?,
    );

    let disputed = dispute(play, &customer, &order).await?;
    let contested = cny(noodles.0.price)?.checked_mul(2)?;
    same(
        "what is disputed is held again",
        contested,
        text(disputed.contested.as_ref()),
    )?;
    rows.push(row(play, &customer, "disputed 争议", &order, &format!("-{contested}")).await?);

    let resolved = resolve(play, &order).await?;
    same("the detainee gets it back", contested, text(resolved.released.as_ref()))?;
    // What remains is a purchase of what came, of which the disputed goods came back.
    let basket: Basket = vec![(noodles.0, 2), (soap.0, 1)];
    let Verdict::Sold { .. } = play.books.order(customer.detainee, &basket)? else {
        anyhow::bail!("the books refuse what was ordered");
    };
    play.books.take_back(customer.detainee, noodles.0, 2)?;
    rows.push(row(play, &customer, "for the detainee 退还", &order, "").await?);
    let head = [
        "order 订单",
        "what 事项",
        "held 冻结",
        "available 可用",
        "to vendors 付供应商",
        "state 状态",
    ];
    tell::table(head, &[2, 3, 4], rows);
    let terminal = play.stage.terminal(LAKESIDE.id, customer.terminal)?;
    balances(&play.books, &terminal, LAKESIDE.id, customer.detainee).await?;
    Ok(())
}

/// Somebody who can pay for it and has something left of their month.
fn customer(play: &Play) -> anyhow::Result<Customer> {
    let enough = cny("20.00")?;
    let terminals = LAKESIDE.terminals.iter();
    let mut all = terminals.flat_map(|terminal| terminal.detainees.iter().map(|detainee| (*detainee, terminal.id)));
    let found = all.find(|(detainee, _)| {
        let page = play.books.page(detainee);
        let headroom = play.books.headroom(detainee);
        page.is_ok_and(|page| page.available >= enough) && headroom.is_ok_and(|left| left >= enough)
    });
    let (detainee, terminal) = found.context("nobody has anything left")?;
    Ok(Customer { detainee, terminal })
}

async fn place(play: &Play, customer: &Customer, goods: &[(&'static Product, u32)]) -> anyhow::Result<Order> {
    let id = request_id(&["order", customer.detainee]);
    let purchase = super::buy::purchase_of(LAKESIDE.id, customer.detainee, &goods.to_vec(), id);
    let request = CreateOrderRequest {
        parent: purchase.parent,
        detainee: purchase.detainee,
        lines: purchase.lines,
        request_id: purchase.request_id,
    };
    let terminal = play.stage.terminal(LAKESIDE.id, customer.terminal)?;
    let order = done("order", terminal.order().create_order(request).await)?;
    same(
        "all of it is held",
        text(order.total.as_ref()),
        text(order.held.as_ref()),
    )?;
    tell::say(format!(
        "{} orders noodles and soap for the next delivery.",
        called(customer.detainee)
    ));
    Ok(order)
}

async fn deliver(play: &Play, order: &Order, lines: [(i32, i32, i32); 2]) -> anyhow::Result<OrderChange> {
    let line = |(line, quantity, short_quantity): (i32, i32, i32)| ConfirmDeliveryLine {
        line,
        quantity,
        short_quantity,
        product: String::new(),
    };
    let mut request = ConfirmDeliveryRequest {
        name: order.name.clone(),
        lines: lines.map(line).into(),
        reason: "送货单 delivery note 2026-311".to_owned(),
        request_id: request_id(&["deliver instead", &order.name]),
    };
    let shop = play.stage.commissary(LAKESIDE.id)?;
    // Something else instead of the noodles is not taken.
    let mut instead = request.clone();
    if let Some(first) = instead.lines.first_mut() {
        first.product = product_name(LAKESIDE.id, "L104");
    }
    let answer = shop.order().confirm_delivery(instead).await;
    let (_, why) = refused("biscuits for noodles", "SUBSTITUTION_REFUSED", answer)?;
    tell::say(format!("The vendor would rather send biscuits. Refused: {why}."));
    request.request_id = request_id(&["deliver", &order.name]);
    done("delivery", shop.order().confirm_delivery(request).await)
}

async fn dispute(play: &Play, customer: &Customer, order: &Order) -> anyhow::Result<OrderChange> {
    let request = DisputeOrderLineRequest {
        name: order.name.clone(),
        line: 1,
        reason: "已过期 past its date".to_owned(),
        request_id: request_id(&["dispute", &order.name]),
    };
    let terminal = play.stage.terminal(LAKESIDE.id, customer.terminal)?;
    done("dispute", terminal.order().dispute_order_line(request).await)
}

async fn resolve(play: &Play, order: &Order) -> anyhow::Result<OrderChange> {
    let request = ResolveOrderDisputeRequest {
        name: order.name.clone(),
        line: 1,
        verdict: For::ForDetainee.into(),
        reason: "属实 it is so".to_owned(),
        request_id: request_id(&["resolve", &order.name]),
    };
    let finance = play.stage.finance(LAKESIDE.id)?;
    done(
        "the dispute's end",
        finance.order().resolve_order_dispute(request).await,
    )
}

async fn row(play: &Play, customer: &Customer, what: &str, order: &Order, paid: &str) -> anyhow::Result<Row> {
    let terminal = play.stage.terminal(LAKESIDE.id, customer.terminal)?;
    let request = GetOrderRequest {
        name: order.name.clone(),
    };
    let found = done("the order", terminal.order().get_order(request).await)?;
    let request = GetBalancesRequest {
        detainee: order.detainee.clone(),
    };
    let balances = done("balances", terminal.custody().get_balances(request).await)?;
    same(
        "what is held is the order's",
        text(found.held.as_ref()),
        text(balances.held.as_ref()),
    )?;
    let state = match found.state() {
        State::Open => "open 待送",
        State::Short => "short 缺货",
        other => other.as_str_name(),
    };
    Ok([
        order.name.rsplit('/').next().unwrap_or_default().to_owned(),
        what.to_owned(),
        text(balances.held.as_ref()),
        text(balances.available.as_ref()),
        paid.to_owned(),
        state.to_owned(),
    ])
}
