//! Ports that stay ours while a broker is down.
//!
//! The system gives out ports from a range that every outgoing connection draws from: a client that tries
//! again and again to reach a stopped broker can be given the broker's own port, and the broker cannot come
//! back. So ours lie below that range, and a locked file keeps other test processes away.

use std::fs::{self, File};
use std::net::TcpListener;

use super::install;

const BELOW_THE_SYSTEMS: std::ops::Range<u16> = 15_000..32_000;

/// A port of 127.0.0.1, kept until this is dropped.
pub struct Port {
    pub number: u16,
    _lock: File,
}

impl Port {
    pub fn reserve() -> Port {
        let directory = install::target().join("tmp").join("ports");
        fs::create_dir_all(&directory).unwrap();
        for _ in 0..1000 {
            let number = fastrand::u16(BELOW_THE_SYSTEMS);
            let lock = File::create(directory.join(number.to_string())).unwrap();
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Port { number, _lock: lock };
            }
        }
        panic!("no free port");
    }

    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}
