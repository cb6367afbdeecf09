//! Names: malformed, of another center, of nothing that exists, of what is another's; and pages of other lists.

use custody_ledger::{
    access::Role,
    proto::{
        CreateRefundRequest, GetRefundRequest, ListPayersRequest, ListPayersResponse, ListRefundsRequest,
        ListRefundsResponse, Refund,
    },
};
use prost::Message as _;
use tonic::Code;
use uuid::Uuid;

use crate::{
    endings,
    messages_from_text::Descriptors,
    whole_service::{Hall, Refused, money},
};

/// Messages of all methods that hold names, good as they are. Before a name stands what it is to its message:
///
/// ```text
/// ^  tells the center, and nothing else
/// *  tells the center, and is the one thing of its kind in it
/// !  tells the center, and what it names must exist
/// ~  tells the center, and what it names need not exist to have an empty list
/// @  must be in the message's center, and what it names must exist
/// ?  must be in the message's center or empty, which is all; what does not exist has nothing
/// &  must be in the message's center or empty, which is all; what it names must exist
/// ```
///
/// `$id` is a new request id.
const SHEET: &str = "
RemittanceService/CreatePayer          parent=^centers/C1 payer_id=P9 payer.display_name=A
RemittanceService/GetPayer             name=!centers/C1/payers/P1
RemittanceService/ListPayers           parent=^centers/C1
RemittanceService/CreatePayerLink      parent=!centers/C1/payers/P1 payer_link.detainee=@centers/C1/detainees/D1
RemittanceService/ListPayerLinks       parent=~centers/C1/payers/P1 detainee=?centers/C1/detainees/D1
RemittanceService/CreateRemittance     parent=^centers/C1 payer=@centers/C1/payers/P1 detainee=@centers/C1/detainees/D1 amount.currency_code=CNY amount.amount=1 channel=webhook request_id=$id
RemittanceService/GetRemittance        name=!centers/C1/remittances/R1
TransferService/GetTransfer            name=!centers/C1/transfers/1
TransferService/ListTransfers          parent=^centers/C1
TransferService/GetWithholding         name=!centers/C1/withholdings/1
TransferService/ListWithholdings       parent=^centers/C1 detainee=?centers/C1/detainees/D1
OfflineSalesService/GetAllowance       name=!centers/C1/allowances/1
OfflineSalesService/ListAllowances     parent=^centers/C1 detainee=?centers/C1/detainees/D1
OfflineSalesService/EndAllowance       name=!centers/C1/allowances/1 request_id=$id
OfflineSalesService/GetOfflineSale     name=!centers/C1/terminals/T1/offlineSales/1
OfflineSalesService/ListOfflineSales   parent=^centers/C1 terminal=?centers/C1/terminals/T1
OfflineSalesService/ChargeOfflineSale  name=!centers/C1/terminals/T1/offlineSales/1 reason=why request_id=$id
OfflineSalesService/DismissOfflineSale name=!centers/C1/terminals/T1/offlineSales/1 reason=why request_id=$id
RemittanceService/RefreshRemittance    name=!centers/C1/remittances/R1
RemittanceService/CancelRemittance     name=!centers/C1/remittances/R1
RemittanceService/ListNotifications    parent=^centers/C1
RemittanceService/ListRemittances      parent=^centers/C1 payer=?centers/C1/payers/P1 detainee=?centers/C1/detainees/D1
PayerService/RegisterPayer          parent=^centers/C1 payer_id=P9 payer.display_name=A payer.identity_document.kind=2 payer.identity_document.number=E1234567 payer.phone=+8610000000002
PayerService/ChangePayerPhone       name=!centers/C1/payers/P1 phone=+8610000000002
PayerService/RequestPhoneCode       name=!centers/C1/payers/P1
PayerService/VerifyPayerPhone       name=!centers/C1/payers/P1 code=000000
PayerService/ConfirmPayerPhone      name=!centers/C1/payers/P1 document=called
PayerService/AddPaymentAccount      name=!centers/C1/payers/P1 payment_account.account=a
PayerService/RemovePaymentAccount   name=!centers/C1/payers/P1 payment_account.account=acct
PayerService/RevokePayer            name=!centers/C1/payers/P1 reason=left
PayerService/GetPayerLink           name=!centers/C1/payers/P1/links/D1
PayerService/RequestPayerLink       parent=!centers/C1/payers/P1 payer_link.detainee=@centers/C1/detainees/D1 payer_link.relationship=1
PayerService/ApprovePayerLink       name=!centers/C1/payers/P1/links/D1 reason=checked
PayerService/RejectPayerLink        name=!centers/C1/payers/P1/links/D1 reason=checked
PayerService/RevokePayerLink        name=!centers/C1/payers/P1/links/D1 reason=checked
DistributionService/GetDistributionPolicy     name=*centers/C1/distributionPolicy
DistributionService/UpdateDistributionPolicy  distribution_policy.name=*centers/C1/distributionPolicy distribution_policy.savings_percent=1
DistributionService/CreateCourtOrder          parent=!centers/C1/detainees/D1 court_order_id=C9 court_order.document=2031-9 court_order.total.currency_code=CNY court_order.total.amount=1
DistributionService/ListDistributionPolicyVersions  parent=*centers/C1/distributionPolicy
DistributionService/SuspendCourtOrder         name=!centers/C1/detainees/D2/courtOrders/C1 document=2031-9
DistributionService/ResumeCourtOrder          name=!centers/C1/detainees/D2/courtOrders/C1 document=2031-9
DistributionService/EndCourtOrder             name=!centers/C1/detainees/D2/courtOrders/C1 document=2031-9
DistributionService/CreateDebt                parent=!centers/C1/detainees/D1 debt.kind=1 debt.document=2031-9 debt.amount.currency_code=CNY debt.amount.amount=1 request_id=$id
DistributionService/GetDebt                   name=!centers/C1/debts/1
DistributionService/ListDebts                 parent=!centers/C1/detainees/D1
DistributionService/ListCourtOrders           parent=!centers/C1/detainees/D1
DistributionService/PreviewDistribution       detainee=!centers/C1/detainees/D1 amount.currency_code=CNY amount.amount=1
DistributionService/GetDistribution           name=!centers/C1/remittances/R1/distribution
SettlementService/CloseSettlement      parent=^centers/C1 vendor=@centers/C1/vendors/V1 through_date=2020-01-01 request_id=$id
SettlementService/GetSettlement        name=!centers/C1/settlements/1
SettlementService/ListSettlements      parent=^centers/C1 vendor=?centers/C1/vendors/V1
SettlementService/ListSettlementLines  parent=!centers/C1/settlements/1
SettlementService/ConfirmSettlement    name=!centers/C1/settlements/1 bank_reference=B1 request_id=$id
SettlementService/FailSettlement       name=!centers/C1/settlements/1 reason=closed request_id=$id
SettlementService/PreviewSettlement    parent=^centers/C1 vendor=@centers/C1/vendors/V1 through_date=2020-01-01
SettlementService/ProposeSettlement    name=!centers/C1/settlements/1 reason=reviewed request_id=$id
SettlementService/ExportSettlement     name=!centers/C1/settlements/1 format=1
ContractService/GetVendorContract      name=!centers/C1/vendors/V1
ContractService/UpdateVendorTerms      name=!centers/C1/vendors/V1 commission_percent=1
ContractService/ProposeVendorAccount   name=!centers/C1/vendors/V1 account.holder=A account.number=62220210 account.bank_code=1 reason=contract request_id=$id
ContractService/ListVendorTerms        parent=!centers/C1/vendors/V1
ContractService/ListVendorAccounts     parent=!centers/C1/vendors/V1
PaymentService/CreatePaymentFile       parent=^centers/C1 request_id=$id
PaymentService/GetPaymentFile          name=!centers/C1/paymentFiles/1
PaymentService/ListPaymentFiles        parent=^centers/C1
PaymentService/DownloadPaymentFile     name=!centers/C1/paymentFiles/1
PaymentService/ImportPaymentStatus     parent=^centers/C1 content=x
PaymentService/ImportBankStatement     parent=^centers/C1 content=x
RefundService/GetUnspent               detainee=!centers/C1/detainees/D1 payer=?centers/C1/payers/P1
RefundService/CreateRefund             parent=^centers/C1 remittance=@centers/C1/remittances/R1 amount.currency_code=CNY amount.amount=1 reason=wrong request_id=$id
RefundService/GetRefund                name=!centers/C1/refunds/1
RefundService/RefreshRefund            name=!centers/C1/refunds/1
RefundService/RedirectRefund           name=!centers/C1/refunds/1 reason=told request_id=$id
RefundService/PutRefundBack            name=!centers/C1/refunds/1 reason=told request_id=$id
BeneficiaryService/ProposeBankAccount  parent=!centers/C1/detainees/D1 account.holder=A account.number=62220210 account.bank_code=1 reason=card request_id=$id
BeneficiaryService/ListBankAccounts    parent=!centers/C1/detainees/D1
RefundService/ListRefunds              parent=^centers/C1 detainee=?centers/C1/detainees/D1 remittance=?centers/C1/remittances/R1
RefundService/CreateRelease            parent=^centers/C1 detainee=@centers/C1/detainees/D1 destination=desk request_id=$id
RefundService/GetRelease               name=!centers/C1/releases/1
RefundService/ListReleases             parent=^centers/C1 detainee=?centers/C1/detainees/D1
RefundService/ConfirmRelease           name=!centers/C1/releases/1 bank_reference=B1 request_id=$id
RefundService/FailRelease              name=!centers/C1/releases/1 reason=closed request_id=$id
RefundService/ReverseCredit            credit=!centers/C1/transactions/1 reason=wrong request_id=$id
RefundService/GetCreditReversal        name=!centers/C1/creditReversals/1
ReconciliationService/FetchBill            parent=^centers/C1 channel=webhook bill_date=2020-01-01
ReconciliationService/GetReconciliation    name=!centers/C1/reconciliations/webhook.2020-01-01
ReconciliationService/ListReconciliations  parent=^centers/C1
ReconciliationService/ListBreaks           parent=!centers/C1/reconciliations/webhook.2020-01-01
UnmatchedService/RecordBankLine          parent=^centers/C1 bank_line.bank_reference=B1 bank_line.amount.currency_code=CNY bank_line.amount.amount=1 bank_line.value_date=2020-01-01 bank_line.payer_name=A bank_line.payer_account=1 request_id=$id
UnmatchedService/GetUnmatchedSum         name=!centers/C1/unmatchedSums/1
UnmatchedService/ListUnmatchedSums       parent=^centers/C1
UnmatchedService/MatchUnmatchedSum       name=!centers/C1/unmatchedSums/1
UnmatchedService/ProposeUnmatchedCredit  name=!centers/C1/unmatchedSums/1 detainee=@centers/C1/detainees/D1 reason=theirs request_id=$id
UnmatchedService/ProposeUnmatchedReturn  name=!centers/C1/unmatchedSums/1 reason=nobody request_id=$id
ApprovalService/GetApproval              name=!centers/C1/approvals/1
ApprovalService/ListApprovals            parent=^centers/C1
ApprovalService/Approve                  name=!centers/C1/approvals/1
ApprovalService/Refuse                   name=!centers/C1/approvals/1 reason=wrong
WorkService/GetWorkItem                  name=!centers/C1/workItems/W1
WorkService/ListWorkItems                parent=^centers/C1
WorkService/TakeWorkItem                 name=!centers/C1/workItems/W1
WorkService/ResolveWorkItem              name=!centers/C1/workItems/W1 reason=done
WorkService/CancelWorkItem               name=!centers/C1/workItems/W1 reason=nothing
CustodyService/GetCenter               name=^centers/C1
CustodyService/UpdateCenterSettings    settings.name=*centers/C1/settings
CustodyService/AdmitDetainee           parent=^centers/C1 detainee_id=D9 detainee.display_name=A detainee.tier=1
CustodyService/GetDetainee             name=!centers/C1/detainees/D1
CustodyService/ListDetainees           parent=^centers/C1
CustodyService/GetBalances             detainee=!centers/C1/detainees/D1
CustodyService/ChangeLegalStatus       detainee=!centers/C1/detainees/D1 document=2031-9
CustodyService/ListStatementLines      parent=!centers/C1/detainees/D1
CommissaryService/CreateVendor         parent=^centers/C1 vendor_id=V9 vendor.display_name=A
CommissaryService/GetVendor            name=!centers/C1/vendors/V1
CommissaryService/ListVendors          parent=^centers/C1
CommissaryService/CreateProduct        parent=^centers/C1 product_id=TEA product.vendor=@centers/C1/vendors/V1 product.display_name=A product.category=1 product.price.currency_code=CNY product.price.amount=1
CommissaryService/GetProduct           name=!centers/C1/products/RICE
CommissaryService/UpdateProduct        product.name=!centers/C1/products/RICE product.price.currency_code=CNY product.price.amount=1
CommissaryService/ListProducts         parent=^centers/C1 vendor=?centers/C1/vendors/V1
CatalogueService/ProposeProduct        parent=^centers/C1 product_id=TEA product.vendor=@centers/C1/vendors/V1 product.display_name=A product.category=1 product.price.currency_code=CNY product.price.amount=1 reason=new request_id=$id
CatalogueService/ProposePrice          name=!centers/C1/products/RICE price.currency_code=CNY price.amount=1 approved_price.currency_code=CNY approved_price.amount=9 reason=dear request_id=$id
CatalogueService/ListProductVersions   parent=!centers/C1/products/RICE
CatalogueService/RecordStockMovement   name=!centers/C1/products/RICE kind=1 quantity=1 reason=counted request_id=$id
CatalogueService/ListStockMovements    parent=!centers/C1/products/RICE
CatalogueService/GetBuyer              detainee=!centers/C1/detainees/D1
CatalogueService/UpdateBuyer           buyer.detainee=!centers/C1/detainees/D1 reason=moved
SpendingService/ListSpendingVersions   parent=*centers/C1
SpendingService/ListSpendingWindows    parent=!centers/C1/detainees/D1 window=4
SpendingService/ProposeLimitOverride   detainee=!centers/C1/detainees/D1 window=4 amount.currency_code=CNY amount.amount=1 end_time.seconds=4102444800 document=2031-9 reason=ill request_id=$id
SpendingService/ProposeFreeze          detainee=!centers/C1/detainees/D1 document=2031-9 reason=ordered request_id=$id
SpendingService/ProposeFreezeEnd       name=!centers/C1/spendingMeasures/1 reason=lifted request_id=$id
SpendingService/RestrictCategories     detainee=!centers/C1/detainees/D1 categories=2 end_time.seconds=4102444800 reason=fought request_id=$id
SpendingService/EndSpendingMeasure     name=!centers/C1/spendingMeasures/1 reason=over
SpendingService/GetSpendingMeasure     name=!centers/C1/spendingMeasures/1
SpendingService/ListSpendingMeasures   parent=^centers/C1 detainee=?centers/C1/detainees/D1
SpendingService/GetKit                 name=*centers/C1/kit
SpendingService/UpdateKit              kit.name=*centers/C1/kit kit.lines.product=@centers/C1/products/RICE kit.lines.quantity=1 reason=new
SpendingService/GrantKit               detainee=!centers/C1/detainees/D1 request_id=$id
SpendingService/CancelKitGrant         name=!centers/C1/kitGrants/9 reason=wrong request_id=$id
SpendingService/GetKitGrant            name=!centers/C1/kitGrants/9
SpendingService/ListKitGrants          parent=^centers/C1 detainee=&centers/C1/detainees/D1
CommissaryService/CreatePurchase       parent=^centers/C1 detainee=@centers/C1/detainees/D1 lines.product=@centers/C1/products/RICE lines.quantity=1 request_id=$id
CommissaryService/GetPurchase          name=!centers/C1/purchases/2
CommissaryService/ListPurchases        parent=^centers/C1 detainee=&centers/C1/detainees/D1
CommissaryService/CreateReturn         parent=^centers/C1 purchase=@centers/C1/purchases/2 lines.line=1 lines.quantity=1 reason=torn request_id=$id
CommissaryService/GetReturn            name=!centers/C1/returns/1
CommissaryService/ListReturns          parent=^centers/C1 purchase=?centers/C1/purchases/2
CommissaryService/GetSpending          detainee=!centers/C1/detainees/D1
OrderService/CreateOrder               parent=^centers/C1 detainee=@centers/C1/detainees/D1 lines.product=@centers/C1/products/RICE lines.quantity=1 request_id=$id
OrderService/GetOrder                  name=!centers/C1/orders/1
OrderService/ListOrders                parent=^centers/C1 detainee=?centers/C1/detainees/D1
OrderService/CancelOrder               name=!centers/C1/orders/1 request_id=$id
OrderService/ConfirmDelivery           name=!centers/C1/orders/1 lines.line=1 lines.quantity=1 request_id=$id
OrderService/DisputeOrderLine          name=!centers/C1/orders/1 line=1 reason=torn request_id=$id
OrderService/ResolveOrderDispute       name=!centers/C1/orders/1 line=1 verdict=1 reason=seen request_id=$id
OrderService/GetOrderingRules          name=*centers/C1/orderingRules
OrderService/UpdateOrderingRules       rules.name=*centers/C1/orderingRules reason=new
TerminalService/CreateTerminal         parent=^centers/C1 terminal_id=T9
TerminalService/GetTerminal            name=!centers/C1/terminals/T1
TerminalService/ListTerminals          parent=^centers/C1
TerminalService/CreateEnrolmentCode    name=!centers/C1/terminals/T1
TerminalService/RevokeTerminal         name=!centers/C1/terminals/T1 reason=stolen
SessionService/GetSessionPolicy        parent=^centers/C1
SessionService/UpdateSessionPolicy     parent=^centers/C1
SessionService/IssueCard               parent=^centers/C1 card_id=9 detainee=@centers/C1/detainees/D1
SessionService/GetCard                 name=!centers/C1/cards/7
SessionService/ListCards               parent=^centers/C1 detainee=?centers/C1/detainees/D1
SessionService/EndCard                 name=!centers/C1/cards/7 reason=lost
SessionService/ResetPin                name=!centers/C1/cards/7
SessionService/RegisterModule          terminal=!centers/C1/terminals/T1
LedgerService/GetAccount               name=!centers/C1/accounts/1
LedgerService/ListAccounts             parent=^centers/C1
LedgerService/GetTransaction           name=!centers/C1/transactions/1
LedgerService/ListTransactions         parent=^centers/C1
LedgerService/ListPostings             parent=!centers/C1/accounts/1
LedgerService/GetBalance               account=!centers/C1/accounts/1
LedgerService/GetProof                 center=^centers/C1
LedgerService/GetRequestOutcome        parent=^centers/C1 request_id=$id
";

