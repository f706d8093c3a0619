use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName};
use hyper::http::request::Parts;
use hyper::{Method, Response, Uri, Version};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::serve::Cut;

/// About one connection, not about the message on it.
const HOP_BY_HOP: [HeaderName; 6] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    HeaderName::from_static("keep-alive"),
];

/// The way to the API server.
pub(super) struct Upstream {
    address: SocketAddr,
    tls: TlsConnector,
}

impl std::fmt::Debug for Upstream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Upstream").field(&self.address).finish()
    }
}

/// A request with its whole body, which can be sent more than once.
pub(super) struct Outgoing {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Outgoing {
    pub(super) fn new(parts: Parts, body: Bytes) -> Self {
        let mut headers = parts.headers;
        strip_hop_by_hop(&mut headers);
        // Set anew from the body, which may have come in chunks.
        headers.remove(header::CONTENT_LENGTH);
        Self {
            method: parts.method,
            uri: parts.uri,
            headers,
            body,
        }
    }
}

impl Outgoing {
    /// The same request with its JSON body changed.
    pub(super) fn rewritten(mut self, change: fn(&mut Value)) -> Result<Self, Cut> {
        let mut body: Value = serde_json::from_slice(&self.body).map_err(Cut::from)?;
        change(&mut body);
        self.body = Bytes::from(body.to_string());
        Ok(self)
    }
}

impl Upstream {
    pub(super) fn new(address: SocketAddr, tls: Arc<ClientConfig>) -> Self {
        Self {
            address,
            tls: TlsConnector::from(tls),
        }
    }

    /// Sends a request, once, over a connection of its own.
    pub(super) async fn send(&self, outgoing: &Outgoing) -> Result<Response<Incoming>, Cut> {
        let socket = TcpStream::connect(self.address).await.map_err(Cut::from)?;
        socket.set_nodelay(true).map_err(Cut::from)?;
        let name = ServerName::from(self.address.ip());
        let tls = self.tls.connect(name, socket).await.map_err(Cut::from)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(tls))
            .await
            .map_err(Cut::from)?;
        // It ends with the answer's body; how it ends shows there.
        tokio::spawn(connection);
        let mut request = hyper::Request::new(Full::new(outgoing.body.clone()));
        request.method_mut().clone_from(&outgoing.method);
        request.uri_mut().clone_from(&outgoing.uri);
        request.headers_mut().clone_from(&outgoing.headers);
        *request.version_mut() = Version::HTTP_11;
        let mut answer = sender.send_request(request).await.map_err(Cut::from)?;
        strip_hop_by_hop(answer.headers_mut());
        Ok(answer)
    }
}

fn strip_hop_by_hop(headers: &mut HeaderMap) {
    for name in HOP_BY_HOP {
        headers.remove(name);
    }
}
