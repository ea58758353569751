//! Questions that find out how a server answers: each goes over one transport, with bits of its own, and every
//! answer is one, whatever its code.

use super::query::{self, QueryError};
use hickory_proto::op::{Edns, Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use std::net::SocketAddr;

/// Way of a question.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Way {
    /// UDP.
    Udp,
    /// UDP with EDNS (RFC 6891) and the wish for signatures.
    UdpWithEdns,
    /// TCP.
    Tcp,
}

/// One question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Probe<'a> {
    pub(crate) name: &'a Name,
    pub(crate) kind: RecordType,
    pub(crate) way: Way,
    /// Set for a recursive resolver.
    pub(crate) recursion: bool,
    /// Set if a resolver is not to validate (RFC 4035 section 3.2.2).
    pub(crate) checking_disabled: bool,
}

impl<'a> Probe<'a> {
    /// Makes a question to an authoritative server.
    pub(crate) fn new(name: &'a Name, kind: RecordType, way: Way) -> Self {
        Self { name, kind, way, recursion: false, checking_disabled: false }
    }

    /// Asks a server.
    ///
    /// # Errors
    /// There is no answer, or none to this question.
    pub(crate) async fn ask(&self, server: SocketAddr) -> Result<Message, QueryError> {
        let mut request = Message::query();
        request.metadata.recursion_desired = self.recursion;
        request.metadata.checking_disabled = self.checking_disabled;
        request.add_query(Query::query(self.name.clone(), self.kind));
        if self.way == Way::UdpWithEdns {
            let mut edns = Edns::new();
            edns.set_max_payload(1232).set_dnssec_ok(true);
            request.set_edns(edns);
        }
        let bytes = request.to_vec().map_err(|_| QueryError::Malformed)?;
        match self.way {
            Way::Udp | Way::UdpWithEdns => query::over_udp(server, &request, &bytes).await,
            Way::Tcp => query::over_tcp(server, &request, &bytes).await,
        }
    }
}

/// Asks a resolver for records, over TCP if they do not fit into UDP, without validation if that is wanted.
///
/// # Errors
/// There is no answer.
pub(crate) async fn ask_resolver(
    resolver: SocketAddr,
    name: &Name,
    kind: RecordType,
    checking_disabled: bool,
) -> Result<Message, QueryError> {
    let probe = Probe { name, kind, way: Way::Udp, recursion: true, checking_disabled };
    let answer = probe.ask(resolver).await?;
    match answer.metadata.truncation {
        true => Probe { way: Way::Tcp, ..probe }.ask(resolver).await,
        false => Ok(answer),
    }
}

/// Tells whether the code of an answer says something about the name.
pub(crate) fn is_answer(code: ResponseCode) -> bool {
    matches!(code, ResponseCode::NoError | ResponseCode::NXDomain)
}

/// Reads a name that ends at the root.
pub(crate) fn dns_name(text: &str) -> Option<Name> {
    let mut name = Name::from_ascii(text).ok()?;
    name.set_fqdn(true);
    Some(name)
}
