//! Texts that cannot be kept, dates that are none, bytes that are no message, and messages that are too large.

use custody_ledger::access::Role;
use tonic::{Code, Status};
use uuid::Uuid;

use crate::{
    messages_from_text::Descriptors,
    whole_service::{Hall, Refused},
};

/// Methods with texts for people; `$t` is the text, `$id` a new request id. `!` before it: it must be told.
const TEXTS: &str = "
RemittanceService/CreatePayer         parent=centers/C1 payer_id=P9 payer.display_name=$t
RemittanceService/CreatePayer         parent=centers/C1 payer_id=P9 payer.account=$t
RemittanceService/CreatePayer         parent=centers/C1 payer_id=P9 payer.phone=+8610000000002 phone_document=$t
PayerService/RegisterPayer            parent=centers/C1 payer_id=P9 payer.display_name=!$t payer.identity_document.kind=2 payer.identity_document.number=E1234567 payer.phone=+8610000000002
PayerService/ConfirmPayerPhone        name=centers/C1/payers/P1 document=!$t
PayerService/AddPaymentAccount        name=centers/C1/payers/P1 payment_account.account=!$t
PayerService/AddPaymentAccount        name=centers/C1/payers/P1 payment_account.channel=$t payment_account.account=a
PayerService/RemovePaymentAccount     name=centers/C1/payers/P1 payment_account.account=acct reason=$t
PayerService/RevokePayer              name=centers/C1/payers/P1 reason=!$t
PayerService/RequestPayerLink         parent=centers/C1/payers/P1 payer_link.detainee=centers/C1/detainees/D3 payer_link.relationship=1 reason=$t
PayerService/ApprovePayerLink         name=centers/C1/payers/P1/links/D1 reason=!$t
PayerService/RejectPayerLink          name=centers/C1/payers/P1/links/D1 reason=!$t
PayerService/RevokePayerLink          name=centers/C1/payers/P1/links/D1 reason=!$t
CustodyService/CreateCenter           center_id=C2 center.display_name=$t center.time_zone=Asia/Shanghai center.currency_code=CNY
CustodyService/CreateCenter           center_id=C2 center.display_name_zh=$t center.time_zone=Asia/Shanghai center.currency_code=CNY
CustodyService/AdmitDetainee          parent=centers/C1 detainee_id=D9 detainee.display_name=$t detainee.tier=1
CustodyService/AdmitDetainee          parent=centers/C1 detainee_id=D9 detainee.display_name_zh=$t detainee.tier=1
CommissaryService/CreateVendor        parent=centers/C1 vendor_id=V9 vendor.display_name=$t
CommissaryService/CreateVendor        parent=centers/C1 vendor_id=V9 vendor.display_name_zh=$t
CommissaryService/CreateProduct       parent=centers/C1 product_id=TEA product.vendor=centers/C1/vendors/V1 product.display_name=$t product.category=1 product.price.currency_code=CNY product.price.amount=1
CommissaryService/CreateProduct       parent=centers/C1 product_id=TEA product.vendor=centers/C1/vendors/V1 product.display_name_zh=$t product.category=1 product.price.currency_code=CNY product.price.amount=1
CommissaryService/CreateProduct       parent=centers/C1 product_id=TEA product.vendor=centers/C1/vendors/V1 product.category=1 product.unit=$t product.price.currency_code=CNY product.price.amount=1
CommissaryService/UpdateProduct       product.name=centers/C1/products/RICE product.price.currency_code=CNY product.price.amount=1 reason=$t
CatalogueService/ProposeProduct       parent=centers/C1 product_id=TEA product.vendor=centers/C1/vendors/V1 product.display_name=A product.category=1 product.price.currency_code=CNY product.price.amount=1 reason=!$t request_id=$id
CatalogueService/ProposePrice         name=centers/C1/products/RICE price.currency_code=CNY price.amount=1 approved_price.currency_code=CNY approved_price.amount=9 reason=!$t request_id=$id
CatalogueService/RecordStockMovement  name=centers/C1/products/RICE kind=1 quantity=1 reason=!$t request_id=$id
CatalogueService/UpdateBuyer          buyer.detainee=centers/C1/detainees/D1 reason=!$t
CommissaryService/CreateReturn        parent=centers/C1 purchase=centers/C1/purchases/2 lines.line=1 lines.quantity=1 reason=$t request_id=$id
SpendingService/ProposeLimitOverride  detainee=centers/C1/detainees/D1 window=4 amount.currency_code=CNY amount.amount=1 end_time.seconds=4102444800 document=!$t reason=ill request_id=$id
SpendingService/ProposeLimitOverride  detainee=centers/C1/detainees/D1 window=4 amount.currency_code=CNY amount.amount=1 end_time.seconds=4102444800 document=a reason=!$t request_id=$id
SpendingService/ProposeFreeze         detainee=centers/C1/detainees/D1 document=!$t reason=ordered request_id=$id
SpendingService/ProposeFreeze         detainee=centers/C1/detainees/D1 document=a reason=!$t request_id=$id
SpendingService/ProposeFreezeEnd      name=centers/C1/spendingMeasures/1 reason=!$t request_id=$id
SpendingService/RestrictCategories    detainee=centers/C1/detainees/D1 categories=2 end_time.seconds=4102444800 document=$t reason=a request_id=$id
SpendingService/RestrictCategories    detainee=centers/C1/detainees/D1 categories=2 end_time.seconds=4102444800 reason=!$t request_id=$id
SpendingService/EndSpendingMeasure    name=centers/C1/spendingMeasures/1 reason=!$t
SpendingService/UpdateKit             kit.name=centers/C1/kit kit.lines.product=centers/C1/products/RICE kit.lines.quantity=1 reason=!$t
SpendingService/CancelKitGrant        name=centers/C1/kitGrants/9 reason=!$t request_id=$id
DistributionService/CreateCourtOrder  parent=centers/C1/detainees/D1 court_order_id=C9 court_order.document=!$t court_order.total.currency_code=CNY court_order.total.amount=1
DistributionService/SuspendCourtOrder  name=centers/C1/detainees/D2/courtOrders/C1 document=!$t
DistributionService/CreateDebt        parent=centers/C1/detainees/D1 debt.kind=1 debt.amount.currency_code=CNY debt.amount.amount=1 debt.document=!$t request_id=$id
RefundService/ReverseCredit           credit=centers/C1/transactions/1 reason=!$t request_id=$id
CustodyService/ChangeLegalStatus      detainee=centers/C1/detainees/D1 document=!$t
SettlementService/ConfirmSettlement   name=centers/C1/settlements/1 bank_reference=!$t request_id=$id
SettlementService/FailSettlement      name=centers/C1/settlements/1 reason=!$t request_id=$id
SettlementService/ProposeSettlement   name=centers/C1/settlements/1 reason=!$t request_id=$id
ContractService/ProposeVendorAccount  name=centers/C1/vendors/V1 account.holder=A account.number=62220210 account.bank_code=1 reason=!$t request_id=$id
ContractService/ProposeVendorAccount  name=centers/C1/vendors/V1 account.holder=!$t account.number=62220210 account.bank_code=1 reason=a request_id=$id
ContractService/ProposeVendorAccount  name=centers/C1/vendors/V1 account.holder=A account.number=62220210 account.bank_code=1 account.bank_name=$t reason=a request_id=$id
RefundService/CreateRefund            parent=centers/C1 remittance=centers/C1/remittances/R1 amount.currency_code=CNY amount.amount=1 reason=!$t request_id=$id
RefundService/RedirectRefund          name=centers/C1/refunds/1 reason=!$t request_id=$id
RefundService/PutRefundBack           name=centers/C1/refunds/1 reason=!$t request_id=$id
BeneficiaryService/ProposeBankAccount parent=centers/C1/payers/P1 account.holder=!$t account.number=62220210 account.bank_code=1 reason=a request_id=$id
BeneficiaryService/ProposeBankAccount parent=centers/C1/payers/P1 account.holder=A account.number=62220210 account.bank_code=1 reason=!$t request_id=$id
OfflineSalesService/ChargeOfflineSale   name=centers/C1/terminals/T1/offlineSales/1 reason=!$t request_id=$id
OfflineSalesService/ProposeOfflineSaleWriteOff  name=centers/C1/terminals/T1/offlineSales/1 reason=!$t request_id=$id
OfflineSalesService/DismissOfflineSale  name=centers/C1/terminals/T1/offlineSales/1 reason=!$t request_id=$id
OfflineSalesService/SkipOfflineSales    terminal=centers/C1/terminals/T1 through_number=1 reason=!$t request_id=$id
RefundService/CreateRelease           parent=centers/C1 detainee=centers/C1/detainees/D1 destination=!$t request_id=$id
RefundService/ConfirmRelease          name=centers/C1/releases/1 bank_reference=!$t request_id=$id
RefundService/FailRelease             name=centers/C1/releases/1 reason=!$t request_id=$id
CommissaryService/CreateReturn        parent=centers/C1 purchase=centers/C1/purchases/2 lines.line=1 lines.quantity=1 authorised_by=$t request_id=$id
OrderService/CancelOrder              name=centers/C1/orders/1 reason=$t request_id=$id
OrderService/ConfirmDelivery          name=centers/C1/orders/1 lines.line=1 lines.quantity=1 reason=$t request_id=$id
OrderService/DisputeOrderLine         name=centers/C1/orders/1 line=1 reason=!$t request_id=$id
OrderService/ResolveOrderDispute      name=centers/C1/orders/1 line=1 verdict=1 reason=!$t request_id=$id
OrderService/UpdateOrderingRules      rules.name=centers/C1/orderingRules reason=!$t
";

