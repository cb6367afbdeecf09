//! Two centers open, with everybody in them and everything on their shelves.

use super::Play;
use crate::{
    demo::{
        books::money,
        cast::{self, HOUSES, House, both, center_name, detainee_name, payer_name, vendor_name},
        check::{done, same},
        goods::{SHELVES, shelf},
        tell,
    },
    proto::{
        AdmitDetaineeRequest, Center, CenterSettings, CourtOrder, CreateCenterRequest, CreateCourtOrderRequest,
        CreatePayerLinkRequest, CreatePayerRequest, CreateProductRequest, CreateVendorRequest, Detainee,
        DistributionPolicy, IdentityDocument, ListDetaineesRequest, ListPayersRequest, ListProductsRequest,
        ListVendorsRequest, Payer, PayerLink, Product, UpdateDistributionPolicyRequest, Vendor,
        identity_document::Kind, payer_link::Relationship,
    },
};

/// Plays it.
pub async fn play(play: &mut Play) -> anyhow::Result<()> {
    tell::act(1, "Two centers open", "开所");
    for house in &HOUSES {
        open_center(play, house).await?;
        admit(play, house).await?;
        register_payers(play, house).await?;
        fill_shelves(play, house).await?;
        count(play, house).await?;
    }
    court_order(play).await?;
    show();
    Ok(())
}

async fn open_center(play: &Play, house: &House) -> anyhow::Result<()> {
    let admin = play.stage.admin()?;
    let request = CreateCenterRequest {
        center_id: house.id.to_owned(),
        center: Some(Center {
            display_name: house.name.to_owned(),
            display_name_zh: house.name_zh.to_owned(),
            time_zone: "Asia/Shanghai".to_owned(),
            currency_code: "CNY".to_owned(),
            // Its families remit more often than once a month.
            settings: Some(CenterSettings {
                payment_count_max: 10,
                ..CenterSettings::default()
            }),
            ..Center::default()
        }),
    };
    done(house.id, admin.custody().create_center(request).await)?;
    let request = UpdateDistributionPolicyRequest {
        distribution_policy: Some(DistributionPolicy {
            name: format!("centers/{}/distributionPolicy", house.id),
            savings_percent: house.savings_percent.to_owned(),
            savings_cap: house.savings_cap.and_then(money),
            ..DistributionPolicy::default()
        }),
    };
    done(
        "distribution policy",
        admin.distribution().update_distribution_policy(request).await,
    )?;
    Ok(())
}

async fn admit(play: &Play, house: &House) -> anyhow::Result<()> {
    let admin = play.stage.admin()?;
    for person in house.detainees {
        let request = AdmitDetaineeRequest {
            parent: center_name(house.id),
            detainee_id: person.id.to_owned(),
            detainee: Some(Detainee {
                display_name: person.name.to_owned(),
                display_name_zh: person.name_zh.to_owned(),
                tier: person.tier,
                ..Detainee::default()
            }),
        };
        done(person.id, admin.custody().admit_detainee(request).await)?;
    }
    Ok(())
}

async fn court_order(play: &Play) -> anyhow::Result<()> {
    let order = &cast::COURT;
    let request = CreateCourtOrderRequest {
        parent: detainee_name(order.center, order.detainee),
        court_order_id: order.id.to_owned(),
        court_order: Some(CourtOrder {
            document: order.document.to_owned(),
            total: money(order.total),
            ..CourtOrder::default()
        }),
    };
    let created = play.stage.admin()?.distribution().create_court_order(request).await;
    done("court order", created)?;
    Ok(())
}

async fn register_payers(play: &Play, house: &House) -> anyhow::Result<()> {
    let finance = play.stage.finance(house.id)?;
    for payer in house.payers {
        let request = CreatePayerRequest {
            parent: center_name(house.id),
            payer_id: payer.id.to_owned(),
            payer: Some(Payer {
                display_name: payer.name.to_owned(),
                account: payer.account.to_owned(),
                identity_document: Some(IdentityDocument {
                    kind: Kind::ResidentIdentityCard.into(),
                    number: payer.identity.to_owned(),
                }),
                // Nobody's, and told apart by the payer's number.
                phone: format!("+86100000000{}", payer.id.trim_start_matches('F')),
                ..Payer::default()
            }),
            phone_document: "called back".to_owned(),
        };
        done(payer.id, finance.remittance().create_payer(request).await)?;
        let request = CreatePayerLinkRequest {
            parent: payer_name(house.id, payer.id),
            payer_link: Some(PayerLink {
                detainee: detainee_name(house.id, payer.detainee),
                relationship: Relationship::OtherRelative.into(),
                ..PayerLink::default()
            }),
        };
        done(payer.id, finance.remittance().create_payer_link(request).await)?;
    }
    Ok(())
}

