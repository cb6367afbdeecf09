//! What one person may not do alone: raise a price by more than a tenth, list what is there already.

use custody_ledger::{
    access::Role,
    proto::{
        Approval, Buyer, CreateProductRequest, GetProductRequest, ListProductVersionsRequest,
        ListProductVersionsResponse, Money, Product, ProductCategory, Purchase, UpdateBuyerRequest,
        UpdateProductRequest, approval::State,
    },
};
use tonic::Status;
use uuid::Uuid;

use super::{costing, product, propose_price, propose_product, raise};
use crate::{
    money_without_order::person,
    service::purchase_of,
    whole_service::{Hall, money},
    world::{World, reason},
};

fn facts(status: &Status) -> (String, Vec<String>) {
    let (reason, facts) = custody_ledger::api::status::reason_of(status).unwrap();
    (
        reason,
        facts
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect(),
    )
}

async fn rice(hall: &Hall) -> Product {
    let name = "centers/C1/products/RICE".to_owned();
    hall.ask("CommissaryService/GetProduct", &GetProductRequest { name })
        .await
        .unwrap()
}

async fn update(hall: &Hall, product: Product) -> Result<Product, Status> {
    let update = UpdateProductRequest {
        product: Some(product),
        reason: "season".into(),
    };
    hall.ask_as(
        "CommissaryService/UpdateProduct",
        &hall.token(Role::Commissary),
        &update,
    )
    .await
}

async fn approve(hall: &Hall, subject: &str, approval: &Approval) -> Result<Approval, Status> {
    let approve = custody_ledger::proto::ApproveRequest {
        name: approval.name.clone(),
        reason: "seen".into(),
    };
    hall.ask_as("ApprovalService/Approve", &person(hall, subject, Role::Admin), &approve)
        .await
}

