//! Steps of obtaining a certificate.

use acme_dns_core::status::CaAction;
use std::fmt;

/// A step of obtaining a certificate, as RFC 8555 calls it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Reading the directory.
    Directory,
    /// Getting a nonce, for any of the others.
    NewNonce,
    /// Looking for the account of a key.
    FindAccount,
    /// Creating the account.
    NewAccount,
    /// Reading the account.
    Account,
    /// Changing the account's contacts.
    UpdateAccount,
    /// Replacing the account's key.
    KeyChange,
    /// Placing the order.
    NewOrder,
    /// Reading an authorization.
    Authorization,
    /// Answering a challenge.
    Challenge,
    /// Reading the order.
    Order,
    /// Sending the CSR.
    Finalize,
    /// Downloading the certificate.
    Certificate,
    /// Downloading another chain for it.
    AlternateChain,
    /// Reading when a certificate should be renewed.
    RenewalInfo,
    /// Revoking a certificate.
    Revoke,
    /// Giving up an authorization.
    Deactivate,
}

impl Step {
    /// Tells whether the request may be sent again when it is not known whether it arrived. An order
    /// more does no harm; a CSR that was accepted is not accepted again, and a key that was replaced
    /// signs nothing any more.
    pub(super) fn is_repeatable(self) -> bool {
        !matches!(self, Self::Finalize | Self::Deactivate | Self::KeyChange)
    }

    /// Gives the kind of its requests, as they are counted.
    pub(super) fn action(self) -> CaAction {
        match self {
            Self::Directory => CaAction::Directory,
            Self::NewNonce => CaAction::NewNonce,
            Self::FindAccount
            | Self::Account
            | Self::NewAccount
            | Self::UpdateAccount
            | Self::KeyChange => CaAction::Account,
            Self::NewOrder => CaAction::NewOrder,
            Self::Authorization | Self::Deactivate => CaAction::Authorization,
            Self::Challenge => CaAction::Challenge,
            Self::Order => CaAction::Order,
            Self::Finalize => CaAction::Finalize,
            Self::Certificate | Self::AlternateChain => CaAction::Certificate,
            Self::RenewalInfo => CaAction::RenewalInfo,
            Self::Revoke => CaAction::Revoke,
        }
    }

    /// Tells whether every order of the issuer needs this step to succeed, whatever it is for.
    pub(super) fn is_of_issuer(self) -> bool {
        match self {
            Self::Directory
            | Self::NewNonce
            | Self::FindAccount
            | Self::NewAccount
            | Self::Account
            | Self::UpdateAccount => true,
            Self::KeyChange
            | Self::NewOrder
            | Self::Authorization
            | Self::Challenge
            | Self::Order
            | Self::Finalize
            | Self::Certificate
            | Self::AlternateChain
            | Self::RenewalInfo
            | Self::Revoke
            | Self::Deactivate => false,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "reading the directory",
            Self::NewNonce => "getting a nonce",
            Self::FindAccount => "looking for the account",
            Self::NewAccount => "creating the account",
            Self::Account => "reading the account",
            Self::UpdateAccount => "updating the account",
            Self::KeyChange => "changing the account key",
            Self::NewOrder => "placing the order",
            Self::Authorization => "reading an authorization",
            Self::Challenge => "answering a challenge",
            Self::Order => "reading the order",
            Self::Finalize => "finalizing the order",
            Self::Certificate => "downloading the certificate",
            Self::AlternateChain => "downloading an alternate chain",
            Self::RenewalInfo => "reading the renewal information",
            Self::Revoke => "revoking the certificate",
            Self::Deactivate => "deactivating an authorization",
        })
    }
}