struct Row {
    method: &'static str,
    fields: Vec<Field>,
}

struct Field {
    path: &'static str,
    /// One of `^*!~@?&`, or a space for what is no name.
    place: char,
    value: &'static str,
}

impl Row {
    fn read(line: &'static str) -> Row {
        let mut words = line.split_whitespace();
        let method = words.next().unwrap();
        let field = |word: &'static str| {
            let (path, value) = word.split_once('=').unwrap();
            let marked = value.starts_with(['^', '*', '!', '~', '@', '?', '&']);
            let (place, value) = value.split_at(usize::from(marked));
            Field {
                path,
                place: place.chars().next().unwrap_or(' '),
                value,
            }
        };
        Row {
            method,
            fields: words.map(field).collect(),
        }
    }

    /// The message with another text in one of its fields.
    fn with(&self, descriptors: &Descriptors, path: &str, text: &str) -> Vec<u8> {
        let id = Uuid::new_v4().to_string();
        let value = |field: &Field| {
            if field.path == path {
                text.to_owned()
            } else {
                field.value.replace("$id", &id)
            }
        };
        let texts: Vec<String> = self.fields.iter().map(value).collect();
        let fields: Vec<(&str, &str)> = self
            .fields
            .iter()
            .zip(&texts)
            .map(|(field, text)| (field.path, text.as_str()))
            .collect();
        descriptors.request(self.method, &fields)
    }

    fn names(&self) -> impl Iterator<Item = &Field> {
        self.fields.iter().filter(|field| field.place != ' ')
    }
}