fn amount(money: Option<Money>) -> String {
    money.unwrap().amount
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_rises_by_a_tenth_at_most_unless_another_person_allows_it() {
    let hall = Hall::open().await;
    let known = rice(&hall).await;
    assert_eq!(
        (amount(known.approved_price.clone()), known.version),
        ("2.50".into(), 1)
    );
    let costing = |price: &str, approved: &str| Product {
        price: money(price),
        approved_price: money(approved),
        etag: String::new(),
        ..known.clone()
    };
    let before = hall.everything().await;
    for (price, approved, expected) in [
        ("2.51", "2.50", "PRICE_ABOVE_APPROVED approved_price=2.50 price=2.51"),
        (
            "2.50",
            "2.76",
            "PRICE_NEEDS_APPROVAL approved_price=2.76 lowest=2.50 most=2.75",
        ),
    ] {
        let (reason, told) = facts(&update(&hall, costing(price, approved)).await.unwrap_err());
        assert_eq!(format!("{reason} {}", told.join(" ")), expected);
    }
    assert_eq!(hall.everything().await, before);
    update(&hall, costing("2.60", "2.75")).await.unwrap();

    let asked: Approval = hall
        .ask_as(
            "CatalogueService/ProposePrice",
            &person(&hall, "shop", Role::Commissary),
            &propose_price(&Uuid::new_v4().to_string(), "5.00", "6.00"),
        )
        .await
        .unwrap();
    assert_eq!(
        (asked.kind.as_str(), asked.title_zh.as_str(), asked.state()),
        ("commissary.price", "商品提价", State::Pending)
    );
    assert!(
        asked
            .summary
            .contains("from 2.60, approved 2.75, to 5.00, approved 6.00 CNY"),
        "{}",
        asked.summary
    );
    assert_eq!(amount(rice(&hall).await.price), "2.60");
    let (reason, _) = facts(&approve(&hall, "shop", &asked).await.unwrap_err());
    assert_eq!(reason, "MAKER_IS_CHECKER");
    for _ in 0..2 {
        assert_eq!(approve(&hall, "bob", &asked).await.unwrap().state(), State::Executed);
    }
    let now = rice(&hall).await;
    assert_eq!(
        (amount(now.price), amount(now.approved_price), now.version),
        ("5.00".into(), "6.00".into(), 3)
    );

    // A purchase of another process takes the price of now, and tells by which version.
    let buy = purchase_of("C1", "D1", Uuid::new_v4(), &[("RICE", 1)]);
    let bought: Purchase = hall.ask("CommissaryService/CreatePurchase", &buy).await.unwrap();
    assert_eq!(
        (amount(bought.total), bought.lines[0].product_version),
        ("5.00".into(), 3)
    );

    let list = ListProductVersionsRequest {
        parent: "centers/C1/products/RICE".into(),
        ..Default::default()
    };
    let auditor = hall.token(Role::Auditor);
    let page: ListProductVersionsResponse = hall
        .ask_as("CatalogueService/ListProductVersions", &auditor, &list)
        .await
        .unwrap();
    let told: Vec<String> = page
        .versions
        .into_iter()
        .map(|one| {
            format!(
                "{} {} {} {} {}",
                one.version,
                amount(one.price),
                amount(one.approved_price),
                one.reason,
                one.approval
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "3 5.00 6.00 dearer centers/C1/approvals/1",
            "2 2.60 2.75 season ",
            "1 2.50 2.50  "
        ]
    );
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_allowed_for_another_price_is_not_done() {
    let hall = Hall::open().await;
    let ask = propose_price(&Uuid::new_v4().to_string(), "5.00", "6.00");
    let asked: Approval = hall.ask("CatalogueService/ProposePrice", &ask).await.unwrap();
    let other = propose_price(&Uuid::new_v4().to_string(), "5.00", "7.00");
    let (reason, _) = facts(
        &hall
            .ask::<Approval>("CatalogueService/ProposePrice", &other)
            .await
            .unwrap_err(),
    );
    assert_eq!(reason, "APPROVAL_PENDING");
    // The approved price moves before anybody decides.
    let changed = costing("2.60", "2.70");
    hall.process
        .commissary
        .update_product(&hall.center, &product("RICE"), changed, None, "test")
        .await
        .unwrap();
    let ended = approve(&hall, "bob", &asked).await.unwrap();
    assert_eq!(ended.state(), State::Failed, "{ended:?}");
    assert_eq!(amount(rice(&hall).await.price), "2.60");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_center_has_already_is_listed_again_by_two_people() {
    let hall = Hall::open().await;
    let create = |id: &str, name: &str, name_zh: &str, barcode: &str| CreateProductRequest {
        parent: "centers/C1".into(),
        product_id: id.into(),
        product: Some(Product {
            vendor: "centers/C1/vendors/V1".into(),
            display_name: name.into(),
            display_name_zh: name_zh.into(),
            category: ProductCategory::Food.into(),
            price: money("5.00"),
            available: true,
            barcode: barcode.into(),
            ..Product::default()
        }),
    };
    let method = "CommissaryService/CreateProduct";
    let noodles = create("N1", "Instant noodles", "方便面", "0036000291452");
    for _ in 0..2 {
        hall.ask::<Product>(method, &noodles).await.unwrap();
    }
    let before = hall.everything().await;
    for (again, by) in [
        (create("N2", "ｉｎｓｔａｎｔ-Noodles!", "", ""), "display_name"),
        (create("N2", "Cup", " 方便面。", ""), "display_name_zh"),
        (create("N2", "Cup", "杯", "036000291452"), "barcode"),
    ] {
        let (reason, told) = facts(&hall.ask::<Product>(method, &again).await.unwrap_err());
        let expected = [
            "approved_price=5.00".to_owned(),
            format!("matched_by={by}"),
            "product=N1".into(),
            "vendor=V1".into(),
        ];
        assert_eq!((reason.as_str(), told.as_slice()), ("PRODUCT_RELISTED", &expected[..]));
    }
    // Nor does one person approve a price far above the shelf's, to raise that later.
    let mut dear = create("N2", "Cup", "杯", "");
    if let Some(product) = &mut dear.product {
        product.approved_price = money("5.51");
    }
    let (reason, _) = facts(&hall.ask::<Product>(method, &dear).await.unwrap_err());
    assert_eq!(reason, "PRICE_NEEDS_APPROVAL");
    assert_eq!(hall.everything().await, before);

    let ask = propose_product(&Uuid::new_v4().to_string(), "N2", "INSTANT NOODLES");
    let asked: Approval = hall.ask("CatalogueService/ProposeProduct", &ask).await.unwrap();
    assert!(
        asked
            .summary
            .contains("It is like N1 of vendor V1, approved at 5.00, by display_name."),
        "{}",
        asked.summary
    );
    // Another one comes meanwhile, of which whoever decides knows nothing.
    let late = propose_product(&Uuid::new_v4().to_string(), "N3", "instantnoodles");
    let late: Approval = hall.ask("CatalogueService/ProposeProduct", &late).await.unwrap();
    assert_eq!(approve(&hall, "bob", &asked).await.unwrap().state(), State::Executed);
    let ended = approve(&hall, "bob", &late).await.unwrap();
    assert_eq!(
        (ended.state(), ended.failure.contains("N2")),
        (State::Failed, true),
        "{ended:?}"
    );
    let name = "centers/C1/products/N2".to_owned();
    let listed: Product = hall
        .ask("CommissaryService/GetProduct", &GetProductRequest { name })
        .await
        .unwrap();
    assert_eq!(amount(listed.price), "5.00");
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn not_everybody_may_have_everything() {
    let hall = Hall::open().await;
    let known = rice(&hall).await;
    let limited = Product {
        withdrawn_units: vec!["Block A".into()],
        tags: vec!["Gluten".into()],
        ..known.clone()
    };
    let limited = update(&hall, limited).await.unwrap();
    assert_eq!(
        (limited.withdrawn_units, limited.tags),
        (vec!["block a".to_owned()], vec!["gluten".to_owned()])
    );
    let stale = update(&hall, known.clone()).await.unwrap_err();
    assert_eq!(facts(&stale).0, "STALE_ETAG");
    let buyer = |unit: &str, tags: &[&str]| UpdateBuyerRequest {
        buyer: Some(Buyer {
            detainee: "centers/C1/detainees/D1".into(),
            housing_unit: unit.into(),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            ..Buyer::default()
        }),
        reason: "doctor 7".into(),
    };
    let buy = || async {
        let message = purchase_of("C1", "D1", Uuid::new_v4(), &[("SOAP", 1), ("RICE", 1)]);
        let answer = hall.ask::<Purchase>("CommissaryService/CreatePurchase", &message).await;
        answer.map(|_| ()).map_err(|status| facts(&status).1.join(" "))
    };
    assert_eq!(buy().await, Ok(()), "nothing is known of D1");
    for (unit, tags, expected) in [
        ("BLOCK A", &[][..], Err("housing_unit=block a product=RICE".to_owned())),
        (
            "block b",
            &["GLUTEN", "sugar"],
            Err("product=RICE tag=gluten".to_owned()),
        ),
        ("block b", &["sugar"], Ok(())),
    ] {
        for version in [1, 1] {
            let told: Buyer = hall
                .ask("CatalogueService/UpdateBuyer", &buyer(unit, tags))
                .await
                .unwrap();
            assert!(told.version >= version, "{told:?}");
        }
        assert_eq!(buy().await, expected, "{unit} {tags:?}");
    }
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_price_takes_effect_at_once_in_every_process() {
    let world = World::build().await;
    world.endow("D1", "100.00").await;
    let other = world.another_process();
    // Both know the price already.
    for process in [&world.process, &other] {
        crate::world::buy(process, &world.center, Uuid::new_v4(), "D1", &[("RICE", 1)])
            .await
            .unwrap();
    }
    assert_eq!(world.available("D1").await, "95.00");
    raise(&other, &world.center, "RICE", "5.00").await;
    for (process, left) in [(&world.process, "90.00"), (&other, "85.00")] {
        crate::world::buy(process, &world.center, Uuid::new_v4(), "D1", &[("RICE", 1)])
            .await
            .unwrap();
        assert_eq!(world.available("D1").await, left);
    }
    let withdrawn = custody_ledger::commissary::ProductChange {
        available: false,
        ..costing("5.00", "5.00")
    };
    let commissary = &other.commissary;
    commissary
        .update_product(&world.center, &product("RICE"), withdrawn, None, "test")
        .await
        .unwrap();
    let refused = world.buy("D1", &[("RICE", 1)]).await.unwrap_err();
    assert_eq!(reason(&refused), "PRODUCT_NOT_AVAILABLE");
    world.verified().await;
}
