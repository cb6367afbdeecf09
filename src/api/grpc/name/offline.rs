//! The names of what terminals sell without the network.

use super::*;

id_name!(
    /// `centers/{center}/offlineSettings`
    OfflineSettingsName, "centers/{center}/offlineSettings", "/offlineSettings", "centers" => center
);
id_name!(
    /// `centers/{center}/terminals/{terminal}/offlineSales/{number}`; the number is still a text, see [`number_in`].
    OfflineSaleName, "centers/{center}/terminals/{terminal}/offlineSales/{number}", "",
    "centers" => center, "terminals" => terminal, "offlineSales" => number
);
number_name!(
    /// `centers/{center}/allowances/{seq}`
    AllowanceName, "centers/{center}/allowances/{seq}", "allowances" => seq: i64
);

/// Reads the number that ends a name below something else than a center.
///
/// Errors: INVALID_FIELD naming `field`.
pub fn number_in(text: &str, field: &str, pattern: &str) -> Result<i64, Refusal> {
    number(text).ok_or_else(|| not_a_name(text, field, pattern))
}
