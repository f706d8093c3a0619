//! HTTP/1.1 on a raw connection: small on purpose, so that every byte and every way of breaking off
//! is in our hands.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::clock::Clock;
use crate::log::Finish;
use crate::problem::phrase;

const HEAD_LIMIT: usize = 256 * 1024;
const BODY_LIMIT: usize = 32 * 1024 * 1024;

/// A request that arrived in full.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: Option<String>,
    pub(crate) version: String,
    /// Names in lower case, in order, repeated ones kept.
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) first_byte_at: Instant,
    pub(crate) keep_alive: bool,
}

impl Incoming {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }
}

/// What a connection brought.
pub(crate) enum Read {
    Request(Incoming),
    /// Bytes that are no HTTP/1.x request; the text says what they look like.
    Garbled(&'static str),
    /// The connection is over.
    Gone,
}

/// The reading side of a connection.
pub(crate) struct Reader {
    buffer: Vec<u8>,
    clock: Clock,
    first_byte_at: Option<Instant>,
}

impl Reader {
    pub(crate) fn new(clock: Clock) -> Reader {
        Reader {
            buffer: Vec::new(),
            clock,
            first_byte_at: None,
        }
    }

    /// Reads the next request. `count` is told of all bytes that come in.
    pub(crate) async fn next(&mut self, stream: &mut TcpStream, mut count: impl FnMut(usize)) -> Read {
        self.first_byte_at = (!self.buffer.is_empty()).then(|| self.clock.now());
        let (mut incoming, length, chunked) = loop {
            let first_byte_at = self.first_byte_at.unwrap_or_else(|| self.clock.now());
            match parse_head(&self.buffer, first_byte_at) {
                Head::Whole(incoming, used, length, chunked) => {
                    self.buffer.drain(..used);
                    break (incoming, length, chunked);
                }
                Head::Partial if self.buffer.len() > HEAD_LIMIT => {
                    return Read::Garbled("head too long");
                }
                Head::Partial => {}
                Head::Garbled(what) => return Read::Garbled(what),
            }
            if !self.fill(stream, &mut count).await {
                return Read::Gone;
            }
        };
        let expects = incoming
            .header("expect")
            .is_some_and(|value| value.eq_ignore_ascii_case("100-continue"));
        if expects && (chunked || length > self.buffer.len()) {
            let continued = stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").await;
            if continued.is_err() {
                return Read::Gone;
            }
        }
        if chunked {
            loop {
                match parse_chunks(&self.buffer) {
                    Ok(Some((body, used))) => {
                        self.buffer.drain(..used);
                        incoming.body = body;
                        break;
                    }
                    Ok(None) if self.buffer.len() <= BODY_LIMIT => {}
                    _ => return Read::Garbled("bad chunked body"),
                }
                if !self.fill(stream, &mut count).await {
                    return Read::Gone;
                }
            }
        } else {
            if length > BODY_LIMIT {
                return Read::Garbled("body too long");
            }
            while self.buffer.len() < length {
                if !self.fill(stream, &mut count).await {
                    return Read::Gone;
                }
            }
            incoming.body = self.buffer.drain(..length).collect();
        }
        Read::Request(incoming)
    }

