//! A client of a few lines on a plain socket, so that what the simulator puts on the wire is seen
//! as it is, and nothing is repaired on the way.
#![allow(dead_code, reason = "each test binary uses its own part")]

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use hostup_sim::{SOURCE_BACKUP, SOURCE_VPS, SimHandle};
use serde_json::Value;

pub const KEY: &str = "test-key-3f9a";
pub const SOON: Duration = Duration::from_secs(10);

/// How the bytes of an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All that the head announced came.
    Complete,
    Fin,
    Rst,
    /// Nothing more came in the time given.
    Quiet,
}

#[derive(Clone, Debug)]
pub struct Answer {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub end: End,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(own, _)| own == name)
            .map(|(_, value)| value.as_str())
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// A value by its JSON pointer.
    pub fn at(&self, pointer: &str) -> Value {
        self.json()
            .pointer(pointer)
            .cloned()
            .unwrap_or_else(|| panic!("no {pointer} in {}", self.text()))
    }
}

pub struct Client {
    pub stream: TcpStream,
    key: Option<String>,
    patience: Duration,
}

impl Client {
    pub fn new(sim: &SimHandle, key: &str) -> Client {
        Client::over(TcpStream::connect(sim.address()).expect("a connection"), key)
    }

    pub fn over(stream: TcpStream, key: &str) -> Client {
        Client {
            stream,
            key: Some(key.to_owned()),
            patience: SOON,
        }
    }

    pub fn patience(mut self, patience: Duration) -> Client {
        self.patience = patience;
        self
    }

    pub fn send(&mut self, method: &str, target: &str, headers: &[(&str, &str)], body: &[u8]) {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: sim\r\n");
        if let Some(key) = &self.key {
            head += &format!("Authorization: Bearer {key}\r\n");
        }
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        if !body.is_empty() {
            head += &format!("Content-Length: {}\r\n", body.len());
        }
        head += "\r\n";
        let mut bytes = head.into_bytes();
        bytes.extend_from_slice(body);
        self.stream.write_all(&bytes).expect("the request leaves");
    }

    pub fn read(&mut self) -> Answer {
        self.stream
            .set_read_timeout(Some(self.patience))
            .expect("a read timeout");
        let mut bytes = Vec::new();
        let mut buffer = vec![0; 65536];
        let end = loop {
            if let Some(answer) = complete(&bytes) {
                return answer;
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => break End::Fin,
                Ok(count) => bytes.extend_from_slice(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::ConnectionReset => break End::Rst,
                Err(_) => break End::Quiet,
            }
        };
        let (status, headers, used) = head(&bytes).unwrap_or((0, Vec::new(), 0));
        Answer {
            status,
            headers,
            body: bytes[used..].to_vec(),
            end,
        }
    }

    pub fn call(&mut self, method: &str, target: &str, body: &str) -> Answer {
        let json = [("Content-Type", "application/json")];
        let headers: &[(&str, &str)] = if body.is_empty() { &[] } else { &json };
        self.send(method, target, headers, body.as_bytes());
        self.read()
    }
}

type HeadOf = (u16, Vec<(String, String)>, usize);

fn head(bytes: &[u8]) -> Option<HeadOf> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let text = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut lines = text.lines();
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let headers = lines
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_ascii_lowercase(), value.trim().to_owned()))
        .collect();
    Some((status, headers, end + 4))
}

fn complete(bytes: &[u8]) -> Option<Answer> {
    let (status, headers, used) = head(bytes)?;
    let length: usize = headers
        .iter()
        .find(|(name, _)| name == "content-length")?
        .1
        .parse()
        .ok()?;
    let body = bytes[used..].to_vec();
    (body.len() >= length).then_some(Answer {
        status,
        headers,
        body,
        end: End::Complete,
    })
}

pub fn get(sim: &SimHandle, target: &str) -> Answer {
    Client::new(sim, KEY).call("GET", target, "")
}

pub fn restore_path() -> String {
    format!("/api/v2/vps/{SOURCE_VPS}/backups/{SOURCE_BACKUP}/actions/restore-to-payg")
}

pub fn restore(sim: &SimHandle, body: &str) -> Answer {
    Client::new(sim, KEY).call("POST", &restore_path(), body)
}

pub const ORDER: &str =
    r#"{"name":"restore-web-01","region":"stockholm","cpuCores":2,"memoryGb":4,"storageGb":80}"#;

pub fn config_path() -> String {
    format!("/api/v2/vps/{SOURCE_VPS}/actions/config")
}

pub fn options_path() -> String {
    format!("/api/v2/vps/{SOURCE_VPS}/actions/upgrade")
}

pub fn config(sim: &SimHandle, body: &str) -> Answer {
    Client::new(sim, KEY).call("POST", &config_path(), body)
}

pub const LEGACY_PATH: &str = "/api/vm/10000/upgrade";

pub fn legacy(sim: &SimHandle, body: &str) -> Answer {
    Client::new(sim, KEY).call("POST", LEGACY_PATH, body)
}
