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
    /// Take goods back from detainees.
    Sell,
    /// Buy: a detainee in a session, or a terminal for whoever stands there.
    Buy,
    /// List purchases: those of a center, or a detainee's own.
    ListBought,
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
    /// Record deaths, escapes and heirs, and pay out what people leave behind.
    EndStays,
    /// Read how stays ended.
    ReadStays,
    /// Read accounts that payouts go to, in clear.
    RevealPayees,
    /// Export signed statements of whole stays.
    ExportStatements,
    /// Admit somebody again, and declare who of staff is related to whom.
    ManageStays,
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
    /// Read whether terminals may sell without the network, allowances, and what was sold within them.
    ReadOfflineSales,
    /// Bring in what a terminal sold without the network.
    BringInSales,
    /// End sales that wait for finance, and declare numbers lost.
    ResolveOfflineSales,
    /// Make terminals, let them be enrolled, and end them.
    ManageTerminals,
    /// Read terminals.
    ReadTerminals,
    /// Say what came of orders.
    Deliver,
    /// Dispute a line of an order.
    Dispute,
    /// Resolve disputes of orders.
    ResolveDisputes,
    /// Say when a center takes orders.
    ManageOrdering,
    /// Read when a center takes orders.
    ReadOrdering,
    /// Renew the certificate of the terminal that calls.
    RenewCertificate,
    /// Issue and end cards, reset PINs, and say whether purchases need a session.
    ManageSessions,
    /// Read cards, and whether purchases need a session.
    ReadSessions,
    /// Sign detainees in.
    SignIn,
    /// Set another PIN and sign out, in one's own session.
    KeepSession,
    /// Decide for a time what one detainee may spend, freeze their money, and say what a kit is.
    ManageSpending,
    /// Grant kits, and take them back.
    GrantKits,
    /// Read limits and measures, and which kits were granted.
    ReadMeasures,
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
            ManageCenters | ManageDetainees | ManageDistribution | ManageBuyers | ManageTerminals | ManageOrdering
            | ManageSessions | ManageSpending | ManageStays => &[Admin],
            Deliver => &[Admin, Commissary],
            Dispute => &[Admin, Finance, Terminal, Detainee],
            ResolveDisputes => &[Admin, Finance],
            GrantKits => &[Admin, Finance],
            ReadMeasures => &[Admin, Finance, Auditor],
            DownloadPaymentFiles | RevealPayees => &[Finance],
            ReadPaymentFiles | ReadStays | ExportStatements => &[Admin, Finance, Auditor],
            ReadContracts => &[Admin, Finance, Auditor, Commissary],
            ManageContracts | PayByBank | EndStays => &[Admin, Finance],
            ManagePayers | Settle | Refund | Release | Reconcile | Decide | Work | Match | RecordDebts
            | ReverseCredits | Review | Transfer => &[Admin, Finance],
            ReadOfflineSales => &[Admin, Finance, Auditor, Terminal],
            BringInSales => &[Admin, Finance, Terminal],
            ResolveOfflineSales => &[Admin, Finance],
            ManageCatalogue => &[Admin, Commissary],
            Register | Remit => &[Admin, Finance, Payer],
            Sell | SignIn | RenewCertificate => &[Terminal],
            Buy => &[Terminal, Detainee],
            KeepSession => &[Detainee],
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
            | ReadTerminals
            | ReadSessions
            | ReadTransfers
            | ReadJobs => &[Admin, Finance, Auditor],
            ReadStatement => &[Admin, Finance, Auditor, Payer, Detainee],
            ReadDetainee | ReadPayer | ReadRemittances | ReadDistribution | ReadUnspent | ReadRefunds => {
                &[Admin, Finance, Auditor, Payer]
            }
            ReadVendors | ListPurchases | ReadSettlements | ReadCatalogueHistory => {
                &[Admin, Finance, Auditor, Commissary]
            }
            ListBought => &[Admin, Finance, Auditor, Commissary, Detainee],
            ReadProducts | ReadPurchase | ReadOrdering => &[Admin, Finance, Auditor, Commissary, Terminal, Detainee],
            ReadSpending => &[Admin, Finance, Auditor, Terminal, Detainee],
            ReadBalances | ReadRequestOutcome => &[Admin, Finance, Auditor, Terminal, Payer, Detainee],
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
    ("custody.v1.CommissaryService/CreatePurchase", Buy),
    ("custody.v1.CommissaryService/GetPurchase", ReadPurchase),
    ("custody.v1.CommissaryService/ListPurchases", ListBought),
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
    ("custody.v1.RefundService/PutRefundBack", Refund),
    ("custody.v1.BeneficiaryService/ProposeBankAccount", Refund),
    ("custody.v1.BeneficiaryService/ListBankAccounts", ReadPaymentFiles),
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
    ("custody.v1.OfflineSalesService/GetOfflineSettings", ReadOfflineSales),
    ("custody.v1.OfflineSalesService/UpdateOfflineSettings", ManageCenters),
    ("custody.v1.OfflineSalesService/ReserveAllowance", Sell),
    ("custody.v1.OfflineSalesService/EndAllowance", Sell),
    ("custody.v1.OfflineSalesService/GetAllowance", ReadOfflineSales),
    ("custody.v1.OfflineSalesService/ListAllowances", ReadOfflineSales),
    ("custody.v1.OfflineSalesService/UploadOfflineSales", BringInSales),
    ("custody.v1.OfflineSalesService/GetOfflineChain", ReadOfflineSales),
    ("custody.v1.OfflineSalesService/GetOfflineSale", ReadOfflineSales),
    ("custody.v1.OfflineSalesService/ListOfflineSales", ReadOfflineSales),
    ("custody.v1.OfflineSalesService/ChargeOfflineSale", ResolveOfflineSales),
    (
        "custody.v1.OfflineSalesService/ProposeOfflineSaleWriteOff",
        ResolveOfflineSales,
    ),
    ("custody.v1.OfflineSalesService/DismissOfflineSale", ResolveOfflineSales),
    ("custody.v1.OfflineSalesService/SkipOfflineSales", ResolveOfflineSales),
    ("custody.v1.TerminalService/CreateTerminal", ManageTerminals),
    ("custody.v1.TerminalService/GetTerminal", ReadTerminals),
    ("custody.v1.TerminalService/ListTerminals", ReadTerminals),
    ("custody.v1.TerminalService/CreateEnrolmentCode", ManageTerminals),
    ("custody.v1.TerminalService/RevokeTerminal", ManageTerminals),
    ("custody.v1.OrderService/CreateOrder", Buy),
    ("custody.v1.OrderService/GetOrder", ReadPurchase),
    ("custody.v1.OrderService/ListOrders", ListBought),
    ("custody.v1.OrderService/CancelOrder", Buy),
    ("custody.v1.OrderService/ConfirmDelivery", Deliver),
    ("custody.v1.OrderService/DisputeOrderLine", Dispute),
    ("custody.v1.OrderService/ResolveOrderDispute", ResolveDisputes),
    ("custody.v1.OrderService/GetOrderingRules", ReadOrdering),
    ("custody.v1.OrderService/UpdateOrderingRules", ManageOrdering),
    ("custody.v1.TerminalService/RenewCertificate", RenewCertificate),
    ("custody.v1.SessionService/GetSessionPolicy", ReadSessions),
    ("custody.v1.SessionService/UpdateSessionPolicy", ManageSessions),
    ("custody.v1.SessionService/IssueCard", ManageSessions),
    ("custody.v1.SessionService/GetCard", ReadSessions),
    ("custody.v1.SessionService/ListCards", ReadSessions),
    ("custody.v1.SessionService/EndCard", ManageSessions),
    ("custody.v1.SessionService/ResetPin", ManageSessions),
    ("custody.v1.SessionService/RegisterModule", ManageTerminals),
    ("custody.v1.SessionService/SignIn", SignIn),
    ("custody.v1.SessionService/CreateChallenge", SignIn),
    ("custody.v1.SessionService/SignInByAssertion", SignIn),
    ("custody.v1.SessionService/ChangePin", KeepSession),
    ("custody.v1.SessionService/SignOut", KeepSession),
    ("custody.v1.SpendingService/ListSpendingVersions", ReadMeasures),
    ("custody.v1.SpendingService/ListSpendingWindows", ReadMeasures),
    ("custody.v1.SpendingService/ProposeLimitOverride", ManageSpending),
    ("custody.v1.SpendingService/ProposeFreeze", ManageSpending),
    ("custody.v1.SpendingService/ProposeFreezeEnd", ManageSpending),
    ("custody.v1.SpendingService/RestrictCategories", ManageSpending),
    ("custody.v1.SpendingService/EndSpendingMeasure", ManageSpending),
    ("custody.v1.SpendingService/GetSpendingMeasure", ReadMeasures),
    ("custody.v1.SpendingService/ListSpendingMeasures", ReadMeasures),
    ("custody.v1.SpendingService/GetKit", ReadMeasures),
    ("custody.v1.SpendingService/UpdateKit", ManageSpending),
    ("custody.v1.SpendingService/GrantKit", GrantKits),
    ("custody.v1.SpendingService/CancelKitGrant", GrantKits),
    ("custody.v1.SpendingService/GetKitGrant", ReadMeasures),
    ("custody.v1.SpendingService/ListKitGrants", ReadMeasures),
    ("custody.v1.EndingService/ChangeCustody", EndStays),
    ("custody.v1.EndingService/GetStay", ReadStays),
    ("custody.v1.EndingService/ReadmitDetainee", ManageStays),
    ("custody.v1.EndingService/AddHeir", EndStays),
    ("custody.v1.EndingService/CreatePayout", EndStays),
    ("custody.v1.EndingService/GetPayout", ReadStays),
    ("custody.v1.EndingService/ListPayouts", ReadStays),
    ("custody.v1.EndingService/RevealPayee", RevealPayees),
    ("custody.v1.EndingService/ConfirmPayoutPart", EndStays),
    ("custody.v1.EndingService/FailPayoutPart", EndStays),
    ("custody.v1.EndingService/ProposeUnclaimed", EndStays),
    ("custody.v1.EndingService/ListUnclaimedSums", ReadStays),
    ("custody.v1.EndingService/ProposeTreasury", EndStays),
    ("custody.v1.EndingService/ProposeWriteOff", EndStays),
    ("custody.v1.EndingService/ProposeMerge", EndStays),
    ("custody.v1.EndingService/DeclareRelation", ManageStays),
    ("custody.v1.EndingService/ListRelations", ReadStays),
    ("custody.v1.EndingService/ExportStatement", ExportStatements),
    ("custody.v1.EndingService/GetStatementKey", ReadStays),
    ("custody.v1.TransferService/ProposeTransfer", Transfer),
    ("custody.v1.TransferService/GetTransfer", ReadTransfers),
    ("custody.v1.TransferService/ListTransfers", ReadTransfers),
    ("custody.v1.TransferService/WithholdSum", Transfer),
    ("custody.v1.TransferService/GetWithholding", ReadTransfers),
    ("custody.v1.TransferService/ListWithholdings", ReadTransfers),
    ("custody.v1.TransferService/EndWithholding", Transfer),
    ("custody.v1.TransferService/BringBack", Transfer),
];

/// The one method of ours that needs no token: whoever enrols has none yet, and is known by the code that an administrator made.
pub const OPEN_METHODS: &[&str] = &["custody.v1.TerminalService/EnrolTerminal"];

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
    let in_open_service = |(service, _): (&str, &str)| OPEN_SERVICES.contains(&service);
    OPEN_METHODS.contains(&method) || method.split_once('/').is_some_and(in_open_service)
}

#[cfg(test)]
mod tests;