    async fn fill(&mut self, stream: &mut TcpStream, count: &mut impl FnMut(usize)) -> bool {
        match stream.read_buf(&mut self.buffer).await {
            Ok(0) | Err(_) => false,
            Ok(bytes) => {
                self.first_byte_at.get_or_insert_with(|| self.clock.now());
                count(bytes);
                true
            }
        }
    }
}

enum Head {
    /// The request without its body, bytes used, content length, chunked.
    Whole(Incoming, usize, usize, bool),
    Partial,
    Garbled(&'static str),
}

fn parse_head(buffer: &[u8], first_byte_at: Instant) -> Head {
    if buffer.starts_with(b"PRI * HTTP/2.0") {
        return Head::Garbled("HTTP/2.0");
    }
    if buffer.first() == Some(&0x16) {
        return Head::Garbled("TLS");
    }
    let mut slots = [httparse::EMPTY_HEADER; 128];
    let mut request = httparse::Request::new(&mut slots);
    let used = match request.parse(buffer) {
        Ok(httparse::Status::Complete(used)) => used,
        Ok(httparse::Status::Partial) => return Head::Partial,
        Err(_) => return Head::Garbled("not HTTP/1.x"),
    };
    let headers: Vec<(String, String)> = request
        .headers
        .iter()
        .map(|header| {
            (
                header.name.to_ascii_lowercase(),
                String::from_utf8_lossy(header.value).trim().to_owned(),
            )
        })
        .collect();
    let of = |name: &str| {
        headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    };
    let chunked = of("transfer-encoding").is_some_and(|value| value.to_ascii_lowercase().contains("chunked"));
    let Ok(length) = of("content-length").unwrap_or("0").parse() else {
        return Head::Garbled("bad content-length");
    };
    let minor = request.version.unwrap_or(1);
    let connection = of("connection").unwrap_or_default().to_ascii_lowercase();
    let keep_alive = if minor == 0 {
        connection.contains("keep-alive")
    } else {
        !connection.contains("close")
    };
    let target = request.path.unwrap_or_default();
    // A request for a proxy names the whole URL; only its path counts.
    let target = target
        .strip_prefix("http://")
        .map_or(target, |rest| rest.find('/').map_or("/", |at| &rest[at..]));
    let (path, query) = match target.split_once('?') {
        Some((path, query)) => (path, Some(query.to_owned())),
        None => (target, None),
    };
    let incoming = Incoming {
        method: request.method.unwrap_or_default().to_owned(),
        path: path.to_owned(),
        query,
        version: format!("HTTP/1.{minor}"),
        headers,
        body: Vec::new(),
        first_byte_at,
        keep_alive,
    };
    Head::Whole(incoming, used, length, chunked)
}

/// A chunked body from the start of the buffer: its bytes and how many were used.
pub(crate) fn parse_chunks(buffer: &[u8]) -> Result<Option<(Vec<u8>, usize)>, ()> {
    let mut body = Vec::new();
    let mut at = 0;
    loop {
        let (start, size) = match httparse::parse_chunk_size(&buffer[at..]) {
            Ok(httparse::Status::Complete((used, size))) => (at + used, size),
            Ok(httparse::Status::Partial) => return Ok(None),
            Err(_) => return Err(()),
        };
        let size = usize::try_from(size).map_err(|_| ())?;
        if size > BODY_LIMIT {
            return Err(());
        }
        if size == 0 {
            // Trailers end with an empty line.
            let rest = &buffer[start..];
            if rest.starts_with(b"\r\n") {
                return Ok(Some((body, start + 2)));
            }
            let end = rest.windows(4).position(|four| four == b"\r\n\r\n");
            return Ok(end.map(|end| (body, start + end + 4)));
        }
        let Some(chunk) = buffer.get(start..start + size) else {
            return Ok(None);
        };
        if buffer.len() < start + size + 2 {
            return Ok(None);
        }
        body.extend_from_slice(chunk);
        at = start + size + 2;
    }
}

/// How the bytes of an answer go out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) enum Delivery {
    #[default]
    Whole,
    /// So many bytes of the body, then FIN, or RST.
    Cut {
        after: usize,
        reset: bool,
    },
    HeadThenSilence,
    /// A byte at a time; the head too if `from_start`.
    Drip {
        every: Duration,
        from_start: bool,
    },
    Close,
    Reset,
    Silence(Option<Duration>),
}

/// An answer, ready to leave.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) delay: Duration,
    /// 0: there is no head, and the body is all.
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) delivery: Delivery,
    pub(crate) close_after: bool,
}

