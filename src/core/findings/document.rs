//! The page of all findings, docs/doctor.md, made out of their table.

use super::Severity;
use super::rows::ROWS;

/// Head of the page.
const HEAD: &str = "\
# The doctor

`ACME_DNS_CHECK=all nginx -t` checks what a certificate depends on, from the DNS provider's credentials to the CA's directory, and says
what to do. It is for the day on which a certificate does not come, and for the day before the first one.

| value of `ACME_DNS_CHECK` | what is checked |
|---|---|
| `all` | all certificates of the configuration |
| `example.com` | the certificate with this name |
| `all,nowrite` | the same without a test record |
| `all,json` | the same, with the result as JSON on standard output |

```text
acme_dns check of 2 certificates, 1 issuer, 2 providers (as user \"nobody\")
ok    issuer letsencrypt   directory answered in 0.21 s; profile \"shortlived\" is offered; account .../acct/123 is valid; clock is 0 s off
ok    example.com          zone \"example.com\" at cloudflare; test record seen at all servers after 1.2 s, removed
FAIL  shop.example.com     D07 \"_acme-challenge.shop.example.com\" is an alias of \"x.acme.example.net\", whose zone \"example.net\" no ...
                           give a provider block \"zones example.net;\", or remove the alias
1 problem, no warnings
```

- The exit status is 0 if there is no problem, else 1. Warnings are no problems.
- It can run beside an NGINX that is at work: it takes no lock, writes nothing to the state path, and places no order. As the service does,
  it gives up root first; whether its user can read the state path decides whether the account is checked.
- The test record is `_acme-challenge-test-`, 8 random hexadecimal digits and the name of the zone: no CA takes it for an answer, and no
  other client's record is touched. It is waited for at all servers of the zone, and removed in any case. `nowrite` leaves it out.
- With `acme_dns_share` the engine is looked at as well: whether it lets this host read, write and take a lease, and whether the records
  there can be read. The test writes one record that no host looks at, and removes it; `nowrite` leaves it out.
- Each question has a time limit: an unreachable CA or provider is given up after 20 to 25 seconds, and a test record is waited for no
  longer than `acme_dns_propagation` says, and at most 30 seconds. The check of a certificate takes at most 60 seconds, the last 20 of
  which are for the removal of its test record: T01 says what is not known by then. Four certificates are checked at a time.
- Without the variable `nginx -t` contacts nobody.
- In Docker: `docker exec web acme-dns-check`.

The service makes those of the checks that cost little before the first order of a certificate, and before the next one after a failure that
will not pass by itself. A problem with which the CA would refuse, and which would cost a part of its limits (A01 to A06, D01, D02, D06,
D07, D15, D17), stops the order and is its reason in the log. With `acme_dns_propagation off` only D06 and D07 are looked for.

`make doctor-doc` writes this page from the table in `src/core/findings/rows.rs`. A word in braces stands for a name, or for the words of
a server.

| id | | what is broken | what is said | what to do |
|---|---|---|---|---|
";

/// Writes the document.
#[must_use]
pub fn document() -> String {
    let cell = |text: &str| text.replace('|', "\\|");
    ROWS.iter().fold(HEAD.to_owned(), |text, row| {
        let level = match row.severity {
            Severity::Ok => "ok",
            Severity::Warn => "warn",
            Severity::Fail => "FAIL",
        };
        let (setup, observed, remedy) = (row.setup, cell(row.observed), cell(row.remedy));
        text + &format!("| {} | {level} | {setup} | {observed} | {remedy} |\n", row.id)
    })
}
