//! What stands on the way to HostUp: TLS in front of the simulator, and a proxy that tunnels.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// A CA of the test's own, and what it signs.
pub struct Ca {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate, for `--hostup-ca-file`.
    pub pem: String,
}

impl Ca {
    pub fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        let n: u64 = getrandom::u64().unwrap();
        params
            .distinguished_name
            .push(DnType::CommonName, format!("CA {n:x}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self {
            issuer: Issuer::new(params, key),
            pem,
        }
    }

    /// A certificate for these names, valid in these years.
    pub fn signs(&self, name: &str, years: (i32, i32)) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        params.not_before = rcgen::date_time_ymd(years.0, 1, 1);
        params.not_after = rcgen::date_time_ymd(years.1, 1, 1);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let chain = vec![CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()];
        let key = PrivateKeyDer::from_pem_slice(key.serialize_pem().as_bytes()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        Arc::new(config)
    }

    /// A file with its certificate, which lasts as long as the folder.
    pub fn file(&self, folder: &tempfile::TempDir) -> String {
        let path = folder.path().join("ca.pem");
        std::fs::write(&path, &self.pem).unwrap();
        path.display().to_string()
    }
}

/// What a server does with a connection.
#[derive(Clone)]
pub enum Server {
    /// TLS, and behind it the simulator.
    Relays(Arc<ServerConfig>, SocketAddr),
    /// TLS, and the end.
    EndsAfterTls(Arc<ServerConfig>),
    /// TLS, the whole request, and the end.
    EndsAfterRequest(Arc<ServerConfig>),
    /// TLS, the whole request, and then this.
    Says(Arc<ServerConfig>, &'static str),
    /// These bytes after the first ones that come, without TLS.
    Blurts(&'static str),
    /// Not a byte, for ever.
    Hangs,
    /// The end at once.
    Ends,
}

/// What a proxy does with a CONNECT.
#[derive(Clone)]
pub enum Proxy {
    /// It connects to where it was asked to, on this host.
    Tunnels,
    /// The same, where it is itself behind TLS.
    TunnelsBehindTls(Arc<ServerConfig>),
    /// The same, by SOCKS 5 and for this user and password alone, where one is named.
    Socks(Option<(&'static str, &'static str)>),
    /// It answers 200, and does as this server.
    TunnelsTo(Server),
    /// It answers this, and ends the connection.
    Answers(&'static str),
    /// It takes the CONNECT and says nothing.
    Hangs,
    /// It ends the connection at once.
    Ends,
}

/// Something that listens; what it does can be changed.
pub struct Listening<B> {
    pub address: SocketAddr,
    /// What it does from the next connection on.
    does: Arc<Mutex<B>>,
    /// What it was asked for, as text.
    asked: Arc<Mutex<Vec<String>>>,
}

impl<B> Listening<B> {
    pub fn does(&self, now: B) {
        *self.does.lock().unwrap() = now;
    }

    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

/// A server, e.g. `https://localhost:<port>`.
pub fn server(does: Server) -> Listening<Server> {
    listen(does, |does, socket, asked| async move {
        serve(does, socket, asked).await
    })
}

/// A proxy, e.g. `http://127.0.0.1:<port>`.
pub fn proxy(does: Proxy) -> Listening<Proxy> {
    listen(does, |does, socket, asked| async move {
        connect(does, socket, asked).await
    })
}

type Asked = Arc<Mutex<Vec<String>>>;

fn listen<B, F>(does: B, on: fn(B, TcpStream, Asked) -> F) -> Listening<B>
where
    B: Clone + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let listening = Listening {
        address: listener.local_addr().unwrap(),
        does: Arc::new(Mutex::new(does)),
        asked: Asked::default(),
    };
    let (does, asked) = (listening.does.clone(), listening.asked.clone());
    // On a thread of its own: a test that waits for a line of a log holds up the tasks of its own runtime.
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async move {
            let listener = TcpListener::from_std(listener).unwrap();
            while let Ok((socket, _)) = listener.accept().await {
                let now = does.lock().unwrap().clone();
                tokio::spawn(on(now, socket, asked.clone()));
            }
        });
    });
    listening
}

