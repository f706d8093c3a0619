//! `control-plane up --dir DIR`: a control plane to play with, until stdin closes or a signal comes.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{env, fs, thread};

use control_plane::{ControlPlane, Options, User};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

const USAGE: &str = "usage: control-plane up --dir DIR

Starts etcd, kube-apiserver and kube-controller-manager on loopback and writes kubeconfigs into DIR:
kubeconfig (the admin's), author.kubeconfig, approver.kubeconfig and resolver.kubeconfig. Prints
`ready kubeconfig=PATH`, and stops everything when stdin closes or on SIGTERM or SIGINT.";

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    let args: Vec<String> = env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let outcome = match args.as_slice() {
        ["up", "--dir", dir] => up(Path::new(dir)),
        ["--help" | "-h"] => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("control-plane: {error}");
            ExitCode::FAILURE
        }
    }
}

fn up(dir: &Path) -> Outcome {
    fs::create_dir_all(dir).map_err(|error| format!("cannot make {}: {error}", dir.display()))?;
    let dir = dir.canonicalize()?;
    let control_plane = ControlPlane::start(Options::default())?;
    let admin = write_kubeconfigs(&control_plane, &dir)?;
    eprintln!("control-plane: logs in {}", control_plane.dir().display());
    until_told_to_stop(|| {
        // Nobody may be reading; that is no reason to stop.
        let _ = writeln!(io::stdout(), "ready kubeconfig={}", admin.display());
    })?;
    Ok(())
}

fn write_kubeconfigs(control_plane: &ControlPlane, dir: &Path) -> io::Result<PathBuf> {
    for user in User::ALL {
        let name = match user {
            User::Admin => "kubeconfig".to_owned(),
            other => format!("{}.kubeconfig", other.name()),
        };
        fs::copy(control_plane.kubeconfig(user), dir.join(name))?;
    }
    Ok(dir.join("kubeconfig"))
}

/// Calls `ready` once the signals are caught.
fn until_told_to_stop(ready: impl FnOnce()) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let (closed, stdin_closed) = oneshot::channel();
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        let _ = closed.send(());
    });
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        ready();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            _ = stdin_closed => {}
        }
        Ok(())
    })
}
