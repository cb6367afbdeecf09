//! The one table that says which permission each method needs, and which roles have it.

use Permission::*;

use super::Role;

/// What a role may be allowed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Create centers and change their settings.
    ManageCenters,
    /// Read centers and their settings.
    ReadCenters,
    /// Admit detainees.
    ManageDetainees,
    /// List all detainees of a center.
    ListDetainees,
    /// Read one detainee.
    ReadDetainee,
    /// Read the balances of one detainee.
    ReadBalances,
    /// Read the statement of one detainee.
    ReadStatement,
    /// Register payers and link them to detainees in one step, confirm phones, and decide on links.
    ManagePayers,
    /// Register as a payer, keep one's registration, and ask for links.
    Register,
    /// List all payers of a center.
    ListPayers,
    /// Read one payer and its links.
    ReadPayer,
    /// Order a remittance, ask the gateway what became of it, and give it up.
    Remit,
    /// Read remittances.
    ReadRemittances,
    /// Read what gateways have posted.
    ReadNotifications,
    /// Change the distribution policy and enter court orders.
    ManageDistribution,
    /// Read the distribution policy and court orders.
    ReadDistributionPolicy,
    /// Preview a distribution, and read the explanation of one.
    ReadDistribution,
    /// Keep vendors and the catalogue.
    ManageCatalogue,
    /// Read what became of the catalogue: versions of products, movements of stock, and all of it as a file.
    ReadCatalogueHistory,
    /// Tell where a detainee lives and what they must not have.
    ManageBuyers,
    /// Read it.
    ReadBuyers,
    /// Read vendors.
    ReadVendors,
    /// Read the catalogue.
    ReadProducts,
    /// Order purchases and returns for detainees.
    Sell,
    /// Read one purchase or return.
    ReadPurchase,
    /// List the purchases and returns of a center.
    ListPurchases,
    /// Read what a detainee has spent and may still spend in a month.
    ReadSpending,
    /// Close, confirm and fail settlements.
    Settle,
    /// Read settlements.
    ReadSettlements,
    /// Agree on terms with vendors, and ask for their bank accounts.
    ManageContracts,
    /// Read what is agreed with vendors.
    ReadContracts,
    /// Make payment files, and read what the bank says of them.
    PayByBank,
    /// Download payment files, which tell account numbers.
    DownloadPaymentFiles,
    /// Read which payment files there are.
    ReadPaymentFiles,
    /// Refund payers, and ask the gateway what became of it.
    Refund,
    /// Read what of a payer's money is unspent.
    ReadUnspent,
    /// Read refunds.
    ReadRefunds,
    /// Pay out, confirm and fail releases.
    Release,
    /// Record what detainees owe the center.
    RecordDebts,
    /// Read what a detainee owes the center.
    ReadDebts,
    /// Take erroneous credits back.
    ReverseCredits,
    /// Read reversals of credits.
    ReadReversals,
    /// Read releases.
    ReadReleases,
    /// Bring in the gateway's bills.
    Reconcile,
    /// Read reconciliations and their breaks.
    ReadReconciliations,
    /// Read accounts, transactions, postings and proofs, and watch the journal.
    ReadLedger,
    /// Read the outcome of a request of one's own.
    ReadRequestOutcome,
    /// Allow or refuse what others ask for.
    Decide,
    /// Read what is asked for and who allowed it.
    ReadApprovals,
    /// Record money without an order, and propose whose it is.
    Match,
    /// Read money without an order.
    ReadUnmatched,
    /// Look after the work queue.
    Work,
    /// Read the work queue.
    ReadWork,
    /// Ask for the end of a remittance's review.
    Review,
    /// Read whether the jobs run.
    ReadJobs,
    /// Ask for transfers of detainees, for sums to be withheld and given back, and for moved money to go back to its payer.
    Transfer,
    /// Read transfers and sums withheld.
    ReadTransfers,
}

