//! Why no answer came, in fixed words: no address, no port, nothing that differs from try to try.

use std::error::Error;
use std::io;

use rustls::CertificateError;

/// What a person can do about a failed connection.
const TO_HOSTUP: &str = "check the network, the firewalls and --hostup-url";
const TO_PROXY: &str = "check --hostup-proxy and the network";

/// What went wrong, and what to do.
pub(super) fn of(error: &reqwest::Error) -> String {
    if !error.is_connect() {
        let what = if error.is_timeout() {
            "no complete answer within the time-out"
        } else {
            "the connection broke before the answer was complete"
        };
        return what.to_owned();
    }
    let causes = causes(error);
    let tunnel = causes.iter().find_map(|cause| {
        let text = cause.to_string();
        text.strip_prefix("tunnel error: ").map(str::to_owned)
    });
    // Without a tunnel the connection was to be to HostUp itself.
    let at_proxy = tunnel.as_deref() == Some("failed to create underlying connection");
    let (who, check) = if at_proxy {
        ("the proxy", TO_PROXY)
    } else {
        ("HostUp", TO_HOSTUP)
    };
    if let Some(what) = tunnel.filter(|_| !at_proxy) {
        let what = match what.as_str() {
            "proxy authorization required" => {
                "the proxy asks for a user and a password; put them into --hostup-proxy"
            }
            "unsuccessful" => {
                "the proxy refuses to connect to HostUp; ask whoever runs it to allow HostUp's address"
            }
            _ => {
                "the proxy ended the connection before it reached HostUp; check --hostup-proxy, and ask whoever runs it"
            }
        };
        return format!("no connection could be made: {what}");
    }
    if error.is_timeout() {
        return format!("no connection to {who} within the time-out; {check}");
    }
    let what = if error.is_dns() {
        format!("the name of {who} cannot be looked up; check the cluster's DNS, and the name")
    } else if let Some(error) = causes
        .iter()
        .find_map(|cause| cause.downcast_ref::<rustls::Error>())
    {
        of_tls(who, error)
    } else {
        // The innermost one says most.
        let mut errors = causes
            .iter()
            .filter_map(|cause| cause.downcast_ref::<io::Error>());
        match errors.next_back().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => format!("{who} refuses it; {check}"),
            Some(
                io::ErrorKind::NetworkUnreachable
                | io::ErrorKind::HostUnreachable
                | io::ErrorKind::NetworkDown,
            ) => {
                format!("there is no route to {who}; {check}")
            }
            Some(io::ErrorKind::TimedOut) => format!("{who} does not answer; {check}"),
            Some(
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
                | io::ErrorKind::UnexpectedEof,
            ) => format!("{who}, or something on the way, ended it before TLS was agreed; {check}"),
            Some(_) | None => format!("the system gives no known reason; {check}"),
        }
    };
    format!("no connection could be made: {what}")
}

fn of_tls(who: &str, error: &rustls::Error) -> String {
    match error {
        rustls::Error::InvalidCertificate(wrong) => match wrong {
            CertificateError::UnknownIssuer => format!(
                "the certificate of {who} is from a CA that is not known here; if something on the way opens TLS, name its CA with --hostup-ca-file"
            ),
            CertificateError::Expired
            | CertificateError::ExpiredContext { .. }
            | CertificateError::NotValidYet
            | CertificateError::NotValidYetContext { .. } => {
                format!("the certificate of {who} is not valid at this time; check the node's clock")
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                format!(
                    "the certificate of {who} is for another name; check --hostup-url and the proxies on the way"
                )
            }
            _ => format!("the certificate of {who} cannot be trusted; check the proxies on the way"),
        },
        rustls::Error::AlertReceived(_) => format!("{who} refuses TLS; check the proxies on the way"),
        _ => format!("{who} does not speak TLS as it must; check --hostup-url and the proxies on the way"),
    }
}

/// The error and all that caused it; an I/O error hides what it was made from.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut found: Vec<&(dyn Error + 'static)> = Vec::new();
    let mut next = Some(error);
    while let Some(cause) = next {
        found.push(cause);
        let inner = cause.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = inner
            .map(|inner| inner as &(dyn Error + 'static))
            .or_else(|| cause.source());
    }
    found
}
