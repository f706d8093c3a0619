//! The server: accepts connections, and puts the answers on the wire.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc as std_mpsc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::backstage::Shared;
use crate::http::{Incoming, Outgoing, Read, Reader};
use crate::life::{Begun, Life};
use crate::log::{Auth, Connection, Finish, Keep, RequestRecord};
use crate::routes::Route;
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
                let answer = Outgoing::new(400, Vec::new(), Vec::new());
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

/// One request. Says whether the connection goes on.
async fn request(incoming: Incoming, stream: &mut TcpStream, shared: &Arc<Shared>, connection: u64) -> bool {
    let keep_alive = incoming.keep_alive;
    let mut life = match Life::begin(shared, incoming, Some(connection)) {
        Begun::Admin(outgoing) => {
            let (_, _, goes_on) = outgoing.send(stream).await;
            return goes_on && keep_alive;
        }
        Begun::Life(life) => life,
    };
    let outgoing = life.answered().await;
    // Before the bytes leave, so that a client that has its answer finds it in the log.
    let foreseen = outgoing.foreseen();
    if let Some((status, finish)) = foreseen {
        life.record(status, finish);
    }
    let (status, finish, goes_on) = outgoing.send(stream).await;
    if foreseen != Some((status, finish)) {
        life.record(status, finish);
    }
    goes_on && finish == Finish::Whole && keep_alive
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

    pub(crate) fn connection_mut(&mut self, id: u64) -> &mut Connection {
        let index = usize::try_from(id - 1).expect("a connection number");
        &mut self.connections[index]
    }

    /// Bytes that were no request are logged as one of an unknown route, so that a client that
    /// speaks HTTP/2 or TLS at us shows.
    fn log_garbled(&mut self, connection: u64, what: &str) {
        let now = self.clock.now();
        let nth_on_connection = self.connection_mut(connection).requests + 1;
        let index = self.log.next();
        let record = (self.keep == Keep::Everything).then(|| RequestRecord {
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
            status: None,
            finish: None,
            finished_at: None,
        });
        self.log.arrived(Route::Unknown, record);
        self.log
            .answered(Route::Unknown, index, Some(400), Finish::Whole, now);
    }
}