#[tokio::test(flavor = "multi_thread")]
async fn texts_that_cannot_be_kept_are_refused() {
    let (hall, descriptors) = (Hall::open().await, Descriptors::read());
    let before = hall.everything().await;
    for line in TEXTS.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let method = words.next().unwrap();
        let fields: Vec<(&str, &str)> = words.map(|word| word.split_once('=').unwrap()).collect();
        let (field, text) = fields.iter().find(|(_, text)| text.ends_with("$t")).unwrap();
        let long = "长".repeat(501);
        let mut bad = vec!["a\0b", "a\nb", "\u{7f}", &long];
        if text.starts_with('!') {
            bad.extend(["", " "]);
        }
        for text in bad {
            let id = Uuid::new_v4().to_string();
            let fill = |value: &str| value.trim_start_matches('!').replace("$id", &id).replace("$t", text);
            let texts: Vec<String> = fields.iter().map(|(_, value)| fill(value)).collect();
            let filled: Vec<(&str, &str)> = fields
                .iter()
                .zip(&texts)
                .map(|((path, _), text)| (*path, text.as_str()))
                .collect();
            let refused = hall.refused(text, method, descriptors.request(method, &filled)).await;
            assert!(
                refused.is(Code::InvalidArgument, "INVALID_FIELD"),
                "{line} {text:?}: {refused:?}"
            );
            assert_eq!(refused.field.as_deref(), Some(*field), "{line} {text:?}");
        }
    }
    assert_eq!(hall.everything().await, before);
    hall.proof().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dates_months_and_numbers_that_are_none_are_refused() {
    const BAD: &str = "
SettlementService/CloseSettlement   parent=centers/C1 vendor=centers/C1/vendors/V1 request_id=$id through_date=  2026-02-30 2026-1-1 2026-13-01 26-01-01 2026/01/01 -999-01-01 2026-01-01T00 ٢٠٢٦-٠١-٠١
SpendingService/ListSpendingWindows   parent=centers/C1/detainees/D1 window=  0 1 9 -1
SpendingService/ProposeLimitOverride  detainee=centers/C1/detainees/D1 amount.currency_code=CNY amount.amount=1 end_time.seconds=4102444800 document=a reason=ill request_id=$id window=  0 9 -1
SpendingService/ProposeFreeze         detainee=centers/C1/detainees/D1 document=a reason=ordered request_id=$id days=  -1 31 2147483647
SpendingService/ProposeFreeze         detainee=centers/C1/detainees/D1 document=a reason=ordered request_id=$id renews=  1 centers/C1/spendingMeasures/0 centers/C2/spendingMeasures/1
SpendingService/UpdateKit             kit.name=centers/C1/kit reason=new kit.lines.product=centers/C1/products/RICE kit.lines.quantity=  0 -1 1001
SpendingService/UpdateKit             kit.name=centers/C1/kit reason=new kit.lines.product=centers/C1/products/RICE kit.lines.quantity=1 kit.version=  -1
CommissaryService/GetSpending       detainee=centers/C1/detainees/D1 month=  2026 2026-13 2026-00 2026-1 26-01 2026-01-01
DistributionService/UpdateDistributionPolicy  distribution_policy.name=centers/C1/distributionPolicy distribution_policy.savings_percent=  101 -1 1e1 1.00001 ten 100.0001 999999999999999999999999999999
DistributionService/UpdateDistributionPolicy  distribution_policy.name=centers/C1/distributionPolicy distribution_policy.savings_percent=1 distribution_policy.etag=  x 1.5 99999999999999999999
DistributionService/UpdateDistributionPolicy  distribution_policy.name=centers/C1/distributionPolicy distribution_policy.savings_percent=1 distribution_policy.debt_percent=  101 -1 1e1 ten
DistributionService/UpdateDistributionPolicy  distribution_policy.name=centers/C1/distributionPolicy distribution_policy.savings_percent=1 distribution_policy.effective_date=  2020-01-01 2026-02-30 26-01-01
DistributionService/CreateDebt  parent=centers/C1/detainees/D1 request_id=$id debt.document=B debt.amount.currency_code=CNY debt.amount.amount=1 debt.kind=  0 3 9 -1
CommissaryService/UpdateProduct     product.name=centers/C1/products/RICE product.price.currency_code=CNY product.price.amount=1 product.etag=  x -x 99999999999999999999
CommissaryService/UpdateProduct     product.name=centers/C1/products/RICE product.price.currency_code=CNY product.price.amount=1 product.barcode=  1 690123456789 6901234567890 690123456789x ６９０１２３４５６７８９２
CommissaryService/CreateProduct     parent=centers/C1 product_id=TEA product.vendor=centers/C1/vendors/V1 product.category=1 product.price.currency_code=CNY product.price.amount=1 product.tags=  $empty a,b a；b
CommissaryService/CreateProduct     parent=centers/C1 product_id=TEA product.vendor=centers/C1/vendors/V1 product.category=1 product.price.currency_code=CNY product.price.amount=1 product.withdrawn_units=  $empty a,b
CatalogueService/UpdateBuyer        reason=moved buyer.detainee=centers/C1/detainees/D1 buyer.housing_unit=  a,b ，
CatalogueService/UpdateBuyer        reason=moved buyer.detainee=centers/C1/detainees/D1 buyer.tags=  $empty a;b
CatalogueService/RecordStockMovement  name=centers/C1/products/RICE reason=counted request_id=$id quantity=1 kind=  0 3 -1
CatalogueService/RecordStockMovement  name=centers/C1/products/RICE reason=counted request_id=$id kind=1 quantity=  0 -1 1000001 9223372036854775807
CatalogueService/RecordStockMovement  name=centers/C1/products/RICE reason=counted request_id=$id kind=2 quantity=  0 -1000001 1000001 -9223372036854775808
CustodyService/UpdateCenterSettings settings.name=centers/C1/settings settings.purchase_amount_max.currency_code=CNY settings.purchase_amount_max.amount=1 settings.remittance_amount_max.currency_code=CNY settings.remittance_amount_max.amount=1 settings.balance_cap.currency_code=CNY settings.balance_cap.amount=1 settings.festival_bonus.currency_code=CNY settings.festival_bonus.amount=1 settings.quote_ttl=  0 -1 -2147483648
CustodyService/UpdateCenterSettings settings.name=centers/C1/settings settings.purchase_amount_max.currency_code=CNY settings.purchase_amount_max.amount=1 settings.remittance_amount_max.currency_code=CNY settings.remittance_amount_max.amount=1 settings.balance_cap.currency_code=CNY settings.balance_cap.amount=1 settings.festival_bonus.currency_code=CNY settings.festival_bonus.amount=1 settings.quote_ttl=1 settings.payment_count_max=  0 -1 1001 2147483647
CustodyService/UpdateCenterSettings settings.name=centers/C1/settings settings.purchase_amount_max.currency_code=CNY settings.purchase_amount_max.amount=1 settings.remittance_amount_max.currency_code=CNY settings.remittance_amount_max.amount=1 settings.balance_cap.currency_code=CNY settings.balance_cap.amount=1 settings.festival_bonus.currency_code=CNY settings.festival_bonus.amount=1 settings.quote_ttl=1 settings.payment_count_max=1 settings.screening.payment_max=  0 -1 1001
CustodyService/UpdateCenterSettings settings.name=centers/C1/settings settings.purchase_amount_max.currency_code=CNY settings.purchase_amount_max.amount=1 settings.remittance_amount_max.currency_code=CNY settings.remittance_amount_max.amount=1 settings.balance_cap.currency_code=CNY settings.balance_cap.amount=1 settings.festival_bonus.currency_code=CNY settings.festival_bonus.amount=1 settings.quote_ttl=1 settings.payment_count_max=1 settings.screening.payment_max=1 settings.screening.payment_days=  0 32
CustodyService/UpdateCenterSettings settings.name=centers/C1/settings settings.purchase_amount_max.currency_code=CNY settings.purchase_amount_max.amount=1 settings.remittance_amount_max.currency_code=CNY settings.remittance_amount_max.amount=1 settings.balance_cap.currency_code=CNY settings.balance_cap.amount=1 settings.festival_bonus.currency_code=CNY settings.festival_bonus.amount=1 settings.quote_ttl=1 settings.payment_count_max=1 settings.screening.payment_max=1 settings.screening.payment_days=1 settings.screening.payer_max=  0 1001
CustodyService/UpdateCenterSettings settings.name=centers/C1/settings settings.purchase_amount_max.currency_code=CNY settings.purchase_amount_max.amount=1 settings.remittance_amount_max.currency_code=CNY settings.remittance_amount_max.amount=1 settings.balance_cap.currency_code=CNY settings.balance_cap.amount=1 settings.festival_bonus.currency_code=CNY settings.festival_bonus.amount=1 settings.quote_ttl=1 settings.payment_count_max=1 settings.screening.payment_max=1 settings.screening.payment_days=1 settings.screening.payer_max=1 settings.screening.detainee_max=  0 1001
CustodyService/UpdateCenterSettings settings.name=centers/C1/settings settings.purchase_amount_max.currency_code=CNY settings.purchase_amount_max.amount=1 settings.remittance_amount_max.currency_code=CNY settings.remittance_amount_max.amount=1 settings.balance_cap.currency_code=CNY settings.balance_cap.amount=1 settings.festival_bonus.currency_code=CNY settings.festival_bonus.amount=1 settings.quote_ttl=1 settings.payment_count_max=1 settings.screening.payment_max=1 settings.screening.payment_days=1 settings.screening.payer_max=1 settings.screening.detainee_max=1 settings.screening.party_days=  0 32
CustodyService/UpdateCenterSettings settings.name=centers/C1/settings settings.purchase_amount_max.currency_code=CNY settings.purchase_amount_max.amount=1 settings.remittance_amount_max.currency_code=CNY settings.remittance_amount_max.amount=1 settings.balance_cap.currency_code=CNY settings.balance_cap.amount=1 settings.festival_bonus.currency_code=CNY settings.festival_bonus.amount=1 settings.quote_ttl=1 settings.payment_count_max=1 settings.screening.payment_max=1 settings.screening.payment_days=1 settings.screening.payer_max=1 settings.screening.detainee_max=1 settings.screening.party_days=1 settings.screening.review_hours=  0 721 -2147483648
CustodyService/UpdateCenterSettings settings.name=centers/C1/settings settings.purchase_amount_max.currency_code=CNY settings.purchase_amount_max.amount=1 settings.remittance_amount_max.currency_code=CNY settings.remittance_amount_max.amount=1 settings.balance_cap.currency_code=CNY settings.balance_cap.amount=1 settings.festival_bonus.currency_code=CNY settings.festival_bonus.amount=1 settings.quote_ttl=1 settings.payment_count_max=1 settings.screening.payment_max=1 settings.screening.payment_days=1 settings.screening.payer_max=1 settings.screening.detainee_max=1 settings.screening.party_days=1 settings.screening.review_hours=1 settings.festival_months=  0 13 -1 70000
CustodyService/AdmitDetainee        parent=centers/C1 detainee_id=D9 detainee.tier=  0 -1 70000 9
CommissaryService/CreateReturn      parent=centers/C1 purchase=centers/C1/purchases/2 request_id=$id lines.line=1 lines.quantity=  0 -1
RemittanceService/CreatePayer       parent=centers/C1 payer.display_name=A payer_id=  -P P_1 P/1 在押
RemittanceService/CreateRemittance  parent=centers/C1 payer=centers/C1/payers/P1 detainee=centers/C1/detainees/D1 amount.currency_code=CNY amount.amount=1 request_id=$id in_app_payer=  在押
RemittanceService/ListPayerLinks    parent=centers/C1/payers/- state=  -1 5 70000
RemittanceService/CreatePayerLink   parent=centers/C1/payers/P1 payer_link.detainee=centers/C1/detainees/D3 payer_link.relationship=  -1 9
PayerService/RegisterPayer          parent=centers/C1 payer.display_name=A payer.identity_document.kind=2 payer.identity_document.number=E1234567 payer.phone=+8610000000002 payer_id=  $empty -P P_1 P/1 在押
PayerService/RegisterPayer          parent=centers/C1 payer_id=P9 payer.display_name=A payer.identity_document.kind=1 payer.identity_document.number=  $empty 1 11010119010105011 110101190101050110 11010119010105011x1 990101190101050110 11010119011305011X 11010119010132011X 110101000101050112 110101٠٩010105011X
PayerService/RegisterPayer          parent=centers/C1 payer_id=P9 payer.display_name=A payer.identity_document.kind=2 payer.identity_document.number=  $empty E12 E12_456 E1234567890123456789012345678901234567890
PayerService/RegisterPayer          parent=centers/C1 payer_id=P9 payer.display_name=A payer.identity_document.number=E1234567 payer.identity_document.kind=  0 -1 7
PayerService/RegisterPayer          parent=centers/C1 payer_id=P9 payer.display_name=A payer.identity_document.kind=2 payer.identity_document.number=E1234567 payer.phone=  $empty 13800138000 +013800138000 +123456 +1234567890123456 +86-138001380 ＋8613800138000
PayerService/ChangePayerPhone       name=centers/C1/payers/P1 phone=  $empty 13800138000 +
PayerService/VerifyPayerPhone       name=centers/C1/payers/P1 code=  $empty 12345 1234567 12345x ١٢٣٤٥٦
PayerService/RequestPayerLink       parent=centers/C1/payers/P1 payer_link.detainee=centers/C1/detainees/D3 payer_link.relationship=  0 -1 9
OrderService/CreateOrder            parent=centers/C1 detainee=centers/C1/detainees/D1 request_id=$id lines.product=centers/C1/products/RICE lines.quantity=  0 -1 1001
OrderService/ConfirmDelivery        name=centers/C1/orders/1 request_id=$id lines.line=1 lines.quantity=  0 -1 1001
OrderService/ConfirmDelivery        name=centers/C1/orders/1 request_id=$id lines.line=1 lines.quantity=1 lines.short_quantity=  -1 1001
OrderService/ResolveOrderDispute    name=centers/C1/orders/1 line=1 reason=a request_id=$id verdict=  0 3 -1
OrderService/UpdateOrderingRules    reason=a rules.name=centers/C1/orderingRules rules.hold_days=  -1 91
OrderService/UpdateOrderingRules    reason=a rules.name=centers/C1/orderingRules rules.return_days=  -1 366
OrderService/UpdateOrderingRules    reason=a rules.name=centers/C1/orderingRules rules.dispute_hours=  -1 721
OrderService/UpdateOrderingRules    reason=a rules.name=centers/C1/orderingRules rules.etag=  x 1.5
";
    let (hall, descriptors) = (Hall::open().await, Descriptors::read());
    let before = hall.everything().await;
    for line in BAD.lines().filter(|line| !line.is_empty()) {
        // The last field stands before two spaces, and its bad values behind them.
        let (call, values) = line.rsplit_once("=  ").unwrap();
        let (front, field) = call.rsplit_once(' ').unwrap();
        for value in values.split(' ') {
            let (id, value) = (Uuid::new_v4().to_string(), value.replace("$empty", ""));
            let mut words = front.split_whitespace();
            let method = words.next().unwrap();
            let mut fields: Vec<(&str, &str)> = words.map(|word| word.split_once('=').unwrap()).collect();
            for told in &mut fields {
                if told.1 == "$id" {
                    told.1 = &id;
                }
            }
            fields.push((field, &value));
            let refused = hall.refused(&value, method, descriptors.request(method, &fields)).await;
            assert!(
                refused.is(Code::InvalidArgument, "INVALID_FIELD"),
                "{field} {value:?}: {refused:?}"
            );
            let told = refused.field.unwrap().replace("lines[0].", "lines.");
            let told = if told == "tier" {
                "detainee.tier".to_owned()
            } else {
                told
            };
            assert_eq!(told, field, "{value:?}");
        }
    }
    // Dates at the edge of the calendar are dates.
    for (date, reason) in [("9999-12-31", "DATE_NOT_OVER"), ("0001-01-01", "NOTHING_TO_PAY")] {
        let id = Uuid::new_v4().to_string();
        let fields = [
            ("parent", "centers/C1"),
            ("vendor", "centers/C1/vendors/V1"),
            ("through_date", date),
            ("request_id", &id),
        ];
        let method = "SettlementService/CloseSettlement";
        let refused = hall.refused(date, method, descriptors.request(method, &fields)).await;
        assert!(refused.is(Code::FailedPrecondition, reason), "{date}: {refused:?}");
    }
    assert_eq!(hall.everything().await, before);
    hall.verified().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_that_are_no_message_and_messages_too_large_are_refused() {
    let (hall, descriptors) = (Hall::open().await, Descriptors::read());
    let before = hall.everything().await;
    let mut tried = 0;
    for (method, message) in descriptors.methods() {
        // Streams are another matter, and so are calls within a session, and those that tell nothing.
        if message.field.is_empty() {
            continue;
        }
        if matches!(
            method.as_str(),
            "ReconciliationService/ImportBill"
                | "LedgerService/WatchTransactions"
                | "CatalogueService/ImportCatalogue"
                | "CatalogueService/ExportCatalogue"
                | "OfflineSalesService/UploadOfflineSales"
                | "SessionService/ChangePin"
        ) {
            continue;
        }
        let token = hall.token_for(&method);
        // The first field of every request is a text or a message: its length is beyond the end, its tag of a kind that is
        // not, its text not UTF-8.
        assert_eq!(message.field[0].number(), 1, "{method}");
        for bytes in [vec![0x0a, 0x7f], vec![0x0f], vec![0x0a, 2, 0xc3, 0x28], vec![0xff; 40]] {
            let refused = hall.refused_as("not a message", &method, &token, bytes).await;
            assert!(
                refused.is(Code::InvalidArgument, "INVALID_FIELD"),
                "{method}: {refused:?}"
            );
        }
        let mut large = vec![0x0a];
        prost::encoding::encode_varint(2 * 1024 * 1024, &mut large);
        large.resize(large.len() + 2 * 1024 * 1024, b'x');
        let refused = hall.refused_as("too large", &method, &token, large).await;
        assert!(
            refused.is(Code::OutOfRange, "MESSAGE_TOO_LARGE"),
            "{method}: {refused:?}"
        );
        tried += 1;
    }
    assert!(tried > 50, "{tried}");
    for method in ["RefundService/Steal", "Nothing/Nothing"] {
        let refused = hall.refused("no such method", method, Vec::new()).await;
        assert_eq!(refused.code, Code::PermissionDenied, "{method}: {refused:?}");
    }
    assert_eq!(hall.everything().await, before);
    hall.verified().await;
}

/// The status of a call over gRPC-Web that has nothing but a status.
async fn web(hall: &Hall, method: &str, timeout: &str, message: &[u8]) -> Status {
    let mut body = vec![0];
    body.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    body.extend(message);
    let response = reqwest::Client::new()
        .post(format!("http://{}/custody.v1.{method}", hall.service.address))
        .header("content-type", "application/grpc-web+proto")
        .header("authorization", format!("Bearer {}", hall.token(Role::Finance)))
        .header("grpc-timeout", timeout)
        .body(body)
        .send()
        .await
        .unwrap();
    Status::from_header_map(response.headers()).expect("a status")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadline_that_is_over_is_told_with_its_reason() {
    let (hall, descriptors) = (Hall::open().await, Descriptors::read());
    let before = hall.everything().await;
    // Whoever holds the journal's head keeps everyone else waiting.
    let mut tx = hall.process.database.lane.begin().await.unwrap();
    sqlx::query("select from journal_head for update")
        .execute(&mut *tx)
        .await
        .unwrap();
    let id = Uuid::new_v4().to_string();
    let yesterday = (time::OffsetDateTime::now_utc() - time::Duration::days(1))
        .date()
        .to_string();
    let fields = [
        ("parent", "centers/C1"),
        ("vendor", "centers/C1/vendors/V1"),
        ("through_date", &yesterday),
        ("request_id", &id),
    ];
    let method = "SettlementService/CloseSettlement";
    let message = descriptors.request(method, &fields);
    // As a browser calls it: a gRPC client would give up by itself.
    let status = web(&hall, method, "300m", &message).await;
    let refused = Refused::of(&status, method);
    assert!(refused.is(Code::DeadlineExceeded, "DEADLINE_EXCEEDED"), "{refused:?}");
    assert_eq!(hall.everything().await, before);
    tx.rollback().await.unwrap();
    // What was asked goes on: the same request again is a repetition of it.
    let again = hall.call(method, &hall.token(Role::Finance), message).await.unwrap();
    assert!(again.replayed);
    hall.verified().await;
}
