//! The readers of DNS messages, for the fuzzer of `tests/fuzz`.

use super::query::{TxtAnswer, read_answer, read_txt, without_dot};
use super::system::read_resolv_conf;
use hickory_proto::op::{Message, Query};
use hickory_proto::rr::{Name, RData, RecordType};
use std::net::{IpAddr, SocketAddr};

/// The contents of a message.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MessageContents {
    /// The values of the TXT records.
    pub values: Vec<String>,
    /// The target, if the name is an alias.
    pub alias: Option<String>,
    /// The names of servers.
    pub servers: Vec<String>,
    /// Addresses.
    pub addresses: Vec<IpAddr>,
    /// The description of a server that lacks the records.
    pub failure: Option<String>,
}

/// Reads a message as the answer to a question with the identifier `id` for the records `kind` (its
/// number) of `name`. Gives nothing if it is not an answer.
#[must_use]
pub fn read_message(bytes: &[u8], id: u16, name: &str, kind: u16) -> Option<MessageContents> {
    let mut name = Name::from_ascii(name).ok()?;
    name.set_fqdn(true);
    let mut request = Message::query();
    request.metadata.id = id;
    request.add_query(Query::query(name.clone(), RecordType::from(kind)));
    let answer = read_answer(bytes, &request)?;
    let mut taken = MessageContents::default();
    match read_txt(&answer, &name) {
        Ok(TxtAnswer::NoName) => {}
        Ok(TxtAnswer::Alias(target)) => taken.alias = Some(target),
        Ok(TxtAnswer::Values(values)) => taken.values = values,
        Err(failure) => taken.failure = Some(failure.to_string()),
    }
    for record in &answer.answers {
        match &record.data {
            RData::NS(server) => taken.servers.push(without_dot(&server.0)),
            data => taken.addresses.extend(data.ip_addr()),
        }
    }
    Some(taken)
}

/// Reads a resolv.conf(5).
#[must_use]
pub fn read_resolvers(text: &str) -> Vec<SocketAddr> {
    read_resolv_conf(text)
}