/// Ends of connections, on whichever side, concern them alone.
async fn serve<S>(does: Server, mut socket: S, asked: Asked)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let tls =
        |config: Arc<ServerConfig>, socket| async { TlsAcceptor::from(config).accept(socket).await.ok() };
    match does {
        Server::Relays(config, upstream) => {
            let Some(mut stream) = tls(config, socket).await else {
                return;
            };
            let mut upstream = TcpStream::connect(upstream).await.unwrap();
            let _ended = copy_bidirectional(&mut stream, &mut upstream).await;
        }
        Server::EndsAfterTls(config) => drop(tls(config, socket).await),
        Server::EndsAfterRequest(config) => {
            let Some(mut stream) = tls(config, socket).await else {
                return;
            };
            let request = request(&mut stream).await;
            asked.lock().unwrap().push(request);
        }
        Server::Says(config, words) => {
            let Some(mut stream) = tls(config, socket).await else {
                return;
            };
            let request = request(&mut stream).await;
            asked.lock().unwrap().push(request);
            let _said = stream.write_all(words.as_bytes()).await;
            let _ended = stream.shutdown().await;
        }
        Server::Blurts(words) => {
            let _read = socket.read(&mut [0; 4096]).await;
            let _said = socket.write_all(words.as_bytes()).await;
        }
        Server::Hangs => while socket.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {},
        Server::Ends => {}
    }
}

async fn connect(does: Proxy, mut socket: TcpStream, asked: Asked) {
    if let Proxy::Socks(user) = does {
        // A client that does not speak it is left alone.
        return socks(user, socket, asked).await.unwrap_or_default();
    }
    if let Proxy::TunnelsBehindTls(config) = does {
        if let Ok(mut socket) = TlsAcceptor::from(config).accept(socket).await {
            let head = head(&mut socket).await;
            asked.lock().unwrap().push(head.clone());
            tunnel(&head, socket).await;
        }
        return;
    }
    let head = head(&mut socket).await;
    asked.lock().unwrap().push(head.clone());
    match does {
        Proxy::Tunnels | Proxy::TunnelsBehindTls(_) | Proxy::Socks(_) => tunnel(&head, socket).await,
        Proxy::TunnelsTo(server) => {
            let _said = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
            serve(server, socket, Asked::default()).await;
        }
        Proxy::Answers(words) => {
            let _said = socket.write_all(words.as_bytes()).await;
        }
        Proxy::Hangs => while socket.read(&mut [0; 4096]).await.is_ok_and(|read| read > 0) {},
        Proxy::Ends => {}
    }
}

/// To where the CONNECT of this head asks for.
async fn tunnel<S>(head: &str, mut socket: S)
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
{
    let target = head.split(' ').nth(1).unwrap_or_default();
    let port: u16 = target.rsplit(':').next().unwrap_or_default().parse().unwrap();
    let mut upstream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let _said = socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
    let _ended = copy_bidirectional(&mut socket, &mut upstream).await;
}

/// SOCKS 5 (RFC 1928, RFC 1929), for names alone. What it was asked for is noted as `SOCKS user:password name:port`.
async fn socks(user: Option<(&str, &str)>, mut socket: TcpStream, asked: Asked) -> std::io::Result<()> {
    let (version, methods) = (socket.read_u8().await?, socket.read_u8().await?);
    let mut offered = vec![0; methods.into()];
    socket.read_exact(&mut offered).await?;
    let method = if user.is_some() { 2 } else { 0 };
    if version != 5 || !offered.contains(&method) {
        return socket.write_all(&[5, 0xff]).await;
    }
    socket.write_all(&[5, method]).await?;
    let mut who = String::new();
    if let Some((name, password)) = user {
        socket.read_u8().await?;
        who = format!("{}:{} ", counted(&mut socket).await?, counted(&mut socket).await?);
        let known = who == format!("{name}:{password} ");
        socket.write_all(&[1, u8::from(!known)]).await?;
        if !known {
            return Ok(());
        }
    }
    // Version, CONNECT, nothing, a name.
    let mut head = [0; 4];
    socket.read_exact(&mut head).await?;
    if head != [5, 1, 0, 3] {
        return socket.write_all(&[5, 8, 0, 1, 0, 0, 0, 0, 0, 0]).await;
    }
    let name = counted(&mut socket).await?;
    let port = socket.read_u16().await?;
    asked.lock().unwrap().push(format!("SOCKS {who}{name}:{port}"));
    let mut upstream = TcpStream::connect(("127.0.0.1", port)).await?;
    socket.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).await?;
    copy_bidirectional(&mut socket, &mut upstream).await.map(drop)
}

/// A text with its length before it.
async fn counted(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut text = vec![0; stream.read_u8().await?.into()];
    stream.read_exact(&mut text).await?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Up to the empty line.
async fn head(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => read.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8_lossy(&read).into_owned()
}

/// With its body.
async fn request(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let head = head(stream).await;
    let length = head
        .lines()
        .find_map(|line| line.to_lowercase().strip_prefix("content-length: ")?.parse().ok());
    let mut body = vec![0; length.unwrap_or(0)];
    let _read = stream.read_exact(&mut body).await;
    head + &String::from_utf8_lossy(&body)
}