fn rows() -> Vec<Row> {
    let lines = SHEET.lines().chain(endings::SHEET.lines());
    lines.filter(|line| !line.is_empty()).map(Row::read).collect()
}

/// The path as a refusal tells it.
fn told(path: &str) -> String {
    path.replace("lines.", "lines[0].")
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_are_none_are_refused_in_every_field() {
    let (hall, descriptors) = (Hall::open().await, Descriptors::read());
    let before = hall.everything().await;
    for row in rows() {
        for field in row.names() {
            let sample = field.value;
            let (front, last) = sample.rsplit_once('/').unwrap();
            let mut bad = vec![
                "x".to_owned(),
                front.to_owned(),
                format!("{sample}/"),
                format!("/{sample}"),
                format!("{sample} "),
                format!("{front}/"),
                format!("{front}/{last}'; drop table center; --"),
                format!("{sample}\0"),
                sample.replacen("centers", "Centers", 1),
                format!("{front}/{}", "9".repeat(64)),
                format!("{sample}/{}", "x/".repeat(1000)),
                "centers/C1/nothings/N1".to_owned(),
            ];
            if !matches!(field.place, '?' | '&') {
                bad.push(String::new());
            }
            if matches!(field.place, '@' | '?' | '&') {
                bad.push(sample.replacen("C1", "C9", 1));
            }
            for name in bad {
                let message = row.with(&descriptors, field.path, &name);
                let refused = hall.refused(&name, row.method, message).await;
                let (code, reason) = (Code::InvalidArgument, "INVALID_FIELD");
                assert!(refused.is(code, reason), "{}, {name:?}: {refused:?}", row.method);
                assert_eq!(refused.field, Some(told(field.path)), "{}, {name:?}", row.method);
            }
        }
    }
    assert_eq!(hall.everything().await, before);
    hall.proof().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_exist_is_not_found_and_another_center_is_denied_first() {
    let (hall, descriptors) = (Hall::open().await, Descriptors::read());
    let (before, everywhere) = (hall.everything().await, hall.everywhere());
    for row in rows() {
        // No admin of all centers may call these.
        let is_terminal_s = hall.token_for(row.method) == hall.token(Role::Terminal)
            || row.method == "PaymentService/DownloadPaymentFile"
            || row.method == "EndingService/RevealPayee";
        for field in row.names() {
            let at = format!("{}, {}", row.method, field.path);
            if !matches!(field.place, '@' | '?' | '&') {
                // There is no C9, which is nobody's business who does not belong to it.
                let name = field.value.replacen("C1", "C9", 1);
                let message = row.with(&descriptors, field.path, &name);
                let denied = hall.refused(&name, row.method, message.clone()).await;
                assert!(denied.is(Code::PermissionDenied, "NOT_ALLOWED"), "{at}: {denied:?}");
                if !is_terminal_s {
                    let missing = hall.refused_as(&name, row.method, &everywhere, message).await;
                    assert!(missing.is(Code::NotFound, "NOT_FOUND"), "{at}: {missing:?}");
                }
            }
            if !matches!(field.place, '^' | '*') {
                let message = row.with(&descriptors, field.path, &unknown(field.value));
                let answer = hall.call(row.method, &hall.token_for(row.method), message).await;
                match (field.place, answer.err()) {
                    ('~' | '?', None) => {}
                    ('!' | '@' | '&', Some(status)) => {
                        let missing = Refused::of(&status, &at);
                        assert!(missing.is(Code::NotFound, "NOT_FOUND"), "{at}: {missing:?}");
                    }
                    (_, answer) => panic!("{at}: {answer:?}"),
                }
            }
        }
    }
    assert_eq!(hall.everything().await, before);
    hall.proof().await;
}

/// A name like the sample, of something that does not exist.
fn unknown(sample: &str) -> String {
    if sample.contains("/reconciliations/") {
        return sample.replace("2020", "2019");
    }
    match sample.strip_suffix("/distribution") {
        Some(remittance) => format!("{}/distribution", unknown(remittance)),
        None => {
            let (front, last) = sample.rsplit_once('/').unwrap();
            let is_number = last.bytes().all(|byte| byte.is_ascii_digit());
            format!("{front}/{}", if is_number { "9999" } else { "NOBODY" })
        }
    }
}

/// What a payer may ask about, and about whom; `$r`, `$d` and `$p` are a remittance, a detainee and a payer.
const ASKED: &str = "
RemittanceService/GetRemittance          name=$r
RemittanceService/RefreshRemittance      name=$r
RemittanceService/CancelRemittance       name=$r
DistributionService/GetDistribution      name=$r/distribution
CustodyService/GetDetainee               name=$d
CustodyService/GetBalances               detainee=$d
CustodyService/ListStatementLines        parent=$d
DistributionService/PreviewDistribution  detainee=$d amount.currency_code=CNY amount.amount=1
RefundService/GetUnspent                 detainee=$d
RemittanceService/CreateRemittance       parent=centers/C1 payer=centers/C1/payers/P1 detainee=$d amount.currency_code=CNY amount.amount=1 channel=webhook request_id=$id
RemittanceService/GetPayer               name=$p
RemittanceService/ListPayerLinks         parent=$p
PayerService/RegisterPayer               parent=centers/C1 payer_id=P2 payer.display_name=A payer.identity_document.kind=2 payer.identity_document.number=E1234567 payer.phone=+8610000000002
PayerService/ChangePayerPhone            name=$p phone=+8610000000002
PayerService/RequestPhoneCode            name=$p
PayerService/VerifyPayerPhone            name=$p code=000000
PayerService/AddPaymentAccount           name=$p payment_account.account=a
PayerService/RemovePaymentAccount        name=$p payment_account.account=acct
PayerService/RevokePayer                 name=$p reason=left
PayerService/GetPayerLink                name=$p/links/D3
PayerService/RequestPayerLink            parent=$p payer_link.detainee=centers/C1/detainees/D3 payer_link.relationship=1
PayerService/RevokePayerLink             name=$p/links/D3 reason=left
RemittanceService/CreateRemittance       parent=centers/C1 payer=$p detainee=centers/C1/detainees/D1 amount.currency_code=CNY amount.amount=1 channel=webhook request_id=$id
RemittanceService/ListRemittances        parent=centers/C1 payer=$p
RefundService/GetUnspent                 detainee=centers/C1/detainees/D1 payer=$p
";

#[tokio::test(flavor = "multi_thread")]
async fn what_is_another_payer_s_and_what_does_not_exist_are_denied_alike() {
    let (hall, descriptors) = (Hall::open().await, Descriptors::read());
    let theirs = hall.remit("D3", "20.00").await.name;
    let (payer, before) = (hall.token(Role::Payer), hall.everything().await);
    for line in ASKED.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let method = words.next().unwrap();
        let fields: Vec<(&str, &str)> = words.map(|word| word.split_once('=').unwrap()).collect();
        for [remittance, detainee, other] in [
            [theirs.as_str(), "centers/C1/detainees/D3", "centers/C1/payers/P2"],
            [
                "centers/C1/remittances/R1",
                "centers/C1/detainees/NO",
                "centers/C1/payers/NO",
            ],
        ] {
            let id = Uuid::new_v4().to_string();
            let fill = |text: &str| {
                let text = text.replace("$id", &id).replace("$r", remittance);
                text.replace("$d", detainee).replace("$p", other)
            };
            let texts: Vec<String> = fields.iter().map(|(_, text)| fill(text)).collect();
            let filled = fields
                .iter()
                .zip(&texts)
                .map(|((path, _), text)| (*path, text.as_str()));
            let message = descriptors.request(method, &filled.collect::<Vec<_>>());
            let denied = hall.refused_as(line, method, &payer, message).await;
            assert!(denied.is(Code::PermissionDenied, "NOT_ALLOWED"), "{line}: {denied:?}");
        }
    }
    assert_eq!(hall.everything().await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payer_reads_the_refunds_of_their_own_remittances() {
    let hall = Hall::open().await;
    let mut refunds = Vec::new();
    for detainee in ["D1", "D3"] {
        let remittance = hall.remit(detainee, "20.00").await.name;
        let asked = CreateRefundRequest {
            by_bank: false,
            consent: Some(custody_ledger::proto::DetaineeConsent::scanned("C-1")),
            parent: "centers/C1".into(),
            remittance: remittance.clone(),
            amount: money("5.00"),
            reason: "wrong person".into(),
            request_id: Uuid::new_v4().to_string(),
            suspense_transaction: String::new(),
        };
        let refund: Refund = hall.ask("RefundService/CreateRefund", &asked).await.unwrap();
        refunds.push((remittance, refund.name));
    }
    let [(_, mine), (their_remittance, theirs)] = &refunds[..] else {
        panic!("{refunds:?}");
    };
    let (payer, nobody) = (hall.token(Role::Payer), "centers/C1/refunds/9999".to_owned());
    let get = |name: &String| GetRefundRequest { name: name.clone() };
    let read: Refund = hall
        .ask_as("RefundService/GetRefund", &payer, &get(mine))
        .await
        .unwrap();
    assert_eq!(&read.name, mine);
    for name in [theirs, &nobody] {
        let message = get(name).encode_to_vec();
        let denied = hall.refused_as(name, "RefundService/GetRefund", &payer, message).await;
        assert!(denied.is(Code::PermissionDenied, "NOT_ALLOWED"), "{name}: {denied:?}");
    }
    let list = |detainee: &str, remittance: &str| ListRefundsRequest {
        parent: "centers/C1".into(),
        detainee: detainee.into(),
        remittance: remittance.into(),
        ..ListRefundsRequest::default()
    };
    for (detainee, remittance, expected) in [
        ("", "", vec![mine]),
        ("centers/C1/detainees/D1", "", vec![mine]),
        ("", their_remittance, vec![]),
    ] {
        let message = list(detainee, remittance);
        let page: ListRefundsResponse = hall
            .ask_as("RefundService/ListRefunds", &payer, &message)
            .await
            .unwrap();
        let names: Vec<&String> = page.refunds.iter().map(|refund| &refund.name).collect();
        assert_eq!(names, expected, "{detainee} {remittance}");
    }
    let message = list("centers/C1/detainees/D3", "").encode_to_vec();
    let denied = hall
        .refused_as("D3", "RefundService/ListRefunds", &payer, message)
        .await;
    assert!(denied.is(Code::PermissionDenied, "NOT_ALLOWED"), "{denied:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_belongs_to_its_list() {
    let (hall, descriptors) = (Hall::open().await, Descriptors::read());
    let page = |page_token| ListPayersRequest {
        parent: "centers/C1".into(),
        page_size: 1,
        page_token,
    };
    let list = "RemittanceService/ListPayers";
    let first: ListPayersResponse = hall.ask(list, &page(String::new())).await.unwrap();
    let token = first.next_page_token;
    let second: ListPayersResponse = hall.ask(list, &page(token.clone())).await.unwrap();
    assert_eq!((second.payers.len(), second.next_page_token.as_str()), (1, ""));

    let (rows, mut tried) = (rows(), 0);
    for (method, message) in descriptors.methods() {
        let is_list = message.field.iter().any(|field| field.name() == "page_token");
        if !is_list {
            continue;
        }
        // The list of centers has no parent.
        let row = rows.iter().find(|row| row.method == method);
        let base = row.map_or(Vec::new(), |row| row.with(&descriptors, "", ""));
        let long = "0".repeat(5000);
        let cases = [
            ("page_size", "-1"),
            ("page_token", "x"),
            ("page_token", "00"),
            ("page_token", &long),
            ("page_token", if method == list { "ff" } else { &token }),
        ];
        for (field, text) in cases {
            let mut message = base.clone();
            message.extend(descriptors.request(&method, &[(field, text)]));
            let refused = hall.refused(text, &method, message).await;
            assert!(
                refused.is(Code::InvalidArgument, "INVALID_FIELD"),
                "{method}: {refused:?}"
            );
            assert_eq!(refused.field.as_deref(), Some(field), "{method}, {text}");
        }
        tried += 1;
    }
    assert!(tried >= 18, "{tried}");
    hall.verified().await;
}
