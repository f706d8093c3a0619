//! HostUp over HTTP. Reads: one pooled client, without retries: who asks again decides that. The paid POST: a client of
//! its own that can send its bytes only once.

use std::time::Duration;

use reqwest::{Certificate, Client, ClientBuilder, Proxy, redirect, retry};
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use url::Url;

use super::cause;
use super::names::CompleteFirst;
use super::provider::{Broken, Exchange, Kind, LIMITED, Provider, Request, Response};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// How HostUp is reached.
#[derive(Debug, Clone, Default)]
pub struct Way {
    /// An HTTP proxy that tunnels.
    pub proxy: Option<Url>,
    /// Further certificates of CAs that are trusted.
    pub trusted: Vec<CertificateDer<'static>>,
}

/// Reads every certificate of a PEM file; other things may stand between them.
///
/// # Errors
/// What is wrong with the file: one certificate that is left out would be missed at a bad time.
pub fn certificates(pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let read = read.map_err(|error| format!("it is not PEM ({error})"))?;
    if read.is_empty() {
        return Err("it holds no certificate".to_owned());
    }
    let mut roots = RootCertStore::empty();
    for (certificate, n) in read.iter().zip(1..) {
        roots
            .add(certificate.clone())
            .map_err(|error| format!("its certificate number {n} cannot be used ({error})"))?;
    }
    Ok(read)
}

/// The clients of this process.
pub struct Http {
    reads: Client,
    paid: Client,
}

impl Http {
    /// Reached in that way; no connection takes longer than three quarters of `timeout`.
    ///
    /// # Errors
    /// When the HTTP clients cannot be made, e.g. because the TLS roots cannot be read.
    pub fn new(way: Way, timeout: Duration) -> Result<Self, reqwest::Error> {
        let trusted = way.trusted.iter().map(|der| Certificate::from_der(der));
        let trusted = trusted.collect::<Result<Vec<_>, _>>()?;
        // For https a proxy tunnels: it sees the name of HostUp and bytes that it cannot read, let alone repeat.
        let proxy = way.proxy.map(Proxy::https).transpose()?;
        let common = || -> ClientBuilder {
            let client = Client::builder()
                .user_agent(concat!("hostup-operator/", env!("CARGO_PKG_VERSION")))
                // Shorter than the whole, so that the same trouble reads the same each time.
                .connect_timeout(CONNECT_TIMEOUT.min(timeout * 3 / 4))
                .redirect(redirect::Policy::none())
                .retry(retry::never())
                .no_proxy()
                .dns_resolver(CompleteFirst)
                .tls_certs_merge(trusted.clone())
                .http1_only()
                .tcp_nodelay(true);
            match &proxy {
                Some(proxy) => client.proxy(proxy.clone()),
                None => client,
            }
        };
        Ok(Self {
            reads: common().pool_idle_timeout(Duration::from_secs(20)).build()?,
            paid: common().pool_max_idle_per_host(0).build()?,
        })
    }

    async fn send(&self, request: Request) -> Result<Response, reqwest::Error> {
        let Request {
            kind,
            url,
            headers,
            body,
            within,
        } = request;
        let to = match kind {
            Kind::Read => self.reads.get(url),
            Kind::DryRun => self.reads.post(url),
            Kind::Paid => self.paid.post(url),
        };
        let sent = to.headers(headers).body(body).timeout(within).send();
        let mut answer = sent.await?;
        let mut response = Response::new(answer.status().as_u16(), std::mem::take(answer.headers_mut()));
        loop {
            match answer.chunk().await {
                Ok(Some(chunk)) if response.take_in(&chunk) => {}
                Ok(_) => return Ok(response),
                // That HostUp limits the key stands in the head; the body says nothing more.
                Err(_) if response.status() == LIMITED => return Ok(response.without_body()),
                Err(error) => return Err(error),
            }
        }
    }
}

impl Provider for Http {
    fn exchange(&self, request: Request) -> Exchange<'_> {
        Box::pin(async move {
            self.send(request).await.map_err(|error| {
                let why = cause::of(&error);
                // The border is exact: a connection that was never made has carried no byte. Through a proxy it is made
                // once the tunnel stands and TLS within it is agreed.
                if error.is_connect() {
                    Broken::NotSent(why)
                } else {
                    Broken::Lost(why)
                }
            })
        })
    }
}
