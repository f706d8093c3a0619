//! A terminal of its own for one process.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Instant;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use crate::support::PATIENCE;

#[derive(Default)]
struct Screen {
    text: Mutex<(String, bool)>,
    more: Condvar,
}

/// A process whose input and output are a terminal.
pub struct Terminal {
    child: Child,
    keyboard: File,
    screen: Arc<Screen>,
}

impl Terminal {
    /// Starts a command on a new terminal.
    pub fn start(mut command: Command) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let name = ptsname(&master, Vec::new()).unwrap();
        let open = || {
            File::options()
                .read(true)
                .write(true)
                .open(name.to_str().unwrap())
                .unwrap()
        };
        let [input, output, errors] = [open(), open(), open()];
        let child = command
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(errors))
            .spawn()
            .unwrap();
        // Its ends of the terminal must be the only ones, or the screen never ends.
        drop(command);
        let keyboard = File::from(master);
        let mut read = keyboard.try_clone().unwrap();
        let screen = Arc::new(Screen::default());
        let shown = screen.clone();
        std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            // Linux answers with an error once the process has ended.
            while let Ok(count @ 1..) = read.read(&mut bytes) {
                shown
                    .text
                    .lock()
                    .unwrap()
                    .0
                    .push_str(&String::from_utf8_lossy(&bytes[..count]));
                shown.more.notify_all();
            }
            shown.text.lock().unwrap().1 = true;
            shown.more.notify_all();
        });
        Self {
            child,
            keyboard,
            screen,
        }
    }

    /// Waits until the screen shows a text.
    pub fn shows(&self, text: &str) {
        let deadline = Instant::now() + PATIENCE;
        let mut screen = self.screen.text.lock().unwrap();
        while !screen.0.contains(text) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero() && !screen.1, "no {text:?} in {:?}", screen.0);
            screen = self.screen.more.wait_timeout(screen, left).unwrap().0;
        }
    }

    /// Types a line.
    pub fn types(&mut self, line: &str) {
        writeln!(self.keyboard, "{line}").unwrap();
    }

    /// Waits for the end: the exit status, and everything that was shown.
    pub fn ends(mut self) -> (i32, String) {
        let status = self.child.wait().unwrap();
        let mut screen = self.screen.text.lock().unwrap();
        while !screen.1 {
            screen = self.screen.more.wait(screen).unwrap();
        }
        (status.code().unwrap(), screen.0.clone())
    }
}
