//! The server: accepts connections and takes each request through its life.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::admin;
use crate::gates::Stage;
use crate::http::{Incoming, Outgoing, Read, Reader};
use crate::log::{Auth, Connection, Finish, RequestRecord};
use crate::routes::{Route, Target, recognise};
use crate::sim::Shared;
use crate::world::World;

/// What the test asks of the accept loop. The sender is told when it is done.
pub(crate) enum Order {
    /// Stop listening and drop every connection.
    Down(std_mpsc::Sender<()>),
    /// Listen again, on the same port.
    Up(std_mpsc::Sender<()>),
    /// End.
    Stop,
}

/// A socket on the address that is ready for the runtime.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = std::net::TcpListener::bind(address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

/// Listens on a port that was ours before. Another process may have it for a moment as the near end
/// of a connection.
async fn listen_again(address: SocketAddr) -> TcpListener {
    let mut tries = 0;
    loop {
        match bind(address).and_then(TcpListener::from_std) {
            Ok(listener) => return listener,
            Err(error) if tries > 200 => panic!("{address} is taken: {error}"),
            Err(_) => tries += 1,
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}

pub(crate) async fn run(
    listener: std::net::TcpListener,
    shared: Arc<Shared>,
    mut orders: mpsc::UnboundedReceiver<Order>,
) {
    let address = listener.local_addr().expect("a bound socket");
    let mut listener = TcpListener::from_std(listener).ok();
    let mut connections = JoinSet::new();
    loop {
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => match order {
                None | Some(Order::Stop) => return,
                Some(Order::Down(done)) => {
                    listener = None;
                    connections.shutdown().await;
                    let _ = done.send(());
                }
                Some(Order::Up(done)) => {
                    if listener.is_none() {
                        listener = Some(listen_again(address).await);
                    }
                    let _ = done.send(());
                }
            },
            accepted = accepted => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, Arc::clone(&shared)));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

/// Marks the connection closed however its task ends.
struct OpenConnection {
    shared: Arc<Shared>,
    id: u64,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.shared.change(|world| {
            world.connection_mut(self.id).closed = true;
        });
    }
}

async fn serve(mut stream: TcpStream, shared: Arc<Shared>) {
    let _ = stream.set_nodelay(true);
    let id = shared.change(World::open_connection);
    let open = OpenConnection {
        shared: Arc::clone(&shared),
        id,
    };
    let mut reader = Reader::new(shared.look(|world| world.clock.clone()));
    loop {
        let read = reader
            .next(&mut stream, |bytes| {
                shared.change(|world| world.connection_mut(id).bytes_in += bytes as u64);
            })
            .await;
        let goes_on = match read {
            Read::Gone => false,
            Read::Garbled(what) => {
                shared.change(|world| world.log_garbled(id, what));
                let answer = Outgoing::new(400, &[], Vec::new());
                let _ = answer.send(&mut stream).await;
                false
            }
            Read::Request(incoming) => request(incoming, &mut stream, &shared, id).await,
        };
        if !goes_on {
            drop(open);
            return;
        }
    }
}

/// One request: log, faults, gate, act, gate, answer. Says whether the connection goes on.
async fn request(incoming: Incoming, stream: &mut TcpStream, shared: &Arc<Shared>, connection: u64) -> bool {
    if let Some(outgoing) = shared.change(|world| admin::answer(world, &incoming)) {
        let (_, _, goes_on) = outgoing.send(stream).await;
        return goes_on && incoming.keep_alive;
    }
    let target = recognise(&incoming.method, &incoming.path, &incoming.body);
    let route = target.route;
    let (index, verdict) = shared.change(|world| {
        let index = world.log_request(&incoming, &target, connection);
        let auth = world.log[index].auth.clone();
        let verdict = world.verdict(route, &incoming.path, &auth);
        world.log[index].fault = verdict.as_ref().map(|verdict| verdict.name.clone());
        (index, verdict)
    });
    held(shared, route, Stage::BeforeAct, index).await;
    let mut outgoing = shared.change(|world| {
        let act = verdict.as_ref().is_none_or(|verdict| verdict.acted);
        // The key as it stands now: it may have been revoked while the request was held.
        let auth = world.auth_from(&incoming, route);
        let normal_wanted = verdict
            .as_ref()
            .is_none_or(|verdict| verdict.answer.needs_normal());
        let reply = if act || normal_wanted {
            let done = world.carry_out(&incoming, &target, &auth, act, index);
            let record = &mut world.log[index];
            record.acted = done.acted;
            record.throttled = done.throttled;
            done.reply
        } else {
            crate::routes::Reply::nothing()
        };
        world.run_hooks(route);
        match &verdict {
            Some(verdict) => verdict.answer.make(reply, &incoming.path, world),
            None => reply.onto_wire(),
        }
    });
    held(shared, route, Stage::AfterAct, index).await;
    if incoming.method == "HEAD" {
        outgoing.body.clear();
    }
    outgoing.wait().await;
    let record = |status, finish| {
        shared.change(|world| {
            let now = world.clock.now();
            let record = &mut world.log[index];
            record.status = status;
            record.finish = Some(finish);
            record.finished_at = Some(now);
        });
    };
    // Before the bytes leave, so that a client that has its answer finds it in the log.
    let foreseen = outgoing.foreseen();
    if let Some((status, finish)) = foreseen {
        record(status, finish);
    }
    let (status, finish, goes_on) = outgoing.send(stream).await;
    if foreseen != Some((status, finish)) {
        record(status, finish);
    }
    goes_on && finish == Finish::Whole && incoming.keep_alive
}

async fn held(shared: &Arc<Shared>, route: Route, stage: Stage, index: usize) {
    let mut changes = shared.changes();
    let gate = shared.change(|world| world.enter_gate(route, stage, index));
    let Some(gate) = gate else { return };
    while shared.look(|world| world.gate_holds(gate).is_some()) {
        if changes.changed().await.is_err() {
            return;
        }
    }
}

impl World {
    fn open_connection(&mut self) -> u64 {
        let id = self.connections.len() as u64 + 1;
        self.connections.push(Connection {
            id,
            opened_at: self.clock.now(),
            bytes_in: 0,
            requests: 0,
            closed: false,
        });
        id
    }

    fn connection_mut(&mut self, id: u64) -> &mut Connection {
        let index = usize::try_from(id - 1).expect("a connection number");
        &mut self.connections[index]
    }

    /// Whose credentials a request carries: Bearer everywhere; `X-API-Key` on the legacy routes
    /// (their pages).
    fn auth_from(&self, incoming: &Incoming, route: Route) -> Auth {
        if let Some(value) = incoming.header("authorization") {
            return match value.split_once(' ') {
                Some((scheme, secret))
                    if scheme.eq_ignore_ascii_case("bearer") && !secret.trim().is_empty() =>
                {
                    self.auth_of(secret.trim())
                }
                _ => Auth::Malformed,
            };
        }
        match incoming.header("x-api-key") {
            Some(secret) if route.is_legacy() => self.auth_of(secret),
            _ => Auth::Missing,
        }
    }

    fn log_request(&mut self, incoming: &Incoming, target: &Target, connection: u64) -> usize {
        let auth = self.auth_from(incoming, target.route);
        let holds = |secret: &str, text: &[u8]| {
            !secret.is_empty()
                && text
                    .windows(secret.len())
                    .any(|window| window == secret.as_bytes())
        };
        let key_elsewhere = self.secrets().any(|secret| {
            holds(secret, incoming.path.as_bytes())
                || incoming
                    .query
                    .as_ref()
                    .is_some_and(|query| holds(secret, query.as_bytes()))
                || holds(secret, &incoming.body)
                || incoming.headers.iter().any(|(name, value)| {
                    name != "authorization"
                        && (holds(secret, name.as_bytes()) || holds(secret, value.as_bytes()))
                })
        });
        let mut headers: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in &incoming.headers {
            let shown = match name.as_str() {
                "authorization" | "x-api-key" => format!("<{auth:?}>"),
                _ => value.clone(),
            };
            headers
                .entry(name.clone())
                .and_modify(|own| {
                    own.push_str(", ");
                    own.push_str(&shown);
                })
                .or_insert(shown);
        }
        let connected = self.connection_mut(connection);
        connected.requests += 1;
        let nth_on_connection = connected.requests;
        let index = self.log.len();
        self.log.push(RequestRecord {
            index,
            connection,
            nth_on_connection,
            http_version: incoming.version.clone(),
            first_byte_at: incoming.first_byte_at,
            received_at: self.clock.now(),
            at: self.wall(),
            route: target.route,
            method: incoming.method.clone(),
            path: incoming.path.clone(),
            query: incoming.query.clone(),
            headers,
            auth,
            key_elsewhere,
            body: incoming.body.clone(),
            acted: false,
            throttled: false,
            fault: None,
            status: None,
            finish: None,
            finished_at: None,
        });
        index
    }

    /// Bytes that were no request are logged as one of an unknown route, so that a client that
    /// speaks HTTP/2 or TLS at us shows.
    fn log_garbled(&mut self, connection: u64, what: &str) {
        let now = self.clock.now();
        let index = self.log.len();
        let nth_on_connection = self.connection_mut(connection).requests + 1;
        self.log.push(RequestRecord {
            index,
            connection,
            nth_on_connection,
            http_version: what.to_owned(),
            first_byte_at: now,
            received_at: now,
            at: self.wall(),
            route: Route::Unknown,
            method: String::new(),
            path: String::new(),
            query: None,
            headers: BTreeMap::new(),
            auth: Auth::Missing,
            key_elsewhere: false,
            body: Vec::new(),
            acted: false,
            throttled: false,
            fault: None,
            status: Some(400),
            finish: Some(Finish::Whole),
            finished_at: Some(now),
        });
    }
}
