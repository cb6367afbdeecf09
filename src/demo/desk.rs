//! A desk: somebody with a token and a connection to the service.

use sha2::{Digest as _, Sha256};
use tonic::{
    Request, Status,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::{Channel, Endpoint},
};

use uuid::Builder;

use crate::proto::{
    approval_service_client::ApprovalServiceClient, commissary_service_client::CommissaryServiceClient,
    contract_service_client::ContractServiceClient, custody_service_client::CustodyServiceClient,
    distribution_service_client::DistributionServiceClient, ending_service_client::EndingServiceClient,
    ledger_service_client::LedgerServiceClient, offline_sales_service_client::OfflineSalesServiceClient,
    order_service_client::OrderServiceClient, payment_service_client::PaymentServiceClient,
    reconciliation_service_client::ReconciliationServiceClient, refund_service_client::RefundServiceClient,
    remittance_service_client::RemittanceServiceClient, settlement_service_client::SettlementServiceClient,
    terminal_service_client::TerminalServiceClient, transfer_service_client::TransferServiceClient,
};

/// A connection on which every call carries a token.
pub type Line = InterceptedService<Channel, Bearer>;

/// Adds the token to each call.
#[derive(Clone)]
pub struct Bearer(MetadataValue<Ascii>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        request.metadata_mut().insert("authorization", self.0.clone());
        Ok(request)
    }
}

/// A token and a connection of its own.
#[derive(Clone)]
pub struct Desk {
    line: Line,
}

impl Desk {
    /// Takes a seat; the connection is made when it is first used.
    pub fn at(address: &str, token: &str) -> anyhow::Result<Desk> {
        let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();
        let bearer = Bearer(format!("Bearer {token}").parse()?);
        Ok(Desk {
            line: InterceptedService::new(channel, bearer),
        })
    }

    pub fn custody(&self) -> CustodyServiceClient<Line> {
        CustodyServiceClient::new(self.line.clone())
    }

    pub fn remittance(&self) -> RemittanceServiceClient<Line> {
        RemittanceServiceClient::new(self.line.clone())
    }

    pub fn distribution(&self) -> DistributionServiceClient<Line> {
        DistributionServiceClient::new(self.line.clone())
    }

    pub fn commissary(&self) -> CommissaryServiceClient<Line> {
        CommissaryServiceClient::new(self.line.clone())
    }

    pub fn order(&self) -> OrderServiceClient<Line> {
        OrderServiceClient::new(self.line.clone())
    }

    pub fn settlement(&self) -> SettlementServiceClient<Line> {
        SettlementServiceClient::new(self.line.clone())
    }

    pub fn contract(&self) -> ContractServiceClient<Line> {
        ContractServiceClient::new(self.line.clone())
    }

    pub fn payment(&self) -> PaymentServiceClient<Line> {
        PaymentServiceClient::new(self.line.clone())
    }

    pub fn approval(&self) -> ApprovalServiceClient<Line> {
        ApprovalServiceClient::new(self.line.clone())
    }

    pub fn ending(&self) -> EndingServiceClient<Line> {
        EndingServiceClient::new(self.line.clone())
    }

    pub fn refund(&self) -> RefundServiceClient<Line> {
        RefundServiceClient::new(self.line.clone())
    }

    pub fn reconciliation(&self) -> ReconciliationServiceClient<Line> {
        ReconciliationServiceClient::new(self.line.clone())
    }

    pub fn terminal(&self) -> TerminalServiceClient<Line> {
        TerminalServiceClient::new(self.line.clone())
    }

    pub fn offline_sales(&self) -> OfflineSalesServiceClient<Line> {
        OfflineSalesServiceClient::new(self.line.clone())
    }

    pub fn transfer(&self) -> TransferServiceClient<Line> {
        TransferServiceClient::new(self.line.clone())
    }

    pub fn ledger(&self) -> LedgerServiceClient<Line> {
        LedgerServiceClient::new(self.line.clone())
    }
}

/// A request id that whoever asks has written down before asking: the same parts give the same id (a UUID of
/// version 8).
pub fn request_id(parts: &[&str]) -> String {
    let all: Vec<&str> = std::iter::once("demo").chain(parts.iter().copied()).collect();
    let mut bytes = [0_u8; 16];
    for (byte, hashed) in bytes.iter_mut().zip(Sha256::digest(all.join("\0"))) {
        *byte = hashed;
    }
    Builder::from_custom_bytes(bytes).into_uuid().to_string()
}
