//! One question to one DNS server, be it a resolver or an authoritative one. Who is asked, and what
//! follows from the answer, is not in here.
//!
//! Messages are made and read by hickory-proto, the sockets are our own: hickory's client does not
//! connect its UDP sockets, so a closed port looks like a lost packet to it, and its pool of name
//! servers does not tell which of them said what. Questions go out without EDNS, which the oldest
//! servers understand, too; what does not fit into 512 octets is asked for again over TCP.

use hickory_proto::op::{Message, MessageType, Query, ResponseCode};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use thiserror::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Number of times that a question is sent over UDP.
const UDP_TRIES: u32 = 2;

/// Longest wait for an answer to each of these.
const UDP_PATIENCE: Duration = Duration::from_secs(1);

/// Longest time for a question over TCP, with the connection.
const TCP_PATIENCE: Duration = Duration::from_secs(2);

/// More than any answer to a question without EDNS (RFC 1035 section 4.2.1).
const UDP_ANSWER: usize = 4096;

/// A question without a usable answer.
#[derive(Debug, Error)]
pub(crate) enum QueryError {
    /// Nothing came back in time.
    #[error("no answer")]
    Silent,
    /// This machine has no way to the address, such as an IPv6 address without IPv6.
    #[error("{0}")]
    NoRoute(io::Error),
    /// The connection failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The server answered that it will not or cannot answer.
    #[error("{}", mnemonic(*.0))]
    Code(ResponseCode),
    /// The server has no data of its own for the name: it does not know the zone.
    #[error("not authoritative")]
    NotAuthoritative,
    /// An answer over TCP does not belong to the question.
    #[error("malformed answer")]
    Malformed,
    /// The answer does not fit into UDP, and TCP failed.
    #[error("answer too long for UDP, over TCP: {0}")]
    Truncated(Box<QueryError>),
}

/// The answer of a server about the TXT records of a name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum TxtAnswer {
    /// The name is not there.
    NoName,
    /// The name is an alias of another.
    Alias(String),
    /// The values of the TXT records, the strings of each joined.
    Values(Vec<String>),
}

/// Asks an authoritative server for the TXT records of a name.
pub(crate) async fn ask_txt(server: SocketAddr, name: &Name) -> Result<TxtAnswer, QueryError> {
    read_txt(&ask(server, name, RecordType::TXT, false).await?, name)
}

/// Asks a recursive resolver for the values of the TXT records of a name.
pub(crate) async fn resolve_txt(
    resolver: SocketAddr,
    name: &Name,
) -> Result<Vec<String>, QueryError> {
    let records = resolve(resolver, name, RecordType::TXT).await?;
    Ok(records.iter().filter_map(|record| txt_value(&record.data)).collect())
}

/// Asks a recursive resolver for records.
pub(crate) async fn resolve(
    resolver: SocketAddr,
    name: &Name,
    kind: RecordType,
) -> Result<Vec<Record>, QueryError> {
    let mut records = ask(resolver, name, kind, true).await?.answers;
    records.retain(|record| record.record_type() == kind);
    Ok(records)
}

/// Asks a server for the SOA record of a name: that of the zone which holds it, in the answer or beside
/// one that says that there is none (RFC 2308 section 2). Gives the zone's name, and whether the
/// server is one of the zone's. An alias says nothing of its own zone: what comes with it may be the
/// zone of its target.
pub(crate) async fn ask_soa(
    server: SocketAddr,
    name: &Name,
    recursion: bool,
) -> Result<(Option<Name>, bool), QueryError> {
    let answer = ask(server, name, RecordType::SOA, recursion).await?;
    Ok((read_soa(&answer, name), answer.metadata.authoritative))
}

/// Asks a server for the name that a name is an alias of; `None` if it is none.
pub(crate) async fn ask_alias(
    server: SocketAddr,
    name: &Name,
    recursion: bool,
) -> Result<Option<Name>, QueryError> {
    let answer = ask(server, name, RecordType::CNAME, recursion).await?;
    if !recursion && !answer.metadata.authoritative {
        return Err(QueryError::NotAuthoritative);
    }
    Ok(read_alias(&answer, name))
}

