//! A TCP proxy before a broker: the network between the two, to be broken at will.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::ports::Port;

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Open,
    /// Connections stay, new ones are taken, and nothing passes.
    Hole,
    /// Connections end, and new ones end as soon as they come.
    Down,
    /// The proxy itself ends.
    Over,
}

struct State {
    mode: Mode,
    /// Goes up with each cut: what began before ends.
    cuts: u64,
    /// Goes up with each `hang`: nothing passes on what began before.
    hangs: u64,
    /// By connection: its two ends.
    streams: BTreeMap<u64, [TcpStream; 2]>,
    next: u64,
}

/// When a connection began.
#[derive(Clone, Copy)]
struct Born {
    cuts: u64,
    hangs: u64,
}

struct Shared {
    state: Mutex<State>,
    changed: Condvar,
}

impl Shared {
    fn end_streams(state: &mut State) {
        state.cuts += 1;
        for stream in std::mem::take(&mut state.streams).into_values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn turn(&self, mode: Mode) {
        let mut state = self.state.lock();
        state.mode = mode;
        if matches!(mode, Mode::Down | Mode::Over) {
            Shared::end_streams(&mut state);
        }
        self.changed.notify_all();
    }

    /// Waits until what comes may pass. False: its connection is cut.
    fn pass(&self, born: Born) -> bool {
        let mut state = self.state.lock();
        while (state.mode == Mode::Hole || state.hangs != born.hangs) && state.cuts == born.cuts {
            self.changed.wait(&mut state);
        }
        state.mode == Mode::Open && state.cuts == born.cuts
    }
}

/// A proxy. Dropped, it ends, with all its connections.
pub struct Proxy {
    shared: Arc<Shared>,
    front: SocketAddr,
    _behind: Port,
}

impl Proxy {
    pub(super) fn start(front: TcpListener, behind: Port) -> Proxy {
        let state = State { mode: Mode::Open, cuts: 0, hangs: 0, streams: BTreeMap::new(), next: 0 };
        let shared = Arc::new(Shared { state: Mutex::new(state), changed: Condvar::new() });
        let address = front.local_addr().unwrap();
        let (theirs, to) = (shared.clone(), behind.address());
        std::thread::spawn(move || accept(&front, &to, &theirs));
        Proxy { shared, front: address, _behind: behind }
    }

    /// Nothing passes any more, in either direction, and nobody is told: connections stay, new ones are taken.
    pub fn black_hole(&self) {
        self.shared.turn(Mode::Hole);
    }

    /// Everything passes, and what was held back comes late, as TCP does it.
    pub fn heal(&self) {
        self.shared.turn(Mode::Open);
    }

    /// Nothing passes any more on the connections that there are, for ever, and nobody is told. New ones pass.
    pub fn hang(&self) {
        self.shared.state.lock().hangs += 1;
    }

    /// Ends every connection. New ones pass as before.
    pub fn cut(&self) {
        Shared::end_streams(&mut self.shared.state.lock());
        self.shared.changed.notify_all();
    }

    /// Ends every connection, and each new one at once, until `heal`.
    pub fn down(&self) {
        self.shared.turn(Mode::Down);
    }

    /// The connections that are open.
    pub fn connections(&self) -> usize {
        self.shared.state.lock().streams.len()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.turn(Mode::Over);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect_timeout(&self.front, Duration::from_secs(1));
    }
}

fn accept(front: &TcpListener, to: &str, shared: &Arc<Shared>) {
    for client in front.incoming() {
        let (mode, born) = {
            let state = shared.state.lock();
            (state.mode, Born { cuts: state.cuts, hangs: state.hangs })
        };
        match (mode, client) {
            (Mode::Over, _) => return,
            (Mode::Down, _) | (_, Err(_)) => {}
            (Mode::Open | Mode::Hole, Ok(client)) => {
                let (to, shared) = (to.to_owned(), shared.clone());
                std::thread::spawn(move || connection(&client, &to, born, &shared));
            }
        }
    }
}

fn connection(client: &TcpStream, to: &str, born: Born, shared: &Arc<Shared>) {
    // A connection that begins in the hole reaches the broker when the hole is gone.
    if !shared.pass(born) {
        return;
    }
    let Ok(broker) = TcpStream::connect(to) else { return };
    let number = {
        let mut state = shared.state.lock();
        if state.cuts != born.cuts {
            return;
        }
        let number = state.next;
        state.next += 1;
        state.streams.insert(number, [client.try_clone().unwrap(), broker.try_clone().unwrap()]);
        number
    };
    let (client_too, broker_too) = (client.try_clone().unwrap(), broker.try_clone().unwrap());
    let theirs = shared.clone();
    let back = std::thread::spawn(move || pump(&broker_too, &client_too, born, &theirs));
    pump(client, &broker, born, shared);
    let _ = back.join();
    shared.state.lock().streams.remove(&number);
}

/// Carries bytes one way until an end is gone, which the other end is then told.
fn pump(mut from: &TcpStream, mut to: &TcpStream, born: Born, shared: &Shared) {
    let mut bytes = vec![0; 64 * 1024];
    while let Ok(count @ 1..) = from.read(&mut bytes) {
        if !shared.pass(born) || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // In a hole nobody learns of an end either.
    shared.pass(born);
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