async fn fill_shelves(play: &Play, house: &House) -> anyhow::Result<()> {
    let commissary = play.stage.commissary(house.id)?;
    for vendor in house.vendors {
        let request = CreateVendorRequest {
            parent: center_name(house.id),
            vendor_id: vendor.id.to_owned(),
            vendor: Some(Vendor {
                display_name: vendor.name.to_owned(),
                display_name_zh: vendor.name_zh.to_owned(),
                ..Vendor::default()
            }),
        };
        done(vendor.id, commissary.commissary().create_vendor(request).await)?;
    }
    for goods in shelf(house.id) {
        let request = CreateProductRequest {
            parent: center_name(house.id),
            product_id: goods.id.to_owned(),
            product: Some(Product {
                vendor: vendor_name(house.id, goods.vendor),
                display_name: goods.name.to_owned(),
                display_name_zh: goods.name_zh.to_owned(),
                category: goods.category.into(),
                price: money(goods.price),
                available: true,
                ..Product::default()
            }),
        };
        done(goods.id, commissary.commissary().create_product(request).await)?;
    }
    Ok(())
}

/// Whether everything is there, by the lists.
async fn count(play: &Play, house: &House) -> anyhow::Result<()> {
    let (auditor, parent) = (play.stage.auditor()?, center_name(house.id));
    let request = ListDetaineesRequest {
        parent: parent.clone(),
        ..ListDetaineesRequest::default()
    };
    let detainees = done("detainees", auditor.custody().list_detainees(request).await)?.detainees;
    let names: Vec<&str> = detainees.iter().map(|person| person.display_name_zh.as_str()).collect();
    let expected: Vec<&str> = house.detainees.iter().map(|person| person.name_zh).collect();
    same("detainees", expected.join(" "), names.join(" "))?;
    let request = ListPayersRequest {
        parent: parent.clone(),
        ..ListPayersRequest::default()
    };
    let payers = done("payers", auditor.remittance().list_payers(request).await)?.payers;
    same("payers", house.payers.len(), payers.len())?;
    let request = ListVendorsRequest {
        parent: parent.clone(),
        ..ListVendorsRequest::default()
    };
    let vendors = done("vendors", auditor.commissary().list_vendors(request).await)?.vendors;
    same("vendors", house.vendors.len(), vendors.len())?;
    let request = ListProductsRequest {
        parent,
        ..ListProductsRequest::default()
    };
    let products = done("products", auditor.commissary().list_products(request).await)?.products;
    same("products", shelf(house.id).len(), products.len())
}

fn show() {
    let people = HOUSES.iter().flat_map(|house| {
        house.detainees.iter().map(|person| {
            let payers: Vec<&str> = house
                .payers
                .iter()
                .filter(|payer| payer.detainee == person.id)
                .map(|payer| payer.name)
                .collect();
            [
                house.short(),
                person.id.to_owned(),
                both(person.name, person.name_zh),
                person.tier.to_string(),
                payers.join(", "),
            ]
        })
    });
    tell::table(
        [
            "center 监所",
            "number 编号",
            "detainee 在押人员",
            "tier 等级",
            "payers 汇款人",
        ],
        &[3],
        people,
    );
    let shelves = HOUSES.iter().flat_map(|house| {
        house.vendors.iter().map(|vendor| {
            let goods: Vec<_> = SHELVES.iter().filter(|goods| goods.vendor == vendor.id).collect();
            let some: Vec<String> = goods
                .iter()
                .take(2)
                .map(|goods| format!("{} {} {}", goods.name_zh, goods.name, goods.price))
                .collect();
            [
                house.short(),
                both(vendor.name, vendor.name_zh),
                goods.len().to_string(),
                format!("{}, …", some.join(", ")),
            ]
        })
    });
    tell::table(
        ["center 监所", "vendor 供应商", "products 商品", "for example 例如"],
        &[2],
        shelves,
    );
    let court = &cast::COURT;
    tell::say(format!(
        "A court wants {} CNY of {}: {}. Of each credit {} saves {} %, up to {} CNY; {} saves {} %.",
        court.total,
        cast::called(court.detainee),
        court.document,
        cast::LAKESIDE.name_zh,
        cast::LAKESIDE.savings_percent,
        cast::LAKESIDE.savings_cap.unwrap_or("any"),
        cast::GREENHILL.name_zh,
        cast::GREENHILL.savings_percent,
    ));
}
