//! The states of an order and its authorizations, as far as they were told.

use super::super::problem::printable;
use super::super::teller::Teller;
use super::authorization::challenge_type;
use super::text;
use crate::event::OrderEvent;
use instant_acme::{AuthorizationState, AuthorizationStatus, ChallengeStatus, OrderStatus};
use std::collections::HashMap;

/// States that were told last: an order is read again and again, and its changes are the story.
#[derive(Debug, Default)]
pub(super) struct States {
    order: Option<OrderStatus>,
    /// The authorizations by their names.
    authorizations: HashMap<String, String>,
}

impl States {
    /// Tells the state of the order if it is another one than before.
    pub(super) fn note(&mut self, status: OrderStatus, teller: &Teller) {
        if self.order != Some(status) && teller.tells_steps() {
            self.order = Some(status);
            teller.order(OrderEvent::State { state: text(status) });
        }
    }

    /// Tells the state of an authorization and its challenges if it is another one than before.
    pub(super) fn note_authorization(&mut self, read: &AuthorizationState, teller: &Teller) {
        if !teller.tells_steps() {
            return;
        }
        let name = printable(&read.identifier().to_string());
        let challenges = read.challenges.iter().map(|challenge| {
            format!(", {} {}", challenge_type(&challenge.r#type), challenge_text(challenge.status))
        });
        let state: String =
            std::iter::once(authorization_text(read.status).to_owned()).chain(challenges).collect();
        if self.authorizations.get(&name) != Some(&state) {
            self.authorizations.insert(name.clone(), state.clone());
            teller.order(OrderEvent::AuthorizationState { name, state });
        }
    }
}

fn authorization_text(status: AuthorizationStatus) -> &'static str {
    match status {
        AuthorizationStatus::Pending => "pending",
        AuthorizationStatus::Valid => "valid",
        AuthorizationStatus::Invalid => "invalid",
        AuthorizationStatus::Revoked => "revoked",
        AuthorizationStatus::Expired => "expired",
        AuthorizationStatus::Deactivated => "deactivated",
    }
}

fn challenge_text(status: ChallengeStatus) -> &'static str {
    match status {
        ChallengeStatus::Pending => "pending",
        ChallengeStatus::Processing => "processing",
        ChallengeStatus::Valid => "valid",
        ChallengeStatus::Invalid => "invalid",
    }
}