fn read_alias(answer: &Message, name: &Name) -> Option<Name> {
    answer.answers.iter().filter(|record| record.name == *name).find_map(|record| {
        match &record.data {
            RData::CNAME(target) => Some(target.0.clone()),
            _ => None,
        }
    })
}

pub(crate) fn read_soa(answer: &Message, name: &Name) -> Option<Name> {
    let of_kind = |kind| move |record: &&Record| record.record_type() == kind;
    if answer.answers.iter().filter(of_kind(RecordType::CNAME)).any(|alias| alias.name == *name) {
        return None;
    }
    let records = answer.answers.iter().chain(&answer.authorities).filter(of_kind(RecordType::SOA));
    records.map(|record| &record.name).find(|zone| zone.zone_of(name)).cloned()
}

/// Asks a server of the zone above for the servers of a zone: its referral.
pub(crate) async fn ask_referral(
    server: SocketAddr,
    zone: &Name,
) -> Result<Vec<RData>, QueryError> {
    let answer = ask(server, zone, RecordType::NS, false).await?;
    let records = answer.answers.into_iter().chain(answer.authorities);
    let of_zone = records.filter(|record| record.name == *zone);
    Ok(of_zone.map(|record| record.data).collect())
}

/// Asks over UDP, and over TCP where UDP does not give a whole answer.
async fn ask(
    server: SocketAddr,
    name: &Name,
    kind: RecordType,
    recursion: bool,
) -> Result<Message, QueryError> {
    // The identifier is random, and the kernel chooses a random port: RFC 5452 section 9.2.
    let mut request = Message::query();
    request.metadata.recursion_desired = recursion;
    request.add_query(Query::query(name.clone(), kind));
    let bytes = request.to_vec().map_err(|_| QueryError::Malformed)?;
    let answer = match over_udp(server, &request, &bytes).await {
        Ok(answer) if answer.metadata.truncation => over_tcp(server, &request, &bytes)
            .await
            .map_err(|failure| QueryError::Truncated(Box::new(failure)))?,
        Ok(answer) => answer,
        Err(QueryError::NoRoute(error)) => return Err(QueryError::NoRoute(error)),
        Err(failure) => over_tcp(server, &request, &bytes).await.map_err(|_| failure)?,
    };
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain => Ok(answer),
        // A resolver that does not want to be asked like this: no server of the zone.
        _ if !recursion && answer.metadata.recursion_available => Err(QueryError::NotAuthoritative),
        code => Err(QueryError::Code(code)),
    }
}

pub(super) async fn over_udp(
    server: SocketAddr,
    request: &Message,
    bytes: &[u8],
) -> Result<Message, QueryError> {
    let socket = connect_udp(server).await.map_err(without_route)?;
    for _ in 0..UDP_TRIES {
        socket.send(bytes).await.map_err(without_route)?;
        if let Ok(answer) = timeout(UDP_PATIENCE, receive(&socket, request)).await {
            return answer;
        }
    }
    Err(QueryError::Silent)
}

/// Connects a socket, so that it takes packets of its server only and hears of closed ports.
pub(crate) async fn connect_udp(server: SocketAddr) -> io::Result<UdpSocket> {
    let local: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(local).await?;
    socket.connect(server).await?;
    Ok(socket)
}

/// Waits for the answer. Whatever else arrives may be forged and is passed over.
async fn receive(socket: &UdpSocket, request: &Message) -> Result<Message, QueryError> {
    let mut buffer = vec![0; UDP_ANSWER];
    loop {
        let length = socket.recv(&mut buffer).await?;
        if let Some(answer) = buffer.get(..length).and_then(|bytes| read_answer(bytes, request)) {
            return Ok(answer);
        }
    }
}