impl Permission {
    /// The roles that have the permission.
    pub fn roles(self) -> &'static [Role] {
        use Role::*;
        match self {
            ManageCenters | ManageDetainees | ManageDistribution | ManageBuyers => &[Admin],
            DownloadPaymentFiles => &[Finance],
            ReadPaymentFiles => &[Admin, Finance, Auditor],
            ReadContracts => &[Admin, Finance, Auditor, Commissary],
            ManageContracts | PayByBank => &[Admin, Finance],
            ManagePayers | Settle | Refund | Release | Reconcile | Decide | Work | Match | RecordDebts
            | ReverseCredits | Review | Transfer => &[Admin, Finance],
            ManageCatalogue => &[Admin, Commissary],
            Register | Remit => &[Admin, Finance, Payer],
            Sell => &[Terminal],
            ReadCenters
            | ListDetainees
            | ListPayers
            | ReadDistributionPolicy
            | ReadReleases
            | ReadDebts
            | ReadReversals
            | ReadReconciliations
            | ReadLedger
            | ReadApprovals
            | ReadUnmatched
            | ReadNotifications
            | ReadWork
            | ReadBuyers
            | ReadJobs
            | ReadTransfers => &[Admin, Finance, Auditor],
            ReadDetainee | ReadStatement | ReadPayer | ReadRemittances | ReadDistribution | ReadUnspent
            | ReadRefunds => &[Admin, Finance, Auditor, Payer],
            ReadVendors | ListPurchases | ReadSettlements | ReadCatalogueHistory => {
                &[Admin, Finance, Auditor, Commissary]
            }
            ReadProducts | ReadPurchase => &[Admin, Finance, Auditor, Commissary, Terminal],
            ReadSpending => &[Admin, Finance, Auditor, Terminal],
            ReadBalances | ReadRequestOutcome => &[Admin, Finance, Auditor, Terminal, Payer],
        }
    }

    /// Whether a role has the permission.
    pub fn is_given_to(self, role: Role) -> bool {
        self.roles().contains(&role)
    }
}

