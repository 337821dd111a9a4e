//! What is known of a server program without asking it.

use std::fmt::Debug;

use super::{Account, Fingerprint};
use crate::Result;
use crate::model::{Credential, Endpoint, Inbound, KeyId};
use crate::subscription::ResolvedHost;

/// What is known of a server program without asking it: which inbounds it can run, how they and their accounts are
/// compared, how clients connect. Pure: every process has it, also one that drives no server, and a server elsewhere needs
/// it only here.
pub trait ServerRules: Debug + Send + Sync {
    /// Returns the name of the program: `xray`.
    fn program(&self) -> &'static str;

    /// Fills in what the operator left out: secrets that the inbound has already, or new ones. Anything else would end every
    /// link that was given out. What cannot be filled in stays as it is, for [`Self::check`] to tell.
    fn complete(&self, inbound: &mut Inbound, before: Option<&Inbound>);

    /// Checks whether the server can run this inbound; the error names the field.
    fn check(&self, inbound: &Inbound) -> Result<()>;

    /// Returns the fingerprint that [`super::ProtocolBackend::observe`] shows for this account once it is installed.
    fn account_fingerprint(&self, inbound: &Inbound, account: &Account) -> Fingerprint;

    /// Returns the fingerprint that [`super::ProtocolBackend::observe`] shows for this inbound once it is installed.
    fn inbound_fingerprint(&self, inbound: &Inbound) -> Fingerprint;

    /// Returns what a client needs to connect.
    fn endpoint(
        &self,
        key: KeyId,
        credential: &Credential,
        inbound: &Inbound,
        host: &ResolvedHost,
    ) -> Result<Endpoint>;
}