pub(super) async fn over_tcp(
    server: SocketAddr,
    request: &Message,
    bytes: &[u8],
) -> Result<Message, QueryError> {
    let exchange = async {
        let length = u16::try_from(bytes.len()).map_err(|_| QueryError::Malformed)?;
        let mut stream = TcpStream::connect(server).await?;
        // One write: some servers expect length and message in one segment (RFC 7766 section 8).
        stream.write_all(&[&length.to_be_bytes(), bytes].concat()).await?;
        let mut buffer = vec![0; usize::from(stream.read_u16().await?)];
        stream.read_exact(&mut buffer).await?;
        read_answer(&buffer, request).ok_or(QueryError::Malformed)
    };
    timeout(TCP_PATIENCE, exchange).await.unwrap_or(Err(QueryError::Silent))
}

/// Classifies an error of a socket that has not sent anything yet.
fn without_route(error: io::Error) -> QueryError {
    match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::AddrNotAvailable => {
            QueryError::NoRoute(error)
        }
        _ => QueryError::Io(error),
    }
}

/// Gives the message, if it answers the request. A refusal may leave the question out.
pub(crate) fn read_answer(bytes: &[u8], request: &Message) -> Option<Message> {
    let answer = Message::from_vec(bytes).ok()?;
    let refusal = answer.metadata.response_code != ResponseCode::NoError;
    let question = answer.queries == request.queries || (refusal && answer.queries.is_empty());
    let (id, kind) = (answer.metadata.id, answer.metadata.message_type);
    (id == request.metadata.id && kind == MessageType::Response && question).then_some(answer)
}

/// Reads the answer of an authoritative server.
pub(crate) fn read_txt(message: &Message, name: &Name) -> Result<TxtAnswer, QueryError> {
    // A referral, or the answer of a resolver, which may be somebody who answers in the server's
    // place: it says nothing about the zone, whatever it has.
    if !message.metadata.authoritative {
        return Err(QueryError::NotAuthoritative);
    }
    let own = || message.answers.iter().filter(|record| record.name == *name);
    let values: Vec<String> = own().filter_map(|record| txt_value(&record.data)).collect();
    if !values.is_empty() {
        return Ok(TxtAnswer::Values(values));
    }
    let alias = own().find_map(|record| match &record.data {
        RData::CNAME(target) => Some(without_dot(&target.0)),
        _ => None,
    });
    match alias {
        Some(target) => Ok(TxtAnswer::Alias(target)),
        None if message.metadata.response_code == ResponseCode::NXDomain => Ok(TxtAnswer::NoName),
        None => Ok(TxtAnswer::Values(Vec::new())),
    }
}

fn txt_value(data: &RData) -> Option<String> {
    match data {
        RData::TXT(txt) => Some(String::from_utf8_lossy(&txt.txt_data.concat()).into_owned()),
        _ => None,
    }
}

/// Writes a name without the final dot.
pub(crate) fn without_dot(name: &Name) -> String {
    let mut text = name.to_ascii();
    if text.len() > 1 && text.ends_with('.') {
        text.pop();
    }
    text
}

