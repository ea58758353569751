//! Route 53 as moto models it (<https://docs.getmoto.org>): as a server of its own, and as a proxy that answers in the
//! place of AWS, so that a client asks the real host.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Method, Proxy};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::package::from_pypi;
use crate::ports::Port;
use crate::powerdns::{PowerDns, Rrset, fqdn};
use crate::process::{Process, START};
use crate::rt;

/// moto, and what its server and proxy need for Route 53.
const REQUIREMENTS: [&str; 3] = ["moto==5.2.5", "flask==3.1.2", "flask-cors==6.0.1"];

/// Pause between two looks for what name servers have to be told.
const TRANSFER: Duration = Duration::from_millis(100);

/// The host that the proxy answers for.
const REAL: &str = "https://route53.amazonaws.com";

/// The zone of a signature says which service is meant; nobody checks the signature.
const AUTHORIZATION: &str = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20260101/us-east-1/route53/aws4_request, \
                             SignedHeaders=host, Signature=00";

/// A running moto.
#[derive(Debug)]
pub struct Moto {
    _process: Process,
    port: Port,
    api: Api,
    ca: Option<PathBuf>,
}

/// A client of the API.
#[derive(Clone, Debug)]
struct Api {
    client: Client,
    base: String,
}

/// Name servers that have what the API has, some time later. They stay as they are when this is dropped.
#[derive(Debug)]
pub struct NameServers(JoinHandle<()>);

impl Drop for NameServers {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Moto {
    /// Starts a server.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn server(dir: &Path) -> Self {
        let (process, port) = start("moto_server", dir);
        let base = format!("http://{}", port.addr());
        let client = client().no_proxy().build().expect("a client");
        Self { _process: process, port, api: Api { client, base }, ca: None }
    }

    /// Starts a proxy.
    ///
    /// # Panics
    /// If it does not come up.
    #[must_use]
    pub fn proxy(dir: &Path) -> Self {
        let (process, port) = start("moto_proxy", dir);
        let ca = ca_file();
        let pem = fs::read(&ca).unwrap_or_else(|e| panic!("{}: {e}", ca.display()));
        let proxy = Proxy::https(format!("http://{}", port.addr())).expect("a URL");
        let builder = client().proxy(proxy);
        let builder = builder.add_root_certificate(Certificate::from_pem(&pem).expect("a CA"));
        let client = builder.build().expect("a client");
        let api = Api { client, base: REAL.to_owned() };
        Self { _process: process, port, api, ca: Some(ca) }
    }

    /// Address of the server or the proxy.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Variables by which a client finds the proxy and trusts it.
    #[must_use]
    pub fn environment(&self) -> Vec<(String, String)> {
        let ca = self.ca.iter().map(|ca| ("SSL_CERT_FILE".to_owned(), ca.display().to_string()));
        let proxy = ("HTTPS_PROXY".to_owned(), format!("http://{}", self.addr()));
        ca.chain([proxy]).collect()
    }

    /// Creates a zone and gives its id.
    ///
    /// # Panics
    /// If it is refused.
    #[must_use]
    pub fn create_zone(&self, name: &str) -> String {
        let body = format!(
            "<CreateHostedZoneRequest><CallerReference>{name}</CallerReference><Name>{name}.</Name>\
             </CreateHostedZoneRequest>"
        );
        let answer = self.call(Method::POST, "hostedzone", body);
        let id = elements(&answer, "Id").next().expect("an id");
        id.rsplit('/').next().expect("a part").to_owned()
    }

    /// The TXT values of a name as they are stored, with quotes, in order of the alphabet.
    ///
    /// # Panics
    /// If the answer is an error.
    #[must_use]
    pub fn txt(&self, zone: &str, name: &str) -> Vec<String> {
        let mut values = rt::block_on(self.api.txt(zone, name)).expect("an answer");
        values.sort();
        values
    }