impl Outgoing {
    /// A complete answer. A `content-length` in the headers stands instead of the true one.
    pub(crate) fn new(status: u16, mut headers: Vec<(String, String)>, body: Vec<u8>) -> Outgoing {
        let own_length = headers
            .iter()
            .position(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let true_length = body.len().to_string();
        let length = own_length.map(|place| headers.remove(place).1);
        let close_after = length.as_ref().is_some_and(|length| *length != true_length);
        headers.push(("Content-Length".to_owned(), length.unwrap_or(true_length)));
        Outgoing {
            delay: Duration::ZERO,
            status,
            headers,
            body,
            delivery: Delivery::Whole,
            close_after,
        }
    }

    /// These bytes instead of an answer.
    pub(crate) fn bytes(bytes: Vec<u8>) -> Outgoing {
        Outgoing {
            delay: Duration::ZERO,
            status: 0,
            headers: Vec::new(),
            body: bytes,
            delivery: Delivery::Whole,
            close_after: true,
        }
    }

    /// Status line and headers.
    pub(crate) fn head(&self) -> Vec<u8> {
        if self.status == 0 {
            return Vec::new();
        }
        let mut head = format!("HTTP/1.1 {} {}\r\n", self.status, phrase(self.status));
        for (name, value) in &self.headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        head.push_str("\r\n");
        head.into_bytes()
    }

    /// Waits as long as the answer is to wait.
    pub(crate) async fn wait(&self) {
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
    }

    pub(crate) fn status(&self) -> Option<u16> {
        (self.status != 0).then_some(self.status)
    }

    /// How answering will end if the client stays; `None` where it takes its time.
    pub(crate) fn foreseen(&self) -> Option<(Option<u16>, Finish)> {
        Some(match self.delivery {
            Delivery::Whole => (self.status(), Finish::Whole),
            Delivery::Cut { .. } => (self.status(), Finish::Cut),
            Delivery::HeadThenSilence => (self.status(), Finish::Silent),
            Delivery::Close => (None, Finish::Closed),
            Delivery::Reset => (None, Finish::Reset),
            Delivery::Silence(_) => (None, Finish::Silent),
            Delivery::Drip { .. } => return None,
        })
    }

    /// Sends it. The flag says whether the connection may go on.
    pub(crate) async fn send(self, stream: &mut TcpStream) -> (Option<u16>, Finish, bool) {
        let (status, head) = (self.status(), self.head());
        let left = (None, Finish::ClientLeft, false);
        match self.delivery {
            Delivery::Close => {
                let _ = stream.shutdown().await;
                (None, Finish::Closed, false)
            }
            Delivery::Reset => {
                let _ = stream.set_zero_linger();
                (None, Finish::Reset, false)
            }
            Delivery::Silence(None) => {
                gone(stream).await;
                (None, Finish::Silent, false)
            }
            Delivery::Silence(Some(time)) => {
                let _ = tokio::time::timeout(time, gone(stream)).await;
                let _ = stream.shutdown().await;
                (None, Finish::Silent, false)
            }
            Delivery::HeadThenSilence => {
                if stream.write_all(&head).await.is_err() {
                    return left;
                }
                gone(stream).await;
                (status, Finish::Silent, false)
            }
            Delivery::Cut { after, reset } => {
                let body = &self.body[..after.min(self.body.len())];
                if stream.write_all(&head).await.is_err() || stream.write_all(body).await.is_err() {
                    return left;
                }
                if reset {
                    // RST throws away what was not yet sent; let it leave first.
                    drained(stream).await;
                    let _ = stream.set_zero_linger();
                } else {
                    let _ = stream.shutdown().await;
                }
                (status, Finish::Cut, false)
            }
            Delivery::Drip { every, from_start } => {
                let (at_once, slowly) = if from_start {
                    (Vec::new(), [head, self.body].concat())
                } else {
                    (head, self.body)
                };
                if stream.write_all(&at_once).await.is_err() {
                    return left;
                }
                for byte in slowly {
                    tokio::time::sleep(every).await;
                    if stream.write_all(&[byte]).await.is_err() {
                        return (status, Finish::ClientLeft, false);
                    }
                }
                (status, Finish::Whole, !self.close_after)
            }
            Delivery::Whole => {
                let bytes = [head, self.body].concat();
                if stream.write_all(&bytes).await.is_err() {
                    return (status, Finish::ClientLeft, false);
                }
                if self.close_after {
                    let _ = stream.shutdown().await;
                }
                (status, Finish::Whole, !self.close_after)
            }
        }
    }
}

/// Waits until the client is gone; what it still sends is thrown away.
async fn gone(stream: &mut TcpStream) {
    let mut waste = [0; 1024];
    while matches!(stream.read(&mut waste).await, Ok(bytes) if bytes > 0) {}
}

/// On loopback what was written is in the peer's buffer once the socket is writable again and the
/// scheduler has run.
async fn drained(stream: &TcpStream) {
    let _ = stream.writable().await;
    tokio::time::sleep(Duration::from_millis(20)).await;
}