/// Every method, as `package.Service/Method`, with the permission that it needs. A method that is not here is denied.
pub const METHODS: &[(&str, Permission)] = &[
    ("custody.v1.CustodyService/CreateCenter", ManageCenters),
    ("custody.v1.CustodyService/GetCenter", ReadCenters),
    ("custody.v1.CustodyService/ListCenters", ReadCenters),
    ("custody.v1.CustodyService/UpdateCenterSettings", ManageCenters),
    ("custody.v1.CustodyService/AdmitDetainee", ManageDetainees),
    ("custody.v1.CustodyService/GetDetainee", ReadDetainee),
    ("custody.v1.CustodyService/ListDetainees", ListDetainees),
    ("custody.v1.CustodyService/GetBalances", ReadBalances),
    ("custody.v1.CustodyService/ListStatementLines", ReadStatement),
    ("custody.v1.CustodyService/ChangeLegalStatus", ManageDetainees),
    ("custody.v1.RemittanceService/CreatePayer", ManagePayers),
    ("custody.v1.RemittanceService/GetPayer", ReadPayer),
    ("custody.v1.RemittanceService/ListPayers", ListPayers),
    ("custody.v1.RemittanceService/CreatePayerLink", ManagePayers),
    ("custody.v1.RemittanceService/ListPayerLinks", ReadPayer),
    ("custody.v1.RemittanceService/CreateRemittance", Remit),
    ("custody.v1.RemittanceService/GetRemittance", ReadRemittances),
    ("custody.v1.RemittanceService/ListRemittances", ReadRemittances),
    ("custody.v1.RemittanceService/RefreshRemittance", Remit),
    ("custody.v1.RemittanceService/ListNotifications", ReadNotifications),
    (
        "custody.v1.DistributionService/GetDistributionPolicy",
        ReadDistributionPolicy,
    ),
    (
        "custody.v1.DistributionService/UpdateDistributionPolicy",
        ManageDistribution,
    ),
    ("custody.v1.DistributionService/CreateCourtOrder", ManageDistribution),
    ("custody.v1.DistributionService/ListCourtOrders", ReadDistributionPolicy),
    (
        "custody.v1.DistributionService/ListDistributionPolicyVersions",
        ReadDistributionPolicy,
    ),
    ("custody.v1.DistributionService/SuspendCourtOrder", ManageDistribution),
    ("custody.v1.DistributionService/ResumeCourtOrder", ManageDistribution),
    ("custody.v1.DistributionService/EndCourtOrder", ManageDistribution),
    ("custody.v1.DistributionService/CreateDebt", RecordDebts),
    ("custody.v1.DistributionService/GetDebt", ReadDebts),
    ("custody.v1.DistributionService/ListDebts", ReadDebts),
    ("custody.v1.DistributionService/PreviewDistribution", ReadDistribution),
    ("custody.v1.DistributionService/GetDistribution", ReadDistribution),
    ("custody.v1.CommissaryService/CreateVendor", ManageCatalogue),
    ("custody.v1.CommissaryService/GetVendor", ReadVendors),
    ("custody.v1.CommissaryService/ListVendors", ReadVendors),
    ("custody.v1.CommissaryService/CreateProduct", ManageCatalogue),
    ("custody.v1.CommissaryService/GetProduct", ReadProducts),
    ("custody.v1.CommissaryService/UpdateProduct", ManageCatalogue),
    ("custody.v1.CommissaryService/ListProducts", ReadProducts),
    ("custody.v1.CommissaryService/CreatePurchase", Sell),
    ("custody.v1.CommissaryService/GetPurchase", ReadPurchase),
    ("custody.v1.CommissaryService/ListPurchases", ListPurchases),
    ("custody.v1.CommissaryService/CreateReturn", Sell),
    ("custody.v1.CommissaryService/GetReturn", ReadPurchase),
    ("custody.v1.CommissaryService/ListReturns", ListPurchases),
    ("custody.v1.CommissaryService/GetSpending", ReadSpending),
    ("custody.v1.SettlementService/CloseSettlement", Settle),
    ("custody.v1.SettlementService/GetSettlement", ReadSettlements),
    ("custody.v1.SettlementService/ListSettlements", ReadSettlements),
    ("custody.v1.SettlementService/ListSettlementLines", ReadSettlements),
    ("custody.v1.SettlementService/ConfirmSettlement", Settle),
    ("custody.v1.SettlementService/FailSettlement", Settle),
    ("custody.v1.SettlementService/PreviewSettlement", ReadSettlements),
    ("custody.v1.SettlementService/ProposeSettlement", Settle),
    ("custody.v1.SettlementService/ExportSettlement", ReadSettlements),
    ("custody.v1.ContractService/GetVendorContract", ReadContracts),
    ("custody.v1.ContractService/UpdateVendorTerms", ManageContracts),
    ("custody.v1.ContractService/ProposeVendorAccount", ManageContracts),
    ("custody.v1.ContractService/ListVendorTerms", ReadContracts),
    ("custody.v1.ContractService/ListVendorAccounts", ReadContracts),
    ("custody.v1.PaymentService/CreatePaymentFile", PayByBank),
    ("custody.v1.PaymentService/GetPaymentFile", ReadPaymentFiles),
    ("custody.v1.PaymentService/ListPaymentFiles", ReadPaymentFiles),
    ("custody.v1.PaymentService/DownloadPaymentFile", DownloadPaymentFiles),
    ("custody.v1.PaymentService/ImportPaymentStatus", PayByBank),
    ("custody.v1.PaymentService/ImportBankStatement", PayByBank),
    ("custody.v1.RefundService/GetUnspent", ReadUnspent),
    ("custody.v1.RefundService/CreateRefund", Refund),
    ("custody.v1.RefundService/GetRefund", ReadRefunds),
    ("custody.v1.RefundService/ListRefunds", ReadRefunds),
    ("custody.v1.RefundService/RefreshRefund", Refund),
    ("custody.v1.RefundService/CreateRelease", Release),
    ("custody.v1.RefundService/GetRelease", ReadReleases),
    ("custody.v1.RefundService/ListReleases", ReadReleases),
    ("custody.v1.RefundService/ConfirmRelease", Release),
    ("custody.v1.RefundService/FailRelease", Release),
    ("custody.v1.RefundService/ReverseCredit", ReverseCredits),
    ("custody.v1.RefundService/GetCreditReversal", ReadReversals),
    ("custody.v1.ReconciliationService/ImportBill", Reconcile),
    ("custody.v1.ReconciliationService/FetchBill", Reconcile),
    (
        "custody.v1.ReconciliationService/GetReconciliation",
        ReadReconciliations,
    ),
    (
        "custody.v1.ReconciliationService/ListReconciliations",
        ReadReconciliations,
    ),
    ("custody.v1.ReconciliationService/ListBreaks", ReadReconciliations),
    ("custody.v1.PayerService/RegisterPayer", Register),
    ("custody.v1.PayerService/ChangePayerPhone", Register),
    ("custody.v1.PayerService/RequestPhoneCode", Register),
    ("custody.v1.PayerService/VerifyPayerPhone", Register),
    ("custody.v1.PayerService/ConfirmPayerPhone", ManagePayers),
    ("custody.v1.PayerService/AddPaymentAccount", Register),
    ("custody.v1.PayerService/RemovePaymentAccount", Register),
    ("custody.v1.PayerService/RevokePayer", Register),
    ("custody.v1.PayerService/GetPayerLink", ReadPayer),
    ("custody.v1.PayerService/RequestPayerLink", Register),
    ("custody.v1.PayerService/ApprovePayerLink", ManagePayers),
    ("custody.v1.PayerService/RejectPayerLink", ManagePayers),
    ("custody.v1.PayerService/RevokePayerLink", Register),
    ("custody.v1.LedgerService/GetAccount", ReadLedger),
    ("custody.v1.LedgerService/ListAccounts", ReadLedger),
    ("custody.v1.LedgerService/GetTransaction", ReadLedger),
    ("custody.v1.LedgerService/ListTransactions", ReadLedger),
    ("custody.v1.LedgerService/ListPostings", ReadLedger),
    ("custody.v1.LedgerService/GetBalance", ReadLedger),
    ("custody.v1.LedgerService/GetProof", ReadLedger),
    ("custody.v1.LedgerService/GetRequestOutcome", ReadRequestOutcome),
    ("custody.v1.LedgerService/WatchTransactions", ReadLedger),
    ("custody.v1.ApprovalService/GetApproval", ReadApprovals),
    ("custody.v1.ApprovalService/ListApprovals", ReadApprovals),
    ("custody.v1.ApprovalService/Approve", Decide),
    ("custody.v1.ApprovalService/Refuse", Decide),
    ("custody.v1.RemittanceService/ReleaseRemittance", Review),
    ("custody.v1.RemittanceService/RejectRemittance", Review),
    ("custody.v1.RemittanceService/WatchRemittance", ReadRemittances),
    ("custody.v1.RemittanceService/CancelRemittance", Remit),
    ("custody.v1.WorkService/ListJobs", ReadJobs),
    ("custody.v1.WorkService/GetWorkItem", ReadWork),
    ("custody.v1.WorkService/ListWorkItems", ReadWork),
    ("custody.v1.WorkService/TakeWorkItem", Work),
    ("custody.v1.WorkService/ResolveWorkItem", Work),
    ("custody.v1.WorkService/CancelWorkItem", Work),
    ("custody.v1.RefundService/RedirectRefund", Refund),
    ("custody.v1.UnmatchedService/RecordBankLine", Match),
    ("custody.v1.UnmatchedService/GetUnmatchedSum", ReadUnmatched),
    ("custody.v1.UnmatchedService/ListUnmatchedSums", ReadUnmatched),
    ("custody.v1.UnmatchedService/MatchUnmatchedSum", Match),
    ("custody.v1.UnmatchedService/ProposeUnmatchedCredit", Match),
    ("custody.v1.UnmatchedService/ProposeUnmatchedReturn", Match),
    ("custody.v1.CatalogueService/ProposeProduct", ManageCatalogue),
    ("custody.v1.CatalogueService/ProposePrice", ManageCatalogue),
    ("custody.v1.CatalogueService/ListProductVersions", ReadCatalogueHistory),
    ("custody.v1.CatalogueService/RecordStockMovement", ManageCatalogue),
    ("custody.v1.CatalogueService/ListStockMovements", ReadCatalogueHistory),
    ("custody.v1.CatalogueService/ImportCatalogue", ManageCatalogue),
    ("custody.v1.CatalogueService/ExportCatalogue", ReadCatalogueHistory),
    ("custody.v1.CatalogueService/GetBuyer", ReadBuyers),
    ("custody.v1.CatalogueService/UpdateBuyer", ManageBuyers),
    ("custody.v1.TransferService/ProposeTransfer", Transfer),
    ("custody.v1.TransferService/GetTransfer", ReadTransfers),
    ("custody.v1.TransferService/ListTransfers", ReadTransfers),
    ("custody.v1.TransferService/WithholdSum", Transfer),
    ("custody.v1.TransferService/GetWithholding", ReadTransfers),
    ("custody.v1.TransferService/ListWithholdings", ReadTransfers),
    ("custody.v1.TransferService/EndWithholding", Transfer),
    ("custody.v1.TransferService/BringBack", Transfer),
];