    /// Has a DNS server show the TXT values of a name: moto has none of its own.
    #[must_use]
    pub fn show(&self, zone: &str, name: &str, dns: &PowerDns) -> NameServers {
        let (api, dns) = (self.api.clone(), dns.api());
        let (zone, name) = (zone.to_owned(), name.to_owned());
        let apex = fqdn(name.split_once('.').expect("a name in a zone").1);
        NameServers(rt::runtime().spawn(async move {
            let mut shown = Vec::new();
            loop {
                // A request that fails is made again.
                if let Ok(values) = api.txt(&zone, &name).await
                    && values != shown
                {
                    let (name, kind) = (fqdn(&name), "TXT".to_owned());
                    let set = Rrset { name, kind, ttl: 60, contents: values.clone() };
                    if dns.set_rrsets(&apex, &[set]).await.is_ok() {
                        shown = values;
                    }
                }
                sleep(TRANSFER).await;
            }
        }))
    }

    /// Replaces the TXT values of a name, as another client does.
    ///
    /// # Panics
    /// If it is refused.
    pub fn set_txt(&self, zone: &str, name: &str, values: &[&str]) {
        let record =
            |value: &&str| format!("<ResourceRecord><Value>\"{value}\"</Value></ResourceRecord>");
        let records: String = values.iter().map(record).collect();
        let body = format!(
            "<ChangeResourceRecordSetsRequest><ChangeBatch><Changes><Change><Action>UPSERT</Action>\
             <ResourceRecordSet><Name>{name}.</Name><Type>TXT</Type><TTL>60</TTL><ResourceRecords>{records}\
             </ResourceRecords></ResourceRecordSet></Change></Changes></ChangeBatch>\
             </ChangeResourceRecordSetsRequest>"
        );
        let _ = self.call(Method::POST, &format!("hostedzone/{zone}/rrset/"), body);
    }

    fn call(&self, method: Method, path: &str, body: String) -> String {
        rt::block_on(self.api.call(method, path, body)).expect("an answer")
    }
}

impl Api {
    async fn call(&self, method: Method, path: &str, body: String) -> Result<String, String> {
        let url = format!("{}/2013-04-01/{path}", self.base);
        let request = self.client.request(method, url).header("authorization", AUTHORIZATION);
        let request = request.header("content-type", "application/xml").body(body);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let status = answer.status();
        let text = answer.text().await.map_err(|error| error.to_string())?;
        if status.is_success() { Ok(text) } else { Err(format!("{status}: {text}")) }
    }

    /// Gives the TXT values of a name as they are stored, with quotes.
    async fn txt(&self, zone: &str, name: &str) -> Result<Vec<String>, String> {
        let path = format!("hostedzone/{zone}/rrset?name={name}.&type=TXT");
        let answer = self.call(Method::GET, &path, String::new()).await?;
        let own = format!("<Name>{name}.</Name>");
        let sets = elements(&answer, "ResourceRecordSet");
        let sets = sets.filter(|set| set.contains(&own) && set.contains("<Type>TXT</Type>"));
        let values = sets.flat_map(|set| elements(set, "Value"));
        Ok(values.map(|value| value.replace("&quot;", "\"")).collect())
    }
}

/// The certificate of the proxy's authority.
fn ca_file() -> PathBuf {
    let lib = from_pypi("moto", &REQUIREMENTS).join("lib");
    let mut versions = fs::read_dir(&lib).expect("the environment");
    let python = versions.next().expect("a version").expect("readable").path();
    python.join("site-packages/moto/moto_proxy/ca.crt")
}

/// Begins to make a client. moto closes connections without waiting for the next request on them.
fn client() -> ClientBuilder {
    Client::builder().pool_max_idle_per_host(0)
}

fn start(program: &str, dir: &Path) -> (Process, Port) {
    let port = Port::reserve();
    let mut command = Command::new(from_pypi("moto", &REQUIREMENTS).join("bin").join(program));
    let (host, number) = (port.addr().ip().to_string(), port.number().to_string());
    command.args(["-H", &host, "-p", &number]);
    let mut process = Process::start(&command, &dir.join(format!("{program}.log")));
    process.wait_for_port(port.addr(), START);
    (process, port)
}

/// The contents of all elements of a name, which have no attributes.
fn elements<'a>(xml: &'a str, name: &str) -> impl Iterator<Item = &'a str> {
    let (open, close) = (format!("<{name}>"), format!("</{name}>"));
    let mut rest = xml;
    std::iter::from_fn(move || {
        let from = rest.find(&open)? + open.len();
        let to = from + rest.get(from..)?.find(&close)?;
        let content = rest.get(from..to)?;
        rest = rest.get(to..)?;
        Some(content)
    })
}