/// Writes a code as every DNS tool does.
pub(crate) fn mnemonic(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NXDomain => "NXDOMAIN".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::NotAuth => "NOTAUTH".to_owned(),
        other => format!("RCODE {}", u16::from(other)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hickory_proto::op::OpCode;
    use hickory_proto::rr::rdata::{CNAME, TXT};

    fn name(text: &str) -> Name {
        Name::from_ascii(text).expect("a name")
    }

    fn txt(owner: &str, strings: &[&str]) -> Record {
        let strings = strings.iter().map(|&s| s.to_owned()).collect();
        Record::from_rdata(name(owner), 60, RData::TXT(TXT::new(strings)))
    }

    fn response(code: ResponseCode, authoritative: bool, answers: Vec<Record>) -> Message {
        let mut message = Message::response(1, OpCode::Query);
        message.metadata.response_code = code;
        message.metadata.authoritative = authoritative;
        message.add_answers(answers);
        message
    }

    #[test]
    fn reads_what_a_server_says_about_a_name() {
        let alias =
            || Record::from_rdata(name("a.test."), 60, RData::CNAME(CNAME(name("b.test."))));
        let values = |list: &[&str]| {
            Some(TxtAnswer::Values(list.iter().map(|&value| value.to_owned()).collect()))
        };
        use ResponseCode::{NXDomain, NoError};
        let rows = [
            ("one value", NoError, true, vec![txt("a.test.", &["x"])], values(&["x"])),
            (
                "strings are joined",
                NoError,
                true,
                vec![txt("a.test.", &["x", "y"])],
                values(&["xy"]),
            ),
            (
                "all values",
                NoError,
                true,
                vec![txt("a.test.", &["x"]), txt("A.test.", &["y"])],
                values(&["x", "y"]),
            ),
            ("of other names", NoError, true, vec![txt("b.test.", &["x"])], values(&[])),
            ("no record", NoError, true, vec![], values(&[])),
            ("no name", NXDomain, true, vec![], Some(TxtAnswer::NoName)),
            ("lame", NoError, false, vec![], None),
            ("lame without the name", NXDomain, false, vec![], None),
            ("a cached value", NoError, false, vec![txt("a.test.", &["x"])], None),
            ("a cached alias", NoError, false, vec![alias()], None),
            (
                "an alias is not followed",
                NoError,
                true,
                vec![alias(), txt("b.test.", &["x"])],
                Some(TxtAnswer::Alias("b.test".to_owned())),
            ),
        ];
        for (row, code, authoritative, answers, expected) in rows {
            let read = read_txt(&response(code, authoritative, answers), &name("a.test."));
            assert_eq!(read.ok(), expected, "{row}");
        }
    }

    #[test]
    fn reads_the_zone_of_a_name() {
        use hickory_proto::rr::rdata::SOA;
        let soa = |zone: &str| {
            let data = SOA::new(name("ns.test."), name("root.test."), 1, 1, 1, 1, 1);
            Record::from_rdata(name(zone), 60, RData::SOA(data))
        };
        let alias =
            || Record::from_rdata(name("x.a.test."), 60, RData::CNAME(CNAME(name("y.test."))));
        let rows = [
            ("its own", vec![soa("x.a.test.")], vec![], Some("x.a.test.")),
            ("the one above", vec![], vec![soa("a.test.")], Some("a.test.")),
            ("in another case", vec![], vec![soa("A.test.")], Some("A.test.")),
            ("of another name", vec![], vec![soa("b.test.")], None),
            ("of an alias's target", vec![alias()], vec![soa("test.")], None),
            ("nothing", vec![], vec![], None),
        ];
        for (row, answers, authorities, expected) in rows {
            let mut message = response(ResponseCode::NoError, false, answers);
            message.add_authorities(authorities);
            assert_eq!(read_soa(&message, &name("x.a.test.")), expected.map(name), "{row}");
        }
    }

    #[test]
    fn takes_only_the_answer_to_its_own_question() {
        let question = |text| Query::query(name(text), RecordType::TXT);
        let mut request = Message::query();
        request.metadata.id = 7;
        request.add_query(question("a.test."));
        let rows = [
            ("the answer", 7, MessageType::Response, 0, Some("a.test."), true),
            ("in another case", 7, MessageType::Response, 0, Some("A.TEST."), true),
            ("another identifier", 8, MessageType::Response, 0, Some("a.test."), false),
            ("another name", 7, MessageType::Response, 0, Some("b.test."), false),
            ("the question itself", 7, MessageType::Query, 0, Some("a.test."), false),
            ("no question", 7, MessageType::Response, 0, None, false),
            ("a refusal without question", 7, MessageType::Response, 5, None, true),
            ("a refusal of another question", 7, MessageType::Response, 5, Some("b.test."), false),
        ];
        for (row, id, kind, code, asked, expected) in rows {
            let mut answer = Message::new(id, kind, OpCode::Query);
            answer.metadata.response_code = ResponseCode::from(0, code);
            answer.add_queries(asked.map(question));
            let bytes = answer.to_vec().expect("a message");
            assert_eq!(read_answer(&bytes, &request).is_some(), expected, "{row}");
        }
        assert!(read_answer(b"", &request).is_none(), "nothing");
        assert!(read_answer(b"\0\x07garbage", &request).is_none(), "garbage");
    }
}
