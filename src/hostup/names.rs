//! How the name of HostUp becomes addresses.

use std::net::SocketAddr;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Asks the system, first for the name as one that is complete.
///
/// A pod's `resolv.conf` tells the system to try the cluster's search domains first. musl, which the released
/// binary is built with, gives up where one of them answers with an error or with nothing, and never asks for the
/// name itself. TLS and HTTP still see the name as it was given.
pub(super) struct CompleteFirst;

impl Resolve for CompleteFirst {
    fn resolve(&self, name: Name) -> Resolving {
        Box::pin(async move {
            let name = name.as_str();
            if let Some(complete) = complete(name)
                && let Ok(found) = look_up(&complete).await
            {
                return Ok(found);
            }
            Ok(look_up(name).await?)
        })
    }
}

/// The name with the dot that completes it; `None` for one that is complete, or of one part only, which only a
/// search domain can complete.
fn complete(name: &str) -> Option<String> {
    (name.contains('.') && !name.ends_with('.')).then(|| format!("{name}."))
}

async fn look_up(name: &str) -> std::io::Result<Addrs> {
    let found: Vec<SocketAddr> = tokio::net::lookup_host((name, 0)).await?.collect();
    Ok(Box::new(found.into_iter()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_of_several_parts_is_asked_for_as_complete() {
        for (name, asked) in [
            ("cloud.hostup.se", Some("cloud.hostup.se.")),
            ("hostup.svc", Some("hostup.svc.")),
            ("cloud.hostup.se.", None),
            ("hostup", None),
            ("localhost", None),
        ] {
            assert_eq!(complete(name).as_deref(), asked, "{name}");
        }
    }
}