/// The services that anyone may call without a token: whether the service is up, and what it offers.
pub const OPEN_SERVICES: &[&str] = &[
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The permission that a method, as `package.Service/Method`, needs. None: nobody may call it.
pub fn permission_for(method: &str) -> Option<Permission> {
    METHODS
        .iter()
        .find(|(name, _)| *name == method)
        .map(|(_, permission)| *permission)
}

/// Whether anyone may call a method, as `package.Service/Method`, without a token.
pub fn is_open(method: &str) -> bool {
    method
        .split_once('/')
        .is_some_and(|(service, _)| OPEN_SERVICES.contains(&service))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn methods_of(role: Role) -> Vec<&'static str> {
        let given = METHODS.iter().filter(|(_, permission)| permission.is_given_to(role));
        given
            .filter_map(|(name, _)| name.split_once('/'))
            .map(|(_, method)| method)
            .collect()
    }

    fn reads(method: &str) -> bool {
        ["Get", "List", "Watch", "Preview", "Export"]
            .iter()
            .any(|verb| method.starts_with(verb))
    }

    #[test]
    fn every_method_is_there_once() {
        let names: HashSet<_> = METHODS.iter().map(|(name, _)| *name).collect();
        assert_eq!(names.len(), METHODS.len());
        assert!(METHODS.iter().all(|(_, permission)| !permission.roles().is_empty()));
    }

    #[test]
    fn what_is_not_in_the_table_is_denied() {
        for method in [
            "",
            "CreatePurchase",
            "/custody.v1.CommissaryService/CreatePurchase",
            "custody.v1.X/Y",
        ] {
            assert_eq!(permission_for(method), None, "{method:?}");
            assert!(!is_open(method));
        }
        assert_eq!(
            permission_for("custody.v1.CommissaryService/CreatePurchase"),
            Some(Sell)
        );
        assert!(METHODS.iter().all(|(name, _)| !is_open(name)));
    }

    #[test]
    fn only_health_and_reflection_are_open() {
        assert!(is_open("grpc.health.v1.Health/Check") && is_open("grpc.reflection.v1.ServerReflection/Info"));
        assert!(!is_open("grpc.health.v1.Health") && !is_open("grpc.health.v1.HealthX/Check") && !is_open("grpc/x"));
    }

    #[test]
    fn an_auditor_reads_everything_and_nothing_else() {
        let all_reads: Vec<_> = METHODS
            .iter()
            .filter_map(|(name, _)| name.split_once('/'))
            .map(|(_, method)| method)
            .filter(|m| reads(m))
            .collect();
        assert_eq!(methods_of(Role::Auditor), all_reads);
    }

    #[test]
    fn finance_reads_everything_and_an_admin_may_what_finance_may() {
        let (finance, admin) = (methods_of(Role::Finance), methods_of(Role::Admin));
        assert!(methods_of(Role::Auditor).iter().all(|method| finance.contains(method)));
        // Full account numbers stand in the files for the bank: only finance has to do with them.
        let not_admins: Vec<_> = finance.iter().filter(|method| !admin.contains(method)).collect();
        assert_eq!(not_admins, [&"DownloadPaymentFile"]);
        for method in [
            "CreateCenter",
            "UpdateDistributionPolicy",
            "AdmitDetainee",
            "CreatePurchase",
            "UpdateProduct",
        ] {
            assert!(!finance.contains(&method), "{method}");
        }
    }

    #[test]
    fn terminals_and_payers_have_a_short_list() {
        let mut terminal = methods_of(Role::Terminal);
        terminal.sort_unstable();
        assert_eq!(
            terminal.join(" "),
            "CreatePurchase CreateReturn GetBalances GetProduct GetPurchase GetRequestOutcome GetReturn GetSpending \
             ListProducts"
        );
        let mut payer = methods_of(Role::Payer);
        payer.sort_unstable();
        assert_eq!(
            payer.join(" "),
            "AddPaymentAccount CancelRemittance ChangePayerPhone CreateRemittance GetBalances GetDetainee GetDistribution GetPayer \
             GetPayerLink GetRefund GetRemittance GetRequestOutcome GetUnspent ListPayerLinks ListRefunds \
             ListRemittances ListStatementLines PreviewDistribution RefreshRemittance RegisterPayer \
             RemovePaymentAccount RequestPayerLink RequestPhoneCode RevokePayer RevokePayerLink VerifyPayerPhone \
             WatchRemittance"
        );
        let writes: Vec<_> = methods_of(Role::Commissary)
            .into_iter()
            .filter(|method| !reads(method))
            .collect();
        let shop = ["CreateVendor", "CreateProduct", "UpdateProduct"];
        let catalogue = [
            "ProposeProduct",
            "ProposePrice",
            "RecordStockMovement",
            "ImportCatalogue",
        ];
        assert_eq!(writes, [&shop[..], &catalogue].concat());
    }
}
